//! Advertise: routers say that they are there (RFC 4861), from time to time and when they are asked.
//!
//! One worker does it by the clock: each interface has a time of its own in each period, drawn by a keyed hash, so that no state
//! is kept and no two speak in step; the longest time between two is what the operator set, and one that is new, or changed, does it at once. On VLANs from the gateway's MAC; into
//! tunnels from the DVR MAC, where hosts without a gateway of their own hear it, and other gateways drop it
//! ([`super::snoop`]). Who asks is answered at its place alone.
//! Read first: RFC 4861 §6.2, RFC 4862 §5.5.

use super::counters::{DropReason, Event};
use super::meter::Class;
use super::parse::Parsed;
use super::pipeline::{Gateway, Turn};
use super::snoop;
use crate::tables::{Advertise, BridgeId, Encap, Interface, InterfaceIx, Place, SegmentKind, Snapshot};
use crate::wire::{
    ALL_NODES, EtherType, EthernetHeader, MAX_RA_PREFIXES, MacAddr, RaPacket, RaPrefix, link_local, multicast_mac,
};
use crate::{Egress, Frame, Pool, Time};
use core::net::{IpAddr, Ipv6Addr};

/// Interfaces looked at in a tick.
const TURN: usize = 64;
/// For how long prefixes are valid and preferred, seconds (RFC 4861 §6.2.1).
const VALID: u32 = 2_592_000;
const PREFERRED: u32 = 604_800;

/// Where the clock's worker is in its rounds.
pub(super) struct Advertising {
    leads: bool,
    cursor: usize,
    /// When this round began, and the one before.
    began: Time,
    before: Time,
    /// Of which generation the interfaces are that were looked at in the last round, and in this.
    known: u64,
    generation: u64,
}

impl Advertising {
    /// At the beginning; `leads` says that this worker does it.
    pub(super) fn new(leads: bool) -> Self {
        let zero = Time::from_millis(0);
        // The first tick begins a round.
        Self { leads, cursor: usize::MAX, began: zero, before: zero, known: 0, generation: 0 }
    }
}

/// Whether an interface's time lies after `from`, and not after `to`. The time between two is at least half of the longest, and at most
/// that.
fn is_due(snapshot: &Snapshot, ix: InterfaceIx, advertise: Advertise, from: Time, to: Time) -> bool {
    let longest = u64::from(advertise.interval.max(1)) * 1000;
    let (period, spread) = (longest - longest / 4, longest / 4);
    let time_in = |n: u64| n * period + (snapshot.secret().mix(u64::from(ix.0), n) >> 32) % spread.max(1);
    // The period of `to`, or the one before it, whose time may be late.
    let n = to.millis() / period;
    [n, n.saturating_sub(1)].into_iter().map(time_in).any(|at| from.millis() < at && at <= to.millis())
}

impl<F: Frame> Gateway<F> {
    /// Advertises the interfaces whose time has come.
    pub(super) fn advertise_due<P, E>(&mut self, turn: &mut Turn<'_, P, E>)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let snapshot = turn.snapshot;
        let all = snapshot.advertising();
        if !self.advertising.leads {
            return;
        }
        if self.advertising.cursor >= all.len() {
            let Advertising { leads, began: before, generation: known, .. } = self.advertising;
            let (began, generation) = (turn.now, snapshot.generation);
            self.advertising = Advertising { leads, cursor: 0, began, before, known, generation };
        }
        let Advertising { cursor, began, before, known, generation, .. } = self.advertising;
        for &ix in all.iter().skip(cursor).take(TURN) {
            let Some(interface) = snapshot.interface(ix) else { continue };
            let Some(advertise) = interface.advertise else { continue };
            // What is new says so at once, in the one round that began with it.
            let since = snapshot.interface_since(ix);
            let is_new = known < since && since <= generation;
            if !is_new && !is_due(snapshot, ix, advertise, before, began) {
                continue;
            }
            let Some(bridge) = snapshot.bridge(interface.bridge) else { continue };
            let local = bridge.local.iter().map(|&ix| Place::new(ix, None));
            for place in local.chain(bridge.remote.iter().map(|&(ix, peer)| Place::new(ix, Some(peer)))) {
                let from = if place.peer().is_some() { snapshot.dvr_mac() } else { interface.mac };
                self.advertise(turn, interface, advertise, place, from, None);
            }
        }
        self.advertising.cursor = cursor.saturating_add(TURN);
    }

    /// Answers a router solicitation where it came from; it goes no further.
    #[cold]
    pub(super) fn answer_solicitation<P, E>(&mut self, turn: &mut Turn<'_, P, E>, frame: F, p: &Parsed)
    where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let snapshot = turn.snapshot;
        // As many as there may be of what is for everybody.
        if !self.may_flood(turn, p, Class::Broadcast) {
            return self.refuse(turn.port, frame, DropReason::Storm);
        }
        let at = usize::from(p.rest_at) + usize::from(p.inner.ip_at);
        let packet = frame.head().get(at..p.end as usize);
        let asker = packet.and_then(snoop::ipv6_message).map(|(ip, ..)| ip.source());
        let asker = asker.filter(|asker| !asker.is_unspecified()).map(|asker| (asker, MacAddr::from_bits(p.from)));
        let Some(back) = self.back(snapshot, p) else {
            return self.refuse(turn.port, frame, DropReason::PeerGone);
        };
        for (_, interface) in snapshot.interfaces_of(p.bridge) {
            let Some(advertise) = interface.advertise else { continue };
            self.advertise(turn, interface, advertise, back, interface.mac, asker);
        }
        self.consume(frame);
    }

    /// Advertises an interface at one place: to who asked, or to all.
    fn advertise<P, E>(
        &mut self,
        turn: &mut Turn<'_, P, E>,
        interface: &Interface,
        advertise: Advertise,
        place: Place,
        from: MacAddr,
        asker: Option<(Ipv6Addr, MacAddr)>,
    ) where
        P: Pool<Frame = F>,
        E: Egress<F>,
    {
        let (destination, to) = asker.unwrap_or((ALL_NODES, multicast_mac(ALL_NODES)));
        let mut prefixes = heapless::Vec::<RaPrefix, MAX_RA_PREFIXES>::new();
        for own in &interface.addresses {
            if let IpAddr::V6(prefix) = own.address {
                let (valid, preferred) = (VALID, PREFERRED);
                let option =
                    RaPrefix { prefix, len: own.len, on_link: true, autonomous: own.len == 64, valid, preferred };
                let _ = prefixes.push(option);
            }
        }
        let packet = RaPacket {
            source: link_local(interface.mac),
            destination,
            source_mac: interface.mac,
            managed: advertise.managed,
            other: advertise.other,
            lifetime: advertise.lifetime,
            mtu: Some(mtu(turn.snapshot, interface).into()),
            prefixes: &prefixes,
        };
        self.counters.count(Event::RouterAdvertised);
        let len = EthernetHeader::LEN + packet.len();
        self.originate(turn, interface.bridge, (to, from), place, len, |head| {
            let Some((ethernet, rest)) = head.split_first_chunk_mut() else { return };
            EthernetHeader { destination: to, source: from, ether_type: EtherType::IPV6 }.write(ethernet);
            // As long as it says, and no more prefixes than there may be.
            let _ = packet.write(rest);
        });
    }
}

/// What a bridge's hosts may send at once, bytes of an IP packet: what was set, else what the smallest of its segments takes.
fn mtu(snapshot: &Snapshot, interface: &Interface) -> u16 {
    let smallest = segments(snapshot, interface.bridge).min();
    interface.mtu.min(smallest.unwrap_or(interface.mtu))
}

/// What each segment of a bridge takes.
fn segments(snapshot: &Snapshot, bridge: BridgeId) -> impl Iterator<Item = u16> {
    let lists = snapshot
        .bridge(bridge)
        .map(|bridge| bridge.local.iter().copied().chain(bridge.remote.iter().map(|&(ix, _)| ix)));
    lists.into_iter().flatten().filter_map(move |ix| {
        let mtu = snapshot.ports().get(snapshot.port_of(ix)?.index())?.mtu;
        let outer = match snapshot.segment(ix)?.kind {
            SegmentKind::Vlan { .. } | SegmentKind::Qinq { .. } => 0,
            SegmentKind::Tunnel { encap, vtep, .. } => {
                let ip = if snapshot.vtep(vtep)?.address.is_ipv4() { 20 } else { 40 };
                // The inner Ethernet header, and the tunnel's.
                ip + 14 + if encap == Encap::Nvgre { 8 } else { 16 }
            }
        };
        Some(mtu.saturating_sub(outer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::Secret;

    #[test]
    fn advertisements_are_never_further_apart_than_set_nor_nearer_than_half_of_that() {
        let snapshot = Snapshot::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), &[]);
        let advertise = Advertise { interval: 8, lifetime: 1800, managed: false, other: false };
        for ix in 0..20 {
            let times: std::vec::Vec<u64> = (0..400u64)
                .map(|n| n * 250)
                .filter(|at| {
                    let (from, to) = (Time::from_millis(*at), Time::from_millis(at + 250));
                    is_due(&snapshot, InterfaceIx(ix), advertise, from, to)
                })
                .collect();
            assert!(times.len() > 10, "{times:?}");
            for pair in times.windows(2) {
                assert!((3_750..=8_250).contains(&(pair[1] - pair[0])), "{times:?}");
            }
        }
    }
}
