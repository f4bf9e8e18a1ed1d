//! Due times: each gets one outcome, a run or a reason why there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::time::{Span, Time};

use super::super::book::Wait;
use super::super::definition::{CatchUp, ConcurrencyPolicy};
use super::super::job::Job;
use super::super::message::{Effect, Event};
use super::super::run::{Run, RunId, State, Trigger};
use super::super::schedule::Schedule;
use super::queue::{Place, Turn};
use super::{Scheduler, Timer};
use crate::limits;

/// What a run is made for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) trigger: Trigger,
    pub(super) arguments: Option<String>,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) token: String,
    /// Runs of its parents.
    pub(super) parents: Vec<String>,
    /// In place of the job's own.
    pub(super) policy: Option<ConcurrencyPolicy>,
}

impl From<Trigger> for Wanted {
    fn from(trigger: Trigger) -> Self {
        Self {
            trigger,
            arguments: None,
            parameters: BTreeMap::new(),
            token: String::new(),
            parents: Vec::new(),
            policy: None,
        }
    }
}

impl Scheduler {
    /// The schedule of a job has come to a due time, or to several if nobody was there.
    pub(super) fn due(&mut self, now: Time, name: &Arc<str>, out: &mut Vec<Effect>) {
        let Some(job) = self.book.job(name).cloned() else { return };
        let rests = job.definition.disabled || job.definition.suspend;
        let (Some(schedule), false) = (job.schedule.clone(), rests) else { return };
        if let Some(missed) = schedule.missed(job.status.through, now) {
            let catch_up = if missed.count == 1 { CatchUp::Latest } else { job.catch_up() };
            match catch_up {
                CatchUp::All => self.run_all(now, &job, &schedule, missed.last, out),
                CatchUp::Latest | CatchUp::None => {
                    let late = is_late(&job, now, missed.last);
                    if missed.count > 1 && !late {
                        let while_what = job.status.absence(missed.first, missed.last);
                        let reason = &format!("missed while {while_what}: only the latest is made up for");
                        let before = missed.last - Span::from_millis(1);
                        if let Some(earlier) = schedule.missed(job.status.through, before) {
                            let earlier = (earlier.first, earlier.last, earlier.count);
                            self.skip_range(now, name, earlier, reason, out);
                        }
                    }
                    if late {
                        self.skip_late(now, &job, (missed.first, missed.last, missed.count), out);
                    } else {
                        self.start(now, name, missed.last, Trigger::Schedule.into(), out);
                    }
                }
            }
            // After the outcomes: were the two torn apart, the outcomes would be found and not made again.
            self.note(name, out, |status| status.through = Some(missed.last));
        }
        self.watch(name);
    }

    /// Every occurrence runs, one after the other, but for those that are too late or too many.
    fn run_all(&mut self, now: Time, job: &Job, schedule: &Schedule, last: Time, out: &mut Vec<Effect>) {
        let name: Arc<str> = job.name().into();
        let mut from = job.status.through;
        if let Some(tolerance) = job.tolerance {
            let edge = (now - tolerance) - Span::from_millis(1);
            if let Some(late) = schedule.missed(from, edge) {
                self.skip_late(now, job, (late.first, late.last, late.count), out);
                from = Some(late.last);
            }
        }
        let all = |from: Option<Time>| {
            let first = schedule.next_after(from).filter(|first| *first <= last);
            std::iter::successors(first, |at| schedule.next_after(Some(*at)).filter(|next| *next <= last))
        };
        let many = all(from).skip(limits::CATCH_UP).count();
        if many > 0 {
            let old: Vec<Time> = all(from).take(many).collect();
            let reason = format!("missed, and {} later ones are made up for already", limits::CATCH_UP);
            self.skip_range(now, &name, (old[0], old[many - 1], many as u64), &reason, out);
            from = Some(old[many - 1]);
        }
        for due in all(from).collect::<Vec<_>>() {
            let one_by_one = Wanted { policy: Some(ConcurrencyPolicy::Queue), ..Trigger::Schedule.into() };
            self.start(now, &name, due, one_by_one, out);
        }
    }

    fn skip_late(&mut self, now: Time, job: &Job, range: (Time, Time, u64), out: &mut Vec<Effect>) {
        let tolerance = job.tolerance.unwrap_or_default();
        let reason = format!("{} late, at most {tolerance} is tolerated", now - range.1);
        self.tell(job.name(), Event::Missed, reason.clone(), out);
        self.skip_range(now, &job.name().into(), range, &reason, out);
    }

    /// Records that due times did not lead to a run.
    fn skip_range(
        &mut self,
        now: Time,
        name: &Arc<str>,
        (first, last, count): (Time, Time, u64),
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        #[cfg(feature = "mutants")]
        if mutant::planted("missed-due-times-are-not-recorded") {
            return;
        }
        let id = RunId::new(Arc::clone(name), first);
        if self.book.runs.contains_key(&id) {
            return;
        }
        let mut run = Run::new(now, id, Trigger::Schedule);
        run.up_to = (count > 1).then_some(last);
        run.count = count;
        self.end_unrun(now, run, State::Skipped, reason, out);
    }

    /// Makes the run of a due time, or records why not. Returns its name.
    pub(super) fn start(
        &mut self,
        now: Time,
        name: &Arc<str>,
        due: Time,
        wanted: Wanted,
        out: &mut Vec<Effect>,
    ) -> RunId {
        let id = RunId::new(Arc::clone(name), due);
        let Some(job) = self.book.job(name).cloned() else { return id };
        if self.book.runs.contains_key(&id) {
            // A step that was stored in part and is made again.
            return id;
        }
        let mut run = Run::new(now, id.clone(), wanted.trigger);
        run.arguments = wanted.arguments;
        run.parameters = wanted.parameters;
        run.token = wanted.token;
        run.parents = wanted.parents;
        run.parts = job.parts();
        run.deadline = job.deadline.map(|deadline| deadline.of(due));
        let others = self.book.active_of(name);
        let busy = others.iter().find(|other| !other.is_between_attempts());
        match wanted.policy.unwrap_or_else(|| job.concurrency()) {
            _ if job.definition.disabled => {
                self.end_unrun(now, run, State::Skipped, "the job is disabled", out);
                return id;
            }
            ConcurrencyPolicy::Forbid if busy.is_some() => {
                let other = busy.map(|run| super::super::schedule::iso8601(run.due)).unwrap_or_default();
                let reason = format!("the run of {other} is not over, and runs must not overlap");
                self.end_unrun(now, run, State::Skipped, &reason, out);
                return id;
            }
            ConcurrencyPolicy::Replace => {
                for other in &others {
                    self.kill_run(now, other, "replaced by a newer run", out);
                }
            }
            _ => {}
        }
        if others.len() >= limits::ACTIVE_RUNS {
            let reason = format!("{} runs of this job are not over yet", others.len());
            self.end_unrun(now, run, State::Skipped, &reason, out);
            return id;
        }
        let run = self.save(run, out);
        self.enqueue(now, &run);
        self.watch_deadline(&run);
        id
    }

    /// The priority that counts: its own, as far as its queue allows.
    pub(super) fn priority(&self, job: &Job) -> i32 {
        let high = if job.definition.high_priority { limits::HIGH_PRIORITY } else { 0 };
        let own = job.definition.priority.unwrap_or(high);
        let most = self.book.queues.get(job.queue()).and_then(|rule| rule.max_priority);
        most.map_or(own, |most| own.min(most))
    }

    /// Lines a run up, or sets the time when it is to be.
    pub(super) fn enqueue(&mut self, now: Time, run: &Run) {
        let id = run.id();
        if !self.has_turn(run) {
            return;
        }
        if let Some(at) = run.not_before.filter(|at| *at > now) {
            self.timers.put(Timer::Attempt(id), Some(at));
            return;
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("runs-begin-late") && now < run.due + Span::from_mins(1) {
            self.timers.put(Timer::Attempt(id), Some(run.due + Span::from_mins(1)));
            return;
        }
        let Some(job) = self.book.job(&run.job) else { return };
        if let Some(tolerance) =
            job.tolerance.filter(|_| run.state == State::Waiting && run.attempt == 0 && run.task.is_none())
        {
            self.timers.put(Timer::TooLate(id.clone()), Some(run.due + tolerance + Span::from_millis(1)));
        }
        if job.definition.suspend {
            return;
        }
        let since = run.not_before.unwrap_or(run.created);
        // It stands aside already.
        if self.book.waiting.get(&id) == Some(&Wait::Turn) {
            return;
        }
        let next = run.parts.as_ref().and_then(|parts| parts.next(&job.steps));
        let turn = Turn {
            priority: self.priority(job),
            queue: job.queue().into(),
            shape: job.work(run.part.or(next)).shape,
            place: Place { latest: self.latest_start(run), since, run: id.clone() },
        };
        let preempts = job.definition.preempts;
        let share = self.book.share(&turn.queue);
        self.book.waiting.insert(id.clone(), Wait::Room(Arc::clone(&turn.shape)));
        let new = self.queue.insert(turn, share);
        self.revive |= new;
        if new && preempts {
            self.timers.put(Timer::Preempt(id), Some(now + limits::PREEMPT_AFTER));
        }
    }

    /// It found no resources in time.
    pub(super) fn too_late(&mut self, now: Time, id: &RunId, out: &mut Vec<Effect>) {
        let Some(run) = self.book.runs.get(id).filter(|run| run.state == State::Waiting).cloned() else {
            return;
        };
        let why = self.book.waits_for(id).unwrap_or("no offer came");
        let reason = format!("could not begin in time: {why}");
        self.tell(&id.job, Event::Missed, reason.clone(), out);
        self.end_unrun(now, (*run).clone(), State::Skipped, &reason, out);
    }

    /// Ends a run that has no task.
    pub(super) fn end_unrun(
        &mut self,
        now: Time,
        mut run: Run,
        state: State,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        if run.part.is_some() {
            return self.part_over(now, run, state, reason, out);
        }
        run.state = state;
        run.reason = reason.to_owned();
        run.finished = Some(now);
        let run = self.save(run, out);
        self.unqueue(&run.id());
        self.ended(now, &run, out);
    }

    pub(super) fn unqueue(&mut self, id: &RunId) {
        for timer in [Timer::Attempt(id.clone()), Timer::TooLate(id.clone())] {
            self.timers.put(timer, None);
        }
        self.park(id);
    }

    /// Takes a run out of the queue; its time still runs out.
    pub(super) fn park(&mut self, id: &RunId) {
        self.queue.remove(id);
        self.release(id);
        self.release_room(id);
        self.book.waiting.remove(id);
        self.timers.put(Timer::Preempt(id.clone()), None);
    }
}

fn is_late(job: &Job, now: Time, due: Time) -> bool {
    job.tolerance.is_some_and(|tolerance| now - due > tolerance)
}
