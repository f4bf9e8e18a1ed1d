//! Load balancers that want to let go of an instance before it is killed.

use std::collections::{BTreeMap, BTreeSet};

use model::id::TaskId;

/// Connected drainers, and the tasks they have not yet let go of.
#[derive(Debug, Clone, Default)]
pub struct Drains {
    /// Streams open under each name: a name with none is not waited for in later drains.
    connected: BTreeMap<String, u32>,
    waiting: BTreeMap<TaskId, BTreeSet<String>>,
}

impl Drains {
    pub fn connect(&mut self, name: &str) {
        *self.connected.entry(name.to_owned()).or_insert(0) += 1;
    }

    /// Drains already begun still wait for it: it may well be back, still sending requests to those tasks.
    pub fn disconnect(&mut self, name: &str) {
        if let Some(streams) = self.connected.get_mut(name) {
            *streams -= 1;
            if *streams == 0 {
                self.connected.remove(name);
            }
        }
    }

    /// Starts to wait for every connected drainer. False when there is none, and nothing to wait for.
    pub fn begin(&mut self, task: &TaskId) -> bool {
        if self.connected.is_empty() {
            return false;
        }
        self.waiting.insert(task.clone(), self.connected.keys().cloned().collect());
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

    #[test]
    fn every_connected_drainer_is_waited_for() {
        let mut drains = Drains::default();
        let task = TaskId::from("t");
        assert!(!drains.begin(&task));
        drains.connect("a");
        drains.connect("a");
        drains.connect("b");
        drains.disconnect("a");
        assert!(drains.begin(&task));
        drains.disconnect("b");
        assert!(!drains.acknowledge("b", &task));
        assert_eq!(drains.waited_for(&task).collect::<Vec<_>>(), ["a"]);
        assert!(!drains.acknowledge("stranger", &task));
        assert!(drains.acknowledge("a", &task));
        drains.end(&task);
        assert!(!drains.acknowledge("a", &task));
        assert_eq!(drains.names().collect::<Vec<_>>(), ["a"]);
    }
}
