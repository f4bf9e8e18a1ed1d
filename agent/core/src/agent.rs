//! The agent: one state, one `handle`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::id::{AgentId, ContainerId};
use model::resources::Bag;
use model::time::{Span, Time};
use wire::v1;

use crate::change::{self, exclusive};
use crate::checkpoint::{Boot, Record, State};
use crate::effect::{Effect, Ending, LinkId, Sandbox};
use crate::executor::{Executor, ExecutorKey, ExecutorPhase};
use crate::gc::Gc;
use crate::health::Which;
use crate::ids::{Ids, Uuid};
use crate::input::{Drain, Input};
use crate::limits;
use crate::link::{Link, Woken};
use crate::outbox::Outbox;
use crate::spec::TaskKey;
use crate::task::{Framework, Phase, Task};
use crate::timers::Timers;
use crate::view::Counters;

/// What an agent is told once, at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port` of masters, at least one.
    pub masters: Vec<String>,
    /// Totals, attributes, hostname and port; without an id.
    pub info: Arc<v1::AgentInfo>,
    /// The resources of `info`.
    pub total: Bag,
    pub version: String,
    /// Changes with each boot of the machine.
    pub boot: String,
    /// When that boot was, by this process's clock; `None` when that cannot be told.
    pub booted: Option<Time>,
    /// The address under which others reach the tasks.
    pub ip: String,
    /// Fresh randomness for uuids and jitter; see [`Ids`].
    pub seed: [u64; 2],
}

/// Why an agent cannot start from its records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    #[error(
        "the agent's resources are now {total}, but its running tasks use {used}: give it at least so much, or end them first"
    )]
    Shrunk { total: String, used: String },
    #[error(
        "the agent's resources are now {total}, but {changed} are reserved or volumes: give it at least so much, or undo these first"
    )]
    Reserved { total: String, changed: String },
}

/// Where the process is in its own life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    New,
    /// Waiting for the launcher to find what an earlier process started.
    Recovering,
    Working,
    /// Waiting for the last tasks to end, if they go along.
    Ending {
        ending: Ending,
        kill_tasks: bool,
    },
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An update waits for its acknowledgement.
    Retry(TaskKey),
    Probe(TaskKey, Which),
    /// A task has run as long as it may.
    Completion(TaskKey),
    /// An executor has to subscribe.
    Subscription(ExecutorKey),
    /// An executor that was told to end has had its time.
    Grace(ExecutorKey),
    /// The end of an operation waits for its acknowledgement.
    Operation(Uuid),
    Gc,
    /// The last tasks have had their time.
    Ending,
}

/// An agent without IO. Time, randomness and the outside world come in as arguments and inputs; everything it
/// wants goes out as effects. `handle` is total: it never fails, never blocks, never looks at a clock.
#[derive(Debug)]
pub struct Agent {
    pub(crate) settings: Settings,
    /// The name of this process: what tells it from those of a copy of its data directory.
    pub(crate) session: String,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    pub(crate) link: Link,
    pub(crate) ids: Ids,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers<Timer>,
    pub(crate) containers: BTreeMap<ContainerId, TaskKey>,
    /// Containers of executors.
    pub(crate) hosts: BTreeMap<ContainerId, ExecutorKey>,
    /// What the agent has, with its reservations and volumes.
    pub(crate) total: Bag,
    /// Resources of tasks and executors that hold theirs, without what is shared.
    pub(crate) used: Bag,
    /// The next waits between tries to report operations.
    pub(crate) delays: BTreeMap<Uuid, Span>,
    pub(crate) completed: VecDeque<Arc<Task>>,
    pub(crate) completed_executors: VecDeque<Arc<Executor>>,
    /// Frameworks that have nothing here any more.
    pub(crate) completed_frameworks: VecDeque<Framework>,
    /// As the master said last.
    pub(crate) drain: Option<Drain>,
    /// When the process began to look for what an earlier one left, and how long it took.
    pub(crate) begun: Time,
    pub(crate) recovery: Option<Span>,
    pub(crate) gc: Gc,
    pub(crate) next_probe: u64,
    /// The boot on which the records were written, while recovering.
    pub(crate) rebooted: bool,
    pub(crate) counters: Counters,
}

impl Agent {
    /// An agent with what its records say, empty for a new one.
    ///
    /// # Errors
    /// When the settings have become too small for the tasks that run.
    pub fn recover(
        settings: Settings,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, RecoverError> {
        let mut state = State::default();
        for record in records {
            state.apply(&record);
        }
        let mut ids = Ids::new(settings.seed);
        let session = ids.uuid().to_string();
        let total = change::total(&settings.total, &state.changed).map_err(|_| RecoverError::Reserved {
            total: settings.total.to_string(),
            changed: state.changed.to_string(),
        })?;
        let mut agent = Self {
            link: Link::new(settings.masters.clone()),
            rebooted: !state.boot.id.is_empty() && state.boot.id != settings.boot,
            settings,
            session,
            state,
            mode: Mode::New,
            ids,
            outbox: Outbox::default(),
            timers: Timers::default(),
            containers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            total,
            used: Bag::default(),
            delays: BTreeMap::new(),
            completed: VecDeque::new(),
            completed_executors: VecDeque::new(),
            completed_frameworks: VecDeque::new(),
            drain: None,
            begun: Time::ZERO,
            recovery: None,
            gc: Gc::default(),
            next_probe: 1,
            counters: Counters::default(),
        };
        agent.index();
        if !agent.total.contains(&agent.used) {
            let (total, used) = (agent.total.to_string(), agent.used.to_string());
            return Err(RecoverError::Shrunk { total, used });
        }
        Ok(agent)
    }

    fn index(&mut self) {
        for (key, executor) in &mut self.state.executors {
            if executor.is_played() {
                executor.phase = ExecutorPhase::Running;
            } else {
                self.hosts.insert(executor.container.clone(), key.clone());
                // Whatever it was given may have reached it.
                (executor.phase, executor.used, executor.recovered) = (ExecutorPhase::Launching, true, true);
            }
            let removed = self.state.frameworks.get(&key.framework).is_some_and(|f| f.removed);
            if let Some(spec) = executor.spec.as_ref().filter(|_| !removed) {
                executor.holds = true;
                self.used += &exclusive(&spec.resources);
            }
        }
        for (key, task) in &mut self.state.tasks {
            if task.is_own() {
                self.containers.insert(task.container.clone(), key.clone());
            } else if task.phase == Phase::Fetching {
                task.phase = Phase::Launching;
            }
            let removed = self.state.frameworks.get(&key.framework).is_some_and(|f| f.removed);
            if let Some(spec) = task.spec.as_ref().filter(|_| task.state.holds_resources() && !removed) {
                task.holds = true;
                self.used += &exclusive(&spec.resources);
            }
        }
    }

    /// Begins: the first effects look for containers of an earlier process. The link follows when they are found.
    pub fn start(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.mode != Mode::New {
            return;
        }
        self.mode = Mode::Recovering;
        self.begun = now;
        let boot = Boot { id: self.settings.boot.clone(), at: self.settings.booted };
        let another = self.state.boot.id != boot.id;
        let off = |known: Time, seen: Time| known.since(seen).max(seen.since(known)) > limits::CLOCK_STEP;
        let set = boot.at.is_some_and(|seen| self.state.boot.at.is_none_or(|known| off(known, seen)));
        if another || set {
            self.record(Record::Boot(boot), out);
        }
        // On disk before any leader hears of it: were it taken in and then unknown here, it would lock the next one out.
        if let Some(agent) = self.state.agent.clone() {
            let mut sessions = self.state.sessions.clone();
            if sessions.len() >= limits::SESSIONS {
                sessions.remove(1);
            }
            sessions.push(self.session.clone());
            self.record(Record::Registered { agent, sessions }, out);
        }
        for volume in self.state.removing.clone() {
            self.outbox.after(Effect::RemoveVolume(volume), out);
        }
        self.timers.set(Timer::Gc, now + limits::GC_PERIOD);
        self.find_containers(now, out);
    }

    /// Takes in one thing that happened and says what to do about it.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Wake => {}
            Input::Synced(seq) => self.outbox.synced(seq, out),
            Input::LinkUp(link) => self.link_up(now, link, out),
            Input::LinkDown { link, why } => self.link_down(now, link, why, out),
            Input::FromMaster { link, envelope } => self.heard(now, link, envelope, out),
            Input::Fetched { container, result } => self.fetched(now, &container, result, out),
            Input::Started { container, pid } => self.started(now, &container, pid, out),
            Input::LaunchFailed { container, missing_program, message } => {
                self.launch_failed(now, &container, missing_program, &message, out);
            }
            Input::Exited { container, exit } => self.exited(now, &container, &exit, out),
            Input::ContainerLost { container, never_started, message } => {
                self.container_lost(now, &container, never_started, &message, out);
            }
            Input::Recovered => self.recovered(now, out),
            Input::Called { executor, call } => self.called(now, &executor, call, out),
            Input::StreamGone(stream) => self.stream_gone(now, stream),
            Input::Probed { probe, container, finding } => self.probed(now, probe, &container, &finding, out),
            Input::Disk { used } => {
                let gone = self.gc.collect(now, used);
                out.extend(gone.into_iter().map(Effect::Remove));
            }
            Input::VolumeRemoved(volume) => drop(self.record(Record::VolumeRemoved(volume), out)),
            Input::Leftover { sandbox, since } => self.leftover(since, sandbox, out),
            Input::Stop { kill_tasks } => self.stop(now, kill_tasks, out),
        }
        self.due(now, out);
        self.maybe_end(now, out);
    }

    /// When to call with [`Input::Wake`] if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        [self.timers.next(), self.link.deadline()].into_iter().flatten().min()
    }

    /// Whether so much waits for the disk that the driver should not listen to the master for now.
    pub fn congested(&self) -> bool {
        self.outbox.held() > limits::HELD
    }

    /// Records that say all that earlier ones said: what a compacted log begins with.
    pub fn snapshot(&self) -> Vec<Record> {
        self.state.records()
    }

    /// The master it is registered with.
    pub fn master(&self) -> Option<&str> {
        self.registered().map(|_| self.link.address())
    }

    pub fn id(&self) -> Option<&AgentId> {
        self.state.agent.as_ref()
    }

    /// Every durable change goes through here: to the state and, in the same order, to the disk.
    pub(crate) fn record(&mut self, record: Record, out: &mut Vec<Effect>) -> Option<Task> {
        let touched = record.leaves().and_then(|id| self.state.frameworks.get(id)).cloned();
        let left = self.state.apply(&record);
        match &record {
            Record::Framework(info) => {
                let id = info.id.as_ref().map_or("", |id| id.value.as_str());
                self.completed_frameworks.retain(|framework| framework.id.as_str() != id);
            }
            _ => self.remember_framework(touched),
        }
        self.outbox.checkpoint(record, out);
        left
    }

    /// A framework whose last task or executor has left is history.
    fn remember_framework(&mut self, framework: Option<Framework>) {
        let Some(framework) = framework.filter(|one| !self.state.frameworks.contains_key(&one.id)) else {
            return;
        };
        self.completed_frameworks.push_back(framework);
        if self.completed_frameworks.len() > limits::COMPLETED_FRAMEWORKS {
            self.completed_frameworks.pop_front();
        }
    }

    fn due(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.link.wake(now, &mut self.ids, out) == Woken::Lost {
            self.unlinked();
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                #[cfg(feature = "mutants")]
                Timer::Retry(_) if mutant::planted("updates-are-sent-once") => {}
                Timer::Retry(key) => self.transmit(now, &key, out),
                Timer::Probe(key, which) => self.probe(&key, which, out),
                Timer::Completion(key) => self.ran_too_long(now, &key, out),
                Timer::Subscription(key) => self.subscription_late(now, &key, out),
                Timer::Operation(uuid) => self.report_operation(now, uuid, out),
                Timer::Grace(key) => self.end_executor(now, &key, out),
                Timer::Gc => {
                    out.push(Effect::MeasureDisk);
                    self.timers.set(Timer::Gc, now + limits::GC_PERIOD);
                }
                Timer::Ending => self.end_now(out),
            }
        }
    }

    /// The link the agent is registered on, if any.
    pub(crate) fn registered(&self) -> Option<LinkId> {
        self.link.registered()
    }

    fn leftover(&mut self, since: Time, sandbox: Sandbox, out: &mut Vec<Effect>) {
        let key = TaskKey { framework: sandbox.framework.clone(), task: sandbox.name.as_str().into() };
        let named = self.state.tasks.get(&key).is_some_and(|task| task.sandbox == sandbox);
        let hosts = self.state.executors.values().any(|executor| executor.sandbox == sandbox);
        if !named && !hosts && !self.containers.contains_key(&ContainerId::from(sandbox.name.as_str())) {
            out.extend(self.gc.add(since, sandbox).map(Effect::Remove));
        }
    }
}
