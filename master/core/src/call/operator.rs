//! Calls on the operator endpoint.

use model::id::{AgentId, FrameworkId};
use model::role::Role;
use model::time::Span;

use super::operation::{Change, ChangeKind};
use crate::input::StreamId;
use crate::refusal::Refusal;
use crate::registry::{MaintenanceCommand, Quota};

/// A call on the operator endpoint that concerns the leader. Flags, log levels, files, metrics, health and version
/// are the driver's own and never get here.
#[derive(Clone, Debug)]
pub enum OperatorCall {
    /// Any of the `GET_` calls: answered by a snapshot, of which the driver renders what was asked for.
    Read,
    /// The event stream; `stream` is the id of its answer.
    Subscribe {
        stream: StreamId,
    },
    Teardown(FrameworkId),
    /// `GET /allocation`.
    Explain(Explain),
    /// Role and weight in thousandths.
    UpdateWeights(Vec<(String, WeightValue)>),
    /// With `force` also what cannot be kept as things stand.
    UpdateQuota {
        force: bool,
        set: Vec<Quota>,
    },
    MarkAgentGone(AgentId),
    /// Machines are to be away, go away, or are back.
    Maintain(MaintenanceCommand),
    /// Offers from the agent stop (true) or go on.
    Deactivate {
        agent: AgentId,
        deactivated: bool,
    },
    /// Offers from the agent stop, and its tasks are ended: each has at most `max_grace` to do so by itself. With
    /// `mark_gone` the agent is given up when nothing is left there.
    Drain {
        agent: AgentId,
        max_grace: Option<Span>,
        mark_gone: bool,
    },
    /// Free resources of an agent are reserved or not any more, or made a volume or not.
    Change {
        agent: AgentId,
        change: Change,
    },
}

/// What is asked about offers: all frameworks, or one, in one of its roles, on one agent.
#[derive(Clone, Debug, Default)]
pub struct Explain {
    pub framework: Option<FrameworkId>,
    pub role: Option<Role>,
    pub agent: Option<AgentId>,
}

/// A weight as it was sent, judged by the leader so that the refusal can name the role.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightValue {
    Thousandths(u64),
    /// Not positive, or no number: kept for the text of the refusal.
    Bad(f64),
}

impl OperatorCall {
    fn change(agent: wire::v1::AgentId, change: Change) -> Self {
        Self::Change { agent: agent.value.into(), change }
    }

    /// Reads a call from the wire; `stream` is used if it is `SUBSCRIBE`.
    ///
    /// # Errors
    /// `Refusal::Invalid` where a member is missing, `Refusal::Unsupported` for calls this master does not have.
    pub fn decode(call: wire::master::Call, stream: StreamId) -> Result<Self, Refusal> {
        use wire::master::call::Type;
        let missing = |member: &str| Refusal::Invalid {
            call: "master::Call",
            fault: format!("Expecting '{member}' to be present"),
        };
        let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).ok_or_else(|| missing("type"))?;
        Ok(match kind {
            Type::GetMaster
            | Type::GetState
            | Type::GetAgents
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetTasks
            | Type::GetRoles
            | Type::GetWeights
            | Type::GetQuota
            | Type::GetMaintenanceSchedule
            | Type::GetMaintenanceStatus
            | Type::GetOperations => Self::Read,
            Type::Subscribe => Self::Subscribe { stream },
            Type::Teardown => {
                Self::Teardown(call.teardown.ok_or_else(|| missing("teardown"))?.framework_id.value.into())
            }
            Type::UpdateWeights => {
                let update = call.update_weights.ok_or_else(|| missing("update_weights"))?;
                let weights = update.weight_infos.into_iter();
                Self::UpdateWeights(
                    weights
                        .map(|info| {
                            (info.role.unwrap_or_else(|| "*".to_owned()), WeightValue::from_f64(info.weight))
                        })
                        .collect(),
                )
            }
            Type::UpdateQuota => {
                let update = call.update_quota.ok_or_else(|| missing("update_quota"))?;
                let set = super::quota::read(update.quota_configs)?;
                Self::UpdateQuota { force: update.force.unwrap_or_default(), set }
            }
            Type::MarkAgentGone => {
                let mark = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
                Self::MarkAgentGone(mark.agent_id.value.into())
            }
            Type::UpdateMaintenanceSchedule => {
                let update = call.update_maintenance_schedule;
                let update = update.ok_or_else(|| missing("update_maintenance_schedule"))?;
                Self::Maintain(MaintenanceCommand::schedule(update.schedule))
            }
            Type::StartMaintenance => {
                let start = call.start_maintenance.ok_or_else(|| missing("start_maintenance"))?;
                Self::Maintain(MaintenanceCommand::down(start.machines))
            }
            Type::StopMaintenance => {
                let stop = call.stop_maintenance.ok_or_else(|| missing("stop_maintenance"))?;
                Self::Maintain(MaintenanceCommand::up(stop.machines))
            }
            Type::DrainAgent => {
                let drain = call.drain_agent.ok_or_else(|| missing("drain_agent"))?;
                let max_grace = drain.max_grace_period.map(grace).transpose()?;
                let mark_gone = drain.mark_gone.unwrap_or_default();
                Self::Drain { agent: drain.agent_id.value.into(), max_grace, mark_gone }
            }
            Type::DeactivateAgent => {
                let deactivate = call.deactivate_agent.ok_or_else(|| missing("deactivate_agent"))?;
                Self::Deactivate { agent: deactivate.agent_id.value.into(), deactivated: true }
            }
            Type::ReactivateAgent => {
                let reactivate = call.reactivate_agent.ok_or_else(|| missing("reactivate_agent"))?;
                Self::Deactivate { agent: reactivate.agent_id.value.into(), deactivated: false }
            }
            Type::ReserveResources => {
                let reserve = call.reserve_resources.ok_or_else(|| missing("reserve_resources"))?;
                let sourced = !reserve.source.is_empty();
                Self::change(reserve.agent_id, Change::new(ChangeKind::Reserve, &reserve.resources, sourced))
            }
            Type::UnreserveResources => {
                let unreserve = call.unreserve_resources.ok_or_else(|| missing("unreserve_resources"))?;
                let change = Change::new(ChangeKind::Unreserve, &unreserve.resources, false);
                Self::change(unreserve.agent_id, change)
            }
            Type::CreateVolumes => {
                let create = call.create_volumes.ok_or_else(|| missing("create_volumes"))?;
                Self::change(create.agent_id, Change::new(ChangeKind::Create, &create.volumes, false))
            }
            Type::DestroyVolumes => {
                let destroy = call.destroy_volumes.ok_or_else(|| missing("destroy_volumes"))?;
                Self::change(destroy.agent_id, Change::new(ChangeKind::Destroy, &destroy.volumes, false))
            }
            other => return Err(Refusal::Unsupported(other.as_str_name().to_owned())),
        })
    }
}

/// The longest grace of a kill; a negative one is refused.
fn grace(duration: wire::Duration) -> Result<Span, Refusal> {
    let invalid = || Refusal::Invalid {
        call: "master::Call",
        fault: "'drain_agent.max_grace_period' must be a non-negative duration".to_owned(),
    };
    let seconds = u64::try_from(duration.seconds).map_err(|_| invalid())?;
    let nanos = u64::try_from(duration.nanos).map_err(|_| invalid())?;
    Ok(Span::from_millis(seconds.saturating_mul(1_000).saturating_add(nanos.div_ceil(1_000_000))))
}

impl WeightValue {
    /// Rounds to the nearest thousandth, which is the precision of every number of the API.
    fn from_f64(weight: f64) -> Self {
        let thousandths = (weight * 1000.0).round();
        // Beyond 2^53 a double no longer knows each integer; no weight comes near.
        if (1.0..=9_007_199_254_740_992.0).contains(&thousandths) {
            Self::Thousandths(thousandths as u64)
        } else {
            Self::Bad(weight)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_positive_numbers_with_three_decimals() {
        assert_eq!(WeightValue::from_f64(2.5), WeightValue::Thousandths(2_500));
        assert_eq!(WeightValue::from_f64(0.001), WeightValue::Thousandths(1));
        for bad in [0.0, 0.0001, -1.0, f64::INFINITY, 1e300] {
            assert_eq!(WeightValue::from_f64(bad), WeightValue::Bad(bad));
        }
        assert!(matches!(WeightValue::from_f64(f64::NAN), WeightValue::Bad(_)));
    }

    #[test]
    fn operators_hear_what_this_master_has_not_got() {
        let stream = || StreamId("s".into());
        let call = |kind: wire::master::call::Type| wire::master::Call {
            r#type: Some(kind.into()),
            ..wire::master::Call::default()
        };
        let refusal = OperatorCall::decode(call(wire::master::call::Type::SetQuota), stream()).unwrap_err();
        assert_eq!(
            (refusal.status(), refusal.to_string().as_str()),
            (501, "SET_QUOTA is not supported by this master")
        );
        let refusal = OperatorCall::decode(call(wire::master::call::Type::Teardown), stream()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Failed to validate master::Call: Expecting 'teardown' to be present"
        );
        let mut drain = call(wire::master::call::Type::DrainAgent);
        drain.drain_agent = Some(wire::master::call::DrainAgent {
            agent_id: wire::v1::AgentId { value: "a".to_owned() },
            max_grace_period: Some(wire::Duration { seconds: -1, nanos: 0 }),
            mark_gone: None,
        });
        let refusal = OperatorCall::decode(drain, stream()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Failed to validate master::Call: 'drain_agent.max_grace_period' must be a non-negative duration"
        );
        let refusal = OperatorCall::decode(wire::master::Call::default(), stream()).unwrap_err();
        assert_eq!(refusal.to_string(), "Failed to validate master::Call: Expecting 'type' to be present");
    }
}
