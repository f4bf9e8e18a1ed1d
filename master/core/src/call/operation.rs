//! What `ACCEPT` carries: operations on offers, and the tasks in them.

use std::sync::Arc;

use model::id::{AgentId, ExecutorId, OfferId, OperationId, TaskId};
use model::resources::{Bag, Form, ReserveError, ResourceError};
use model::time::Span;
use wire::v1;
use wire::v1::offer::operation::Type as OperationType;

#[derive(Clone, Debug)]
pub struct Accept {
    pub offers: Vec<OfferId>,
    pub operations: Vec<Operation>,
    pub refuse: Span,
}

#[derive(Clone, Debug)]
pub struct Operation {
    /// Asks for feedback.
    pub id: Option<OperationId>,
    pub kind: OperationKind,
}

#[derive(Clone, Debug)]
pub enum OperationKind {
    Launch(Vec<TaskSpec>),
    /// All or none, in one executor.
    LaunchGroup(GroupSpec),
    Change(Change),
    /// One this master does not do, by its name on the wire.
    Other(&'static str),
}

/// A change of what resources are, which keeps their amounts (spec mesos-v1, section 9.4).
#[derive(Clone, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    /// What is made of the agent's resources by RESERVE and CREATE, and what is undone by the others.
    pub resources: Result<Bag, ResourceError>,
    /// Whether RESERVE says what to reserve from, which this master does not need.
    pub sourced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Reserve,
    Unreserve,
    Create,
    Destroy,
}

impl Change {
    pub(super) fn new(kind: ChangeKind, resources: &[v1::Resource], sourced: bool) -> Self {
        Self { kind, resources: Bag::from_wire(resources), sourced }
    }
}

impl ChangeKind {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reserve => "RESERVE",
            Self::Unreserve => "UNRESERVE",
            Self::Create => "CREATE",
            Self::Destroy => "DESTROY",
        }
    }

    /// What `have` becomes.
    pub(crate) fn apply(self, have: &Bag, resources: &Bag) -> Result<Bag, ReserveError> {
        match self {
            Self::Reserve => have.reserve_as(resources),
            Self::Unreserve => have.unreserve(resources),
            Self::Create => have.create(resources),
            Self::Destroy => have.destroy(resources),
        }
    }

    /// The operation as agents get it: with resources in the one form that can say everything.
    pub(crate) fn to_wire(self, id: Option<&OperationId>, resources: &Bag) -> v1::offer::Operation {
        use v1::offer::operation::{Create, Destroy, Reserve, Unreserve};
        let resources = resources.to_wire(Form::Stack);
        let mut operation =
            v1::offer::Operation { id: id.map(Into::into), ..v1::offer::Operation::default() };
        let kind = match self {
            Self::Reserve => {
                operation.reserve = Some(Reserve { resources, source: Vec::new() });
                OperationType::Reserve
            }
            Self::Unreserve => {
                operation.unreserve = Some(Unreserve { resources });
                OperationType::Unreserve
            }
            Self::Create => {
                operation.create = Some(Create { volumes: resources });
                OperationType::Create
            }
            Self::Destroy => {
                operation.destroy = Some(Destroy { volumes: resources });
                OperationType::Destroy
            }
        };
        operation.r#type = Some(kind.into());
        operation
    }
}

/// A task to launch: what the core relays, and what it reads, read once.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    /// As sent; whether it is a lawful id is checked with everything else about the task.
    pub id: TaskId,
    pub info: Arc<v1::TaskInfo>,
    pub agent: AgentId,
    pub resources: Result<Bag, ResourceError>,
    pub executor: Option<ExecutorSpec>,
}

/// Tasks that share one executor. Each task names it: what a scheduler left out is filled in.
#[derive(Clone, Debug, Default)]
pub struct GroupSpec {
    /// Absent when the operation has no `launch_group`, and then there are no tasks either.
    pub executor: Option<ExecutorSpec>,
    pub tasks: Vec<TaskSpec>,
}

#[derive(Clone, Debug)]
pub struct ExecutorSpec {
    pub id: ExecutorId,
    pub info: Arc<v1::ExecutorInfo>,
    pub resources: Result<Bag, ResourceError>,
}

pub(super) fn accept(accept: wire::scheduler::call::Accept) -> Accept {
    let refuse = super::refusal(accept.filters.as_ref());
    let operations = accept.operations.into_iter().map(operation).collect();
    Accept { offers: super::offer_ids(accept.offer_ids), operations, refuse }
}

fn operation(operation: v1::offer::Operation) -> Operation {
    let id = operation.id.map(|id| id.value.into());
    let kind = operation.r#type.and_then(|kind| OperationType::try_from(kind).ok());
    let kind = match kind.unwrap_or(OperationType::Unknown) {
        OperationType::Launch => {
            let tasks = operation.launch.map(|launch| launch.task_infos).unwrap_or_default();
            OperationKind::Launch(tasks.into_iter().map(task).collect())
        }
        OperationType::LaunchGroup => {
            OperationKind::LaunchGroup(operation.launch_group.map(group).unwrap_or_default())
        }
        OperationType::Reserve => {
            let reserve = operation.reserve.unwrap_or_default();
            OperationKind::Change(Change::new(
                ChangeKind::Reserve,
                &reserve.resources,
                !reserve.source.is_empty(),
            ))
        }
        OperationType::Unreserve => {
            let resources = operation.unreserve.unwrap_or_default().resources;
            OperationKind::Change(Change::new(ChangeKind::Unreserve, &resources, false))
        }
        OperationType::Create => {
            let volumes = operation.create.unwrap_or_default().volumes;
            OperationKind::Change(Change::new(ChangeKind::Create, &volumes, false))
        }
        OperationType::Destroy => {
            let volumes = operation.destroy.unwrap_or_default().volumes;
            OperationKind::Change(Change::new(ChangeKind::Destroy, &volumes, false))
        }
        other => OperationKind::Other(other.as_str_name()),
    };
    Operation { id, kind }
}

fn group(group: v1::offer::operation::LaunchGroup) -> GroupSpec {
    let shared = group.executor;
    let tasks = group.task_group.tasks.into_iter().map(|mut info| {
        info.executor.get_or_insert_with(|| shared.clone());
        task(info)
    });
    GroupSpec { tasks: tasks.collect(), executor: Some(executor(&shared)) }
}

fn task(mut info: v1::TaskInfo) -> TaskSpec {
    if let Some(check) = &mut info.health_check {
        infer_health_check(check);
    }
    let executor = info.executor.as_ref().map(executor);
    TaskSpec {
        id: info.task_id.value.as_str().into(),
        agent: info.agent_id.value.as_str().into(),
        resources: Bag::from_wire(&info.resources),
        executor,
        info: Arc::new(info),
    }
}

fn executor(executor: &v1::ExecutorInfo) -> ExecutorSpec {
    ExecutorSpec {
        id: executor.executor_id.value.as_str().into(),
        info: Arc::new(executor.clone()),
        resources: Bag::from_wire(&executor.resources),
    }
}

/// Old clients say what to probe without saying the kind of the probe.
fn infer_health_check(check: &mut v1::HealthCheck) {
    use v1::health_check::Type as Kind;
    if check.r#type.is_none() {
        let kind = match (&check.command, &check.http) {
            (Some(_), None) => Some(Kind::Command),
            (None, Some(_)) => Some(Kind::Http),
            _ => None,
        };
        check.r#type = kind.map(|kind| kind as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::health_check::Type as Kind;
    use v1::{CommandInfo, HealthCheck};

    #[test]
    fn the_kind_of_a_health_check_is_inferred_where_it_can_be() {
        let command = || Some(CommandInfo::default());
        let http = || Some(v1::health_check::HttpCheckInfo::default());
        let cases = [
            (HealthCheck { command: command(), ..HealthCheck::default() }, Some(Kind::Command)),
            (HealthCheck { http: http(), ..HealthCheck::default() }, Some(Kind::Http)),
            (HealthCheck { command: command(), http: http(), ..HealthCheck::default() }, None),
            (HealthCheck::default(), None),
            (
                HealthCheck { command: command(), r#type: Some(Kind::Tcp.into()), ..HealthCheck::default() },
                Some(Kind::Tcp),
            ),
        ];
        for (mut check, expected) in cases {
            infer_health_check(&mut check);
            assert_eq!(check.r#type, expected.map(i32::from));
        }
    }
}
