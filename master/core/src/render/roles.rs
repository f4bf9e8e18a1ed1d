//! Roles, weights and quotas as operators read them.

use std::collections::{BTreeMap, BTreeSet};

use model::id::FrameworkId;
use model::resources::{Bag, Form as Notation, Item, Name, Quantities, Value};
use model::role::Role;
use wire::master::Response;
use wire::master::response::{GetQuota, GetRoles, GetWeights, Type};
use wire::quota::{QuotaConfig, QuotaInfo, QuotaStatus};
use wire::v1::{self, value::Scalar};

use super::state::answer;
use crate::registry::WEIGHT_ONE;
use crate::snapshot::Snapshot;

#[must_use]
pub fn get_roles(snapshot: &Snapshot) -> Response {
    answer(Type::GetRoles, |response| response.get_roles = Some(GetRoles { roles: roles_of(snapshot) }))
}

/// Without any weight the member is left out, as clients know it.
#[must_use]
pub fn get_weights(snapshot: &Snapshot) -> Response {
    answer(Type::GetWeights, |response| {
        let weight_infos: Vec<v1::WeightInfo> = snapshot
            .registry
            .weights()
            .map(|weight| v1::WeightInfo {
                weight: thousandths(weight.thousandths),
                role: Some(weight.role.to_string()),
            })
            .collect();
        response.get_weights = (!weight_infos.is_empty()).then_some(GetWeights { weight_infos });
    })
}

#[must_use]
pub fn get_quota(snapshot: &Snapshot) -> Response {
    answer(Type::GetQuota, |response| {
        response.get_quota = Some(GetQuota { status: quota_status(snapshot) });
    })
}

/// All quotas, in the old form and the new.
#[must_use]
pub fn quota_status(snapshot: &Snapshot) -> QuotaStatus {
    let mut status = QuotaStatus::default();
    for quota in snapshot.registry.quotas() {
        let amounts = |all: &Quantities| {
            all.iter().map(|(name, amount)| (name.to_string(), Scalar { value: amount.as_f64() })).collect()
        };
        let guarantee: Bag = quota
            .guarantees
            .iter()
            .map(|(name, amount)| Item::plain(name.clone(), Value::Scalar(amount)))
            .collect();
        status.infos.push(QuotaInfo {
            role: Some(quota.role.to_string()),
            principal: None,
            guarantee: guarantee.to_wire(Notation::Stack),
        });
        status.configs.push(QuotaConfig {
            role: quota.role.to_string(),
            guarantees: amounts(&quota.guarantees),
            limits: amounts(&quota.limits),
        });
    }
    status
}

fn thousandths(value: u64) -> f64 {
    value as f64 / WEIGHT_ONE as f64
}

/// What each role has of what a quota counts, with all roles below it: what is reserved to it, used or not, and what
/// else its frameworks use. Offers do not count here.
#[must_use]
pub fn consumption(snapshot: &Snapshot) -> BTreeMap<Role, Quantities> {
    let mut consumed: BTreeMap<Role, Quantities> = BTreeMap::new();
    let mut add = |role: &Role, name: &Name, amount| {
        for role in std::iter::once(role.clone()).chain(role.ancestors()) {
            consumed.entry(role).or_default().add(name, amount);
        }
    };
    for agent in snapshot.tables.agents.values() {
        for item in &agent.total {
            if let Some(owner) = item.reserved_to()
                && !item.value().quantity().is_zero()
            {
                add(owner, item.name(), item.value().quantity());
            }
        }
    }
    for framework in snapshot.tables.frameworks.values() {
        for item in &super::framework_usage(framework) {
            let common = item.reserved_to().is_none() && !item.is_revocable();
            if let Some(role) = item.allocated_to().filter(|_| common && !item.value().quantity().is_zero()) {
                add(role, item.name(), item.value().quantity());
            }
        }
    }
    consumed
}

/// Roles somebody is in or has something in, and those that have a reservation, a weight or a quota.
fn roles_of(snapshot: &Snapshot) -> Vec<v1::Role> {
    let mut members: BTreeMap<String, BTreeSet<&FrameworkId>> = BTreeMap::new();
    for weight in snapshot.registry.weights() {
        members.entry(weight.role.to_string()).or_default();
    }
    for quota in snapshot.registry.quotas() {
        members.entry(quota.role.to_string()).or_default();
    }
    for agent in snapshot.tables.agents.values() {
        for owner in agent.total.iter().filter_map(Item::reserved_to) {
            members.entry(owner.to_string()).or_default();
        }
    }
    let mut held: BTreeMap<String, Bag> = BTreeMap::new();
    for framework in snapshot.tables.frameworks.values() {
        for role in &framework.profile.roles {
            members.entry(role.to_string()).or_default().insert(&framework.id);
        }
        for item in &(super::framework_usage(framework) + &super::framework_offered(framework)) {
            let Some(role) = item.allocated_to() else { continue };
            members.entry(role.to_string()).or_default();
            if !item.value().quantity().is_zero() {
                let plain = Item::plain(item.name().clone(), Value::Scalar(item.value().quantity()));
                held.entry(role.to_string()).or_default().insert(plain);
            }
        }
    }
    members
        .into_iter()
        .map(|(name, frameworks)| v1::Role {
            weight: thousandths(snapshot.registry.weight(&name)),
            frameworks: frameworks.into_iter().map(Into::into).collect(),
            resources: held.remove(&name).unwrap_or_default().to_wire(Notation::Stack),
            name,
        })
        .collect()
}
