//! What became of packets for a router lately: from who sent what to whom, to how it left.
//!
//! Owns: a cache, nothing else, and the same idea as in `flow.rs`, one layer up: an entry says that a sender was learned, that the
//! packet's addresses were judged, routed, and the next hop found, in the second and in the state of all tables that
//! its stamp stands for. It has all that is written into the frame, so that a routed packet costs one line of memory.
//! Where a route has several next hops, an entry only says so, and each flow has one of its own.

use super::BridgeId;
use super::buckets::Secret;
use super::mac::Place;
use alloc::boxed::Box;
use alloc::vec;

/// How a routed packet leaves, besides its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Bridge and MAC of the next hop.
    pub(crate) to: u64,
    /// The MAC that it leaves with.
    pub(crate) from: u64,
    /// The most that the next hop takes, bytes of an IP packet.
    pub(crate) mtu: u16,
    /// How many routers it goes through, each of which takes a hop off.
    pub(crate) routers: u8,
    /// Whether TCP's segment size is to be lowered.
    pub(crate) clamp: bool,
}

impl Hop {
    /// The bridge that it leaves by.
    #[inline(always)]
    pub(crate) fn bridge(self) -> BridgeId {
        BridgeId((self.to >> 48) as u16)
    }
}

/// Packets that go the same way: bridge and MAC of who sent them, where they came in, and, as 128 bits, their two addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) from: u64,
    pub(crate) addresses: [u64; 2],
    /// The place, and above it a share of the flows; 0 for all.
    at: u64,
}

const PLACE: u64 = (1 << 40) - 1;

impl Pair {
    #[inline(always)]
    pub(crate) fn new(from: u64, addresses: [u64; 2], place: Place) -> Self {
        Self { from, addresses, at: place.to_bits() }
    }

    /// What of a flow's hash tells it from others of its pair, and so all that may decide where it goes: what is remembered of one
    /// flow is taken for every other of its share.
    #[inline(always)]
    pub(crate) const fn share(flow: u64) -> u64 {
        flow >> 40 | 1
    }

    /// The same, of those packets alone whose flow has this hash.
    #[inline(always)]
    pub(crate) fn of_flow(self, flow: u64) -> Self {
        Self { at: self.at & PLACE | Self::share(flow) << 40, ..self }
    }

    /// Which line it is in.
    #[inline(always)]
    pub(crate) fn hash(self, secret: Secret) -> u64 {
        secret.mix(self.from ^ (self.at >> 40), self.addresses[0] ^ self.addresses[1])
    }
}

/// What is known of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// They leave there, like that.
    Way(Place, Hop),
    /// It depends on the flow.
    Spread,
}

/// A line of cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Entry {
    pair: Pair,
    stamp: u64,
    to: u64,
    /// The MAC, and above it the MTU.
    from: u64,
    /// The place, and above it the bits below.
    out: u64,
}

const _: () = assert!(size_of::<Entry>() == 64);

const SPREAD: u64 = 1 << 40;
const CLAMP: u64 = 1 << 41;
const ROUTERS_AT: u32 = 56;
const MAC: u64 = (1 << 48) - 1;

/// The cache.
pub(crate) struct HopTable(Box<[Entry]>);

impl HopTable {
    /// Room for about `capacity` pairs.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(vec![Entry::default(); capacity.next_power_of_two().max(2)].into())
    }

    /// The two entries where it may be are next to each other.
    #[inline(always)]
    fn slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.0.len() - 1)
    }

    /// Brings a pair's line near. The result only keeps the read from being optimised away.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        self.0[self.slot(hash)].stamp
    }

    /// What is known of a pair, if that was found out under the stamp that `stamp` gives for the bridge they leave by. No stamp is
    /// 0.
    #[inline(always)]
    pub(crate) fn get(&self, hash: u64, pair: Pair, stamp: impl Fn(BridgeId) -> u64) -> Option<Known> {
        let slot = self.slot(hash);
        for slot in [slot, slot ^ 1] {
            let e = &self.0[slot];
            let differs = (e.pair.from ^ pair.from)
                | (e.pair.addresses[0] ^ pair.addresses[0])
                | (e.pair.addresses[1] ^ pair.addresses[1])
                | (e.pair.at ^ pair.at);
            if differs == 0 && e.stamp == stamp(BridgeId((e.to >> 48) as u16)) {
                if e.out & SPREAD != 0 {
                    return Some(Known::Spread);
                }
                let (routers, clamp) = ((e.out >> ROUTERS_AT) as u8, e.out & CLAMP != 0);
                let hop = Hop { to: e.to, from: e.from & MAC, mtu: (e.from >> 48) as u16, routers, clamp };
                return Some(Known::Way(Place::from_bits(e.out), hop));
            }
        }
        None
    }

    /// Keeps what was found out about a pair.
    pub(crate) fn put(&mut self, hash: u64, pair: Pair, stamp: u64, known: Known) {
        let slot = self.slot(hash);
        let (here, there) = (&self.0[slot], &self.0[slot ^ 1]);
        // Its own entry; else the one that is out of date, as far as its second tells; else its first.
        let is_older = |e: &Entry| (e.stamp as u32) != stamp as u32;
        let slot = match (here.pair == pair, there.pair == pair) {
            (true, _) => slot,
            (false, true) => slot ^ 1,
            _ if !is_older(here) && is_older(there) => slot ^ 1,
            _ => slot,
        };
        self.0[slot] = match known {
            // It rests on the bridge that the packets come from.
            Known::Spread => Entry { pair, stamp, to: pair.from, from: 0, out: SPREAD },
            Known::Way(place, hop) => {
                let out = place.to_bits() | u64::from(hop.routers) << ROUTERS_AT | if hop.clamp { CLAMP } else { 0 };
                Entry { pair, stamp, to: hop.to, from: hop.from & MAC | u64::from(hop.mtu) << 48, out }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PeerIx, SegmentIx};
    use super::*;

    #[test]
    fn a_pair_is_found_under_its_stamp_by_all_that_it_is() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut table = HopTable::new(64);
        let place = |segment, peer| Place::new(SegmentIx(segment), Some(PeerIx(peer)));
        let (here, there) = (place(0xf_fff0, 0xf_fff1), place(0xf_fff2, 0xf_fff3));
        let pair = Pair::new(1 << 48 | 5, [6, 7], here);
        let hop = Hop { to: 0xffff << 48 | 8, from: 9, mtu: 65_535, routers: 3, clamp: true };
        let stamp = |bridge: BridgeId| 3 + u64::from(bridge.0);
        table.put(pair.hash(secret), pair, stamp(BridgeId(0xffff)), Known::Way(there, hop));
        let hash = pair.hash(secret);
        assert_eq!(table.get(hash, pair, stamp), Some(Known::Way(there, hop)));
        assert_eq!(table.get(hash, pair, |bridge| stamp(bridge) + 1), None);
        for other in [
            Pair::new(1 << 48 | 6, [6, 7], here),
            Pair::new(1 << 48 | 5, [5, 7], here),
            Pair::new(1 << 48 | 5, [6, 6], here),
            Pair::new(1 << 48 | 5, [6, 7], there),
            pair.of_flow(77),
        ] {
            // Asked under the same hash, so that only the comparison tells them apart.
            assert_eq!(table.get(hash, other, stamp), None);
        }
        table.put(hash, pair, stamp(BridgeId(1)), Known::Spread);
        assert_eq!(table.get(hash, pair, stamp), Some(Known::Spread));
    }
}
