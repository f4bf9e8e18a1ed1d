//! Histories of single keys are linearizable: each call took effect at one moment between its begin and its end.
//!
//! The search of Wing and Gong with the memory of Lowe: put the calls in an order that fits their times, one at a time,
//! and never come twice to the same set of calls with the same value. A call whose outcome is unknown may take effect at
//! any time after its begin, or never.

use std::collections::{BTreeMap, BTreeSet};

/// Microseconds since some beginning, the same for all calls of a history.
pub type Micros = u64;

/// What is promised.
pub const PROMISE: &str = "the history of each key is linearizable";

/// States visited before the search is given up as undecided, which counts as wrong: nothing was shown.
const PATIENCE: usize = 2_000_000;

/// What a client asked for. Values are written once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Read the key.
    Read,
    /// Put this value, or delete.
    Write(Option<u64>),
    /// Put `to` if the key is as `from` says.
    Swap {
        /// The value, or its absence.
        from: Option<u64>,
        /// The new value.
        to: u64,
    },
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The value, if there was one.
    Read(Option<u64>),
    /// Whether the compare held.
    Wrote {
        /// Always, without one.
        succeeded: bool,
    },
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key's number.
    pub key: usize,
    /// What was asked.
    pub kind: Kind,
    /// When.
    pub invoked: Micros,
    /// When the answer came and what it was; nothing when the outcome is unknown.
    pub done: Option<(Micros, Done)>,
}

impl Operation {
    /// What is there after it, when it is known to have changed something.
    pub fn written(&self) -> Option<Option<u64>> {
        let succeeded = matches!(self.done, Some((_, Done::Wrote { succeeded: true })));
        match self.kind {
            Kind::Write(value) if succeeded => Some(value),
            Kind::Swap { to, .. } if succeeded => Some(Some(to)),
            _ => None,
        }
    }

    /// The value after the call, if it can happen on `value` with the outcome it had.
    fn apply(&self, value: Option<u64>) -> Option<Option<u64>> {
        match (self.kind, self.done.as_ref().map(|(_, done)| done)) {
            (Kind::Read, Some(Done::Read(seen))) => (*seen == value).then_some(value),
            (Kind::Read, _) => Some(value),
            (Kind::Write(new), Some(Done::Wrote { succeeded: true }) | None) => Some(new),
            (Kind::Swap { from, to }, Some(Done::Wrote { succeeded: true })) => {
                (from == value).then_some(Some(to))
            }
            (Kind::Swap { from, .. }, Some(Done::Wrote { succeeded: false })) => {
                (from != value).then_some(value)
            }
            // One that changed nothing might as well never have happened.
            (Kind::Swap { from, to }, None) => (from == value).then_some(Some(to)),
            (Kind::Write(_) | Kind::Swap { .. }, Some(_)) => None,
        }
    }
}

/// The verdict on each key.
pub fn by_key(history: &[Operation], now: Micros) -> BTreeMap<usize, Result<(), String>> {
    let mut keys: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| operation.invoked <= now) {
        keys.entry(operation.key).or_default().push(operation.clone());
    }
    keys.into_iter().map(|(key, operations)| (key, check(operations))).collect()
}

/// Whether there is an order of the calls on one key that explains them.
///
/// # Errors
/// What could not be explained.
pub fn check(mut operations: Vec<Operation>) -> Result<(), String> {
    // A read that was not answered says nothing.
    operations.retain(|operation| operation.kind != Kind::Read || operation.done.is_some());
    operations.sort_by_key(|operation| operation.invoked);
    let ends: Vec<Micros> = operations
        .iter()
        .map(|operation| operation.done.as_ref().map_or(Micros::MAX, |(at, _)| *at))
        .collect();
    let start = Point { used: vec![0; operations.len().div_ceil(64)], value: None };
    let mut visited = BTreeSet::from([start.clone()]);
    let mut open = vec![start];
    let mut furthest = 0;
    while let Some(point) = open.pop() {
        let left = |at: usize| point.used[at / 64] & (1 << (at % 64)) == 0;
        // Whatever ends first among those left bounds what may come next.
        let first_end = (0..operations.len()).filter(|at| left(*at)).map(|at| ends[at]).min();
        let Some(first_end) = first_end.filter(|end| *end < Micros::MAX) else { return Ok(()) };
        furthest = furthest.max(first_end);
        if visited.len() > PATIENCE {
            return Err(format!("undecided after {PATIENCE} states"));
        }
        for (at, operation) in operations.iter().enumerate() {
            if operation.invoked > first_end {
                break;
            }
            if !left(at) {
                continue;
            }
            if let Some(value) = operation.apply(point.value) {
                let mut next = Point { used: point.used.clone(), value };
                next.used[at / 64] |= 1 << (at % 64);
                if visited.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    let culprit = operations.iter().zip(&ends).find(|(_, end)| **end == furthest);
    Err(format!("no order explains {:?}", culprit.map(|(operation, _)| operation)))
}

/// Which calls have been put in order, and the value after them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    used: Vec<u64>,
    value: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: Kind, invoked: Micros, done: Option<(Micros, Done)>) -> Operation {
        Operation { key: 0, kind, invoked, done }
    }

    fn read(invoked: Micros, ended: Micros, value: Option<u64>) -> Operation {
        call(Kind::Read, invoked, Some((ended, Done::Read(value))))
    }

    fn write(invoked: Micros, ended: Micros, value: Option<u64>) -> Operation {
        call(Kind::Write(value), invoked, Some((ended, Done::Wrote { succeeded: true })))
    }

    fn swap(invoked: Micros, ended: Micros, from: Option<u64>, to: u64, succeeded: bool) -> Operation {
        call(Kind::Swap { from, to }, invoked, Some((ended, Done::Wrote { succeeded })))
    }

    fn lost(kind: Kind, invoked: Micros) -> Operation {
        call(kind, invoked, None)
    }

    #[test]
    fn lawful_histories_are_accepted() {
        let lawful: Vec<(&str, Vec<Operation>)> = vec![
            ("nothing", vec![]),
            ("a read of nothing", vec![read(0, 1, None)]),
            ("a write and a read", vec![write(0, 1, Some(1)), read(2, 3, Some(1))]),
            (
                "a read during a write sees either",
                vec![write(0, 10, Some(1)), read(1, 2, None), read(3, 4, Some(1))],
            ),
            (
                "two writes at once, either is last",
                vec![write(0, 10, Some(1)), write(0, 10, Some(2)), read(11, 12, Some(1))],
            ),
            ("a lost write that happened", vec![lost(Kind::Write(Some(1)), 0), read(5, 6, Some(1))]),
            (
                "a lost write that happened later",
                vec![lost(Kind::Write(Some(1)), 0), read(5, 6, None), read(7, 8, Some(1))],
            ),
            ("a lost write that never happened", vec![lost(Kind::Write(Some(1)), 0), read(5, 6, None)]),
            (
                "a chain of swaps",
                vec![
                    swap(0, 1, None, 1, true),
                    swap(2, 3, None, 2, false),
                    swap(4, 5, Some(1), 3, true),
                    read(6, 7, Some(3)),
                ],
            ),
            (
                "a failed swap explained by a lost write",
                vec![lost(Kind::Write(Some(9)), 0), swap(1, 2, None, 1, false)],
            ),
            ("a deletion", vec![write(0, 1, Some(1)), write(2, 3, None), read(4, 5, None)]),
        ];
        for (name, history) in lawful {
            assert_eq!(check(history), Ok(()), "{name}");
        }
    }

    #[test]
    fn forged_histories_are_rejected() {
        let forged: Vec<(&str, Vec<Operation>)> = vec![
            ("a stale read", vec![write(0, 1, Some(1)), write(2, 3, Some(2)), read(4, 5, Some(1))]),
            ("a lost acknowledged write", vec![write(0, 1, Some(1)), read(2, 3, None)]),
            ("a value out of nowhere", vec![read(0, 1, Some(7))]),
            ("a read that goes back", vec![write(0, 10, Some(1)), read(1, 2, Some(1)), read(3, 4, None)]),
            ("a read before its write", vec![read(0, 1, Some(1)), write(2, 3, Some(1))]),
            (
                "two swaps from one value",
                vec![write(0, 1, Some(1)), swap(2, 9, Some(1), 2, true), swap(2, 9, Some(1), 3, true)],
            ),
            (
                "a swap that failed although it held",
                vec![write(0, 1, Some(1)), swap(2, 3, Some(1), 2, false)],
            ),
            (
                "a swap that succeeded although it did not hold",
                vec![write(0, 1, Some(1)), swap(2, 3, Some(5), 2, true)],
            ),
            ("a deletion undone", vec![write(0, 1, Some(1)), write(2, 3, None), read(4, 5, Some(1))]),
            (
                "a lost write that took effect twice",
                vec![
                    lost(Kind::Write(Some(1)), 0),
                    read(1, 2, Some(1)),
                    write(3, 4, Some(2)),
                    read(5, 6, Some(1)),
                ],
            ),
            ("a lost write before it began", vec![read(0, 1, Some(1)), lost(Kind::Write(Some(1)), 2)]),
            (
                "readers that disagree about an order",
                vec![
                    write(0, 20, Some(1)),
                    write(0, 20, Some(2)),
                    read(1, 2, Some(1)),
                    read(3, 4, Some(2)),
                    read(5, 6, Some(1)),
                ],
            ),
        ];
        for (name, history) in forged {
            assert!(check(history).is_err(), "{name}");
        }
    }

    /// Forged by rule: a true history of one client after the other, with one answer changed.
    #[test]
    fn one_false_answer_in_a_long_history_is_found() {
        for changed in 0..100 {
            let mut value = None;
            let mut history = Vec::new();
            for at in 0..200_u64 {
                let (begin, end) = (at * 10, at * 10 + 5);
                match at % 4 {
                    0 => {
                        value = Some(at);
                        history.push(write(begin, end, value));
                    }
                    1 | 3 => history.push(read(begin, end, value)),
                    _ => {
                        history.push(swap(begin, end, value, at, true));
                        value = Some(at);
                    }
                }
            }
            assert_eq!(check(history.clone()), Ok(()));
            let reads: Vec<usize> = (0..200).filter(|at| at % 2 == 1).collect();
            let Some((_, Done::Read(seen))) = &mut history[reads[changed]].done else { panic!("a read") };
            *seen = Some(seen.map_or(0, |seen| seen + 1_000));
            assert!(check(history).is_err(), "read number {changed}");
        }
    }
}
