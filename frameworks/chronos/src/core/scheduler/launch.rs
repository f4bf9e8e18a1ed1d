//! Offers: which run gets what, recorded before it is launched.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::time::Time;
use sdk::offer::{Need, Offer, Share};

use super::super::definition::ConcurrencyPolicy;
use super::super::job::Job;
use super::super::message::{Effect, Launch};
use super::super::run::{Ending, Run, RunId, State, Task, Trigger, task_id};
use super::{Scheduler, Timer, Turn};
use crate::limits;

impl Scheduler {
    /// Fills the offers with the runs whose turn it is. What fits nothing keeps its place in the queue.
    pub(super) fn offers(&mut self, offers: Vec<Offer>, out: &mut Vec<Effect>) {
        let mut open: Vec<(Offer, Vec<Launch>)> =
            offers.into_iter().map(|offer| (offer, Vec::new())).collect();
        let turns: Vec<Turn> = self.queue.iter().cloned().collect();
        let mut room = limits::LAUNCHES;
        // Needs that no offer could meet any more: of ten thousand equal runs only the first has to try.
        let mut hopeless: Vec<(Arc<Job>, &'static str)> = Vec::new();
        for turn in turns {
            let Some(run) = self.book.runs.get(&turn.run).cloned() else { continue };
            let Some(job) = self.book.job(&run.job).cloned() else { continue };
            if room == 0 {
                break;
            }
            let alike = |other: &Job| {
                other.need == job.need && other.definition.constraints == job.definition.constraints
            };
            if let Some((_, why)) = hopeless.iter().find(|(other, _)| alike(other)) {
                self.book.unplaced.insert(turn.run, why);
                continue;
            }
            if self.must_wait(&job, &run) {
                self.book.unplaced.insert(turn.run, "another run of the job has to end first");
                continue;
            }
            match place(&job, &mut open) {
                Ok((at, share)) => {
                    let launch = self.launch(&job, &run, &open[at].0, share, out);
                    open[at].1.push(launch);
                    room -= 1;
                }
                Err(why) => {
                    self.book.unplaced.insert(turn.run, why);
                    hopeless.push((job, why));
                }
            }
        }
        let used = open.into_iter().filter(|(_, launches)| !launches.is_empty());
        out.extend(used.map(|(offer, launches)| Effect::Launch { offer, launches }));
    }

    /// Runs of a job that must not overlap go one after the other.
    fn must_wait(&self, job: &Job, run: &Run) -> bool {
        job.concurrency() != ConcurrencyPolicy::Allow
            && self.book.active_of(&run.job).iter().any(|other| other.state.has_task())
    }

    fn launch(&mut self, job: &Job, run: &Run, offer: &Offer, share: Share, out: &mut Vec<Effect>) -> Launch {
        let mut run = run.clone();
        if run.task.is_some() {
            run.attempt += 1;
        }
        let arguments = run.arguments.clone().unwrap_or_else(|| job.definition.arguments.join(" "));
        let task = task_id(&run, &arguments);
        run.state = State::Launched;
        run.not_before = None;
        run.reason.clear();
        run.task = Some(Task {
            id: task.to_string(),
            agent: share.agent.to_string(),
            host: offer.hostname.clone(),
            offer: offer.id.to_string(),
        });
        let environment = environment(job, &run, task.as_str(), &offer.hostname);
        let run = self.save(run, out);
        self.unqueue(&run.id());
        if run.attempt == 0 {
            self.started_by_hand(&run, out);
        }
        Launch { task, share, definition: Arc::clone(&job.definition), arguments, environment }
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
        if run.state.has_task() {
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
        self.timers.set(Timer::Kill(run.id()), Some(now + limits::KILL_RETRY));
    }

    pub(super) fn run(&self, id: &RunId) -> Option<Arc<Run>> {
        self.book.runs.get(id).cloned()
    }
}

/// Takes what a job needs from the first offer that has it.
///
/// # Errors
/// Why none has, for a person.
fn place(job: &Job, open: &mut [(Offer, Vec<Launch>)]) -> Result<(usize, Share), &'static str> {
    let need = Need::from_bag((*job.need).clone());
    let mut why = "no offer came";
    for (at, (offer, _)) in open.iter_mut().enumerate() {
        if !job.constraints.is_empty() {
            let fields = offer.fields();
            if !job.constraints.iter().all(|constraint| constraint.allows(&fields)) {
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
fn environment(job: &Job, run: &Run, task: &str, host: &str) -> Vec<(String, String)> {
    let definition = &job.definition;
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
        ("CHRONOS_RESOURCE_CPU", amount(&definition.cpus)),
        ("CHRONOS_RESOURCE_MEM", amount(&definition.mem)),
        ("CHRONOS_RESOURCE_DISK", amount(&definition.disk)),
        ("HOST", host.to_owned()),
    ];
    let is_fixed = |name: &str| fixed.iter().any(|(fixed, _)| *fixed == name);
    // The run's own win over the job's own.
    let mut variables: BTreeMap<String, String> = own.collect();
    variables.extend(run.parameters.clone());
    let own: Vec<(String, String)> = variables.into_iter().filter(|(name, _)| !is_fixed(name)).collect();
    fixed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).chain(own).collect()
}
