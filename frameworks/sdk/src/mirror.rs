//! The records under a prefix, kept up to date in memory.
//!
//! [`Mirror`] is passive: it is given what was read and what a watch tells. [`follow`] does the reading and watching and
//! shows each new state as a whole; to take one costs nothing, however large it is.

use std::time::Duration;

use client::state::{State, StateError};
use imbl::OrdMap;
use tokio::sync::watch;
use wire::state::{Entry, Event, RangeAnswer, WatchRecord};

use crate::limits;
use crate::store::Record;

/// All records under a prefix, as they stood at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mirror {
    records: OrdMap<String, Record>,
    /// All changes up to here are in.
    revision: u64,
    /// The revision of the last page read: before that the pages do not belong to one moment.
    whole_from: u64,
}

/// The changes since the mirror's revision are no longer kept: the records must be read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes up to revision {revision} are no longer kept")]
pub struct Compacted {
    /// The newest revision whose changes are gone.
    pub revision: u64,
}

impl Mirror {
    /// From the pages of a read, in order.
    pub fn read(pages: impl IntoIterator<Item = RangeAnswer>) -> Self {
        let mut mirror = Self::default();
        for (index, page) in pages.into_iter().enumerate() {
            if index == 0 {
                mirror.revision = page.revision;
            }
            mirror.whole_from = page.revision;
            mirror.records.extend(page.entries.into_iter().map(|entry| (entry.key.clone(), record(entry))));
        }
        mirror
    }

    /// Takes in what the watch from [`Self::next_revision`] tells.
    ///
    /// # Errors
    /// The watch came too late.
    pub fn apply(&mut self, told: WatchRecord) -> Result<(), Compacted> {
        match told {
            WatchRecord::Started { .. } => {}
            WatchRecord::Progress { revision } => self.revision = self.revision.max(revision),
            WatchRecord::Events { revision, events } => {
                events.into_iter().for_each(|event| self.change(event));
                self.revision = self.revision.max(revision);
            }
            WatchRecord::Compacted { revision } => return Err(Compacted { revision }),
        }
        Ok(())
    }

    /// A later page may hold what the watch, which begins at the first page, tells again.
    fn change(&mut self, event: Event) {
        let (key, revision) = match &event {
            Event::Put { entry } => (&entry.key, entry.mod_revision),
            Event::Delete { key, revision } => (key, *revision),
        };
        if self.records.get(key).is_some_and(|held| held.revision >= revision) {
            return;
        }
        match event {
            Event::Put { entry } => self.records.insert(entry.key.clone(), record(entry)),
            Event::Delete { key, .. } => self.records.remove(&key),
        };
    }

    /// Whether the records are those of one moment. They become so soon after a read of several pages.
    pub fn is_whole(&self) -> bool {
        self.revision >= self.whole_from
    }

    /// The revision up to which all changes are in.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Where a watch has to begin so that no change is missed.
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// The record of a key.
    pub fn get(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// All records, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

fn record(entry: Entry) -> Record {
    Record { key: entry.key, value: entry.value.0, revision: entry.mod_revision }
}

/// A mirror that follows its records until it is dropped.
#[derive(Debug)]
pub struct Follower {
    mirror: watch::Receiver<Mirror>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// The newest whole state, and a way to wait for the next. Before the first read it is empty, at revision 0. While no
    /// master answers it stays what it was.
    pub fn mirror(&self) -> watch::Receiver<Mirror> {
        self.mirror.clone()
    }
}

/// Follows the records under `prefix`.
pub fn follow(state: State, prefix: &str) -> Follower {
    let (sender, mirror) = watch::channel(Mirror::default());
    let prefix = prefix.to_owned();
    let task = tokio::spawn(async move {
        loop {
            let Err(error) = read_and_watch(&state, &prefix, &sender).await;
            tracing::debug!(prefix, %error, "the mirror starts anew");
            tokio::time::sleep(AGAIN).await;
        }
    });
    Follower { mirror, task }
}

/// The pause before a read after one that failed: the client has tried long by then.
const AGAIN: Duration = limits::CAMPAIGN_AGAIN;

/// Why following has to begin with a read again.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Unread(#[from] StateError),
    #[error(transparent)]
    Compacted(#[from] Compacted),
}

async fn read_and_watch(
    state: &State,
    prefix: &str,
    shown: &watch::Sender<Mirror>,
) -> Result<std::convert::Infallible, Lost> {
    let mut pages = vec![state.page(prefix, None).await?];
    while let Some(next) = pages.last().and_then(|page| page.next.clone()) {
        pages.push(state.page(prefix, Some(next)).await?);
    }
    let mut mirror = Mirror::read(pages);
    show(&mirror, shown);
    loop {
        let mut stream = state.watch(prefix, Some(mirror.next_revision())).await?;
        while let Some(told) = stream.next().await {
            mirror.apply(told)?;
            show(&mirror, shown);
        }
    }
}

fn show(mirror: &Mirror, shown: &watch::Sender<Mirror>) {
    if mirror.is_whole() {
        shown.send_if_modified(|old| {
            let newer = old.revision < mirror.revision;
            if newer {
                old.clone_from(mirror);
            }
            newer
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use wire::state::Base64;

    use super::*;

    fn entry(key: &str, revision: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            value: Base64(Bytes::from(revision.to_string())),
            version: 1,
            create_revision: revision,
            mod_revision: revision,
            lease: None,
        }
    }

    fn keys(mirror: &Mirror) -> Vec<(&str, u64)> {
        mirror.iter().map(|record| (record.key.as_str(), record.revision)).collect()
    }

    #[test]
    fn a_watch_that_came_too_late_is_noticed() {
        let mut mirror =
            Mirror::read([RangeAnswer { revision: 5, entries: vec![entry("a", 3)], next: None }]);
        assert_eq!((mirror.next_revision(), mirror.is_whole()), (6, true));
        assert_eq!(mirror.apply(WatchRecord::Compacted { revision: 9 }), Err(Compacted { revision: 9 }));
        assert_eq!(keys(&mirror), [("a", 3)]);
    }

    #[test]
    fn a_read_of_several_pages_becomes_whole() {
        let mut mirror = Mirror::read([
            RangeAnswer { revision: 5, entries: vec![entry("a", 3)], next: Some("a".to_owned()) },
            // Meanwhile `b` was written at 6 and `c` deleted at 7.
            RangeAnswer { revision: 7, entries: vec![entry("b", 6)], next: None },
        ]);
        assert!(!mirror.is_whole());
        let told = WatchRecord::Events { revision: 6, events: vec![Event::Put { entry: entry("b", 6) }] };
        mirror.apply(told).unwrap();
        assert!(!mirror.is_whole());
        let told =
            WatchRecord::Events { revision: 7, events: vec![Event::Delete { key: "c".into(), revision: 7 }] };
        mirror.apply(told).unwrap();
        assert!(mirror.is_whole());
        assert_eq!(keys(&mirror), [("a", 3), ("b", 6)]);
    }

    proptest! {
        /// Pages read at any moments, then every change since the first: the mirror holds what a model holds.
        #[test]
        fn the_mirror_is_what_was_written(
            changes in prop::collection::vec((0usize..6, any::<bool>()), 1..40),
            cut in 0usize..40,
            page_revisions in prop::collection::vec(0usize..40, 6),
        ) {
            const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
            let state_at = |revision: usize| {
                let mut state = std::collections::BTreeMap::new();
                for (index, (key, put)) in changes.iter().enumerate().take(revision) {
                    if *put { state.insert(KEYS[*key], index as u64 + 1); } else { state.remove(KEYS[*key]); }
                }
                state
            };
            // One key a page, each page at or after the one before.
            let mut revision = cut.min(changes.len());
            let pages: Vec<RangeAnswer> = KEYS.iter().zip(page_revisions).enumerate().map(|(at, (key, later))| {
                revision = if at == 0 { revision } else { revision.max(later.min(changes.len())) };
                let held = state_at(revision).get(key).map(|modified| entry(key, *modified));
                let next = (at + 1 < KEYS.len()).then(|| (*key).to_owned());
                RangeAnswer { revision: revision as u64, entries: held.into_iter().collect(), next }
            }).collect();
            let mut mirror = Mirror::read(pages);
            let from = mirror.next_revision() as usize;
            for at in from..=changes.len() {
                let (key, put) = changes[at - 1];
                let key = KEYS[key];
                let revision = at as u64;
                let event = if put {
                    Event::Put { entry: entry(key, revision) }
                } else {
                    Event::Delete { key: key.to_owned(), revision }
                };
                mirror.apply(WatchRecord::Events { revision, events: vec![event] }).unwrap();
                if mirror.is_whole() {
                    prop_assert_eq!(keys(&mirror), state_at(at).into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert!(mirror.is_whole());
        }
    }
}
