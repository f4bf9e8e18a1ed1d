//! Runs that may be launched now, in the order of their turn.
//!
//! High priority goes before low. Of one priority, users are served in turn, each by the weight of its queue: who has least
//! running for his weight is next. Within a queue the run goes first that has least time left to meet its deadline, then the
//! one that has waited longest.
//!
//! Runs that need the same stand together: where one finds no room, none does. So a turn looks at what it launches and at
//! one run of each need, however many wait. A walk over all that wait costs a second of each turn when there are a hundred
//! thousand.

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
    /// What it needs, and of which agents, as text.
    pub(super) shape: Arc<str>,
    pub(super) place: Place,
}

/// The first run of a user that needs the same as others: least share first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    share: u128,
    place: Place,
    queue: Arc<str>,
}

/// All runs of one priority.
#[derive(Debug, Default)]
struct Level {
    /// By what they need, one for each user.
    heads: BTreeMap<Arc<str>, BTreeSet<Head>>,
    /// The first of each of these, but for shapes that are closed.
    fronts: BTreeSet<(Head, Arc<str>)>,
    count: usize,
}

/// One user: its runs by priority and by what they need.
#[derive(Debug)]
struct User {
    share: u128,
    lines: BTreeMap<(Reverse<i32>, Arc<str>), BTreeSet<Place>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    of: BTreeMap<RunId, Turn>,
    users: BTreeMap<Arc<str>, User>,
    levels: BTreeMap<Reverse<i32>, Level>,
    /// Shapes that find no room in the offers at hand.
    closed: BTreeSet<Arc<str>>,
}

impl Level {
    fn add(&mut self, shape: &Arc<str>, head: Head, closed: bool) {
        let heads = self.heads.entry(Arc::clone(shape)).or_default();
        let before = heads.first().cloned();
        if !closed && before.as_ref().is_none_or(|before| head < *before) {
            if let Some(before) = before {
                self.fronts.remove(&(before, Arc::clone(shape)));
            }
            self.fronts.insert((head.clone(), Arc::clone(shape)));
        }
        heads.insert(head);
    }

    fn remove(&mut self, shape: &Arc<str>, head: Head, closed: bool) {
        let Some(heads) = self.heads.get_mut(shape) else { return };
        let first = heads.first() == Some(&head);
        heads.remove(&head);
        let next = heads.first().cloned();
        if next.is_none() {
            self.heads.remove(shape);
        }
        if first && !closed {
            self.fronts.remove(&(head, Arc::clone(shape)));
            self.fronts.extend(next.map(|next| (next, Arc::clone(shape))));
        }
    }
}

impl Queue {
    /// Whether it was not there. One that is there keeps its turn, though it may need something else by now. `share` is what
    /// its queue has running for its weight.
    pub(super) fn insert(&mut self, turn: Turn, share: u128) -> bool {
        let Some(mut old) = self.of.get(&turn.place.run).cloned() else {
            self.put(turn, share);
            return true;
        };
        if old.shape != turn.shape {
            self.remove(&old.place.run);
            old.shape = turn.shape;
            self.put(old, share);
        }
        false
    }

    fn put(&mut self, turn: Turn, share: u128) {
        let priority = Reverse(turn.priority);
        let user = User { share, lines: BTreeMap::new() };
        let user = self.users.entry(Arc::clone(&turn.queue)).or_insert(user);
        let line = user.lines.entry((priority, Arc::clone(&turn.shape))).or_default();
        let before = line.first().cloned();
        line.insert(turn.place.clone());
        let level = self.levels.entry(priority).or_default();
        level.count += 1;
        if before.as_ref().is_none_or(|before| turn.place < *before) {
            let closed = self.closed.contains(&turn.shape);
            let head = |place: Place| Head { share: user.share, place, queue: Arc::clone(&turn.queue) };
            if let Some(before) = before {
                level.remove(&turn.shape, head(before), closed);
            }
            level.add(&turn.shape, head(turn.place.clone()), closed);
        }
        self.of.insert(turn.place.run.clone(), turn);
    }

    /// Takes a run out.
    pub(super) fn remove(&mut self, run: &RunId) -> Option<Turn> {
        let turn = self.of.remove(run)?;
        let priority = Reverse(turn.priority);
        let (Some(user), Some(level)) = (self.users.get_mut(&turn.queue), self.levels.get_mut(&priority))
        else {
            return Some(turn);
        };
        let kind = (priority, Arc::clone(&turn.shape));
        if let Some(line) = user.lines.get_mut(&kind) {
            let first = line.first() == Some(&turn.place);
            line.remove(&turn.place);
            let next = line.first().cloned();
            if next.is_none() {
                user.lines.remove(&kind);
            }
            if first {
                let closed = self.closed.contains(&turn.shape);
                let head = |place: Place| Head { share: user.share, place, queue: Arc::clone(&turn.queue) };
                level.remove(&turn.shape, head(turn.place.clone()), closed);
                if let Some(next) = next {
                    level.add(&turn.shape, head(next), closed);
                }
            }
        }
        level.count -= 1;
        if level.count == 0 {
            self.levels.remove(&priority);
        }
        if user.lines.is_empty() {
            self.users.remove(&turn.queue);
        }
        Some(turn)
    }

    /// A queue has more or less running than before, or another weight.
    pub(super) fn reshare(&mut self, queue: &str, share: u128) {
        let Some(user) = self.users.get_mut(queue).filter(|user| user.share != share) else { return };
        for ((priority, shape), line) in &user.lines {
            let (Some(level), Some(place)) = (self.levels.get_mut(priority), line.first()) else { continue };
            let head = |share: u128| Head { share, place: place.clone(), queue: queue.into() };
            let closed = self.closed.contains(shape);
            level.remove(shape, head(user.share), closed);
            level.add(shape, head(share), closed);
        }
        user.share = share;
    }

    /// Whose turn it is, of those that may still find room, and what it needs.
    pub(super) fn next(&self) -> Option<(RunId, Arc<str>)> {
        let (head, shape) = self.levels.values().find_map(|level| level.fronts.first())?;
        Some((head.place.run.clone(), Arc::clone(shape)))
    }

    /// There is no more room for this in the offers at hand.
    pub(super) fn close(&mut self, shape: &Arc<str>) {
        for level in self.levels.values_mut() {
            if let Some(first) = level.heads.get(shape).and_then(BTreeSet::first) {
                level.fronts.remove(&(first.clone(), Arc::clone(shape)));
            }
        }
        self.closed.insert(Arc::clone(shape));
    }

    /// The next offers may have room for anything.
    pub(super) fn reopen(&mut self) {
        for shape in std::mem::take(&mut self.closed) {
            for level in self.levels.values_mut() {
                let first = level.heads.get(&shape).and_then(BTreeSet::first);
                level.fronts.extend(first.map(|first| (first.clone(), Arc::clone(&shape))));
            }
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
        self.levels.range(..Reverse(0)).map(|(_, level)| level.count).sum()
    }

    /// The runs of the named queue, to be lined up anew.
    pub(super) fn of_queue(&self, queue: &str) -> Vec<RunId> {
        let lines = self.users.get(queue).into_iter().flat_map(|user| user.lines.values());
        lines.flatten().map(|place| place.run.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert { run: u64, priority: i32, queue: usize, shape: usize, latest: u64 },
        Remove { run: u64 },
        Reshare { queue: usize, share: u128 },
        Close { shape: usize },
        Reopen,
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (0u64..30, -1i32..2, 0usize..4, 0usize..3, 1u64..4).prop_map(
                |(run, priority, queue, shape, latest)| Change::Insert { run, priority, queue, shape, latest }
            ),
            2 => (0u64..30).prop_map(|run| Change::Remove { run }),
            2 => (0usize..4, 0u128..3).prop_map(|(queue, share)| Change::Reshare { queue, share }),
            1 => (0usize..3).prop_map(|shape| Change::Close { shape }),
            1 => Just(Change::Reopen),
        ]
    }

    const QUEUES: [&str; 4] = ["ann", "bob", "cem", "dag"];
    const SHAPES: [&str; 3] = ["small", "large", "other"];

    proptest! {
        /// Whoever is next is whom a walk over all finds.
        #[test]
        fn the_index_finds_what_a_walk_finds(changes in prop::collection::vec(change(), 1..120)) {
            let mut queue = Queue::default();
            let mut turns: BTreeMap<RunId, Turn> = BTreeMap::new();
            let mut shares = [0u128; 4];
            let mut closed: BTreeSet<&str> = BTreeSet::new();
            for change in changes {
                match change {
                    Change::Insert { run, priority, queue: user, shape, latest } => {
                        let id = RunId::new("a", Time::from_secs(run));
                        let place = Place { latest: Time::from_secs(latest), since: Time::ZERO, run: id.clone() };
                        let turn = Turn { priority, queue: QUEUES[user].into(), shape: SHAPES[shape].into(), place };
                        let user = turns.get(&id).map_or(QUEUES[user], |turn| &turn.queue);
                        let user = QUEUES.iter().position(|queue| *queue == user).unwrap();
                        let new = queue.insert(turn.clone(), shares[user]);
                        prop_assert_eq!(new, !turns.contains_key(&id));
                        turns.entry(id).or_insert_with(|| turn.clone()).shape.clone_from(&turn.shape);
                    }
                    Change::Remove { run } => {
                        let id = RunId::new("a", Time::from_secs(run));
                        prop_assert_eq!(queue.remove(&id), turns.remove(&id));
                    }
                    Change::Reshare { queue: user, share } => {
                        shares[user] = share;
                        queue.reshare(QUEUES[user], share);
                    }
                    Change::Close { shape } => {
                        closed.insert(SHAPES[shape]);
                        queue.close(&SHAPES[shape].into());
                    }
                    Change::Reopen => {
                        closed.clear();
                        queue.reopen();
                    }
                }
                let open = turns.values().filter(|turn| !closed.contains(&*turn.shape));
                let share = |turn: &Turn| shares[QUEUES.iter().position(|queue| **queue == *turn.queue).unwrap()];
                let next = open.min_by_key(|turn| (Reverse(turn.priority), share(turn), turn.place.clone()));
                prop_assert_eq!(queue.next().map(|(run, _)| run), next.map(|turn| turn.place.run.clone()));
                prop_assert_eq!(queue.len(), turns.len());
                let high = turns.values().filter(|turn| turn.priority > 0).count();
                prop_assert_eq!(queue.high(), high);
                for user in QUEUES {
                    let theirs: BTreeSet<RunId> = queue.of_queue(user).into_iter().collect();
                    let wanted = turns.values().filter(|turn| &*turn.queue == user);
                    prop_assert_eq!(theirs, wanted.map(|turn| turn.place.run.clone()).collect());
                }
            }
        }
    }
}
