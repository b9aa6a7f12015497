//! Remote tunnel endpoints, as one worker reaches them: each with its outer header ready but for a few fields.
//!
//! Owns: what stands in front of every frame to a peer, and by which next hops it goes. Configured peers have the snapshot's
//! numbers; the others, heard of from their frames, get numbers behind those for as long as a learned MAC is at them. An
//! entry is made anew at its first use in each generation, so that a changed vtep, gateway or port shows at once and nothing
//! has to be told.
//! Read first: RFC 7348 §5, RFC 7637 §3, RFC 8926 §3, RFC 6864 §4.1 (an atomic datagram needs no identification), RFC 6935 §5
//! and RFC 6936 §4 (UDP checksums of zero over IPv6).

use super::buckets::{self, Bucket, Secret};
use super::{Encap, NEXT_HOPS, NeighbourTable, Peer, PeerIx, PortId, Snapshot, VtepIx};
use crate::Time;
use crate::wire::{
    EtherType, EthernetHeader, Fragment, GENEVE_PORT, GeneveHeader, IpProtocol, Ipv4Header, Ipv6Header, MacAddr,
    NvgreHeader, TrafficClass, UdpHeader, VXLAN_PORT, Vni, Vsid, VxlanHeader,
};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

/// How an outer header is made up; each ends with 24 bits of network and 8 more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Ethernet, IPv4, UDP, VXLAN or Geneve.
    Udp4,
    /// Ethernet, IPv4, GRE with key.
    Gre4,
    /// Ethernet, IPv6, UDP, VXLAN or Geneve.
    Udp6,
    /// Ethernet, IPv6, GRE with key.
    Gre6,
}

impl Shape {
    pub(crate) const UDP4: usize = 14 + 20 + 8 + 8;
    pub(crate) const GRE4: usize = 14 + 20 + 8;
    pub(crate) const UDP6: usize = 14 + 40 + 8 + 8;
    pub(crate) const GRE6: usize = 14 + 40 + 8;

    /// Its length, bytes.
    #[inline(always)]
    pub(crate) const fn len(self) -> usize {
        match self {
            Self::Udp4 => Self::UDP4,
            Self::Gre4 => Self::GRE4,
            Self::Udp6 => Self::UDP6,
            Self::Gre6 => Self::GRE6,
        }
    }
}

/// The longest outer header, bytes.
const LONGEST: usize = Shape::UDP6;

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// By its next hops.
    Ready,
    /// Its vtep, or itself, is not configured any more.
    Gone,
    /// It is outside the vtep's net, and the vtep has no gateway.
    NoRoute,
    /// The table of next hops is full.
    NoNeighbour,
}

/// A peer, ready for use: two lines of cache.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct PeerEntry {
    /// The outer header: destination MAC, DSCP, ECN, lengths, IP checksum, source port, flow label, network and flow identifier are
    /// zero.
    pub(crate) header: [u8; LONGEST],
    pub(crate) shape: Shape,
    /// How it is reached.
    pub(crate) resolution: Resolution,
    /// Sum of the 16-bit words of its IPv4 header, unfolded.
    pub(crate) ip_sum: u32,
    /// The numbers of its next hops, as many as `hop_count` says.
    hops: [u32; NEXT_HOPS],
    /// The vtep it is reached from.
    pub(crate) vtep: VtepIx,
    /// The port it is reached by.
    pub(crate) port: PortId,
    /// That port's MTU, bytes.
    pub(crate) mtu: u16,
    hop_count: u8,
    /// The low half of [`NeighbourTable::reuses`] when it was made.
    reuses: u32,
    /// The generation it was made for.
    made: u64,
}

const _: () = assert!(size_of::<PeerEntry>() == 128);

impl PeerEntry {
    /// The next hop of a flow: one of them by its hash, and while that one is not to be had, another.
    #[inline(always)]
    pub(crate) fn hop(&self, flow: u64, neighbours: &NeighbourTable) -> u32 {
        if self.hop_count == 1 { self.hops[0] } else { self.choose(flow, neighbours) }
    }

    #[inline(never)]
    fn choose(&self, flow: u64, neighbours: &NeighbourTable) -> u32 {
        let hops = self.hops.get(..usize::from(self.hop_count)).unwrap_or(&[]);
        // The lower half of the hash: the upper one is what the underlay sees of it.
        let first = ((u64::from(flow as u32) * hops.len() as u64) >> 32) as usize;
        let all = || hops.iter().cycle().skip(first).take(hops.len()).copied();
        all().find(|&hop| neighbours.is_usable(hop)).or_else(|| all().next()).unwrap_or(u32::MAX)
    }
}

/// Whom a number stands for.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    peer: Option<Peer>,
    /// How many learned MACs are at it; only counted for those that are not configured.
    macs: u32,
}

const NEVER: u64 = u64::MAX;

/// The table.
pub struct PeerTable {
    entries: Vec<PeerEntry>,
    holders: Vec<Holder>,
    configured: usize,
    /// From [`Peer::key`] to number, of those that are not configured.
    index: Box<[Bucket]>,
    free: Vec<u32>,
    secret: Secret,
    /// How often a number was given back.
    releases: u64,
}

impl PeerTable {
    /// A table for `configured` numbers of the snapshot's, and `learned` others.
    pub fn new(secret: Secret, configured: usize, learned: usize) -> Self {
        let entry = PeerEntry {
            header: [0; LONGEST],
            shape: Shape::Udp4,
            resolution: Resolution::Gone,
            ip_sum: 0,
            hops: [0; NEXT_HOPS],
            vtep: VtepIx(0),
            port: PortId(0),
            mtu: 0,
            hop_count: 0,
            reuses: 0,
            made: NEVER,
        };
        let total = configured + learned;
        Self {
            entries: vec![entry; total],
            holders: vec![Holder::default(); total],
            configured,
            index: vec![Bucket::default(); (learned / 2 + 1).next_power_of_two()].into(),
            // The last one given back is the next handed out: no learned MAC names it any more.
            free: (configured as u32..total as u32).rev().collect(),
            secret,
            releases: 0,
        }
    }

    /// How many peers it holds that are not configured.
    pub fn learned(&self) -> usize {
        self.learned_capacity() - self.free.len()
    }

    /// The most of them that it holds.
    pub fn learned_capacity(&self) -> usize {
        self.entries.len() - self.configured
    }

    /// How often a number of a peer that is not configured was given back: until then, a number stands for one peer.
    #[inline]
    pub(crate) fn releases(&self) -> u64 {
        self.releases
    }

    /// The number of a peer, if it has one.
    pub(crate) fn find(&self, snapshot: &Snapshot, peer: Peer) -> Option<PeerIx> {
        snapshot.peer_number(peer).or_else(|| {
            let key = peer.key(self.secret);
            let (b, s) = buckets::find(&self.index, self.secret.hash(key), key)?;
            let number = self.index[b].values[s];
            (self.holders[number as usize].peer == Some(peer)).then_some(PeerIx(number as u32))
        })
    }

    /// The number of a peer, which gets one if it has none; `None` if there is none left.
    pub(crate) fn intern(&mut self, snapshot: &Snapshot, peer: Peer) -> Option<PeerIx> {
        if let Some(ix) = self.find(snapshot, peer) {
            return Some(ix);
        }
        let number = self.free.pop()?;
        if !buckets::insert(&mut self.index, self.secret, peer.key(self.secret), u64::from(number)) {
            self.free.push(number);
            return None;
        }
        self.holders[number as usize] = Holder { peer: Some(peer), macs: 0 };
        self.entries[number as usize].made = NEVER;
        Some(PeerIx(number))
    }

    /// Whom a number stands for.
    pub fn peer(&self, snapshot: &Snapshot, ix: PeerIx) -> Option<Peer> {
        if ix.index() < self.configured { snapshot.peer(ix) } else { self.holders.get(ix.index())?.peer }
    }

    /// Counts one more learned MAC at a peer.
    pub(crate) fn hold(&mut self, ix: PeerIx) {
        if let Some(holder) = self.holders.get_mut(ix.index()) {
            holder.macs += 1;
        }
    }

    /// Counts one learned MAC less at a peer. One that is not configured gives its number back with the last.
    pub(crate) fn release(&mut self, ix: PeerIx) {
        let Some(holder) = self.holders.get_mut(ix.index()) else { return };
        holder.macs = holder.macs.saturating_sub(1);
        self.release_if_unused(ix);
    }

    /// Gives back the number of a peer that was interned and then not used.
    pub(crate) fn release_if_unused(&mut self, ix: PeerIx) {
        let holder = &mut self.holders[ix.index()];
        if ix.index() < self.configured || holder.macs > 0 {
            return;
        }
        let Some(peer) = holder.peer.take() else { return };
        let key = peer.key(self.secret);
        if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
            self.index[b].keys[s] = 0;
        }
        self.free.push(ix.0);
        self.releases += 1;
    }

    /// The entry of a peer, made for the snapshot's generation.
    #[inline]
    pub(crate) fn get(
        &mut self,
        ix: PeerIx,
        snapshot: &Snapshot,
        neighbours: &mut NeighbourTable,
        now: Time,
    ) -> Option<&PeerEntry> {
        let entry = self.entries.get(ix.index())?;
        if entry.made != snapshot.generation || entry.reuses != neighbours.reuses() as u32 {
            self.make(ix, snapshot, neighbours, now);
        }
        self.entries.get(ix.index())
    }

    #[cold]
    fn make(&mut self, ix: PeerIx, snapshot: &Snapshot, neighbours: &mut NeighbourTable, now: Time) {
        let peer = self.peer(snapshot, ix);
        let entry = &mut self.entries[ix.index()];
        (entry.made, entry.resolution, entry.hop_count) = (snapshot.generation, Resolution::Gone, 0);
        entry.reuses = neighbours.reuses() as u32;
        let Some(peer) = peer else { return };
        let Some(vtep) = snapshot.vtep(peer.vtep) else { return };
        let Some(port) = snapshot.ports().get(vtep.port.index()) else { return };
        (entry.vtep, entry.port, entry.mtu) = (peer.vtep, vtep.port, port.mtu);
        let on_link = [peer.address];
        let hops = if vtep.is_on_link(peer.address) { &on_link[..] } else { &vtep.gateways };
        let Some(shape) = write_header(&mut entry.header, port.mac, vtep.address, peer).filter(|_| !hops.is_empty())
        else {
            entry.resolution = Resolution::NoRoute;
            return;
        };
        for &hop in hops.iter().take(NEXT_HOPS) {
            let configured = vtep.neighbours.iter().find(|(address, _)| *address == hop).map(|(_, mac)| *mac);
            if let Some(number) = neighbours.want(vtep.port, peer.vtep, hop, configured, now) {
                entry.hops[usize::from(entry.hop_count)] = number;
                entry.hop_count += 1;
            }
        }
        if entry.hop_count == 0 {
            entry.resolution = Resolution::NoNeighbour;
            // Tried again at the next frame: a place may come free.
            entry.made = NEVER;
            return;
        }
        entry.reuses = neighbours.reuses() as u32;
        entry.ip_sum = entry.header[14..34].as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
        (entry.shape, entry.resolution) = (shape, Resolution::Ready);
    }
}

/// Writes an outer header, with zeros where a frame's own values go. `None` if the vtep and the peer are of two families.
fn write_header(header: &mut [u8; LONGEST], source_mac: MacAddr, local: IpAddr, peer: Peer) -> Option<Shape> {
    let port = match peer.encap {
        Encap::Vxlan => Some(VXLAN_PORT),
        Encap::Geneve => Some(GENEVE_PORT),
        Encap::Nvgre => None,
    };
    let protocol = if port.is_some() { IpProtocol::UDP } else { IpProtocol::GRE };
    let (ether_type, shape, ip_len) = match (local, peer.address, port) {
        (IpAddr::V4(_), IpAddr::V4(_), Some(_)) => (EtherType::IPV4, Shape::Udp4, 20),
        (IpAddr::V4(_), IpAddr::V4(_), None) => (EtherType::IPV4, Shape::Gre4, 20),
        (IpAddr::V6(_), IpAddr::V6(_), Some(_)) => (EtherType::IPV6, Shape::Udp6, 40),
        (IpAddr::V6(_), IpAddr::V6(_), None) => (EtherType::IPV6, Shape::Gre6, 40),
        _ => return None,
    };
    header.fill(0);
    let (ethernet_bytes, rest) = header.split_at_mut(14);
    let (ip_bytes, rest) = rest.split_at_mut(ip_len);
    let ethernet = EthernetHeader { destination: MacAddr::ZERO, source: source_mac, ether_type };
    ethernet_bytes.as_mut_array().into_iter().for_each(|bytes| ethernet.write(bytes));
    match (local, peer.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
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
            ip_bytes.as_mut_array().into_iter().for_each(|bytes| ip.write(bytes));
            // Summed up again with each frame's own values.
            ip_bytes[10..12].fill(0);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6Header {
                traffic_class: TrafficClass(0),
                flow_label: 0,
                payload_len: 0,
                next_header: protocol,
                hop_limit: 64,
                source,
                destination,
            };
            ip_bytes.as_mut_array().into_iter().for_each(|bytes| ip.write(bytes));
        }
        _ => return None,
    }
    let last = match port {
        Some(destination) => {
            let (udp_bytes, last) = rest.split_at_mut(8);
            // Zero is allowed where a tunnel is meant: what it carries has checksums of its own (RFC 6935 §5).
            let udp = UdpHeader { source: 0, destination, len: 0, checksum: 0 };
            udp_bytes.as_mut_array().into_iter().for_each(|bytes| udp.write(bytes));
            last
        }
        None => rest,
    };
    let last = last.first_chunk_mut()?;
    match peer.encap {
        Encap::Vxlan => VxlanHeader { vni: Vni::ZERO }.write(last),
        Encap::Geneve => GeneveHeader { vni: Vni::ZERO }.write(last),
        Encap::Nvgre => NvgreHeader { vsid: Vsid::MIN, flow_id: 0 }.write(last),
    }
    last[4..].fill(0);
    Some(shape)
}

#[cfg(test)]
mod tests {
    use super::super::{Encap, PortInfo, Vtep};
    use super::*;
    use core::net::Ipv4Addr;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn snapshot() -> Snapshot {
        let mut s = Snapshot::new(
            Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]),
            &[PortInfo { mac: MAC, mtu: 1600 }],
        );
        s.set_vtep(VtepIx(0), Some(vtep(&[])));
        s
    }

    fn v4(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    fn vtep(gateways: &[IpAddr]) -> Vtep {
        Vtep { port: PortId(0), address: v4(1), prefix_len: 24, gateways: gateways.to_vec(), neighbours: vec![] }
    }

    fn peer(last: u8) -> Peer {
        Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: v4(last) }
    }

    #[test]
    fn a_configured_peer_keeps_the_snapshots_number_and_another_gets_one_behind() {
        let mut s = snapshot();
        s.set_peer(PeerIx(3), Some(peer(2))).unwrap();
        let mut t = PeerTable::new(s.secret(), 4, 2);
        assert_eq!(t.find(&s, peer(2)), Some(PeerIx(3)));
        assert_eq!(t.find(&s, peer(9)), None);
        let learned = t.intern(&s, peer(9)).unwrap();
        assert!(learned.index() >= 4);
        assert_eq!(t.find(&s, peer(9)), Some(learned));
        t.hold(learned);
        assert_eq!(t.learned(), 1);
        assert!(t.intern(&s, peer(10)).is_some());
        assert_eq!(t.intern(&s, peer(11)), None);
        t.release(learned);
        assert_eq!(t.find(&s, peer(9)), None);
        assert!(t.intern(&s, peer(11)).is_some());
    }

    #[test]
    fn an_entry_follows_the_configuration() {
        let mut s = snapshot();
        let far = Peer { vtep: VtepIx(0), encap: Encap::Vxlan, address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)) };
        s.set_peer(PeerIx(0), Some(far)).unwrap();
        let mut n = NeighbourTable::new(s.secret(), 8);
        let mut t = PeerTable::new(s.secret(), 4, 2);
        let now = Time::from_millis(0);
        assert_eq!(t.get(PeerIx(0), &s, &mut n, now).unwrap().resolution, Resolution::NoRoute);
        s.generation += 1;
        s.set_vtep(VtepIx(0), Some(vtep(&[v4(254)])));
        let entry = t.get(PeerIx(0), &s, &mut n, now).unwrap();
        assert_eq!((entry.resolution, entry.mtu), (Resolution::Ready, 1600));
        assert_eq!(&entry.header[30..34], &[198, 51, 100, 7]);
        assert_eq!(n.entries()[0].address, v4(254));
        s.generation += 1;
        s.set_peer(PeerIx(0), None).unwrap();
        assert_eq!(t.get(PeerIx(0), &s, &mut n, now).unwrap().resolution, Resolution::Gone);
    }
}
