//! Calls as the core takes them, and how the edge makes them from the wire.
//!
//! Decoding is pure and needs no state, so the driver does it in the task of each request: the one loop of the
//! master never parses. What it refuses is step 9 of the ladder of the scheduler endpoint (spec mesos-v1, section
//! 1.5); later steps need the leader's state and are its own.

mod operator;

use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, TaskId};
use model::limits;
use model::resources::{Bag, ResourceError};
use model::time::Span;
use wire::scheduler::call::Type;
use wire::v1::offer::operation::Type as OperationType;
use wire::v1::{self, FrameworkInfo, KillPolicy};

use crate::refusal::Refusal;

pub use crate::registry::StateCall;
pub use operator::{OperatorCall, WeightValue};

/// `SUBSCRIBE`, or the body of `UPDATE_FRAMEWORK`.
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub info: Arc<FrameworkInfo>,
    /// Roles that want no offers. Checked against the roles of `info` by the leader.
    pub suppressed: Vec<String>,
    /// Whether offer constraints came along, which this master does not know how to keep.
    pub constrained: bool,
}

/// A call of a subscribed framework.
#[derive(Clone, Debug)]
pub struct FrameworkCall {
    pub framework: FrameworkId,
    pub verb: Verb,
}

#[derive(Clone, Debug)]
pub enum Verb {
    Teardown,
    Accept(Accept),
    Decline {
        offers: Vec<OfferId>,
        refuse: Span,
    },
    /// No roles means all.
    Revive {
        roles: Vec<String>,
    },
    Suppress {
        roles: Vec<String>,
    },
    Kill {
        task: TaskId,
        agent: Option<AgentId>,
        policy: Option<KillPolicy>,
    },
    Shutdown {
        executor: ExecutorId,
        agent: AgentId,
    },
    Acknowledge {
        agent: AgentId,
        task: TaskId,
        uuid: Bytes,
    },
    /// No tasks means all the master knows.
    Reconcile {
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    Message {
        agent: AgentId,
        executor: ExecutorId,
        data: Bytes,
    },
    /// Taken and without effect: the allocator offers what there is.
    Request,
    /// Answers to inverse offers, of which this master sends none: every id in them is unknown and ignored.
    AnswerInverseOffers,
    /// Of operations, of which this master keeps none: dropped like the acknowledgement of an unknown one.
    AcknowledgeOperation,
    ReconcileOperations {
        operations: Vec<(OperationId, Option<AgentId>)>,
    },
    UpdateFramework(Subscribe),
    /// The numeric type 0, which only protobuf can say.
    Unknown,
}

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
    /// A task group; its tasks are known to be answered for.
    LaunchGroup(Vec<TaskSpec>),
    /// One this master does not do, by its name on the wire.
    Other(&'static str),
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

#[derive(Clone, Debug)]
pub struct ExecutorSpec {
    pub id: ExecutorId,
    pub info: Arc<v1::ExecutorInfo>,
    pub resources: Result<Bag, ResourceError>,
}

/// A call on the scheduler endpoint.
#[derive(Clone, Debug)]
pub enum SchedulerCall {
    Subscribe(Subscribe),
    Framework(FrameworkCall),
}

impl SchedulerCall {
    /// Reads a call from the wire.
    ///
    /// # Errors
    /// `Refusal::Invalid` where the call lacks a member its type needs, or contradicts itself.
    pub fn decode(call: wire::scheduler::Call) -> Result<Self, Refusal> {
        // A name or number nobody knows is as good as none; only the number 0 is a type, of its own kind.
        let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).ok_or_else(|| missing("type"))?;
        let outer = call.framework_id.filter(|id| !id.value.is_empty());
        if kind == Type::Subscribe {
            let subscribe = call.subscribe.ok_or_else(|| missing("subscribe"))?;
            let mut info = subscribe.framework_info;
            let inner = info.id.take().filter(|id| !id.value.is_empty());
            if outer.is_some() && outer != inner {
                return Err(invalid("'framework_id' differs from 'subscribe.framework_info.id'"));
            }
            info.id = inner;
            return Ok(Self::Subscribe(Subscribe {
                info: Arc::new(info),
                suppressed: subscribe.suppressed_roles,
                constrained: constrains(subscribe.offer_constraints.as_ref()),
            }));
        }
        let framework = FrameworkId::from(outer.ok_or_else(|| missing("framework_id"))?.value);
        let verb = match kind {
            Type::Unknown | Type::Subscribe => Verb::Unknown,
            Type::Teardown => Verb::Teardown,
            Type::Accept => Verb::Accept(accept(call.accept.ok_or_else(|| missing("accept"))?)),
            Type::Decline => {
                let decline = call.decline.ok_or_else(|| missing("decline"))?;
                Verb::Decline {
                    offers: offer_ids(decline.offer_ids),
                    refuse: refusal(decline.filters.as_ref()),
                }
            }
            Type::Revive => {
                Verb::Revive { roles: call.revive.map(|revive| revive.roles).unwrap_or_default() }
            }
            Type::Suppress => {
                Verb::Suppress { roles: call.suppress.map(|suppress| suppress.roles).unwrap_or_default() }
            }
            Type::Kill => {
                let kill = call.kill.ok_or_else(|| missing("kill"))?;
                Verb::Kill {
                    task: kill.task_id.value.into(),
                    agent: kill.agent_id.map(|id| id.value.into()),
                    policy: kill.kill_policy,
                }
            }
            Type::Shutdown => {
                let shutdown = call.shutdown.ok_or_else(|| missing("shutdown"))?;
                Verb::Shutdown {
                    executor: shutdown.executor_id.value.into(),
                    agent: shutdown.agent_id.value.into(),
                }
            }
            Type::Acknowledge => {
                let acknowledge = call.acknowledge.ok_or_else(|| missing("acknowledge"))?;
                if acknowledge.uuid.len() != UUID_BYTES {
                    return Err(invalid("Not a valid UUID"));
                }
                Verb::Acknowledge {
                    agent: acknowledge.agent_id.value.into(),
                    task: acknowledge.task_id.value.into(),
                    uuid: acknowledge.uuid,
                }
            }
            Type::Reconcile => {
                let reconcile = call.reconcile.ok_or_else(|| missing("reconcile"))?;
                let tasks = reconcile.tasks.into_iter();
                Verb::Reconcile {
                    tasks: tasks
                        .map(|task| (task.task_id.value.into(), task.agent_id.map(|id| id.value.into())))
                        .collect(),
                }
            }
            Type::Message => {
                let message = call.message.ok_or_else(|| missing("message"))?;
                Verb::Message {
                    agent: message.agent_id.value.into(),
                    executor: message.executor_id.value.into(),
                    data: message.data,
                }
            }
            Type::Request => {
                call.request.ok_or_else(|| missing("request"))?;
                Verb::Request
            }
            Type::AcceptInverseOffers => {
                call.accept_inverse_offers.ok_or_else(|| missing("accept_inverse_offers"))?;
                Verb::AnswerInverseOffers
            }
            Type::DeclineInverseOffers => {
                call.decline_inverse_offers.ok_or_else(|| missing("decline_inverse_offers"))?;
                Verb::AnswerInverseOffers
            }
            Type::AcknowledgeOperationStatus => {
                let acknowledge = call
                    .acknowledge_operation_status
                    .ok_or_else(|| missing("acknowledge_operation_status"))?;
                if acknowledge.uuid.len() != UUID_BYTES {
                    return Err(invalid("Not a valid UUID"));
                }
                Verb::AcknowledgeOperation
            }
            Type::ReconcileOperations => {
                let reconcile = call.reconcile_operations.ok_or_else(|| missing("reconcile_operations"))?;
                let operations = reconcile.operations.into_iter();
                Verb::ReconcileOperations {
                    operations: operations
                        .map(|operation| {
                            (
                                operation.operation_id.value.into(),
                                operation.agent_id.map(|id| id.value.into()),
                            )
                        })
                        .collect(),
                }
            }
            Type::UpdateFramework => {
                let update = call.update_framework.ok_or_else(|| missing("update_framework"))?;
                let inner = update.framework_info.id.as_ref().map(|id| id.value.as_str());
                if inner != Some(framework.as_str()) {
                    return Err(invalid("'framework_id' differs from 'update_framework.framework_info.id'"));
                }
                Verb::UpdateFramework(Subscribe {
                    info: Arc::new(update.framework_info),
                    suppressed: update.suppressed_roles,
                    constrained: constrains(update.offer_constraints.as_ref()),
                })
            }
        };
        Ok(Self::Framework(FrameworkCall { framework, verb }))
    }
}

/// The length of a status' uuid. Any sixteen bytes are taken: refusing those that are no version 4 UUID would leave
/// executors with home-made ones stuck for ever.
const UUID_BYTES: usize = 16;

fn invalid(fault: impl Into<String>) -> Refusal {
    Refusal::Invalid { call: "scheduler::Call", fault: fault.into() }
}

fn missing(member: &str) -> Refusal {
    invalid(format!("Expecting '{member}' to be present"))
}

fn constrains(constraints: Option<&wire::scheduler::OfferConstraints>) -> bool {
    constraints.is_some_and(|constraints| !constraints.role_constraints.is_empty())
}

fn offer_ids(ids: Vec<v1::OfferId>) -> Vec<OfferId> {
    ids.into_iter().map(|id| id.value.into()).collect()
}

/// How long refused resources stay away (spec mesos-v1, section 8.4): the default when the call does not say or
/// says something negative, a year at most, zero for not at all.
fn refusal(filters: Option<&v1::Filters>) -> Span {
    let Some(seconds) = filters.and_then(|filters| filters.refuse_seconds) else {
        return limits::REFUSE_DEFAULT;
    };
    if seconds > limits::REFUSE_MAX.as_secs_f64() {
        return limits::REFUSE_MAX;
    }
    Span::from_secs_f64(seconds).unwrap_or(limits::REFUSE_DEFAULT)
}

fn accept(accept: wire::scheduler::call::Accept) -> Accept {
    let refuse = refusal(accept.filters.as_ref());
    let operations = accept.operations.into_iter().map(operation).collect();
    Accept { offers: offer_ids(accept.offer_ids), operations, refuse }
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
            let tasks = operation.launch_group.map(|group| group.task_group.tasks).unwrap_or_default();
            OperationKind::LaunchGroup(tasks.into_iter().map(task).collect())
        }
        other => OperationKind::Other(other.as_str_name()),
    };
    Operation { id, kind }
}

fn task(mut info: v1::TaskInfo) -> TaskSpec {
    if let Some(check) = &mut info.health_check {
        infer_health_check(check);
    }
    let executor = info.executor.as_ref().map(|executor| ExecutorSpec {
        id: executor.executor_id.value.as_str().into(),
        info: Arc::new(executor.clone()),
        resources: Bag::from_wire(&executor.resources),
    });
    TaskSpec {
        id: info.task_id.value.as_str().into(),
        agent: info.agent_id.value.as_str().into(),
        resources: Bag::from_wire(&info.resources),
        executor,
        info: Arc::new(info),
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

    fn refused_for(seconds: Option<f64>) -> Span {
        refusal(Some(&v1::Filters { refuse_seconds: seconds }))
    }

    #[test]
    fn refusals_have_a_default_and_an_end() {
        assert_eq!(refusal(None), limits::REFUSE_DEFAULT);
        assert_eq!(refused_for(None), limits::REFUSE_DEFAULT);
        assert_eq!(refused_for(Some(-1.0)), limits::REFUSE_DEFAULT);
        assert_eq!(refused_for(Some(f64::NAN)), limits::REFUSE_DEFAULT);
        assert_eq!(refused_for(Some(0.0)), Span::ZERO);
        assert_eq!(refused_for(Some(0.25)), Span::from_millis(250));
        assert_eq!(refused_for(Some(f64::INFINITY)), limits::REFUSE_MAX);
        assert_eq!(refused_for(Some(1e300)), limits::REFUSE_MAX);
    }

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

    #[test]
    fn a_type_nobody_knows_is_as_good_as_none() {
        let call = wire::scheduler::Call { r#type: Some(99), ..wire::scheduler::Call::default() };
        let refusal = SchedulerCall::decode(call).unwrap_err();
        assert_eq!(refusal.to_string(), "Failed to validate scheduler::Call: Expecting 'type' to be present");
        assert_eq!(refusal.status(), 400);
    }
}
