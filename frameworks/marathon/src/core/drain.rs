//! Load balancers that want to let go of an instance before it is killed.

use std::collections::{BTreeMap, BTreeSet};

use model::id::TaskId;
use model::time::Time;

/// Drainers, and the tasks they have not yet let go of.
#[derive(Debug, Clone, Default)]
pub struct Drains {
    /// Streams open under each name.
    connected: BTreeMap<String, u32>,
    /// Those that had a stream a moment ago, or had one with the leader before: until then they are expected back. The
    /// load balancer behind one goes on sending requests meanwhile, so that a kill without it would fail some of them.
    away: BTreeMap<String, Time>,
    waiting: BTreeMap<TaskId, BTreeSet<String>>,
}

impl Drains {
    /// What a leader that takes over knows: these were here.
    pub fn expecting(names: impl IntoIterator<Item = String>, until: Time) -> Self {
        Self { away: names.into_iter().map(|name| (name, until)).collect(), ..Self::default() }
    }

    /// True when nobody of that name was known.
    pub fn connect(&mut self, name: &str) -> bool {
        let was_away = self.away.remove(name).is_some();
        let streams = self.connected.entry(name.to_owned()).or_insert(0);
        *streams += 1;
        *streams == 1 && !was_away
    }

    /// Drains begun already wait for it, and later ones as well until `until`.
    pub fn disconnect(&mut self, name: &str, until: Time) {
        if let Some(streams) = self.connected.get_mut(name) {
            *streams -= 1;
            if *streams == 0 {
                self.connected.remove(name);
                self.away.insert(name.to_owned(), until);
            }
        }
    }

    /// Gives up on those that did not come back. True when there were any.
    pub fn forget(&mut self, now: Time) -> bool {
        let before = self.away.len();
        self.away.retain(|_, until| *until > now);
        self.away.len() < before
    }

    /// When the next of those that are away is given up.
    pub fn next_forgotten(&self) -> Option<Time> {
        self.away.values().min().copied()
    }

    /// Starts to wait for everybody known. False when there is nobody, and nothing to wait for.
    pub fn begin(&mut self, task: &TaskId) -> bool {
        let known: BTreeSet<String> = self.known().map(str::to_owned).collect();
        if known.is_empty() {
            return false;
        }
        self.waiting.insert(task.clone(), known);
        true
    }

    /// This drainer has let go. True when it was the last one waited for.
    pub fn acknowledge(&mut self, name: &str, task: &TaskId) -> bool {
        let Some(left) = self.waiting.get_mut(task) else { return false };
        left.remove(name);
        left.is_empty()
    }

    /// The wait is over, or the task is.
    pub fn end(&mut self, task: &TaskId) {
        self.waiting.remove(task);
    }

    /// Those with a stream and those expected back.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.connected.keys().chain(self.away.keys()).map(String::as_str)
    }

    /// Those with a stream.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.connected.keys().map(String::as_str)
    }

    /// Those that have not let go of a task yet.
    pub fn waited_for(&self, task: &TaskId) -> impl Iterator<Item = &str> {
        self.waiting.get(task).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn every_known_drainer_is_waited_for() {
        let mut drains = Drains::default();
        let task = TaskId::from("t");
        assert!(!drains.begin(&task));
        assert!(drains.connect("a"));
        assert!(!drains.connect("a"));
        assert!(drains.connect("b"));
        drains.disconnect("a", at(10));
        assert!(drains.begin(&task));
        drains.disconnect("b", at(10));
        assert!(!drains.acknowledge("b", &task));
        assert_eq!(drains.waited_for(&task).collect::<Vec<_>>(), ["a"]);
        assert!(!drains.acknowledge("stranger", &task));
        assert!(drains.acknowledge("a", &task));
        drains.end(&task);
        assert!(!drains.acknowledge("a", &task));
        assert_eq!(drains.names().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn one_that_was_here_is_expected_back_for_a_while() {
        let mut drains = Drains::expecting(["east".to_owned()], at(10));
        assert!(drains.begin(&TaskId::from("t")));
        assert!(!drains.connect("east"), "known already");
        drains.disconnect("east", at(20));
        assert_eq!(drains.next_forgotten(), Some(at(20)));
        assert!(!drains.forget(at(19)));
        assert!(drains.forget(at(20)));
        assert!(!drains.begin(&TaskId::from("u")));
        assert!(drains.connect("east"), "forgotten meanwhile");
    }
}
