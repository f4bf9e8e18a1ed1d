//! Until when a run is to be finished: who goes first because of it, and who is told that it will not be.

use std::sync::Arc;

use model::time::{Span, Time};

use super::super::message::{Effect, Event};
use super::super::run::{Run, RunId, State};
use super::super::schedule::iso8601;
use super::{Scheduler, Timer};

impl Scheduler {
    /// When a run has to begin to be finished in time, as long as its job usually takes.
    pub(super) fn latest_start(&self, run: &Run) -> Time {
        match run.deadline {
            // An empty calendar: no job, no history, no haste.
            None => Time::MAX,
            Some(deadline) => deadline - self.book.typical(&run.job).unwrap_or_default(),
        }
    }

    /// Sets the time when its owner is to be told.
    pub(super) fn watch_deadline(&mut self, run: &Run) {
        let wanted = run.deadline.is_some() && !run.late && run.part.is_none() && !run.state.is_over();
        let at = wanted.then(|| self.latest_start(run) + Span::from_millis(1));
        self.timers.put(Timer::Slack(run.id()), at);
    }

    /// It should have begun by now, or have ended.
    pub(super) fn pressed(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        let Some(run) = self.run(id).filter(|run| !run.state.is_over() && !run.late) else { return };
        let Some(deadline) = run.deadline else { return };
        let by = iso8601(deadline);
        let waits = run.state == State::Waiting;
        if !waits && now <= deadline {
            self.timers.put(Timer::Slack(id.clone()), Some(deadline + Span::from_millis(1)));
            return;
        }
        let message = if now > deadline {
            format!("run {id} is not finished by {by}")
        } else {
            let why = self.book.waits_for(id).unwrap_or("no offer came");
            let takes = self.book.typical(&id.job).unwrap_or_default();
            format!("run {id} will not be finished by {by}: it takes {takes} and has not begun: {why}")
        };
        let mut run = Arc::unwrap_or_clone(run);
        run.late = true;
        self.save(run, out);
        self.tell(&id.job, Event::Late, message, out);
    }
}
