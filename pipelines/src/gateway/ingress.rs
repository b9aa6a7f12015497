//! Ingress: which bridge a frame belongs to, or that it is for the gateway itself, or why it is dropped.
//!
//! Read first: IEEE 802.1Q-2018 §6.9 (tags), RFC 7348 §4 and §5 (VXLAN), RFC 1122 §3.2.1 (what a host checks).

use super::DropReason;
use super::parse::{self, Link, Parsed};
use super::pipeline::Gateway;
use super::tunnels::{Found, Outer, TunnelKey};
use crate::tables::{Attachment, BridgeId, Encap, Peer, Place, PortId, SegmentKind, Snapshot};
use crate::wire::{EtherType, IpProtocol, Ipv4, MacAddr, Malformed, Tag, TrafficClass, Udp, VXLAN_PORT, Vni, Vxlan};
use crate::{Checksum, Frame};

/// So many bytes are brought into the first segment of a frame that has several: an outer header with a tag and IPv4 options
/// (94), an inner one with two tags (22) and IPv6 extension headers as far as they are walked, and UDP's (112).
const HEADERS: usize = 256;

/// 01-80-C2-00-00-0x, but for the last digit.
const LINK_LOCAL_CONTROL: u64 = 0x0180_c200_0000 >> 4;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A tenant's: its lane says the rest.
    Bridged,
    /// For the gateway itself: ARP or ICMP on the underlay. The number says where its EtherType is.
    Local(u16),
    /// Nothing that goes on.
    Dropped(DropReason),
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame; what is found out stands in its lane.
    #[inline(always)]
    pub(super) fn ingress(&mut self, snapshot: &Snapshot, port: PortId, frame: &mut F, lane: &mut Parsed) -> Arrival {
        if frame.is_segmented() && !frame.pull(frame.len().min(HEADERS)) {
            return Arrival::Dropped(DropReason::NoHeadroom);
        }
        let len = frame.len();
        let Some((mut link, mut rest)) = Link::parse(frame.head()) else {
            return Arrival::Dropped(DropReason::Truncated);
        };
        let (mut rest_at, mut tci) = (12, 0);
        if link.ether_type == EtherType::VLAN {
            let Ok((tag, next, behind)) = Tag::parse(link.ether_type, rest) else {
                return Arrival::Dropped(DropReason::Truncated);
            };
            (link.ether_type, rest_at, tci, rest) = (next, 16, tag.tci(), behind);
        } else if link.ether_type == EtherType::SERVICE_VLAN {
            // A service tag (802.1ad) is no customer's, and none of ours.
            return Arrival::Dropped(DropReason::UnknownVlan);
        }
        (lane.rest_at, lane.priority, lane.origin, lane.ecn) = (rest_at, tci & 0xf000, None, None);
        let outcome = match snapshot.attachment(port, false, tci & 0x0fff) {
            Attachment::Segment(ix, bridge, _) => {
                lane.place = Place::new(ix, None);
                tenant(snapshot, bridge, link, rest, len, lane)
            }
            Attachment::Underlay => match self.underlay(snapshot, port, link, rest_at, frame, lane) {
                Ok(true) => return Arrival::Local(rest_at),
                Ok(false) => Ok(()),
                Err(reason) => Err(reason),
            },
            Attachment::Stacked | Attachment::None => Err(DropReason::UnknownVlan),
        };
        match outcome {
            Ok(()) => Arrival::Bridged,
            Err(reason) => Arrival::Dropped(reason),
        }
    }

    /// A frame on the underlay: whether it is for the gateway itself; else it came in a tunnel.
    #[inline(always)]
    fn underlay(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        link: Link,
        rest_at: u16,
        frame: &F,
        lane: &mut Parsed,
    ) -> Result<bool, DropReason> {
        let own = snapshot.ports().get(port.index()).map_or(0, |p| p.mac.to_bits());
        if parse::is_group(link.from) || link.from == 0 || link.from == own {
            return Err(DropReason::SourceMac);
        }
        let at = usize::from(rest_at) + 2;
        if link.to == own && link.ether_type == EtherType::IPV4 {
            let head = frame.head().get(at..).unwrap_or(&[]);
            if let Some(outer) = Outer::parse(head, frame.len() - at)
                && frame.ip_checksum() != Checksum::Bad
                && (frame.ip_checksum() == Checksum::Good || outer.checksum_holds())
            {
                let key = TunnelKey::new(outer.source(), outer.destination(), outer.vni(), port);
                if let Some(&found) = self.tunnels.get(key, snapshot, &self.peers) {
                    let inner = &head[Outer::LEN..];
                    let span = Span { at: at + Outer::LEN, end: at + 20 + outer.udp_len(), class: outer.class() };
                    return decapsulated(snapshot, found, span, inner, lane).map(|()| false);
                }
            }
        }
        self.underlay_in_full(snapshot, port, link, at, frame, lane)
    }

    /// The same, for what is not known yet, and for whatever is wrong or out of the ordinary.
    #[inline(never)]
    fn underlay_in_full(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        link: Link,
        ip_at: usize,
        frame: &F,
        lane: &mut Parsed,
    ) -> Result<bool, DropReason> {
        let to = MacAddr::from_bits(link.to);
        let ours = snapshot.ports().get(port.index()).is_some_and(|p| p.mac == to);
        if !(ours || to.is_broadcast() && link.ether_type == EtherType::ARP) {
            return Err(DropReason::NotForUs);
        }
        if link.ether_type == EtherType::ARP {
            return Ok(true);
        }
        if link.ether_type != EtherType::IPV4 {
            return Err(DropReason::NotForUs);
        }
        let head = frame.head();
        let ip = Ipv4::parse_head(&head[ip_at..], frame.len() - ip_at).map_err(|_| DropReason::MalformedIpv4)?;
        let vtep = snapshot.vtep_at(port, ip.destination().into()).ok_or(DropReason::NotForUs)?;
        // Nobody to answer, and no peer: no single host has such an address (RFC 1122 §3.2.1.3), or it is the vtep's own.
        if matches!(ip.source().octets()[0], 0 | 127 | 224..) || ip.source() == ip.destination() {
            return Err(DropReason::NotForUs);
        }
        match frame.ip_checksum() {
            Checksum::Good => {}
            Checksum::Unknown if ip.checksum_holds() => {}
            Checksum::Bad | Checksum::Unknown => return Err(DropReason::OuterChecksum),
        }
        if ip.fragment().is_fragment() {
            return Err(DropReason::OuterFragment);
        }
        match ip.protocol() {
            IpProtocol::UDP => {}
            IpProtocol::ICMP => return Ok(true),
            _ => return Err(DropReason::NotForUs),
        }
        let udp_at = ip_at + ip.header_len();
        let behind = head.get(udp_at..).ok_or(DropReason::Truncated)?;
        let udp = Udp::parse_head(behind, ip.total_len() - ip.header_len()).map_err(|_| DropReason::MalformedUdp)?;
        if udp.destination() != VXLAN_PORT {
            return Err(DropReason::NotForUs);
        }
        let (vxlan, inner) = Vxlan::parse(&behind[8..]).map_err(|e| match e {
            Malformed::NoVni => DropReason::VxlanFlags,
            _ => DropReason::Truncated,
        })?;
        let key = TunnelKey::new(ip.source().to_bits(), ip.destination().to_bits(), vxlan.vni().into(), port);
        let span = Span { at: udp_at + 16, end: udp_at + udp.len(), class: ip.traffic_class() };
        let found = self.find_tunnel(
            snapshot,
            key,
            vxlan.vni(),
            Peer { vtep, encap: Encap::Vxlan, address: ip.source().into() },
        )?;
        decapsulated(snapshot, found, span, inner, lane).map(|()| false)
    }

    /// Where frames of a tunnel belong, and whether they may come from there.
    fn find_tunnel(
        &mut self,
        snapshot: &Snapshot,
        key: TunnelKey,
        vni: Vni,
        origin: Peer,
    ) -> Result<Found, DropReason> {
        let ix = snapshot.network(Encap::Vxlan, vni.into()).ok_or(DropReason::UnknownVni)?;
        let segment = snapshot.segment(ix).ok_or(DropReason::UnknownVni)?;
        match segment.kind {
            SegmentKind::Tunnel { vtep, .. } if vtep == origin.vtep => {}
            _ => return Err(DropReason::UnknownVni),
        }
        let peer = self.peers.find(snapshot, origin);
        let bridge = snapshot.bridge(segment.bridge).ok_or(DropReason::UnknownVni)?;
        if bridge.settings.listed_only && !peer.is_some_and(|p| snapshot.is_listed(segment.bridge, p)) {
            return Err(DropReason::PeerNotListed);
        }
        let (place, carry_tags) = (Place::new(ix, peer), segment.carry_tags);
        let found = Found { place, origin, bridge: segment.bridge, carry_tags };
        // A peer without a number may get one with this very frame.
        if peer.is_some() {
            self.tunnels.put(key, snapshot, &self.peers, found);
        }
        Ok(found)
    }
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
    (lane.place, lane.origin) = (found.place, Some(found.origin));
    (lane.rest_at, lane.priority) = (span.at as u16 + 12, 0);
    tenant(snapshot, found.bridge, link, rest, span.end, lane)?;
    if lane.inner.tagged && !found.carry_tags {
        return Err(DropReason::InnerTag);
    }
    lane.ecn = parse::combine_ecn(span.class, &lane.inner)?;
    Ok(())
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
    if parse::is_group(link.from) || link.from == 0 {
        return Err(DropReason::SourceMac);
    }
    if link.to >> 4 == LINK_LOCAL_CONTROL {
        return Err(DropReason::LinkLocalControl);
    }
    let secret = snapshot.secret();
    let tenant = u64::from(bridge.0) << 48;
    (lane.to, lane.from) = (tenant | link.to, tenant | link.from);
    (lane.to_hash, lane.from_hash) = (secret.hash(lane.to), secret.hash(lane.from));
    (lane.bridge, lane.end) = (bridge, end as u32);
    let available = end.checked_sub(usize::from(lane.rest_at) + 2).ok_or(DropReason::Truncated)?;
    lane.inner.parse(link.ether_type, rest, available, secret, || secret.mix(link.to, link.from))
}
