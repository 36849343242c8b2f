//! A bounded memory of what happened lately.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last `capacity` new keys with their first values.
pub struct Recent<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Remembers nothing yet.
    pub fn new(capacity: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// Whether this key is remembered.
    pub fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// The value this key was first remembered with: `value`, where it is new.
    pub fn first(&mut self, key: K, value: V) -> &V {
        if !self.values.contains_key(&key) {
            if self.order.len() >= self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.values.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.values.entry(key).or_insert(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts_and_the_oldest_key_is_forgotten() {
        let mut recent = Recent::new(2);
        assert_eq!(*recent.first('a', 1), 1);
        assert_eq!(*recent.first('a', 2), 1);
        recent.first('b', 1);
        recent.first('c', 1);
        assert!(!recent.contains(&'a'));
        assert!(recent.contains(&'b') && recent.contains(&'c'));
        assert_eq!(recent.order.len(), 2);
    }
}
