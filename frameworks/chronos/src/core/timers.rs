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
    /// Sets, moves, or with `None` cancels.
    pub fn set(&mut self, key: K, at: Option<Time>) {
        if let Some(before) = self.at.remove(&key) {
            self.due.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.at.insert(key.clone(), at);
            self.due.insert((at, key));
        }
    }

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

    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}
