//! Addresses, header views and checksums, one file per protocol.
//!
//! Owns: what the bytes of a header mean. Refuses: opinions about packets; a legal header that the gateway will drop is
//! no business of this module.
//!
//! Every protocol has two types. The view (`Ipv4<'a>`) borrows bytes and comes only from `parse`, which checks that they
//! suffice: from then on every accessor is a plain load. The header (`Ipv4Header`) is plain data, and writes itself
//! into an array of exactly its length, every byte of it.
//!
//! `parse` is for bytes in one piece, and answers the payload as well. `parse_head`, where there is one, is for a frame
//! of several segments: it looks at the bytes in the first one, and checks lengths against the whole frame.

mod arp;
pub mod checksum;
mod dhcp;
mod ethernet;
mod fragmentation;
mod geneve;
mod icmp;
mod icmp_error;
mod icmpv6;
mod ip;
mod ipv4;
mod ipv6;
mod ndp;
mod ndp_router;
#[cfg(test)]
mod ndp_tests;
mod nvgre;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod routing_properties;
mod tcp;
mod udp;
mod vxlan;

pub use arp::{Arp, ArpHeader, ArpOperation};
pub use dhcp::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT, Dhcp4, Dhcp4Type, Dhcp6, Dhcp6Address,
    Dhcp6Type, MAX_DHCP_OPTIONS, MAX_DHCP6_ADDRESSES,
};
pub use ethernet::{EtherType, Ethernet, EthernetHeader, IllegalVlanId, MacAddr, Tag, VlanId};
pub use fragmentation::{Fragments, Piece};
pub use geneve::{GENEVE_PORT, Geneve, GeneveHeader};
pub use icmp::{EchoHeader, Icmp, IcmpType};
pub use icmp_error::{
    IcmpError, MAX_ERROR4, MAX_ERROR6, may_cause_error4, may_cause_error6, write_error4, write_error6,
};
pub use icmpv6::{Icmpv6, Icmpv6Type};
pub use ip::{Ecn, IpProtocol, TrafficClass};
pub use ipv4::{Fragment, Ipv4, Ipv4Header};
pub(crate) use ipv6::is_extension;
pub use ipv6::{Ipv6, Ipv6Fragment, Ipv6Header, MAX_EXTENSIONS, Upper};
pub use ndp::{ALL_NODES, MAX_ND_OPTIONS, NaPacket, Nd, NsPacket, NsProbe, multicast_mac, solicited_node};
pub use ndp_router::{ALL_ROUTERS, MAX_RA_PREFIXES, RaPacket, RaPrefix, is_router_solicitation, link_local};
pub use nvgre::{IllegalVsid, Nvgre, NvgreHeader, Vsid};
pub use tcp::clamp_mss;
pub use udp::{Udp, UdpHeader};
pub use vxlan::{IllegalVni, VXLAN_PORT, Vni, Vxlan, VxlanHeader};

/// What is wrong with a header: the packet's fault, never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The bytes end before the header does, or before the length that the header claims.
    Truncated,
    /// A length field that contradicts its own header: too small for it, or not the only legal value.
    BadLength,
    /// An IP version other than the one that the EtherType promised, or a Geneve version other than 0.
    BadVersion,
    /// An ARP packet, or a DHCP client, of a hardware type other than Ethernet.
    BadHardware,
    /// An ARP packet of a protocol type other than IPv4, a Geneve packet of one other than Ethernet.
    BadProtocol,
    /// A VXLAN header whose I flag is clear: its VNI means nothing.
    NoVni,
    /// A GRE header that is not NVGRE's: its flags, its version or its protocol type.
    BadGre,
    /// A Geneve packet with an option that must not be skipped.
    CriticalOption,
    /// A Geneve control packet: its payload is nothing to forward.
    ControlPacket,
    /// A checksum that is not that of the message.
    BadChecksum,
    /// A neighbour solicitation or advertisement that breaks a rule of RFC 4861 §7.1, a router solicitation that breaks one
    /// of §6.1.1, or either that contradicts itself.
    BadNd,
    /// A BOOTP message that is not DHCP's: its operation, its magic cookie or its message type.
    NotDhcp,
    /// More options than any sender needs: [`MAX_ND_OPTIONS`], [`MAX_DHCP_OPTIONS`].
    TooManyOptions,
    /// More than [`MAX_EXTENSIONS`] IPv6 extension headers.
    TooManyExtensions,
}

/// The big-endian number in bytes `at` and `at + 1`. `at` is a constant at every call, and inside: no check remains.
#[inline(always)]
const fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The four bytes from `at`.
#[inline(always)]
const fn four<const N: usize>(bytes: &[u8; N], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

/// The sixteen bytes from `at`.
#[inline(always)]
fn sixteen<const N: usize>(bytes: &[u8; N], at: usize) -> [u8; 16] {
    core::array::from_fn(|i| bytes[at + i])
}
