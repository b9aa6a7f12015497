//! Copy-on-write containers for the snapshot: cloning one copies a pointer, changing it copies one chunk.
//!
//! Readers of an older clone are never disturbed, and a change on a million entries costs kilobytes.

use super::buckets::{self, Bucket, Secret};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

const CHUNK: usize = 256;

/// An array that grows, in chunks of 256. What was never set is the default.
#[derive(Clone, Debug)]
pub(super) struct CowVec<T> {
    chunks: Arc<[Option<Arc<[T; CHUNK]>>]>,
}

impl<T: Clone + Default> CowVec<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Arc::new([]) }
    }

    /// The element, or `None` where nothing was set nearby. Two loads: the chunk, the element.
    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self.chunks.get(index / CHUNK)? {
            Some(chunk) => Some(&chunk[index % CHUNK]),
            None => None,
        }
    }

    /// The element, writable; its chunk is copied first if an older clone shares it.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut T {
        if self.chunks.len() <= index / CHUNK {
            let grown = (index / CHUNK + 1).next_power_of_two();
            let old = self.chunks.iter().cloned();
            self.chunks = old.chain(core::iter::repeat(None)).take(grown).collect();
        }
        let slot = &mut Arc::make_mut(&mut self.chunks)[index / CHUNK];
        let chunk = slot.get_or_insert_with(|| Arc::new(core::array::from_fn(|_| T::default())));
        &mut Arc::make_mut(chunk)[index % CHUNK]
    }
}

/// Buckets in one chunk of a [`CowMap`]: 4 KiB.
const GROUP: usize = 64;
/// At most 2^20 places in the directory, two hundred million keys: only a broken hash could ask for more.
const DEEPEST: u32 = 20;

/// A map from non-zero 64-bit keys to 64-bit values by extendible hashing: a directory of 4-KiB groups of buckets. A
/// group that is full splits in two, so that growing never rehashes the whole.
#[derive(Clone, Debug)]
pub(super) struct CowMap {
    secret: Secret,
    /// 2^depth indexes of groups, by the topmost bits of the hash; a group of lesser depth stands in several places.
    directory: Arc<[u32]>,
    depth: u32,
    groups: Arc<Vec<Group>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Group {
    buckets: Arc<[Bucket; GROUP]>,
    /// How many of the topmost bits of the hash all its keys share.
    depth: u32,
}

impl CowMap {
    pub(super) fn new(secret: Secret) -> Self {
        let empty = Group { buckets: Arc::new([Bucket::default(); GROUP]), depth: 0 };
        Self { secret, directory: Arc::new([0]), depth: 0, groups: Arc::new(vec![empty]), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Which group a hash belongs to.
    #[inline]
    fn group(&self, hash: u64) -> usize {
        // Shifted twice: by 64 at once, at depth 0, would overflow.
        self.directory[(hash >> 1 >> (63 - self.depth)) as usize] as usize
    }

    /// The value of `key`, whose hash by the map's secret is `hash`.
    #[inline]
    pub(super) fn get(&self, hash: u64, key: u64) -> Option<u64> {
        let buckets = &*self.groups[self.group(hash)].buckets;
        buckets::find(buckets, hash, key).map(|(b, s)| buckets[b].values[s])
    }

    /// Reads the cache line where the key of `hash` most likely is, so that a `get` finds it near. The result only
    /// keeps the read from being optimised away.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.groups[self.group(hash)].buckets[hash as usize & (GROUP - 1)].keys[0]
    }

    /// Sets a key. False if there is no room for it: nothing has changed then.
    pub(super) fn insert(&mut self, key: u64, value: u64) -> bool {
        let hash = self.secret.hash(key);
        loop {
            let group = self.group(hash);
            let buckets = Arc::make_mut(&mut Arc::make_mut(&mut self.groups)[group].buckets);
            if let Some((b, s)) = buckets::find(buckets, hash, key) {
                buckets[b].values[s] = value;
                return true;
            }
            if buckets::insert(buckets, self.secret, key, value) {
                self.len += 1;
                return true;
            }
            if !self.split(group) {
                return false;
            }
        }
    }

    /// Removes a key; its value, if it was there.
    pub(super) fn remove(&mut self, key: u64) -> Option<u64> {
        let hash = self.secret.hash(key);
        let group = self.group(hash);
        let (b, s) = buckets::find(&*self.groups[group].buckets, hash, key)?;
        let bucket = &mut Arc::make_mut(&mut Arc::make_mut(&mut self.groups)[group].buckets)[b];
        bucket.keys[s] = 0;
        self.len -= 1;
        Some(core::mem::take(&mut bucket.values[s]))
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.groups.len() * (GROUP * 64 + size_of::<Group>()) + self.directory.len() * 4
    }

    /// Parts a group's keys by one more bit of their hashes. False at the greatest depth.
    fn split(&mut self, group: usize) -> bool {
        let depth = self.groups[group].depth;
        if depth == DEEPEST {
            return false;
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&g| [g, g]).collect();
            self.depth += 1;
        }
        let mut halves = [[Bucket::default(); GROUP]; 2];
        for bucket in self.groups[group].buckets.iter() {
            for (&key, &value) in bucket.keys.iter().zip(&bucket.values).filter(|(key, _)| **key != 0) {
                let bit = (self.secret.hash(key) >> (63 - depth)) as usize & 1;
                // With half the keys or fewer, the same buckets suffice; where they do not, the split is called off.
                if !buckets::insert(&mut halves[bit], self.secret, key, value) {
                    return false;
                }
            }
        }
        let groups = Arc::make_mut(&mut self.groups);
        let upper = groups.len() as u32;
        let [low, high] = halves;
        groups[group] = Group { buckets: Arc::new(low), depth: depth + 1 };
        groups.push(Group { buckets: Arc::new(high), depth: depth + 1 });
        let bit = 1 << (self.depth - depth - 1);
        for (place, entry) in Arc::make_mut(&mut self.directory).iter_mut().enumerate() {
            if *entry as usize == group && place & bit != 0 {
                *entry = upper;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_vector_keeps_older_clones_as_they_were() {
        let mut new = CowVec::new();
        *new.get_mut(1000) = 7u32;
        let old = new.clone();
        *new.get_mut(1000) = 8;
        *new.get_mut(5) = 1;
        assert_eq!((old.get(1000), old.get(5), old.get(999)), (Some(&7), None, Some(&0)));
        assert_eq!((new.get(1000), new.get(5), new.get(100_000)), (Some(&8), Some(&1), None));
    }

    #[test]
    fn a_map_agrees_with_a_plain_one_through_growth_and_removal() {
        let secret = Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let mut map = CowMap::new(secret);
        let mut model = HashMap::new();
        let mut old = None;
        for i in 1..=50_000u64 {
            let key = i.wrapping_mul(0x0001_0000_0001) | 1 << 60;
            assert!(map.insert(key, i));
            model.insert(key, i);
            if i % 3 == 0 {
                let gone = (i / 2).wrapping_mul(0x0001_0000_0001) | 1 << 60;
                assert_eq!(map.remove(gone), model.remove(&gone));
            }
            if i == 20_000 {
                old = Some((map.clone(), model.clone()));
            }
        }
        let (old_map, old_model) = old.expect("set at 20,000");
        for (map, model) in [(&map, &model), (&old_map, &old_model)] {
            assert_eq!(map.len(), model.len());
            for (&key, &value) in model {
                assert_eq!(map.get(secret.hash(key), key), Some(value));
            }
        }
        assert_eq!(map.get(secret.hash(5), 5), None);
    }

    #[test]
    fn a_map_of_a_million_takes_at_most_forty_bytes_an_entry() {
        let mut map = CowMap::new(Secret::new([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]));
        for key in 1..=1_000_000u64 {
            assert!(map.insert(key << 3, key));
        }
        assert!(map.bytes() <= 40_000_000, "{}", map.bytes());
    }
}
