//! Watches tell every change once and in order, whichever master tells them.

use std::collections::BTreeMap;

use master_core::registry::Registry;

use super::Findings;
use crate::machine::writer::NAMESPACE;

/// What is promised.
pub const PROMISE: &str = "a watch has no gap, no repetition and no reordering across masters";

/// A change: revision, key, whether it was put.
type Change = (u64, String, bool);

/// What really happened, and what each watcher was told.
#[derive(Debug, Default)]
pub struct Watches {
    truth: Vec<Change>,
    newest: u64,
    present: BTreeMap<String, u64>,
    watchers: BTreeMap<u64, Watcher>,
    /// What was seen.
    pub findings: Findings,
}

#[derive(Debug)]
struct Watcher {
    /// The place in the truth of what it is to be told next.
    next: usize,
    /// The revision up to which it was told that all was told.
    complete: u64,
}

impl Watches {
    /// The registry right after an entry; whether it is the first time that anybody is there.
    pub fn learn(&mut self, index: u64, view: &Registry) -> bool {
        if index <= self.newest {
            return false;
        }
        self.newest = index;
        for at in 0..4 {
            let key = format!("k{at}");
            match view.get(NAMESPACE, &key) {
                Some(entry) if entry.mod_revision == index => {
                    self.truth.push((index, key.clone(), true));
                    self.present.insert(key, index);
                }
                None if self.present.remove(&key).is_some() => self.truth.push((index, key, false)),
                _ => {}
            }
        }
        true
    }

    /// A watcher will be told of everything from a revision on.
    pub fn starts(&mut self, watcher: u64, revision: u64) {
        let next = self.truth.partition_point(|(at, _, _)| *at < revision);
        self.watchers.insert(watcher, Watcher { next, complete: revision.saturating_sub(1) });
    }

    /// A watcher was told that what follows its place is not all kept any more, up to this revision. It begins anew.
    pub fn compacted(&mut self, watcher: u64, next: Option<u64>, revision: u64) {
        self.findings.look(next.is_none_or(|next| next <= revision), || {
            format!("watcher {watcher} wanted what is from {next:?} on, and was refused for what is up to {revision}")
        });
        self.starts(watcher, revision + 1);
    }

    /// A watcher was told of a change.
    pub fn heard(&mut self, watcher: u64, key: &str, revision: u64, put: bool) {
        let Some(known) = self.watchers.get_mut(&watcher) else { return };
        let expected = self.truth.get(known.next);
        let fits = expected
            .is_some_and(|(at, name, was_put)| (*at, name.as_str(), *was_put) == (revision, key, put));
        known.next += 1;
        self.findings.look(fits, || {
            format!("watcher {watcher} was told of {key} at {revision} (put: {put}), expected {expected:?}")
        });
    }

    /// A watcher was told that all up to a revision was told.
    pub fn complete(&mut self, watcher: u64, revision: u64) {
        let Some(known) = self.watchers.get_mut(&watcher) else { return };
        let next = self.truth.get(known.next);
        let missed = next.is_some_and(|(at, _, _)| *at <= revision);
        known.complete = known.complete.max(revision);
        self.findings
            .look(!missed, || format!("watcher {watcher} is at {revision} and was not told of {next:?}"));
    }

    /// What a watcher has yet to hear.
    pub fn behind(&self, watcher: u64, next: Option<u64>) -> Option<String> {
        let known = self.watchers.get(&watcher);
        let last = self.truth.last().map_or(0, |(at, _, _)| *at);
        match known {
            None => Some("watches nothing".to_owned()),
            Some(_) if next.unwrap_or(0) <= last => Some(format!("has not heard of revision {last}")),
            Some(_) => None,
        }
    }
}
