//! What the firmware knows and counts. Names are stable, and the same in JSON, tables and metrics; units are in them.

use crate::id::{IpPrefix, Location, Mac, Name, SegmentId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Every counter and gauge. Counters start at zero with the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The version of the firmware.
    pub version: String,
    /// [`crate::VERSION`].
    pub api_version: u32,
    /// The running generation.
    pub generation: u64,
    /// Since the process started.
    pub uptime_seconds: u64,
    /// One each, in the order of `weir.toml`.
    pub ports: Vec<PortStats>,
    /// One each, by core.
    pub workers: Vec<WorkerStats>,
    /// Sums over workers of the pipeline's events, by name: learned, moved, aged, flooded…
    pub events: BTreeMap<String, u64>,
    /// By table: macs, peers, neighbours, endpoints…
    pub tables: BTreeMap<String, TableStats>,
    /// Packet buffers.
    pub mbufs: MbufStats,
}

/// A port's state and counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortStats {
    /// Its name in `weir.toml`.
    pub name: String,
    /// PCI address or vdev, as in `weir.toml`.
    pub device: String,
    /// DPDK's name of the driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: String,
    /// The largest IP packet that leaves, bytes.
    pub mtu: u32,
    /// Whether the link is up.
    pub link_up: bool,
    /// Link speed in Mbit/s; 0 where the device does not say.
    pub link_mbps: u32,
    /// Queues to receive from.
    pub rx_queues: u16,
    /// Queues to send on.
    pub tx_queues: u16,
    /// Frames that the workers took from the device.
    pub rx_packets: u64,
    /// Their bytes, without FCS.
    pub rx_bytes: u64,
    /// Frames that the device accepted.
    pub tx_packets: u64,
    /// Their bytes, without FCS.
    pub tx_bytes: u64,
    /// Frames that the device lost before a worker saw them: its missed, errored and no-buffer counts.
    pub rx_missed: u64,
    /// Frames that the device failed to send after it took them; they are among `tx_packets`.
    pub tx_errors: u64,
    /// Frames dropped, by reason; the reasons that are zero are left out. Counted on the port a frame came in on.
    pub drops: BTreeMap<String, u64>,
}

/// A worker's state and counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// The core it runs on.
    pub core: u32,
    /// The generation it forwards by.
    pub generation: u64,
    /// TSC cycles spent on bursts that had packets.
    pub busy_cycles: u64,
    /// TSC cycles spent polling in vain.
    pub idle_cycles: u64,
    /// TSC cycles asleep (`poll = "adaptive"`).
    pub sleep_cycles: u64,
    /// The longest turn since it began, sleep left out: for so long it was away from its queues, be it for packets, for
    /// a change, or because the kernel had other plans for its core.
    #[serde(default)]
    pub longest_turn_microseconds: u64,
    /// How many turns took at least so many microseconds, and less than twice that; the last bound is open. Bounds are
    /// powers of two from 128 to 262,144; those without a turn are left out.
    #[serde(default)]
    pub long_turns_by_microseconds: BTreeMap<u64, u64>,
    /// Frames received.
    pub rx_packets: u64,
    /// Frames made here: flood copies, ARP requests.
    pub originated_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames dropped, for whatever reason.
    pub dropped_packets: u64,
    /// Frames that wait: for a next hop to resolve, or for the device to take them.
    pub held_packets: u64,
    /// Frames for the gateway itself that taught it something, and went no further: ARP answers of next hops.
    pub consumed_packets: u64,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStats {
    /// Entries in use; for a table that each worker has, of the fullest one.
    pub entries: u64,
    /// The most it holds.
    pub capacity: u64,
}

/// Packet buffers, over all pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MbufStats {
    /// Buffers that wait in the pools.
    pub free: u64,
    /// All there are.
    pub total: u64,
}

/// Where a MAC is, and how that is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MacRow {
    /// The bridge's name.
    pub bridge: String,
    /// The host's MAC.
    pub mac: Mac,
    /// Where frames to it go.
    pub location: Location,
    /// Configured, or learned.
    pub source: Source,
    /// Seconds since a frame came from it; absent for a configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

/// How a fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An operator said so.
    Configured,
    /// A frame said so.
    Learned,
}

impl Source {
    /// Its one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Learned => "learned",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who has an address on a bridge, and how that is known: what requests for it are answered from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingRow {
    /// The bridge's name.
    pub bridge: Name,
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub mac: Mac,
    /// Configured: an endpoint's own address. Learned: somebody said so who may, be it that an allowed pair lets him take
    /// it from the endpoint whose it is.
    pub source: Source,
    /// Seconds since it was confirmed; absent for a configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// A number that grows with every move.
    pub sequence: u32,
}

/// A place that a bridge's frames to everybody go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FloodRow {
    /// The bridge's name.
    pub bridge: Name,
    /// The segment they leave by.
    pub segment: SegmentId,
    /// The remote tunnel endpoint; exactly when the segment is a tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The full mesh that the peer is in; absent for the one without a name, and for a VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
    /// Why they go there.
    pub origin: Origin,
}

/// Why a bridge floods to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is a VLAN of the bridge, with one tag, two, or none.
    Vlan,
    /// It is a peer of the desired state.
    Peer,
    /// An endpoint is behind it, and the bridge floods to its endpoints.
    Endpoint,
}

impl Origin {
    /// Its one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vlan => "vlan",
            Self::Peer => "peer",
            Self::Endpoint => "endpoint",
        }
    }
}

/// A router, and how much it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterRow {
    /// The router's name.
    pub name: Name,
    /// As [`crate::object::Router`] has it.
    pub mss_clamp: bool,
    /// As [`crate::object::Router`] has it.
    pub icmp_limit: u32,
    /// How many interfaces it has.
    pub interfaces: u64,
    /// How many configured routes.
    pub routes: u64,
}

/// A route that a router forwards by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRow {
    /// The router's name.
    pub router: Name,
    /// Where to.
    pub prefix: IpPrefix,
    /// Why there is such a route.
    pub origin: RouteOrigin,
    /// Of a connected one, the bridge that the net is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Name>,
    /// The next hops, of which a flow takes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<NextHopRow>,
    /// Whether what goes there is dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blackhole: bool,
}

/// A next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextHopRow {
    /// Its address.
    pub address: IpAddr,
    /// The bridge that it is on; the interface to it is ROUTER/BRIDGE.
    pub bridge: Name,
}

/// Why a router has a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteOrigin {
    /// It is the net of an interface.
    Connected,
    /// It is a route of the desired state.
    Configured,
    /// External interfaces have gateways.
    External,
}

impl RouteOrigin {
    /// Its one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Configured => "configured",
            Self::External => "external",
        }
    }
}

/// The DVR MAC of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DvrMacRow {
    /// The MAC.
    pub mac: Mac,
    /// Whether it is this gateway's own.
    pub own: bool,
    /// How it is known.
    pub source: DvrMacSource,
}

/// How a DVR MAC is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DvrMacSource {
    /// An operator said so.
    Configured,
    /// It is that of the first port, since no own one is configured.
    Port,
}

impl DvrMacSource {
    /// Its one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Port => "port",
        }
    }
}

/// A next hop on the underlay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourRow {
    /// The port it is on, if it is a next hop on the underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The bridge it is on, if it is a host that a router sends to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// That router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Its address.
    pub address: String,
    /// Its MAC; absent while it is not resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// resolving, reachable, stale (probed), failed or permanent (configured).
    pub state: String,
    /// Frames that wait for it.
    pub held_packets: u64,
    /// The core of the worker whose entry this is.
    pub core: u32,
}
