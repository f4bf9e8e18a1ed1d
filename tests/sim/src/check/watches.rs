//! Watches tell every change once and in order, whichever master tells them.

use std::collections::BTreeMap;

use master_core::registry::Registry;
use wire::state::Entry;

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

    /// A watcher was told that what follows its place is not all kept any more, up to this revision. It knows
    /// nothing until it has read the keys.
    pub fn compacted(&mut self, watcher: u64, next: Option<u64>, revision: u64) {
        self.findings.look(next.is_none_or(|next| next <= revision), || {
            format!("watcher {watcher} wanted what is from {next:?} on, and was refused for what is up to {revision}")
        });
        self.watchers.remove(&watcher);
    }

    /// A watcher has read the keys, and will be told of everything that came after.
    pub fn read(&mut self, watcher: u64, revision: u64, entries: &[Entry]) {
        let end = self.truth.partition_point(|(at, _, _)| *at <= revision);
        let mut expected = BTreeMap::new();
        for (at, key, put) in &self.truth[..end] {
            if *put {
                expected.insert(key.as_str(), *at);
            } else {
                expected.remove(key.as_str());
            }
        }
        let read: BTreeMap<_, _> =
            entries.iter().map(|entry| (entry.key.as_str(), entry.mod_revision)).collect();
        self.findings.look(read == expected, || {
            format!("watcher {watcher} read {read:?} at {revision}, expected {expected:?}")
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

#[cfg(test)]
mod tests {
    use wire::state::Base64;

    use super::*;

    fn entry(key: &str, revision: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            value: Base64(bytes::Bytes::new()),
            version: 1,
            create_revision: revision,
            mod_revision: revision,
            lease: None,
        }
    }

    #[test]
    fn a_watcher_that_came_too_late_is_behind_until_it_has_read() {
        let truth = vec![(5, "k0".to_owned(), true), (7, "k0".to_owned(), false), (8, "k1".to_owned(), true)];
        let mut watches = Watches { truth, ..Watches::default() };
        watches.starts(1, 5);
        watches.compacted(1, Some(5), 8);
        assert!(watches.behind(1, Some(9)).is_some(), "to be refused is not to be told");
        watches.read(1, 8, &[entry("k1", 8)]);
        assert_eq!(watches.behind(1, Some(9)), None);
        assert_eq!(watches.findings.wrong, Vec::<String>::new());
        watches.read(1, 8, &[entry("k0", 5), entry("k1", 8)]);
        assert_eq!(watches.findings.wrong.len(), 1, "what was deleted was read");
    }
}
