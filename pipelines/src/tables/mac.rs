//! The learned MACs of one worker: bounded, aged without timers, 16 bytes an entry.
//!
//! Owns: where a MAC was last seen, and when. Refuses: more than a bridge's limit, more than the table's capacity.
//! Configured MACs are not here; they win over what is (see `gateway/decide.rs`). Read first: IEEE 802.1Q-2018 §8.8.

use super::buckets::{self, Bucket, Secret};
use super::{BridgeId, PeerIx, SegmentIx};
use crate::wire::MacAddr;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

const FIELD: u64 = (1 << 20) - 1;
/// Counters of moves.
const MOVES: usize = 1024;
const PLACE: u64 = (1 << 40) - 1;
/// Keys handed out at a time at most.
pub(crate) const KEYS: usize = 1024;

/// Where frames to a host go: a segment, and the peer behind it if it is a tunnel. 40 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// Where no frame comes from: what a router sends on another bridge than it came in on has come from nowhere on it.
    pub(crate) const NOWHERE: Self = Self(PLACE);

    /// A place on a segment, behind a peer if it is a tunnel. Both numbers are below their type's limit.
    #[inline]
    pub fn new(segment: SegmentIx, peer: Option<PeerIx>) -> Self {
        debug_assert!(segment.0 < SegmentIx::LIMIT && peer.is_none_or(|p| p.0 < PeerIx::LIMIT));
        let peer = peer.map_or(0, |p| u64::from(p.0) + 1);
        Self(u64::from(segment.0) | peer << 20)
    }

    /// As a number of 40 bits.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// From [`Place::to_bits`].
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits & PLACE)
    }

    /// The segment.
    #[inline]
    pub fn segment(self) -> SegmentIx {
        SegmentIx((self.0 & FIELD) as u32)
    }

    /// The peer behind it.
    #[inline]
    pub fn peer(self) -> Option<PeerIx> {
        ((self.0 >> 20 & FIELD) as u32).checked_sub(1).map(PeerIx)
    }
}

/// One entry, taken apart. As 64 bits: the place in 40, the second it was last seen in 16, and in 8 the time at which
/// the other workers were last told, in units of 16 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedMac {
    /// Where it was last seen.
    pub place: Place,
    /// In which second, modulo 65,536.
    pub seen: u16,
    /// In which 16 seconds the other workers were told, modulo 256.
    pub told: u8,
}

impl LearnedMac {
    #[inline]
    fn unpack(value: u64) -> Self {
        Self { place: Place(value & PLACE), seen: (value >> 40) as u16, told: (value >> 56) as u8 }
    }

    #[inline]
    fn pack(self) -> u64 {
        self.place.0 | u64::from(self.seen) << 40 | u64::from(self.told) << 56
    }

    /// Seconds since it was seen.
    #[inline]
    pub fn age(self, now: u64) -> u16 {
        (now as u16).wrapping_sub(self.seen)
    }
}

/// What came of learning a MAC that was not where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnOutcome {
    /// It was not known.
    New,
    /// It was known elsewhere: there.
    Moved(Place),
    /// Its bridge has as many as it may: not learned.
    OverLimit,
    /// There is no slot for it: not learned.
    Full,
}

/// The table. Keys are `mac_key`s, hashes are those of its secret.
pub struct MacTable {
    buckets: Box<[Bucket]>,
    secret: Secret,
    capacity: usize,
    len: usize,
    per_bridge: Vec<u32>,
    cursor: usize,
    moves: u64,
    /// By the lower bits of the bridge's number: a tenant whose hosts move leaves most others' flows alone.
    moves_of: Box<[u32; MOVES]>,
}

impl MacTable {
    /// A table for `capacity` MACs, on bridges numbered below `bridges`. It takes at most 43 bytes a MAC, and is at
    /// most three quarters full.
    pub fn new(secret: Secret, capacity: usize, bridges: usize) -> Self {
        let buckets = (capacity / 3 + 1).next_power_of_two();
        Self {
            buckets: vec![Bucket::default(); buckets].into(),
            secret,
            capacity,
            len: 0,
            per_bridge: vec![0; bridges],
            cursor: 0,
            moves: 0,
            moves_of: Box::new([0; MOVES]),
        }
    }

    /// How many MACs it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many of a bridge it holds.
    pub fn len_of(&self, bridge: BridgeId) -> u32 {
        self.per_bridge.get(bridge.index()).copied().unwrap_or(0)
    }

    /// How often a MAC moved or was taken away: until then, all that were found are where they were. Those that age out are not
    /// counted: what was found is looked up again every second.
    #[inline]
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    /// The same for the MACs of a bridge, and of those that share its counter.
    #[inline(always)]
    pub(crate) fn moves_of(&self, bridge: BridgeId) -> u32 {
        self.moves_of[bridge.index() % MOVES]
    }

    fn count_move(&mut self, key: u64) {
        self.moves += 1;
        let count = &mut self.moves_of[(key >> 48) as usize % MOVES];
        *count = count.wrapping_add(1);
    }

    /// Brings the place of an entry near. The result only keeps the read from being optimised away.
    #[inline]
    pub(crate) fn touch(&self, hash: u64) -> u64 {
        self.buckets[hash as usize & (self.buckets.len() - 1)].keys[0]
    }

    /// The entry of a key.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: u64) -> Option<LearnedMac> {
        let (b, s) = buckets::find(&self.buckets, hash, key)?;
        Some(LearnedMac::unpack(self.buckets[b].values[s]))
    }

    /// The packet path's half of learning: if the key is known at `place`, marks it seen and returns the entry as it
    /// was before; else `None`, and [`Self::learn`] is to be asked.
    #[inline]
    pub(crate) fn renew(&mut self, hash: u64, key: u64, place: Place, now: u64) -> Option<LearnedMac> {
        let (b, s) = buckets::find(&self.buckets, hash, key)?;
        let value = &mut self.buckets[b].values[s];
        let before = LearnedMac::unpack(*value);
        if before.place != place {
            return None;
        }
        // A line that is not written stays clean, and shared: most frames of a second are not its first.
        if before.seen != now as u16 {
            *value = LearnedMac { seen: now as u16, ..before }.pack();
        }
        Some(before)
    }

    /// Learns a key at a place where it was not known.
    pub(crate) fn learn(&mut self, key: u64, place: Place, now: u64, limit: u32) -> LearnOutcome {
        let entry = LearnedMac { place, seen: now as u16, told: (now >> 4) as u8 };
        if let Some((b, s)) = buckets::find(&self.buckets, self.secret.hash(key), key) {
            let before = LearnedMac::unpack(self.buckets[b].values[s]);
            self.buckets[b].values[s] = entry.pack();
            self.count_move(key);
            return LearnOutcome::Moved(before.place);
        }
        let Some(count) = self.per_bridge.get_mut((key >> 48) as usize) else { return LearnOutcome::Full };
        if *count >= limit {
            return LearnOutcome::OverLimit;
        }
        if self.len >= self.capacity || !buckets::insert(&mut self.buckets, self.secret, key, entry.pack()) {
            return LearnOutcome::Full;
        }
        *count += 1;
        self.len += 1;
        LearnOutcome::New
    }

    /// Notes that the other workers were told of a key now.
    pub(crate) fn set_told(&mut self, hash: u64, key: u64, now: u64) {
        if let Some((b, s)) = buckets::find(&self.buckets, hash, key) {
            let value = &mut self.buckets[b].values[s];
            *value = LearnedMac { told: (now >> 4) as u8, ..LearnedMac::unpack(*value) }.pack();
        }
    }

    /// Forgets the entries of the next `count` buckets that are stale; `gone` hears of each. Called every so often, it
    /// comes by every entry.
    pub(crate) fn sweep(
        &mut self,
        count: usize,
        mut is_stale: impl FnMut(u64, LearnedMac) -> bool,
        mut gone: impl FnMut(u64, LearnedMac),
    ) {
        for _ in 0..count.min(self.buckets.len()) {
            self.cursor = (self.cursor + 1) & (self.buckets.len() - 1);
            let bucket = &mut self.buckets[self.cursor];
            for slot in 0..4 {
                let key = bucket.keys[slot];
                let entry = LearnedMac::unpack(bucket.values[slot]);
                if key != 0 && is_stale(key, entry) {
                    bucket.keys[slot] = 0;
                    self.len -= 1;
                    if let Some(count) = self.per_bridge.get_mut((key >> 48) as usize) {
                        *count -= 1;
                    }
                    gone(key, entry);
                }
            }
        }
    }

    /// Forgets a key; its entry as it was.
    pub(crate) fn remove(&mut self, hash: u64, key: u64) -> Option<LearnedMac> {
        let (b, s) = buckets::find(&self.buckets, hash, key)?;
        self.buckets[b].keys[s] = 0;
        self.count_move(key);
        self.len -= 1;
        if let Some(count) = self.per_bridge.get_mut((key >> 48) as usize) {
            *count -= 1;
        }
        Some(LearnedMac::unpack(self.buckets[b].values[s]))
    }

    /// Keys of a bridge from `cursor` on, at most a few hundred at a time; the cursor to go on with, or `None` at the
    /// end.
    pub(crate) fn keys_of(&self, bridge: BridgeId, cursor: usize, mut each: impl FnMut(u64)) -> Option<usize> {
        let end = cursor.saturating_add(KEYS / 4).min(self.buckets.len());
        let keys = self.buckets.get(cursor..end)?.iter().flat_map(|bucket| bucket.keys);
        keys.filter(|key| *key != 0 && *key >> 48 == u64::from(bridge.0)).for_each(&mut each);
        (end < self.buckets.len()).then_some(end)
    }

    /// Hands out entries from `cursor` on, at most a few hundred at a time; the cursor to go on with, or `None` when
    /// all were handed out. An entry that moves meanwhile may be missed or come twice.
    pub fn page(&self, cursor: usize, mut each: impl FnMut(BridgeId, MacAddr, LearnedMac)) -> Option<usize> {
        const BUCKETS: usize = 256;
        let end = (cursor.saturating_add(BUCKETS)).min(self.buckets.len());
        for bucket in self.buckets.get(cursor..end)? {
            for (&key, &value) in bucket.keys.iter().zip(&bucket.values).filter(|(key, _)| **key != 0) {
                let [h, l, mac @ ..] = key.to_be_bytes();
                each(BridgeId(u16::from_be_bytes([h, l])), MacAddr(mac), LearnedMac::unpack(value));
            }
        }
        (end < self.buckets.len()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::mac_key;
    use super::*;

    const HERE: Place = Place(5);

    fn table(capacity: usize) -> MacTable {
        MacTable::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]), capacity, 4)
    }

    fn key(bridge: u16, n: u32) -> u64 {
        let [a, b, c, d] = n.to_be_bytes();
        mac_key(BridgeId(bridge), MacAddr([2, 0, a, b, c, d]))
    }

    #[test]
    fn a_place_keeps_both_numbers_at_their_limits() {
        for (segment, peer) in [(0, None), (0, Some(0)), (SegmentIx::LIMIT - 1, Some(PeerIx::LIMIT - 2))] {
            let place = Place::new(SegmentIx(segment), peer.map(PeerIx));
            assert_eq!((place.segment().0, place.peer().map(|p| p.0)), (segment, peer));
        }
    }

    #[test]
    fn a_mac_is_learned_renewed_moved_and_aged() {
        let mut t = table(100);
        let (k, h) = (key(1, 1), Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]).hash(key(1, 1)));
        assert_eq!(t.renew(h, k, HERE, 10), None);
        assert_eq!(t.learn(k, HERE, 10, 9), LearnOutcome::New);
        assert_eq!(t.renew(h, k, HERE, 12).map(|e| e.age(12)), Some(2));
        assert_eq!(t.renew(h, k, Place(6), 12), None);
        assert_eq!(t.learn(k, Place(6), 12, 9), LearnOutcome::Moved(HERE));
        let mut gone = std::vec::Vec::new();
        t.sweep(usize::MAX, |_, e| e.age(400) > 300, |k, _| gone.push(k));
        assert_eq!(gone, [k]);
        assert_eq!((t.len(), t.len_of(BridgeId(1)), t.get(h, k)), (0, 0, None));
    }

    #[test]
    fn a_bridge_at_its_limit_learns_no_more_and_the_others_do() {
        let mut t = table(100);
        for n in 0..3 {
            assert_eq!(t.learn(key(1, n), HERE, 0, 3), LearnOutcome::New);
        }
        assert_eq!(t.learn(key(1, 9), HERE, 0, 3), LearnOutcome::OverLimit);
        assert_eq!(t.learn(key(2, 9), HERE, 0, 3), LearnOutcome::New);
        assert_eq!(t.learn(key(1, 2), Place(6), 0, 3), LearnOutcome::Moved(HERE));
    }

    #[test]
    fn a_table_holds_its_capacity_within_64_bytes_each() {
        let mut t = table(100_000);
        for n in 0..100_000 {
            assert_eq!(t.learn(key(1, n), HERE, 0, u32::MAX), LearnOutcome::New, "at {n}");
        }
        assert_eq!(t.learn(key(1, 100_000), HERE, 0, u32::MAX), LearnOutcome::Full);
        assert!(t.buckets.len() * 64 <= 64 * t.capacity());
    }

    #[test]
    fn age_is_right_across_the_wrap_of_its_sixteen_bits() {
        let entry = LearnedMac { place: HERE, seen: 65_530, told: 0 };
        assert_eq!(entry.age(65_536 + 10), 16);
    }
}
