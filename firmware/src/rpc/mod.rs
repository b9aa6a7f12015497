//! The management socket: JSON-RPC 2.0, one message a line, over a Unix socket of mode 0660.
//!
//! Owns: the socket, a thread for each connection, and the bounds on how many, how long and how large. Parses here, in
//! the connection's thread; the manager gets whole calls one by one over a channel, and forwarding never notices. The
//! reference is `firmware/docs/rpc.md`.

mod connection;
pub mod parse;

use crate::config;
use crate::manager::watch::Stream;
use connection::{Bounds, Connection};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_api::message::{Applied, Call, Cleared, Error, Page};
use weir_api::object::Object;
use weir_api::trace::Traced;
use weir_api::view::Stats;

/// A call on its way to the manager.
pub struct Job {
    /// What is asked.
    pub call: Call,
    /// Where the answer goes.
    pub reply: SyncSender<Result<Answer, Error>>,
}

/// What the manager answers. The connection's thread writes it as JSON.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Answer {
    Applied(Applied),
    Object(Object),
    Page(Page),
    Stats(Box<Stats>),
    Cleared(Cleared),
    Traced(Box<Traced>),
    /// The answer to `watch`, and what the connection streams from then on.
    Watching {
        watching: bool,
        #[serde(skip)]
        stream: Option<Stream>,
    },
}

/// Answers one line without a connection: what a client would read, without the line feed.
pub fn respond(line: &[u8], handle: impl FnOnce(Call) -> Result<Answer, Error>) -> Vec<u8> {
    connection::answer(parse::parse(line), handle)
}

/// Who is connected, and what all of them share.
struct Shared {
    stopping: AtomicBool,
    streams: Mutex<HashMap<u64, UnixStream>>,
    bounds: Bounds,
    /// Bytes of unfinished messages, over all connections.
    buffered: AtomicU64,
}

impl Shared {
    /// The streams. A connection's thread that panicked leaves them as they are.
    fn streams(&self) -> std::sync::MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listening socket and its threads.
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    /// The listening socket once more: shut down, it wakes the thread that waits on it.
    socket: UnixStream,
    listener: JoinHandle<()>,
}

impl Server {
    /// Makes the socket and begins to listen. Calls go to `jobs`.
    ///
    /// # Errors
    /// The socket cannot be made, or another process listens on it.
    pub fn start(config: &config::Rpc, jobs: SyncSender<Job>) -> io::Result<Self> {
        let path = config.socket.clone();
        let listener = bind(&path)?;
        let socket = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let bounds = Bounds {
            connections: config.max_connections as usize,
            message: u64::from(config.max_message_mib) << 20,
            time: Duration::from_secs(u64::from(config.timeout_seconds)),
        };
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            streams: Mutex::default(),
            bounds,
            buffered: AtomicU64::new(0),
        });
        let threads = shared.clone();
        let listener =
            std::thread::Builder::new().name("rpc".into()).spawn(move || listen(&listener, &threads, &jobs))?;
        Ok(Self { path, shared, socket, listener })
    }

    /// Ends every connection, waits for the threads, and removes the socket.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener, wherever the socket's file may be by now.
        if let Err(e) = self.socket.shutdown(Shutdown::Both) {
            log::error!("rpc: the listener is not to be stopped: {e}");
            return;
        }
        if self.listener.join().is_err() {
            log::error!("the rpc listener panicked");
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A socket that has its final mode before it has its final name, so that nobody finds it with another one.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    // Nobody else may look into it: the socket is born with the mode that the umask leaves.
    let nursery = parent.join(format!(".{}", std::process::id()));
    let draft = nursery.join("s");
    let _ = std::fs::remove_dir_all(&nursery);
    std::fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let listener = UnixListener::bind(&draft).and_then(|listener| {
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&draft, path)?;
        Ok(listener)
    });
    let _ = std::fs::remove_dir_all(&nursery);
    listener
}

fn listen(listener: &UnixListener, shared: &Arc<Shared>, jobs: &SyncSender<Job>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0.. {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if shared.stopping.load(Ordering::SeqCst) => break,
            Err(e) => {
                log::warn!("rpc: accept: {e}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|t| !t.is_finished());
        if threads.len() >= shared.bounds.connections {
            connection::turn_away(&stream, shared.bounds.connections);
            continue;
        }
        let Ok(copy) = stream.try_clone() else { continue };
        shared.streams().insert(number, copy);
        let (mine, jobs) = (shared.clone(), jobs.clone());
        let work = move || {
            Connection::new(stream, &mine.bounds, &mine.buffered, &jobs).serve();
            mine.streams().remove(&number);
        };
        match std::thread::Builder::new().name("rpc-client".into()).spawn(work) {
            Ok(thread) => threads.push(thread),
            Err(e) => {
                log::warn!("rpc: no thread for a connection: {e}");
                // The last copy: the client sees the close.
                shared.streams().remove(&number);
            }
        }
    }
    for stream in shared.streams().values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        if thread.join().is_err() {
            log::error!("an rpc connection's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
