//! What became of frames lately: from the hosts' two MACs and the place a frame came in, to the place it goes to.
//!
//! Owns: a cache, nothing else. An entry says that both hosts were looked up, in the second and in the state of all tables that its
//! stamp stands for, and what came of it. Whatever changes one of them changes the stamp, so nothing here is ever taken
//! back; and since every second begins with the full way, learned MACs stay fresh. A frame that is found here costs one line of
//! memory instead of two, and none of learning and deciding.

use super::buckets::Secret;
use super::mac::Place;
use alloc::boxed::Box;
use alloc::vec;

/// Two hosts and the place where the first one's frames come in. Keys of MACs are bridge and MAC; both are of one bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    from: u64,
    /// The other MAC, and 16 bits of the place.
    to: u64,
    /// The place's other 24 bits, topmost.
    rest: u64,
}

impl Flow {
    #[inline(always)]
    pub(crate) fn new(from: u64, to: u64, place: Place) -> Self {
        Self { from, to: to << 16 | place.to_bits() & 0xffff, rest: place.to_bits() >> 16 << 40 }
    }

    /// Which line it is in.
    #[inline(always)]
    pub(crate) fn hash(self, secret: Secret) -> u64 {
        secret.mix(self.from, self.to)
    }
}

/// 32 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    from: u64,
    to: u64,
    /// The rest of the place that frames come in at in 24 bits, and where they go in 40.
    places: u64,
    stamp: u64,
}

/// Two entries, in one line of cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([Entry; 2]);

const PLACE: u64 = (1 << 40) - 1;
/// In a stamp, of which the lowest 32 bits are seconds: the source MAC is another gateway's DVR MAC.
const DVR: u64 = 1 << 31;

/// The cache.
pub(crate) struct FlowTable(Box<[Line]>);

impl FlowTable {
    /// Room for about `capacity` flows.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(vec![Line::default(); (capacity / 2).next_power_of_two()].into())
    }

    #[inline(always)]
    fn line(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.0.len() - 1)
    }

    /// Brings a flow's line near. The result only keeps the read from being optimised away.
    #[inline(always)]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        self.0[self.line(hash)].0[0].stamp
    }

    /// Where frames of a flow go, if that was found out under the same stamp, and whether they are from another gateway. No stamp
    /// is 0.
    #[inline(always)]
    pub(crate) fn get(&self, hash: u64, flow: Flow, stamp: u64) -> Option<(Place, bool)> {
        let line = &self.0[self.line(hash)].0;
        let holds = |e: &Entry| {
            (e.from ^ flow.from) | (e.to ^ flow.to) | (e.stamp ^ stamp) & !DVR | (e.places & !PLACE ^ flow.rest) == 0
        };
        let found = |e: &Entry| (Place::from_bits(e.places), (e.stamp ^ stamp) & DVR != 0);
        if holds(&line[0]) {
            return Some(found(&line[0]));
        }
        holds(&line[1]).then(|| found(&line[1]))
    }

    /// Keeps where frames of a flow go.
    pub(crate) fn put(&mut self, hash: u64, flow: Flow, stamp: u64, (to, dvr): (Place, bool)) {
        let stamp = if dvr { stamp ^ DVR } else { stamp };
        let line = self.line(hash);
        let line = &mut self.0[line].0;
        let is = |e: &Entry| e.from == flow.from && e.to == flow.to && e.places & !PLACE == flow.rest;
        // Its own entry; else the one that is out of date; else one of the two, by the hash.
        let by_age = || match (line[0].stamp == stamp, line[1].stamp == stamp) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => hash as usize & 1,
        };
        let slot = line.iter().position(is).unwrap_or_else(by_age);
        line[slot] = Entry { from: flow.from, to: flow.to, places: flow.rest | to.to_bits(), stamp };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PeerIx, SegmentIx};
    use super::*;

    #[test]
    fn a_flow_is_found_under_its_stamp_by_all_that_it_is() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut table = FlowTable::new(64);
        let place = |segment, peer| Place::new(SegmentIx(segment), Some(PeerIx(peer)));
        let (here, there) = (place(0xf_fff0, 0xf_fff1), place(0xf_fff2, 0xf_fff3));
        let flow = Flow::new(1 << 48 | 5, 1 << 48 | 6, here);
        let get = |t: &FlowTable, f: Flow, stamp| t.get(f.hash(secret), f, stamp);
        table.put(flow.hash(secret), flow, 9, (there, false));
        assert_eq!(get(&table, flow, 9), Some((there, false)));
        assert_eq!(get(&table, flow, 10), None);
        for other in [
            Flow::new(1 << 48 | 7, 1 << 48 | 6, here),
            Flow::new(1 << 48 | 5, 1 << 48 | 7, here),
            Flow::new(1 << 48 | 5, 1 << 48 | 6, place(0xf_fff0, 0xf_fff2)),
            Flow::new(1 << 48 | 5, 1 << 48 | 6, place(0xf_fff4, 0xf_fff1)),
        ] {
            // Asked under the same hash, so that only the comparison tells them apart.
            assert_eq!(table.get(flow.hash(secret), other, 9), None);
        }
        table.put(flow.hash(secret), flow, 10, (here, true));
        assert_eq!(get(&table, flow, 10), Some((here, true)));
    }

    #[test]
    fn a_full_line_gives_up_what_is_out_of_date_first() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut table = FlowTable::new(2);
        let place = Place::new(SegmentIx(1), None);
        let flow = |n: u64| Flow::new(n, 1, place);
        for (n, stamp) in [(1, 1), (2, 2), (3, 2)] {
            table.put(flow(n).hash(secret), flow(n), stamp, (place, false));
        }
        let found: std::vec::Vec<_> = (1..=3).map(|n| table.get(0, flow(n), 2).is_some()).collect();
        assert_eq!(found, [false, true, true]);
    }
}
