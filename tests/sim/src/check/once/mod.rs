//! Every due time of a job has one recorded outcome, which is what really happened.
//!
//! What is recorded is read as it is written, revision by revision, from the masters' key-value space; what really runs is
//! told by the machines.

mod attempts;

use std::collections::{BTreeMap, BTreeSet};

use chronos::core::job::{JobRecord, Status};
use chronos::core::run::{Run, RunId, State, Trigger, of_task};
use master_core::registry::{Event, Index, Registry, Watcher};
use model::id::TaskId;
use model::time::{Span, Time};

use self::attempts::Attempts;
use super::Findings;
use super::repeating::Repeating;
use crate::machine::batch::NAMESPACE;
use crate::net::{Host, Micros};

/// What is promised.
pub const PROMISE: &str = "each due time of a job has one recorded outcome and is run once; none is forgotten, nor is a job that was taken";

/// Under which the kit keeps a scheduler's records.
const RECORDS: &str = "records/";
/// A job that is disabled just when it is due may or may not run then.
const JUST: Span = Span::from_secs(2);

/// What is on record of a job.
#[derive(Debug, Default)]
struct Job {
    present: bool,
    /// Its schedule, and what it was before: one that has come to its end begins anew when it is posted again.
    schedules: Vec<(String, Option<Repeating>)>,
    parents: BTreeSet<String>,
    disabled: bool,
    /// Runs that are over and are to be kept, and how many there are.
    keeps: usize,
    over: usize,
    through: Option<Time>,
    disabled_since: Option<Time>,
    /// Runs it should have had because its parent succeeded, and those it had.
    owed: u64,
    paid: u64,
}

/// What is, or was, on record of a run.
#[derive(Debug)]
struct Entry {
    last: Run,
    /// Its tasks, each with those that were given up, and not heard of again, by the record before the first that named it.
    tasks: BTreeMap<String, BTreeSet<String>>,
    gone: bool,
}

/// Records and truth.
#[derive(Debug, Default)]
pub struct Once {
    watcher: Option<Watcher>,
    jobs: BTreeMap<String, Job>,
    runs: BTreeMap<RunId, Entry>,
    attempts: Attempts,
    removals: BTreeSet<String>,
    /// Jobs that came with the revision being looked at: whether they were there before what it says of others is not told.
    fresh: BTreeSet<String>,
    /// Jobs whose definition did: of several that were stored at once only the last is seen.
    redefined: BTreeSet<String>,
    /// The run that each request was for.
    tokens: BTreeMap<(String, String), RunId>,
    /// What was seen.
    pub findings: Findings,
}

impl Once {
    // --- what users were told

    /// A user wants a job gone.
    pub fn removal_asked(&mut self, job: &str) {
        self.removals.insert(job.to_owned());
    }

    /// A user was told that a job is there.
    pub fn added(&mut self, job: &str) {
        let kept = self.jobs.get(job).is_some_and(|known| known.present) || self.removals.contains(job);
        self.findings.look(kept, || format!("{job} was taken and is not on record"));
    }

    /// A user was told that a run was made.
    pub fn triggered(&mut self, job: &str, run: &RunId, token: &str) {
        let known = self.tokens.get(&(job.to_owned(), token.to_owned())) == Some(run);
        self.findings.look(known, || format!("{run} was promised for '{token}' and is not on record"));
    }

    // --- what really runs

    /// A machine begins a task, which ends then, and well, unless something happens to it.
    pub fn launched(&mut self, task: &TaskId, host: Host, now: Micros, ends: Option<Micros>, well: bool) {
        let Some((id, _)) = of_task(task.as_str()) else { return };
        let entry = self.runs.get(&id);
        let missing = entry.and_then(|entry| entry.tasks.get(task.as_str()));
        let over = entry.is_some_and(|entry| entry.last.state.is_over());
        let none = BTreeSet::new();
        let wrong = self.attempts.begins(&id, task, host, now, (ends, well), missing.unwrap_or(&none));
        self.findings
            .look(missing.is_some(), || format!("{task} begins at {now} µs and was not recorded before"));
        self.findings.look(!over, || format!("{task} begins at {now} µs, after the end of its run"));
        self.findings
            .look(wrong.is_none(), || format!("{task} begins at {now} µs: {}", wrong.unwrap_or_default()));
    }

    /// A task ends at another time, or in another way, than it was to.
    pub fn ends(&mut self, task: &TaskId, at: Micros, well: bool) {
        self.attempts.ends(task, at, well);
    }

    /// A task that was ordered is never begun.
    pub fn never(&mut self, task: &TaskId) {
        self.attempts.ends(task, 0, false);
    }

    /// A machine has stopped, with all that ran on it.
    pub fn stopped(&mut self, host: Host, now: Micros) {
        self.attempts.stopped(host, now);
    }

    // --- what is recorded

    /// The registry right after an entry, when anybody is there for the first time.
    pub fn learn(&mut self, view: &Registry) {
        let first = || Watcher::new(NAMESPACE.into(), RECORDS.into(), 1);
        let mut watcher = self.watcher.take().unwrap_or_else(first);
        loop {
            match watcher.poll(view) {
                Ok(batch) => {
                    for revision in batch.events.chunk_by(|(one, _), (other, _)| one == other) {
                        self.revision(revision);
                    }
                    if !batch.more {
                        break;
                    }
                }
                Err(gone) => return self.findings.wrong(gone.to_string()),
            }
        }
        self.watcher = Some(watcher);
    }

    /// What was written at once: jobs before what refers to them, removals last.
    fn revision(&mut self, events: &[(Index, Event)]) {
        let (mut statuses, mut runs, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        self.fresh.clear();
        self.redefined.clear();
        for (_, event) in events {
            let key = event.key().strip_prefix(RECORDS).unwrap_or_default();
            let value = match event {
                Event::Put(entry) => Some(&entry.value[..]),
                Event::Delete { .. } => None,
            };
            match (key.split_once('/'), value) {
                (Some(("job", name)), Some(value)) => self.put_job(name, value),
                (Some(("job", name)), None) => self.remove_job(name),
                (Some(("status", name)), Some(value)) => statuses.push((name, value)),
                (Some(("run", id)), Some(value)) => runs.push((id, value)),
                (Some(("run", id)), None) => gone.extend(RunId::parse(id)),
                _ => {}
            }
        }
        for (name, value) in statuses {
            self.put_status(name, value);
        }
        for (id, value) in runs {
            match serde_json::from_slice::<Run>(value) {
                Ok(run) => self.put_run(run),
                Err(error) => self.findings.wrong(format!("the record of {id}: {error}")),
            }
        }
        let mut trimmed: BTreeSet<String> = BTreeSet::new();
        for id in gone {
            self.remove_run(&id, &mut trimmed);
        }
        for name in trimmed {
            let Some(job) = self.jobs.get(&name).filter(|job| job.present) else { continue };
            let (over, keeps) = (job.over, job.keeps);
            self.findings.look(over >= keeps, || format!("of {name} {over} runs are kept, not {keeps}"));
        }
    }

    fn put_job(&mut self, name: &str, value: &[u8]) {
        let record: JobRecord = match serde_json::from_slice(value) {
            Ok(record) => record,
            Err(error) => return self.findings.wrong(format!("the record of {name}: {error}")),
        };
        self.redefined.insert(name.to_owned());
        let definition = record.definition;
        let job = self.jobs.entry(name.to_owned()).or_default();
        if !job.present {
            // It may have been there under this name before.
            *job = Job { present: true, ..Job::default() };
            self.fresh.insert(name.to_owned());
            self.runs.retain(|id, entry| *id.job != *name || !entry.gone);
        }
        job.parents = definition.parents.unwrap_or_default();
        job.disabled = definition.disabled;
        job.keeps = definition.history_limit.unwrap_or(chronos::limits::HISTORY);
        let Some(text) = definition.schedule else { return };
        if job.schedules.last().is_some_and(|(known, _)| *known == text) {
            return;
        }
        let repeating = Repeating::parse(&text);
        let moved = job.schedules.last().and_then(|(_, repeating)| repeating.as_ref());
        let goes_on = moved.is_some_and(|repeating| match job.through {
            Some(through) => repeating.after(through).is_some(),
            None => true,
        });
        job.schedules.push((text, repeating));
        let fine = !goes_on || self.removals.contains(name);
        self.findings.look(fine, || format!("the schedule of {name} begins anew before it has ended"));
    }

    fn remove_job(&mut self, name: &str) {
        let wanted = self.removals.contains(name);
        if let Some(job) = self.jobs.get_mut(name) {
            job.present = false;
        }
        self.findings.look(wanted, || format!("{name} is gone and nobody wanted it"));
    }

    fn put_status(&mut self, name: &str, value: &[u8]) {
        let Some(job) = self.jobs.get_mut(name) else { return };
        match serde_json::from_slice::<Status>(value) {
            Ok(status) => {
                job.through = status.through;
                job.disabled_since = status.disabled_since;
            }
            Err(error) => self.findings.wrong(format!("the status of {name}: {error}")),
        }
    }

    fn put_run(&mut self, run: Run) {
        let id = run.id();
        let task = run.task.as_ref().map(|task| task.id.clone());
        let before = self.runs.get(&id);
        let again = before.is_some_and(|entry| entry.gone);
        let other =
            before.filter(|entry| entry.last.state.is_over() && entry.last.state != run.state && !entry.gone);
        let other = other.map(|entry| entry.last.state.name());
        let ends = run.state.is_over() && before.is_none_or(|entry| !entry.last.state.is_over());
        let first = before.is_none();
        self.findings.look(!again, || format!("{id} is made again, its record was gone"));
        self.findings.look(other.is_none(), || format!("{id} was {other:?} and is {}", run.state.name()));
        if !run.token.is_empty() && id.part.is_none() {
            let key = (run.job.to_string(), run.token.clone());
            let known = self.tokens.entry(key).or_insert_with(|| id.clone()).clone();
            self.findings.look(known == id, || format!("{known} and {id} were made for one request"));
        }
        let entry = self.runs.entry(id.clone()).or_insert_with(|| Entry {
            last: run.clone(),
            tasks: BTreeMap::new(),
            gone: false,
        });
        let former = std::mem::replace(&mut entry.last, run.clone());
        if let Some(task) = task {
            // What was given up and then heard of, before there was room for the next, was given up all the same.
            let missing = || former.missing().chain(run.missing()).map(|(task, _)| task.to_owned()).collect();
            entry.tasks.entry(task).or_insert_with(missing);
        }
        if first && id.part.is_none() {
            self.made(&id, &run);
        }
        if ends && id.part.is_none() {
            self.over(&id, &run);
        }
    }

    /// A run is on record for the first time.
    fn made(&mut self, id: &RunId, run: &Run) {
        let Some(job) = self.jobs.get_mut(&*run.job) else { return };
        job.paid += u64::from(run.trigger == Trigger::Parents && !self.fresh.contains(&*run.job));
        let mut schedules = job.schedules.iter().filter_map(|(_, repeating)| repeating.as_ref());
        let due = schedules
            .any(|repeating| repeating.has(run.due) && run.up_to.is_none_or(|last| repeating.has(last)));
        let scheduled = run.trigger == Trigger::Schedule;
        // One that has begun anew may be due at any time that was free before, and one that was posted twice before it was
        // stored has runs of a schedule that nobody sees.
        let certain = (scheduled || job.schedules.len() == 1) && !self.redefined.contains(&*run.job);
        self.findings.look(due == scheduled || !certain, || {
            format!("{id} was made for {:?}; its job is due then: {due}", run.trigger)
        });
    }

    /// A run has its outcome.
    fn over(&mut self, id: &RunId, run: &Run) {
        let begun = match &run.parts {
            None => self.attempts.any(id),
            Some(parts) => (0..parts.size).any(|part| self.attempts.any(&id.part(part))),
        };
        let done = match &run.parts {
            None => self.attempts.done(id),
            Some(parts) => (0..parts.size).all(|part| self.attempts.done(&id.part(part))),
        };
        let fine = match run.state {
            State::Succeeded => done,
            State::Skipped => !begun && !run.reason.is_empty(),
            State::Failed => !run.reason.is_empty() && !self.did(run),
            _ => !run.reason.is_empty(),
        };
        self.findings.look(fine, || {
            let state = run.state.name();
            format!("{id} is recorded as {state} ('{}'); begun: {begun}, done: {done}", run.reason)
        });
        if let Some(job) = self.jobs.get_mut(&*run.job) {
            job.over += 1;
        }
        if run.state == State::Succeeded {
            let waits = |job: &Job| job.present && !job.disabled && job.parents.contains(&*run.job);
            for (name, job) in &mut self.jobs {
                job.owed += u64::from(waits(job) && !self.fresh.contains(name));
            }
        }
    }

    /// Whether its last attempts did the work, and could be heard to have done so.
    fn did(&self, run: &Run) -> bool {
        let task = |run: &Run| {
            let task = run.task.as_ref().filter(|task| task.lost.is_none())?;
            Some(self.attempts.did(&run.id(), &task.id))
        };
        let part = |part| task(&self.runs.get(&run.id().part(part))?.last);
        match &run.parts {
            None => task(run) == Some(true),
            Some(parts) => (0..parts.size).all(|index| part(index) == Some(true)),
        }
    }

    fn remove_run(&mut self, id: &RunId, trimmed: &mut BTreeSet<String>) {
        let Some(entry) = self.runs.get_mut(id).filter(|entry| !entry.gone) else { return };
        entry.gone = true;
        let (over, orphan) = (entry.last.state.is_over(), entry.last.orphan);
        let (state, part) = (entry.last.state.name(), id.part);
        let whole = part.and_then(|part| Some((part, self.runs.get(&id.whole())?)));
        let part_over = whole.is_some_and(|(part, whole)| {
            whole.gone
                || whole.last.state.is_over()
                || whole.last.ending.is_some()
                || whole.last.parts.as_ref().is_some_and(|parts| parts.is_over(part))
        });
        let job = self.jobs.get_mut(&*id.job).filter(|job| job.present);
        let kept = job.is_some();
        if let (Some(job), true, None) = (job, over, part) {
            job.over = job.over.saturating_sub(1);
            trimmed.insert(id.job.to_string());
        }
        let fine = over || orphan || part_over || !kept;
        self.findings.look(fine, || format!("the record of {id} goes while it is {state}"));
    }

    // --- at rest

    /// All has come to rest: nothing is missing.
    pub fn conclude(&mut self) {
        let mut wrong = Vec::new();
        for (name, job) in self.jobs.iter().filter(|(_, job)| job.present) {
            let whole =
                self.runs.range(RunId::new(name.as_str(), Time::ZERO)..=RunId::new(name.as_str(), Time::MAX));
            let ours =
                whole.filter(|(id, entry)| id.part.is_none() && entry.last.trigger == Trigger::Schedule);
            let outcomes: Vec<(Time, Time)> =
                ours.map(|(id, entry)| (id.due, entry.last.up_to.unwrap_or(id.due))).collect();
            for (text, repeating) in &job.schedules {
                let Some(repeating) = repeating else {
                    wrong.push(format!("{name} has the schedule '{text}', which nobody posted"));
                    continue;
                };
                for due in job.through.into_iter().flat_map(|through| repeating.through(through)) {
                    self.findings.looks += 1;
                    let first = outcomes.partition_point(|(_, last)| *last < due);
                    let covering = outcomes[first..].iter().take_while(|(first, _)| *first <= due).count();
                    if covering != 1 {
                        wrong.push(format!("{name}, due at {}, has {covering} outcomes", due.as_millis()));
                    }
                }
            }
            let newest = job.schedules.last().and_then(|(_, repeating)| repeating.as_ref());
            if let (Some(newest), Some(since)) = (newest, job.disabled_since) {
                let next = newest.after(job.through.unwrap_or(Time::ZERO));
                if let Some(next) = next.filter(|next| *next + JUST < since) {
                    wrong.push(format!("{name} was due at {} and nobody noticed", next.as_millis()));
                }
            }
            if job.owed != job.paid {
                wrong.push(format!("{name} ran {} times after its parent, not {}", job.paid, job.owed));
            }
        }
        for text in wrong {
            self.findings.wrong(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chronos::core::run::{Lost, Task};
    use master_core::registry::Entry as Stored;
    use serde_json::json;

    use super::*;

    fn put(key: &str, value: &serde_json::Value) -> (Index, Event) {
        let value = Bytes::from(value.to_string());
        let stored = Stored {
            namespace: NAMESPACE.into(),
            key: format!("{RECORDS}{key}").as_str().into(),
            value,
            version: 1,
            create_revision: 1,
            mod_revision: 1,
            lease: None,
        };
        (1, Event::Put(std::sync::Arc::new(stored)))
    }

    fn task(run: &RunId, attempt: u32) -> TaskId {
        TaskId::parse(&format!("ct:{}:{attempt}:{}:", run.due.as_millis(), run.job)).expect("lawful")
    }

    fn launched(id: &TaskId) -> Task {
        let [queue, agent, host, offer] = [""; 4].map(str::to_owned);
        Task { queue: queue.into(), cost: 0, id: id.to_string(), agent, host, offer, lost: None }
    }

    fn give_up(run: &mut Run) {
        run.task.as_mut().expect("it has a task").lost = Some(Lost::default());
    }

    /// A run of one task, which ends as is said, is recorded as failed.
    fn failed(well: bool, change: impl FnOnce(&mut Once, &mut Run)) -> Once {
        let id = RunId::new("job", Time::ZERO);
        let task = task(&id, 0);
        let mut run = Run::new(Time::ZERO, id, Trigger::Manual);
        run.state = State::Launched;
        run.task = Some(launched(&task));
        let mut once = Once::default();
        once.put_run(run.clone());
        once.launched(&task, Host(0), 1, Some(2), well);
        change(&mut once, &mut run);
        run.state = State::Failed;
        run.reason = "it was told so".to_owned();
        once.put_run(run);
        once
    }

    #[test]
    fn what_ran_to_its_end_has_not_failed_unless_nobody_could_hear_of_it() {
        assert!(failed(false, |_, _| {}).findings.wrong.is_empty());
        assert!(!failed(true, |_, _| {}).findings.wrong.is_empty());
        assert!(failed(true, |once, _| once.stopped(Host(0), 3)).findings.wrong.is_empty());
        let given_up = failed(true, |_, run| give_up(run));
        assert!(given_up.findings.wrong.is_empty(), "{:?}", given_up.findings);
    }

    #[test]
    fn an_attempt_that_was_given_up_and_ended_after_the_next_was_decided_is_no_other() {
        let id = RunId::new("job", Time::ZERO);
        let (first, second) = (task(&id, 0), task(&id, 1));
        let lawful = |heard_before: bool| {
            let mut once = Once::default();
            let mut run = Run::new(Time::ZERO, id.clone(), Trigger::Manual);
            run.task = Some(launched(&first));
            once.put_run(run.clone());
            once.launched(&first, Host(0), 1, Some(2), true);
            give_up(&mut run);
            if heard_before {
                run.found(first.as_str(), "TASK_FINISHED", Some(0));
            }
            run.begin_attempt();
            run.task = Some(launched(&second));
            once.put_run(run.clone());
            run.found(first.as_str(), "TASK_FINISHED", Some(0));
            once.put_run(run);
            once.launched(&second, Host(1), 4, Some(5), true);
            once.findings.wrong.is_empty()
        };
        assert!(lawful(false));
        assert!(!lawful(true));
    }

    #[test]
    fn a_job_that_is_stored_with_a_run_may_have_had_another_schedule_before() {
        let job = |start: &str| {
            let schedule = format!("R1/{start}/PT1M");
            json!({ "definition": { "name": "job", "command": "true", "schedule": schedule } })
        };
        let (before, after) = (job("1970-01-01T00:00:10Z"), job("1970-01-01T00:00:20Z"));
        let run = Run::new(Time::ZERO, RunId::new("job", Time::from_secs(10)), Trigger::Schedule);
        let run = put("run/job@10000", &serde_json::to_value(run).expect("a run is JSON"));
        let lawful = |revisions: &[&[(Index, Event)]]| {
            let mut once = Once::default();
            revisions.iter().for_each(|revision| once.revision(revision));
            once.findings.wrong.is_empty()
        };
        assert!(lawful(&[&[put("job/job", &before)], std::slice::from_ref(&run)]));
        assert!(lawful(&[&[put("job/job", &after), run.clone()]]));
        assert!(!lawful(&[&[put("job/job", &after)], &[run]]));
    }

    /// A job that runs after another, and a success of that one.
    fn records() -> [(Index, Event); 2] {
        let mut run = Run::new(Time::ZERO, RunId::new("first", Time::ZERO), Trigger::Manual);
        run.state = State::Succeeded;
        let job = json!({ "definition": { "name": "second", "command": "true", "parents": ["first"] } });
        [put("job/second", &job), put("run/first@0", &serde_json::to_value(run).expect("a run is JSON"))]
    }

    fn missed(once: &mut Once) -> bool {
        once.conclude();
        once.findings.wrong.iter().any(|text| text.contains("second ran 0 times after its parent"))
    }

    #[test]
    fn a_job_that_is_stored_with_a_success_of_the_one_it_waits_for_has_not_missed_it() {
        let [job, run] = records();
        let mut together = Once::default();
        together.revision(&[job.clone(), run.clone()]);
        assert!(!missed(&mut together), "{:?}", together.findings);
        let mut before = Once::default();
        before.revision(&[job]);
        before.revision(&[run]);
        assert!(missed(&mut before), "{:?}", before.findings);
    }
}
