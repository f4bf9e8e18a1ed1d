//! A run begins when it is due, where nothing stands in its way.

use std::collections::BTreeMap;

use chronos::core::run::{RunId, of_task};
use model::id::TaskId;
use model::time::Time;

use super::Findings;
use super::repeating::Repeating;
use crate::clock::Clock;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "from fifteen seconds after a storm on, a run that nothing stands in the way of begins when it is due, or within ten seconds";

/// From the due time on the run is recorded, offers are asked for and come, others' first perhaps, and the launch is recorded
/// and reaches an agent.
const BOUND: Micros = 10 * SECOND;

/// When the runs of a job are due that nothing stands in the way of, and when they begin.
#[derive(Debug, Default)]
pub struct Punctual {
    /// What the scheduler goes by that leads.
    clock: Option<Clock>,
    /// The job, if it was asked for while this scheduler led.
    job: Option<String>,
    /// True times of those that have yet to be judged.
    due: BTreeMap<RunId, Micros>,
    /// True times of first attempts.
    begun: BTreeMap<RunId, Micros>,
    /// What was seen.
    pub findings: Findings,
}

impl Punctual {
    /// A scheduler leads from now on. What it finds on record is due by the clock of another, and may have had to wait for
    /// it: that is not judged.
    pub fn leads(&mut self, clock: Clock) {
        self.clock = Some(clock);
        self.job = None;
        self.due.clear();
    }

    /// A user asks for a job that is due from now on.
    pub fn asked_for(&mut self, job: &str) {
        self.job = Some(job.to_owned());
    }

    /// The user is told when it is due, which has an end.
    pub fn shown(&mut self, job: &str, schedule: &str) {
        let Some(clock) = self.clock.filter(|_| self.job.as_deref() == Some(job)) else { return };
        let Some(repeating) = Repeating::parse(schedule) else {
            return self.findings.wrong(format!("{job} has the schedule '{schedule}', which nobody posted"));
        };
        let due = repeating.through(Time::MAX);
        self.due.extend(due.map(|due| (RunId::new(job, due), clock.reaches(due))));
    }

    /// A machine begins a task.
    pub fn launched(&mut self, task: &TaskId, now: Micros) {
        let Some((id, _)) = of_task(task.as_str()) else { return };
        if self.job.as_deref() == Some(&*id.job) {
            self.begun.entry(id).or_insert(now);
        }
    }

    /// Time has passed.
    pub fn look(&mut self, now: Micros) {
        let (begun, findings) = (&self.begun, &mut self.findings);
        self.due.retain(|id, due| {
            let (at, until) = (begun.get(id), *due + BOUND);
            let waits = at.is_none() && now <= until;
            if !waits {
                findings.look(at.is_some_and(|at| (*due..=until).contains(at)), || match at {
                    Some(at) => format!("{id} is due at {due} µs and begins at {at} µs"),
                    None => format!("{id} is due at {due} µs and has not begun by {now} µs"),
                });
            }
            waits
        });
    }

    /// What has yet to be judged.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.due.keys().map(|id| format!("{id} has yet to begin"))
    }
}

#[cfg(test)]
mod tests {
    use chronos::core::schedule::iso8601;
    use model::time::Span;

    use super::*;

    const JOB: &str = "job";
    /// An hour ahead, and fast.
    const CLOCK: Clock = Clock { ahead_ms: 3_600_000, rate: 1_000_200 };

    /// Three times, every two seconds from the twentieth on.
    fn due(number: u64) -> Time {
        CLOCK.read(20 * SECOND) + Span::from_secs(2 * number)
    }

    fn shown(punctual: &mut Punctual) {
        punctual.shown(JOB, &format!("R3/{}/PT2S", iso8601(due(0))));
    }

    /// A run begins at a true time.
    fn begins(punctual: &mut Punctual, number: u64, attempt: u32, at: Micros) {
        let task = format!("ct:{}:{attempt}:{JOB}:", due(number).as_millis());
        punctual.launched(&TaskId::from(task), at);
    }

    fn asked_for() -> Punctual {
        let mut punctual = Punctual::default();
        punctual.leads(CLOCK);
        punctual.asked_for(JOB);
        punctual
    }

    /// Whether the last run may begin then, the others being in time.
    fn lawful(last: Micros) -> bool {
        let mut punctual = asked_for();
        begins(&mut punctual, 0, 0, CLOCK.reaches(due(0)));
        shown(&mut punctual);
        begins(&mut punctual, 1, 0, CLOCK.reaches(due(1)) + BOUND);
        begins(&mut punctual, 2, 0, last);
        punctual.look(last + BOUND);
        assert_eq!((punctual.findings.looks, punctual.missing().count()), (3, 0));
        punctual.findings.wrong.is_empty()
    }

    #[test]
    fn a_run_begins_within_the_bound_by_the_clock_of_its_scheduler() {
        let last = CLOCK.reaches(due(2));
        assert!(lawful(last) && lawful(last + BOUND));
        assert!(!lawful(last + BOUND + 1));
        assert!(!lawful(last - 1));
    }

    #[test]
    fn a_run_that_never_begins_is_waited_for_and_then_found() {
        let mut punctual = asked_for();
        shown(&mut punctual);
        begins(&mut punctual, 0, 0, CLOCK.reaches(due(0)));
        begins(&mut punctual, 1, 0, CLOCK.reaches(due(1)));
        let until = CLOCK.reaches(due(2)) + BOUND;
        punctual.look(until);
        assert!(punctual.findings.wrong.is_empty() && punctual.missing().count() == 1);
        punctual.look(until + 1);
        assert!(punctual.findings.wrong.len() == 1 && punctual.missing().count() == 0);
    }

    #[test]
    fn a_retry_begins_when_it_likes_and_another_job_is_nobodys_business() {
        let mut punctual = asked_for();
        shown(&mut punctual);
        for number in 0..3 {
            let at = CLOCK.reaches(due(number));
            begins(&mut punctual, number, 0, at);
            begins(&mut punctual, number, 1, at + 2 * BOUND);
        }
        punctual.shown("other", "R1/1970-01-01T00:00:00Z/PT1M");
        punctual.look(Micros::MAX);
        assert!(punctual.findings.wrong.is_empty() && punctual.findings.looks == 3);
    }

    #[test]
    fn what_was_due_by_the_clock_of_an_earlier_leader_is_not_judged() {
        let mut before = asked_for();
        before.leads(Clock::TRUE);
        shown(&mut before);
        let mut after = asked_for();
        shown(&mut after);
        after.leads(Clock::TRUE);
        for mut punctual in [before, after] {
            assert_eq!(punctual.missing().count(), 0);
            punctual.look(Micros::MAX);
            assert_eq!(punctual.findings.looks, 0);
        }
    }
}
