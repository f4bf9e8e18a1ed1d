//! Histories of single keys are linearizable: each call took effect at one moment between its begin and its end.
//!
//! The search of Wing and Gong with the memory of Lowe: put the calls in an order that fits their times, one at a time,
//! and never come twice to the same set of calls with the same value. A call whose outcome is unknown may take effect at
//! any time after its begin, or never; each of them would double the work, were it not for these rules:
//!
//! - What never changes anything and fits now (a read of the value, a swap that failed) is put next, without trying
//!   anything else: whatever order puts it later is as good with it here.
//! - A value that nobody asked about is as good as any other of them.
//! - Of calls without an outcome that would do the same, the first takes effect first.
//! - One of them that is overwritten by another before anybody who was answered comes to it might as well never have
//!   happened, and what cannot be explained with some of them left cannot be explained with fewer left.
//! - A value is written once, so it is not left before all that saw it are in the order.

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

    /// A value that makes a difference to it.
    fn asks_about(&self) -> Option<u64> {
        match (self.kind, self.done.as_ref().map(|(_, done)| done)) {
            (Kind::Read, Some(Done::Read(seen))) => *seen,
            (Kind::Swap { from, .. }, _) => from,
            _ => None,
        }
    }

    /// The value that was there when it took effect, as far as it is known.
    fn saw(&self) -> Option<u64> {
        match (self.kind, self.done.as_ref().map(|(_, done)| done)) {
            (Kind::Read, Some(Done::Read(seen))) => *seen,
            (Kind::Swap { from, .. }, Some(Done::Wrote { succeeded: true })) => from,
            _ => None,
        }
    }

    /// It is known to have left the key as it was.
    fn changes_nothing(&self) -> bool {
        matches!(
            (self.kind, self.done.as_ref().map(|(_, done)| done)),
            (Kind::Read, _) | (Kind::Swap { .. }, Some(Done::Wrote { succeeded: false }))
        )
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
pub fn check(operations: Vec<Operation>) -> Result<(), String> {
    let history = History::new(operations);
    let none = vec![0; history.operations.len().div_ceil(64)];
    let start = Point { answered: none.clone(), unanswered: none, value: None, after_unanswered: false };
    let mut visited = Visited::default();
    let mut open = vec![start];
    let mut furthest = 0;
    while let Some(mut point) = open.pop() {
        let Some(first_end) = history.settle(&mut point) else { return Ok(()) };
        furthest = furthest.max(first_end);
        if !visited.insert(&point) {
            continue;
        }
        if visited.count > PATIENCE {
            return Err(format!("undecided after {PATIENCE} states"));
        }
        open.extend(history.next(&point, first_end));
    }
    Err(format!("no order explains {:?}", history.that_ends(furthest)))
}

/// A value that nobody asked about.
const ANY: u64 = u64::MAX;

/// The calls on one key, ordered by their begin.
struct History {
    operations: Vec<Operation>,
    /// For calls without an outcome: the one before it that would do the same.
    twin: Vec<Option<usize>>,
    /// Who saw a value.
    seers: BTreeMap<u64, Vec<usize>>,
}

impl History {
    fn new(mut operations: Vec<Operation>) -> Self {
        // A read that was not answered says nothing.
        operations.retain(|operation| operation.kind != Kind::Read || operation.done.is_some());
        operations.sort_by_key(|operation| operation.invoked);
        let asked: BTreeSet<u64> = operations.iter().filter_map(Operation::asks_about).collect();
        let forget = |value: u64| if asked.contains(&value) { value } else { ANY };
        for operation in &mut operations {
            match &mut operation.kind {
                Kind::Write(Some(value)) | Kind::Swap { to: value, .. } => *value = forget(*value),
                Kind::Write(None) | Kind::Read => {}
            }
        }
        let twin = (0..operations.len())
            .map(|at| {
                let same = |other: &usize| {
                    operations[*other].done.is_none() && operations[*other].kind == operations[at].kind
                };
                (0..at).rev().filter(|_| operations[at].done.is_none()).find(same)
            })
            .collect();
        let mut seers: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, operation) in operations.iter().enumerate() {
            if let Some(value) = operation.saw() {
                seers.entry(value).or_default().push(at);
            }
        }
        Self { operations, twin, seers }
    }

    fn end(&self, at: usize) -> Micros {
        self.operations[at].done.as_ref().map_or(Micros::MAX, |(end, _)| *end)
    }

    fn that_ends(&self, end: Micros) -> Option<&Operation> {
        (0..self.operations.len()).find(|at| self.end(*at) == end).map(|at| &self.operations[at])
    }

    /// Whatever ends first among those left bounds what may come next. Nothing, when all that were answered are in the order.
    fn first_end(&self, point: &Point) -> Option<Micros> {
        let left = (0..self.operations.len()).filter(|at| !point.has(*at));
        left.map(|at| self.end(at)).min().filter(|end| *end < Micros::MAX)
    }

    /// Calls that are left and had begun by then.
    fn begun<'a>(&'a self, point: &'a Point, by: Micros) -> impl Iterator<Item = usize> + 'a {
        let begun = self.operations.iter().take_while(move |operation| operation.invoked <= by);
        begun.enumerate().map(|(at, _)| at).filter(|at| !point.has(*at))
    }

    /// Puts everything next that changes nothing, and says what bounds the rest.
    fn settle(&self, point: &mut Point) -> Option<Micros> {
        loop {
            let first_end = self.first_end(point)?;
            let fits = |at: &usize| {
                let operation = &self.operations[*at];
                operation.changes_nothing() && operation.apply(point.value).is_some()
            };
            let settled: Vec<usize> = self.begun(point, first_end).filter(fits).collect();
            if settled.is_empty() {
                return Some(first_end);
            }
            settled.into_iter().for_each(|at| put(&mut point.answered, at));
            point.after_unanswered = false;
        }
    }

    /// Where one more call leads, the likeliest last: what was answered first.
    fn next(&self, point: &Point, first_end: Micros) -> Vec<Point> {
        let mut ways: Vec<usize> = self
            .begun(point, first_end)
            .filter(|at| self.twin[*at].is_none_or(|twin| point.has(twin)))
            .collect();
        ways.sort_by_key(|at| std::cmp::Reverse(self.end(*at)));
        ways.into_iter().filter_map(|at| self.step(point, at)).collect()
    }

    fn step(&self, point: &Point, at: usize) -> Option<Point> {
        let operation = &self.operations[at];
        let value = operation.apply(point.value)?;
        let unanswered = operation.done.is_none();
        let overwrites = point.after_unanswered && matches!(operation.kind, Kind::Write(_));
        // Nobody would notice.
        if unanswered && (value == point.value || overwrites) {
            return None;
        }
        let mut next = Point { value, after_unanswered: unanswered, ..point.clone() };
        put(if unanswered { &mut next.unanswered } else { &mut next.answered }, at);
        let seers = point.value.and_then(|old| self.seers.get(&old));
        seers.is_none_or(|seers| seers.iter().all(|seer| next.has(*seer))).then_some(next)
    }
}

/// A set of calls, by their place in the history.
type Calls = Vec<u64>;

fn put(calls: &mut Calls, at: usize) {
    calls[at / 64] |= 1 << (at % 64);
}

fn has(calls: &Calls, at: usize) -> bool {
    calls[at / 64] & (1 << (at % 64)) != 0
}

/// Which calls have been put in order, and the value after them.
#[derive(Debug, Clone)]
struct Point {
    answered: Calls,
    unanswered: Calls,
    value: Option<u64>,
    /// The last one had no answer.
    after_unanswered: bool,
}

impl Point {
    fn has(&self, at: usize) -> bool {
        has(&self.answered, at) || has(&self.unanswered, at)
    }
}

/// Where the search has been: for each set of answered calls and value, the smallest sets of the others.
#[derive(Debug, Default)]
struct Visited {
    points: BTreeMap<(Calls, Option<u64>), Vec<Calls>>,
    count: usize,
}

impl Visited {
    /// Whether there is anything new to be found from here.
    fn insert(&mut self, point: &Point) -> bool {
        let seen = self.points.entry((point.answered.clone(), point.value)).or_default();
        let within = |one: &Calls, other: &Calls| one.iter().zip(other).all(|(one, other)| one & !other == 0);
        if seen.iter().any(|smaller| within(smaller, &point.unanswered)) {
            return false;
        }
        seen.retain(|larger| !within(&point.unanswered, larger));
        seen.push(point.unanswered.clone());
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Whether any order at all explains them, by trying each.
    fn by_trying(left: &[Operation], value: Option<u64>) -> bool {
        let ends = |operation: &Operation| operation.done.as_ref().map_or(Micros::MAX, |(at, _)| *at);
        let first_end = left.iter().map(ends).min().unwrap_or(Micros::MAX);
        let next = |at: usize| {
            let mut rest = left.to_vec();
            let operation = rest.remove(at);
            let value = operation.apply(value).filter(|_| operation.invoked <= first_end);
            value.is_some_and(|value| by_trying(&rest, value))
        };
        first_end == Micros::MAX || (0..left.len()).any(next)
    }

    /// What three clients might have been told of a key: mostly the truth.
    fn histories() -> impl Strategy<Value = Vec<Operation>> {
        let call = (0_u8..6, 0_u64..4, 0_u64..6, 0_u8..8, any::<prop::sample::Index>());
        prop::collection::vec(call, 1..9).prop_map(|calls| {
            let (mut value, mut written) = (None, vec![None]);
            let mut history: Vec<Operation> = Vec::new();
            for (number, (kind, before, after, fate, guess)) in (1_u64..).zip(calls) {
                let from = *guess.get(&written);
                let kind = match kind {
                    0..=2 => Kind::Read,
                    3 => Kind::Write(Some(number)),
                    4 => Kind::Write(None),
                    _ => Kind::Swap { from, to: number },
                };
                let at = number * 4;
                let mut operation = Operation { key: 0, kind, invoked: at - before, done: None };
                let new = operation.apply(value);
                let done = match kind {
                    Kind::Read if fate == 0 => Done::Read(from),
                    Kind::Read => Done::Read(value),
                    Kind::Swap { .. } => Done::Wrote { succeeded: new.is_some() != (fate == 0) },
                    Kind::Write(_) => Done::Wrote { succeeded: true },
                };
                operation.done = (fate != 1 && fate != 2).then_some((at + after, done));
                // One of those without an answer was not heard at all.
                value = new.filter(|_| fate != 2).unwrap_or(value);
                written.push(value);
                history.push(operation);
            }
            history
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_search_leaves_nothing_out(history in histories()) {
            prop_assert_eq!(check(history.clone()).is_ok(), by_trying(&history, None));
        }
    }

    /// Whoever writes while nobody answers leaves calls that may or may not have happened: the search must not try each
    /// set of them.
    #[test]
    fn many_calls_without_an_outcome_are_decided() {
        let mut history = Vec::new();
        for at in 0..200_u64 {
            history.push(lost(Kind::Write((at % 2 == 0).then_some(at)), at * 10));
            history.push(lost(Kind::Swap { from: None, to: 1_000 + at }, at * 10));
            history.push(swap(at * 10, at * 10 + 5, Some(at), 2_000 + at, false));
        }
        history.push(write(3_000, 3_005, Some(7)));
        assert_eq!(check(history.clone()), Ok(()));
        history.push(read(3_010, 3_015, Some(9)));
        let verdict = check(history).expect_err("nobody wrote 9");
        assert!(verdict.starts_with("no order explains"), "{verdict}");
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
