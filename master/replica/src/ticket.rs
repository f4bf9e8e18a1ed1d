//! Callers that wait: for the commit of a proposal, or for a point at which a read is linearizable.

use std::collections::{BTreeMap, BTreeSet};

use crate::pack::{Packer, Unpacker};
use crate::types::{Index, NodeId};

/// The caller's number for a proposal; unique among its proposals since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The caller's number for a read barrier; unique among its barriers since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Barrier(pub u64);

/// What an entry's context says about who waits for it.
///
/// The incarnation is drawn anew at each start: without it an entry of this node's former life, applied again after a
/// restart, would answer a caller of the present life who happens to hold the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) ticket: Ticket,
}

impl Stamp {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.u64(self.node.0).u64(self.incarnation).u64(self.ticket.0);
        packer.finish()
    }

    /// `None` for an entry nobody waits for.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::new("entry context", bytes);
        Some(Self {
            node: NodeId(unpacker.u64().ok()?),
            incarnation: unpacker.u64().ok()?,
            ticket: Ticket(unpacker.u64().ok()?),
        })
    }
}

/// Proposals under way. Never matched by position in a queue: entries of other leaders may come in between.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    open: BTreeSet<Ticket>,
}

impl Tickets {
    pub(crate) fn open(&mut self, ticket: Ticket) {
        self.open.insert(ticket);
    }

    pub(crate) fn close(&mut self, ticket: Ticket) -> bool {
        self.open.remove(&ticket)
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Gives up on all of them, in order.
    pub(crate) fn lose(&mut self) -> impl Iterator<Item = Ticket> {
        std::mem::take(&mut self.open).into_iter()
    }
}

/// Reads on their way to a linearizable point. All that wait at one turn share one request to the group.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    waiting: Vec<Barrier>,
    asked: BTreeMap<u64, Asked>,
    confirmed: BTreeMap<Index, Vec<Barrier>>,
    next_context: u64,
}

#[derive(Debug)]
struct Asked {
    at_tick: u64,
    barriers: Vec<Barrier>,
}

impl Reads {
    pub(crate) fn wait(&mut self, barrier: Barrier) {
        self.waiting.push(barrier);
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
            + self.asked.values().map(|asked| asked.barriers.len()).sum::<usize>()
            + self.confirmed.values().map(Vec::len).sum::<usize>()
    }

    /// The context of one request for everybody waiting, if anybody is.
    pub(crate) fn ask(&mut self, now_tick: u64) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        self.next_context += 1;
        let barriers = std::mem::take(&mut self.waiting);
        self.asked.insert(self.next_context, Asked { at_tick: now_tick, barriers });
        Some(self.next_context)
    }

    /// A quorum has confirmed that we led when `context` was asked, and everything acknowledged then is within `index`.
    pub(crate) fn confirm(&mut self, context: u64, index: Index) {
        if let Some(asked) = self.asked.remove(&context) {
            self.confirmed.entry(index).or_default().extend(asked.barriers);
        }
    }

    /// Requests can be lost without an error; those older than `patience` ticks are asked again.
    pub(crate) fn retry(&mut self, now_tick: u64, patience: u64) {
        let waiting = &mut self.waiting;
        self.asked.retain(|_, asked| {
            let keep = now_tick.saturating_sub(asked.at_tick) <= patience;
            if !keep {
                waiting.append(&mut asked.barriers);
            }
            keep
        });
    }

    /// Barriers whose index has been applied.
    pub(crate) fn passed(&mut self, applied: Index) -> impl Iterator<Item = Barrier> {
        let later = self.confirmed.split_off(&(applied + 1));
        std::mem::replace(&mut self.confirmed, later).into_values().flatten()
    }

    /// Gives up on all of them, in order.
    pub(crate) fn lose(&mut self) -> Vec<Barrier> {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(std::mem::take(&mut self.asked).into_values().flat_map(|asked| asked.barriers));
        all.extend(std::mem::take(&mut self.confirmed).into_values().flatten());
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_its_encoding_and_foreign_contexts_are_nobodys() {
        let stamp = Stamp { node: NodeId(7), incarnation: 9, ticket: Ticket(3) };
        assert_eq!(Stamp::decode(&stamp.encode()), Some(stamp));
        assert_eq!(Stamp::decode(b""), None);
        assert_eq!(Stamp::decode(b"short"), None);
    }

    #[test]
    fn reads_of_one_turn_share_a_request_and_pass_when_applied() {
        let mut reads = Reads::default();
        reads.wait(Barrier(1));
        reads.wait(Barrier(2));
        let context = reads.ask(0).expect("two wait");
        assert_eq!(reads.ask(0), None);
        reads.wait(Barrier(3));
        reads.confirm(context, 10);
        assert_eq!(reads.passed(9).count(), 0);
        assert_eq!(reads.passed(10).collect::<Vec<_>>(), [Barrier(1), Barrier(2)]);
        assert_eq!(reads.len(), 1);
    }

    #[test]
    fn a_lost_request_is_asked_again_under_a_new_context() {
        let mut reads = Reads::default();
        reads.wait(Barrier(1));
        let first = reads.ask(0).expect("one waits");
        reads.retry(10, 10);
        assert_eq!(reads.ask(10), None, "still within its patience");
        reads.retry(11, 10);
        let second = reads.ask(11).expect("given back");
        assert_ne!(first, second);
        reads.confirm(first, 5);
        assert_eq!(reads.passed(5).count(), 0, "a late answer to the old request counts for nothing");
        assert_eq!(reads.lose(), [Barrier(1)]);
    }
}
