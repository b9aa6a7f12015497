//! Ingress: which bridge a frame belongs to, or that it is for the gateway itself, or why it is dropped.
//!
//! Read first: IEEE 802.1Q-2018 §6.9 (tags), RFC 7348 §4 and §5 (VXLAN), RFC 7637 §3 (NVGRE), RFC 8926 §3 (Geneve),
//! RFC 6936 §4 (UDP over IPv6 without checksum), RFC 1122 §3.2.1 (what a host checks).

use super::DropReason;
use super::decide::Decision;
use super::parse::{self, Link, Parsed, Routed};
use super::pipeline::Gateway;
use super::tunnels::{Found, Kind, checksum_holds};
use crate::tables::{Attachment, BridgeId, Encap, Peer, Place, PortId, SegmentIx, SegmentKind, Snapshot, VtepIx};
use crate::wire::{
    ALL_NODES, EtherType, GENEVE_PORT, Geneve, IpProtocol, Ipv4, Ipv6, MacAddr, Malformed, Nvgre, Tag, TrafficClass,
    Udp, VXLAN_PORT, Vxlan, solicited_node,
};
use crate::{Checksum, Frame};
use core::net::IpAddr;

/// So many bytes are brought into the first segment of a frame that has several: an outer Ethernet header with a tag (18), IPv6 with
/// extension headers as far as they are walked (104), UDP (8) and Geneve with as many options as there can be (260), an inner
/// Ethernet header with two tags (22), IPv6 with as many extension headers, and UDP (112). All others are shorter. What is made
/// of a frame must not depend on its segments.
const HEADERS: usize = 18 + 40 + parse::IPV6_WALK + 8 + 260 + 22 + 40 + parse::IPV6_WALK + 8;

/// 01-80-C2-00-00-0x, but for the last digit.
const LINK_LOCAL_CONTROL: u64 = 0x0180_c200_0000 >> 4;

/// What all frames of a burst on an underlay port have in common.
#[derive(Clone, Copy)]
pub(super) struct Underlay {
    /// The port's MAC.
    own: u64,
    /// [`Gateway::state`].
    state: u64,
}

impl<F: Frame> Gateway<F> {
    /// What holds for a whole burst, if the port's untagged frames are the underlay's.
    pub(super) fn underlay_of(&self, snapshot: &Snapshot, port: PortId) -> Option<Underlay> {
        let own = snapshot.ports().get(port.index())?.mac.to_bits();
        let is = snapshot.attachment(port, false, 0) == Attachment::Underlay;
        is.then(|| Underlay { own, state: self.state(snapshot, port) })
    }

    /// The state of the tables that say what is behind a tunnel, and the port.
    fn state(&self, snapshot: &Snapshot, port: PortId) -> u64 {
        1 << 63 | (snapshot.generation + self.peers.releases()) << 16 | u64::from(port.0)
    }

    /// The step, for one frame; what is found out stands in its lane.
    #[inline(always)]
    pub(super) fn ingress(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        underlay: Option<Underlay>,
        frame: &mut F,
        lane: &mut Parsed,
    ) -> Decision {
        if frame.is_segmented() && !frame.pull(frame.len().min(HEADERS)) {
            return Decision::Drop(DropReason::NoHeadroom);
        }
        if let Some(Underlay { own, state }) = underlay
            && let Some(outcome) = self.known_tunnel(snapshot, own, state, frame, lane)
        {
            return outcome.map_or_else(Decision::Drop, |()| Decision::Open);
        }
        let len = frame.len();
        let Some((mut link, mut rest)) = Link::parse(frame.head()) else {
            return Decision::Drop(DropReason::Truncated);
        };
        let (mut rest_at, mut tci, mut service) = (12, 0, false);
        if link.ether_type.is_tag() {
            service = link.ether_type == EtherType::SERVICE_VLAN;
            let Ok((tag, next, behind)) = Tag::parse(link.ether_type, rest) else {
                return Decision::Drop(DropReason::Truncated);
            };
            (link.ether_type, rest_at, tci, rest) = (next, 16, tag.tci(), behind);
        }
        (lane.rest_at, lane.priority, lane.ecn) = (rest_at, tci & 0xf000, None);
        (lane.tunnel, lane.stranger) = (false, None);
        let outcome = match snapshot.attachment(port, service, tci & 0x0fff) {
            Attachment::Segment(ix, bridge, secure, gate) => {
                (lane.place, lane.secure, lane.gate) = (Place::new(ix, None), secure, gate);
                tenant(snapshot, bridge, link, rest, len, lane)
            }
            Attachment::Underlay => match self.underlay(snapshot, port, link, usize::from(rest_at) + 2, frame, lane) {
                Ok(true) => return Decision::Local(rest_at),
                Ok(false) => Ok(()),
                Err(reason) => Err(reason),
            },
            Attachment::Stacked => {
                let find = |inner| snapshot.qinq(port, service, tci & 0x0fff, inner);
                stacked(snapshot, find, link, rest, len, lane)
            }
            Attachment::None => Err(DropReason::UnknownVlan),
        };
        match outcome {
            Ok(()) => Decision::Open,
            Err(reason) => Decision::Drop(reason),
        }
    }

    /// A frame of a tunnel that is known, on a port that is the underlay's; else `None`, and it is to be looked at in full.
    #[inline(always)]
    fn known_tunnel(
        &self,
        snapshot: &Snapshot,
        own: u64,
        state: u64,
        frame: &F,
        lane: &mut Parsed,
    ) -> Option<Result<(), DropReason>> {
        let head = frame.head();
        let known = self.tunnels.get(head, frame.len(), snapshot.secret(), state)?;
        let (link, _) = Link::parse(head)?;
        if !is_a_hosts(link.from) || link.from == own {
            return None;
        }
        if known.v4 {
            let holds = match frame.ip_checksum() {
                Checksum::Unknown => checksum_holds(&head[14..]),
                said => said == Checksum::Good,
            };
            if !holds {
                return None;
            }
        }
        (lane.ecn, lane.stranger) = (None, None);
        let span = Span { at: known.at, end: known.end, class: known.class };
        Some(decapsulated(snapshot, known.found, span, head.get(known.at..)?, lane))
    }

    /// A frame on the underlay, in full: whether it is for the gateway itself; else it came in a tunnel.
    #[inline(never)]
    fn underlay(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        link: Link,
        ip_at: usize,
        frame: &F,
        lane: &mut Parsed,
    ) -> Result<bool, DropReason> {
        let own = snapshot.ports().get(port.index()).map_or(0, |p| p.mac.to_bits());
        if !is_a_hosts(link.from) || link.from == own {
            return Err(DropReason::SourceMac);
        }
        let to = MacAddr::from_bits(link.to);
        let ours = link.to == own;
        match link.ether_type {
            EtherType::ARP if ours || to.is_broadcast() => return Ok(true),
            EtherType::IPV4 if ours => {}
            EtherType::IPV6 if ours || to.is_multicast() => {}
            _ => return Err(DropReason::NotForUs),
        }
        let (head, available) = (&frame.head()[ip_at..], frame.len() - ip_at);
        let outer = match link.ether_type {
            EtherType::IPV4 => outer4(snapshot, port, head, available, frame.ip_checksum())?,
            _ => outer6(snapshot, port, head, available, ours)?,
        };
        let Some((vtep, outer)) = outer else { return Ok(true) };
        let behind = head.get(outer.at..).ok_or(DropReason::Truncated)?;
        let (encap, network, span) = match outer.protocol {
            IpProtocol::UDP => datagram(&outer, behind, ip_at)?,
            _ => {
                let (gre, _) = Nvgre::parse(behind).map_err(|e| match e {
                    Malformed::Truncated => DropReason::Truncated,
                    _ => DropReason::GreFlags,
                })?;
                let at = ip_at + outer.at + 8;
                (Encap::Nvgre, gre.vsid_bits(), Span { at, end: ip_at + outer.end, class: outer.class })
            }
        };
        let origin = Peer { vtep, encap, address: outer.source };
        let found = self.find_tunnel(snapshot, network, origin, lane)?;
        // A peer without a number may get one with this very frame; and only headers without tags and options are all alike.
        let v6 = link.ether_type == EtherType::IPV6;
        let plain = outer.at == if v6 { 40 } else { 20 };
        let bare = span.at == ip_at + outer.at + if encap == Encap::Nvgre { 8 } else { 16 };
        if lane.stranger.is_none() && ip_at == 14 && plain && bare {
            let state = self.state(snapshot, port);
            self.tunnels.put(frame.head(), snapshot.secret(), state, Kind::new(encap, v6), found);
        }
        let inner = frame.head().get(span.at..).unwrap_or(&[]);
        decapsulated(snapshot, found, span, inner, lane).map(|()| false)
    }

    /// Where frames of a tunnel belong, and whether they may come from there.
    fn find_tunnel(
        &mut self,
        snapshot: &Snapshot,
        network: u32,
        origin: Peer,
        lane: &mut Parsed,
    ) -> Result<Found, DropReason> {
        let unknown = if origin.encap == Encap::Nvgre { DropReason::UnknownVsid } else { DropReason::UnknownVni };
        let ix = snapshot.network(origin.encap, network).ok_or(unknown)?;
        let segment = snapshot.segment(ix).ok_or(unknown)?;
        match segment.kind {
            SegmentKind::Tunnel { vtep, .. } if vtep == origin.vtep => {}
            _ => return Err(unknown),
        }
        let peer = self.peers.find(snapshot, origin);
        let bridge = snapshot.bridge(segment.bridge).ok_or(unknown)?;
        let settings = bridge.settings;
        if settings.listed_only && !peer.is_some_and(|p| snapshot.is_listed(segment.bridge, p)) {
            return Err(DropReason::PeerNotListed);
        }
        lane.stranger = if peer.is_none() { Some(origin) } else { None };
        Ok(Found {
            place: Place::new(ix, peer),
            bridge: segment.bridge,
            mesh: snapshot.mesh(ix, segment, peer),
            carry_tags: segment.carry_tags,
            secure: settings.port_security,
            gate: bridge.gate,
        })
    }
}

/// An outer IP header: who sent it, and what is where from its beginning on.
struct OuterIp {
    source: IpAddr,
    class: TrafficClass,
    protocol: IpProtocol,
    at: usize,
    end: usize,
}

/// An outer IPv4 header, and the vtep that it is for; `None` for a ping.
fn outer4(
    snapshot: &Snapshot,
    port: PortId,
    head: &[u8],
    available: usize,
    checksum: Checksum,
) -> Result<Option<(VtepIx, OuterIp)>, DropReason> {
    let ip = Ipv4::parse_head(head, available).map_err(|_| DropReason::MalformedIpv4)?;
    let vtep = snapshot.vtep_at(port, ip.destination().into()).ok_or(DropReason::NotForUs)?;
    // Nobody to answer, and no peer: no single host has such an address (RFC 1122 §3.2.1.3), or it is the vtep's own.
    if matches!(ip.source().octets()[0], 0 | 127 | 224..) || ip.source() == ip.destination() {
        return Err(DropReason::NotForUs);
    }
    match checksum {
        Checksum::Good => {}
        Checksum::Unknown if ip.checksum_holds() => {}
        Checksum::Bad | Checksum::Unknown => return Err(DropReason::OuterChecksum),
    }
    // None is followed here, not even to its end.
    if ip.is_source_routed().map_err(|_| DropReason::MalformedIpv4)? {
        return Err(DropReason::NotForUs);
    }
    if ip.fragment().is_fragment() {
        return Err(DropReason::OuterFragment);
    }
    match ip.protocol() {
        IpProtocol::UDP | IpProtocol::GRE => {}
        IpProtocol::ICMP => return Ok(None),
        _ => return Err(DropReason::NotForUs),
    }
    let (source, class, protocol) = (ip.source().into(), ip.traffic_class(), ip.protocol());
    Ok(Some((vtep, OuterIp { source, class, protocol, at: ip.header_len(), end: ip.total_len() })))
}

/// The same of IPv6; `None` for neighbour discovery and ping. `ours` says that it is to the port's MAC, not to a group's.
fn outer6(
    snapshot: &Snapshot,
    port: PortId,
    head: &[u8],
    available: usize,
    ours: bool,
) -> Result<Option<(VtepIx, OuterIp)>, DropReason> {
    let ip = Ipv6::parse_head(head, available).map_err(|_| DropReason::MalformedIpv6)?;
    let payload = head.get(40..).unwrap_or(&[]);
    let walked = payload.len().min(ip.payload_len()).min(parse::IPV6_WALK);
    let upper = ip.upper(&payload[..walked]).map_err(|_| DropReason::MalformedIpv6)?;
    let vtep = snapshot.vtep_at(port, ip.destination().into());
    // Questions go to a vtep's group, and a next hop whose MAC changes tells all nodes (RFC 4861 §7.2.6).
    let asks_us = |&ix: &VtepIx| match snapshot.vtep(ix).map(|v| v.address) {
        Some(IpAddr::V6(address)) => [solicited_node(address), ALL_NODES].contains(&ip.destination()),
        _ => false,
    };
    if upper.protocol == IpProtocol::ICMPV6 && upper.offset == 0 {
        let heard = vtep.is_some() && ours || snapshot.vteps_of_port(port).iter().any(asks_us);
        return if heard { Ok(None) } else { Err(DropReason::NotForUs) };
    }
    let vtep = vtep.filter(|_| ours).ok_or(DropReason::NotForUs)?;
    if ip.source().is_multicast() || ip.source().is_unspecified() || ip.source().is_loopback() {
        return Err(DropReason::NotForUs);
    }
    if ip.source() == ip.destination() {
        return Err(DropReason::NotForUs);
    }
    // A route that is not at its end is for somebody else (RFC 8200 §4.4), and none is followed here (RFC 5095).
    if upper.routed {
        return Err(DropReason::NotForUs);
    }
    if upper.fragment.is_some() {
        return Err(DropReason::OuterFragment);
    }
    if !matches!(upper.protocol, IpProtocol::UDP | IpProtocol::GRE) {
        return Err(DropReason::NotForUs);
    }
    let (source, class, protocol) = (ip.source().into(), ip.traffic_class(), upper.protocol);
    Ok(Some((vtep, OuterIp { source, class, protocol, at: 40 + upper.offset, end: ip.total_len() })))
}

/// VXLAN or Geneve in UDP, which is at the beginning of `behind`: the network, and where its frame is.
fn datagram(outer: &OuterIp, behind: &[u8], ip_at: usize) -> Result<(Encap, u32, Span), DropReason> {
    let udp = Udp::parse_head(behind, outer.end - outer.at).map_err(|_| DropReason::MalformedUdp)?;
    let payload = &behind[8..];
    let (encap, network, len) = match udp.destination() {
        VXLAN_PORT => {
            let (vxlan, _) = Vxlan::parse(payload).map_err(|e| match e {
                Malformed::NoVni => DropReason::VxlanFlags,
                _ => DropReason::Truncated,
            })?;
            (Encap::Vxlan, vxlan.vni(), 8)
        }
        GENEVE_PORT => {
            let (geneve, _) = Geneve::parse(payload).map_err(|e| match e {
                Malformed::Truncated => DropReason::Truncated,
                _ => DropReason::GeneveFlags,
            })?;
            (Encap::Geneve, geneve.vni(), geneve.header_len())
        }
        _ => return Err(DropReason::NotForUs),
    };
    let at = ip_at + outer.at;
    Ok((encap, network.into(), Span { at: at + 8 + len, end: at + udp.len(), class: outer.class }))
}

/// A frame whose outer tag leads to segments with two; `find` knows them by the inner one.
#[inline(never)]
fn stacked(
    snapshot: &Snapshot,
    find: impl FnOnce(u16) -> Option<SegmentIx>,
    mut link: Link,
    rest: &[u8],
    end: usize,
    lane: &mut Parsed,
) -> Result<(), DropReason> {
    if link.ether_type != EtherType::VLAN {
        return Err(DropReason::UnknownVlan);
    }
    let (tag, next, behind) = Tag::parse(link.ether_type, rest).map_err(|_| DropReason::Truncated)?;
    let ix = find(tag.tci() & 0x0fff).ok_or(DropReason::UnknownVlan)?;
    let segment = snapshot.segment(ix).ok_or(DropReason::UnknownVlan)?;
    let bridge = snapshot.bridge(segment.bridge).ok_or(DropReason::UnknownVlan)?;
    link.ether_type = next;
    (lane.place, lane.secure, lane.rest_at) = (Place::new(ix, None), bridge.settings.port_security, 20);
    lane.gate = bridge.gate;
    tenant(snapshot, segment.bridge, link, behind, end, lane)
}

/// A frame that came in a tunnel: `inner` is its head.
#[inline(always)]
fn decapsulated(
    snapshot: &Snapshot,
    found: Found,
    span: Span,
    inner: &[u8],
    lane: &mut Parsed,
) -> Result<(), DropReason> {
    if span.end < span.at + 14 {
        return Err(DropReason::Truncated);
    }
    let (link, rest) = Link::parse(inner).ok_or(DropReason::Truncated)?;
    (lane.place, lane.tunnel, lane.mesh, lane.secure) = (found.place, true, found.mesh, found.secure);
    lane.gate = found.gate;
    (lane.rest_at, lane.priority) = (span.at as u16 + 12, 0);
    tenant(snapshot, found.bridge, link, rest, span.end, lane)?;
    if lane.inner.tagged && !found.carry_tags {
        return Err(DropReason::InnerTag);
    }
    lane.ecn = parse::combine_ecn(span.class, &lane.inner)?;
    // Into the next tunnel it goes with the mark (RFC 6040 §4.1).
    if let Some(ecn) = lane.ecn {
        lane.inner.class = lane.inner.class.with_ecn(ecn);
    }
    Ok(())
}

/// Whether it is a MAC that a frame can come from: not a group's, and not zero.
#[inline(always)]
fn is_a_hosts(mac: u64) -> bool {
    // Only of zero does one less have every bit.
    (mac | mac.wrapping_sub(1) >> 23) >> 40 & 1 == 0
}

/// Where an inner frame begins and ends, and the outer DSCP and ECN.
#[derive(Clone, Copy)]
struct Span {
    at: usize,
    end: usize,
    class: TrafficClass,
}

/// A tenant's frame, without its segment's own header: `rest` is behind its EtherType, `end` where the frame ends.
#[inline(always)]
fn tenant(
    snapshot: &Snapshot,
    bridge: BridgeId,
    link: Link,
    rest: &[u8],
    end: usize,
    lane: &mut Parsed,
) -> Result<(), DropReason> {
    if !is_a_hosts(link.from) {
        return Err(DropReason::SourceMac);
    }
    if link.to >> 4 == LINK_LOCAL_CONTROL {
        return Err(DropReason::LinkLocalControl);
    }
    let secret = snapshot.secret();
    let tenant = u64::from(bridge.0) << 48;
    (lane.to, lane.from) = (tenant | link.to, tenant | link.from);
    lane.flow_hash = lane.flow().hash(secret);
    (lane.bridge, lane.end) = (bridge, end as u32);
    let available = end.checked_sub(usize::from(lane.rest_at) + 2).ok_or(DropReason::Truncated)?;
    (lane.routed, lane.dressed) = (Routed::No, false);
    lane.inner.parse(link.ether_type, rest, available, secret, || secret.mix(link.to, link.from))
}

/// Whether a MAC is one of several gateways of a bridge.
#[cold]
fn is_gateway(snapshot: &Snapshot, bridge: BridgeId, key: u64) -> bool {
    snapshot.interface_with(bridge, MacAddr::from_bits(key)).is_some()
}

/// Whether a frame of a routed bridge is for one of its gateways.
#[inline(always)]
pub(super) fn is_for_a_gateway(snapshot: &Snapshot, lane: &Parsed) -> bool {
    lane.gate.is(lane.to & MAC) || lane.gate.is_several() && is_gateway(snapshot, lane.bridge, lane.to)
}

/// In a key, the MAC.
const MAC: u64 = (1 << 48) - 1;
