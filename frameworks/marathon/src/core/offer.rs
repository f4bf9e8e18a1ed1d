//! Offers, and whether an app fits in one.

use std::collections::BTreeMap;

use model::id::{AgentId, OfferId};
use model::quantity::Quantity;
use model::ranges::Ranges;
use model::resources::{Bag, Item, Name, Value};
use model::role::Role;

use super::app::AppDefinition;
use super::random::Random;

/// Resources of one agent, offered to one of our roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub id: OfferId,
    pub agent: AgentId,
    pub hostname: String,
    pub role: Role,
    pub resources: Bag,
    /// Hostname, region, zone and attributes, as text.
    pub fields: BTreeMap<String, String>,
}

/// Why an app cannot use an offer, in the order of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    UnfulfilledRole,
    UnfulfilledConstraint,
    NoCorrespondingReservationFound,
    AgentMaintenance,
    InsufficientCpus,
    InsufficientMemory,
    InsufficientDisk,
    InsufficientGpus,
    InsufficientPorts,
    DeclinedScarceResources,
}

impl Misfit {
    /// The funnel: clients show every step, also those that turn nothing away here.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::AgentMaintenance => "AgentMaintenance",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
            Self::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}

/// What one instance takes from an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub resources: Bag,
    pub ports: Vec<u16>,
}

/// Fits one instance of `app` into `left`, what remains of `offer`. `placed` yields the fields of the agents where
/// instances of the same configuration are.
///
/// # Errors
/// Every reason why it does not fit, in the order of the tests.
pub fn fit<'a, I: Iterator<Item = &'a BTreeMap<String, String>>>(
    app: &AppDefinition,
    offer: &Offer,
    left: &Bag,
    placed: impl Fn() -> I,
    random: &mut Random,
) -> Result<Fit, Vec<Misfit>> {
    let mut misfits = Vec::new();
    if offer.role.as_str() != app.role {
        misfits.push(Misfit::UnfulfilledRole);
    }
    let usable = usable(app, left);
    if !app.constraints.iter().all(|constraint| constraint.allows(&offer.fields, placed())) {
        misfits.push(Misfit::UnfulfilledConstraint);
    }
    let enough = |have: Quantity, wanted: Quantity| have >= wanted;
    for (have, wanted, misfit) in [
        (usable.cpus(), app.cpus, Misfit::InsufficientCpus),
        (usable.mem(), app.mem, Misfit::InsufficientMemory),
        (usable.disk(), app.disk, Misfit::InsufficientDisk),
    ] {
        if !enough(have, wanted) {
            misfits.push(misfit);
        }
    }
    let ports = host_ports(app, &usable.ports(), random);
    if ports.is_none() {
        misfits.push(Misfit::InsufficientPorts);
    }
    match (ports, misfits.is_empty()) {
        (Some(ports), true) => match usable.find(&wanted(app, &ports), &offer.role) {
            Some(resources) => Ok(Fit { resources, ports }),
            // Only volumes or resources that may be taken back would have been enough.
            None => Err(vec![Misfit::NoCorrespondingReservationFound]),
        },
        _ => Err(misfits),
    }
}

/// The part of an offer that the app accepts by role.
fn usable(app: &AppDefinition, left: &Bag) -> Bag {
    match &app.accepted_resource_roles {
        None => left.clone(),
        Some(roles) => left.filter(|item| {
            let role = item.reserved_to().map_or("*", |role| role.as_str());
            roles.iter().any(|accepted| accepted == role)
        }),
    }
}

fn wanted(app: &AppDefinition, ports: &[u16]) -> Bag {
    let scalar = |name, quantity| Item::plain(name, Value::Scalar(quantity));
    let mut bag: Bag =
        [scalar(Name::Cpus, app.cpus), scalar(Name::Mem, app.mem), scalar(Name::Disk, app.disk)]
            .into_iter()
            .collect();
    let numbers = ports.iter().map(|port| (u64::from(*port), u64::from(*port)));
    if let Ok(ranges) = Ranges::covering(numbers) {
        bag.insert(Item::plain(Name::Ports, Value::Ranges(ranges)));
    }
    bag
}

/// The host port of each port definition: the very number where it is required, otherwise any, in a row from a
/// random start so that a port just given up is not soon given to another.
fn host_ports(app: &AppDefinition, free: &Ranges, random: &mut Random) -> Option<Vec<u16>> {
    if app.require_ports {
        return app
            .ports
            .iter()
            .map(|definition| free.has(definition.port.into()).then_some(definition.port))
            .collect();
    }
    let count = app.ports.len();
    if free.count() < count as u64 {
        return None;
    }
    let start = if count == 0 { 0 } else { random.below(free.count()) };
    sdk::offer::ports(free, count, start)
}
