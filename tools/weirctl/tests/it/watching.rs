//! `watch` and `clear`: what they ask, what they print, how they end.

use crate::firmware::Firmware;
use crate::program::{ends, listen, weirctl};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};
use weir_api::event::{Event, EventRow};
use weir_api::message::Call;

fn moved() -> EventRow {
    let row = json!({
        "time_unix_ms": 1000, "event": "moved", "bridge": "red", "mac": "02:00:00:00:00:01",
        "location": "vxlan/7/192.0.2.2", "from": "vlan/lan0/100", "worker": 1
    });
    serde_json::from_value(row).unwrap()
}

fn asked(firmware: &Firmware) -> Value {
    json!(firmware.calls.last().unwrap())["params"].clone()
}

#[test]
fn clear_asks_for_what_was_named_and_says_what_each_worker_forgot() {
    let mut firmware = Firmware::default();
    let out = firmware.run("clear mac --bridge red").done();
    assert_eq!(out, "worker 1 forgot 2\nworker 3 forgot 0\n");
    assert_eq!(asked(&firmware), json!({"what": "mac", "bridge": "red"}));
    firmware.run("clear mac --bridge red --mac 02:00:00:00:00:01").done();
    assert_eq!(asked(&firmware), json!({"what": "mac", "bridge": "red", "mac": "02:00:00:00:00:01"}));
    firmware.run("clear binding --bridge red --address 2001:db8::1").done();
    assert_eq!(asked(&firmware), json!({"what": "binding", "bridge": "red", "address": "2001:db8::1"}));
    let out = firmware.run("clear binding --bridge red -j").done();
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["workers"][0], json!({"core": 1, "cleared": 2}));
}

#[test]
fn watch_asks_for_what_was_named_and_prints_a_line_each() {
    let mut firmware = Firmware { happens: vec![moved(), moved(), moved()], ..Firmware::default() };
    let out = firmware.run("watch --event moved --event frozen --bridge red --count 2").done();
    let line = "1970-01-01T00:00:01.000Z moved bridge=red mac=02:00:00:00:00:01 location=vxlan/7/192.0.2.2 \
                from=vlan/lan0/100 worker=1\n";
    assert_eq!(out, line.repeat(2));
    assert!(matches!(&firmware.calls[0], Call::Watch(w) if w.events == [Event::Moved, Event::Frozen]));
    assert_eq!(asked(&firmware), json!({"events": ["moved", "frozen"], "bridge": "red"}));
    firmware.happens = vec![moved()];
    let out = firmware.run("watch -j").done();
    assert_eq!(serde_json::from_str::<EventRow>(&out).unwrap(), moved());
    assert_eq!(asked(&firmware), json!({}));
}

/// A server that answers a `watch`, sends so many events, the first of them with the answer, and then hangs or closes.
fn streaming(count: usize, closes: bool) -> impl Fn(UnixStream) + Send + 'static {
    move |mut stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        let id = serde_json::from_str::<Value>(&line).unwrap()["id"].clone();
        let mut text = format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "result": {"watching": true}}));
        for _ in 0..count {
            text += &format!("{}\n", json!({"jsonrpc": "2.0", "method": "event", "params": moved()}));
        }
        let _ = stream.write_all(text.as_bytes());
        while !closes && stream.write_all(b"").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn no_event_is_lost_that_comes_with_the_answer() {
    let (_directory, socket) = listen(streaming(3, false));
    let output = weirctl(&socket, "watch -j --count 3").output().unwrap();
    ends(&output, 0, &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
}

#[test]
fn a_stream_that_the_firmware_ends_is_a_failure() {
    let (_directory, socket) = listen(streaming(1, true));
    let output = weirctl(&socket, "watch").output().unwrap();
    ends(&output, 3, &["the firmware has ended the stream"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn an_interrupt_ends_a_watch_as_it_should() {
    let (_directory, socket) = listen(streaming(1, false));
    let mut child = weirctl(&socket, "watch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains(" moved bridge=red"), "{first}");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    ends(&output, 0, &[]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_watch_that_nobody_reads_any_more_ends() {
    let (_directory, socket) = listen(streaming(100_000, false));
    let mut child = weirctl(&socket, "watch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    ends(&child.wait_with_output().unwrap(), 0, &[]);
}

#[test]
fn an_event_that_does_not_exist_is_wrong_usage() {
    let output = weirctl(std::path::Path::new("/nowhere"), "watch --event reboot").output().unwrap();
    ends(&output, 2, &["reboot", "binding_moved"]);
}
