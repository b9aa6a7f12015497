//! Parse: what the steps need to know of a tenant's frame, once, as plain data.
//!
//! Refuses frames whose own headers lie: cut IPv4, IPv6, ARP and UDP, and 802.3 lengths that reach behind the frame. All
//! else is bridged: what stands in a header that a bridge need not understand is no reason to drop a frame.
//! Read first: RFC 791 §3.1, RFC 8200 §3 and §4, RFC 826, IEEE 802.3 §3.2.6.

use super::DropReason;
use super::decide::Decision;
use super::tunnels::checksum_holds;
use crate::tables::{BridgeId, Flow, Gate, Hop, InterfaceIx, MeshId, Pair, Peer, Place, Secret};
use crate::wire::{
    Arp, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT, Ecn, EtherType, Icmpv6Type,
    IpProtocol, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Tag, TrafficClass, Udp, is_extension,
};

/// Bytes behind the IPv6 header in which ports are looked for: the same however the frame is split into segments.
pub(super) const IPV6_WALK: usize = 64;
/// A packet goes through so many routers of this gateway's at most, one behind the other. With as many hops left or fewer, it is
/// looked at in full.
pub(super) const CHAIN: u8 = 4;
/// Ports of what DHCP servers tell clients, source and destination.
const DHCP: u32 = (DHCP_SERVER_PORT as u32) << 16 | DHCP_CLIENT_PORT as u32;
const DHCP6: u32 = (DHCP6_SERVER_PORT as u32) << 16 | DHCP6_CLIENT_PORT as u32;

/// A tenant's frame, taken apart. Written in place, field by field, in a lane of its own: as a result that is handed up
/// from call to call it would be copied, and wait for its own stores, once a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parsed {
    /// Bridge and destination MAC, and its hash where it is looked up.
    pub(super) to: u64,
    pub(super) to_hash: u64,
    /// Bridge and source MAC, and its hash where it is looked up.
    pub(super) from: u64,
    pub(super) from_hash: u64,
    /// The hash of [`Parsed::flow`], or of [`Parsed::pair`].
    pub(super) flow_hash: u64,
    /// What is to become of it.
    pub(super) decision: Decision,
    /// Where it came in. From a tunnel, the peer is missing while it has no number.
    pub(super) place: Place,
    pub(super) bridge: BridgeId,
    /// From a tunnel: of which full mesh.
    pub(super) mesh: MeshId,
    pub(super) tunnel: bool,
    /// Whether its bridge has port security.
    pub(super) secure: bool,
    /// The gateways of its bridge.
    pub(super) gate: Gate,
    /// Whether it is for one of them.
    pub(super) routed: Routed,
    /// Of one that is: its two addresses and which gateway it is for, in 128 bits, exact for IPv4, a keyed hash for IPv6.
    pub(super) addresses: [u64; 2],
    /// Of one that leaves by another bridge, or comes from another gateway: how it is written.
    pub(super) hop: Hop,
    /// Of one for a router: by which interface of a further router it came to what became of it.
    pub(super) speaker: Option<InterfaceIx>,
    /// Whether it leaves with the hop's source MAC wherever it does not leave in a tunnel.
    pub(super) dressed: bool,
    /// From a tunnel whose peer has no number: who that is.
    pub(super) stranger: Option<Peer>,
    /// Where the EtherType behind the MACs and the segment's own tag is.
    pub(super) rest_at: u16,
    /// Where the frame ends: padding of the outer frame lies behind.
    pub(super) end: u32,
    /// Priority and drop eligibility of the segment's own tag, in the upper four bits.
    pub(super) priority: u16,
    /// The ECN field that the inner IP header must get, because the outer one said so.
    pub(super) ecn: Option<Ecn>,
    pub(super) inner: Inner,
}

impl Parsed {
    /// What makes it one of a row of frames that all go the same way.
    #[inline(always)]
    pub(super) fn flow(&self) -> Flow {
        Flow::new(self.from, self.to, self.place)
    }

    /// The same, of a packet for a router.
    #[inline(always)]
    pub(super) fn pair(&self) -> Pair {
        Pair::new(self.from, self.addresses, self.place)
    }

    /// Length behind the Ethernet header, bytes: what an MTU limits. A tag that the frame carries along counts.
    #[inline]
    pub(super) fn payload_len(&self) -> usize {
        self.end as usize - usize::from(self.rest_at) - 2
    }

    /// Whether it is more than a frame to forward: who sent it is to be checked, or it says who has an address, or asks.
    #[inline(always)]
    pub(super) fn is_noted(&self) -> bool {
        self.secure | (self.inner.note != Note::None)
    }
}

/// Whether a frame is for a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Routed {
    /// It is not.
    #[default]
    No,
    /// It is, and nothing about it is unusual: what became of its like becomes of it.
    Plain,
    /// It is, and has to be looked at in full each time.
    Odd,
}

/// Frames that say, or ask, who has an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Note {
    /// It is none.
    #[default]
    None,
    /// ARP.
    Arp,
    /// A neighbour or router solicitation or advertisement, or a chain of extension headers that may end in one.
    Nd,
    /// From a DHCP server's port to a client's.
    Dhcp,
    /// An announcement that was judged, and let in.
    Announced,
}

/// What lies behind the MACs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inner {
    /// A hash of what makes a flow: addresses, protocol, ports; MACs where it is not IP.
    pub(super) flow: u64,
    /// DSCP and ECN; zero where it is not IP.
    pub(super) class: TrafficClass,
    /// Whether it begins with a VLAN tag.
    pub(super) tagged: bool,
    /// Bytes from the first EtherType to the IP header, and 4 or 6; 0 where it is not IP.
    pub(super) ip_at: u8,
    pub(super) ip_version: u8,
    pub(super) note: Note,
}

impl Inner {
    /// Takes apart what follows the MACs. `rest` begins behind an EtherType, which is `ether_type`; `available` is the
    /// length from there to the end of the frame, of which `rest` may be only the first segment's part. `hosts` is a
    /// hash of the MACs.
    #[inline(always)]
    pub(super) fn parse(
        &mut self,
        ether_type: EtherType,
        rest: &[u8],
        available: usize,
        secret: Secret,
        hosts: impl Fn() -> u64,
    ) -> Result<(), DropReason> {
        (self.tagged, self.ip_at, self.note) = (false, 2, Note::None);
        match ether_type {
            EtherType::IPV4 => self.ipv4(rest, available, secret),
            _ => self.parse_other(ether_type, rest, available, secret, hosts()),
        }
    }

    #[inline(never)]
    fn parse_other(
        &mut self,
        mut ether_type: EtherType,
        mut payload: &[u8],
        mut len: usize,
        secret: Secret,
        hosts: u64,
    ) -> Result<(), DropReason> {
        self.tagged = ether_type.is_tag();
        let mut is_of_a_vlan = false;
        // Two tags at most: what lies behind a third is bridged unread.
        for _ in 0..2 {
            if !ether_type.is_tag() {
                break;
            }
            let (tag, next, behind) = Tag::parse(ether_type, payload).map_err(|_| DropReason::Truncated)?;
            len = len.checked_sub(4).ok_or(DropReason::Truncated)?;
            (ether_type, payload) = (next, behind);
            self.ip_at += 4;
            is_of_a_vlan |= tag.vid() != 0;
        }
        // Unless it may be of the bridge's own broadcast domain: hosts look behind any number of priority tags.
        if ether_type.is_tag() && !is_of_a_vlan {
            return Err(DropReason::InnerTag);
        }
        match ether_type {
            EtherType::IPV4 => self.ipv4(payload, len, secret),
            EtherType::IPV6 => self.ipv6(payload, len, secret),
            _ => self.other(ether_type, payload, len, hosts),
        }
    }

    /// The ordinary case at fixed offsets: no options, no fragment, TCP or UDP, lengths that agree.
    #[inline(always)]
    fn ipv4(&mut self, payload: &[u8], len: usize, secret: Secret) -> Result<(), DropReason> {
        let Some(head) = payload.first_chunk::<28>() else { return self.ipv4_in_full(payload, len, secret) };
        let be16 = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let (total_len, udp_len) = (be16(2), be16(24));
        let agrees = match IpProtocol(head[9]) {
            IpProtocol::UDP => udp_len >= 8 && udp_len + 20 <= total_len,
            IpProtocol::TCP => total_len >= 28,
            _ => false,
        };
        if !(agrees && head[0] == 0x45 && be16(6) & 0x3fff == 0 && total_len <= len) {
            return self.ipv4_in_full(payload, len, secret);
        }
        let be32 = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let addresses = u64::from(be32(12)) << 32 | u64::from(be32(16));
        self.flow = flow4(secret, addresses, be32(20), head[9]);
        (self.class, self.ip_version) = (TrafficClass(head[1]), 4);
        // TCP of the same ports is told from it where there is more time.
        if be32(20) == DHCP {
            self.note = Note::Dhcp;
        }
        Ok(())
    }

    #[inline(never)]
    fn ipv4_in_full(&mut self, payload: &[u8], len: usize, secret: Secret) -> Result<(), DropReason> {
        let ip = Ipv4::parse_head(payload, len).map_err(|_| DropReason::MalformedIpv4)?;
        let behind = payload.get(ip.header_len()..).unwrap_or(&[]);
        let protocol = ip.protocol();
        let mut ports = 0;
        if !ip.fragment().is_fragment() {
            ports = transport(protocol, behind, ip.total_len() - ip.header_len())?;
        }
        let addresses = u64::from(ip.source().to_bits()) << 32 | u64::from(ip.destination().to_bits());
        self.flow = flow4(secret, addresses, ports, protocol.0);
        (self.class, self.ip_version) = (ip.traffic_class(), 4);
        if ports == DHCP {
            self.note = Note::Dhcp;
        }
        Ok(())
    }

    fn ipv6(&mut self, payload: &[u8], len: usize, secret: Secret) -> Result<(), DropReason> {
        let ip = Ipv6::parse_head(payload, len).map_err(|_| DropReason::MalformedIpv6)?;
        let behind = payload.get(Ipv6Header::LEN..).unwrap_or(&[]);
        let behind = &behind[..behind.len().min(ip.payload_len())];
        let mut ports = 0;
        // A chain of extension headers that cannot be walked is the hosts' affair: the flow goes without its ports.
        match ip.upper(&behind[..behind.len().min(IPV6_WALK)]) {
            Ok(upper) if upper.fragment.is_none() => {
                let left = ip.payload_len().saturating_sub(upper.offset);
                let message = behind.get(upper.offset..).unwrap_or(&[]);
                ports = transport(upper.protocol, message, left)?;
                // Router solicitation and advertisement, neighbour solicitation and advertisement.
                let kind = message.first().map(|kind| Icmpv6Type(*kind));
                self.note = match (upper.protocol, kind) {
                    (IpProtocol::ICMPV6, Some(Icmpv6Type(133..=136))) => Note::Nd,
                    (IpProtocol::UDP, _) if ports == DHCP6 => Note::Dhcp,
                    _ => Note::None,
                };
            }
            Err(_) if ip.payload_len() > IPV6_WALK => self.note = Note::Nd,
            Ok(_) | Err(_) => {}
        }
        let (source, destination) = (ip.source().to_bits(), ip.destination().to_bits());
        let halves = secret.mix(source as u64, destination as u64)
            ^ secret.mix((source >> 64) as u64, (destination >> 64) as u64);
        self.flow = secret.mix(halves, u64::from(ports) << 8 | u64::from(ip.next_header().0));
        (self.class, self.ip_version) = (ip.traffic_class(), 6);
        Ok(())
    }

    fn other(&mut self, ether_type: EtherType, payload: &[u8], len: usize, hosts: u64) -> Result<(), DropReason> {
        (self.flow, self.class, self.ip_version) = (hosts, TrafficClass::default(), 0);
        match ether_type {
            EtherType::ARP => match Arp::parse(&payload[..payload.len().min(len)]) {
                Ok(_) => {
                    self.note = Note::Arp;
                    Ok(())
                }
                Err(_) => Err(DropReason::MalformedArp),
            },
            EtherType(length) if ether_type.is_length() && usize::from(length) > len => Err(DropReason::Truncated),
            _ => Ok(()),
        }
    }
}

impl Parsed {
    /// Takes apart a frame for a router, of which `head` is the beginning. Its tags of its own go, as far as they name no VLAN, and so
    /// does its padding.
    #[inline(never)]
    pub(super) fn for_router(&mut self, head: &[u8], secret: Secret) {
        let rest = head.get(usize::from(self.rest_at) + 2..).unwrap_or(&[]);
        (self.routed, self.speaker) = (Routed::Odd, None);
        let behind_tags = usize::from(self.inner.ip_at) - 2;
        if self.inner.tagged {
            let tags = rest.get(..behind_tags).unwrap_or(&[]).as_chunks::<4>().0;
            if tags.iter().any(|tag| u16::from_be_bytes([tag[0], tag[1]]) & 0xfff != 0) {
                return;
            }
            self.rest_at += behind_tags as u16;
            (self.inner.ip_at, self.inner.tagged) = (2, false);
        }
        let Some(ip) = rest.get(behind_tags..) else { return };
        let len = match self.inner.ip_version {
            4 => self.router4(ip),
            6 => self.router6(ip, secret),
            _ => None,
        };
        // The lengths were found to agree.
        if let Some(len) = len {
            self.end = u32::from(self.rest_at) + 2 + len;
        }
        self.flow_hash = self.pair().hash(secret);
    }

    /// Length of the packet.
    fn router4(&mut self, ip: &[u8]) -> Option<u32> {
        let head = ip.first_chunk::<20>()?;
        let word = |at: usize| u64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        self.addresses = [word(12) << 32 | word(16), self.to];
        if head[0] == 0x45 && head[8] > CHAIN && checksum_holds(head) {
            self.routed = Routed::Plain;
        }
        Some(u16::from_be_bytes([head[2], head[3]]).into())
    }

    fn router6(&mut self, ip: &[u8], secret: Secret) -> Option<u32> {
        let head = ip.first_chunk::<40>()?;
        let half = |at: usize| u64::from_be_bytes(core::array::from_fn(|i| head[at + i]));
        let (from, to) = ([half(8), half(16)], [half(24), half(32)]);
        let first = secret.mix(secret.mix(from[0], from[1]), secret.mix(to[0], to[1]));
        let second = secret.mix(secret.mix(from[1].rotate_left(32), to[0]), secret.mix(from[0].rotate_left(32), to[1]));
        self.addresses = [first, secret.mix(second, self.to)];
        // Among extension headers there may be a source route, also behind a fragment's.
        let next = if head[6] == IpProtocol::FRAGMENT.0 { ip.get(40) } else { head.get(6) };
        if head[7] > CHAIN && next.is_some_and(|next| !is_extension(IpProtocol(*next))) {
            self.routed = Routed::Plain;
        }
        Some(40 + u32::from(u16::from_be_bytes([head[4], head[5]])))
    }
}

/// The hash of an IPv4 flow.
#[inline(always)]
fn flow4(secret: Secret, addresses: u64, ports: u32, protocol: u8) -> u64 {
    secret.mix(addresses, u64::from(ports) << 8 | u64::from(protocol))
}

/// The ports of a transport header, 0 if it has none. A UDP length that lies is refused.
#[inline(always)]
fn transport(protocol: IpProtocol, payload: &[u8], len: usize) -> Result<u32, DropReason> {
    if protocol == IpProtocol::UDP {
        Udp::parse_head(payload, len).map_err(|_| DropReason::MalformedUdp)?;
    } else if !protocol.has_ports() {
        return Ok(0);
    }
    Ok(payload.first_chunk().map_or(0, |ports| u32::from_be_bytes(*ports)))
}

/// What to do about congestion marked on the outer header (RFC 6040 §4.2): the inner header's new ECN field, if it
/// changes.
#[inline(always)]
pub(super) fn combine_ecn(outer: TrafficClass, inner: &Inner) -> Result<Option<Ecn>, DropReason> {
    // Not-ECT and ECT(0) outside change nothing inside: nearly every frame.
    if outer.0 & 1 == 0 { Ok(None) } else { combine_marked(outer.ecn(), inner) }
}

#[cold]
fn combine_marked(outer: Ecn, inner: &Inner) -> Result<Option<Ecn>, DropReason> {
    if inner.ip_version == 0 {
        // Nothing in there hears of congestion: as good as Not-ECT.
        return if outer == Ecn::Ce { Err(DropReason::EcnCongestion) } else { Ok(None) };
    }
    let before = inner.class.ecn();
    match Ecn::decapsulate(outer, before) {
        None => Err(DropReason::EcnCongestion),
        Some(after) => Ok((after != before).then_some(after)),
    }
}

/// Sets the ECN field of the IP header that `rest`, from the EtherType on, contains.
pub(super) fn set_ecn(rest: &mut [u8], inner: &Inner, ecn: Ecn) {
    let Some(ip) = rest.get_mut(usize::from(inner.ip_at)..) else { return };
    match inner.ip_version {
        4 => ip.first_chunk_mut().into_iter().for_each(|fixed| Ipv4Header::set_ecn(fixed, ecn)),
        6 => ip.first_chunk_mut().into_iter().for_each(|fixed| Ipv6Header::set_ecn(fixed, ecn)),
        _ => {}
    }
}

/// Whether a key's, or a link's, MAC is a group's: multicast or broadcast.
#[inline(always)]
pub(super) const fn is_group(mac: u64) -> bool {
    mac >> 40 & 1 == 1
}

/// The Ethernet header at the beginning of a frame, as numbers in registers: two loads hold all of it.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// Destination MAC.
    pub(super) to: u64,
    /// Source MAC.
    pub(super) from: u64,
    pub(super) ether_type: EtherType,
}

impl Link {
    /// The header, and what is behind it.
    #[inline(always)]
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_first_chunk::<14>()?;
        let to = u64::from_be_bytes(*header.first_chunk()?);
        let from = u64::from_be_bytes(*header.last_chunk()?);
        Some((Self { to: to >> 16, from: from >> 16, ether_type: EtherType(from as u16) }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_ordinary_way_agrees_with_the_full_one(
            mut bytes in prop::collection::vec(any::<u8>(), 0..70),
            plain in any::<bool>(), protocol in prop::sample::select(vec![1u8, 6, 17, 50]),
            lengths in (0u8..70, 0u8..70), dhcp in any::<bool>(),
        ) {
            if bytes.len() >= 28 && plain {
                bytes[0] = 0x45;
                bytes[2..4].copy_from_slice(&[0, lengths.0]);
                bytes[6..8].fill(0);
                bytes[9] = protocol;
                bytes[24..26].copy_from_slice(&[0, lengths.1]);
                if dhcp {
                    bytes[20..24].copy_from_slice(&DHCP.to_be_bytes());
                }
            }
            let secret = Secret::new([7, 0x9e37_79b9_7f4a_7c15]);
            let (mut fast, mut full) = (Inner::default(), Inner::default());
            let outcome = fast.ipv4(&bytes, bytes.len(), secret);
            prop_assert_eq!(outcome, full.ipv4_in_full(&bytes, bytes.len(), secret));
            if outcome.is_ok() {
                prop_assert_eq!((fast.flow, fast.class, fast.ip_version), (full.flow, full.class, full.ip_version));
                prop_assert_eq!(fast.note, full.note);
            }
        }
    }
}
