//! A map in order that is looked up by hash.
//!
//! Owns: keeping a [`HashMap`] and an order of its keys equal. Judging and translating a million objects is mostly
//! looking up what they name; pages, exports and batches that must come out the same want an order.

use rustc_hash::FxHashMap;
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::ops::RangeBounds;

/// A map whose lookups do not search the order. Its keys come from the operator, who may make lookups slow: the hash
/// is not keyed.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    map: FxHashMap<K, V>,
    order: BTreeSet<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { map: FxHashMap::default(), order: BTreeSet::new() }
    }
}

impl<K: Hash + Eq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl<K: Hash + Ord + Clone, V> Table<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    /// The value of a key, with the key that the table keeps.
    pub fn get_key_value(&self, key: &K) -> Option<(&K, &V)> {
        self.map.get_key_value(key)
    }

    /// The value of a key, writable.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.map.contains_key(key)
    }

    /// Sets a value, and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.map.get_mut(&key) {
            return Some(std::mem::replace(place, value));
        }
        self.order.insert(key.clone());
        self.map.insert(key, value)
    }

    /// The value of a key, made from the default if there is none.
    pub fn get_or_default(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        match self.map.entry(key.clone()) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                self.order.insert(key.clone());
                place.insert(V::default())
            }
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.map.remove(key)?;
        self.order.remove(key);
        Some(value)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.order.iter()
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|key| self.map.get_key_value(key))
    }

    /// The entries of a range of keys, in order.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.order.range(range).filter_map(|key| self.map.get_key_value(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_an_order_and_forgets_what_goes() {
        let mut table = Table::default();
        for key in [5, 1, 9, 3] {
            assert_eq!(table.insert(key, key * 10), None);
        }
        assert_eq!(table.insert(9, 91), Some(90));
        assert_eq!(table.remove(&1), Some(10));
        assert_eq!(table.remove(&1), None);
        *table.get_or_default(&4) += 1;
        *table.get_or_default(&4) += 1;
        assert_eq!(table.iter().collect::<Vec<_>>(), [(&3, &30), (&4, &2), (&5, &50), (&9, &91)]);
        assert_eq!(table.range(4..9).map(|(k, _)| *k).collect::<Vec<_>>(), [4, 5]);
        assert_eq!((table.len(), table.get(&3), table.contains_key(&1)), (4, Some(&30), false));
    }
}
