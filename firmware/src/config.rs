//! `weir.toml`: what must be known at boot. Ports, cores, memory, table sizes, sockets and directories.
//!
//! Owns: the file's shape, its defaults, and its errors, each with the line and the key. Refuses unknown keys. What
//! needs the machine to judge (does the core exist?) is [`crate::doctor`]'s; what can change while Weir runs is not
//! here but in the desired state.

use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use weir_api::id::Name;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Memory and DPDK's environment.
    #[serde(default)]
    pub dpdk: Dpdk,
    /// The ports, at least one.
    #[serde(rename = "port")]
    pub ports: Vec<Port>,
    /// The cores that forward.
    pub workers: Workers,
    /// The capacities of all tables.
    #[serde(default)]
    pub tables: Tables,
    /// The management socket.
    #[serde(default)]
    pub rpc: Rpc,
    /// The desired state on disk.
    #[serde(default)]
    pub state: State,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// `[dpdk]`: memory and DPDK's environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dpdk {
    /// Whether packet memory is in hugepages.
    pub hugepages: Hugepages,
    /// Memory for packet buffers and rings, MiB.
    pub memory_mib: u32,
    /// What DPDK calls its runtime files; two Weirs on one machine need two.
    pub file_prefix: String,
    /// Packet buffers, for all ports and workers together.
    pub mbufs: u32,
    /// Handed to EAL as they are.
    pub extra_args: Vec<String>,
}

impl Default for Dpdk {
    fn default() -> Self {
        Self {
            hugepages: Hugepages::Auto,
            memory_mib: 512,
            file_prefix: "weir".to_owned(),
            mbufs: 32_768,
            extra_args: Vec::new(),
        }
    }
}

/// Whether packet memory is in hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// Where enough are free; else ordinary pages, with a warning.
    Auto,
    /// Always; without them Weir does not start.
    Require,
    /// Never.
    None,
}

/// `[[port]]`: one DPDK port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// What it is called everywhere else.
    pub name: Name,
    /// A PCI address (`0000:01:00.0`) or a vdev (`net_af_packet0,iface=veth0`).
    pub device: String,
    /// The largest IP packet that leaves, bytes.
    #[serde(default = "Port::default_mtu")]
    pub mtu: u16,
    /// Descriptors of each rx queue.
    #[serde(default = "Port::default_descriptors")]
    pub rx_descriptors: u16,
    /// Descriptors of each tx queue.
    #[serde(default = "Port::default_descriptors")]
    pub tx_descriptors: u16,
}

impl Port {
    fn default_mtu() -> u16 {
        1500
    }
    fn default_descriptors() -> u16 {
        1024
    }

    /// Whether the device is a PCI address, and not a vdev.
    pub fn is_pci(&self) -> bool {
        let address = self.device.split(',').next().unwrap_or_default();
        let mut parts = address.split([':', '.']);
        let widths = [4, 2, 2, 1];
        widths.iter().all(|w| parts.next().is_some_and(|p| p.len() == *w && p.bytes().all(|b| b.is_ascii_hexdigit())))
            && parts.next().is_none()
    }

    /// Bytes of one slot of the kernel's ring behind a `net_af_packet` vdev (`framesz=`, 2048 without it); `None` of
    /// another device, or if the number is none.
    pub fn ring_slot(&self) -> Option<u32> {
        let af_packet = self.device.starts_with("net_af_packet") || self.device.starts_with("eth_af_packet");
        if af_packet { self.argument("framesz").unwrap_or("2048").parse().ok() } else { None }
    }

    /// The value of one of a vdev's arguments: `iface` of `net_tap0,iface=x`.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.device.split(',').skip(1).find_map(|a| a.split_once('=').filter(|(k, _)| *k == key)).map(|(_, v)| v)
    }
}

/// `[workers]`: the cores that forward.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// One worker on each of them; at least one.
    pub cores: Vec<u32>,
    /// What a worker does when nothing arrives.
    #[serde(default)]
    pub poll: Poll,
}

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// It asks again at once: least latency, a whole core.
    #[default]
    Busy,
    /// It sleeps 50 µs to 1 ms after some rounds in vain: an idle gateway takes a few percent of a core.
    Adaptive,
}

/// `[tables]`: how much each table holds. Memory for the learned ones is taken at boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Learned MACs, for each worker.
    pub macs: u32,
    /// Learned bindings, for each worker.
    pub bindings: u32,
    /// Next hops on the underlay, for each worker.
    pub neighbours: u32,
    /// Hosts on routed bridges that are looked after, for each worker.
    pub hosts: u32,
    /// Pairs of addresses whose way through a router is remembered, for each worker.
    pub hops: u32,
    /// Bridges.
    pub bridges: u32,
    /// Segments.
    pub segments: u32,
    /// Vteps.
    pub vteps: u32,
    /// Configured remote tunnel endpoints: pairs of vtep and address that peers or endpoints name.
    pub peers: u32,
    /// Remote tunnel endpoints that are not configured and have learned MACs behind them, for each worker.
    pub learned_peers: u32,
    /// Frames that wait for next hops to resolve, for each worker.
    pub held: u32,
    /// Endpoints: configured MACs.
    pub endpoints: u32,
    /// Routers.
    pub routers: u32,
    /// Their interfaces.
    pub interfaces: u32,
    /// Their configured routes.
    pub routes: u32,
}

impl Tables {
    /// How many numbers there are for peers: twice as many as peers, so that a freed one rests until no learned entry
    /// names it any more.
    pub fn peer_numbers(&self) -> u32 {
        self.peers.saturating_mul(2)
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            macs: 1_048_576,
            bindings: 1_048_576,
            neighbours: 4096,
            hosts: 65_536,
            hops: 2_097_152,
            bridges: 65_536,
            segments: 131_072,
            vteps: 256,
            peers: 16_384,
            learned_peers: 16_384,
            held: 512,
            endpoints: 1_048_576,
            routers: 65_536,
            interfaces: 131_072,
            routes: 1_048_576,
        }
    }
}

/// `[rpc]`: the management socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rpc {
    /// Where the Unix socket is made.
    pub socket: PathBuf,
    /// The longest message, MiB; all unfinished messages together take no more than twice as much.
    pub max_message_mib: u32,
    /// Connections at one time.
    pub max_connections: u32,
    /// How long a message may take to arrive, and an answer to be read, seconds.
    pub timeout_seconds: u32,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/weir/weir.sock"),
            max_message_mib: 256,
            max_connections: 32,
            timeout_seconds: 30,
        }
    }
}

/// `[state]`: the desired state on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The directory that holds it.
    pub directory: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        Self { directory: PathBuf::from("/var/lib/weir") }
    }
}

/// `[log]`: what is logged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least important level that is.
    pub level: Level,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

/// A log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

/// Why `weir.toml` cannot be used: the file, and what is wrong on which line.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Read(PathBuf, std::io::Error),
    /// It is no TOML, or a key or value is wrong.
    Parse(PathBuf, Box<toml::de::Error>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Parse(path, e) => write!(f, "{}: {}", path.display(), e.to_string().trim_end()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(path.to_owned(), e))?;
        Self::parse(&text).map_err(|e| ConfigError::Parse(path.to_owned(), Box::new(e)))
    }

    /// Bytes that a packet buffer has behind its headroom: 2048, or what takes a frame of the largest MTU in one piece,
    /// or a slot of a `net_af_packet` ring, which that driver wants to fit.
    pub fn data_room(&self) -> u32 {
        // Ethernet header, two tags, FCS; whole cache lines.
        let frame = |port: &Port| (u32::from(port.mtu) + 26).next_multiple_of(64);
        let most = self.ports.iter().map(|port| frame(port).max(port.ring_slot().unwrap_or(0))).max();
        most.unwrap_or(0).max(2048)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// toml's own, whose text shows the line and the key.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[[port]]\nname = \"lan0\"\ndevice = \"net_null0\"\n[workers]\ncores = [1]\n";

    #[test]
    fn the_least_file_takes_every_default() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.dpdk, Dpdk::default());
        assert_eq!(config.tables, Tables::default());
        assert_eq!((config.ports[0].mtu, config.ports[0].rx_descriptors), (1500, 1024));
        assert_eq!(config.workers, Workers { cores: vec![1], poll: Poll::Busy });
    }

    #[test]
    fn the_example_says_every_default_as_it_is() {
        let example = Config::parse(include_str!("../docs/weir.toml")).unwrap();
        let least = Config::parse(LEAST).unwrap();
        assert_eq!(
            (example.dpdk, example.tables, example.rpc, example.state, example.log, example.workers),
            (least.dpdk, least.tables, least.rpc, least.state, least.log, least.workers)
        );
        for port in example.ports {
            assert_eq!((port.mtu, port.rx_descriptors, port.tx_descriptors), (1500, 1024, 1024));
        }
    }

    #[track_caller]
    fn refused(text: &str, line: usize, key: &str) {
        let error = Config::parse(text).unwrap_err().to_string();
        assert!(error.contains(&format!("line {line}")) && error.contains(key), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        refused(&format!("{LEAST}colour = 1\n"), 6, "colour");
        refused(&format!("{LEAST}[dpdk]\nhugepage = \"auto\"\n"), 7, "hugepage");
        refused(&format!("{LEAST}[[bridge]]\nname = \"red\"\n"), 6, "bridge");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        refused(&format!("{LEAST}poll = \"lazy\"\n"), 6, "lazy");
        refused("[[port]]\nname = \"a b\"\ndevice = \"x\"\n[workers]\ncores = [1]\n", 2, "a b");
        refused("[[port]]\nname = \"a\"\ndevice = \"x\"\nmtu = 70000\n[workers]\ncores = [1]\n", 4, "70000");
        refused("[[port]]\nname = \"a\"\n[workers]\ncores = [1]\n", 1, "device");
        assert!(Config::parse("[workers]\ncores = [1]\n").unwrap_err().to_string().contains("port"));
    }

    #[test]
    fn a_buffer_takes_a_frame_of_every_port() {
        let room = |device: &str, mtu: &str| {
            let ports = format!("[[port]]\nname = \"up0\"\ndevice = \"{device}\"\nmtu = {mtu}\n");
            Config::parse(&format!("{ports}{LEAST}")).unwrap().data_room()
        };
        assert_eq!(room("net_null1", "1500"), 2048);
        assert_eq!(room("net_null1", "2022"), 2048);
        assert_eq!(room("net_null1", "2023"), 2112);
        assert_eq!(room("0000:01:00.0", "9000"), 9088);
        assert_eq!(room("net_af_packet0,iface=x", "1500"), 2048);
        assert_eq!(room("net_af_packet0,iface=x,framesz=16384,blocksz=16384", "9000"), 16_384);
        assert_eq!(room("net_tap0,framesz=4096", "1500"), 2048, "another driver's argument of that name");
    }

    #[test]
    fn a_device_is_pci_or_vdev() {
        let port = |device: &str| Port { device: device.into(), ..Config::parse(LEAST).unwrap().ports.remove(0) };
        assert!(port("0000:01:00.0").is_pci());
        assert!(port("0000:01:00.0,rx_vec=1").is_pci());
        assert!(!port("net_af_packet0,iface=veth0").is_pci());
        assert!(!port("01:00.0").is_pci());
        assert_eq!(port("net_af_packet0,iface=veth0,qpairs=2").argument("iface"), Some("veth0"));
        assert_eq!(port("net_null0").argument("iface"), None);
    }
}
