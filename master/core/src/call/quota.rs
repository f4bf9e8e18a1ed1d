//! Quotas as operators send them (spec mesos-v1, sections 6.5 and 9.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::quantity::Quantity;
use model::resources::{Name, Quantities};
use model::role::Role;
use wire::quota::QuotaConfig;
use wire::v1::value::Scalar;

use crate::profile;
use crate::refusal::Refusal;
use crate::registry::Quota;

/// Reads the quotas of one call.
///
/// # Errors
/// `Refusal::QuotaInvalid`, which names the member and the rule, at the first that breaks one.
pub(super) fn read(configs: Vec<QuotaConfig>) -> Result<Vec<Quota>, Refusal> {
    let mut named = BTreeSet::new();
    let mut quotas = Vec::new();
    for config in configs {
        let quota = one(config).map_err(Refusal::QuotaInvalid)?;
        if !named.insert(Arc::clone(&quota.role)) {
            return Err(Refusal::QuotaInvalid(format!("role '{}' is named twice", quota.role)));
        }
        quotas.push(quota);
    }
    Ok(quotas)
}

fn one(config: QuotaConfig) -> Result<Quota, String> {
    let role = top_level(&config.role).map_err(|fault| format!("Invalid 'QuotaConfig.role': {fault}"))?;
    let guarantees = amounts(config.guarantees)
        .map_err(|fault| format!("Invalid 'QuotaConfig.guarantees' of role '{role}': {fault}"))?
        .without_zeros();
    let limits = amounts(config.limits)
        .map_err(|fault| format!("Invalid 'QuotaConfig.limits' of role '{role}': {fault}"))?;
    let beyond = limits.iter().any(|(name, limit)| guarantees.of(name) > limit);
    if beyond {
        return Err(format!("guarantees '{guarantees}' of role '{role}' exceed its limits '{limits}'"));
    }
    Ok(Quota { role: role.as_str().into(), guarantees, limits })
}

fn top_level(name: &str) -> Result<Role, String> {
    let role = profile::parse(name)?;
    if role.is_any() {
        return Err("The default role '*' cannot have a quota".to_owned());
    }
    if role.parent().is_some() {
        return Err(format!("Role '{role}' is not at top level, and only such roles can have a quota"));
    }
    Ok(role)
}

fn amounts(all: BTreeMap<String, Scalar>) -> Result<Quantities, String> {
    let mut amounts = Quantities::new();
    for (text, scalar) in all {
        let name = Name::from(text.as_str());
        let amount = Quantity::from_f64(scalar.value).map_err(|error| format!("'{text}' {error}"))?;
        match name {
            Name::Ports => return Err("'ports' are no amount".to_owned()),
            Name::Gpus if !amount.is_whole() => return Err("'gpus' must be a whole number".to_owned()),
            Name::Other(_) if text.is_empty() => return Err("a resource has no name".to_owned()),
            _ => amounts.set(name, amount),
        }
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> QuotaConfig {
        let map = |all: &[(&str, f64)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), Scalar { value: *value })).collect()
        };
        QuotaConfig { role: role.to_owned(), guarantees: map(guarantees), limits: map(limits) }
    }

    fn fault(config: QuotaConfig) -> String {
        read(vec![config]).unwrap_err().to_string()
    }

    #[test]
    fn a_quota_is_read_as_it_was_meant() {
        let quotas = read(vec![config("r", &[("cpus", 1.0), ("mem", 0.0)], &[("cpus", 4.0), ("disk", 0.0)])]);
        let quota = &quotas.unwrap()[0];
        assert_eq!(quota.guarantees.to_string(), "cpus:1");
        assert_eq!(quota.limits.to_string(), "cpus:4; disk:0");
    }

    #[test]
    fn faults_name_the_member_and_the_rule() {
        assert_eq!(
            fault(config("a/b", &[], &[])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.role': Role 'a/b' is not at top level, and only such roles can have a quota"
        );
        assert_eq!(
            fault(config("*", &[], &[])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.role': The default role '*' cannot have a quota"
        );
        assert_eq!(
            fault(config("-a", &[], &[])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.role': Role '-a' cannot have a component that begins with a dash"
        );
        assert_eq!(
            fault(config("r", &[("cpus", -1.0)], &[])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.guarantees' of role 'r': 'cpus' must not be negative, is -1"
        );
        assert_eq!(
            fault(config("r", &[], &[("gpus", 0.5)])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.limits' of role 'r': 'gpus' must be a whole number"
        );
        assert_eq!(
            fault(config("r", &[("", 1.0)], &[])),
            "Invalid QuotaConfig: Invalid 'QuotaConfig.guarantees' of role 'r': a resource has no name"
        );
        assert_eq!(
            fault(config("r", &[("cpus", 5.0)], &[("cpus", 4.0)])),
            "Invalid QuotaConfig: guarantees 'cpus:5' of role 'r' exceed its limits 'cpus:4'"
        );
        let twice = read(vec![config("r", &[], &[]), config("r", &[], &[])]).unwrap_err();
        assert_eq!(twice.to_string(), "Invalid QuotaConfig: role 'r' is named twice");
    }
}
