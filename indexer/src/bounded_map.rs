//! A map that forgets its oldest key when it is full.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last `capacity` new keys with their first values.
pub struct BoundedMap<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V: Copy> BoundedMap<K, V> {
    /// An empty map of at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Whether the key is in the map.
    pub fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// The value with which the key was first inserted; inserts `value` if the key is new.
    pub fn first(&mut self, key: K, value: V) -> V {
        match self.values.entry(key) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(new) => {
                self.order.push_back(new.key().clone());
                new.insert(value);
            }
        }
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_the_oldest_key_is_forgotten() {
        let mut map = BoundedMap::new(2);
        assert_eq!(map.first('a', 1), 1);
        assert_eq!(map.first('a', 2), 1);
        map.first('b', 1);
        map.first('c', 1);
        assert!(!map.contains(&'a'));
        assert!(map.contains(&'b') && map.contains(&'c'));
        assert_eq!(map.order.len(), 2);
    }
}
