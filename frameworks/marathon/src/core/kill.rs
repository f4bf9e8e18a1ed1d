//! Kills on their way: bounded in number, repeated until confirmed.

use std::collections::BTreeMap;

use model::id::{AgentId, TaskId};
use model::time::{Span, Time};

use crate::limits;

/// What it takes to kill a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    pub task: TaskId,
    pub agent: AgentId,
    pub grace: Option<Span>,
}

/// Kills sent and kills waiting for their turn.
#[derive(Debug, Default)]
pub struct Kills {
    sent: BTreeMap<TaskId, (Kill, Time)>,
    /// In order of arrival.
    waiting: BTreeMap<u64, Kill>,
    places: BTreeMap<TaskId, u64>,
    arrived: u64,
}

impl Kills {
    /// Asks for a kill; asking again changes nothing.
    pub fn add(&mut self, kill: Kill) {
        if !self.contains(&kill.task) {
            self.arrived += 1;
            self.places.insert(kill.task.clone(), self.arrived);
            self.waiting.insert(self.arrived, kill);
        }
    }

    pub fn contains(&self, task: &TaskId) -> bool {
        self.sent.contains_key(task) || self.places.contains_key(task)
    }

    /// The task has ended, or cannot be killed.
    pub fn done(&mut self, task: &TaskId) {
        self.sent.remove(task);
        if let Some(place) = self.places.remove(task) {
            self.waiting.remove(&place);
        }
    }

    /// The kills to send now: new ones while there is room, and those without an answer for too long.
    pub fn due(&mut self, now: Time) -> Vec<Kill> {
        let mut due = Vec::new();
        for (kill, sent) in self.sent.values_mut() {
            #[cfg(feature = "mutants")]
            if mutant::planted("kills-are-not-repeated") {
                continue;
            }
            if *sent + limits::KILL_RETRY <= now {
                *sent = now;
                due.push(kill.clone());
            }
        }
        while self.sent.len() < limits::KILLS_IN_FLIGHT {
            let Some((_, kill)) = self.waiting.pop_first() else { break };
            self.places.remove(&kill.task);
            self.sent.insert(kill.task.clone(), (kill.clone(), now));
            due.push(kill);
        }
        due
    }

    /// When the next repetition is due.
    pub fn next(&self) -> Option<Time> {
        self.sent.values().map(|(_, sent)| *sent + limits::KILL_RETRY).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill(n: usize) -> Kill {
        Kill { task: TaskId::from(format!("t{n:03}")), agent: AgentId::from("a"), grace: None }
    }

    #[test]
    fn bounded_and_repeated() {
        let mut kills = Kills::default();
        for n in 0..limits::KILLS_IN_FLIGHT + 2 {
            kills.add(kill(n));
            kills.add(kill(n));
        }
        let start = Time::from_secs(1);
        assert_eq!(kills.due(start).len(), limits::KILLS_IN_FLIGHT);
        assert_eq!(kills.due(start), []);
        kills.done(&kill(0).task);
        assert_eq!(kills.due(start), [kill(limits::KILLS_IN_FLIGHT)]);
        kills.done(&kill(limits::KILLS_IN_FLIGHT + 1).task);
        assert!(!kills.contains(&kill(limits::KILLS_IN_FLIGHT + 1).task));
        assert_eq!(kills.next(), Some(start + limits::KILL_RETRY));
        assert_eq!(kills.due(start + limits::KILL_RETRY).len(), limits::KILLS_IN_FLIGHT);
    }
}
