//! Ways: how frames leave for a place, ready but for what differs from frame to frame.
//!
//! Owns: outer headers with the next hop's MAC, tags, MTUs and ports, in a direct-mapped cache by place, and where there are several
//! next hops of equal cost, by each one's share of the flows too. A way is made from the configuration and the table of next hops at
//! its first use, and made anew when either changed and once a second, when the next hop learns that it is still wanted. Nothing ever has to be told that something changed.
//! Read first: RFC 7348 §5, RFC 7637 §3, RFC 8926 §3, RFC 6438 §3 (flow label), RFC 6864 §4.1 (an atomic datagram needs no
//! identification), RFC 6935 §5 and RFC 6936 §4 (UDP checksums of zero over IPv6).

use super::DropReason;
use super::pipeline::Gateway;
use super::rewrite::MACS;
use super::trace::Step;
use crate::tables::{
    Encap, NEXT_HOPS, Neighbour, NeighbourState, NeighbourTable, Peer, PeerIx, Place, PortId, SegmentIx, SegmentKind,
    Snapshot, Underlay, VtepIx,
};
use crate::wire::{
    EtherType, EthernetHeader, Fragment, GENEVE_PORT, GeneveHeader, IpProtocol, Ipv4Header, Ipv6Header, MacAddr,
    NvgreHeader, TrafficClass, UdpHeader, VXLAN_PORT, VlanId, Vni, Vsid, VxlanHeader,
};
use crate::{Frame, Time};
use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

/// What stands in front of a frame's EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Its MACs.
    Untagged,
    /// Its MACs and a tag.
    Tagged,
    /// Its MACs and two tags.
    TwoTags,
    /// Ethernet, IPv4, UDP, VXLAN or Geneve, and its MACs.
    Udp4,
    /// Ethernet, IPv4, GRE with key, and its MACs.
    Gre4,
    /// Ethernet, IPv6, UDP, VXLAN or Geneve, and its MACs.
    Udp6,
    /// Ethernet, IPv6, GRE with key, and its MACs.
    Gre6,
}

/// The next hop of a peer whose next hop's MAC is not configured, where frames from it are made up.
const SOMEBODY: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);

pub(super) const UDP4: usize = 14 + 20 + 8 + 8;
pub(super) const GRE4: usize = 14 + 20 + 8;
pub(super) const UDP6: usize = 14 + 40 + 8 + 8;
pub(super) const GRE6: usize = 14 + 40 + 8;

/// A way: two lines of cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Way {
    /// The outer header, in which DSCP, ECN, lengths, IP checksum, source port, flow label and flow identifier are zero; or the tags.
    pub(super) header: [u8; UDP6],
    pub(super) shape: Shape,
    /// Whether frames with a tag of their own may not go here.
    pub(super) bare: bool,
    /// Over how many next hops the flows are spread, each with a way of its own; 0 if all go this one.
    spread: u8,
    /// Sum of the 16-bit words of the IPv4 header, unfolded.
    pub(super) ip_sum: u32,
    /// The most bytes behind a frame's MACs and EtherType.
    pub(super) most: u16,
    pub(super) port: PortId,
    /// The place, and above it which share of its flows goes this way: 0 for all.
    key: u64,
    /// The second and the state of all tables that it was made in; 0 is none.
    stamp: u64,
    /// The next hop that frames have to wait for.
    pub(super) wait: Option<u32>,
}

const _: () = assert!(size_of::<Way>() == 128);

impl Way {
    const NONE: Self = Self {
        header: [0; UDP6],
        shape: Shape::Untagged,
        bare: false,
        spread: 0,
        ip_sum: 0,
        most: 0,
        port: PortId(0),
        key: 0,
        stamp: 0,
        wait: None,
    };
}

/// The cache.
pub(super) struct Ways(Box<[Way]>);

impl Ways {
    /// Room for about `capacity` places.
    pub(super) fn new(capacity: usize) -> Self {
        Self(vec![Way::NONE; capacity.next_power_of_two()].into())
    }

    /// Where a way is kept.
    #[inline(always)]
    fn slot(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (self.0.len() - 1)
    }

    /// The way in a slot.
    #[inline(always)]
    pub(super) fn get(&self, slot: usize) -> &Way {
        &self.0[slot & (self.0.len() - 1)]
    }
}

impl<F: Frame> Gateway<F> {
    /// The slot of the way to a place, made if it is not there; `flow` chooses among equal next hops.
    ///
    /// # Errors
    /// Why there is none.
    #[inline(always)]
    pub(super) fn way(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        stamp: u64,
        place: Place,
        flow: u64,
    ) -> Result<usize, DropReason> {
        let slot = self.ways.slot(place.to_bits());
        let way = self.ways.get(slot);
        if way.key == place.to_bits() && way.stamp == stamp && way.spread == 0 {
            return Ok(slot);
        }
        self.way_in_full(snapshot, now, stamp, place, flow)
    }

    /// The same, for a way that is not there, or one of several.
    #[inline(never)]
    fn way_in_full(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        stamp: u64,
        place: Place,
        flow: u64,
    ) -> Result<usize, DropReason> {
        let slot = self.ways.slot(place.to_bits());
        let way = self.ways.get(slot);
        if !(way.key == place.to_bits() && way.stamp == stamp) {
            self.make_way(snapshot, now, stamp, place, None)?;
        }
        let hops = u64::from(self.ways.get(slot).spread);
        if hops == 0 {
            return Ok(slot);
        }
        // The lower half of the hash: the upper one is what the underlay sees of it.
        let share = (u64::from(flow as u32) * hops) >> 32;
        let key = place.to_bits() | (share + 1) << 40;
        let slot = self.ways.slot(key);
        let way = self.ways.get(slot);
        if way.key == key && way.stamp == stamp {
            return Ok(slot);
        }
        self.make_way(snapshot, now, stamp, place, Some(share))
    }

    /// Makes the way to a place, or that of a share of its flows.
    fn make_way(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        stamp: u64,
        place: Place,
        share: Option<u64>,
    ) -> Result<usize, DropReason> {
        let segment = snapshot.segment(place.segment()).ok_or(DropReason::PeerGone)?;
        let key = place.to_bits() | share.map_or(0, |n| n + 1) << 40;
        let mut way = Way { key, stamp, ..Way::NONE };
        match (segment.kind, place.peer()) {
            (SegmentKind::Tunnel { encap, network, vtep }, Some(ix)) => {
                way.bare = !segment.carry_tags;
                self.make_tunnel(snapshot, now, &mut way, (encap, network, vtep), ix, share)?;
            }
            (SegmentKind::Tunnel { .. }, None) => return Err(DropReason::PeerGone),
            (kind, _) => way.behind_tags(snapshot, kind),
        }
        let slot = self.ways.slot(key);
        self.ways.0[slot] = way;
        Ok(slot)
    }

    fn make_tunnel(
        &mut self,
        snapshot: &Snapshot,
        now: Time,
        way: &mut Way,
        (encap, network, ours): (Encap, Vni, VtepIx),
        ix: PeerIx,
        share: Option<u64>,
    ) -> Result<(), DropReason> {
        // The number may have outlived its peer, and been given to another vtep's.
        let peer = self.peers.peer(snapshot, ix).filter(|peer| (peer.vtep, peer.encap) == (ours, encap));
        let peer = peer.ok_or(DropReason::PeerGone)?;
        let vtep = snapshot.vtep(ours).ok_or(DropReason::PeerGone)?;
        let port = snapshot.ports().get(vtep.port.index()).ok_or(DropReason::PeerGone)?;
        let on_link = [peer.address];
        let hops = if vtep.is_on_link(peer.address) { &on_link[..] } else { &vtep.gateways };
        let written = write_header(&mut way.header, port.mac, vtep.address, peer, network);
        let (shape, len) = written.filter(|_| !hops.is_empty()).ok_or(DropReason::NoRoute)?;
        let mut numbers = heapless::Vec::<u32, NEXT_HOPS>::new();
        for &hop in hops.iter().take(NEXT_HOPS) {
            let configured = configured_mac(snapshot, vtep.port, hop);
            if let Some(number) = self.neighbours.want(Underlay { port: vtep.port, vtep: ours }, hop, configured, now) {
                let _ = numbers.push(number);
            }
        }
        if numbers.len() > 1 && share.is_none() {
            way.spread = numbers.len() as u8;
            return Ok(());
        }
        let (due, number) =
            choose(&numbers, share.unwrap_or(0) as usize, &self.neighbours).ok_or(DropReason::NeighbourTableFull)?;
        // While another does its work, the tick asks for the one whose turn it is.
        if let Some(neighbour) = self.neighbours.get_mut(due) {
            neighbour.wanted = true;
        }
        let neighbour = self.neighbours.get_mut(number).ok_or(DropReason::NeighbourTableFull)?;
        neighbour.wanted = true;
        let neighbour = *neighbour;
        let Neighbour { link, address, mac, state, .. } = neighbour;
        self.note(|_| Step::Neighbour { link, address, mac, state });
        match neighbour.state {
            NeighbourState::Permanent | NeighbourState::Reachable | NeighbourState::Stale => {}
            NeighbourState::Resolving => (way.wait, way.stamp) = (Some(number), 0),
            NeighbourState::Failed => return Err(DropReason::NextHopFailed),
        }
        way.lead_to(neighbour.mac);
        (way.shape, way.port) = (shape, vtep.port);
        // All that is in front of the inner EtherType, but for the outer Ethernet header, and that EtherType.
        way.most = port.mtu.saturating_sub(len as u16 + MACS as u16 + 2 - 14);
        Ok(())
    }
}

impl Way {
    /// How frames from a place come here: the way of whoever sends them.
    pub(super) fn from(snapshot: &Snapshot, ix: SegmentIx, peer: Option<IpAddr>) -> Option<Self> {
        let mut way = Self::NONE;
        match (snapshot.segment(ix)?.kind, peer) {
            (SegmentKind::Tunnel { encap, network, vtep }, Some(peer)) => {
                let ours = snapshot.vtep(vtep)?;
                let source = configured_mac(snapshot, ours.port, peer).unwrap_or(SOMEBODY);
                let here = Peer { vtep, encap, address: ours.address };
                (way.shape, _) = write_header(&mut way.header, source, peer, here, network)?;
                way.port = ours.port;
                way.lead_to(snapshot.ports().get(ours.port.index())?.mac);
            }
            (SegmentKind::Tunnel { .. }, None) => return None,
            (kind, _) => way.behind_tags(snapshot, kind),
        }
        (way.bare, way.most) = (false, u16::MAX);
        Some(way)
    }

    /// Goes to a next hop; the rest of the header is there.
    fn lead_to(&mut self, mac: MacAddr) {
        self.header[..6].copy_from_slice(&mac.0);
        self.ip_sum = self.header[14..34].as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
    }

    /// A way out on a segment that is no tunnel.
    fn behind_tags(&mut self, snapshot: &Snapshot, kind: SegmentKind) {
        match kind {
            SegmentKind::Vlan { port, vid: None } => self.behind(snapshot, port, Shape::Untagged, &[]),
            SegmentKind::Vlan { port, vid: Some(vid) } => {
                self.behind(snapshot, port, Shape::Tagged, &[tag(EtherType::VLAN, vid)]);
            }
            SegmentKind::Qinq { port, service, outer, inner } => {
                let outer = tag(if service { EtherType::SERVICE_VLAN } else { EtherType::VLAN }, outer);
                self.behind(snapshot, port, Shape::TwoTags, &[outer, tag(EtherType::VLAN, inner)]);
            }
            SegmentKind::Tunnel { .. } => {}
        }
    }

    /// A way out on a port behind these tags.
    fn behind(&mut self, snapshot: &Snapshot, port: PortId, shape: Shape, tags: &[[u8; 4]]) {
        (self.port, self.shape, self.bare) = (port, shape, tags.is_empty());
        self.most = snapshot.ports().get(port.index()).map_or(0, |info| info.mtu);
        for (place, tag) in self.header.as_chunks_mut().0.iter_mut().zip(tags) {
            *place = *tag;
        }
    }
}

/// The MAC of a next hop that is configured at a vtep of its port: whichever it is asked for, it is one host.
fn configured_mac(snapshot: &Snapshot, port: PortId, hop: IpAddr) -> Option<MacAddr> {
    let vteps = snapshot.vteps_of_port(port).iter().filter_map(|&ix| snapshot.vtep(ix));
    vteps.flat_map(|vtep| &vtep.neighbours).find(|(address, _)| *address == hop).map(|(_, mac)| *mac)
}

/// A tag without priority, as it goes on the wire.
fn tag(ether_type: EtherType, vid: VlanId) -> [u8; 4] {
    (u32::from(ether_type.0) << 16 | u32::from(u16::from(vid))).to_be_bytes()
}

/// The next hop of a share of the flows, and the one that it takes: while that one does not answer, another that does. A frame
/// waits, or is dropped, only where none does.
fn choose(hops: &[u32], share: usize, neighbours: &NeighbourTable<Underlay>) -> Option<(u32, u32)> {
    let all = || hops.iter().cycle().skip(share).take(hops.len()).copied();
    let due = all().next()?;
    let taken = all().find(|&hop| neighbours.is_resolved(hop)).or_else(|| all().find(|&hop| neighbours.is_usable(hop)));
    Some((due, taken.unwrap_or(due)))
}

/// Writes an outer header, with zeros where a frame's own values and the next hop's MAC go. `None` if the vtep and the peer are of
/// two families.
fn write_header(
    header: &mut [u8; UDP6],
    source_mac: MacAddr,
    local: IpAddr,
    peer: Peer,
    network: Vni,
) -> Option<(Shape, usize)> {
    let port = match peer.encap {
        Encap::Vxlan => Some(VXLAN_PORT),
        Encap::Geneve => Some(GENEVE_PORT),
        Encap::Nvgre => None,
    };
    let protocol = if port.is_some() { IpProtocol::UDP } else { IpProtocol::GRE };
    let (ether_type, shape, len) = match (local, port) {
        (IpAddr::V4(_), Some(_)) => (EtherType::IPV4, Shape::Udp4, UDP4),
        (IpAddr::V4(_), None) => (EtherType::IPV4, Shape::Gre4, GRE4),
        (IpAddr::V6(_), Some(_)) => (EtherType::IPV6, Shape::Udp6, UDP6),
        (IpAddr::V6(_), None) => (EtherType::IPV6, Shape::Gre6, GRE6),
    };
    header.fill(0);
    let (ethernet_bytes, rest) = header.split_at_mut(14);
    let ethernet = EthernetHeader { destination: MacAddr::ZERO, source: source_mac, ether_type };
    ethernet_bytes.as_mut_array().into_iter().for_each(|bytes| ethernet.write(bytes));
    let rest = match (local, peer.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (bytes, rest) = rest.split_first_chunk_mut()?;
            let ip = Ipv4Header {
                traffic_class: TrafficClass(0),
                total_len: 0,
                // An atomic datagram needs none, and is never fragmented.
                identification: 0,
                fragment: Fragment::DONT_FRAGMENT,
                ttl: 64,
                protocol,
                source,
                destination,
            };
            ip.write(bytes);
            // Summed up again with each frame's own values.
            bytes[10..12].fill(0);
            rest
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (bytes, rest) = rest.split_first_chunk_mut()?;
            let ip = Ipv6Header {
                traffic_class: TrafficClass(0),
                flow_label: 0,
                payload_len: 0,
                next_header: protocol,
                hop_limit: 64,
                source,
                destination,
            };
            ip.write(bytes);
            rest
        }
        _ => return None,
    };
    let rest = match port {
        Some(destination) => {
            let (bytes, rest) = rest.split_first_chunk_mut()?;
            // Zero is allowed where a tunnel is meant: what it carries has checksums of its own (RFC 6935 §5).
            UdpHeader { source: 0, destination, len: 0, checksum: 0 }.write(bytes);
            rest
        }
        None => rest,
    };
    let last = rest.first_chunk_mut()?;
    match peer.encap {
        Encap::Vxlan => VxlanHeader { vni: network }.write(last),
        Encap::Geneve => GeneveHeader { vni: network }.write(last),
        Encap::Nvgre => NvgreHeader { vsid: Vsid::try_from(u32::from(network)).ok()?, flow_id: 0 }.write(last),
    }
    Some((shape, len))
}
