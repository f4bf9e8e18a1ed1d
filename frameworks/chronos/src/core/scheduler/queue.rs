//! Runs that may be launched now, in the order of their turn.
//!
//! High priority goes before low. Of one priority, users are served in turn, each by the weight of its queue: who has least
//! running for his weight is next. Within a queue the run goes first that has least time left to meet its deadline, then the
//! one that has waited longest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::time::Time;

use super::super::run::RunId;

/// A place within a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When it has to begin to meet its deadline.
    pub(super) latest: Time,
    pub(super) since: Time,
    pub(super) run: RunId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) priority: i32,
    pub(super) queue: Arc<str>,
    pub(super) place: Place,
}

type Level = BTreeMap<Arc<str>, BTreeSet<Place>>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    levels: BTreeMap<Reverse<i32>, Level>,
    of: BTreeMap<RunId, Turn>,
}

impl Queue {
    /// Whether it was not there. One that is there keeps its turn.
    pub(super) fn insert(&mut self, turn: Turn) -> bool {
        if self.of.contains_key(&turn.place.run) {
            return false;
        }
        let level = self.levels.entry(Reverse(turn.priority)).or_default();
        level.entry(Arc::clone(&turn.queue)).or_default().insert(turn.place.clone());
        self.of.insert(turn.place.run.clone(), turn);
        true
    }

    pub(super) fn remove(&mut self, run: &RunId) {
        let Some(turn) = self.of.remove(run) else { return };
        let Some(level) = self.levels.get_mut(&Reverse(turn.priority)) else { return };
        if let Some(places) = level.get_mut(&turn.queue) {
            places.remove(&turn.place);
            if places.is_empty() {
                level.remove(&turn.queue);
            }
        }
        if level.is_empty() {
            self.levels.remove(&Reverse(turn.priority));
        }
    }

    pub(super) fn contains(&self, run: &RunId) -> bool {
        self.of.contains_key(run)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// How many are of more than ordinary priority.
    pub(super) fn high(&self) -> usize {
        let high = self.levels.range(..Reverse(0)).flat_map(|(_, level)| level.values());
        high.map(BTreeSet::len).sum()
    }

    /// All priorities, the highest first; of each, the queues with their runs in order.
    pub(super) fn levels(&self) -> Vec<Vec<Line>> {
        let line = |(queue, places): (&Arc<str>, &BTreeSet<Place>)| Line {
            queue: Arc::clone(queue),
            places: places.iter().rev().cloned().collect(),
        };
        self.levels.values().map(|level| level.iter().map(line).collect()).collect()
    }

    /// The runs of the named queue, to be lined up anew.
    pub(super) fn of_queue(&self, queue: &str) -> Vec<RunId> {
        let ours = self.of.values().filter(|turn| &*turn.queue == queue);
        ours.map(|turn| turn.place.run.clone()).collect()
    }
}

/// One user's runs of one priority; the next is the last.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) queue: Arc<str>,
    pub(super) places: Vec<Place>,
}
