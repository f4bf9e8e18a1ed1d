//! Deadlines as data: what is due, and when to wake up.

use std::collections::{BTreeMap, BTreeSet};

use model::time::Time;

/// Deadlines by key; setting a key again moves it. Passive: it is told the time.
///
/// ```
/// # use sdk::timers::Timers;
/// # use sdk::Time;
/// let mut timers = Timers::default();
/// timers.set("look again", Time::from_secs(20));
/// assert_eq!(timers.next(), Some(Time::from_secs(20)));
/// assert_eq!(timers.pop(Time::from_secs(19)), None);
/// assert_eq!(timers.pop(Time::from_secs(20)), Some("look again"));
/// ```
#[derive(Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Time, K)>,
    at: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), at: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets a deadline, or moves it.
    pub fn set(&mut self, key: K, at: Time) {
        if let Some(before) = self.at.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }

    /// As [`Self::set`], or with `None` as [`Self::cancel`].
    pub fn put(&mut self, key: K, at: Option<Time>) {
        match at {
            Some(at) => self.set(key, at),
            None => self.cancel(&key),
        }
    }

    /// As [`Self::set`], but keeps an earlier deadline.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        if self.at.get(&key).is_none_or(|before| at < *before) {
            self.set(key, at);
        }
    }

    /// Forgets a deadline, if there is one.
    pub fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.due.remove(&(at, key));
        }
    }

    /// Whether there is a deadline for a key.
    pub fn is_set(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// Takes one key whose time has come, the earliest first.
    pub fn pop(&mut self, now: Time) -> Option<K> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_earliest_first_and_once() {
        let mut timers = Timers::default();
        let at = Time::from_secs;
        timers.set("a", at(3));
        timers.set("b", at(2));
        timers.set("a", at(1));
        timers.set_earlier("b", at(5));
        timers.put("c", Some(at(9)));
        timers.put("c", None);
        assert!(timers.is_set(&"a") && !timers.is_set(&"c"));
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(9)), Some("a"));
        assert_eq!(timers.pop(at(9)), Some("b"));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.next(), None);
    }

    proptest! {
        /// However deadlines are set, moved and cancelled: each comes once, at its last time, in order.
        #[test]
        fn they_come_once_at_their_last_time(moves in prop::collection::vec((0u8..6, prop::option::of(1u64..9)), 0..40)) {
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for (key, at) in moves {
                timers.put(key, at.map(Time::from_secs));
                match at {
                    Some(at) => model.insert(key, at),
                    None => model.remove(&key),
                };
            }
            let mut expected: Vec<(u64, u8)> = model.into_iter().map(|(key, at)| (at, key)).collect();
            expected.sort_unstable();
            let mut popped = Vec::new();
            while let Some(next) = timers.next() {
                prop_assert_eq!(timers.pop(Time::from_millis(next.as_millis() - 1)), None);
                if let Some(key) = timers.pop(next) {
                    popped.push((next.as_millis() / 1000, key));
                }
            }
            prop_assert_eq!(popped, expected);
        }
    }
}
