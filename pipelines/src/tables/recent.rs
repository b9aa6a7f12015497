//! What happened lately, by key: a small table that is never full.
//!
//! Owns: bounded memory whatever arrives. A key lives in one set of four entries, chosen by a keyed hash; where all
//! four are taken, the one of least worth gives way. For what may be forgotten, never for what must be found.

use alloc::boxed::Box;
use alloc::vec;

/// Entries in a set.
const WAYS: usize = 4;

/// What such a table holds.
pub(crate) trait Recent: Copy + Default {
    /// Whose it is; 0 is an empty entry's.
    fn key(&self) -> u64;

    /// How much it is worth to keep: mostly, when it was last of use.
    fn worth(&self) -> u64;
}

/// The table.
pub(crate) struct RecentTable<E> {
    sets: Box<[[E; WAYS]]>,
}

impl<E: Recent> RecentTable<E> {
    /// A table for about so many entries.
    pub(crate) fn new(entries: usize) -> Self {
        Self { sets: vec![[E::default(); WAYS]; entries.div_ceil(WAYS).next_power_of_two()].into() }
    }

    fn set(&self, hash: u64) -> usize {
        hash as usize & (self.sets.len() - 1)
    }

    /// The entry of a key.
    pub(crate) fn get(&self, hash: u64, key: u64) -> Option<&E> {
        self.sets[self.set(hash)].iter().find(|e| e.key() == key)
    }

    /// The entry of a key, to change or forget it.
    pub(crate) fn get_mut(&mut self, hash: u64, key: u64) -> Option<&mut E> {
        let set = self.set(hash);
        self.sets[set].iter_mut().find(|e| e.key() == key)
    }

    /// The entry of a key; if there is none, an empty one, or else another key's, the one of least worth: the caller
    /// makes it the key's.
    pub(crate) fn slot(&mut self, hash: u64, key: u64) -> &mut E {
        let set = self.set(hash);
        let rank = |e: &E| match e.key() {
            k if k == key => (0, 0),
            0 => (1, 0),
            _ => (2, e.worth()),
        };
        let set = &mut self.sets[set];
        let best = (0..WAYS).min_by_key(|&n| rank(&set[n])).unwrap_or(0);
        &mut set[best]
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Seen(u64, u64);

    impl Recent for Seen {
        fn key(&self) -> u64 {
            self.0
        }
        fn worth(&self) -> u64 {
            self.1
        }
    }

    #[test]
    fn the_entry_of_least_worth_gives_way() {
        let mut t = RecentTable::new(4);
        for (key, worth) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            *t.slot(0, key) = Seen(key, worth);
        }
        assert_eq!(*t.slot(0, 3), Seen(3, 20), "a key that is there keeps its entry");
        let slot = t.slot(0, 5);
        assert_eq!(*slot, Seen(2, 10));
        *slot = Seen(5, 50);
        assert_eq!((t.get(0, 2), t.get(0, 5)), (None, Some(&Seen(5, 50))));
    }

    #[test]
    fn an_entry_that_was_forgotten_is_taken_first() {
        let mut t = RecentTable::new(4);
        for key in 1..=4 {
            *t.slot(0, key) = Seen(key, key);
        }
        *t.get_mut(0, 4).expect("it is there") = Seen::default();
        *t.slot(0, 9) = Seen(9, 0);
        assert!((1..=3).all(|key| t.get(0, key).is_some()));
    }
}
