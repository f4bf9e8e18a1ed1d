//! What survives the process: records, their bytes, and what they add up to.
//!
//! Every durable fact changes through [`State::apply`], while running and while recovering alike, so that a
//! restarted agent is by construction the one its records describe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};
use model::resources::{Bag, Form};
use model::time::Time;
use prost::Message;
use wire::checkpoint as disk;
use wire::v1;

use crate::change::{Volume, destroyed};
use crate::executor::{Executor, ExecutorKey};
use crate::ids::Uuid;
use crate::operations::Operation;
use crate::spec::TaskKey;
use crate::status;
use crate::task::{Framework, Kill, KillCause, Task};
use crate::updates::{Acked, Stream, Update};

/// One durable fact.
#[derive(Debug, Clone)]
pub enum Record {
    /// Its id, and names of processes of this directory: the last that a leader is known to have taken in, and those
    /// that began since. A later record replaces an earlier one.
    Registered {
        agent: AgentId,
        sessions: Vec<String>,
    },
    Term(u64),
    /// A process started on this boot of the machine.
    Boot(Boot),
    Framework(Arc<v1::FrameworkInfo>),
    FrameworkRemoved(FrameworkId),
    Task(Box<TaskRecord>),
    Update {
        key: TaskKey,
        update: Arc<Update>,
    },
    Acknowledged {
        key: TaskKey,
        uuid: Uuid,
    },
    Kill {
        key: TaskKey,
        kill: Kill,
    },
    /// A task is forgotten without an acknowledgement, because its framework is gone.
    Dropped(TaskKey),
    Executor(Box<ExecutorRecord>),
    /// Nothing is left of an executor's process.
    ExecutorEnded(ExecutorKey),
    /// The part of the agent's resources that is reserved dynamically or made volumes.
    Changed(Bag),
    Operation(Box<OperationRecord>),
    OperationAcknowledged(Uuid),
    /// A volume was destroyed; its data may still be where those of a new one of its name would be.
    VolumeDestroyed(Volume),
    /// They are not any more.
    VolumeRemoved(Volume),
}

/// A boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    pub id: String,
    /// When it was, by the clock of the process that writes this; absent when that cannot be told.
    pub at: Option<Time>,
}

/// An operation that has ended, with what it changed: one fact, so that neither is found without the other.
#[derive(Debug, Clone)]
pub struct OperationRecord {
    pub operation: Operation,
    /// As in [`Record::Changed`]; absent when nothing changed.
    pub changed: Option<Bag>,
}

/// An executor accepted.
#[derive(Debug, Clone)]
pub struct ExecutorRecord {
    pub framework: FrameworkId,
    pub info: Arc<v1::ExecutorInfo>,
    pub container: ContainerId,
    pub sandbox: String,
}

/// A task accepted; in a compacted log with what became of it since.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    pub framework: FrameworkId,
    pub info: Arc<v1::TaskInfo>,
    /// Absent for a command task.
    pub executor: Option<ExecutorId>,
    pub container: ContainerId,
    pub sandbox: String,
    /// Present for a task whose executor the agent plays.
    pub member: Option<Member>,
    pub statuses: Vec<Arc<Update>>,
    pub forwarded: Option<Arc<Update>>,
    pub started: Option<Time>,
}

/// One task of a group.
#[derive(Debug, Clone)]
pub struct Member {
    pub group: Uuid,
    /// Its directory below `tasks` in its executor's sandbox.
    pub directory: String,
}

/// Why records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("a batch of records is not valid protobuf: {0}")]
    Encoding(String),
    #[error("a record is of a kind that this version does not know: it was written by a newer one")]
    NewerKind,
    #[error("a record lacks its {0}")]
    Lacks(&'static str),
    #[error("a record has resources that cannot be: {0}")]
    Resources(String),
}

impl Record {
    /// Whether effects have to wait until the record is on disk. Losing the others repeats work at worst: an
    /// update is sent again, a container is looked for once more.
    pub fn gates(&self) -> bool {
        !matches!(self, Self::Acknowledged { .. } | Self::Dropped(_) | Self::OperationAcknowledged(_))
    }

    /// The framework of which a task or an executor may leave with this record.
    pub(crate) fn leaves(&self) -> Option<&FrameworkId> {
        match self {
            Self::Acknowledged { key, .. } | Self::Dropped(key) => Some(&key.framework),
            Self::ExecutorEnded(key) => Some(&key.framework),
            _ => None,
        }
    }
}

/// Encodes records that are written together.
pub fn encode<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    disk::Batch { records: records.into_iter().map(to_disk).collect() }.encode_to_vec()
}

/// Decodes what [`encode`] gave.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, Unreadable> {
    let batch = disk::Batch::decode(bytes).map_err(|e| Unreadable::Encoding(e.to_string()))?;
    batch.records.into_iter().map(from_disk).collect()
}

/// All durable facts of an agent.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) agent: Option<AgentId>,
    pub(crate) sessions: Vec<String>,
    pub(crate) term: u64,
    pub(crate) boot: Boot,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) tasks: BTreeMap<TaskKey, Task>,
    pub(crate) streams: BTreeMap<TaskKey, Stream>,
    pub(crate) executors: BTreeMap<ExecutorKey, Executor>,
    /// What of its resources the agent's configuration does not say.
    pub(crate) changed: Bag,
    pub(crate) operations: BTreeMap<Uuid, Operation>,
    /// Destroyed volumes whose data may still be there.
    pub(crate) removing: BTreeSet<Volume>,
}

impl State {
    /// Takes in one fact; the task that it made leave, if it did. Facts about tasks that are not here are left
    /// over from before a compaction and change nothing.
    pub(crate) fn apply(&mut self, record: &Record) -> Option<Task> {
        match record {
            #[cfg(feature = "mutants")]
            Record::Registered { .. } if mutant::planted("agent-forgets-its-id") => {}
            Record::Registered { agent, sessions } => {
                self.agent = Some(agent.clone());
                self.sessions.clone_from(sessions);
            }
            Record::Term(term) => self.term = self.term.max(*term),
            Record::Boot(boot) => self.booted(boot),
            Record::Framework(info) => self.framework(info),
            Record::FrameworkRemoved(id) => {
                if let Some(framework) = self.frameworks.get_mut(id) {
                    framework.removed = true;
                }
            }
            Record::Task(record) => {
                let task = Task::new(record);
                self.tasks.insert(task.key.clone(), task);
            }
            Record::Update { key, update } => self.update(key, update),
            Record::Acknowledged { key, uuid } => return self.acknowledged(key, *uuid),
            Record::Kill { key, kill } => {
                if let Some(task) = self.tasks.get_mut(key) {
                    task.kill = Some(kill.clone());
                }
            }
            Record::Dropped(key) => return self.remove(key),
            Record::Executor(record) => {
                let executor = Executor::new(record);
                self.executors.insert(executor.key.clone(), executor);
            }
            Record::ExecutorEnded(key) => {
                self.executors.remove(key);
                self.part(&key.framework);
            }
            Record::Changed(changed) => self.changed.clone_from(changed),
            Record::Operation(record) => {
                self.operations.insert(record.operation.uuid, record.operation.clone());
                if let Some(changed) = &record.changed {
                    self.removing.extend(destroyed(&record.operation.asked));
                    self.changed.clone_from(changed);
                }
            }
            Record::VolumeDestroyed(volume) => drop(self.removing.insert(volume.clone())),
            Record::VolumeRemoved(volume) => drop(self.removing.remove(volume)),
            Record::OperationAcknowledged(uuid) => {
                self.operations.remove(uuid);
            }
        }
        None
    }

    /// Another boot, or the same one by a clock that was set since: then all times that are still waited for are moved to
    /// that clock. Otherwise a kill would be put off by a day, or a task that has just begun be taken for one of a day ago.
    fn booted(&mut self, boot: &Boot) {
        if let (true, Some(old), Some(new)) = (self.boot.id == boot.id, self.boot.at, boot.at) {
            let moved = |time: Time| time + new.since(old) - old.since(new);
            for task in self.tasks.values_mut() {
                task.started = task.started.map(moved);
                task.kill = task.kill.take().map(|kill| Kill { deadline: moved(kill.deadline), ..kill });
            }
        }
        self.boot.clone_from(boot);
    }

    fn framework(&mut self, info: &Arc<v1::FrameworkInfo>) {
        let mut framework = Framework::read(info);
        if let Some(old) = self.frameworks.get(&framework.id) {
            framework.removed = old.removed;
        }
        self.frameworks.insert(framework.id.clone(), framework);
    }

    fn update(&mut self, key: &TaskKey, update: &Arc<Update>) {
        self.streams.entry(key.clone()).or_default().push(Arc::clone(update));
        if let Some(task) = self.tasks.get_mut(key) {
            task.note(update);
        }
    }

    fn acknowledged(&mut self, key: &TaskKey, uuid: Uuid) -> Option<Task> {
        let stream = self.streams.get_mut(key)?;
        let head = stream.head().cloned();
        match stream.acknowledge(uuid) {
            Acked::Stale => None,
            Acked::Closed => self.remove(key),
            Acked::Next | Acked::Empty => {
                if let Some(task) = self.tasks.get_mut(key) {
                    task.forwarded = head;
                }
                None
            }
        }
    }

    fn remove(&mut self, key: &TaskKey) -> Option<Task> {
        self.streams.remove(key);
        let task = self.tasks.remove(key);
        self.part(&key.framework);
        task
    }

    /// Forgets a framework that has nothing here any more.
    fn part(&mut self, framework: &FrameworkId) {
        if self.tasks_of(framework).next().is_none() && self.executors_of(framework).next().is_none() {
            self.frameworks.remove(framework);
        }
    }

    pub(crate) fn executors_of(&self, framework: &FrameworkId) -> impl Iterator<Item = &Executor> {
        let first = ExecutorKey { framework: framework.clone(), executor: ExecutorId::from("") };
        let framework = framework.clone();
        self.executors
            .range(first..)
            .map(|(_, executor)| executor)
            .take_while(move |executor| executor.key.framework == framework)
    }

    pub(crate) fn tasks_of(&self, framework: &FrameworkId) -> impl Iterator<Item = &Task> {
        let first = TaskKey { framework: framework.clone(), task: TaskId::from("") };
        let framework = framework.clone();
        self.tasks
            .range(first..)
            .map(|(_, task)| task)
            .take_while(move |task| task.key.framework == framework)
    }

    /// Records that add up to this state: what a compacted log begins with.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = vec![Record::Term(self.term), Record::Boot(self.boot.clone())];
        records.extend(
            self.agent.clone().map(|agent| Record::Registered { agent, sessions: self.sessions.clone() }),
        );
        for framework in self.frameworks.values() {
            records.push(Record::Framework(Arc::clone(&framework.info)));
            if framework.removed {
                records.push(Record::FrameworkRemoved(framework.id.clone()));
            }
        }
        let changed = self.changed.clone();
        #[cfg(feature = "mutants")]
        let changed = if mutant::planted("compaction-forgets-reservations") { Bag::new() } else { changed };
        records.push(Record::Changed(changed));
        records.extend(self.removing.iter().cloned().map(Record::VolumeDestroyed));
        records.extend(self.operations.values().map(|operation| {
            Record::Operation(Box::new(OperationRecord { operation: operation.clone(), changed: None }))
        }));
        records.extend(self.executors.values().map(|executor| Record::Executor(Box::new(executor.record()))));
        for task in self.tasks.values() {
            #[cfg(feature = "mutants")]
            if mutant::planted("compaction-forgets-tasks") {
                continue;
            }
            records.push(Record::Task(Box::new(task.record())));
            let kill = task.kill.clone();
            records.extend(kill.map(|kill| Record::Kill { key: task.key.clone(), kill }));
        }
        for (key, stream) in &self.streams {
            #[cfg(feature = "mutants")]
            if mutant::planted("compaction-forgets-updates") {
                continue;
            }
            records.extend(
                stream
                    .pending()
                    .map(|update| Record::Update { key: key.clone(), update: Arc::clone(update) }),
            );
        }
        records
    }
}

fn to_disk(record: &Record) -> disk::Record {
    use disk::record::Kind;
    let kind = match record {
        Record::Registered { agent, sessions } => Kind::Registered(disk::Registered {
            agent_id: v1::AgentId { value: agent.to_string() },
            sessions: sessions.clone(),
        }),
        Record::Term(term) => Kind::Term(*term),
        Record::Boot(boot) => Kind::BootId(boot.id.clone()),
        Record::Framework(info) => Kind::Framework((**info).clone()),
        Record::FrameworkRemoved(id) => Kind::FrameworkRemoved(v1::FrameworkId { value: id.to_string() }),
        Record::Task(task) => Kind::Task(task_to_disk(task)),
        Record::Update { key, update } => {
            Kind::Update(disk::Update { key: key_to_disk(key), status: (*update.status).clone() })
        }
        Record::Acknowledged { key, uuid } => {
            Kind::Acknowledged(disk::Acknowledged { key: key_to_disk(key), uuid: uuid.0.to_vec().into() })
        }
        Record::Kill { key, kill } => Kind::Kill(disk::Kill {
            key: key_to_disk(key),
            cause: cause_to_disk(kill.cause) as i32,
            deadline: kill.deadline.as_millis(),
            draining: (kill.cause == KillCause::Draining).then_some(true),
        }),
        Record::Dropped(key) => Kind::Dropped(key_to_disk(key)),
        Record::Executor(executor) => Kind::Executor(disk::Executor {
            framework_id: v1::FrameworkId { value: executor.framework.to_string() },
            info: (*executor.info).clone(),
            container_id: executor.container.to_string(),
            sandbox: executor.sandbox.clone(),
        }),
        Record::ExecutorEnded(key) => Kind::ExecutorEnded(disk::ExecutorKey {
            framework_id: v1::FrameworkId { value: key.framework.to_string() },
            executor_id: v1::ExecutorId { value: key.executor.to_string() },
        }),
        Record::Changed(changed) => Kind::Changed(disk::Changed { resources: changed.to_wire(Form::Stack) }),
        Record::Operation(record) => Kind::Operation(operation_to_disk(record)),
        Record::VolumeDestroyed(volume) => Kind::VolumeDestroyed(volume_to_disk(volume)),
        Record::VolumeRemoved(volume) => Kind::VolumeRemoved(volume_to_disk(volume)),
        Record::OperationAcknowledged(uuid) => Kind::OperationAcknowledged(uuid.0.to_vec().into()),
    };
    let booted_at = match record {
        Record::Boot(boot) => boot.at.map(Time::as_millis),
        _ => None,
    };
    disk::Record { kind: Some(kind), booted_at }
}

fn from_disk(record: disk::Record) -> Result<Record, Unreadable> {
    use disk::record::Kind;
    let at = record.booted_at.map(Time::from_millis);
    Ok(match record.kind.ok_or(Unreadable::NewerKind)? {
        Kind::Registered(registered) => {
            Record::Registered { agent: registered.agent_id.value.into(), sessions: registered.sessions }
        }
        Kind::Term(term) => Record::Term(term),
        Kind::BootId(id) => Record::Boot(Boot { id, at }),
        Kind::Framework(info) => Record::Framework(Arc::new(info)),
        Kind::FrameworkRemoved(id) => Record::FrameworkRemoved(id.value.into()),
        Kind::Task(task) => Record::Task(Box::new(task_from_disk(task)?)),
        Kind::Update(update) => Record::Update {
            key: key_from_disk(update.key),
            update: status::read(update.status).ok_or(Unreadable::Lacks("status"))?,
        },
        Kind::Acknowledged(acknowledged) => Record::Acknowledged {
            key: key_from_disk(acknowledged.key),
            uuid: Uuid::from_slice(&acknowledged.uuid).ok_or(Unreadable::Lacks("uuid"))?,
        },
        Kind::Kill(kill) => Record::Kill {
            key: key_from_disk(kill.key),
            kill: Kill {
                cause: match cause_from_disk(kill.cause).ok_or(Unreadable::NewerKind)? {
                    KillCause::Asked if kill.draining == Some(true) => KillCause::Draining,
                    cause => cause,
                },
                deadline: Time::from_millis(kill.deadline),
            },
        },
        Kind::Dropped(key) => Record::Dropped(key_from_disk(key)),
        Kind::Executor(executor) => Record::Executor(Box::new(ExecutorRecord {
            framework: executor.framework_id.value.into(),
            info: Arc::new(executor.info),
            container: ContainerId::from(executor.container_id.as_str()),
            sandbox: executor.sandbox,
        })),
        Kind::ExecutorEnded(key) => Record::ExecutorEnded(ExecutorKey {
            framework: key.framework_id.value.into(),
            executor: key.executor_id.value.into(),
        }),
        Kind::Changed(changed) => Record::Changed(bag(&changed)?),
        Kind::Operation(operation) => Record::Operation(Box::new(operation_from_disk(operation)?)),
        Kind::VolumeDestroyed(volume) => Record::VolumeDestroyed(volume_from_disk(&volume)?),
        Kind::VolumeRemoved(volume) => Record::VolumeRemoved(volume_from_disk(&volume)?),
        Kind::OperationAcknowledged(uuid) => {
            Record::OperationAcknowledged(Uuid::from_slice(&uuid).ok_or(Unreadable::Lacks("uuid"))?)
        }
    })
}

fn bag(changed: &disk::Changed) -> Result<Bag, Unreadable> {
    Bag::from_wire(&changed.resources).map_err(|error| Unreadable::Resources(error.to_string()))
}

fn volume_to_disk(volume: &Volume) -> disk::Volume {
    disk::Volume { role: volume.role.to_string(), id: volume.id.to_string() }
}

fn volume_from_disk(volume: &disk::Volume) -> Result<Volume, Unreadable> {
    let role = volume.role.parse().map_err(|_| Unreadable::Lacks("role"))?;
    Ok(Volume { role, id: volume.id.as_str().into() })
}

fn operation_to_disk(record: &OperationRecord) -> disk::Operation {
    let Operation { uuid, framework, asked, status } = &record.operation;
    disk::Operation {
        uuid: uuid.0.to_vec().into(),
        framework_id: framework.as_ref().map(|id| v1::FrameworkId { value: id.to_string() }),
        asked: (**asked).clone(),
        status: (**status).clone(),
        changed: record
            .changed
            .as_ref()
            .map(|changed| disk::Changed { resources: changed.to_wire(Form::Stack) }),
    }
}

fn operation_from_disk(operation: disk::Operation) -> Result<OperationRecord, Unreadable> {
    let changed = operation.changed.as_ref().map(bag).transpose()?;
    let operation = Operation {
        uuid: Uuid::from_slice(&operation.uuid).ok_or(Unreadable::Lacks("uuid"))?,
        framework: operation.framework_id.map(|id| id.value.into()),
        asked: Arc::new(operation.asked),
        status: Arc::new(operation.status),
    };
    Ok(OperationRecord { operation, changed })
}

fn task_to_disk(task: &TaskRecord) -> disk::Task {
    disk::Task {
        framework_id: v1::FrameworkId { value: task.framework.to_string() },
        info: (*task.info).clone(),
        container_id: task.container.to_string(),
        sandbox: task.sandbox.clone(),
        statuses: task.statuses.iter().map(|update| (*update.status).clone()).collect(),
        forwarded: task.forwarded.as_ref().map(|update| (*update.status).clone()),
        started_at: task.started.map(Time::as_millis),
        executor_id: task.executor.as_ref().map(|id| v1::ExecutorId { value: id.to_string() }),
        member: task.member.as_ref().map(|member| disk::Member {
            group: member.group.0.to_vec().into(),
            directory: member.directory.clone(),
        }),
    }
}

fn task_from_disk(task: disk::Task) -> Result<TaskRecord, Unreadable> {
    let member = |member: disk::Member| {
        let group = Uuid::from_slice(&member.group).ok_or(Unreadable::Lacks("group"))?;
        Ok(Member { group, directory: member.directory })
    };
    let read = |status| status::read(status).ok_or(Unreadable::Lacks("status"));
    Ok(TaskRecord {
        framework: task.framework_id.value.into(),
        info: Arc::new(task.info),
        executor: task.executor_id.map(|id| id.value.into()),
        container: ContainerId::from(task.container_id.as_str()),
        sandbox: task.sandbox,
        member: task.member.map(member).transpose()?,
        statuses: task.statuses.into_iter().map(read).collect::<Result<_, _>>()?,
        forwarded: task.forwarded.map(read).transpose()?,
        started: task.started_at.map(Time::from_millis),
    })
}

fn key_to_disk(key: &TaskKey) -> disk::TaskKey {
    disk::TaskKey {
        framework_id: v1::FrameworkId { value: key.framework.to_string() },
        task_id: v1::TaskId { value: key.task.to_string() },
    }
}

fn key_from_disk(key: disk::TaskKey) -> TaskKey {
    TaskKey { framework: key.framework_id.value.into(), task: key.task_id.value.into() }
}

fn cause_to_disk(cause: KillCause) -> disk::kill::Cause {
    match cause {
        KillCause::Asked | KillCause::Draining => disk::kill::Cause::Asked,
        KillCause::Unhealthy => disk::kill::Cause::Unhealthy,
        KillCause::TooLong => disk::kill::Cause::TooLong,
        KillCause::FrameworkRemoved => disk::kill::Cause::FrameworkRemoved,
        KillCause::DuringLaunch => disk::kill::Cause::DuringLaunch,
    }
}

fn cause_from_disk(cause: i32) -> Option<KillCause> {
    Some(match disk::kill::Cause::try_from(cause).ok()? {
        disk::kill::Cause::Asked => KillCause::Asked,
        disk::kill::Cause::Unhealthy => KillCause::Unhealthy,
        disk::kill::Cause::TooLong => KillCause::TooLong,
        disk::kill::Cause::FrameworkRemoved => KillCause::FrameworkRemoved,
        disk::kill::Cause::DuringLaunch => KillCause::DuringLaunch,
        disk::kill::Cause::Unknown => return None,
    })
}

impl Task {
    fn record(&self) -> TaskRecord {
        TaskRecord {
            framework: self.key.framework.clone(),
            info: Arc::clone(&self.info),
            executor: self.executor.clone(),
            container: self.container.clone(),
            sandbox: self.sandbox.name.clone(),
            member: self
                .group
                .zip(self.sandbox.task.clone())
                .map(|(group, directory)| Member { group, directory }),
            statuses: self.statuses.clone(),
            forwarded: self.forwarded.clone(),
            started: self.started,
        }
    }
}
