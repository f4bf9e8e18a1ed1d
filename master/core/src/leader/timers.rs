//! What the leader waits for, as data: no deadline lives anywhere else.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{AgentId, FrameworkId, OfferId};
use model::time::Time;

use crate::input::StreamId;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The next slice of agents is pinged and looked at.
    Pulse,
    /// The next overdue agent may be declared unreachable.
    Reap,
    /// The window for agents to return after an election closes.
    Recovery,
    /// Agents that are away for good are forgotten.
    Collect,
    /// A scheduler, operator or watch hears a sign of life.
    Heartbeat(StreamId),
    /// A disconnected framework is removed.
    Failover(FrameworkId),
    /// An offer was not answered in time.
    Offer(OfferId),
    /// Frameworks are asked to leave agents.
    Inverse,
    /// Taking an agent down found the log full and is tried again.
    TakeDown(AgentId),
    /// A framework that will not leave an agent is asked again.
    InverseAgain(AgentId, FrameworkId),
}

/// One deadline for each timer; setting it again moves it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Time, Timer)>,
    set: BTreeMap<Timer, Time>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        if let Some(old) = self.set.insert(timer.clone(), at) {
            self.queue.remove(&(old, timer.clone()));
        }
        self.queue.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(old) = self.set.remove(timer) {
            self.queue.remove(&(old, timer.clone()));
        }
    }

    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.set.contains_key(timer)
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the timers that are due. What they set for the same moment waits for the next time, so that a chain of
    /// them cannot keep the loop from everything else.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, timer)) = self.queue.pop_first() else { break };
            self.set.remove(&timer);
            due.push(timer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn setting_again_moves_and_cancelling_forgets() {
        let mut timers = Timers::default();
        timers.set(Timer::Pulse, at(10));
        timers.set(Timer::Reap, at(20));
        timers.set(Timer::Pulse, at(30));
        assert!(timers.is_set(&Timer::Pulse) && !timers.is_set(&Timer::Recovery));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.due(at(19)), []);
        assert_eq!(timers.due(at(25)), [Timer::Reap]);
        assert_eq!(timers.due(at(25)), []);
        timers.cancel(&Timer::Pulse);
        assert_eq!(timers.next(), None);
    }
}
