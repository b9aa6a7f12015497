//! What systemd is told: READY, STOPPING, WATCHDOG.
//!
//! Owns: the datagrams of sd_notify(3), over the socket that `NOTIFY_SOCKET` names; without it, nothing is sent.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

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

    /// How often [`Supervisor::alive`] is to be said: half of what the supervisor waits; `None` if it does not.
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

fn address(name: &[u8]) -> Option<SocketAddr> {
    match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok(),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
