//! What must be on disk before it may be seen.
//!
//! A handler emits records and the effects that depend on them in one go. The outbox holds the effects back
//! until the driver reports the records as synced, so that no handler can forget to wait, and so that the
//! driver is free to sync many records at once: a sync per task would cap an agent at a few hundred launches
//! a second.

use std::collections::VecDeque;

use crate::checkpoint::Record;
use crate::effect::Effect;

/// Orders effects after the records they depend on.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The number of the last record emitted.
    last: u64,
    /// The last record that later effects have to wait for.
    gate: u64,
    synced: u64,
    held: VecDeque<(u64, Effect)>,
}

impl Outbox {
    /// Asks for `record` to be written. What is sent through [`after`](Self::after) from now on waits for it,
    /// unless losing the record would only repeat work.
    pub(crate) fn checkpoint(&mut self, record: Record, out: &mut Vec<Effect>) {
        self.last += 1;
        if record.gates() {
            self.gate = self.last;
        }
        out.push(Effect::Checkpoint { seq: self.last, record });
    }

    /// Emits `effect` once every gating record emitted so far is on disk. Effects keep their order.
    pub(crate) fn after(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        #[cfg(feature = "mutants")]
        if mutant::planted("agent-speaks-before-it-stores") {
            return out.push(effect);
        }
        if self.held.is_empty() && self.synced >= self.gate {
            out.push(effect);
        } else {
            self.held.push_back((self.gate, effect));
        }
    }

    /// Records up to `seq` are on disk.
    pub(crate) fn synced(&mut self, seq: u64, out: &mut Vec<Effect>) {
        self.synced = self.synced.max(seq);
        while self.held.front().is_some_and(|(gate, _)| *gate <= self.synced) {
            out.extend(self.held.pop_front().map(|(_, effect)| effect));
        }
    }

    /// How many effects wait for the disk.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
}
