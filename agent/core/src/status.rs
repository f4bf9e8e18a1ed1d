//! Statuses as schedulers see them: made here, once each.

use std::sync::Arc;

use model::id::{AgentId, ExecutorId};
use model::task::TaskState;
use model::time::Time;
use wire::v1;
use wire::v1::task_status::{Reason, Source};

use crate::health::CheckResult;
use crate::ids::Uuid;
use crate::input::{Exit, ExitStatus};
use crate::spec::TaskKey;
use crate::updates::Update;

/// What a status says, without the ids that every status of a task repeats.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) state: TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<String>,
    pub(crate) healthy: Option<bool>,
    pub(crate) check: Option<CheckResult>,
    /// The memory limit that was exceeded, in bytes.
    pub(crate) memory: Option<u64>,
    /// Whether it only repeats RUNNING with a new health or check result.
    pub(crate) report: bool,
}

impl Draft {
    /// As an executor would send it: the agent plays that part for command tasks.
    pub(crate) fn executor(state: TaskState) -> Self {
        let source = Source::Executor;
        Self {
            state,
            source,
            reason: None,
            message: None,
            healthy: None,
            check: None,
            memory: None,
            report: false,
        }
    }

    /// Made by the agent itself: the task never ran, or nobody could say how it ended.
    pub(crate) fn agent(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            source: Source::Agent,
            reason: Some(reason),
            message: Some(message.into()),
            ..Self::executor(state)
        }
    }

    pub(crate) fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}

/// Where a container is, for the statuses of its task.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) container: &'a str,
    /// The container of its executor, which a task of a group is said to be in.
    pub(crate) parent: Option<&'a str>,
    pub(crate) pid: Option<u32>,
    /// The address others reach the task at; containers share the network of their agent.
    pub(crate) ip: &'a str,
}

/// Completes a draft. `place` is given for what an executor says: the agent's own words carry no container.
pub(crate) fn update(
    draft: Draft,
    key: &TaskKey,
    executor: &str,
    agent: Option<&AgentId>,
    place: Option<&Place<'_>>,
    uuid: Uuid,
    now: Time,
) -> Arc<Update> {
    let place = place.filter(|_| draft.source == Source::Executor);
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: key.task.to_string() },
        state: wire_state(draft.state) as i32,
        message: draft.message,
        source: Some(draft.source as i32),
        reason: draft.reason.map(|reason| reason as i32),
        agent_id: agent.map(|id| v1::AgentId { value: id.to_string() }),
        executor_id: Some(v1::ExecutorId { value: executor.to_owned() }),
        timestamp: Some(now.as_secs_f64()),
        uuid: Some(uuid.0.to_vec().into()),
        healthy: draft.healthy,
        check_status: draft.check.map(check_status),
        container_status: place.map(container_status),
        limitation: draft.memory.map(limitation),
        ..Default::default()
    };
    Arc::new(Update { uuid, state: draft.state, at: now, report: draft.report, status: Arc::new(status) })
}

/// Completes what an executor says (spec mesos-v1, 5.2). `None`: no uuid, or a state nobody knows.
pub(crate) fn from_executor(
    mut status: v1::TaskStatus,
    executor: &ExecutorId,
    agent: Option<&AgentId>,
    place: &Place<'_>,
    now: Time,
) -> Option<Arc<Update>> {
    status.agent_id = agent.map(|id| v1::AgentId { value: id.to_string() });
    status.executor_id = Some(v1::ExecutorId { value: executor.to_string() });
    status.timestamp.get_or_insert_with(|| now.as_secs_f64());
    let known = container_status(place);
    let said = status.container_status.get_or_insert_default();
    said.container_id = said.container_id.take().or(known.container_id);
    said.executor_pid = said.executor_pid.or(known.executor_pid);
    if said.network_infos.is_empty() {
        said.network_infos = known.network_infos;
    }
    read(status)
}

/// The end of a command that was not told to end.
pub(crate) fn natural_end(exit: &Exit) -> Draft {
    let limit = exit.out_of_memory;
    #[cfg(feature = "mutants")]
    let limit = limit.filter(|_| !mutant::planted("failures-have-no-reason"));
    if let Some(limit) = limit {
        let message =
            format!("Memory limit of {} MB exceeded; command {}", limit >> 20, describe(&exit.status));
        let reason = Reason::ContainerLimitationMemory;
        return Draft { memory: Some(limit), ..Draft::agent(TaskState::Failed, reason, message) };
    }
    let state = if exit.status == ExitStatus::Code(0) { TaskState::Finished } else { TaskState::Failed };
    Draft::executor(state).message(ended(exit))
}

/// `Command exited with status 1`, `Command terminated with signal Killed`.
pub(crate) fn ended(exit: &Exit) -> String {
    format!("Command {}", describe(&exit.status))
}

fn describe(status: &ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited with status {code}"),
        ExitStatus::Signal(_, name) => format!("terminated with signal {name}"),
    }
}

fn container_status(place: &Place<'_>) -> v1::ContainerStatus {
    let address = v1::network_info::IpAddress {
        protocol: Some(v1::network_info::Protocol::IPv4 as i32),
        ip_address: Some(place.ip.to_owned()),
    };
    let parent = place.parent.map(|id| Box::new(v1::ContainerId { value: id.to_owned(), parent: None }));
    v1::ContainerStatus {
        container_id: Some(v1::ContainerId { value: place.container.to_owned(), parent }),
        network_infos: vec![v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() }],
        executor_pid: place.pid,
        ..Default::default()
    }
}

fn check_status(result: CheckResult) -> v1::CheckStatusInfo {
    use v1::check_info::Type;
    use v1::check_status_info::{Command, Http, Tcp};
    let empty = v1::CheckStatusInfo::default();
    match result {
        CheckResult::Command(exit_code) => v1::CheckStatusInfo {
            r#type: Some(Type::Command as i32),
            command: Some(Command { exit_code }),
            ..empty
        },
        CheckResult::Http(status) => v1::CheckStatusInfo {
            r#type: Some(Type::Http as i32),
            http: Some(Http { status_code: status.map(u32::from) }),
            ..empty
        },
        CheckResult::Tcp(succeeded) => {
            v1::CheckStatusInfo { r#type: Some(Type::Tcp as i32), tcp: Some(Tcp { succeeded }), ..empty }
        }
    }
}

fn limitation(bytes: u64) -> v1::TaskResourceLimitation {
    let memory = v1::Resource {
        name: "mem".into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: (bytes >> 20) as f64 }),
        ..Default::default()
    };
    v1::TaskResourceLimitation { resources: vec![memory] }
}

pub(crate) fn wire_state(state: TaskState) -> v1::TaskState {
    v1::TaskState::from_str_name(state.name()).unwrap_or(v1::TaskState::TaskUnknown)
}

/// Reads a status that is complete: one that this agent once stored, or of an executor. `None`: no uuid, or a state nobody knows.
pub(crate) fn read(status: v1::TaskStatus) -> Option<Arc<Update>> {
    let state = v1::TaskState::try_from(status.state).ok()?;
    let reports = [Reason::TaskHealthCheckStatusUpdated as i32, Reason::TaskCheckStatusUpdated as i32];
    Some(Arc::new(Update {
        uuid: Uuid::from_slice(status.uuid.as_ref()?)?,
        state: TaskState::from_name(state.as_str_name())?,
        at: Time::from_millis((status.timestamp.unwrap_or(0.0) * 1000.0).round() as u64),
        report: status.reason.is_some_and(|reason| reports.contains(&reason)),
        status: Arc::new(status),
    }))
}
