//! Asking the master how tasks stand until it has spoken of each.
//!
//! A new master learns of tasks only as agents come back to it, and says nothing about those on agents that are still on
//! their way. So the question is repeated, with growing pauses, for the tasks it has not spoken of. Besides, it is asked in
//! general now and then, which tells of tasks that the framework does not know. Passive: it is told the time.

use std::collections::BTreeMap;

use model::id::{AgentId, TaskId};
use model::time::{Span, Time};
use wire::scheduler::Call;

use crate::{call, limits};

/// What is still to be asked.
#[derive(Debug, Default)]
pub struct Reconciler {
    /// Tasks nobody has spoken of since the question arose.
    open: BTreeMap<TaskId, Option<AgentId>>,
    /// When they are asked about; `None` while nothing is open or there is no master.
    ask_at: Option<Time>,
    pause: Span,
    /// When the next question in general is due; `None` while there is no master.
    all_at: Option<Time>,
}

impl Reconciler {
    /// A stream has begun: everything is asked about, at once.
    pub fn subscribed(&mut self, now: Time, tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) {
        #[cfg(feature = "mutants")]
        if mutant::planted("nobody-asks-about-tasks") {
            return;
        }
        self.all_at = Some(now);
        self.open = tasks.into_iter().collect();
        self.pause = limits::RECONCILE_FIRST;
        self.ask_at = (!self.open.is_empty()).then_some(now);
    }

    /// There is no master to ask.
    pub fn disconnected(&mut self) {
        self.all_at = None;
        self.ask_at = None;
    }

    /// These may or may not have been launched: asked about a little later, as they may be on their way.
    pub fn uncertain(&mut self, now: Time, tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) {
        self.open.extend(tasks);
        self.pause = limits::RECONCILE_FIRST;
        if self.all_at.is_some() && !self.open.is_empty() {
            let at = now + self.pause;
            self.ask_at = Some(self.ask_at.map_or(at, |due| due.min(at)));
        }
    }

    /// Its agent cannot be reached, which is no last word: should the agent come back without it, nobody says so unasked.
    pub fn unreachable(&mut self, now: Time, task: TaskId, agent: Option<AgentId>) {
        if self.open.insert(task, agent).is_none() && self.ask_at.is_none() && self.all_at.is_some() {
            self.pause = limits::RECONCILE_FIRST;
            self.ask_at = Some(now + self.pause);
        }
    }

    /// The master, or an agent, has spoken of it.
    pub fn answered(&mut self, task: &TaskId) {
        self.open.remove(task);
        if self.open.is_empty() {
            self.ask_at = None;
        }
    }

    /// The questions that are due.
    pub fn due(&mut self, now: Time) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.all_at.is_some_and(|at| now >= at) {
            calls.push(call::reconcile([]));
            self.all_at = Some(now + limits::RECONCILE_ALL);
        }
        if self.ask_at.is_some_and(|at| now >= at) {
            let open: Vec<_> = self.open.iter().map(|(task, agent)| (task.clone(), agent.clone())).collect();
            calls.extend(
                open.chunks(limits::RECONCILE_TASKS).map(|chunk| call::reconcile(chunk.iter().cloned())),
            );
            self.ask_at = Some(now + self.pause);
            self.pause = self.pause.saturating_mul(2).min(limits::RECONCILE_LONGEST);
        }
        calls
    }

    /// When [`Self::due`] has something to say.
    pub fn next_deadline(&self) -> Option<Time> {
        self.ask_at.into_iter().chain(self.all_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    fn tasks(names: &[&str]) -> Vec<(TaskId, Option<AgentId>)> {
        names.iter().map(|name| (TaskId::from(*name), None)).collect()
    }

    /// The tasks asked about, call by call; a question in general has none.
    fn asked(calls: Vec<Call>) -> Vec<Vec<String>> {
        let names = |call: Call| {
            let tasks = call.reconcile.unwrap().tasks;
            tasks.into_iter().map(|task| task.task_id.value).collect()
        };
        calls.into_iter().map(names).collect()
    }

    #[test]
    fn what_is_not_answered_is_asked_again_with_growing_pauses() {
        let mut reconciler = Reconciler::default();
        reconciler.subscribed(at(0), tasks(&["a", "b"]));
        assert_eq!(asked(reconciler.due(at(0))), [vec![], vec!["a", "b"]]);
        reconciler.answered(&"a".into());
        let mut pauses = Vec::new();
        let mut now = at(0);
        for _ in 0..6 {
            let due = reconciler.next_deadline().unwrap();
            assert!(asked(reconciler.due(due)).contains(&vec!["b".to_owned()]));
            pauses.push(due.since(now).as_millis() / 1000);
            now = due;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60]);
        reconciler.answered(&"b".into());
        assert_eq!(reconciler.next_deadline(), Some(at(0) + limits::RECONCILE_ALL));
    }

    #[test]
    fn a_task_out_of_reach_is_asked_about_until_there_is_more_to_say() {
        let mut reconciler = Reconciler::default();
        reconciler.subscribed(at(0), []);
        reconciler.due(at(0));
        reconciler.unreachable(at(1), "a".into(), None);
        for due in [3, 5, 9, 17] {
            assert_eq!(reconciler.next_deadline(), Some(at(due)));
            assert_eq!(asked(reconciler.due(at(due))), [vec!["a"]]);
            reconciler.unreachable(at(due), "a".into(), None);
        }
        reconciler.answered(&"a".into());
        assert_eq!(reconciler.next_deadline(), Some(at(0) + limits::RECONCILE_ALL));
    }

    #[test]
    fn without_a_master_nothing_is_asked_and_afterwards_everything() {
        let mut reconciler = Reconciler::default();
        assert_eq!(reconciler.next_deadline(), None);
        reconciler.uncertain(at(0), tasks(&["a"]));
        assert_eq!(reconciler.next_deadline(), None);
        reconciler.subscribed(at(1), tasks(&["a", "b"]));
        reconciler.disconnected();
        assert_eq!((reconciler.next_deadline(), asked(reconciler.due(at(9)))), (None, vec![]));
        reconciler.subscribed(at(10), tasks(&["b"]));
        assert_eq!(asked(reconciler.due(at(10))), [vec![], vec!["b"]]);
    }

    #[test]
    fn an_uncertain_launch_is_asked_about_a_little_later() {
        let mut reconciler = Reconciler::default();
        reconciler.subscribed(at(0), []);
        reconciler.due(at(0));
        reconciler.uncertain(at(5), tasks(&["a"]));
        assert_eq!(asked(reconciler.due(at(5))), Vec::<Vec<String>>::new());
        assert_eq!(reconciler.next_deadline(), Some(at(5) + limits::RECONCILE_FIRST));
        assert_eq!(asked(reconciler.due(at(7))), [vec!["a"]]);
    }

    #[test]
    fn a_long_list_is_asked_in_parts() {
        let mut reconciler = Reconciler::default();
        let many = (0..=limits::RECONCILE_TASKS).map(|n| (TaskId::from(format!("t{n}")), None));
        reconciler.subscribed(at(0), many);
        let sizes: Vec<usize> = asked(reconciler.due(at(0))).iter().map(Vec::len).collect();
        assert_eq!(sizes, [0, limits::RECONCILE_TASKS, 1]);
    }
}
