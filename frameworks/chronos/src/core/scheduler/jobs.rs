//! Jobs come, change and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::time::{Span, Time};

use super::super::definition::Definition;
use super::super::job::Job;
use super::super::message::{Counters, Effect, Orphans, Reply};
use super::super::refusal::Refusal;
use super::super::run::{Run, RunId, State, Trigger};
use super::{JOB, Scheduler, put};
use crate::limits;

impl Scheduler {
    /// Creates or replaces a job: the graph of dependencies is whole before and after.
    pub(super) fn put(
        &mut self,
        now: Time,
        definition: Definition,
        counters: Counters,
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let (posted, zone) = (definition.schedule.clone(), definition.schedule_time_zone.clone());
        let mut job = self.check(now, definition)?;
        let name: Arc<str> = job.name().into();
        let old = self.book.job(&name).cloned();
        let mut same = false;
        if let Some(old) = &old {
            job.status = old.status.clone();
            // An interval without a start means "now" again, once the last one is over.
            let begins_now = posted.as_deref().is_some_and(|text| text.contains("//"));
            let anew = old.is_exhausted() && begins_now;
            same = old.has_schedule(posted.as_deref(), zone.as_deref()) && !anew;
            if same {
                // The same schedule once more, as tools that synchronise post it: the anchor stays.
                let mut definition = (*job.definition).clone();
                definition.schedule.clone_from(&old.definition.schedule);
                job.definition = Arc::new(definition);
                job.schedule.clone_from(&old.schedule);
                job.posted.clone_from(&old.posted);
            } else if posted.as_deref().is_some_and(is_cron) {
                job.status.through = Some(now);
            } else if begins_now {
                // A leader whose clock was ahead has done what is due by now, but nothing of this schedule.
                job.status.through = job.status.through.min(Some(now - Span::from_millis(1)));
            }
            let parents = job.definition.parents.clone().unwrap_or_default();
            job.status.ready.retain(|parent, _| parents.contains(parent));
        } else {
            if posted.as_deref().is_some_and(is_cron) {
                // A line names no beginning, so nothing was missed before it was known.
                job.status.through = Some(now);
            }
        }
        job.status.success_count = counters.successes.unwrap_or(job.status.success_count);
        job.status.error_count = counters.errors.unwrap_or(job.status.error_count);
        job.status.errors_since_last_success =
            counters.errors_since_last_success.unwrap_or(job.status.errors_since_last_success);
        let disabled = job.definition.disabled;
        let was_disabled = old.as_ref().is_some_and(|old| old.definition.disabled);
        let suspended = job.definition.suspend;
        let was_suspended = old.as_ref().is_some_and(|old| old.definition.suspend);
        self.book.put_job(job);
        out.push(self.record(&name));
        self.note(&name, out, |_| {});
        match (was_disabled, disabled) {
            (false, true) => self.set_disabled(now, &name, out),
            (true, false) => self.enabled(now, &name, same, out),
            _ => {}
        }
        match (was_suspended, suspended) {
            (false, true) => self.suspended(now, &name, out),
            (true, false) => self.resumed(now, &name, out),
            _ => {}
        }
        self.line_up_job(now, &name);
        self.watch_lost_of(&name);
        self.trim(now, &name, out);
        self.watch(&name);
        Ok(Reply::Done)
    }

    /// The job that [`put`](Self::put) would make; nothing changes.
    ///
    /// # Errors
    /// Whatever `put` would refuse.
    pub fn check(&self, now: Time, definition: Definition) -> Result<Job, Refusal> {
        let job = Job::admit(now, definition)?;
        self.check_graph(&job)?;
        let record = serde_json::to_vec(&job.record()).map_or(0, |bytes| bytes.len());
        if record > limits::DEFINITION_BYTES {
            let rule = format!("must have at most {} bytes, has {record}", limits::DEFINITION_BYTES);
            return Err(Refusal::field("body", rule));
        }
        match self.book.job(job.name()) {
            Some(old) => {
                let steps_change = old.definition.steps != job.definition.steps;
                if steps_change && self.book.active_of(job.name()).iter().any(|run| run.parts.is_some()) {
                    return Err(Refusal::field("steps", "cannot change while a run of them is not over"));
                }
            }
            None if self.book.jobs.len() >= limits::JOBS => {
                return Err(Refusal::Full(format!("there are {} jobs, which is the limit", limits::JOBS)));
            }
            None => {}
        }
        Ok(job)
    }

    /// What waits of a job may need something else by now, and stand elsewhere.
    fn line_up_job(&mut self, now: Time, name: &Arc<str>) {
        let wholes: Vec<RunId> = self.book.active_of(name).iter().map(|run| run.id()).collect();
        let parts = wholes.iter().flat_map(|id| self.book.parts_of(id)).map(|part| part.id());
        let ids: Vec<RunId> = parts.chain(wholes.iter().cloned()).collect();
        for id in ids.iter().filter(|id| self.book.waiting.contains_key(*id)).collect::<Vec<_>>() {
            self.park(id);
            if let Some(run) = self.run(id) {
                self.enqueue(now, &run);
            }
        }
    }

    fn check_graph(&self, job: &Job) -> Result<(), Refusal> {
        let Some(parents) = &job.definition.parents else { return Ok(()) };
        if parents.len() > limits::PARENTS {
            return Err(Refusal::field("parents", format!("must be at most {}", limits::PARENTS)));
        }
        if let Some(missing) =
            parents.iter().find(|parent| *parent != job.name() && self.book.job(parent).is_none())
        {
            return Err(Refusal::field("parents", format!("name '{missing}', which is no job")));
        }
        if let Some(way) = self.book.cycle(job.name(), parents) {
            let told = way.iter().take(limits::CYCLE_TOLD).cloned().collect::<Vec<_>>().join(" -> ");
            let rest = if way.len() > limits::CYCLE_TOLD { " -> ..." } else { "" };
            return Err(Refusal::field("parents", format!("would make a cycle: {told}{rest}")));
        }
        Ok(())
    }

    /// The due times of the time when it was disabled are accounted for in one record.
    fn enabled(&mut self, now: Time, name: &Arc<str>, same_schedule: bool, out: &mut Vec<Effect>) {
        let Some(job) = self.book.job(name).cloned() else { return };
        self.note(name, out, |status| status.disabled_since = None);
        let Some(since) = job.status.disabled_since else { return };
        let Some(schedule) = job.schedule.as_ref().filter(|_| same_schedule) else { return };
        let from = job.status.through.unwrap_or(since);
        let Some(missed) = schedule.missed(Some(from), now) else { return };
        let id = RunId::new(Arc::clone(name), missed.first);
        let mut run = Run::new(now, id, Trigger::Schedule);
        run.up_to = (missed.count > 1).then_some(missed.last);
        run.count = missed.count;
        self.end_unrun(now, run, State::Skipped, "the job was disabled", out);
        self.note(name, out, |status| status.through = Some(missed.last));
    }

    pub(super) fn change_definition(
        &mut self,
        now: Time,
        name: &str,
        out: &mut Vec<Effect>,
        change: impl FnOnce(&mut Definition),
    ) {
        let Some(job) = self.book.job(name).cloned() else { return };
        let mut definition = (*job.definition).clone();
        change(&mut definition);
        // What was accepted once is accepted again, but for a schedule, which is then left out.
        let Ok(mut changed) = Job::admit(now, definition) else { return };
        changed.status = job.status.clone();
        if changed.schedule.is_some() && job.schedule.is_some() {
            changed.posted.clone_from(&job.posted);
            changed.schedule.clone_from(&job.schedule);
        }
        self.book.put_job(changed);
        out.push(self.record(name));
        self.watch(&name.into());
    }

    fn record(&self, name: &str) -> Effect {
        let record = self.book.job(name).map(|job| job.record());
        put(format!("{JOB}{name}"), &record)
    }

    /// Deletes a job and mends the graph around it.
    pub(super) fn delete(
        &mut self,
        now: Time,
        job: &str,
        orphans: Orphans,
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let name = self.known(job)?;
        let Some(gone) = self.book.job(&name).cloned() else { return Ok(Reply::Done) };
        let grandparents = gone.definition.parents.clone().unwrap_or_default();
        let children = self.book.children_of(&name);
        if orphans == Orphans::Delete {
            self.delete_with_dependants(now, name, out);
            return Ok(Reply::Done);
        }
        let left = |child: &Arc<str>| {
            let mut parents = self.book.job(child)?.definition.parents.clone()?;
            parents.remove(&*name);
            parents.extend(grandparents.iter().cloned());
            Some((Arc::clone(child), parents))
        };
        let rewired: Vec<_> = children.iter().filter_map(left).collect();
        if orphans == Orphans::Refuse
            && let Some((child, _)) = rewired.iter().find(|(_, parents)| parents.is_empty())
        {
            let rule = format!("is refuse, and job '{child}' depends on this one only");
            return Err(Refusal::field("orphans", rule));
        }
        for (child, parents) in rewired {
            let (schedule, zone) = (gone.shown_schedule(), gone.definition.schedule_time_zone.clone());
            let alone = parents.is_empty();
            self.change_definition(now, &child, out, |definition| {
                if alone {
                    definition.parents = None;
                    definition.schedule = schedule;
                    definition.schedule_time_zone = zone;
                } else {
                    definition.parents = Some(parents);
                }
            });
            if alone && orphans == Orphans::Disable {
                self.set_disabled(now, &child, out);
            }
            self.note(&child, out, |status| {
                status.ready.remove(&*name);
                if alone {
                    // It takes over what is to come, not what has been.
                    status.through = status.through.max(Some(now));
                }
            });
            self.watch(&child);
        }
        self.deleted(now, &name, out);
        Ok(Reply::Done)
    }

    /// A job goes, and with it every job that depends on nothing else.
    fn delete_with_dependants(&mut self, now: Time, name: Arc<str>, out: &mut Vec<Effect>) {
        let mut gone: BTreeSet<String> = BTreeSet::from([name.to_string()]);
        let mut open = vec![name];
        let mut kept: BTreeSet<Arc<str>> = BTreeSet::new();
        while let Some(name) = open.pop() {
            for child in self.book.children_of(&name) {
                let alone = self
                    .book
                    .job(&child)
                    .is_some_and(|job| job.parents().all(|parent| gone.contains(parent)));
                if alone && gone.insert(child.to_string()) {
                    kept.remove(&child);
                    open.push(child);
                } else if !alone {
                    kept.insert(child);
                }
            }
        }
        for child in kept {
            self.change_definition(now, &child, out, |definition| {
                let parents = definition.parents.get_or_insert_default();
                parents.retain(|parent| !gone.contains(parent));
            });
            self.note(&child, out, |status| status.ready.retain(|parent, _| !gone.contains(parent)));
        }
        for name in gone {
            self.deleted(now, &name.as_str().into(), out);
        }
    }
}

fn is_cron(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('@') || text.split_whitespace().count() > 1
}
