//! What is configured, as the packet path reads it: plain data, named by small numbers.

use super::buckets::Secret;
use super::{BridgeId, Gate, InterfaceIx, MeshId, PeerIx, PortId, SegmentIx, VtepIx};
use crate::wire::{MacAddr, VlanId, Vni};
use alloc::vec::Vec;
use core::net::IpAddr;

/// What the path knows of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its own MAC, which is also that of the vteps on it.
    pub mac: MacAddr,
    /// The largest packet behind the Ethernet header and the segment's tag, bytes.
    pub mtu: u16,
}

/// What an operator sets on a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// The most MACs it learns, on each worker.
    pub mac_limit: u32,
    /// Seconds of silence after which a learned MAC is forgotten.
    pub mac_ageing: u16,
    /// Whether a frame to an unknown MAC is flooded; else it is dropped.
    pub flood_unknown: bool,
    /// Whether tunnelled frames are accepted only from listed peers ([`Snapshot::list_peer`]).
    pub listed_only: bool,
    /// Whether requests for known bindings are answered where they come in.
    pub suppress: bool,
    /// Whether a request for an address without a binding is flooded; else it is dropped.
    pub flood_unknown_target: bool,
    /// The most bindings it learns, on each worker.
    pub binding_limit: u32,
    /// Seconds without confirmation after which a learned binding's owner is asked.
    pub binding_ageing: u16,
    /// Whether every frame's source is checked against what its endpoint may be.
    pub port_security: bool,
    /// Broadcast and multicast frames that a port may bring in a second, on each worker; 0 is without limit.
    pub broadcast_limit: u32,
    /// The same for frames to unknown MACs.
    pub unknown_limit: u32,
    /// The same for announcements.
    pub announcement_limit: u32,
}

impl Default for BridgeSettings {
    /// As an operator gets them who sets none.
    fn default() -> Self {
        Self {
            mac_limit: 4096,
            mac_ageing: 300,
            flood_unknown: true,
            listed_only: false,
            suppress: true,
            flood_unknown_target: true,
            binding_limit: 4096,
            binding_ageing: 300,
            port_security: false,
            broadcast_limit: 10_000,
            unknown_limit: 10_000,
            announcement_limit: 1000,
        }
    }
}

/// A bridge: its settings, and where it floods.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// What the operator set.
    pub settings: BridgeSettings,
    /// Its VLAN and QinQ segments.
    pub local: Vec<SegmentIx>,
    /// The peers behind its tunnel segments that flooded frames go to.
    pub remote: Vec<(SegmentIx, PeerIx)>,
    /// Routers' interfaces on it.
    pub interfaces: Vec<InterfaceIx>,
    /// Their MACs.
    pub gate: Gate,
}

impl Bridge {
    /// One without segments.
    pub(super) fn new(settings: BridgeSettings) -> Self {
        Self { settings, local: Vec::new(), remote: Vec::new(), interfaces: Vec::new(), gate: Gate::default() }
    }
}

/// How a tunnel's frames are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encap {
    /// RFC 7348.
    #[default]
    Vxlan,
    /// RFC 7637.
    Nvgre,
    /// RFC 8926.
    Geneve,
}

impl Encap {
    /// How many there are.
    pub(super) const COUNT: usize = 3;
}

/// How frames come and go on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// With this tag on this port, or without one.
    Vlan {
        /// The port.
        port: PortId,
        /// The tag; `None` for untagged and priority-tagged frames.
        vid: Option<VlanId>,
    },
    /// With two tags on this port.
    Qinq {
        /// The port.
        port: PortId,
        /// Whether the outer tag is a service tag (0x88A8); else it is a customer tag like the inner one (0x8100).
        service: bool,
        /// The outer tag.
        outer: VlanId,
        /// The inner tag.
        inner: VlanId,
    },
    /// In a tunnel, from this vtep.
    Tunnel {
        /// How it is wrapped.
        encap: Encap,
        /// The network: VNI, or VSID.
        network: Vni,
        /// The local tunnel endpoint.
        vtep: VtepIx,
    },
}

/// An attachment of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The bridge it belongs to.
    pub bridge: BridgeId,
    /// How its frames come and go.
    pub kind: SegmentKind,
    /// Whether frames inside a tunnel may carry a tag of their own.
    pub carry_tags: bool,
    /// The full mesh that a tunnel's peers are in, unless one of them is in another ([`Snapshot::set_peer_mesh`]).
    pub mesh: MeshId,
}

/// The most next hops of equal cost.
pub const NEXT_HOPS: usize = 8;

/// A local tunnel endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// The port whose untagged traffic is its underlay.
    pub port: PortId,
    /// Its address.
    pub address: IpAddr,
    /// Length of the prefix that is reached without a gateway, bits.
    pub prefix_len: u8,
    /// The next hops to everything else, of equal cost; those behind the first [`NEXT_HOPS`] are not used.
    pub gateways: Vec<IpAddr>,
    /// Next hops whose MAC is configured.
    pub neighbours: Vec<(IpAddr, MacAddr)>,
}

impl Vtep {
    /// Whether `address` is reached without a gateway.
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        Prefix { address: self.address, len: self.prefix_len }.contains(address)
    }
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// Bits, at most 32 or 128.
    pub len: u8,
}

impl Prefix {
    /// That address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, len: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether it is one address alone.
    pub fn is_host(self) -> bool {
        self.len == Self::host(self.address).len
    }

    /// Whether an address stands for all of an IPv4 net: its first, or its last. Nets of two addresses have none (RFC 3021).
    pub fn is_all_of(self, address: IpAddr) -> bool {
        let (IpAddr::V4(net), IpAddr::V4(v4)) = (self.address, address) else { return false };
        let behind = u32::MAX.checked_shr(self.len.into()).unwrap_or(0);
        let within = v4.to_bits() & behind;
        self.len < 31 && (net.to_bits() ^ v4.to_bits()) & !behind == 0 && (within == 0 || within == behind)
    }

    /// Whether it is of `address`'s family and covers it.
    pub fn contains(self, address: IpAddr) -> bool {
        let same =
            |a: u128, b: u128, bits: u32| (a ^ b).checked_shr(bits - u32::from(self.len).min(bits)).unwrap_or(0) == 0;
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// A remote tunnel endpoint, as seen from one vtep by one encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The local end.
    pub vtep: VtepIx,
    /// How frames to it are wrapped.
    pub encap: Encap,
    /// The remote end.
    pub address: IpAddr,
}

impl Peer {
    /// A non-zero key for it: of an IPv6 one only a keyed hash, so that what is found is to be compared.
    #[inline]
    pub(super) fn key(self, secret: Secret) -> u64 {
        let local = u64::from(self.vtep.0) | (self.encap as u64) << 16;
        match self.address {
            IpAddr::V4(v4) => 1 << 63 | local << 32 | u64::from(v4.to_bits()),
            IpAddr::V6(v6) => 3 << 62 | secret.mix(fold(secret, v6.to_bits()), local),
        }
    }
}

/// 128 bits as 64, by the secret.
#[inline]
pub(super) fn fold(secret: Secret, bits: u128) -> u64 {
    secret.mix((bits >> 64) as u64, bits as u64)
}

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The segment.
    pub segment: SegmentIx,
    /// The peer behind it; exactly when the segment is a tunnel.
    pub peer: Option<PeerIx>,
}

/// What a configured host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub at: Location,
    /// Whether its addresses are configured: only then does port security check them.
    pub addressed: bool,
}

/// What a MAC may hold besides its endpoint's own addresses: its allowed pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Addresses and prefixes.
    pub prefixes: Vec<Prefix>,
    /// Where that MAC may be: at its endpoint's place, or, for a MAC that several endpoints share, at theirs.
    pub places: Vec<Location>,
}

/// The VLAN space of a port, entry by entry: what a frame with that tag belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attachment {
    /// Nothing: it is dropped.
    #[default]
    None,
    /// A segment, its bridge, whether that has port security, and its gateways.
    Segment(SegmentIx, BridgeId, bool, Gate),
    /// The tag behind this one decides ([`Snapshot::qinq`]).
    Stacked,
    /// The underlay: the vteps of the port.
    Underlay,
}
