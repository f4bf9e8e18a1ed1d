//! The life of an executor: fetched, launched, subscribed, given tasks, shut down, ended (spec
//! mesos-v1, 10.1).

use std::sync::Arc;

use model::id::{ContainerId, FrameworkId};
use model::resources::Bag;
use model::task::TaskState;
use model::time::{Span, Time};
use wire::v1;
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Mode, Timer};
use crate::change::{Mount, exclusive};
use crate::checkpoint::{ExecutorRecord, Record};
use crate::effect::{Effect, Job, Report};
use crate::executor::{Event, Executor, ExecutorKey, ExecutorPhase, Waiting, is_played};
use crate::input::{Exit, ExitStatus};
use crate::limits;
use crate::spec::{Invalid, TaskKey, TaskSpec};
use crate::status::Draft;
use crate::task::{Kill, KillCause, Phase, Task};
use crate::tasks::during_launch;

impl Agent {
    /// What an executor that is not here yet would need, or why it cannot take the task.
    pub(crate) fn admit_executor(
        &self,
        framework: &FrameworkId,
        info: &v1::ExecutorInfo,
    ) -> Result<Bag, Draft> {
        let invalid = |message| Draft::agent(TaskState::Error, Reason::TaskInvalid, message);
        let spec = TaskSpec::executor(framework, info).map_err(|Invalid(message)| invalid(message))?;
        let id = ExecutorKey { framework: framework.clone(), executor: spec.key.task.as_str().into() };
        let Some(known) = self.state.executors.get(&id) else {
            if self.state.executors.len() >= limits::EXECUTORS {
                let message = format!("The agent holds {} executors already", limits::EXECUTORS);
                return Err(Draft::agent(self.dropped(framework), Reason::ResourcesUnknown, message));
            }
            return Ok(spec.resources);
        };
        if *known.info != *info {
            let message = format!("Executor '{}' is here already with another description", id.executor);
            return Err(invalid(message));
        }
        if known.phase == ExecutorPhase::Ending {
            let message = format!("Executor '{}' is about to end", id.executor);
            return Err(Draft::agent(self.dropped(framework), Reason::ExecutorTerminated, message));
        }
        Ok(Bag::default())
    }

    /// The master books an executor with the order that brings its first task: when that was refused, it has to hear
    /// that there is none, or its resources would stay booked for good.
    pub(crate) fn never_engaged(&mut self, key: &ExecutorKey, out: &mut Vec<Effect>) {
        if self.state.executors.contains_key(key) {
            return;
        }
        if let Some(link) = self.registered() {
            let (framework, executor) = (key.framework.clone(), key.executor.clone());
            let report = Report::ExecutorExit { framework, executor, status: None };
            self.outbox.after(Effect::Send { link, report }, out);
        }
    }

    /// The executor of a task that was admitted, which is begun if it is not here.
    pub(crate) fn engage(&mut self, key: &ExecutorKey, info: &v1::ExecutorInfo, out: &mut Vec<Effect>) {
        if let Some(known) = self.state.executors.get(key) {
            if known.is_played() {
                // It may have been about to end for want of tasks.
                self.timers.clear(&Timer::Grace(key.clone()));
            }
            return;
        }
        let container = ContainerId::from(self.ids.uuid().to_string().as_str());
        let sandbox = self.free_sandbox(&key.framework, key.executor.as_str(), &container);
        let record = ExecutorRecord {
            framework: key.framework.clone(),
            info: Arc::new(info.clone()),
            container: container.clone(),
            sandbox: sandbox.name,
        };
        if !is_played(info) {
            self.hosts.insert(container, key.clone());
        }
        self.record(Record::Executor(Box::new(record)), out);
        if let Some(executor) = self.state.executors.get_mut(key) {
            executor.holds = true;
            if executor.is_played() {
                executor.phase = ExecutorPhase::Running;
            }
            if let Some(spec) = &executor.spec {
                self.used += &exclusive(&spec.resources);
            }
        }
    }

    /// Tasks wait for their executor, or are given to it.
    pub(crate) fn enlist(&mut self, now: Time, tasks: Waiting, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        executor.queue.push_back(tasks);
        let begun = executor.queue.len() > 1 || executor.used || executor.stream.is_some();
        if executor.stream.is_some() {
            self.deliver(key, out);
        } else if !begun && executor.phase == ExecutorPhase::Fetching {
            let fetches = executor.spec.as_ref().is_some_and(|spec| spec.fetches());
            match self.executor_job(key) {
                Some(job) if fetches => self.outbox.after(Effect::Fetch(job), out),
                _ => self.launch_executor(now, key, out),
            }
        }
    }

    fn launch_executor(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let job = self.executor_job(key);
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        executor.phase = ExecutorPhase::Launching;
        self.timers.set(Timer::Subscription(key.clone()), now + limits::REGISTRATION_TIMEOUT);
        if let Some(job) = job {
            self.outbox.after(Effect::Launch(job), out);
        }
    }

    /// What others need to work on an executor: its process as if it were a task, with the resources of its tasks.
    fn executor_job(&self, key: &ExecutorKey) -> Option<Job> {
        let executor = self.state.executors.get(key)?;
        let framework = self.state.frameworks.get(&key.framework)?;
        let spec = executor.spec.as_ref()?;
        Some(Job {
            container: executor.container.clone(),
            sandbox: executor.sandbox.clone(),
            task: Arc::new(TaskSpec { resources: self.share(key), ..(**spec).clone() }),
            framework: Arc::clone(&framework.info),
            executor: key.executor.clone(),
            is_executor: true,
        })
    }

    /// Shows directories in the sandbox of an executor: its own, or those of tasks that it is about to be given.
    pub(crate) fn show(&mut self, key: &ExecutorKey, mounts: Vec<Mount>, out: &mut Vec<Effect>) {
        if mounts.is_empty() {
            return;
        }
        if let Some(mut job) = self.executor_job(key) {
            Arc::make_mut(&mut job.task).mounts = mounts;
            self.outbox.after(Effect::Show(job), out);
        }
    }

    /// What an executor and its tasks may use together: they share one container.
    fn share(&self, key: &ExecutorKey) -> Bag {
        let own = self.state.executors.get(key).and_then(|executor| executor.spec.as_ref());
        let mut share = own.map(|spec| spec.resources.clone()).unwrap_or_default();
        for task in self.hosted(key).filter(|task| task.phase != Phase::Ended) {
            if let Some(spec) = &task.spec {
                share += &spec.resources;
            }
        }
        share
    }

    /// Fits the limits of an executor's container to the tasks it has now.
    pub(crate) fn resize(&mut self, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get(key) else { return };
        if executor.phase == ExecutorPhase::Running {
            let (container, resources) = (executor.container.clone(), self.share(key));
            self.outbox.after(Effect::Resize { container, resources }, out);
        }
    }

    /// The tasks of an executor, ended ones included.
    pub(crate) fn hosted<'a>(&'a self, key: &'a ExecutorKey) -> impl Iterator<Item = &'a Task> {
        let of = |task: &&Task| task.executor.as_ref() == Some(&key.executor);
        self.state.tasks_of(&key.framework).filter(of)
    }

    /// Whether an executor has no task that lives.
    pub(crate) fn is_idle(&self, key: &ExecutorKey) -> bool {
        self.hosted(key).all(|task| task.phase == Phase::Ended)
    }

    /// Gives a subscribed executor the tasks that wait for it.
    pub(crate) fn deliver(&mut self, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        let Some(stream) = executor.stream else { return };
        let queue = std::mem::take(&mut executor.queue);
        if queue.is_empty() {
            return;
        }
        executor.used = true;
        self.resize(key, out);
        for waiting in queue {
            let mut infos = Vec::with_capacity(waiting.tasks().len());
            let mut mounts = Vec::new();
            for task in waiting.tasks() {
                let task = TaskKey { framework: key.framework.clone(), task: task.clone() };
                let Some(task) = self.state.tasks.get_mut(&task) else { continue };
                task.phase = Phase::Launching;
                infos.push(Arc::clone(&task.info));
                mounts.extend(task.spec.iter().flat_map(|spec| spec.mounts.clone()));
            }
            self.show(key, mounts, out);
            let event = match waiting {
                Waiting::Task(_) => infos.pop().map(Event::Launch),
                Waiting::Group(_) => Some(Event::LaunchGroup(infos)),
            };
            if let Some(event) = event {
                self.outbox.after(Effect::Event { stream, event }, out);
            }
        }
    }

    pub(crate) fn executor_fetched(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let phase = self.state.executors.get(key).map(|executor| executor.phase);
        if phase != Some(ExecutorPhase::Fetching) {
            return;
        }
        match result {
            Ok(()) => {
                self.counters.fetches_succeeded += 1;
                self.launch_executor(now, key, out);
            }
            Err(why) => {
                self.counters.fetches_failed += 1;
                let why = format!("Failed to fetch all URIs for executor '{}': {why}", key.executor);
                self.executor_failed(now, key, &why, out);
            }
        }
    }

    /// Its process never ran.
    pub(crate) fn executor_failed(&mut self, now: Time, key: &ExecutorKey, why: &str, out: &mut Vec<Effect>) {
        self.counters.launch_errors += 1;
        let message = format!("Failed to launch container: {why}");
        let draft = Draft::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message);
        self.executor_ended(now, key, |_| draft.clone(), None, out);
    }

    pub(crate) fn executor_started(&mut self, now: Time, key: &ExecutorKey, pid: u32, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        executor.pid = Some(pid);
        let (container, subscribed) = (executor.container.clone(), executor.stream.is_some());
        match executor.phase {
            ExecutorPhase::Ending => self.outbox.after(Effect::Destroy { container }, out),
            ExecutorPhase::Running => {}
            ExecutorPhase::Fetching | ExecutorPhase::Launching => {
                executor.phase = ExecutorPhase::Running;
                if executor.recovered && !subscribed {
                    let removed = self.state.frameworks.get(&key.framework).is_none_or(|f| f.removed);
                    if removed {
                        return self.shut_down(now, key, out);
                    }
                    let timer = Timer::Subscription(key.clone());
                    self.timers.set(timer, now + limits::REREGISTRATION_TIMEOUT);
                }
                self.resize(key, out);
            }
        }
    }

    pub(crate) fn executor_exited(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        exit: &Exit,
        out: &mut Vec<Effect>,
    ) {
        let ended = match exit.status {
            ExitStatus::Code(code) => format!("Executor exited with status {code}"),
            ExitStatus::Signal(_, name) => format!("Executor terminated with signal {name}"),
        };
        // As `wait(2)` puts it.
        let status = match exit.status {
            ExitStatus::Code(code) => code << 8,
            ExitStatus::Signal(number, _) => number,
        };
        let draft = match exit.out_of_memory {
            None => Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, ended),
            Some(limit) => {
                let message = format!("Memory limit of {} MB exceeded; {ended}", limit >> 20);
                let reason = Reason::ContainerLimitationMemory;
                Draft { memory: Some(limit), ..Draft::agent(TaskState::Failed, reason, message) }
            }
        };
        self.executor_ended(now, key, |_| draft.clone(), Some(status), out);
    }

    pub(crate) fn executor_lost(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        never_started: bool,
        why: &str,
        out: &mut Vec<Effect>,
    ) {
        let why = if self.rebooted { "the machine was restarted" } else { why };
        let terminated = format!("Executor terminated: {why}");
        let draft = |agent: &Self, task: &TaskKey| {
            if never_started {
                agent.lost_in_launch(task)
            } else {
                Draft::agent(TaskState::Failed, Reason::ExecutorTerminated, terminated.clone())
            }
        };
        let drafts: Vec<(TaskKey, Draft)> =
            self.hosted(key).map(|task| (task.key.clone(), draft(self, &task.key))).collect();
        let of = |task: &TaskKey| {
            let found = drafts.iter().find(|(key, _)| key == task);
            found.map_or_else(during_launch, |(_, draft)| draft.clone())
        };
        self.executor_ended(now, key, of, None, out);
    }

    /// Nothing is left of an executor: neither are its tasks.
    pub(crate) fn executor_ended(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        draft: impl Fn(&TaskKey) -> Draft,
        status: Option<i32>,
        out: &mut Vec<Effect>,
    ) {
        let living = self.hosted(key).filter(|task| task.phase != Phase::Ended);
        let living: Vec<TaskKey> = living.map(|task| task.key.clone()).collect();
        for task in living {
            self.end(now, &task, draft(&task), out);
        }
        let Some(executor) = self.state.executors.get(key).cloned() else { return };
        self.counters.executors += 1;
        self.release_executor(key);
        self.timers.clear(&Timer::Subscription(key.clone()));
        self.timers.clear(&Timer::Grace(key.clone()));
        let removed = self.state.frameworks.get(&key.framework).is_none_or(|framework| framework.removed);
        self.record(Record::ExecutorEnded(key.clone()), out);
        if let Some(stream) = executor.stream {
            out.push(Effect::CloseStream { stream });
        }
        if let Some(link) = self.registered().filter(|_| !removed) {
            let (framework, executor) = (key.framework.clone(), key.executor.clone());
            let report = Report::ExecutorExit { framework, executor, status };
            self.outbox.after(Effect::Send { link, report }, out);
        }
        self.hosts.remove(&executor.container);
        if executor.phase != ExecutorPhase::Fetching && !executor.is_played() {
            self.outbox.after(Effect::Forget { container: executor.container.clone() }, out);
        }
        out.extend(self.gc.add(now, executor.sandbox.clone()).map(Effect::Remove));
        self.remember(executor);
    }

    fn remember(&mut self, executor: Executor) {
        self.completed_executors.push_back(Arc::new(executor));
        if self.completed_executors.len() > limits::COMPLETED_EXECUTORS {
            self.completed_executors.pop_front();
        }
    }

    pub(crate) fn release_executor(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.state.executors.get_mut(key).filter(|executor| executor.holds) else {
            return;
        };
        executor.holds = false;
        if let Some(spec) = &executor.spec {
            self.used = self.used.without(&exclusive(&spec.resources));
        }
    }

    /// Tells an executor to end, and sees to it that it does.
    pub(crate) fn shut_down(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        let (container, grace) = (executor.container.clone(), executor.grace());
        match executor.phase {
            ExecutorPhase::Ending => {}
            _ if executor.is_played() => self.dismiss(now, key, out),
            ExecutorPhase::Fetching => {
                out.push(Effect::CancelFetch { container });
                self.executor_ended(now, key, |_| during_launch(), None, out);
            }
            ExecutorPhase::Launching | ExecutorPhase::Running => {
                executor.phase = ExecutorPhase::Ending;
                self.timers.clear(&Timer::Subscription(key.clone()));
                match executor.stream {
                    Some(stream) => {
                        self.outbox.after(Effect::Event { stream, event: Event::Shutdown }, out);
                        self.timers.set(Timer::Grace(key.clone()), now + self.within_the_end(grace));
                    }
                    // Nobody listens: there is nothing to be gentle with.
                    None => self.outbox.after(Effect::Destroy { container }, out),
                }
            }
        }
    }

    /// An agent that ends has little time itself.
    fn within_the_end(&self, grace: Span) -> Span {
        if matches!(self.mode, Mode::Ending { .. }) { grace.min(limits::STOP_GRACE) } else { grace }
    }

    /// The grace of a shutdown is over.
    pub(crate) fn end_executor(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get(key) else { return };
        if executor.is_played() {
            return self.executor_ended(now, key, |_| during_launch(), Some(0), out);
        }
        let container = executor.container.clone();
        self.outbox.after(Effect::Destroy { container }, out);
    }

    /// It did not subscribe in time, for the first time or again.
    pub(crate) fn subscription_late(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        executor.phase = ExecutorPhase::Ending;
        let (container, again) = (executor.container.clone(), executor.recovered);
        let living = self.hosted(key).filter(|task| task.phase != Phase::Ended);
        let living: Vec<TaskKey> = living.map(|task| task.key.clone()).collect();
        for task in living {
            let draft = if again {
                let message = "Executor did not subscribe again in time";
                let reason = Reason::ExecutorReregistrationTimeout;
                let aware = self
                    .state
                    .frameworks
                    .get(&key.framework)
                    .is_some_and(|framework| framework.partition_aware);
                let state = if aware { TaskState::Gone } else { TaskState::Lost };
                Draft::agent(state, reason, message)
            } else {
                let message = "Executor did not subscribe in time";
                Draft::agent(TaskState::Failed, Reason::ExecutorRegistrationTimeout, message)
            };
            self.end(now, &task, draft, out);
        }
        self.outbox.after(Effect::Destroy { container }, out);
    }

    /// Ends a task that an executor runs or waits for.
    pub(crate) fn kill_hosted(
        &mut self,
        now: Time,
        task: &TaskKey,
        key: &ExecutorKey,
        cause: KillCause,
        grace: Option<Span>,
        out: &mut Vec<Effect>,
    ) {
        let Some(held) = self.state.tasks.get(task) else { return };
        let phase = held.phase;
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        match phase {
            Phase::Ended => {}
            Phase::Fetching => {
                // Those that came with it go with it: an executor is given the whole of a group.
                let killed = executor.take_waiting(&task.task);
                let unused = !executor.used && executor.queue.is_empty();
                for task in killed {
                    let task = TaskKey { framework: key.framework.clone(), task };
                    self.end(now, &task, during_launch(), out);
                }
                // An executor without a task it ever had would hold its resources for nothing.
                if unused && self.is_idle(key) {
                    self.shut_down(now, key, out);
                }
            }
            Phase::Launching | Phase::Running => {
                let stream = executor.stream;
                let own = held.spec.as_ref().and_then(|spec| spec.kill_grace);
                let deadline = now + grace.or(own).unwrap_or(limits::KILL_GRACE).min(limits::KILL_GRACE_MAX);
                // A repeated kill can only bring the end nearer; the first reason stands.
                let kill = match &held.kill {
                    None => Some(Kill { cause, deadline }),
                    Some(before) if deadline < before.deadline => {
                        Some(Kill { cause: before.cause, deadline })
                    }
                    Some(_) => None,
                };
                if let Some(kill) = kill {
                    self.record(Record::Kill { key: task.clone(), kill }, out);
                }
                // Without a stream it is told when it subscribes again.
                if let Some(stream) = stream {
                    let event = Event::Kill { task: task.task.clone(), grace };
                    self.outbox.after(Effect::Event { stream, event }, out);
                }
            }
        }
    }

    /// A message of its scheduler.
    pub(crate) fn message(&mut self, key: &ExecutorKey, data: Vec<u8>, out: &mut Vec<Effect>) {
        match self.state.executors.get(key).and_then(|executor| executor.stream) {
            Some(stream) => {
                self.counters.messages += 1;
                self.outbox.after(Effect::Event { stream, event: Event::Message(data) }, out);
            }
            // Messages are best effort, and nobody is there who could read this one.
            None => self.counters.dropped_messages += 1,
        }
    }
}
