//! Ingress: which bridge a frame belongs to, or that it is for the gateway itself, or why it is dropped.
//!
//! Read first: IEEE 802.1Q-2018 §6.9 (tags), RFC 7348 §4 and §5 (VXLAN), RFC 1122 §3.2.1 (what a host checks).

use super::DropReason;
use super::parse::{self, Inner, Parsed};
use super::pipeline::Gateway;
use crate::tables::{Attachment, BridgeId, Peer, Place, PortId, SegmentIx, SegmentKind, Snapshot};
use crate::wire::{EtherType, IpProtocol, Ipv4, MacAddr, Malformed, Tag, Udp, VXLAN_PORT, Vxlan};
use crate::{Checksum, Frame};

/// So many bytes are brought into the first segment of a frame that has several: an outer header with IPv4 options, and
/// an inner one with two tags and options.
const HEADERS: usize = 192;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// A tenant's, on a bridge.
    Bridged(Parsed),
    /// For the gateway itself: ARP or ICMP on the underlay. The number says where its EtherType is.
    Local(u16),
    /// Nothing that goes on.
    Dropped(DropReason),
}

/// Splits the first frame header: its MACs, where the EtherType behind the segment's tag is, and that tag's TCI.
#[derive(Clone, Copy)]
struct Link {
    to: MacAddr,
    from: MacAddr,
    ether_type: EtherType,
    rest_at: usize,
    tci: u16,
}

impl Link {
    #[inline]
    fn parse(head: &[u8]) -> Result<Self, Malformed> {
        let (ethernet, rest) = parse::ethernet(head)?;
        let mut link = Self {
            to: ethernet.destination(),
            from: ethernet.source(),
            ether_type: ethernet.ether_type(),
            rest_at: 12,
            tci: 0,
        };
        if link.ether_type == EtherType::VLAN {
            let (tag, next, _) = Tag::parse(link.ether_type, &rest[2..])?;
            (link.ether_type, link.rest_at, link.tci) = (next, 16, tag.tci());
        }
        Ok(link)
    }
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame.
    #[inline]
    pub(super) fn ingress(&mut self, snapshot: &Snapshot, port: PortId, frame: &mut F) -> Arrival {
        if frame.is_segmented() && !frame.pull(frame.len().min(HEADERS)) {
            return Arrival::Dropped(DropReason::NoHeadroom);
        }
        let len = frame.len();
        let Ok(link) = Link::parse(frame.head()) else { return Arrival::Dropped(DropReason::Truncated) };
        // A service tag (802.1ad) is no customer's, and none of ours.
        if link.ether_type == EtherType::SERVICE_VLAN && link.rest_at == 12 {
            return Arrival::Dropped(DropReason::UnknownVlan);
        }
        let arrival = match snapshot.attachment(port, link.tci & 0x0fff) {
            Attachment::Segment(ix) => vlan(snapshot, ix, link, frame.head(), len),
            Attachment::Underlay => self.underlay(snapshot, port, link, frame, len),
            Attachment::None => Err(DropReason::UnknownVlan),
        };
        arrival.unwrap_or_else(Arrival::Dropped)
    }

    #[inline]
    fn underlay(
        &mut self,
        snapshot: &Snapshot,
        port: PortId,
        link: Link,
        frame: &F,
        len: usize,
    ) -> Result<Arrival, DropReason> {
        let ours = snapshot.ports().get(port.index()).is_some_and(|p| p.mac == link.to);
        if !(ours || link.to.is_broadcast() && link.ether_type == EtherType::ARP) {
            return Err(DropReason::NotForUs);
        }
        if link.ether_type == EtherType::ARP {
            return Ok(Arrival::Local(link.rest_at as u16));
        }
        if link.ether_type != EtherType::IPV4 {
            return Err(DropReason::NotForUs);
        }
        let head = frame.head();
        let ip_at = link.rest_at + 2;
        let ip = Ipv4::parse_head(&head[ip_at..], len - ip_at).map_err(|_| DropReason::MalformedIpv4)?;
        let vtep = snapshot.vtep_at(port, ip.destination()).ok_or(DropReason::NotForUs)?;
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
            IpProtocol::ICMP => return Ok(Arrival::Local(link.rest_at as u16)),
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
        let tunnel =
            Tunnel { peer: Peer { vtep, address: ip.source() }, end: udp_at + udp.len(), class: ip.traffic_class() };
        let ix = snapshot.vni(vxlan.vni()).ok_or(DropReason::UnknownVni)?;
        self.decapsulated(snapshot, ix, tunnel, inner, udp_at + 16)
    }

    /// A frame that came in a tunnel: `inner` is its head, `at` where it begins.
    #[inline]
    fn decapsulated(
        &mut self,
        snapshot: &Snapshot,
        ix: SegmentIx,
        tunnel: Tunnel,
        inner: &[u8],
        at: usize,
    ) -> Result<Arrival, DropReason> {
        let segment = snapshot.segment(ix).ok_or(DropReason::UnknownVni)?;
        match segment.kind {
            SegmentKind::Vxlan { vtep, .. } if vtep == tunnel.peer.vtep => {}
            _ => return Err(DropReason::UnknownVni),
        }
        if tunnel.end < at + 14 {
            return Err(DropReason::Truncated);
        }
        let (ethernet, rest) = parse::ethernet(inner).map_err(|_| DropReason::Truncated)?;
        let peer = self.peers.find(snapshot, tunnel.peer);
        let bridge = snapshot.bridge(segment.bridge).ok_or(DropReason::UnknownVni)?;
        if bridge.settings.listed_only && !peer.is_some_and(|p| snapshot.is_listed(segment.bridge, p)) {
            return Err(DropReason::PeerNotListed);
        }
        let place = Place::new(ix, peer);
        let link = Link {
            to: ethernet.destination(),
            from: ethernet.source(),
            ether_type: ethernet.ether_type(),
            rest_at: at + 12,
            tci: 0,
        };
        let parsed = parsed(snapshot, segment.bridge, place, link, rest, tunnel.end)?;
        if parsed.inner.tagged && !segment.carry_tags {
            return Err(DropReason::InnerTag);
        }
        let ecn = parse::combine_ecn(tunnel.class, &parsed.inner)?;
        Ok(Arrival::Bridged(Parsed { origin: Some(tunnel.peer), ecn, ..parsed }))
    }
}

/// What is known of a tunnelled frame from its outer headers.
#[derive(Clone, Copy)]
struct Tunnel {
    /// Who sent it, and to which vtep.
    peer: Peer,
    /// Where it ends.
    end: usize,
    /// The outer DSCP and ECN.
    class: crate::wire::TrafficClass,
}

/// A frame that came in on a VLAN segment.
#[inline]
fn vlan(snapshot: &Snapshot, ix: SegmentIx, link: Link, head: &[u8], len: usize) -> Result<Arrival, DropReason> {
    let segment = snapshot.segment(ix).ok_or(DropReason::UnknownVlan)?;
    parsed(snapshot, segment.bridge, Place::new(ix, None), link, &head[link.rest_at..], len).map(Arrival::Bridged)
}

#[inline]
fn parsed(
    snapshot: &Snapshot,
    bridge: BridgeId,
    place: Place,
    link: Link,
    rest: &[u8],
    end: usize,
) -> Result<Parsed, DropReason> {
    if !link.from.is_source() {
        return Err(DropReason::SourceMac);
    }
    if link.to.is_link_local_control() {
        return Err(DropReason::LinkLocalControl);
    }
    let secret = snapshot.secret();
    let tenant = u64::from(bridge.0) << 48;
    let (to, from) = (tenant | link.to.to_bits(), tenant | link.from.to_bits());
    let inner = Inner::parse(rest, end - link.rest_at, secret, to, from)?;
    Ok(Parsed {
        to,
        to_hash: secret.hash(to),
        from,
        from_hash: secret.hash(from),
        place,
        origin: None,
        bridge,
        rest_at: link.rest_at as u16,
        end: end as u32,
        priority: link.tci & 0xf000,
        ecn: None,
        inner,
    })
}
