//! Asks the firmware: JSON-RPC 2.0, one message a line, over a Unix socket.
//!
//! Owns one connection, made by the first call and kept for the rest of the command. Refuses answers that are not
//! JSON-RPC, that carry another id, or that are longer than [`MAX_ANSWER`]. A call has one deadline, from connecting to
//! the last byte of its answer. Read first: <https://www.jsonrpc.org/specification>.

use crate::failure::Failure;
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use weir_api::event::EventRow;
use weir_api::message::{Call, Notification, Request, Response, Version, Watch};

/// The longest answer that is read, bytes. A whole page of rows takes some megabytes; this only bounds a mad server.
pub const MAX_ANSWER: usize = 512 << 20;

/// Who answers calls: the firmware behind a socket, or its manager in the same process (golden tests).
pub trait Ask {
    /// The result of the call, or why there is none.
    fn ask(&mut self, call: Call) -> Result<Value, Failure>;

    /// Hands each event to `each`, as it comes, until that has had enough or the process is told to end. Who has no
    /// connection has no events.
    fn watch(&mut self, watch: Watch, each: &mut Each<'_>) -> Result<(), Failure> {
        let _ = (watch, each);
        Err(Failure::Usage("events come over a connection only".to_owned()))
    }
}

/// Who hears of events.
pub type Each<'a> = dyn FnMut(EventRow) -> Result<ControlFlow<()>, Failure> + 'a;

/// The firmware behind a Unix socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
    max_answer: usize,
    stream: Option<UnixStream>,
    last_id: u64,
}

impl Client {
    /// A client of the firmware at `socket` that gives each call `timeout`. Connects when first asked.
    pub fn new(socket: &Path, timeout: Duration) -> Self {
        Self { socket: socket.to_owned(), timeout, max_answer: MAX_ANSWER, stream: None, last_id: 0 }
    }

    fn no_answer(&self, what: impl Into<String>, check: &str) -> Failure {
        Failure::NoAnswer { socket: self.socket.clone(), what: what.into(), check: check.to_owned() }
    }

    fn too_late(&self) -> Failure {
        let what = format!("no answer within {} s", self.timeout.as_secs_f64());
        self.no_answer(what, "look at the firmware's log, or give it longer with --timeout")
    }

    fn garbage(&self, what: impl Into<String>) -> Failure {
        let check = format!(
            "is it Weir's socket, and is weir of the same version as this weirctl ({}, API {})?",
            env!("CARGO_PKG_VERSION"),
            weir_api::VERSION
        );
        self.no_answer(what, &check)
    }

    fn broken(&self, e: &io::Error) -> Failure {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.too_late(),
            _ => self.no_answer(
                format!("the connection broke before the answer came ({e})"),
                "look at the firmware's log; whether a change was made, `weirctl show generation` tells",
            ),
        }
    }

    /// A new connection. A `connect` to a listener with a full backlog blocks for as long as it likes, so that it gets
    /// a thread of its own, which ends with the process at the latest.
    fn connect(&self, deadline: Instant) -> Result<UnixStream, Failure> {
        let (done, connected) = mpsc::channel();
        let socket = self.socket.clone();
        std::thread::spawn(move || done.send(UnixStream::connect(socket)));
        let left = deadline.saturating_duration_since(Instant::now());
        let result = connected.recv_timeout(left).map_err(|_| self.too_late())?;
        result.map_err(|e| {
            let check = match e.kind() {
                ErrorKind::NotFound => {
                    "is weir running, and is this the socket in its weir.toml? (another one: --socket)"
                }
                ErrorKind::ConnectionRefused => "the socket is there but nobody listens: start weir again",
                ErrorKind::PermissionDenied => "be root, or in the socket's group (Group= of weir.service sets it)",
                _ => "is this the socket in weir.toml? (another one: --socket)",
            };
            self.no_answer(format!("no connection: {e}"), check)
        })
    }

    fn exchange(&mut self, request: &Request) -> Result<Vec<u8>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut line = serde_json::to_vec(request).map_err(|e| Failure::Usage(format!("not a request: {e}")))?;
        line.push(b'\n');
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect(deadline)?,
        };
        // A firmware that will not read on (a request too large, say) answers and closes: the answer says more than
        // the broken pipe.
        let sent = write_until(&mut stream, &line, deadline);
        let closed = |e: &io::Error| matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        match sent {
            Err(e) if !closed(&e) => return Err(self.broken(&e)),
            _ => {}
        }
        let answer = read_line_until(&mut stream, deadline, self.max_answer).map_err(|e| match e.kind() {
            ErrorKind::InvalidData => self.garbage(format!("an answer of more than {} bytes", self.max_answer)),
            _ => self.broken(&e),
        })?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

impl Ask for Client {
    fn ask(&mut self, call: Call) -> Result<Value, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let answer = self.exchange(&Request { jsonrpc: Version::V2, id, call })?;
        let response: Response =
            serde_json::from_slice(&answer).map_err(|e| self.garbage(format!("an answer that is not one: {e}")))?;
        match response {
            // An error without an id is about a request that the firmware could not read: ours, on this connection.
            Response { id: None, error: Some(error), .. } => Err(Failure::Refused(error)),
            Response { id: Some(got), .. } if got != id => {
                Err(self.garbage(format!("an answer to request {got} instead of {id}")))
            }
            Response { id: Some(_), error: Some(error), result: None, .. } => Err(Failure::Refused(error)),
            Response { id: Some(_), error: None, result: Some(result), .. } => Ok(result),
            _ => Err(self.garbage("an answer with neither result nor error, or with both")),
        }
    }

    fn watch(&mut self, watch: Watch, each: &mut Each<'_>) -> Result<(), Failure> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, ended.clone()).map_err(Failure::Output)?;
        }
        // It would carry nothing else afterwards, and what follows its answer is not to be lost.
        self.stream = None;
        let deadline = Instant::now() + self.timeout;
        let mut stream = self.connect(deadline)?;
        self.last_id += 1;
        let request = Request { jsonrpc: Version::V2, id: self.last_id, call: Call::Watch(watch) };
        let mut line = serde_json::to_vec(&request).map_err(|e| Failure::Usage(format!("not a request: {e}")))?;
        line.push(b'\n');
        write_until(&mut stream, &line, deadline).map_err(|e| self.broken(&e))?;
        stream.set_read_timeout(Some(LOOK)).map_err(|e| self.broken(&e))?;
        let mut lines = Lines { reader: BufReader::new(stream), line: Vec::new(), ended };
        let answer = lines.next(Some(deadline)).map_err(|e| self.broken(&e))?;
        let Some(answer) = answer else { return Ok(()) };
        let response: Response =
            serde_json::from_slice(&answer).map_err(|e| self.garbage(format!("an answer that is not one: {e}")))?;
        if let Some(error) = response.error {
            return Err(Failure::Refused(error));
        }
        loop {
            let line = lines.next(None).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => self.no_answer("the firmware has ended the stream", "is weir running?"),
                _ => self.broken(&e),
            })?;
            let Some(line) = line else { return Ok(()) };
            let event: Notification<EventRow> =
                serde_json::from_slice(&line).map_err(|e| self.garbage(format!("an event that is none: {e}")))?;
            if each(event.params)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// Between two looks whether the process is told to end.
const LOOK: Duration = Duration::from_millis(100);
/// The longest event, bytes.
const MAX_EVENT: u64 = 1 << 20;

/// Lines of a stream that has a read timeout.
struct Lines {
    reader: BufReader<UnixStream>,
    /// What has come of the next one.
    line: Vec<u8>,
    ended: Arc<AtomicBool>,
}

impl Lines {
    /// The next one, with its end; `None` if the process is told to end. An error if the deadline passes, and
    /// `UnexpectedEof` if there are no more.
    fn next(&mut self, deadline: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let left = MAX_EVENT.saturating_sub(self.line.len() as u64);
            match (&mut self.reader).take(left).read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => return Ok(Some(std::mem::take(&mut self.line))),
                Ok(_) if self.line.len() as u64 >= MAX_EVENT => return Err(ErrorKind::InvalidData.into()),
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(e) if !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                    return Err(e);
                }
                Err(_) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(_) => {}
            }
        }
    }
}

/// How long the next system call may take; an error once the deadline has passed.
fn time_left(deadline: Instant) -> io::Result<Option<Duration>> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
}

fn write_until(stream: &mut UnixStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(time_left(deadline)?)?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::BrokenPipe.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// One line, without its end. `InvalidData` when it is longer than `max` bytes.
fn read_line_until(stream: &mut UnixStream, deadline: Instant, max: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        stream.set_read_timeout(time_left(deadline)?)?;
        let n = match stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        // What follows the line on this connection would be an answer to nothing: dropped.
        match chunk[..n].iter().position(|&b| b == b'\n') {
            Some(end) => line.extend_from_slice(&chunk[..end]),
            None => line.extend_from_slice(&chunk[..n]),
        }
        if line.len() > max {
            return Err(ErrorKind::InvalidData.into());
        }
        if chunk[..n].contains(&b'\n') {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn an_answer_without_end_is_given_up() {
        let directory = tempfile::TempDir::new().unwrap();
        let socket = directory.path().join("weir.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(&[b' '; 1000]).is_ok() {}
        });
        let mut client = Client { max_answer: 100_000, ..Client::new(&socket, Duration::from_secs(60)) };
        let failure = client.ask(Call::Stats {}).unwrap_err();
        assert_eq!(failure.exit_code(), 3);
        assert!(failure.to_string().contains("more than 100000 bytes"), "{failure}");
    }
}
