//! Learn: where source MACs are, and telling the other workers.
//!
//! Refuses: this gateway's own MACs (the frame is dropped: it has come back), configured ones that turn up elsewhere
//! (they stay), more than a bridge's limit. Read first: IEEE 802.1Q-2018 §8.7.

use super::counters::{DropReason, Event};
use super::parse::Parsed;
use super::pipeline::Gateway;
use crate::tables::{
    BridgeId, LearnOutcome, LearnedMac, Manners, Peer, PeerIx, Place, PortId, SegmentIx, SegmentKind, Snapshot,
};
use crate::wire::MacAddr;
use crate::{Frame, Time};
use core::net::IpAddr;

/// So many facts wait for the manager at most.
pub(super) const OFFERS: usize = 1024;
/// Buckets of the MAC table looked through in a tick: a million MACs in a few seconds.
const SWEEP: usize = 128;

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
        /// How often it has moved.
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

impl<F: Frame> Gateway<F> {
    /// The step, for one frame; `seconds` is the time.
    #[inline(always)]
    pub(super) fn learn(&mut self, snapshot: &Snapshot, p: &Parsed, seconds: u64) -> Result<(), DropReason> {
        match self.macs.renew(p.from_hash, p.from, p.place, seconds) {
            Some(before) if self.shared => self.offer_again(snapshot, p, before, seconds),
            Some(_) => {}
            None => return self.learn_new(snapshot, p, seconds),
        }
        Ok(())
    }

    /// A source that is not known to be where the frame came from.
    #[cold]
    fn learn_new(&mut self, snapshot: &Snapshot, p: &Parsed, now: u64) -> Result<(), DropReason> {
        let mac = MacAddr::from_bits(p.from);
        if snapshot.ports().iter().any(|port| port.mac == mac) {
            return Err(DropReason::SourceMac);
        }
        if let Some(at) = snapshot.endpoint(p.from_hash, p.from) {
            if !self.is_at(snapshot, at, p) {
                self.counters.count(Event::ConfiguredMacElsewhere);
            }
            return Ok(());
        }
        // Its peer may have got a number since the burst was taken apart, with a frame before this one.
        if let Some(peer) = p.stranger
            && let Some(ix) = self.peers.find(snapshot, peer)
            && self.macs.renew(p.from_hash, p.from, Place::new(p.place.segment(), Some(ix)), now).is_some()
        {
            return Ok(());
        }
        self.learn_at(snapshot, p.from, p.place.segment(), self.origin(snapshot, p), now);
        if self.shared {
            self.offer(snapshot, p, now);
        }
        Ok(())
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

    /// Learns a MAC at a segment, and at a peer if that is a tunnel.
    fn learn_at(&mut self, snapshot: &Snapshot, key: u64, segment: SegmentIx, origin: Option<Peer>, now: u64) {
        let peer = match origin.map(|peer| self.peers.intern(snapshot, peer)) {
            Some(None) => return self.counters.count(Event::PeerTableFull),
            Some(peer) => peer,
            None => None,
        };
        let bridge = BridgeId((key >> 48) as u16);
        let limit = snapshot.bridge(bridge).map_or(0, |b| b.settings.mac_limit);
        let outcome = self.macs.learn(key, Place::new(segment, peer), now, limit);
        let event = match outcome {
            LearnOutcome::New => Event::Learned,
            LearnOutcome::Moved(_) => Event::Moved,
            LearnOutcome::OverLimit => Event::MacLimit,
            LearnOutcome::Full => Event::MacTableFull,
        };
        self.counters.count(event);
        match (outcome, peer) {
            (LearnOutcome::New | LearnOutcome::Moved(_), Some(peer)) => self.peers.hold(peer),
            (LearnOutcome::OverLimit | LearnOutcome::Full, Some(peer)) => self.peers.release_if_unused(peer),
            (_, None) => {}
        }
        if let LearnOutcome::Moved(from) = outcome
            && let Some(peer) = from.peer()
        {
            self.peers.release(peer);
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
            self.offer(snapshot, p, now);
        }
    }

    /// Offers where a frame's source is to the manager. If too much waits, it is offered again with a later frame.
    fn offer(&mut self, snapshot: &Snapshot, p: &Parsed, now: u64) {
        let peer = self.origin(snapshot, p);
        let fact = Fact::Mac { bridge: p.bridge, mac: MacAddr::from_bits(p.from), segment: p.place.segment(), peer };
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

    /// What the other workers should know, oldest first.
    pub fn next_offer(&mut self) -> Option<Fact> {
        self.offers.pop_front()
    }

    /// Gives an offer back that the manager had no room for.
    pub fn return_offer(&mut self, fact: Fact) {
        self.offers.push_front(fact);
    }

    /// Takes over what another worker learned. Frames that waited for a next hop are sent with the next tick.
    pub fn learned_elsewhere(&mut self, snapshot: &Snapshot, fact: Fact, now: Time) {
        match fact {
            Fact::Mac { bridge, mac, segment, peer } => {
                let key = crate::tables::mac_key(bridge, mac);
                let hash = snapshot.secret().hash(key);
                let numbered = peer.and_then(|peer| self.peers.find(snapshot, peer));
                if !may_be_at(snapshot, bridge, segment, peer, numbered) || snapshot.endpoint(hash, key).is_some() {
                    return;
                }
                let known = match peer {
                    Some(peer) => self.peers.find(snapshot, peer).map(|ix| Place::new(segment, Some(ix))),
                    None => Some(Place::new(segment, None)),
                };
                if known.and_then(|place| self.macs.renew(hash, key, place, now.seconds())).is_none() {
                    self.learn_at(snapshot, key, segment, peer, now.seconds());
                }
            }
            Fact::Neighbour { port, address, mac } => {
                if let Some((number, _)) = self.neighbours.confirm(port, address, mac, now) {
                    self.release_later(number);
                }
            }
            Fact::Binding { .. } | Fact::BindingGone { .. } => self.binding_elsewhere(snapshot, fact, now),
        }
    }

    /// Forgets learned MACs that were silent for too long, and those that the configuration has overtaken.
    pub(super) fn forget(&mut self, snapshot: &Snapshot, now: Time) {
        let Self { macs, peers, counters, .. } = self;
        let is_stale = |key: u64, entry: LearnedMac| {
            let bridge = BridgeId((key >> 48) as u16);
            let Some(settings) = snapshot.bridge(bridge).map(|b| b.settings) else { return true };
            let (number, segment) = (entry.place.peer(), entry.place.segment());
            let peer = number.and_then(|ix| peers.peer(snapshot, ix));
            entry.age(now.seconds()) > settings.mac_ageing
                || number.is_some() != peer.is_some()
                || !may_be_at(snapshot, bridge, segment, peer, number)
                || snapshot.endpoint(snapshot.secret().hash(key), key).is_some()
        };
        let mut released = heapless::Vec::<_, { SWEEP * 4 }>::new();
        macs.sweep(SWEEP, is_stale, |_, entry| {
            counters.count(Event::Aged);
            // There are no more slots in the buckets swept than this has room for.
            let _ = released.push(entry.place);
        });
        for peer in released.into_iter().filter_map(Place::peer) {
            peers.release(peer);
        }
    }
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
