//! Deadlines as data: what is due, and when to wake up.

use std::collections::{BTreeMap, BTreeSet};

use model::time::Time;

/// Deadlines by key; setting a key again moves it.
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
    pub fn set(&mut self, key: K, at: Time) {
        if let Some(before) = self.at.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }

    /// As [`Timers::set`], but keeps an earlier deadline.
    pub fn set_earlier(&mut self, key: K, at: Time) {
        if self.at.get(&key).is_none_or(|before| at < *before) {
            self.set(key, at);
        }
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
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

    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_first_and_once() {
        let mut timers = Timers::default();
        let at = Time::from_secs;
        timers.set("a", at(3));
        timers.set("b", at(2));
        timers.set("a", at(1));
        timers.set_earlier("b", at(5));
        timers.set("c", at(9));
        timers.cancel(&"c");
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(9)), Some("a"));
        assert_eq!(timers.pop(at(9)), Some("b"));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.next(), None);
    }
}
