//! The small numbers that stand for configured objects on the packet path.
//!
//! Owns: handing them out, taking them back, and undoing both. A number that was freed is reused as late as possible
//! (fresh ones first, then the longest free), since learned entries may still name it for a while.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// From key to number and value, with undo.
#[derive(Debug)]
pub struct Numbers<K, V> {
    map: FxHashMap<K, (u32, V)>,
    free: VecDeque<u32>,
    next: u32,
    /// How many numbers there are.
    numbers: u32,
    /// How many of them may be in use.
    capacity: u32,
    journal: Vec<Step<K, V>>,
}

#[derive(Debug)]
enum Step<K, V> {
    TookFresh(K),
    TookFree(K),
    Changed(K, V),
    Freed(K, u32, V),
}

impl<K: Hash + Eq + Clone, V> Numbers<K, V> {
    /// Numbers from 0 up to, not including, `numbers`, of which at most `capacity` are in use. The more numbers than
    /// capacity, the longer a freed one rests.
    pub fn new(capacity: u32, numbers: u32) -> Self {
        Self { map: FxHashMap::default(), free: VecDeque::new(), next: 0, numbers, capacity, journal: Vec::new() }
    }

    /// The number and value of a key.
    pub fn get(&self, key: &K) -> Option<(u32, &V)> {
        self.map.get(key).map(|(n, v)| (*n, v))
    }

    /// How many are in use.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Gives a key a value; one that has no number yet gets one. `None`, and nothing changed, if all are in use.
    pub fn put(&mut self, key: &K, value: V) -> Option<u32> {
        if let Some((number, slot)) = self.map.get_mut(key) {
            let old = std::mem::replace(slot, value);
            self.journal.push(Step::Changed(key.clone(), old));
            return Some(*number);
        }
        if self.map.len() >= self.capacity as usize {
            return None;
        }
        let number = if self.next < self.numbers {
            self.next += 1;
            self.journal.push(Step::TookFresh(key.clone()));
            self.next - 1
        } else {
            let number = self.free.pop_front()?;
            self.journal.push(Step::TookFree(key.clone()));
            number
        };
        self.map.insert(key.clone(), (number, value));
        Some(number)
    }

    /// Takes a key's number back, and returns it.
    pub fn free(&mut self, key: &K) -> Option<u32> {
        let (number, value) = self.map.remove(key)?;
        self.free.push_back(number);
        self.journal.push(Step::Freed(key.clone(), number, value));
        Some(number)
    }

    /// What was done since the last `keep` or `undo` stays.
    pub fn keep(&mut self) {
        self.journal = Vec::new();
    }

    /// What was done since the last `keep` or `undo` is undone.
    pub fn undo(&mut self) {
        for step in std::mem::take(&mut self.journal).into_iter().rev() {
            match step {
                Step::TookFresh(key) => {
                    self.map.remove(&key);
                    self.next -= 1;
                }
                Step::TookFree(key) => {
                    if let Some((number, _)) = self.map.remove(&key) {
                        self.free.push_front(number);
                    }
                }
                Step::Changed(key, value) => {
                    if let Some((_, slot)) = self.map.get_mut(&key) {
                        *slot = value;
                    }
                }
                Step::Freed(key, number, value) => {
                    self.free.pop_back();
                    self.map.insert(key, (number, value));
                }
            }
        }
    }

    /// Every key with its number and value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, u32, &V)> {
        self.map.iter().map(|(k, (n, v))| (k, *n, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_reused_last() {
        let mut numbers = Numbers::new(3, 3);
        assert_eq!((numbers.put(&'a', ()), numbers.put(&'b', ())), (Some(0), Some(1)));
        numbers.free(&'b');
        numbers.free(&'a');
        assert_eq!(numbers.put(&'c', ()), Some(2));
        assert_eq!(numbers.put(&'d', ()), Some(1));
        assert_eq!(numbers.put(&'e', ()), Some(0));
        assert_eq!(numbers.put(&'f', ()), None);
        assert_eq!(numbers.put(&'e', ()), Some(0));
    }

    #[test]
    fn a_full_table_has_numbers_that_rest() {
        let mut numbers = Numbers::new(1, 3);
        assert_eq!((numbers.put(&'a', ()), numbers.put(&'b', ())), (Some(0), None));
        for (before, after, number) in [('a', 'b', 1), ('b', 'c', 2), ('c', 'd', 0)] {
            numbers.free(&before);
            assert_eq!(numbers.put(&after, ()), Some(number));
        }
    }

    #[test]
    fn undo_restores_numbers_values_and_order() {
        let mut numbers = Numbers::new(2, 2);
        numbers.put(&'a', 1);
        numbers.put(&'b', 2);
        numbers.free(&'a');
        numbers.keep();
        numbers.put(&'b', 3);
        numbers.put(&'c', 4);
        numbers.free(&'b');
        numbers.put(&'d', 5);
        numbers.undo();
        assert_eq!(numbers.get(&'b'), Some((1, &2)));
        assert_eq!((numbers.get(&'c'), numbers.get(&'d'), numbers.count()), (None, None, 1));
        assert_eq!(numbers.put(&'e', 6), Some(0));
        assert_eq!(numbers.put(&'f', 7), None);
    }
}
