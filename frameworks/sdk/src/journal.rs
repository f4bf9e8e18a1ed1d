//! What is to be stored before it is done: writes in order, and behind each what waits for it.
//!
//! While one batch is on its way to the masters, later steps gather; the next batch takes as many of them as fit one
//! transaction. A step without writes waits for those before it and no longer. Passive.

use std::collections::{BTreeSet, VecDeque};

use crate::limits;
use crate::store::{Write, size};

/// Writes, and what is released when they are stored.
#[derive(Debug)]
struct Held<E> {
    writes: Vec<Write>,
    effects: Vec<E>,
}

/// Steps in order.
#[derive(Debug)]
pub(crate) struct Journal<E> {
    waiting: VecDeque<Held<E>>,
    /// How many of the first steps are being stored.
    in_flight: usize,
    /// The last is a part of the step that is being added.
    open: bool,
}

impl<E> Journal<E> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), in_flight: 0, open: false }
    }

    /// Adds a step of several parts, each stored whole and in order; its effects wait for the last. A part that is too large
    /// for a transaction is stored in several.
    pub(crate) fn push(&mut self, parts: Vec<Vec<Write>>, effects: Vec<E>) {
        #[cfg(feature = "mutants")]
        if mutant::planted("steps-do-not-wait-for-the-store") && !parts.is_empty() && !effects.is_empty() {
            self.waiting.push_back(Held { writes: Vec::new(), effects });
            return self.push(parts, Vec::new());
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("effects-are-lost-behind-a-commit") && self.in_flight > 0 && !effects.is_empty() {
            return self.push(parts, Vec::new());
        }
        for part in parts {
            self.divide(part);
        }
        match self.waiting.back_mut() {
            // The last part of this step, whose effects are its own.
            Some(last) if self.open => last.effects = effects,
            _ if effects.is_empty() => {}
            _ => self.waiting.push_back(Held { writes: Vec::new(), effects }),
        }
        self.open = false;
    }

    fn divide(&mut self, writes: Vec<Write>) {
        let mut part = Vec::new();
        let mut bytes = 0;
        for write in writes {
            if part.len() == limits::WRITES
                || (!part.is_empty() && bytes + size(&write) > limits::WRITE_BYTES)
            {
                let writes = std::mem::take(&mut part);
                self.waiting.push_back(Held { writes, effects: Vec::new() });
                bytes = 0;
            }
            bytes += size(&write);
            part.push(write);
        }
        if !part.is_empty() {
            self.waiting.push_back(Held { writes: part, effects: Vec::new() });
            self.open = true;
        }
    }

    /// How many steps wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What may be done now: everything before the first step that is not stored.
    pub(crate) fn release(&mut self) -> Vec<E> {
        let mut effects = Vec::new();
        while self.in_flight == 0 && self.waiting.front().is_some_and(|held| held.writes.is_empty()) {
            effects.extend(self.waiting.pop_front().into_iter().flat_map(|held| held.effects));
        }
        effects
    }

    /// The writes to store next; `None` while some are being stored, or there are none.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<Write>> {
        if self.in_flight > 0 {
            return None;
        }
        let mut batch: Vec<Write> = Vec::new();
        let mut bytes = 0;
        for held in &self.waiting {
            let more: usize = held.writes.iter().map(size).sum();
            let full = batch.len() + held.writes.len() > limits::WRITES || bytes + more > limits::WRITE_BYTES;
            if full && self.in_flight > 0 {
                break;
            }
            batch.extend(held.writes.iter().cloned());
            bytes += more;
            self.in_flight += 1;
        }
        if batch.is_empty() {
            self.in_flight = 0;
            return None;
        }
        Some(last_of_each(batch))
    }

    /// The batch is stored: what waited for it may be done.
    pub(crate) fn stored(&mut self) -> Vec<E> {
        let done = self.in_flight.min(self.waiting.len());
        self.in_flight = 0;
        let mut effects: Vec<E> = self.waiting.drain(..done).flat_map(|held| held.effects).collect();
        effects.extend(self.release());
        effects
    }
}

/// A transaction may write a key once, and nobody sees what is overwritten within it: the last write of each key counts.
fn last_of_each(batch: Vec<Write>) -> Vec<Write> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Write> =
        batch.into_iter().rev().filter(|write| seen.insert(key(write).to_owned())).collect();
    kept.reverse();
    kept
}

fn key(write: &Write) -> &str {
    match write {
        Write::Put { key, .. } | Write::Delete { key } => key,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn put(key: &str, bytes: usize) -> Write {
        Write::Put { key: key.to_owned(), value: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn nothing_is_done_before_what_stands_before_it_is_stored() {
        let mut journal = Journal::new();
        journal.push(Vec::new(), vec!["free"]);
        assert_eq!(journal.release(), ["free"]);
        journal.push(vec![vec![put("a", 1)]], vec!["a"]);
        journal.push(Vec::new(), vec!["behind a"]);
        assert_eq!(journal.release(), Vec::<&str>::new());
        assert_eq!(journal.next_batch(), Some(vec![put("a", 1)]));
        journal.push(vec![vec![put("b", 1)]], vec!["b"]);
        assert_eq!(journal.next_batch(), None, "one at a time");
        assert_eq!(journal.stored(), ["a", "behind a"]);
        assert_eq!(journal.next_batch(), Some(vec![put("b", 1)]));
        assert_eq!(journal.stored(), ["b"]);
        assert_eq!((journal.next_batch(), journal.len()), (None, 0));
    }

    #[test]
    fn a_step_too_large_for_a_transaction_is_stored_in_parts() {
        let mut journal = Journal::new();
        journal.push(vec![(0..limits::WRITES + 1).map(|n| put(&n.to_string(), 0)).collect()], vec!["many"]);
        journal.push(vec![vec![put("x", limits::WRITE_BYTES - 1), put("y", 1)]], vec!["large"]);
        let mut log = Vec::new();
        while let Some(batch) = journal.next_batch() {
            log.push((batch.len(), journal.stored()));
        }
        assert_eq!(log, [(limits::WRITES, vec![]), (1, vec!["many"]), (1, vec![]), (1, vec!["large"])]);
    }

    #[test]
    fn parts_are_whole_and_the_effects_wait_for_the_last() {
        let mut journal = Journal::new();
        let part = |name: &str| (0..limits::WRITES - 1).map(|n| put(&format!("{name}{n}"), 0)).collect();
        journal.push(vec![part("a"), part("b"), vec![put("c", 0)]], vec!["all"]);
        journal.push(Vec::new(), vec!["behind"]);
        let mut log = Vec::new();
        while let Some(batch) = journal.next_batch() {
            log.push((batch.len(), journal.stored()));
        }
        assert_eq!(log, [(limits::WRITES - 1, vec![]), (limits::WRITES, vec!["all", "behind"])]);
    }

    #[test]
    fn a_key_written_by_several_steps_of_a_batch_is_written_once() {
        let mut journal = Journal::new();
        journal.push(vec![vec![put("a", 1), put("b", 1)]], vec!["first"]);
        journal.push(vec![vec![put("a", 2), Write::Delete { key: "b".to_owned() }]], vec!["second"]);
        journal.push(vec![vec![put("b", 3), put("b", 4)]], vec!["third"]);
        assert_eq!(journal.next_batch(), Some(vec![put("a", 2), put("b", 4)]));
        assert_eq!(journal.stored(), ["first", "second", "third"]);
    }

    proptest! {
        /// However steps and commits interleave: effects come in order, and each after all writes before it.
        #[test]
        fn effects_follow_their_writes_in_order(
            script in prop::collection::vec((0usize..3, 0usize..200, any::<bool>()), 1..60),
        ) {
            let mut journal = Journal::new();
            let (mut pushed, mut written, mut stored) = (0usize, 0usize, 0usize);
            let mut flying = None;
            let mut done: Vec<(usize, usize)> = Vec::new();
            let check = |effects: Vec<(usize, usize)>, stored: usize, done: &mut Vec<(usize, usize)>| {
                for (number, needs) in effects {
                    prop_assert!(needs <= stored, "released before its writes");
                    prop_assert_eq!(number, done.len());
                    done.push((number, needs));
                }
                Ok(())
            };
            let finish = script.iter().copied().chain(std::iter::repeat_n((2, 0, true), 200));
            for (what, count, _) in finish {
                match what {
                    0 => {
                        written += count;
                        journal.push(vec![(0..count).map(|n| put(&format!("{pushed}-{n}"), 1)).collect()], vec![(pushed, written)]);
                        pushed += 1;
                        check(journal.release(), stored, &mut done)?;
                    }
                    1 => {
                        journal.push(Vec::new(), vec![(pushed, written)]);
                        pushed += 1;
                        check(journal.release(), stored, &mut done)?;
                    }
                    _ => match flying.take() {
                        Some(size) => {
                            stored += size;
                            check(journal.stored(), stored, &mut done)?;
                        }
                        None => flying = journal.next_batch().map(|batch| {
                            assert!(batch.len() <= limits::WRITES);
                            batch.len()
                        }),
                    },
                }
            }
            prop_assert_eq!((done.len(), journal.len(), stored), (pushed, 0, written));
        }
    }
}
