//! Runs that may be launched now, in the order of their turn.

use std::collections::{BTreeMap, BTreeSet};

use model::time::Time;

use super::super::run::RunId;

/// High priority first, then who has waited longest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) low: bool,
    pub(super) since: Time,
    pub(super) run: RunId,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    turns: BTreeSet<Turn>,
    of: BTreeMap<RunId, Turn>,
}

impl Queue {
    /// Whether it was not there. One that is there keeps its turn.
    pub(super) fn insert(&mut self, turn: Turn) -> bool {
        if self.of.contains_key(&turn.run) {
            return false;
        }
        self.of.insert(turn.run.clone(), turn.clone());
        self.turns.insert(turn)
    }

    pub(super) fn remove(&mut self, run: &RunId) {
        if let Some(turn) = self.of.remove(run) {
            self.turns.remove(&turn);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }
}
