//! What executors say: subscriptions, status updates, messages (spec mesos-v1, 5.2).

use model::id::TaskId;
use model::task::TaskState;
use model::time::Time;
use wire::v1;
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Mode, Timer};
use crate::effect::{Effect, Report};
use crate::executor::{Call, CallRefusal, Event, ExecutorKey, ExecutorPhase, StreamId};
use crate::ids::Uuid;
use crate::limits;
use crate::spec::TaskKey;
use crate::status::{self, Draft, Place};
use crate::task::{Phase, Task};

impl Agent {
    /// Whether a call of this executor may be given to [`handle`](Self::handle); its sender is told at once.
    ///
    /// # Errors
    /// The refusals of the executor API, in its order.
    pub fn may_call(&self, key: &ExecutorKey, subscribes: bool) -> Result<(), CallRefusal> {
        if self.mode == Mode::New || (self.mode == Mode::Recovering && !subscribes) {
            return Err(CallRefusal::Recovering);
        }
        if !self.state.frameworks.contains_key(&key.framework) {
            return Err(CallRefusal::UnknownFramework);
        }
        // Nobody but the agent speaks for an executor that it plays.
        let executor = self.state.executors.get(key).filter(|executor| !executor.is_played());
        let executor = executor.ok_or(CallRefusal::UnknownExecutor)?;
        if !subscribes && executor.stream.is_none() {
            return Err(CallRefusal::NotSubscribed);
        }
        Ok(())
    }

    pub(crate) fn called(&mut self, now: Time, key: &ExecutorKey, call: Call, out: &mut Vec<Effect>) {
        let known = self.state.executors.contains_key(key);
        match call {
            Call::Subscribe { stream, unacknowledged_tasks, unacknowledged_updates } => {
                if !known {
                    return out.push(Effect::CloseStream { stream });
                }
                self.subscribe(now, key, stream, &unacknowledged_tasks, unacknowledged_updates, out);
            }
            Call::Update(status) if known => self.updated(now, key, *status, out),
            Call::Message(data) if known => {
                let (framework, executor) = (key.framework.clone(), key.executor.clone());
                match self.registered() {
                    Some(link) => {
                        self.counters.messages += 1;
                        let report = Report::Message { framework, executor, data };
                        self.outbox.after(Effect::Send { link, report }, out);
                    }
                    // Messages are best effort, and nobody is there who could pass this one on.
                    None => self.counters.dropped_messages += 1,
                }
            }
            Call::Update(_) | Call::Message(_) => {}
        }
    }

    fn subscribe(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        stream: StreamId,
        listed: &[TaskId],
        updates: Vec<v1::TaskStatus>,
        out: &mut Vec<Effect>,
    ) {
        let removed = self.state.frameworks.get(&key.framework).is_none_or(|framework| framework.removed);
        let ending = matches!(self.mode, Mode::Ending { .. } | Mode::Ended) || removed;
        let idle = self.is_idle(key);
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        if ending || executor.phase == ExecutorPhase::Ending || (!executor.used && idle) {
            out.push(Effect::Event { stream, event: Event::Shutdown });
            out.push(Effect::CloseStream { stream });
            // All its tasks were killed before it had one: nothing else would end it.
            return self.shut_down(now, key, out);
        }
        if let Some(before) = executor.stream.replace(stream) {
            out.push(Effect::CloseStream { stream: before });
        }
        executor.recovered = false;
        let (info, container) = (executor.info.clone(), executor.container.clone());
        self.timers.clear(&Timer::Subscription(key.clone()));
        let Some(framework) = self.state.frameworks.get(&key.framework) else { return };
        let id = self.state.agent.as_ref().map(|id| v1::AgentId { value: id.to_string() });
        let agent = Box::new(v1::AgentInfo { id, ..(*self.settings.info).clone() });
        let event = Event::Subscribed { executor: info, framework: framework.info.clone(), agent, container };
        self.outbox.after(Effect::Event { stream, event }, out);
        for status in updates {
            self.updated(now, key, status, out);
        }
        self.drop_unheard(now, key, listed, out);
        self.repeat_kills(now, key, stream, out);
        self.deliver(key, out);
    }

    /// Tasks it was sent and never heard of: they were on a stream that broke.
    fn drop_unheard(&mut self, now: Time, key: &ExecutorKey, listed: &[TaskId], out: &mut Vec<Effect>) {
        let unheard: Vec<TaskKey> = self
            .hosted(key)
            .filter(|task| task.phase == Phase::Launching && task.state == TaskState::Staging)
            .filter(|task| !listed.contains(&task.key.task))
            .map(|task| task.key.clone())
            .collect();
        for task in unheard {
            let message = "The task was lost on its way to its executor";
            let draft = Draft::agent(self.dropped(&task.framework), Reason::AgentRestarted, message);
            self.end(now, &task, draft, out);
        }
    }

    /// With what is left of the grace, whoever gave it: the executor may not have heard of the kill before.
    fn repeat_kills(&mut self, now: Time, key: &ExecutorKey, stream: StreamId, out: &mut Vec<Effect>) {
        let live = self.hosted(key).filter(|task| task.phase != Phase::Ended);
        let kill = |task: &Task| {
            let grace = Some(task.kill.as_ref()?.deadline.since(now));
            Some(Event::Kill { task: task.key.task.clone(), grace })
        };
        let kills: Vec<Event> = live.filter_map(kill).collect();
        for event in kills {
            self.outbox.after(Effect::Event { stream, event }, out);
        }
    }

    /// A stream broke. Its executor is given time to come back: it may only have lost a connection.
    pub(crate) fn stream_gone(&mut self, now: Time, stream: StreamId) {
        let mut all = self.state.executors.values_mut();
        let Some(executor) = all.find(|executor| executor.stream == Some(stream)) else { return };
        executor.stream = None;
        if executor.phase != ExecutorPhase::Ending {
            executor.recovered = true;
            self.timers.set(Timer::Subscription(executor.key.clone()), now + limits::RECOVERY_TIMEOUT);
        }
    }

    /// A status update of an executor. It is acknowledged once it is on disk, which is all the executor waits for.
    fn updated(&mut self, now: Time, key: &ExecutorKey, status: v1::TaskStatus, out: &mut Vec<Effect>) {
        let task = TaskKey { framework: key.framework.clone(), task: status.task_id.value.as_str().into() };
        let Some(uuid) = status.uuid.as_ref().and_then(|uuid| Uuid::from_slice(uuid)) else {
            self.counters.invalid_updates += 1;
            return;
        };
        if !self.is_of(key, &task) {
            self.counters.invalid_updates += 1;
        } else if self.is_news(&task, uuid) {
            self.take_update(now, key, &task, status, out);
        } else {
            self.counters.repeated_updates += 1;
        }
        if let Some(stream) = self.state.executors.get(key).and_then(|executor| executor.stream) {
            let event = Event::Acknowledged { task: task.task, uuid };
            self.outbox.after(Effect::Event { stream, event }, out);
        }
    }

    /// Whether a task is, or was a moment ago, one of this executor.
    fn is_of(&self, key: &ExecutorKey, task: &TaskKey) -> bool {
        let live = self.state.tasks.get(task).map(|task| task.host());
        let ended = || self.completed.iter().rev().find(|ended| ended.key == *task).map(|task| task.host());
        live.or_else(ended).is_some_and(|host| host.as_ref() == Some(key))
    }

    /// Whether an update says something new of its task. What comes twice, or after the end, would only turn the task's
    /// state back.
    fn is_news(&self, task: &TaskKey, uuid: Uuid) -> bool {
        let lives = self.state.tasks.get(task).is_some_and(|task| task.phase != Phase::Ended);
        let seen = self.state.streams.get(task).is_some_and(|stream| stream.knows(uuid));
        lives && !seen
    }

    fn take_update(
        &mut self,
        now: Time,
        key: &ExecutorKey,
        task: &TaskKey,
        status: v1::TaskStatus,
        out: &mut Vec<Effect>,
    ) {
        let Some(executor) = self.state.executors.get_mut(key) else { return };
        let container = executor.container.to_string();
        executor.unqueue(&task.task);
        let place = Place { container: &container, parent: None, pid: executor.pid, ip: &self.settings.ip };
        let Some(update) =
            status::from_executor(status, &key.executor, self.state.agent.as_ref(), &place, now)
        else {
            self.counters.invalid_updates += 1;
            return;
        };
        if !update.state.is_terminal() {
            return self.announce(now, task, update, out);
        }
        self.settle(task, update.state);
        if self.state.frameworks.get(&key.framework).is_some_and(|framework| framework.removed) {
            self.forget(now, task, out);
        } else {
            self.announce(now, task, update, out);
        }
        self.resize(key, out);
    }
}
