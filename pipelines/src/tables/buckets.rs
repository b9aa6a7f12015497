//! Cache-line buckets: the one hash layout behind every MAC-keyed table.
//!
//! A bucket is 64 bytes: four keys and four values of 64 bits. A key lives in one of two buckets, chosen by a keyed
//! hash, so a lookup reads at most two cache lines whatever arrives (bounded probing; colliding keys cannot be chosen
//! without the secret). An insertion that finds both full moves one entry to its other bucket; if none can move, the
//! table is full for this key, which is a named outcome.
//!
//! Key 0 means an empty slot: no key here is 0, since each holds a unicast MAC or a non-zero tag.

/// What makes hashes unpredictable to those who send packets: two random words from the operating system.
#[derive(Clone, Copy, Debug)]
pub struct Secret([u64; 2]);

impl Secret {
    /// From 128 random bits.
    pub const fn new(random: [u64; 2]) -> Self {
        // An odd factor loses no bit of the key.
        Self([random[0], random[1] | 1])
    }

    /// Two words as one hash, in the same way.
    #[inline]
    pub fn mix(self, a: u64, b: u64) -> u64 {
        let product = u128::from(a ^ self.0[0]) * u128::from(b ^ self.0[1]);
        (product as u64) ^ ((product >> 64) as u64)
    }

    /// A folded 64 × 64 → 128-bit multiplication, and one more round: hosts' MACs are often consecutive, and after one
    /// round alone their two buckets would still follow each other in step.
    #[inline]
    pub fn hash(self, key: u64) -> u64 {
        let once = self.mix(key, 0);
        (once ^ once >> 32).wrapping_mul(self.0[1]) ^ once >> 17
    }
}

/// Four entries in one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) keys: [u64; 4],
    pub(super) values: [u64; 4],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The slot that holds `key`. With key 0: the first empty one.
    #[inline]
    pub(super) fn slot(&self, key: u64) -> Option<usize> {
        let k = &self.keys;
        let found = u32::from(k[0] == key)
            | u32::from(k[1] == key) << 1
            | u32::from(k[2] == key) << 2
            | u32::from(k[3] == key) << 3;
        (found != 0).then(|| found.trailing_zeros() as usize & 3)
    }
}

/// The two buckets of a hash among `count`, a power of two.
#[inline]
pub(super) fn pair(count: usize, hash: u64) -> [usize; 2] {
    let mask = count - 1;
    [hash as usize & mask, (hash >> 32) as usize & mask]
}

/// Where `key` is: bucket and slot.
#[inline]
pub(super) fn find(buckets: &[Bucket], hash: u64, key: u64) -> Option<(usize, usize)> {
    let [first, second] = pair(buckets.len(), hash);
    match buckets[first].slot(key) {
        Some(slot) => Some((first, slot)),
        None => buckets[second].slot(key).map(|slot| (second, slot)),
    }
}

/// Puts a new key in. False if its buckets are full and nothing in them can move.
pub(super) fn insert(buckets: &mut [Bucket], secret: Secret, key: u64, value: u64) -> bool {
    let homes = pair(buckets.len(), secret.hash(key));
    // The emptier one, so that both fill evenly.
    let free = |b: usize| buckets[b].keys.iter().filter(|&&k| k == 0).count();
    let order = if free(homes[1]) > free(homes[0]) { [homes[1], homes[0]] } else { homes };
    for home in order {
        if let Some(slot) = buckets[home].slot(0) {
            buckets[home].keys[slot] = key;
            buckets[home].values[slot] = value;
            return true;
        }
    }
    for home in homes {
        for slot in 0..4 {
            let moving = buckets[home].keys[slot];
            let [a, b] = pair(buckets.len(), secret.hash(moving));
            let other = if a == home { b } else { a };
            if let Some(room) = buckets[other].slot(0) {
                buckets[other].keys[room] = moving;
                buckets[other].values[room] = buckets[home].values[slot];
                buckets[home].keys[slot] = key;
                buckets[home].values[slot] = value;
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use std::collections::HashMap;

    #[test]
    fn a_table_filled_to_three_quarters_finds_every_key() {
        let secret = Secret::new([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);
        let mut buckets = vec![Bucket::default(); 1024];
        let mut model = HashMap::new();
        for i in 1..=3072u64 {
            // Keys as they come: consecutive MACs on one bridge.
            let key = 0x0007_0200_0000_0000 + i;
            assert!(insert(&mut buckets, secret, key, i), "full at {i} of 4096");
            model.insert(key, i);
        }
        for (&key, &value) in &model {
            let (b, s) = find(&buckets, secret.hash(key), key).expect("every key is found");
            assert_eq!(buckets[b].values[s], value);
        }
        assert_eq!(find(&buckets, secret.hash(99), 99), None);
    }

    #[test]
    fn a_full_table_says_so_and_loses_nothing() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut buckets = vec![Bucket::default(); 4];
        let taken: vec::Vec<u64> = (1..200u64).filter(|&k| insert(&mut buckets, secret, k, k * 2)).collect();
        assert!(taken.len() <= 16);
        for key in taken {
            let (b, s) = find(&buckets, secret.hash(key), key).expect("what was taken is there");
            assert_eq!(buckets[b].values[s], key * 2);
        }
    }
}
