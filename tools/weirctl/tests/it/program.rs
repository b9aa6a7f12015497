//! The program itself, with a server on a socket that behaves, or does not: exit codes, timeouts, pipes.

use crate::firmware::Firmware;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) fn weirctl(socket: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    command.env_remove("WEIR_SOCKET").arg("-s").arg(socket).args(args.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs a command on a socket whose connections go to `serve`, one after another.
fn on(serve: impl Fn(UnixStream) + Send + 'static, args: &str) -> Output {
    let (_directory, socket) = listen(serve);
    weirctl(&socket, args).output().unwrap()
}

pub(crate) fn listen(serve: impl Fn(UnixStream) + Send + 'static) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("weir.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    (directory, socket)
}

/// A server that answers each request with whatever `answer` makes of it.
fn answering(answer: impl Fn(Value) -> String + Send + 'static) -> impl Fn(UnixStream) + Send + 'static {
    move |mut stream| {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let request = serde_json::from_str(&line).expect("one JSON message a line");
            if stream.write_all(answer(request).as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A firmware that is a map.
fn firmware(firmware: Firmware) -> impl Fn(UnixStream) + Send + 'static {
    let firmware = std::sync::Mutex::new(firmware);
    answering(move |request| {
        let request: weir_api::message::Request = serde_json::from_value(request).unwrap();
        let mut answer = json!({"jsonrpc": "2.0", "id": request.id});
        match firmware.lock().unwrap().answer(request.call) {
            Ok(result) => answer["result"] = result,
            Err(error) => answer["error"] = json!(error),
        }
        format!("{answer}\n")
    })
}

#[track_caller]
pub(crate) fn ends(output: &Output, code: i32, parts: &[&str]) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    for part in parts {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn each_outcome_has_its_exit_code() {
    let (_directory, socket) = listen(firmware(Firmware::default()));
    let file = socket.with_file_name("state.toml");
    std::fs::write(&file, "[[bridge]]\nname = 'red'\n").unwrap();
    let file = file.display();
    for (args, code, part) in [
        ("add bridge red", 0, ""),
        ("add bridge red", 1, "bridge red exists"),
        ("add segment vlan/lan0/1 --bridge blue", 1, "segment.bridge: blue"),
        ("add bridge", 2, "<NAME>"),
        ("apply -f missing.toml", 2, "missing.toml"),
        ("set port lan0", 2, "weir.toml"),
        ("show bridge blue", 4, "there is no bridge blue"),
        ("del bridge blue", 4, "there is no bridge blue"),
        (&format!("diff -f {file}"), 0, ""),
        ("set bridge red --mac-limit 9", 0, ""),
        (&format!("diff -f {file}"), 5, ""),
        (&format!("apply -f {file} --expect-generation 9"), 6, "generation 2 is running"),
        (&format!("apply -f {file} --expect-generation 2"), 0, ""),
    ] {
        ends(&weirctl(&socket, args).output().unwrap(), code, &[part]);
    }
}

#[test]
fn with_j_an_error_is_a_document_too() {
    let output = on(firmware(Firmware::default()), "-j add segment vlan/lan0/1 --bridge blue");
    ends(&output, 1, &[]);
    assert!(output.stdout.is_empty());
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let expected = json!({"error": {"exit_code": 1, "code": 1, "message": "there is no such bridge",
        "path": "ops[0].put.segment.bridge", "value": "blue"}});
    assert_eq!(error, expected);
}

#[test]
fn the_socket_can_come_from_the_environment() {
    let (_directory, socket) = listen(firmware(Firmware::default()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    let output = command.env("WEIR_SOCKET", &socket).args(["show", "bridge"]).output().unwrap();
    ends(&output, 0, &[]);
    assert_eq!(output.stdout, b"no bridges\n");
}

#[test]
fn without_a_firmware_the_socket_is_named() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("weir.sock");
    let named = socket.display().to_string();
    let run = || weirctl(&socket, "show bridge").output().unwrap();
    ends(&run(), 3, &[&named, "is weir running"]);
    drop(UnixListener::bind(&socket).unwrap());
    ends(&run(), 3, &[&named, "nobody listens"]);
}

#[test]
fn a_firmware_that_says_nothing_is_not_waited_for() {
    let start = Instant::now();
    let silent = |stream: UnixStream| std::mem::forget(stream);
    ends(&on(silent, "show bridge --timeout 0.2"), 3, &["no answer within 0.2 s", "--timeout"]);
    // Neither is one that never gets to the end of the line, a byte at a time.
    let slow = |mut stream: UnixStream| {
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    ends(&on(slow, "show bridge --timeout 0.2"), 3, &["no answer within 0.2 s"]);
    assert!(start.elapsed() < Duration::from_secs(8), "the timeout of 10 s was not used");
}

#[test]
fn a_full_backlog_is_not_waited_for() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("weir.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    // Connections that nobody accepts, until one of them would have to wait.
    let (connected, count) = std::sync::mpsc::channel();
    let path = socket.clone();
    std::thread::spawn(move || {
        while let Ok(stream) = UnixStream::connect(&path) {
            if connected.send(stream).is_err() {
                return;
            }
        }
    });
    let mut kept = Vec::new();
    while let Ok(stream) = count.recv_timeout(Duration::from_millis(500)) {
        kept.push(stream);
    }
    assert!(!kept.is_empty());
    ends(&weirctl(&socket, "show bridge --timeout 0.2").output().unwrap(), 3, &["no answer within 0.2 s"]);
}

#[test]
fn a_slow_firmware_is_waited_for() {
    let slow = answering(|request| {
        std::thread::sleep(Duration::from_millis(300));
        format!("{}\n", json!({"jsonrpc": "2.0", "id": request["id"], "result": {"generation": 1, "rows": []}}))
    });
    let output = on(slow, "show bridge --timeout 30");
    ends(&output, 0, &[]);
    assert_eq!(output.stdout, b"no bridges\n");
}

#[test]
fn an_answer_that_is_none_is_refused() {
    let page = json!({"generation": 1, "rows": []});
    for (answer, part) in [
        ("\u{1}\u{2}\n".to_owned(), "not one"),
        ("{}\n".to_owned(), "not one"),
        ("HTTP/1.1 400 Bad Request\r\n".to_owned(), "not one"),
        (format!("{}\n", json!({"jsonrpc": "2.0", "id": 99, "result": page})), "request 99 instead of 1"),
        (format!("{}\n", json!({"jsonrpc": "2.0", "id": null, "result": page})), "neither result nor error"),
        (format!("{}\n", json!({"jsonrpc": "2.0", "id": 1})), "neither result nor error"),
        (format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "result": {"rows": 7}})), "does not understand"),
        (format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "result": {"rows": []}})), "generation"),
    ] {
        ends(&on(answering(move |_| answer.clone()), "show bridge"), 3, &[part, "same version"]);
    }
}

#[test]
fn an_error_without_an_id_is_ours() {
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "not JSON"}});
    ends(&on(answering(move |_| format!("{error}\n")), "show bridge"), 1, &["not JSON"]);
}

#[test]
fn a_connection_that_closes_early_is_told() {
    ends(&on(drop, "show bridge"), 3, &["the connection broke"]);
    let half = |mut stream: UnixStream| {
        let _ = stream.read(&mut [0; 1]);
        let _ = stream.write_all(b"{\"jsonrpc\":");
    };
    ends(&on(half, "show bridge"), 3, &["the connection broke"]);
}

#[test]
fn a_firmware_that_refuses_before_it_has_read_all_is_heard() {
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": 4, "message": "a message of too many bytes"}});
    let (_directory, socket) = listen(move |mut stream| {
        let _ = stream.write_all(format!("{error}\n").as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Read);
        // Closed once the client has gone, so that the answer is not lost with the connection.
        std::thread::sleep(Duration::from_millis(500));
    });
    let file = socket.with_file_name("state.toml");
    let bridges: String = (0..20_000).map(|i| format!("[[bridge]]\nname = \"b{i}\"\n")).collect();
    std::fs::write(&file, bridges).unwrap();
    let output = weirctl(&socket, &format!("apply -f {}", file.display())).output().unwrap();
    ends(&output, 1, &["too many bytes"]);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let mut many = Firmware::default();
    let bridges: String = (0..20_000).map(|i| format!("[[bridge]]\nname = \"b{i}\"\n")).collect();
    many.run_with("apply -f -", &bridges).done();
    let (_directory, socket) = listen(firmware(many));
    for args in ["show bridge", "export", "-j export", "completion bash", "--help"] {
        let mut command = weirctl(&socket, args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        ends(&output, 0, &[]);
        assert!(output.stderr.is_empty(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let (_directory, socket) = listen(firmware(Firmware::default()));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = weirctl(&socket, "show bridge").stdout(full).output().unwrap();
    ends(&output, 1, &["the output could not be written"]);
}

#[test]
fn completion_and_man_pages_need_no_firmware() {
    let directory = TempDir::new().unwrap();
    let nowhere = directory.path().join("nowhere");
    for shell in ["bash", "zsh", "fish"] {
        let output = weirctl(&nowhere, &format!("completion {shell}")).output().unwrap();
        ends(&output, 0, &[]);
        assert!(String::from_utf8(output.stdout).unwrap().contains("unknown-unicast"), "{shell}");
    }
    ends(&weirctl(&nowhere, &format!("man {}", nowhere.display())).output().unwrap(), 2, &["mkdir -p"]);
    ends(&weirctl(&nowhere, &format!("man {}", directory.path().display())).output().unwrap(), 0, &[]);
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("weirctl-add-bridge.1").contains("\n.SH \"EXAMPLES\"\n.nf\n\\&  weirctl add bridge red\n"));
    for name in ["weirctl.1", "weirctl-show-drop.1", "weirctl-apply.1"] {
        assert!(page(name).contains("another generation is running"), "{name}");
    }
}
