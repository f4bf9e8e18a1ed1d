//! Sandboxes of ended tasks: kept for people to read, as long as there is room.

use std::collections::{BTreeMap, BTreeSet};

use model::time::{Span, Time};

use crate::effect::Sandbox;
use crate::limits;

/// Old sandboxes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Gc {
    old: BTreeSet<(Time, Sandbox)>,
    since: BTreeMap<Sandbox, Time>,
}

impl Gc {
    /// A sandbox is no longer used since `since`. With too many of them the oldest has to go at once.
    pub(crate) fn add(&mut self, since: Time, sandbox: Sandbox) -> Option<Sandbox> {
        if let Some(before) = self.since.insert(sandbox.clone(), since) {
            self.old.remove(&(before, sandbox.clone()));
        }
        self.old.insert((since, sandbox));
        if self.old.len() > limits::SANDBOXES { self.pop() } else { None }
    }

    /// Whether the files of an ended task are still there.
    pub(crate) fn holds(&self, sandbox: &Sandbox) -> bool {
        self.since.contains_key(sandbox)
    }

    fn pop(&mut self) -> Option<Sandbox> {
        let (_, sandbox) = self.old.pop_first()?;
        self.since.remove(&sandbox);
        Some(sandbox)
    }

    pub(crate) fn len(&self) -> usize {
        self.old.len()
    }

    /// Takes out what is too old on a disk that is used to `used` thousandths.
    pub(crate) fn collect(&mut self, now: Time, used: u64) -> Vec<Sandbox> {
        let age = max_age(used);
        let mut gone = Vec::new();
        while gone.len() < limits::GC_BATCH
            && self.old.first().is_some_and(|(since, _)| now.since(*since) >= age)
        {
            gone.extend(self.pop());
        }
        gone
    }
}

/// How long a sandbox may stay (spec mesos-v1, 10.3): shorter the fuller the disk, and not at all when nothing
/// but the headroom is left.
pub(crate) fn max_age(used: u64) -> Span {
    let free = (1000 - limits::GC_HEADROOM).saturating_sub(used);
    Span::from_millis(limits::SANDBOX_AGE.as_millis() / 1000 * free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(name: &str) -> Sandbox {
        Sandbox::new("f".into(), name)
    }

    #[test]
    fn age_shrinks_as_the_disk_fills() {
        assert_eq!(max_age(0), Span::from_millis(limits::SANDBOX_AGE.as_millis() / 10 * 9));
        assert_eq!(max_age(450), Span::from_millis(limits::SANDBOX_AGE.as_millis() / 1000 * 450));
        assert_eq!(max_age(900), Span::ZERO);
        assert_eq!(max_age(1000), Span::ZERO);
    }

    #[test]
    fn the_old_go_and_the_young_stay() {
        let mut gc = Gc::default();
        let day = |n| Time::ZERO + Span::from_days(n);
        gc.add(day(0), sandbox("old"));
        gc.add(day(6), sandbox("young"));
        assert_eq!(gc.collect(day(6), 0), []);
        assert_eq!(gc.collect(day(7), 0), [sandbox("old")]);
        assert_eq!(gc.collect(day(7), 900), [sandbox("young")]);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut gc = Gc::default();
        for n in 0..limits::SANDBOXES {
            assert_eq!(gc.add(Time::from_millis(n as u64), sandbox(&n.to_string())), None);
        }
        assert_eq!(gc.add(Time::ZERO + Span::from_days(1), sandbox("last")), Some(sandbox("0")));
        assert_eq!(gc.collect(Time::ZERO + Span::from_days(2), 1000).len(), limits::GC_BATCH);
    }
}
