//! The server against clients that do what they should not.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;
use weir_api::event::Event;
use weir_api::message::{Response, code};

struct Lab {
    _directory: tempfile::TempDir,
    path: PathBuf,
    server: Option<Server>,
    manager: Option<JoinHandle<usize>>,
}

/// A server whose calls are answered by an empty `Stats`.
fn lab(edit: impl FnOnce(&mut config::Rpc)) -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let mut config =
        config::Rpc { socket: path.clone(), max_message_mib: 2, timeout_seconds: 1, ..config::Rpc::default() };
    edit(&mut config);
    let (jobs, calls): (_, Receiver<Job>) = sync_channel(4);
    let server = Server::start(&config, jobs).unwrap();
    let manager = std::thread::spawn(move || {
        let answer = |job: Job| drop(job.reply.send(Ok(Answer::Stats(Box::default()))));
        calls.into_iter().map(answer).count()
    });
    Lab { _directory: directory, path, server: Some(server), manager: Some(manager) }
}

impl Lab {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Stops the server; how many calls the manager answered.
    fn stop(mut self) -> usize {
        self.server.take().unwrap().stop();
        self.manager.take().unwrap().join().unwrap()
    }
}

const STATS: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"stats\"}\n";

fn ask(stream: &mut UnixStream, line: &[u8]) -> Response {
    stream.write_all(line).unwrap();
    answer(stream)
}

fn answer(stream: &UnixStream) -> Response {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

fn is_closed(stream: &mut UnixStream) -> bool {
    // What was not read of us may be answered by a reset.
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn a_connection_serves_many_messages_however_they_are_cut() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    assert_eq!(ask(&mut stream, STATS).id, Some(5));
    for byte in STATS {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(answer(&stream).id, Some(5));
    stream.write_all(&STATS.repeat(3)).unwrap();
    let mut lines = BufReader::new(&stream).lines();
    for _ in 0..3 {
        let response: Response = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(response.result.is_some());
    }
    assert_eq!(lab.stop(), 5);
}

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    let lab = lab(|_| {});
    let path = lab.path.clone();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let (jobs, _calls) = sync_channel(1);
    let second = Server::start(&config::Rpc { socket: path.clone(), ..config::Rpc::default() }, jobs);
    assert_eq!(second.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    lab.stop();
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let (jobs, _calls) = sync_channel(1);
    Server::start(&config::Rpc { socket, ..config::Rpc::default() }, jobs).unwrap().stop();
}

#[test]
fn garbage_gets_an_error_and_the_connection_goes_on() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    for line in [&b"\n"[..], b"hello\n", b"\xff\xfe\x00\n", b"{\"jsonrpc\":\n", b"[[[[\n"] {
        let response = ask(&mut stream, line);
        assert_eq!((response.id, response.error.unwrap().code), (None, code::PARSE));
    }
    assert!(ask(&mut stream, STATS).result.is_some());
    assert_eq!(lab.stop(), 1);
}

#[test]
fn an_endless_line_ends_at_the_bound() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    let chunk = [b'x'; 1 << 16];
    let mut sent = 0u64;
    let mut writer = stream.try_clone().unwrap();
    while writer.write_all(&chunk).is_ok() {
        sent += chunk.len() as u64;
        assert!(sent < 8 << 20, "nobody stopped the line");
    }
    let error = answer(&stream).error.unwrap();
    assert!(error.code == code::LIMIT && error.message.contains("max_message_mib = 2"), "{error:?}");
    assert!(is_closed(&mut stream));
    assert!(ask(&mut lab.connect(), STATS).result.is_some());
    lab.stop();
}

#[test]
fn long_messages_share_a_bound() {
    let lab = lab(|config| config.timeout_seconds = 20);
    let mut streams: Vec<_> = (0..4).map(|_| lab.connect()).collect();
    // Each is within the bound of one message; together they are not.
    let mut refused = 0;
    for stream in &mut streams {
        let part = vec![b'x'; (2 << 20) - 1000];
        if stream.write_all(&part).is_err() {
            refused += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut line = String::new();
        if BufReader::new(&*stream).read_line(&mut line).is_ok_and(|n| n > 0) {
            assert!(line.contains("too many long messages"), "{line}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    drop(streams);
    // What they took is given back.
    let mut line = vec![b' '; (2 << 20) - 1000];
    line.extend_from_slice(STATS);
    assert!(ask(&mut lab.connect(), &line).result.is_some());
    lab.stop();
}

#[test]
fn a_message_that_never_ends_is_closed_and_an_idle_client_is_not() {
    let lab = lab(|_| {});
    let mut idle = lab.connect();
    let mut slow = lab.connect();
    let begun = Instant::now();
    slow.write_all(b"{").unwrap();
    let error = answer(&slow).error.unwrap();
    assert!(error.code == code::LIMIT && error.message.contains("within 1 s"), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(is_closed(&mut slow));
    assert!(ask(&mut idle, STATS).result.is_some());
    lab.stop();
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // Answers pile up until the socket is full, then until the server gives up.
    let burst = STATS.repeat(64);
    let begun = Instant::now();
    while stream.write_all(&burst).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody closed");
    }
    assert!(ask(&mut lab.connect(), STATS).result.is_some());
    lab.stop();
}

#[test]
fn one_client_too_many_is_told_so() {
    let lab = lab(|config| config.max_connections = 3);
    let mut streams: Vec<_> = (0..3).map(|_| lab.connect()).collect();
    for stream in &mut streams {
        assert!(ask(stream, STATS).result.is_some());
    }
    let mut fourth = lab.connect();
    let error = answer(&fourth).error.unwrap();
    assert!(error.code == code::LIMIT && error.message.contains("rpc.max_connections"), "{error:?}");
    assert!(is_closed(&mut fourth));
    drop(streams.pop());
    let begun = Instant::now();
    // One that is turned away may find the connection closed before it has asked.
    let served = || {
        let mut stream = lab.connect();
        stream.write_all(STATS).is_ok() && answer(&stream).result.is_some()
    };
    while !served() {
        assert!(begun.elapsed() < Duration::from_secs(5), "no room after one left");
    }
    lab.stop();
}

#[test]
fn stopping_ends_connections_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    let (jobs, calls) = sync_channel(1);
    let server = Server::start(&config::Rpc { socket: socket.clone(), ..config::Rpc::default() }, jobs).unwrap();
    let mut idle = UnixStream::connect(&socket).unwrap();
    let mut waiting = UnixStream::connect(&socket).unwrap();
    waiting.write_all(STATS).unwrap();
    // The manager takes the call and ends without an answer.
    drop(calls.recv().unwrap());
    assert_eq!(answer(&waiting).error.unwrap().code, code::UNAVAILABLE);
    drop(calls);
    server.stop();
    assert!(is_closed(&mut idle));
}

#[test]
fn the_server_stops_though_its_socket_was_taken_away() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    assert_eq!(ask(&mut stream, STATS).id, Some(5));
    std::fs::remove_file(&lab.path).unwrap();
    let (stopped, heard) = sync_channel(1);
    std::thread::spawn(move || stopped.send(lab.stop()));
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(1));
}

#[test]
fn the_socket_is_made_with_its_directory_and_nothing_else_is_left_there() {
    let lab = lab(|config| config.socket = config.socket.with_file_name("run/weir/weir.sock"));
    let directory = lab.path.with_file_name("run/weir");
    let names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["weir.sock"]);
    let mode = std::fs::metadata(directory.join("weir.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn an_error_does_not_send_back_all_that_the_client_said() {
    let lab = lab(|_| {});
    let mut stream = lab.connect();
    let long = "ä".repeat(100_000);
    for params in [
        format!(r#"{{"ops":[{{"put":{{"bridge":{{"name":"red","{long}":1}}}}}}]}}"#),
        format!(r#"{{"ops":[{{"put":{{"bridge":{{"name":"red","mac_limit":"{long}"}}}}}}]}}"#),
        format!(r#"{{"{long}":1}}"#),
    ] {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"apply\",\"params\":{params}}}\n");
        let error = ask(&mut stream, line.as_bytes()).error.unwrap();
        let fault = error.data.unwrap();
        for text in [&error.message, &fault.path, &fault.value] {
            assert!(text.len() <= 1024, "{} bytes: {}", text.len(), &text[..100]);
        }
        assert!(error.message.len() > 1000 && error.message.ends_with("..."), "{}", error.message);
    }
    assert!(ask(&mut stream, STATS).result.is_some());
    lab.stop();
}

/// A server whose manager streams to whoever watches, as often as the other end of the channel says.
fn watched(edit: impl FnOnce(&mut config::Rpc)) -> (Lab, std::sync::mpsc::Sender<usize>, Receiver<bool>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.sock");
    let mut config = config::Rpc { socket: path.clone(), timeout_seconds: 1, ..config::Rpc::default() };
    edit(&mut config);
    let (jobs, calls): (_, Receiver<Job>) = sync_channel(4);
    let server = Server::start(&config, jobs).unwrap();
    let (tell, told) = std::sync::mpsc::channel::<usize>();
    let (is_watched, reports) = std::sync::mpsc::channel();
    let manager = std::thread::spawn(move || {
        let mut watchers = crate::manager::watch::Watchers::default();
        let mut answered = 0;
        loop {
            match calls.recv_timeout(Duration::from_millis(5)) {
                Ok(Job { call: Call::Watch(watch), reply }) => {
                    answered += 1;
                    let stream = Some(watchers.add(watch));
                    drop(reply.send(Ok(Answer::Watching { watching: true, stream })));
                }
                Ok(Job { reply, .. }) => {
                    answered += 1;
                    drop(reply.send(Ok(Answer::Stats(Box::default()))));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return answered,
            }
            for count in told.try_iter() {
                (0..count).for_each(|n| watchers.tell(Event::Applied, |row| row.generation = Some(n as u64)));
            }
            watchers.tell_lost();
            let _ = is_watched.send(watchers.are_there());
        }
    });
    (Lab { _directory: directory, path, server: Some(server), manager: Some(manager) }, tell, reports)
}

const WATCH: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"watch\",\"params\":{\"events\":[\"applied\"]}}\n";

fn begin(lab: &Lab) -> BufReader<UnixStream> {
    let mut reader = BufReader::new(lab.connect());
    reader.get_mut().write_all(WATCH).unwrap();
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{\"watching\":true}}\n");
    reader
}

/// Waits until the manager knows that it is watched, or that it is not.
fn until(reports: &Receiver<bool>, watched: bool) {
    let begun = Instant::now();
    while reports.recv().unwrap() != watched {
        assert!(begun.elapsed() < Duration::from_secs(5), "watched is never {watched}");
    }
}

#[test]
fn events_come_as_notifications_to_each_who_watches_and_the_others_are_answered() {
    let (lab, tell, _reports) = watched(|_| {});
    let mut watchers = [begin(&lab), begin(&lab)];
    tell.send(3).unwrap();
    for reader in &mut watchers {
        for n in 0..3 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&event["jsonrpc"], &event["method"]), (&"2.0".into(), &"event".into()), "{line}");
            assert!(event.get("id").is_none());
            assert_eq!((&event["params"]["event"], &event["params"]["generation"]), (&"applied".into(), &n.into()));
        }
    }
    assert!(ask(&mut lab.connect(), STATS).result.is_some());
    let begun = Instant::now();
    assert_eq!(lab.stop(), 3);
    assert!(begun.elapsed() < Duration::from_secs(5), "a stop does not wait for events");
    for reader in &mut watchers {
        assert!(is_closed(reader.get_mut()));
    }
}

#[test]
fn a_watcher_that_leaves_is_noticed_though_nothing_happens() {
    let (lab, _tell, reports) = watched(|_| {});
    let reader = begin(&lab);
    until(&reports, true);
    drop(reader);
    until(&reports, false);
    lab.stop();
}

#[test]
fn a_watcher_that_asks_for_more_is_told_why_not_and_closed() {
    let (lab, _tell, reports) = watched(|_| {});
    let mut reader = begin(&lab);
    reader.get_mut().write_all(STATS).unwrap();
    let response = answer(reader.get_ref());
    assert_eq!((response.id, response.error.unwrap().code), (None, code::INVALID_REQUEST));
    assert!(is_closed(reader.get_mut()));
    until(&reports, false);
    // The same if it came with the first one.
    let mut stream = lab.connect();
    stream.write_all(&[WATCH, STATS].concat()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.lines().count() == 2 && text.contains("-32600"), "{text}");
    assert_eq!(lab.stop(), 2);
}

#[test]
fn a_watcher_that_does_not_read_is_closed_and_keeps_nobody_waiting() {
    let (lab, tell, reports) = watched(|_| {});
    let _silent = begin(&lab);
    until(&reports, true);
    let mut quick = begin(&lab);
    let reader = std::thread::spawn(move || {
        let (mut line, mut events) = (String::new(), 0);
        while events < 200 * 500 {
            line.clear();
            assert!(quick.read_line(&mut line).unwrap() > 0);
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            events += event["params"]["lost"].as_u64().unwrap_or(1);
        }
        events
    });
    // More than the socket's buffers hold.
    for _ in 0..200 {
        tell.send(500).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(reader.join().unwrap(), 200 * 500, "each is told, or among those that are told to be lost");
    until(&reports, false);
    lab.stop();
}
