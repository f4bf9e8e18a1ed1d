//! Offers: which run gets what, recorded before it is launched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use model::time::Time;
use sdk::offer::{Need, Offer, Share};

use super::super::constraint;
use super::super::definition::{ConcurrencyPolicy, Definition};
use super::super::fair;
use super::super::job::{Job, Work};
use super::super::message::{Effect, Launch};
use super::super::run::{Ending, Run, RunId, State, Task, Trigger, task_id};
use super::{Scheduler, Timer};
use crate::limits;

/// Offers, and what has been made of them so far.
struct Round {
    open: Vec<(Offer, Vec<Launch>)>,
    /// Launches that are left.
    room: usize,
    /// Runs of which parts have begun, to be stored once.
    grown: BTreeSet<RunId>,
}

impl Scheduler {
    /// Fills the offers with the runs whose turn it is, one launch at a time. What fits nothing keeps its place in the queue.
    pub(super) fn offers(&mut self, now: Time, offers: Vec<Offer>, out: &mut Vec<Effect>) {
        self.know_agents(&offers);
        let mut round = Round {
            open: offers.into_iter().map(|offer| (offer, Vec::new())).collect(),
            room: limits::LAUNCHES,
            grown: BTreeSet::new(),
        };
        self.book.no_room = OrdMap::new();
        while round.room > 0
            && let Some((id, shape)) = self.queue.next()
        {
            self.considered += 1;
            if let Err(why) = self.serve(now, &id, &mut round, out) {
                self.queue.close(&shape);
                self.book.no_room.insert(shape, why);
            }
        }
        self.queue.reopen();
        for id in &round.grown {
            if let Some(whole) = self.run(id) {
                self.save((*whole).clone(), out);
            }
        }
        // A step has launched all it may: what is left over wants offers now, not when the refusal of the rest has run out.
        self.revive |= round.room == 0;
        let used = round.open.into_iter().filter(|(_, launches)| !launches.is_empty());
        out.extend(used.map(|(offer, launches)| Effect::Launch { offer, launches }));
    }

    /// Launches a run, or one part of it; what is not to be launched now leaves the queue.
    ///
    /// # Errors
    /// Why there is no room for it, for a person: it stays where it is.
    fn serve(
        &mut self,
        now: Time,
        id: &RunId,
        round: &mut Round,
        out: &mut Vec<Effect>,
    ) -> Result<(), &'static str> {
        let whole = self.run(id).filter(|run| self.has_turn(run));
        let (Some(whole), Some(job)) = (whole, self.book.job(&id.job).cloned()) else {
            self.park(id);
            return Ok(());
        };
        let run = if whole.parts.is_some() { self.next_part(now, &whole) } else { Some((*whole).clone()) };
        let Some(run) = run else {
            self.park(id);
            return Ok(());
        };
        if self.must_wait(&job, &whole) {
            self.hold(id);
            return Ok(());
        }
        let priority = self.priority(&job);
        let kept = |agent: &str| self.is_promised(now, agent, priority);
        let (at, share) = place(&job.work(run.part), &mut round.open, kept)?;
        let (begun, launched) = (run.id(), run.part.is_some() && run.task.is_none());
        let launch = self.launch(&job, run, &round.open[at].0, share, out);
        round.open[at].1.push(launch);
        round.room -= 1;
        if launched {
            self.part_begun(&begun);
            round.grown.insert(id.clone());
            match self.run(id).filter(|whole| self.has_turn(whole)) {
                // Its next step may need something else.
                Some(whole) => self.enqueue(now, &whole),
                None => self.unqueue(id),
            }
        }
        Ok(())
    }

    /// Runs of a job that must not overlap go one after the other; a run that has begun is not in its own way.
    pub(super) fn must_wait(&self, job: &Job, run: &Run) -> bool {
        let begun = run.part.is_some() || run.state.has_task();
        !begun
            && job.concurrency() != ConcurrencyPolicy::Allow
            && self.book.active_of(&run.job).iter().any(|other| other.state.has_task())
    }

    fn launch(
        &mut self,
        job: &Job,
        mut run: Run,
        offer: &Offer,
        share: Share,
        out: &mut Vec<Effect>,
    ) -> Launch {
        run.begin_attempt();
        let Work { definition, need, .. } = job.work(run.part);
        let arguments = run.arguments.clone().unwrap_or_else(|| definition.arguments.join(" "));
        let task = task_id(&run, &arguments);
        run.state = State::Launched;
        run.not_before = None;
        run.reason.clear();
        run.task = Some(Task {
            queue: job.queue().into(),
            cost: fair::cost(&need),
            id: task.to_string(),
            agent: share.agent.to_string(),
            host: offer.hostname.clone(),
            offer: offer.id.to_string(),
            lost: None,
        });
        let environment = environment(&definition, &run, task.as_str(), &offer.hostname);
        let whole = self.run(&run.id().whole());
        let size = whole.and_then(|whole| whole.parts.as_ref().map(|parts| parts.size)).unwrap_or_default();
        let part = part_environment(job, &run, size);
        let environment =
            part.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(environment).collect();
        let run = self.save(run, out);
        self.unqueue(&run.id());
        if run.attempt == 0 {
            self.started_by_hand(&run, out);
        }
        Launch { task, share, definition, arguments, environment }
    }

    /// A dependent job that somebody starts waits for its parents anew.
    fn started_by_hand(&mut self, run: &Run, out: &mut Vec<Effect>) {
        let waits = self.book.job(&run.job).is_some_and(|job| !job.status.ready.is_empty());
        if waits && run.trigger == Trigger::Manual {
            self.note(&run.job, out, |status| status.ready.clear());
        }
    }

    /// Asks for the end of a run; without a task it has ended.
    pub(super) fn kill_run(&mut self, now: Time, run: &Arc<Run>, reason: &str, out: &mut Vec<Effect>) {
        if run.state.is_over() {
            return;
        }
        if run.parts.as_ref().is_some_and(|parts| !parts.begun.is_empty()) {
            self.stop(now, run, Ending::Killed, reason, out);
        } else if run.state.has_task() {
            self.end_task(now, run, Ending::Killed, reason, out);
        } else {
            self.end_unrun(now, (**run).clone(), State::Killed, reason, out);
        }
    }

    /// Records why a task is to end, then asks for it.
    pub(super) fn end_task(
        &mut self,
        now: Time,
        run: &Run,
        ending: Ending,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let mut run = run.clone();
        run.ending = Some(ending);
        run.reason = reason.to_owned();
        let run = self.save(run, out);
        self.kill_task(now, &run, out);
    }

    /// Sends the kill, again and again until the task has ended.
    pub(super) fn kill_task(&mut self, now: Time, run: &Run, out: &mut Vec<Effect>) {
        let (Some(task), true) = (&run.task, run.state.has_task()) else { return };
        let (task, agent) = (task.id.as_str().into(), task.agent.as_str().into());
        out.push(Effect::Kill { task, agent });
        self.timers.put(Timer::Kill(run.id()), Some(now + limits::KILL_RETRY));
    }

    pub(super) fn run(&self, id: &RunId) -> Option<Arc<Run>> {
        self.book.run(id).cloned()
    }
}

/// Takes what a job needs from the first offer that has it.
///
/// # Errors
/// Why none has, for a person.
fn place(
    work: &Work,
    open: &mut [(Offer, Vec<Launch>)],
    kept: impl Fn(&str) -> bool,
) -> Result<(usize, Share), &'static str> {
    let need = Need::from_bag((*work.need).clone());
    let mut why = "no offer came";
    for (at, (offer, _)) in open.iter_mut().enumerate() {
        if kept(offer.agent.as_str()) {
            why = "what is offered is kept for a run of higher priority";
            continue;
        }
        if !work.constraints.is_empty() {
            let fields = constraint::fields(offer);
            if !work.constraints.iter().all(|constraint| constraint.allows(&fields)) {
                why = "no agent that is offered fits the constraints";
                continue;
            }
        }
        match offer.take(&need) {
            Some(share) => return Ok((at, share)),
            None => why = "no offer has enough resources",
        }
    }
    Err(why)
}

/// What every task is told. Its job's own variables cannot hide these.
fn environment(definition: &Definition, run: &Run, task: &str, host: &str) -> Vec<(String, String)> {
    let amount =
        |amount: &super::super::definition::Amount| serde_json::to_string(amount).unwrap_or_default();
    let own = definition
        .environment_variables
        .iter()
        .map(|variable| (variable.name.clone(), variable.value.clone()));
    let fixed = [
        ("mesos_task_id", task.to_owned()),
        ("MESOS_TASK_ID", task.to_owned()),
        ("CHRONOS_JOB_NAME", definition.name.clone()),
        ("CHRONOS_JOB_OWNER", definition.owner.clone()),
        ("CHRONOS_JOB_RUN_TIME", run.due.as_millis().to_string()),
        ("CHRONOS_JOB_RUN_ATTEMPT", run.attempt.to_string()),
        ("CHRONOS_JOB_RUN_ID", run.id().to_string()),
        ("CHRONOS_PARENT_RUN_IDS", run.parents.join(" ")),
        ("CHRONOS_RESOURCE_CPU", amount(&definition.cpus)),
        ("CHRONOS_RESOURCE_MEM", amount(&definition.mem)),
        ("CHRONOS_RESOURCE_DISK", amount(&definition.disk)),
        ("HOST", host.to_owned()),
    ];
    let is_fixed = |name: &str| PART.contains(&name) || fixed.iter().any(|(fixed, _)| *fixed == name);
    // The run's own win over the job's own.
    let mut variables: BTreeMap<String, String> = own.collect();
    variables.extend(run.parameters.clone());
    let own: Vec<(String, String)> = variables.into_iter().filter(|(name, _)| !is_fixed(name)).collect();
    fixed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain(own).collect()
}

/// Which part of its run a task is.
const PART: [&str; 3] = ["CHRONOS_STEP", "CHRONOS_ARRAY_INDEX", "CHRONOS_ARRAY_SIZE"];

fn part_environment(job: &Job, run: &Run, size: u32) -> Vec<(&'static str, String)> {
    let Some(part) = run.part else { return Vec::new() };
    match job.steps.get(part as usize) {
        Some(step) => vec![(PART[0], step.name.clone())],
        None => {
            vec![(PART[1], part.to_string()), (PART[2], size.to_string())]
        }
    }
}
