//! Remote tunnel endpoints, as one worker reaches them: each with its outer header ready but for a few fields.
//!
//! Owns: what stands in front of every frame to a peer. Configured peers have the snapshot's numbers; the others, heard
//! of from their frames, get numbers behind those for as long as a learned MAC is at them. An entry is made anew at its
//! first use in each generation, so that a changed vtep, gateway or port shows at once and nothing has to be told.
//! Read first: RFC 7348 §5, RFC 6864 §4.1 (an atomic datagram needs no identification).

use super::buckets::{self, Bucket, Secret};
use super::{NeighbourTable, Peer, PeerIx, PortId, Snapshot, VtepIx};
use crate::Time;
use crate::wire::{
    EtherType, EthernetHeader, Fragment, IpProtocol, Ipv4Header, MacAddr, TrafficClass, UdpHeader, VXLAN_PORT, Vni,
    VxlanHeader,
};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

/// Length of an outer Ethernet, IPv4, UDP and VXLAN header, bytes.
pub const OUTER_LEN: usize = 14 + 20 + 8 + 8;

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// By this next hop.
    Ready,
    /// Its vtep, or itself, is not configured any more.
    Gone,
    /// It is outside the vtep's net, and the vtep has no gateway.
    NoRoute,
    /// The table of next hops is full.
    NoNeighbour,
}

/// A peer, ready for use.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct PeerEntry {
    /// The outer header: destination MAC, DSCP, ECN, lengths, IP checksum, source port and VNI are zero.
    pub(crate) header: [u8; OUTER_LEN],
    /// Sum of the 16-bit words of its IP header, unfolded.
    pub(crate) ip_sum: u32,
    /// The number of its next hop.
    pub(crate) neighbour: u32,
    /// The vtep it is reached from.
    pub(crate) vtep: VtepIx,
    /// The port it is reached by.
    pub(crate) port: PortId,
    /// That port's MTU, bytes.
    pub(crate) mtu: u16,
    /// How it is reached.
    pub(crate) resolution: Resolution,
    /// Whom the entry is for.
    pub(crate) peer: Option<Peer>,
    /// The generation it was made for.
    made: u64,
    /// [`NeighbourTable::reuses`] at that time.
    reuses: u64,
    /// How many learned MACs are at it; only counted for those that are not configured.
    macs: u32,
}

const NEVER: u64 = u64::MAX;

/// The table.
pub struct PeerTable {
    entries: Vec<PeerEntry>,
    configured: usize,
    /// From [`Peer::key`] to number, of those that are not configured.
    index: Box<[Bucket]>,
    free: Vec<u32>,
    secret: Secret,
    /// How often a number was given back.
    releases: u64,
    /// The key asked for last, in which generation, and its number: most frames come from where the last one did.
    last: Option<(u64, u64, PeerIx)>,
}

impl PeerTable {
    /// A table for `configured` numbers of the snapshot's, and `learned` others.
    pub fn new(secret: Secret, configured: usize, learned: usize) -> Self {
        let entry = PeerEntry {
            header: [0; OUTER_LEN],
            ip_sum: 0,
            neighbour: 0,
            vtep: VtepIx(0),
            port: PortId(0),
            mtu: 0,
            resolution: Resolution::Gone,
            peer: None,
            made: NEVER,
            reuses: 0,
            macs: 0,
        };
        let total = configured + learned;
        Self {
            entries: vec![entry; total],
            configured,
            index: vec![Bucket::default(); (learned / 2 + 1).next_power_of_two()].into(),
            // The last one given back is the next handed out: no learned MAC names it any more.
            free: (configured as u32..total as u32).rev().collect(),
            secret,
            releases: 0,
            last: None,
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
    #[inline]
    pub(crate) fn find(&mut self, snapshot: &Snapshot, peer: Peer) -> Option<PeerIx> {
        let key = peer.key(self.secret);
        if let Some((last, generation, ix)) = self.last
            && last == key
            && generation == snapshot.generation
        {
            return Some(ix);
        }
        let ix = snapshot.peer_number(peer).or_else(|| {
            let (b, s) = buckets::find(&self.index, self.secret.hash(key), key)?;
            let number = self.index[b].values[s];
            (self.entries[number as usize].peer == Some(peer)).then_some(PeerIx(number as u32))
        })?;
        self.last = Some((key, snapshot.generation, ix));
        Some(ix)
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
        let entry = &mut self.entries[number as usize];
        (entry.peer, entry.made, entry.macs) = (Some(peer), NEVER, 0);
        Some(PeerIx(number))
    }

    /// Whom a number stands for.
    pub fn peer(&self, snapshot: &Snapshot, ix: PeerIx) -> Option<Peer> {
        if ix.index() < self.configured { snapshot.peer(ix) } else { self.entries.get(ix.index())?.peer }
    }

    /// Counts one more learned MAC at a peer.
    pub(crate) fn hold(&mut self, ix: PeerIx) {
        if let Some(entry) = self.entries.get_mut(ix.index()) {
            entry.macs += 1;
        }
    }

    /// Counts one learned MAC less at a peer. One that is not configured gives its number back with the last.
    pub(crate) fn release(&mut self, ix: PeerIx) {
        let Some(entry) = self.entries.get_mut(ix.index()) else { return };
        entry.macs = entry.macs.saturating_sub(1);
        self.release_if_unused(ix);
    }

    /// Gives back the number of a peer that was interned and then not used.
    pub(crate) fn release_if_unused(&mut self, ix: PeerIx) {
        let entry = &mut self.entries[ix.index()];
        if ix.index() < self.configured || entry.macs > 0 {
            return;
        }
        let Some(peer) = entry.peer.take() else { return };
        let key = peer.key(self.secret);
        if let Some((b, s)) = buckets::find(&self.index, self.secret.hash(key), key) {
            self.index[b].keys[s] = 0;
        }
        self.free.push(ix.0);
        self.releases += 1;
        self.last = None;
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
        if entry.made != snapshot.generation || entry.reuses != neighbours.reuses() {
            self.make(ix, snapshot, neighbours, now);
        }
        self.entries.get(ix.index())
    }

    #[cold]
    fn make(&mut self, ix: PeerIx, snapshot: &Snapshot, neighbours: &mut NeighbourTable, now: Time) {
        let peer = self.peer(snapshot, ix);
        let entry = &mut self.entries[ix.index()];
        (entry.made, entry.peer, entry.resolution) = (snapshot.generation, peer, Resolution::Gone);
        entry.reuses = neighbours.reuses();
        let Some(peer) = peer else { return };
        let Some(vtep) = snapshot.vtep(peer.vtep) else { return };
        let Some(port) = snapshot.ports().get(vtep.port.index()) else { return };
        (entry.vtep, entry.port, entry.mtu) = (peer.vtep, vtep.port, port.mtu);
        let hop = if vtep.is_on_link(peer.address) { Some(peer.address) } else { vtep.gateways.first().copied() };
        let (Some(hop), IpAddr::V4(local), IpAddr::V4(remote)) = (hop, vtep.address, peer.address) else {
            entry.resolution = Resolution::NoRoute;
            return;
        };
        let configured = vtep.neighbours.iter().find(|(address, _)| *address == hop).map(|(_, mac)| *mac);
        let Some(neighbour) = neighbours.want(vtep.port, peer.vtep, hop, configured, now) else {
            entry.resolution = Resolution::NoNeighbour;
            // Tried again at the next frame: a place may come free.
            entry.made = NEVER;
            return;
        };
        (entry.neighbour, entry.reuses) = (neighbour, neighbours.reuses());
        entry.header = outer_header(port.mac, local, remote);
        entry.ip_sum = entry.header[14..34].as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
        entry.resolution = Resolution::Ready;
    }
}

/// An outer header, with zeros where a frame's own values go.
fn outer_header(source_mac: MacAddr, source: Ipv4Addr, destination: Ipv4Addr) -> [u8; OUTER_LEN] {
    let ethernet = EthernetHeader { destination: MacAddr::ZERO, source: source_mac, ether_type: EtherType::IPV4 };
    let ip = Ipv4Header {
        traffic_class: TrafficClass(0),
        total_len: 0,
        // An atomic datagram needs none, and is never fragmented.
        identification: 0,
        fragment: Fragment::DONT_FRAGMENT,
        ttl: 64,
        protocol: IpProtocol::UDP,
        source,
        destination,
    };
    let udp = UdpHeader { source: 0, destination: VXLAN_PORT, len: 0, checksum: 0 };
    let mut header = [0; OUTER_LEN];
    let (ethernet_bytes, rest) = header.split_at_mut(14);
    let (ip_bytes, rest) = rest.split_at_mut(20);
    let (udp_bytes, vxlan_bytes) = rest.split_at_mut(8);
    ethernet_bytes.as_mut_array().into_iter().for_each(|bytes| ethernet.write(bytes));
    ip_bytes.as_mut_array().into_iter().for_each(|bytes| ip.write(bytes));
    udp_bytes.as_mut_array().into_iter().for_each(|bytes| udp.write(bytes));
    vxlan_bytes.as_mut_array().into_iter().for_each(|bytes| VxlanHeader { vni: Vni::ZERO }.write(bytes));
    // Summed up again with each frame's own values.
    header[24..26].fill(0);
    header
}

#[cfg(test)]
mod tests {
    use super::super::{Encap, PortInfo, Vtep};
    use super::*;

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
