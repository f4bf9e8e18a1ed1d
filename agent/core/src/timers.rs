//! Deadlines of many things, ordered, with one deadline per thing.

use std::collections::{BTreeMap, BTreeSet};

use model::time::Time;

/// A set of deadlines keyed by what they are for. Setting a key again moves its deadline.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub(crate) fn set(&mut self, key: K, at: Time) {
        self.clear(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Brings a deadline forward, never back; sets it when there is none.
    pub(crate) fn set_earlier(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_key_has_one_deadline_and_comes_due_once() {
        let mut timers = Timers::default();
        timers.set("a", at(10));
        timers.set("b", at(5));
        timers.set("a", at(3));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop_due(at(4)), Some("a"));
        assert_eq!(timers.pop_due(at(4)), None);
        timers.clear(&"b");
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn set_earlier_never_delays() {
        let mut timers = Timers::default();
        timers.set_earlier("a", at(10));
        timers.set_earlier("a", at(20));
        assert_eq!(timers.next(), Some(at(10)));
        timers.set_earlier("a", at(1));
        assert_eq!(timers.next(), Some(at(1)));
    }
}
