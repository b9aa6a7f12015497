//! What systemd is told: READY, STOPPING, WATCHDOG.
//!
//! Owns: the datagrams of sd_notify(3), over the socket that `NOTIFY_SOCKET` names; without it, nothing is sent. Refuses
//! to say that all is well while a worker stands still.

use crate::manager::crew::Crew;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
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

    /// All workers are alive. To be said at least every [`Supervisor::interval`].
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// A status line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// How often [`Supervisor::alive`] is to be said: half of what the supervisor waits; `None` if it does not wait.
    pub fn interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|w| w / 2)
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = &self.socket
            && let Err(e) = socket.send_to_addr(message.as_bytes(), to)
        {
            log::warn!("NOTIFY_SOCKET: {message} not sent: {e}");
        }
    }
}

/// Looks after the workers, and tells the supervisor that they live.
pub struct Watchdog<'a> {
    supervisor: &'a Supervisor,
    said: Instant,
}

impl<'a> Watchdog<'a> {
    /// One that has said nothing yet.
    pub fn new(supervisor: &'a Supervisor) -> Self {
        Self { supervisor, said: Instant::now() }
    }

    /// Looks whether every worker moves, and says so if it is time to. A worker that stands still is logged, and from
    /// then on nothing is said, so that the supervisor acts; unless it moves again.
    pub fn look(&mut self, crew: &mut Crew, now: Time) {
        let alive = crew.are_alive(now);
        if let Some(interval) = self.supervisor.interval()
            && alive
            && self.said.elapsed() >= interval
        {
            self.supervisor.alive();
            self.said = Instant::now();
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
    use std::sync::atomic::Ordering;

    #[test]
    fn nothing_is_said_while_a_worker_stands_still() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let supervisor = Supervisor::new(address(path.as_os_str().as_bytes()), Some(Duration::ZERO));
        let links = [Shared::new(1), Shared::new(2)];
        let mut crew = Crew::new(links.to_vec());
        let mut watchdog = Watchdog::new(&supervisor);
        // Milliseconds: now, and when each worker last ticked.
        for (now, beats, said) in [
            (1_000, [1_000, 999], true),
            (5_000, [5_000, 3_000], true),
            (5_001, [5_001, 3_000], false),
            (60_000, [60_000, 3_000], false),
            (60_001, [60_001, 60_001], true),
            (70_000, [60_001, 60_001], false),
        ] {
            for (link, beat) in links.iter().zip(beats) {
                link.heartbeat.store(beat, Ordering::Relaxed);
            }
            watchdog.look(&mut crew, Time::from_millis(now));
            let mut buffer = [0; 64];
            let word = heard.recv(&mut buffer).map(|n| buffer[..n].to_vec()).ok();
            assert_eq!(word, said.then(|| b"WATCHDOG=1".to_vec()), "at {now} ms");
        }
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
