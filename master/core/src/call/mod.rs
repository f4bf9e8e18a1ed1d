//! Calls as the core takes them, and how the edge makes them from the wire.
//!
//! Decoding is pure and needs no state, so the driver does it in the task of each request: the one loop of the
//! master never parses. What it refuses is step 9 of the ladder of the scheduler endpoint (spec mesos-v1, section
//! 1.5); later steps need the leader's state and are its own.

mod maintenance;
mod operation;
mod operator;
mod quota;

use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, TaskId};
use model::limits;
use model::time::Span;
use wire::scheduler::call::Type;
use wire::v1::{self, FrameworkInfo, KillPolicy};

use crate::refusal::Refusal;

pub use crate::registry::StateCall;
pub use operation::{
    Accept, Change, ChangeKind, ExecutorSpec, GroupSpec, Operation, OperationKind, TaskSpec,
};
pub use operator::{Explain, OperatorCall, WeightValue};

/// `SUBSCRIBE`, or the body of `UPDATE_FRAMEWORK`.
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub info: Arc<FrameworkInfo>,
    /// Roles that want no offers. Checked against the roles of `info` by the leader.
    pub suppressed: Vec<String>,
    /// As they came, to be read by the leader together with the roles.
    pub constraints: Option<wire::scheduler::OfferConstraints>,
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
    /// Whether the framework will have left in time. If not, it is asked again after `refuse`.
    AnswerInverseOffers {
        offers: Vec<OfferId>,
        accepted: bool,
        refuse: Span,
    },
    /// `uuid` is that of the operation's newest status.
    AcknowledgeOperation {
        operation: OperationId,
        uuid: Bytes,
    },
    /// No operations means all the master knows.
    ReconcileOperations {
        operations: Vec<(OperationId, Option<AgentId>)>,
    },
    UpdateFramework(Subscribe),
    /// The numeric type 0, which only protobuf can say.
    Unknown,
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
                constraints: subscribe.offer_constraints,
            }));
        }
        let framework = FrameworkId::from(outer.ok_or_else(|| missing("framework_id"))?.value);
        let verb = match kind {
            Type::Unknown | Type::Subscribe => Verb::Unknown,
            Type::Teardown => Verb::Teardown,
            Type::Accept => Verb::Accept(operation::accept(call.accept.ok_or_else(|| missing("accept"))?)),
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
                let accept = call.accept_inverse_offers.ok_or_else(|| missing("accept_inverse_offers"))?;
                Verb::AnswerInverseOffers {
                    offers: offer_ids(accept.inverse_offer_ids),
                    accepted: true,
                    refuse: refusal(accept.filters.as_ref()),
                }
            }
            Type::DeclineInverseOffers => {
                let decline = call.decline_inverse_offers.ok_or_else(|| missing("decline_inverse_offers"))?;
                Verb::AnswerInverseOffers {
                    offers: offer_ids(decline.inverse_offer_ids),
                    accepted: false,
                    refuse: refusal(decline.filters.as_ref()),
                }
            }
            Type::AcknowledgeOperationStatus => {
                let acknowledge = call
                    .acknowledge_operation_status
                    .ok_or_else(|| missing("acknowledge_operation_status"))?;
                if acknowledge.uuid.len() != UUID_BYTES {
                    return Err(invalid("Not a valid UUID"));
                }
                Verb::AcknowledgeOperation {
                    operation: acknowledge.operation_id.value.into(),
                    uuid: acknowledge.uuid,
                }
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
                    constraints: update.offer_constraints,
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_type_nobody_knows_is_as_good_as_none() {
        let call = wire::scheduler::Call { r#type: Some(99), ..wire::scheduler::Call::default() };
        let refusal = SchedulerCall::decode(call).unwrap_err();
        assert_eq!(refusal.to_string(), "Failed to validate scheduler::Call: Expecting 'type' to be present");
        assert_eq!(refusal.status(), 400);
    }
}
