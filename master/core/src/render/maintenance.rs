//! Maintenance: the schedule, and how far it has come.

use std::collections::BTreeMap;

use wire::maintenance::cluster_status::DrainingMachine;
use wire::maintenance::{ClusterStatus, Schedule, Window};
use wire::master::{Response, response};
use wire::v1;
use wire::v1::allocator::InverseOfferStatus;
use wire::v1::allocator::inverse_offer_status::Status;

use crate::registry::Machine;
use crate::snapshot::{InverseOffer, Snapshot};

/// `GET_MAINTENANCE_SCHEDULE`.
#[must_use]
pub fn get_maintenance_schedule(snapshot: &Snapshot) -> Response {
    Response {
        r#type: Some(response::Type::GetMaintenanceSchedule.into()),
        get_maintenance_schedule: Some(response::GetMaintenanceSchedule {
            schedule: maintenance_schedule(snapshot),
        }),
        ..Response::default()
    }
}

/// `GET_MAINTENANCE_STATUS`.
#[must_use]
pub fn get_maintenance_status(snapshot: &Snapshot) -> Response {
    Response {
        r#type: Some(response::Type::GetMaintenanceStatus.into()),
        get_maintenance_status: Some(response::GetMaintenanceStatus { status: maintenance_status(snapshot) }),
        ..Response::default()
    }
}

/// The windows as the operator wrote them.
#[must_use]
pub fn maintenance_schedule(snapshot: &Snapshot) -> Schedule {
    let window = |window: crate::registry::Window| Window {
        machine_ids: window.machines.iter().map(machine).collect(),
        unavailability: window.unavailability.into(),
    };
    Schedule { windows: snapshot.registry.maintenance_windows().into_iter().map(window).collect() }
}

/// Which machines are down, and what frameworks have answered about those that will be.
#[must_use]
pub fn maintenance_status(snapshot: &Snapshot) -> ClusterStatus {
    let mut answers: BTreeMap<&Machine, Vec<InverseOfferStatus>> = BTreeMap::new();
    for ((agent, framework), answer) in &snapshot.tables.inverse_answers {
        let Some(agent) = snapshot.tables.agents.get(agent) else { continue };
        let Some(scheduled) = snapshot.registry.scheduled(&agent.info.hostname, &agent.ip) else { continue };
        answers.entry(&scheduled.machine).or_default().push(InverseOfferStatus {
            status: if answer.accepted { Status::Accept } else { Status::Decline }.into(),
            framework_id: framework.into(),
            timestamp: answer.at.into(),
        });
    }
    let mut status = ClusterStatus::default();
    for scheduled in snapshot.registry.scheduled_machines() {
        if scheduled.down {
            status.down_machines.push(machine(&scheduled.machine));
        } else {
            let statuses = answers.remove(&scheduled.machine).unwrap_or_default();
            status.draining_machines.push(DrainingMachine { id: machine(&scheduled.machine), statuses });
        }
    }
    status
}

fn machine(machine: &Machine) -> v1::MachineId {
    let member = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    v1::MachineId { hostname: member(&machine.hostname), ip: member(&machine.ip) }
}

/// An inverse offer as its framework reads it.
#[must_use]
pub fn inverse_offer(offer: &InverseOffer) -> v1::InverseOffer {
    v1::InverseOffer {
        id: (&offer.id).into(),
        url: Some(super::agent_url(&offer.info, &offer.ip)),
        framework_id: (&offer.framework).into(),
        agent_id: Some((&offer.agent).into()),
        unavailability: offer.unavailability.into(),
        resources: Vec::new(),
    }
}
