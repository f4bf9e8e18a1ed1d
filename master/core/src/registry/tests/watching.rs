//! Watchers see every event once and in order, or are told that they cannot.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::laws::state_command;
use super::*;

/// A reader who keeps a copy of one namespace by the documented recipe: read all, watch from the next revision,
/// read again when the events are gone.
struct Mirror {
    keys: BTreeMap<Text, Bytes>,
    watcher: Watcher,
    resyncs: usize,
    told: Vec<Index>,
}

impl Mirror {
    fn read(view: &Registry) -> Self {
        let all = RangeQuery { prefix: text("k"), after: None, limit: 1_000 };
        let entries = view.range("n0", &all).unwrap().entries;
        let keys = entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
        let watcher = Watcher::new(text("n0"), text("k"), view.index() + 1);
        Self { keys, watcher, resyncs: 0, told: Vec::new() }
    }

    fn catch_up(&mut self, view: &Registry) {
        loop {
            match self.watcher.poll(view) {
                Ok(batch) => {
                    for (revision, event) in batch.events {
                        self.told.push(revision);
                        match event {
                            Event::Put(entry) => self.keys.insert(entry.key.clone(), entry.value.clone()),
                            Event::Delete { key, .. } => self.keys.remove(&key),
                        };
                    }
                    if !batch.more {
                        return;
                    }
                }
                Err(_) => *self = Self { resyncs: self.resyncs + 1, ..Self::read(view) },
            }
        }
    }
}

proptest! {
    #[test]
    fn a_mirror_stays_true_across_compaction(
        steps in proptest::collection::vec((state_command(), any::<bool>()), 1..120),
        history_events in 1..12_u64,
    ) {
        let mut registry = Registry::default();
        apply_all(&mut registry, [set_limits(|limits| limits.history_events = history_events)]);
        let mut mirror = Mirror::read(&registry);
        for (command, looks) in steps {
            apply_all(&mut registry, [command]);
            if looks {
                mirror.catch_up(&registry);
                prop_assert_eq!(&mirror.keys, &Mirror::read(&registry).keys);
            }
        }
        mirror.catch_up(&registry);
        prop_assert_eq!(&mirror.keys, &Mirror::read(&registry).keys);
        prop_assert!(mirror.told.is_sorted());
    }

    /// However the polls fall, together they tell the same events.
    #[test]
    fn polling_often_or_once_tells_the_same(
        steps in proptest::collection::vec((state_command(), any::<bool>()), 1..80),
    ) {
        let mut registry = Registry::default();
        let new = || Watcher::new(text("n0"), text(""), 1);
        let (mut often, mut pieces) = (new(), Vec::new());
        for (command, looks) in steps {
            apply_all(&mut registry, [command]);
            if looks {
                pieces.extend(often.poll(&registry).unwrap().events);
            }
        }
        pieces.extend(often.poll(&registry).unwrap().events);
        let whole = new().poll(&registry).unwrap();
        prop_assert_eq!(pieces, whole.events);
        prop_assert_eq!(whole.through, registry.index());
        prop_assert!(!whole.more);
    }
}

#[test]
fn batches_are_bounded_and_whole() {
    let mut registry = Registry::default();
    for round in 0..20 {
        let operations = (0..100).map(|key| put(&format!("{round}/{key}"), "v")).collect();
        apply_all(&mut registry, [Command::Txn(txn(operations))]);
    }
    let mut watcher = Watcher::new(text("ns"), text(""), 0);
    let (mut sizes, mut through) = (Vec::new(), Vec::new());
    loop {
        let batch = watcher.poll(&registry).unwrap();
        sizes.push(batch.events.len());
        through.push(batch.through);
        if !batch.more {
            break;
        }
    }
    assert_eq!(sizes, [600, 600, 600, 200]);
    assert_eq!(through, [6, 12, 18, 20]);
}

#[test]
fn the_history_is_dropped_whole_revisions_at_a_time() {
    let mut registry = Registry::default();
    apply_all(&mut registry, [set_limits(|limits| limits.history_events = 3)]);
    for _ in 0..3 {
        apply_all(&mut registry, [Command::Txn(txn(vec![put("a", "1"), put("b", "1")]))]);
    }
    assert_eq!(registry.compacted(), 3);
    let poll =
        |from| Watcher::new(text("ns"), text(""), from).poll(&registry).map(|batch| batch.events.len());
    assert_eq!(poll(3), Err(Compacted { revision: 3 }));
    assert_eq!(poll(4), Ok(2));
    assert_eq!(poll(5), Ok(0));
    // From a master that is behind: nothing yet, and nothing lost.
    let mut ahead = Watcher::new(text("ns"), text(""), 9);
    assert_eq!(ahead.poll(&registry).unwrap().events, []);
    assert_eq!(ahead.next(), 9);
}

/// Why the recipe is to read: behind the newest revision that is gone is the one that goes next, whoever changes what.
#[test]
fn who_goes_on_behind_what_is_gone_is_refused_again_and_who_reads_is_not() {
    let mut registry = Registry::default();
    apply_all(&mut registry, [set_limits(|limits| limits.history_events = 3)]);
    for _ in 0..4 {
        apply_all(&mut registry, [Command::Txn(txn(vec![put("a", "1")]))]);
    }
    let mut from = 1;
    for _ in 0..20 {
        let refused = Watcher::new(text("n0"), text("k"), from).poll(&registry).unwrap_err();
        from = refused.revision + 1;
        let mut mirror = Mirror::read(&registry);
        apply_all(&mut registry, [Command::Txn(txn(vec![put("a", "1")]))]);
        mirror.catch_up(&registry);
        assert_eq!((mirror.resyncs, mirror.watcher.next()), (0, registry.index() + 1));
    }
}

#[test]
fn the_history_is_bounded_in_bytes() {
    let mut registry = Registry::default();
    apply_all(&mut registry, [set_limits(|limits| limits.history_bytes = 1 << 20)]);
    let value = "v".repeat(400_000);
    for _ in 0..5 {
        apply_all(&mut registry, [Command::Txn(txn(vec![put("a", &value)]))]);
    }
    assert_eq!(registry.compacted(), 4);
}
