//! Learn: where source MACs are, and telling the other workers.
//!
//! Refuses: this gateway's own MACs (the frame is dropped: it has come back), configured ones that turn up elsewhere
//! (they stay), those that move too often ([`super::flap`]), more than a bridge's limit. Read first: IEEE 802.1Q-2018
//! §8.7.

use super::counters::{DropReason, Event};
use super::meter::Remark;
use super::notice::{Happening, Notice, Whereabouts};
use super::parse::Parsed;
use super::pipeline::Gateway;
use crate::tables::{
    BridgeId, LearnOutcome, LearnedMac, Manners, Peer, PeerIx, Place, PortId, SegmentIx, SegmentKind, Snapshot,
};
use crate::wire::MacAddr;
use crate::{Frame, Time};
use core::net::IpAddr;

/// So many facts wait to be told at most.
pub(super) const OFFERS: usize = 1024;
/// And so many more, of those that nothing will say again.
pub(super) const LAST_OFFERS: usize = 256;
/// Buckets of the MAC table looked through in a tick: a million MACs in a few seconds.
const SWEEP: usize = 128;
/// By when all workers have heard of a move, milliseconds: generously.
const SOON: u64 = 1000;

/// What one worker learned and the others should know. It names things as the configuration does: numbers of learned
/// peers are each worker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A MAC is there.
    Mac {
        /// The bridge.
        bridge: BridgeId,
        /// The host.
        mac: MacAddr,
        /// Where it is.
        segment: SegmentIx,
        /// The peer behind a tunnel segment.
        peer: Option<Peer>,
        /// Whether that is news.
        sighting: Sighting,
    },
    /// A MAC moved too often: it stays there for a while.
    Frozen {
        /// The bridge.
        bridge: BridgeId,
        /// The host.
        mac: MacAddr,
        /// Where it is.
        segment: SegmentIx,
        /// The peer behind a tunnel segment.
        peer: Option<Peer>,
    },
    /// A next hop has that MAC.
    Neighbour {
        /// The port it is on.
        port: PortId,
        /// Its address.
        address: IpAddr,
        /// Its MAC.
        mac: MacAddr,
    },
    /// An address is at that MAC.
    Binding {
        /// The bridge.
        bridge: BridgeId,
        /// The address.
        address: IpAddr,
        /// Who has it.
        mac: MacAddr,
        /// A number that grows with every move.
        sequence: u32,
        /// How it is advertised.
        manners: Manners,
    },
    /// It was: its owner is silent.
    BindingGone {
        /// The bridge.
        bridge: BridgeId,
        /// The address.
        address: IpAddr,
        /// Who had it.
        mac: MacAddr,
        /// How often it had moved then.
        sequence: u32,
    },
}

/// What a worker that tells of a MAC knew of it before. Facts cross on their way: by this, the workers agree on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Nothing; seen at that time.
    First(Time),
    /// That it was elsewhere; it moved at that time.
    Moved(Time),
    /// That it was there.
    Again,
}

/// What came of learning a MAC at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learning {
    New,
    /// It was elsewhere: there.
    Moved(Whereabouts),
    /// It was there, by another number of the same peer.
    Renumbered,
    /// Its bridge has as many as it may.
    OverLimit,
    /// There was no room for it; that is counted.
    Full,
}

impl<F: Frame> Gateway<F> {
    /// The step, for one frame that came in by a port. Whether its source is where it was known to be: the same frame again would
    /// teach nothing.
    pub(super) fn learn(
        &mut self,
        snapshot: &Snapshot,
        p: &Parsed,
        port: PortId,
        now: Time,
    ) -> Result<bool, DropReason> {
        let seconds = now.seconds();
        match self.macs.renew(p.from_hash, p.from, p.place, seconds) {
            Some(before) if self.shared => self.offer_again(snapshot, p, before, seconds),
            Some(_) => {}
            None => return self.learn_new(snapshot, p, port, now),
        }
        Ok(true)
    }

    /// A source that is not known to be where the frame came from.
    #[cold]
    fn learn_new(&mut self, snapshot: &Snapshot, p: &Parsed, port: PortId, now: Time) -> Result<bool, DropReason> {
        let mac = MacAddr::from_bits(p.from);
        if snapshot.ports().iter().any(|port| port.mac == mac) || self.is_own(snapshot, p.bridge, p.from) {
            return Err(DropReason::SourceMac);
        }
        // Another gateway's is never learned: it is behind every peer that has the same router. Only tunnels bring it.
        if snapshot.is_dvr_mac(mac) {
            return if p.tunnel { Ok(true) } else { Err(DropReason::SourceMac) };
        }
        if let Some(at) = snapshot.endpoint(p.from_hash, p.from) {
            let is_at = self.is_at(snapshot, at, p);
            if !is_at {
                self.counters.count(Event::ConfiguredMacElsewhere);
            }
            return Ok(is_at);
        }
        // Its peer may have got a number since the burst was taken apart, with a frame before this one.
        if let Some(peer) = p.stranger
            && let Some(ix) = self.peers.find(snapshot, peer)
            && let place = Place::new(p.place.segment(), Some(ix))
            && self.macs.renew(p.from_hash, p.from, place, now.seconds()).is_some()
        {
            return Ok(false);
        }
        if self.is_held(p.from_hash, p.from, now) {
            self.counters.count(Event::FrozenMacElsewhere);
            return Ok(false);
        }
        let at = Whereabouts { segment: p.place.segment(), peer: self.origin(snapshot, p) };
        let sighting = match self.learn_at(snapshot, p.from, at, now.seconds()) {
            Learning::Moved(from) => {
                self.moved(p, at, from, now);
                Sighting::Moved(now)
            }
            Learning::New => {
                self.counters.count(Event::Learned);
                self.notices.note(|| Notice { at: Some(at), ..Notice::of(Happening::Learned, p.bridge, mac) });
                Sighting::First(now)
            }
            // What is not learned here is not told either: whoever sends from ever new MACs would keep everybody's facts waiting.
            Learning::OverLimit => {
                self.say_limit(snapshot, p.bridge, mac, port, now);
                return Ok(false);
            }
            Learning::Full => return Ok(false),
            Learning::Renumbered => Sighting::Again,
        };
        if self.shared {
            self.offer(snapshot, p, sighting, now.seconds());
        }
        Ok(false)
    }

    /// Counts and tells a move that was seen here, and freezes who moved too often.
    fn moved(&mut self, p: &Parsed, at: Whereabouts, from: Whereabouts, now: Time) {
        let (bridge, mac) = (p.bridge, MacAddr::from_bits(p.from));
        let notice = |what| Notice { at: Some(at), from: Some(from), ..Notice::of(what, bridge, mac) };
        self.counters.count(Event::Moved);
        self.notices.note(|| notice(Happening::Moved));
        if self.movers.note(p.from_hash, p.from, now) {
            self.movers.freeze(p.from_hash, p.from, now);
            self.counters.count(Event::Frozen);
            self.notices.note(|| notice(Happening::Frozen));
            if self.shared {
                self.push_last(Fact::Frozen { bridge, mac, segment: at.segment, peer: at.peer });
            }
        }
    }

    /// Whether a MAC is frozen where it is known to be.
    fn is_held(&self, hash: u64, key: u64, now: Time) -> bool {
        self.movers.is_frozen(hash, key, now) && self.macs.get(hash, key).is_some()
    }

    /// Tells those who watch that a bridge has as many MACs as it may.
    fn say_limit(&mut self, snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr, port: PortId, now: Time) {
        let Some(settings) = snapshot.bridge(bridge).map(|b| &b.settings) else { return };
        if self.meter.may_say(Remark::MacLimit, bridge, port, settings, now) {
            self.notices.note(|| Notice { port: Some(port), ..Notice::of(Happening::MacLimit, bridge, mac) });
        }
    }

    /// Whether a frame came from where its source is configured to be.
    pub(super) fn is_at(&self, snapshot: &Snapshot, at: Place, p: &Parsed) -> bool {
        at.segment() == p.place.segment()
            && at.peer().and_then(|ix| self.peers.peer(snapshot, ix)) == self.origin(snapshot, p)
    }

    /// The peer that a frame came from in a tunnel.
    pub(super) fn origin(&self, snapshot: &Snapshot, p: &Parsed) -> Option<Peer> {
        p.stranger.or_else(|| self.peers.peer(snapshot, p.place.peer()?))
    }

    /// What the configuration calls a place.
    pub(super) fn whereabouts(&self, snapshot: &Snapshot, place: Place) -> Whereabouts {
        let peer = place.peer().and_then(|ix| self.peers.peer(snapshot, ix));
        Whereabouts { segment: place.segment(), peer }
    }

    /// Learns a MAC at a place where it was not known.
    fn learn_at(&mut self, snapshot: &Snapshot, key: u64, at: Whereabouts, seconds: u64) -> Learning {
        let peer = match at.peer.map(|peer| self.peers.intern(snapshot, peer)) {
            Some(None) => {
                self.counters.count(Event::PeerTableFull);
                return Learning::Full;
            }
            Some(peer) => peer,
            None => None,
        };
        let bridge = BridgeId((key >> 48) as u16);
        let limit = snapshot.bridge(bridge).map_or(0, |b| b.settings.mac_limit);
        let outcome = self.macs.learn(key, Place::new(at.segment, peer), seconds, limit);
        match (outcome, peer) {
            (LearnOutcome::New | LearnOutcome::Moved(_), Some(peer)) => self.peers.hold(peer),
            (LearnOutcome::OverLimit | LearnOutcome::Full, Some(peer)) => self.peers.release_if_unused(peer),
            (_, None) => {}
        }
        match outcome {
            LearnOutcome::New => Learning::New,
            LearnOutcome::Moved(before) => {
                let from = self.whereabouts(snapshot, before);
                if let Some(peer) = before.peer() {
                    self.peers.release(peer);
                }
                if from == at { Learning::Renumbered } else { Learning::Moved(from) }
            }
            LearnOutcome::OverLimit => {
                self.counters.count(Event::MacLimit);
                Learning::OverLimit
            }
            LearnOutcome::Full => {
                self.counters.count(Event::MacTableFull);
                Learning::Full
            }
        }
    }

    /// Tells the others once more of a MAC that goes on talking here, so that theirs does not age: four times within
    /// its bridge's ageing time.
    #[inline]
    fn offer_again(&mut self, snapshot: &Snapshot, p: &Parsed, before: LearnedMac, now: u64) {
        if before.seen == now as u16 {
            return;
        }
        let ageing = snapshot.bridge(p.bridge).map_or(0, |b| b.settings.mac_ageing);
        let since = ((now >> 4) as u8).wrapping_sub(before.told);
        if u16::from(since) >= (ageing / 64).clamp(1, 128) {
            self.offer(snapshot, p, Sighting::Again, now);
        }
    }

    /// Offers where a frame's source is to the other workers. If too much waits, it is offered again with a later frame.
    fn offer(&mut self, snapshot: &Snapshot, p: &Parsed, sighting: Sighting, now: u64) {
        let (bridge, mac, peer) = (p.bridge, MacAddr::from_bits(p.from), self.origin(snapshot, p));
        let fact = Fact::Mac { bridge, mac, segment: p.place.segment(), peer, sighting };
        if self.push_offer(fact) {
            self.macs.set_told(p.from_hash, p.from, now);
        } else {
            self.macs.set_told(p.from_hash, p.from, now.wrapping_sub(128 << 4));
        }
    }

    /// Offers a fact; false if too many wait.
    pub(super) fn push_offer(&mut self, fact: Fact) -> bool {
        if self.offers.len() >= OFFERS {
            self.counters.count(Event::OfferFull);
            return false;
        }
        self.offers.push_back(fact);
        true
    }

    /// Offers a fact that nothing will say again: there is room for some where others have to wait.
    pub(super) fn push_last(&mut self, fact: Fact) -> bool {
        if self.offers.len() >= OFFERS + LAST_OFFERS {
            self.counters.count(Event::OfferFull);
            return false;
        }
        self.offers.push_back(fact);
        true
    }

    /// What the other workers should know, oldest first.
    pub fn next_offer(&mut self) -> Option<Fact> {
        self.offers.pop_front()
    }

    /// Takes over what another worker learned. Frames that waited for a next hop are sent with the next tick.
    pub fn learned_elsewhere(&mut self, snapshot: &Snapshot, fact: Fact, now: Time) {
        match fact {
            Fact::Mac { bridge, mac, segment, peer, sighting } => {
                self.mac_elsewhere(snapshot, bridge, mac, Whereabouts { segment, peer }, sighting, now);
            }
            Fact::Frozen { bridge, mac, segment, peer } => {
                self.frozen_elsewhere(snapshot, bridge, mac, Whereabouts { segment, peer }, now);
            }
            Fact::Neighbour { port, address, mac } => {
                if let Some((number, _)) = self.neighbours.confirm(port.0, address, mac, now) {
                    self.release_later(number);
                }
            }
            Fact::Binding { .. } | Fact::BindingGone { .. } => self.binding_elsewhere(snapshot, fact, now),
        }
        self.peers.reclaim();
    }

    /// Takes over where another worker saw a MAC. Its move is counted there; here it is only noted, so that whoever sees
    /// the fifth knows of the four before.
    fn mac_elsewhere(
        &mut self,
        snapshot: &Snapshot,
        bridge: BridgeId,
        mac: MacAddr,
        at: Whereabouts,
        sighting: Sighting,
        now: Time,
    ) {
        let Some((hash, key)) = self.may_take_over(snapshot, bridge, mac, at) else { return };
        let known = match at.peer {
            Some(peer) => self.peers.find(snapshot, peer).map(|ix| Place::new(at.segment, Some(ix))),
            None => Some(Place::new(at.segment, None)),
        };
        if known.and_then(|place| self.macs.renew(hash, key, place, now.seconds())).is_some()
            || self.is_held(hash, key, now)
            || self.is_overtaken(snapshot, (hash, key), at, sighting, now)
        {
            return;
        }
        if let Learning::Moved(_) = self.learn_at(snapshot, key, at, now.seconds()) {
            let when = match sighting {
                Sighting::First(when) | Sighting::Moved(when) => when,
                Sighting::Again => now,
            };
            self.movers.note(hash, key, when);
        }
    }

    /// Holds a MAC where another worker has frozen it. Two that froze it at the same time agree on one of both places.
    fn frozen_elsewhere(&mut self, snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr, at: Whereabouts, now: Time) {
        let Some((hash, key)) = self.may_take_over(snapshot, bridge, mac, at) else { return };
        let here = self.macs.get(hash, key).map(|entry| self.whereabouts(snapshot, entry.place));
        if here != Some(at) {
            if self.movers.is_frozen(hash, key, now) && here.is_some_and(|here| rank(here) > rank(at)) {
                return;
            }
            self.learn_at(snapshot, key, at, now.seconds());
        }
        self.movers.freeze(hash, key, now);
    }

    /// Hash and key of a MAC that, by the configuration, may be learned at a place.
    fn may_take_over(
        &mut self,
        snapshot: &Snapshot,
        bridge: BridgeId,
        mac: MacAddr,
        at: Whereabouts,
    ) -> Option<(u64, u64)> {
        let key = crate::tables::mac_key(bridge, mac);
        let hash = snapshot.secret().hash(key);
        let numbered = at.peer.and_then(|peer| self.peers.find(snapshot, peer));
        let may = may_be_at(snapshot, bridge, at.segment, at.peer, numbered)
            && snapshot.endpoint(hash, key).is_none()
            && !is_a_gateways(snapshot, bridge, mac);
        may.then_some((hash, key))
    }

    /// Whether what another worker says of a MAC is older than what is known here. Both hear of each other, so both
    /// must come to the same: the later move wins, and of two at the same time, the higher place.
    fn is_overtaken(
        &self,
        snapshot: &Snapshot,
        (hash, key): (u64, u64),
        at: Whereabouts,
        sighting: Sighting,
        now: Time,
    ) -> bool {
        let Some(entry) = self.macs.get(hash, key) else { return false };
        let is_higher = || rank(self.whereabouts(snapshot, entry.place)) > rank(at);
        match (sighting, self.movers.last(hash, key)) {
            (Sighting::First(when) | Sighting::Moved(when), Some(last)) if when != last => when < last,
            (Sighting::First(_) | Sighting::Moved(_), Some(_)) => is_higher(),
            // Who told it had not heard of the move yet.
            (Sighting::Again, Some(last)) => now.since(last) < SOON,
            // Neither knew it before.
            (Sighting::First(_), None) => entry.age(now.seconds()) < 2 && is_higher(),
            (Sighting::Moved(_) | Sighting::Again, None) => false,
        }
    }

    /// Forgets learned MACs that were silent for too long, and those that the configuration has overtaken.
    pub(super) fn forget(&mut self, snapshot: &Snapshot, now: Time) {
        let Self { macs, peers, counters, notices, .. } = self;
        let is_stale = |key: u64, entry: LearnedMac| {
            let bridge = BridgeId((key >> 48) as u16);
            let Some(settings) = snapshot.bridge(bridge).map(|b| b.settings) else { return true };
            let (number, segment) = (entry.place.peer(), entry.place.segment());
            let peer = number.and_then(|ix| peers.peer(snapshot, ix));
            entry.age(now.seconds()) > settings.mac_ageing
                || number.is_some() != peer.is_some()
                || !may_be_at(snapshot, bridge, segment, peer, number)
                || snapshot.endpoint(snapshot.secret().hash(key), key).is_some()
                || is_a_gateways(snapshot, bridge, MacAddr::from_bits(key))
        };
        let mut released = heapless::Vec::<_, { SWEEP * 4 }>::new();
        macs.sweep(SWEEP, is_stale, |key, entry| {
            counters.count(Event::Aged);
            notices.note(|| {
                let peer = entry.place.peer().and_then(|ix| peers.peer(snapshot, ix));
                let at = Some(Whereabouts { segment: entry.place.segment(), peer });
                Notice { at, ..Notice::of(Happening::Aged, BridgeId((key >> 48) as u16), MacAddr::from_bits(key)) }
            });
            // There are no more slots in the buckets swept than this has room for.
            let _ = released.push(entry.place);
        });
        for peer in released.into_iter().filter_map(Place::peer) {
            peers.release(peer);
        }
    }
}

/// Whether a MAC is a gateway's, this one's or another's, and no host's.
fn is_a_gateways(snapshot: &Snapshot, bridge: BridgeId, mac: MacAddr) -> bool {
    snapshot.interface_with(bridge, mac).is_some() || snapshot.is_dvr_mac(mac) || mac == snapshot.dvr_mac()
}

/// An order of places, the same on all workers.
fn rank(at: Whereabouts) -> (SegmentIx, Option<IpAddr>) {
    (at.segment, at.peer.map(|peer| peer.address))
}

/// Whether, by the configuration, hosts of a bridge may be on a segment, and behind a peer of it, whose number is
/// `number` if it has one.
fn may_be_at(
    snapshot: &Snapshot,
    bridge: BridgeId,
    segment: SegmentIx,
    peer: Option<Peer>,
    number: Option<PeerIx>,
) -> bool {
    let Some(segment) = snapshot.segment(segment).filter(|s| s.bridge == bridge) else { return false };
    match (segment.kind, peer) {
        (SegmentKind::Vlan { .. } | SegmentKind::Qinq { .. }, None) => true,
        (SegmentKind::Tunnel { encap, vtep, .. }, Some(peer)) => {
            let listed_only = snapshot.bridge(bridge).is_some_and(|b| b.settings.listed_only);
            (peer.vtep, peer.encap) == (vtep, encap)
                && (!listed_only || number.is_some_and(|ix| snapshot.is_listed(bridge, ix)))
        }
        _ => false,
    }
}
