//! One client: lines in, lines out, within bounds.
//!
//! Owns: framing. A connection may be idle between messages for as long as it likes; a message, once begun, must be
//! complete in time, and an answer read in time. What exceeds a bound gets one error where that can still be written,
//! then a close.

use super::parse::{self, Parsed, Refused};
use super::{Answer, Job};
use crate::manager::watch::Stream;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use weir_api::event::EventRow;
use weir_api::message::{Call, Error, EventMethod, Notification, Response, Version, code};

/// Bounds on every client.
pub(super) struct Bounds {
    /// Clients at one time.
    pub(super) connections: usize,
    /// Bytes of a message.
    pub(super) message: u64,
    /// For a message to arrive, and for an answer to be read.
    pub(super) time: Duration,
}

/// Bytes of each text in an error.
const WORDS: usize = 1024;
/// Between two looks whether a client that watches is still there.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of events that are written at once.
const BATCH: usize = 64 << 10;
/// A message of this many bytes always fits; longer ones share what all clients may take together.
const ALWAYS: usize = 1 << 20;

pub(super) struct Connection<'a> {
    stream: UnixStream,
    bounds: &'a Bounds,
    buffered: &'a AtomicU64,
    /// How many of `buffered` are this connection's.
    taken: u64,
    jobs: &'a SyncSender<Job>,
    line: Vec<u8>,
}

/// Why a connection ends.
enum End {
    /// The client closed, or cannot be spoken to.
    Silently,
    /// It exceeded a bound.
    Told(Error),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Silently
    }
}

/// Says to one client too many that it is.
pub(super) fn turn_away(mut stream: &UnixStream, connections: usize) {
    let why = format!("{connections} clients are connected already; rpc.max_connections in weir.toml allows no more");
    let mut line = response(None, Err(limit(why)));
    line.push(b'\n');
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let _ = stream.write_all(&line);
}

fn limit(why: String) -> Error {
    Error { code: code::LIMIT, message: why, data: None }
}

/// The line that answers a request, without its line feed; `handle` is asked if it could be read.
pub(super) fn answer(parsed: Result<Parsed, Refused>, handle: impl FnOnce(Call) -> Result<Answer, Error>) -> Vec<u8> {
    match parsed {
        Err(Refused { id, error }) => response(id, Err(error)),
        Ok(Parsed { id, call }) => response(Some(id), handle(call)),
    }
}

/// One event as a line, without its line feed.
fn notification(row: &EventRow) -> Vec<u8> {
    let line = Notification { jsonrpc: Version::V2, method: EventMethod::Event, params: row };
    serde_json::to_vec(&line).unwrap_or_else(|e| {
        log::error!("rpc: an event cannot be written as JSON: {e}");
        br#"{"jsonrpc":"2.0","method":"event","params":{"time_unix_ms":0,"event":"lost","lost":1}}"#.to_vec()
    })
}

fn response(id: Option<u64>, result: Result<Answer, Error>) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Success {
        jsonrpc: Version,
        id: Option<u64>,
        result: Answer,
    }
    let json = match result {
        Ok(result) => serde_json::to_vec(&Success { jsonrpc: Version::V2, id, result }),
        Err(error) => {
            serde_json::to_vec(&Response { jsonrpc: Version::V2, id, result: None, error: Some(bounded(error)) })
        }
    };
    // Maps with keys that are no strings are all that JSON cannot say, and no answer has one.
    json.unwrap_or_else(|e| {
        log::error!("rpc: an answer cannot be written as JSON: {e}");
        br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the answer cannot be written"}}"#.to_vec()
    })
}

/// An error that repeats no more of what the client said than a person reads.
fn bounded(mut error: Error) -> Error {
    cut(&mut error.message);
    if let Some(fault) = &mut error.data {
        cut(&mut fault.path);
        cut(&mut fault.value);
    }
    error
}

/// At most [`WORDS`] bytes, with `...` at the end of what was longer.
fn cut(text: &mut String) {
    if text.len() > WORDS {
        let end = (0..=WORDS - 3).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        stream: UnixStream,
        bounds: &'a Bounds,
        buffered: &'a AtomicU64,
        jobs: &'a SyncSender<Job>,
    ) -> Self {
        Self { stream, bounds, buffered, taken: 0, jobs, line: Vec::new() }
    }

    /// Answers one message after the other until the client leaves or exceeds a bound.
    pub(super) fn serve(mut self) {
        loop {
            let told = match self.message() {
                Ok(()) => continue,
                Err(End::Silently) => break,
                Err(End::Told(error)) => error,
            };
            log::warn!("rpc: connection closed: {}", told.message);
            let _ = self.write(response(None, Err(told)));
            break;
        }
    }

    /// Reads one message and answers it.
    fn message(&mut self) -> Result<(), End> {
        let end = self.read_line()?;
        let parsed = parse::parse(&self.line[..end]);
        self.line.drain(..=end);
        self.line.shrink_to(ALWAYS);
        self.give_back();
        let jobs = self.jobs;
        let mut events = None;
        let answer = answer(parsed, |call| {
            let (reply, answer) = sync_channel(1);
            let stopping = || Error { code: code::UNAVAILABLE, message: "weir is stopping".into(), data: None };
            jobs.send(Job { call, reply }).map_err(|_| stopping())?;
            let mut answer = answer.recv().map_err(|_| stopping())??;
            if let Answer::Watching { stream, .. } = &mut answer {
                events = stream.take();
            }
            Ok(answer)
        });
        self.write(answer)?;
        match events {
            Some(events) => self.stream(&events),
            None => Ok(()),
        }
    }

    /// Writes what happens, until the client or Weir ends.
    fn stream(&mut self, events: &Stream) -> Result<(), End> {
        loop {
            self.is_there_and_silent()?;
            let row = match events.rows.recv_timeout(LOOK) {
                Ok(row) => row,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(End::Silently),
            };
            let mut lines = notification(&row);
            while lines.len() < BATCH
                && let Ok(row) = events.rows.try_recv()
            {
                lines.push(b'\n');
                lines.append(&mut notification(&row));
            }
            self.write(lines)?;
        }
    }

    /// Looks, without waiting, whether a client that watches has left; it may not ask for anything any more.
    fn is_there_and_silent(&mut self) -> Result<(), End> {
        let asked = || {
            let message = "this connection streams events, and answers nothing else; ask on another one".to_owned();
            End::Told(Error { code: code::INVALID_REQUEST, message, data: None })
        };
        if !self.line.is_empty() {
            return Err(asked());
        }
        self.stream.set_nonblocking(true)?;
        let read = self.stream.read(&mut [0; 1]);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => Err(End::Silently),
            Ok(_) => Err(asked()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads on until the buffer has a line feed, and returns where.
    fn read_line(&mut self) -> Result<usize, End> {
        let mut searched = 0;
        let mut deadline = None;
        loop {
            // Searches word by word, where `position` would go byte by byte.
            let looked = (&self.line[searched..]).skip_until(b'\n')?;
            if self.line[..searched + looked].ends_with(b"\n") {
                return Ok(searched + looked - 1);
            }
            searched = self.line.len();
            if !self.line.is_empty() && deadline.is_none() {
                deadline = Some(Instant::now() + self.bounds.time);
            }
            self.read_some(deadline)?;
        }
    }

    fn read_some(&mut self, deadline: Option<Instant>) -> Result<(), End> {
        let late = || End::Told(limit(format!("a message did not arrive within {} s", self.bounds.time.as_secs())));
        let left = match deadline {
            Some(deadline) => {
                Some(deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()).ok_or_else(late)?)
            }
            None => None,
        };
        self.stream.set_read_timeout(left)?;
        let mut chunk = [0; 1 << 16];
        let n = match self.stream.read(&mut chunk) {
            Ok(0) => return Err(End::Silently),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Err(late()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        if (self.line.len() + n) as u64 > self.bounds.message {
            let most = self.bounds.message >> 20;
            return Err(End::Told(limit(format!("a message is longer than rpc.max_message_mib = {most} MiB"))));
        }
        self.take_room(n)?;
        self.line.extend_from_slice(&chunk[..n]);
        Ok(())
    }

    /// Takes a share of what all long messages may need together: twice the longest.
    fn take_room(&mut self, n: usize) -> Result<(), End> {
        if self.line.len() + n <= ALWAYS {
            return Ok(());
        }
        let n = n as u64;
        self.taken += n;
        if self.buffered.fetch_add(n, Ordering::Relaxed) + n > 2 * self.bounds.message {
            return Err(End::Told(limit("too many long messages at one time; try again".into())));
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.buffered.fetch_sub(std::mem::take(&mut self.taken), Ordering::Relaxed);
    }

    fn write(&mut self, mut answer: Vec<u8>) -> Result<(), End> {
        answer.push(b'\n');
        let deadline = Instant::now() + self.bounds.time;
        let mut rest = &answer[..];
        while !rest.is_empty() {
            let left = deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()).ok_or(End::Silently)?;
            self.stream.set_write_timeout(Some(left))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(End::Silently),
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}
