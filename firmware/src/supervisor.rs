//! What systemd is told: READY, STOPPING, WATCHDOG.
//!
//! Owns: the datagrams of sd_notify(3), over the socket that `NOTIFY_SOCKET` names; without it, nothing is sent. Refuses
//! to say that all is well while a worker or the manager stands still.

use crate::worker::link::Link;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use weir_pipelines::Time;

/// The supervisor that started this process, if it wants to hear from it.
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names: `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET").and_then(|name| address(name.as_bytes()));
        let usec = std::env::var("WATCHDOG_USEC").ok().and_then(|u| u.parse().ok());
        Self::new(address, usec.map(Duration::from_micros))
    }

    fn new(address: Option<SocketAddr>, watchdog: Option<Duration>) -> Self {
        let socket = address.and_then(|a| Some((UnixDatagram::unbound().ok()?, a)));
        Self { socket, watchdog }
    }

    /// Forwarding has begun.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The process is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// All threads are alive. To be said at least every [`Supervisor::interval`].
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// A status line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// How often [`Supervisor::alive`] is to be said: half of what the supervisor waits; `None` if it does not wait.
    pub fn interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).filter(|w| !w.is_zero()).map(|w| w / 2)
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = &self.socket
            && let Err(e) = socket.send_to_addr(message.as_bytes(), to)
        {
            log::warn!("NOTIFY_SOCKET: {message} not sent: {e}");
        }
    }
}

/// For how long the manager may be about one call, milliseconds: a batch of a million objects, a disk that is slow.
const MANAGER: u64 = 60_000;
/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(250);

/// Tells the supervisor that all threads live, from a thread of its own, so that a long call does not look like death.
/// Dropping it ends the thread.
pub struct Watchdog {
    shared: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

/// Whom the watchdog looks at.
struct Watched {
    links: Vec<Link>,
    /// When the manager last moved, milliseconds.
    manager: AtomicU64,
    stop: AtomicBool,
}

impl Watched {
    /// Whether the manager and every worker move.
    fn are_alive(&self, now: Time) -> bool {
        let manager = Time::from_millis(self.manager.load(Ordering::Relaxed));
        now.since(manager) <= MANAGER && !self.links.iter().any(|link| link.is_stuck(now))
    }

    /// Says that all is well whenever it is time to and it is true, until told to stop.
    fn watch(&self, supervisor: &Supervisor, interval: Duration, now: impl Fn() -> Time) {
        let mut said: Option<Instant> = None;
        let mut were_alive = true;
        while !self.stop.load(Ordering::Acquire) {
            let alive = self.are_alive(now());
            if alive && said.is_none_or(|said| said.elapsed() >= interval) {
                supervisor.alive();
                said = Some(Instant::now());
            }
            if were_alive && !alive {
                log::error!("a worker or the manager does not move: the supervisor is no longer told that all is well");
            }
            were_alive = alive;
            std::thread::park_timeout(LOOK.min(interval / 2));
        }
    }
}

impl Watchdog {
    /// Begins to watch the workers behind `links` and whoever calls [`Watchdog::beat`], if the supervisor waits for word.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        supervisor: &Arc<Supervisor>,
        links: Vec<Link>,
        now: impl Fn() -> Time + Send + 'static,
    ) -> io::Result<Self> {
        let manager = AtomicU64::new(now().millis());
        let shared = Arc::new(Watched { links, manager, stop: AtomicBool::new(false) });
        let thread = match supervisor.interval() {
            None => None,
            Some(interval) => {
                let (watched, supervisor) = (shared.clone(), supervisor.clone());
                let watch = move || watched.watch(&supervisor, interval, now);
                Some(std::thread::Builder::new().name("watchdog".into()).spawn(watch)?)
            }
        };
        Ok(Self { shared, thread })
    }

    /// The manager moves. To be said at least once a minute.
    pub fn beat(&self, now: Time) {
        self.shared.manager.store(now.millis(), Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("the watchdog's thread panicked");
            }
        }
    }
}

fn address(name: &[u8]) -> Option<SocketAddr> {
    match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok(),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::link::Shared;

    fn watched(links: Vec<Link>) -> Watched {
        Watched { links, manager: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    #[test]
    fn who_stands_still_is_noticed() {
        let links = [Shared::new(1), Shared::new(2)];
        let watched = watched(links.to_vec());
        // Milliseconds: now, when each worker last ticked, and when the manager last moved.
        for (now, beats, manager, alive) in [
            (1_000, [1_000, 999], 0, true),
            (5_000, [5_000, 3_000], 0, true),
            (5_001, [5_001, 3_000], 0, false),
            (60_000, [60_000, 3_000], 60_000, false),
            (60_001, [60_001, 60_001], 1, true),
            (60_001, [60_001, 60_001], 0, false),
            (70_000, [60_001, 60_001], 70_000, false),
        ] {
            for (link, beat) in links.iter().zip(beats) {
                link.heartbeat.store(beat, Ordering::Relaxed);
            }
            watched.manager.store(manager, Ordering::Relaxed);
            assert_eq!(watched.are_alive(Time::from_millis(now)), alive, "at {now} ms");
        }
    }

    #[test]
    fn while_the_manager_is_busy_the_supervisor_hears_of_it_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (socket, often) = (address(path.as_os_str().as_bytes()), Duration::from_millis(4));
        let supervisor = Arc::new(Supervisor::new(socket, Some(often)));
        let link = Shared::new(1);
        let time = Arc::new(AtomicU64::new(0));
        let clock = time.clone();
        let now = move || Time::from_millis(clock.load(Ordering::Relaxed));
        let watchdog = Watchdog::start(&supervisor, vec![link], now).unwrap();
        let mut buffer = [0; 64];
        // Nobody calls `beat`.
        for _ in 0..3 {
            let n = heard.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"WATCHDOG=1");
        }
        // The worker stands still: what was said before it is read, and then there is silence.
        time.store(10_000, Ordering::Relaxed);
        heard.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let more = std::iter::from_fn(|| heard.recv(&mut buffer).ok()).take(1000).count();
        assert!(more < 1000, "it is still said that all is well");
        drop(watchdog);
    }

    #[test]
    fn the_supervisor_hears_each_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(address(path.as_os_str().as_bytes()), Some(Duration::from_secs(4)));
        supervisor.ready();
        supervisor.alive();
        supervisor.stopping();
        let mut buffer = [0; 64];
        for expected in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
            let n = heard.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], expected.as_bytes());
        }
        assert_eq!(supervisor.interval(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn without_a_socket_nothing_is_sent() {
        let supervisor = Supervisor::new(None, Some(Duration::from_secs(4)));
        supervisor.ready();
        assert_eq!(supervisor.interval(), None);
    }
}
