//! The life of a task that the agent runs itself: fetched, launched, running, checked, ended.

use std::sync::Arc;

use model::id::{ContainerId, ExecutorId, FrameworkId};
use model::resources::{Bag, Item};
use model::task::TaskState;
use model::time::Time;
use wire::v1;
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Mode, Timer};
use crate::change::{Mount, Source, exclusive};
use crate::checkpoint::{Member, Record, TaskRecord};
use crate::effect::{Effect, Job, Sandbox};
use crate::executor::{ExecutorKey, Waiting, is_played};
use crate::health::Which;
use crate::ids::Uuid;
use crate::input::Exit;
use crate::limits;
use crate::spec::{Invalid, TaskKey, TaskSpec};
use crate::status::{self, Draft};
use crate::task::{Framework, KillCause, Phase, Task};

impl Agent {
    /// A task ordered by the master.
    pub(crate) fn run(
        &mut self,
        now: Time,
        framework: &Arc<v1::FrameworkInfo>,
        info: &Arc<v1::TaskInfo>,
        out: &mut Vec<Effect>,
    ) {
        self.meet(framework, out);
        let id = framework.id.as_ref().map_or("", |id| id.value.as_str());
        let key = TaskKey { framework: id.into(), task: info.task_id.value.as_str().into() };
        if self.state.tasks.contains_key(&key) {
            // The same order again, from a master that was unsure whether the first arrived. A refusal would be
            // taken for the end of the task that runs.
            self.counters.repeated_orders += 1;
            return;
        }
        if self.state.streams.contains_key(&key) {
            // An answer to a kill of this id from before there was such a task: its acknowledgement would be taken
            // for that of this task's end.
            self.forget(now, &key, out);
        }
        let admitted = self.admit(&key, info);
        let host = info.executor.as_ref().map(|executor| ExecutorKey {
            framework: key.framework.clone(),
            executor: executor.executor_id.value.as_str().into(),
        });
        if let (Ok(()), Some(host), Some(executor)) = (&admitted, &host, &info.executor) {
            self.engage(host, executor, out);
        }
        self.accept(&key, info, None, out);
        match (admitted, host) {
            (Err(refusal), host) => {
                self.end(now, &key, refusal, out);
                if let Some(host) = host {
                    self.never_engaged(&host, out);
                }
            }
            (Ok(()), Some(host)) => self.enlist(now, Waiting::Task(key.task), &host, out),
            (Ok(()), None) => {
                let Some(job) = self.job(&key) else { return };
                if job.task.fetches() {
                    self.outbox.after(Effect::Fetch(job), out);
                } else {
                    self.launch(now, &key, out);
                }
            }
        }
    }

    /// Keeps the description of a framework that has or gets tasks here.
    pub(crate) fn meet(&mut self, info: &Arc<v1::FrameworkInfo>, out: &mut Vec<Effect>) {
        let framework = Framework::read(info);
        if self.state.frameworks.get(&framework.id).is_none_or(|known| known.info != *info) {
            self.record(Record::Framework(Arc::clone(info)), out);
        }
    }

    /// Whether the task can run here; otherwise what its scheduler is told.
    fn admit(&self, key: &TaskKey, info: &Arc<v1::TaskInfo>) -> Result<(), Draft> {
        let invalid = |message: String| Draft::agent(TaskState::Error, Reason::TaskInvalid, message);
        let spec = TaskSpec::read(&key.framework, info).map_err(|Invalid(message)| invalid(message))?;
        if info.executor.as_ref().is_some_and(is_played) {
            return Err(invalid("'executor' is the default one, which runs groups of tasks only".into()));
        }
        self.has_room(&key.framework, 1)?;
        let mut needed = spec.resources;
        if let Some(executor) = &info.executor {
            needed += &self.admit_executor(&key.framework, executor)?;
        }
        self.fits(&key.framework, "Task", &needed)
    }

    /// Whether there may be so many more tasks.
    pub(crate) fn has_room(&self, framework: &FrameworkId, more: usize) -> Result<(), Draft> {
        let dropped = |reason, message: String| Draft::agent(self.dropped(framework), reason, message);
        if self.mode != Mode::Working {
            return Err(dropped(Reason::AgentRestarted, "The agent is about to end".into()));
        }
        if self.state.tasks.len() + more > limits::TASKS {
            let message =
                format!("The agent holds {} tasks of at most {}", self.state.tasks.len(), limits::TASKS);
            return Err(dropped(Reason::ResourcesUnknown, message));
        }
        Ok(())
    }

    /// Whether the agent has what `who` needs.
    pub(crate) fn fits(&self, framework: &FrameworkId, who: &str, needed: &Bag) -> Result<(), Draft> {
        let free = self.total.checked_sub(&self.used).unwrap_or_default();
        let there = |item: &Item| self.total.iter().any(|have| have.tag() == item.tag());
        let shared = needed.iter().filter(|item| item.is_shared()).all(there);
        if !shared || !free.contains(&exclusive(needed)) {
            let message = format!("{who} needs {needed}, but the agent has no more than {free} left");
            return Err(Draft::agent(self.dropped(framework), Reason::ResourcesUnknown, message));
        }
        Ok(())
    }

    /// Takes a task in. `group` is given for one whose executor the agent plays.
    pub(crate) fn accept(
        &mut self,
        key: &TaskKey,
        info: &Arc<v1::TaskInfo>,
        group: Option<Uuid>,
        out: &mut Vec<Effect>,
    ) {
        let executor: Option<ExecutorId> =
            info.executor.as_ref().map(|executor| executor.executor_id.value.as_str().into());
        let host =
            executor.clone().map(|executor| ExecutorKey { framework: key.framework.clone(), executor });
        let host = host.and_then(|host| self.state.executors.get(&host));
        let host = host.map(|host| (host.container.clone(), host.sandbox.clone()));
        let (container, sandbox) = match (host, group) {
            (Some((container, sandbox)), None) => (container, sandbox),
            (host, _) => {
                let container = ContainerId::from(self.ids.uuid().to_string().as_str());
                let sandbox = match host {
                    Some((_, shared)) => self.free_part(shared, key.task.as_str(), &container),
                    None => self.free_sandbox(&key.framework, key.task.as_str(), &container),
                };
                self.containers.insert(container.clone(), key.clone());
                (container, sandbox)
            }
        };
        let directory = || sandbox.task.clone().unwrap_or_else(|| key.task.to_string());
        let member = group.map(|group| Member { group, directory: directory() });
        let record = TaskRecord {
            framework: key.framework.clone(),
            info: Arc::clone(info),
            executor,
            container,
            sandbox: sandbox.name,
            member,
            statuses: Vec::new(),
            forwarded: None,
            started: None,
        };
        self.record(Record::Task(Box::new(record)), out);
        if let Some(task) = self.state.tasks.get_mut(key)
            && let Some(spec) = &task.spec
        {
            task.holds = true;
            self.used += &exclusive(&spec.resources);
        }
    }

    /// The name of a directory for something called `name`. An id may be used again once its task has ended, and an
    /// executor may be called as a task: the files of the earlier one stay where they are.
    pub(crate) fn free_sandbox(
        &self,
        framework: &FrameworkId,
        name: &str,
        container: &ContainerId,
    ) -> Sandbox {
        let named = Sandbox::new(framework.clone(), name);
        let task = TaskKey { framework: framework.clone(), task: name.into() };
        let executor = ExecutorKey { framework: framework.clone(), executor: name.into() };
        let taken = self.gc.holds(&named)
            || self.state.tasks.get(&task).is_some_and(|task| task.sandbox == named)
            || self.state.executors.get(&executor).is_some_and(|executor| executor.sandbox == named);
        if taken { Sandbox { name: container.to_string(), ..named } } else { named }
    }

    /// A directory for something called `name` below that of its executor, likewise.
    fn free_part(&self, shared: Sandbox, name: &str, container: &ContainerId) -> Sandbox {
        let named = Sandbox { task: Some(name.into()), ..shared };
        let taken = self.completed.iter().any(|task| task.sandbox == named);
        if taken { Sandbox { task: Some(container.to_string()), ..named } } else { named }
    }

    /// What a task that never ran is called towards its framework.
    pub(crate) fn dropped(&self, framework: &FrameworkId) -> TaskState {
        let aware = self.state.frameworks.get(framework).is_some_and(|f| f.partition_aware);
        if aware { TaskState::Dropped } else { TaskState::Dropped.without_partition_awareness() }
    }

    pub(crate) fn fetched(
        &mut self,
        now: Time,
        container: &ContainerId,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(host) = self.hosts.get(container).cloned() {
            return self.executor_fetched(now, &host, result, out);
        }
        let Some(key) = self.in_phase(container, Phase::Fetching) else { return };
        match result {
            Ok(()) => {
                self.counters.fetches_succeeded += 1;
                match self.state.tasks.get_mut(&key) {
                    Some(task) if task.group.is_some() => {
                        task.fetched = true;
                        self.launch_gathered(now, &key, out);
                    }
                    _ => self.launch(now, &key, out),
                }
            }
            Err(why) => {
                self.counters.fetches_failed += 1;
                self.counters.launch_errors += 1;
                let image = self.job(&key).is_some_and(|job| job.task.docker.is_some());
                let message = if image {
                    format!("Failed to launch container: {why}")
                } else {
                    format!(
                        "Failed to launch container: Failed to fetch all URIs for container '{container}': {why}"
                    )
                };
                self.end(
                    now,
                    &key,
                    Draft::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message),
                    out,
                );
            }
        }
    }

    pub(crate) fn launch(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        self.say(now, key, Draft::executor(TaskState::Starting), out);
        #[cfg(feature = "mutants")]
        if let (true, Some(job)) = (mutant::planted("launches-are-ordered-twice"), self.job(key)) {
            self.outbox.after(Effect::Launch(job), out);
        }
        if let Some(job) = self.job(key) {
            self.outbox.after(Effect::Launch(job), out);
        }
    }

    /// A task's description, with what it sees of its executor's volumes by their own names: the place where its executor
    /// sees one is a link, and nothing is made below links.
    fn resolved(&self, task: &Task) -> Option<Arc<TaskSpec>> {
        let mut spec = task.spec.clone()?;
        let host = task.executor_key().filter(|_| task.group.is_some());
        let host = host.and_then(|host| self.state.executors.get(&host)?.spec.clone());
        let Some(host) = host.filter(|host| !host.mounts.is_empty()) else { return Some(spec) };
        let volume = |path: &str| host.mounts.iter().find(|mount| mount.path == path);
        let of_executor = |mount: &Mount| match &mount.source {
            Source::Executor(path) => volume(path).map(|volume| volume.source.clone()),
            Source::Volume { .. } => None,
        };
        if spec.mounts.iter().any(|mount| of_executor(mount).is_some()) {
            for mount in &mut Arc::make_mut(&mut spec).mounts {
                mount.source = of_executor(mount).unwrap_or_else(|| mount.source.clone());
            }
        }
        Some(spec)
    }

    /// What others need to work on a task.
    pub(crate) fn job(&self, key: &TaskKey) -> Option<Job> {
        let task = self.state.tasks.get(key)?;
        let framework = self.state.frameworks.get(&key.framework)?;
        Some(Job {
            container: task.container.clone(),
            sandbox: task.sandbox.clone(),
            executor: task.executor_name().into(),
            task: self.resolved(task)?,
            framework: Arc::clone(&framework.info),
            is_executor: false,
        })
    }

    pub(crate) fn started(&mut self, now: Time, container: &ContainerId, pid: u32, out: &mut Vec<Effect>) {
        if let Some(host) = self.hosts.get(container).cloned() {
            return self.executor_started(now, &host, pid, out);
        }
        let Some(key) = self.containers.get(container).cloned() else {
            // Of a task that nobody knows any more; what belongs to no one must not run.
            return self.outbox.after(Effect::Destroy { container: container.clone() }, out);
        };
        let Some(task) = self.state.tasks.get_mut(&key) else { return };
        task.pid = Some(pid);
        let recovered = task.phase == Phase::Running;
        if task.phase == Phase::Launching && task.kill.is_none() {
            self.say(now, &key, Draft::executor(TaskState::Running), out);
        }
        if self.state.tasks.get(&key).is_some_and(|task| task.phase == Phase::Running) {
            self.watch(now, &key, recovered);
        }
        #[cfg(feature = "mutants")]
        if recovered && mutant::planted("recovered-tasks-are-killed") {
            self.outbox.after(Effect::Destroy { container: container.clone() }, out);
        }
        self.resume_kill(now, &key, out);
    }

    /// Sets the timers of a running task.
    fn watch(&mut self, now: Time, key: &TaskKey, recovered: bool) {
        let Some(task) = self.state.tasks.get(key) else { return };
        let (Some(spec), Some(started)) = (&task.spec, task.started) else { return };
        if let Some(most) = spec.max_completion {
            self.timers.set(Timer::Completion(key.clone()), started + most);
        }
        let first = |delay| if recovered { now.max(started + delay) } else { now + delay };
        if let Some(health) = &spec.health {
            self.timers.set(Timer::Probe(key.clone(), Which::Health), first(health.schedule.delay));
        }
        if let Some(check) = &spec.check {
            self.timers.set(Timer::Probe(key.clone(), Which::Check), first(check.delay));
        }
    }

    pub(crate) fn launch_failed(
        &mut self,
        now: Time,
        container: &ContainerId,
        missing_program: bool,
        why: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(host) = self.hosts.get(container).cloned() {
            return self.executor_failed(now, &host, why, out);
        }
        let Some(key) = self.in_phase(container, Phase::Launching) else { return };
        self.counters.launch_errors += 1;
        if self.killed_during_launch(now, &key, out) {
            return;
        }
        if missing_program {
            // Told as schedulers know it from a command executor, which runs and then finds nothing to execute.
            self.say(now, &key, Draft::executor(TaskState::Running), out);
            let message = format!("Command exited with status 1: {why}");
            return self.end(now, &key, Draft::executor(TaskState::Failed).message(message), out);
        }
        let message = format!("Failed to launch container: {why}");
        self.end(now, &key, Draft::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message), out);
    }

    pub(crate) fn exited(&mut self, now: Time, container: &ContainerId, exit: &Exit, out: &mut Vec<Effect>) {
        if let Some(host) = self.hosts.get(container).cloned() {
            return self.executor_exited(now, &host, exit, out);
        }
        let Some(key) = self.containers.get(container).cloned() else {
            return self.outbox.after(Effect::Forget { container: container.clone() }, out);
        };
        let Some(task) = self.state.tasks.get(&key) else { return };
        if task.phase == Phase::Ended {
            // Its end was on disk before the agent restarted; the launcher repeats it until it is told so.
            return self.outbox.after(Effect::Forget { container: container.clone() }, out);
        }
        if self.killed_during_launch(now, &key, out) {
            return;
        }
        if task_at(self, &key).is_some_and(|task| task.phase == Phase::Launching) {
            // It began and ended while the agent was away.
            self.say(now, &key, Draft::executor(TaskState::Running), out);
        }
        let cause = task_at(self, &key).and_then(|task| task.kill.as_ref()).map(|kill| kill.cause);
        let killed = Draft::executor(TaskState::Killed).message(status::ended(exit));
        let draft = match cause {
            None => status::natural_end(exit),
            Some(KillCause::Unhealthy) => Draft { healthy: Some(false), ..killed },
            Some(KillCause::TooLong) => Draft {
                reason: Some(Reason::MaxCompletionTimeReached),
                message: Some(format!(
                    "Command ran longer than its maximum completion time; {}",
                    status::ended(exit)
                )),
                ..Draft::executor(TaskState::Failed)
            },
            Some(
                KillCause::Asked
                | KillCause::Draining
                | KillCause::FrameworkRemoved
                | KillCause::DuringLaunch,
            ) => killed,
        };
        self.end(now, &key, draft, out);
    }

    pub(crate) fn container_lost(
        &mut self,
        now: Time,
        container: &ContainerId,
        never_started: bool,
        why: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(host) = self.hosts.get(container).cloned() {
            self.note_unrecovered();
            return self.executor_lost(now, &host, never_started, why, out);
        }
        let Some(key) = self.containers.get(container).cloned() else { return };
        let Some(phase) = task_at(self, &key).map(|task| task.phase) else { return };
        if phase != Phase::Ended {
            self.note_unrecovered();
        }
        if phase == Phase::Ended || self.killed_during_launch(now, &key, out) {
            return;
        }
        if phase == Phase::Launching && (never_started || self.rebooted) {
            return self.end(now, &key, self.lost_in_launch(&key), out);
        }
        let message = if self.rebooted {
            "Executor terminated: the machine was restarted".to_owned()
        } else {
            format!("Executor terminated: {why}")
        };
        self.end(now, &key, Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, message), out);
    }

    pub(crate) fn lost_in_launch(&self, key: &TaskKey) -> Draft {
        let message = "The agent was restarted while it launched the task";
        Draft::agent(self.dropped(&key.framework), Reason::AgentRestarted, message)
    }

    /// The end of a task that was killed before it ran; whether it was.
    fn killed_during_launch(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) -> bool {
        let kill = task_at(self, key).and_then(|task| task.kill.as_ref());
        if kill.is_none_or(|kill| kill.cause != KillCause::DuringLaunch) {
            return false;
        }
        self.end(now, key, during_launch(), out);
        true
    }

    /// Nothing of the task is left but what `draft` says of it.
    pub(crate) fn end(&mut self, now: Time, key: &TaskKey, draft: Draft, out: &mut Vec<Effect>) {
        let (state, membership) = (draft.state, self.membership(key));
        self.end_alone(now, key, draft, out);
        if let Some((host, group)) = membership {
            self.member_ended(now, &host, group, state, out);
        }
    }

    /// As [`end`](Self::end), whatever it means for the group of the task.
    pub(crate) fn end_alone(&mut self, now: Time, key: &TaskKey, draft: Draft, out: &mut Vec<Effect>) {
        self.settle(key, draft.state);
        let removed = self.state.frameworks.get(&key.framework).is_some_and(|f| f.removed);
        let container = task_at(self, key).filter(|task| task.launched()).map(|task| task.container.clone());
        if removed {
            self.forget(now, key, out);
        } else {
            self.say(now, key, draft, out);
        }
        if let Some(container) = container {
            self.outbox.after(Effect::Forget { container }, out);
        }
    }

    /// What goes with the life of a task, whoever says that it is over.
    pub(crate) fn settle(&mut self, key: &TaskKey, state: TaskState) {
        self.timers.clear(&Timer::Completion(key.clone()));
        self.timers.clear(&Timer::Probe(key.clone(), Which::Health));
        self.timers.clear(&Timer::Probe(key.clone(), Which::Check));
        self.release(key);
        self.counters.ended(state);
        if self.state.tasks.get(key).is_some_and(|task| task.executor.is_none()) {
            self.counters.executors += 1;
        }
    }

    /// A container of an earlier process is not to be found. After the end of the machine that is no wonder.
    fn note_unrecovered(&mut self) {
        if self.mode == Mode::Recovering && !self.rebooted {
            self.counters.unrecovered += 1;
        }
    }

    /// Gives the resources of a task back.
    pub(crate) fn release(&mut self, key: &TaskKey) {
        let Some(task) = self.state.tasks.get_mut(key).filter(|task| task.holds) else { return };
        task.holds = false;
        if let Some(spec) = &task.spec {
            self.used = self.used.without(&exclusive(&spec.resources));
        }
    }

    /// A task leaves without an acknowledgement.
    pub(crate) fn forget(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        self.timers.clear(&Timer::Retry(key.clone()));
        if let Some(task) = self.record(Record::Dropped(key.clone()), out) {
            self.left(now, task, out);
        }
    }

    /// A task has left the state: it is history now, and its sandbox garbage some day.
    pub(crate) fn left(&mut self, now: Time, mut task: Task, out: &mut Vec<Effect>) {
        self.containers.remove(&task.container);
        // One whose framework was removed has no last update, and would be shown as running for as long as it is
        // remembered.
        if !task.state.is_terminal() {
            task.state = TaskState::Killed;
        }
        // Ids that were refused may be no file names at all, and nothing was made in their name; those of executors
        // have the executor's directory.
        if task.spec.is_some() && task.executor.is_none() {
            out.extend(self.gc.add(now, task.sandbox.clone()).map(Effect::Remove));
        }
        let host = task.executor_key().filter(|_| task.group.is_some());
        self.completed.push_back(Arc::new(task));
        if self.completed.len() > limits::COMPLETED {
            self.completed.pop_front();
        }
        if let Some(host) = host {
            self.retire(now, &host, out);
        }
    }

    /// The task of a container, when it is in `phase`.
    fn in_phase(&self, container: &ContainerId, phase: Phase) -> Option<TaskKey> {
        let key = self.containers.get(container)?;
        task_at(self, key).filter(|task| task.phase == phase).map(|task| task.key.clone())
    }
}

/// What a task is told to be that was killed before it ran.
pub(crate) fn during_launch() -> Draft {
    let message = "The task was killed before it was launched";
    Draft::agent(TaskState::Killed, Reason::TaskKilledDuringLaunch, message)
}

fn task_at<'a>(agent: &'a Agent, key: &TaskKey) -> Option<&'a Task> {
    agent.state.tasks.get(key)
}
