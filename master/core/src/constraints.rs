//! What the core reads in a framework's `offer_constraints`: once, when they arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::role::Role;
use regex::RegexBuilder;
use wire::scheduler::attribute_constraint::predicate::Predicate as Asked;
use wire::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector};
use wire::scheduler::{self, AttributeConstraint};
use wire::v1::AgentInfo;

use crate::alloc::{Constraint, Constraints, Pattern, Predicate, Trait, Traits};
use crate::limits;

/// The constraints of a framework, as it gave them and as the allocator keeps them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct OfferConstraints {
    pub given: scheduler::OfferConstraints,
    /// A role that is not here is offered whatever there is.
    pub by_role: BTreeMap<Role, Arc<Constraints>>,
}

impl OfferConstraints {
    /// Reads the constraints of a framework of these roles.
    ///
    /// # Errors
    /// The sentence that goes into the ERROR event or the 400.
    pub fn read(given: Option<scheduler::OfferConstraints>, roles: &BTreeSet<Role>) -> Result<Self, String> {
        let given = given.unwrap_or_default();
        let mut by_role = BTreeMap::new();
        let mut count = 0;
        for (name, constraints) in &given.role_constraints {
            let Some(role) = roles.iter().find(|role| role.as_str() == name) else {
                return Err(format!("'offer_constraints' names role '{name}', which is not among its roles"));
            };
            let fault = |text: &str| format!("'offer_constraints' of role '{name}': {text}");
            if constraints.groups.is_empty() {
                return Err(fault("'groups' must not be empty"));
            }
            let mut groups = Vec::new();
            for group in &constraints.groups {
                if group.attribute_constraints.is_empty() {
                    return Err(fault("a group must have at least one of 'attribute_constraints'"));
                }
                count += group.attribute_constraints.len();
                if count > limits::OFFER_CONSTRAINTS {
                    let limit = limits::OFFER_CONSTRAINTS;
                    return Err(format!("'offer_constraints' has more than {limit} 'attribute_constraints'"));
                }
                let read = group.attribute_constraints.iter().map(constraint);
                groups.push(read.collect::<Result<_, _>>().map_err(|text: String| fault(&text))?);
            }
            by_role.insert(role.clone(), Arc::new(Constraints(groups)));
        }
        Ok(Self { given, by_role })
    }
}

fn constraint(given: &AttributeConstraint) -> Result<Constraint, String> {
    let of = match &given.selector.selector {
        Some(Selector::AttributeName(name)) => Trait::Attribute(name.clone()),
        Some(Selector::PseudoattributeType(kind)) => match PseudoattributeType::try_from(*kind) {
            Ok(PseudoattributeType::Hostname) => Trait::Hostname,
            Ok(PseudoattributeType::Region) => Trait::Region,
            Ok(PseudoattributeType::Zone) => Trait::Zone,
            Ok(PseudoattributeType::Unknown) | Err(_) => {
                return Err("'selector.pseudoattribute_type' must be HOSTNAME, REGION or ZONE".to_owned());
            }
        },
        None => {
            return Err("'selector' must have an attribute's name or a pseudo-attribute's type".to_owned());
        }
    };
    let holds = match &given.predicate.predicate {
        Some(Asked::Exists(_)) => Predicate::Exists,
        Some(Asked::NotExists(_)) => Predicate::NotExists,
        Some(Asked::TextEquals(text)) => Predicate::Equals(text.value.clone()),
        Some(Asked::TextNotEquals(text)) => Predicate::NotEquals(text.value.clone()),
        Some(Asked::TextMatches(text)) => Predicate::Matches(pattern(&text.regex)?),
        Some(Asked::TextNotMatches(text)) => Predicate::NotMatches(pattern(&text.regex)?),
        None => return Err("'predicate' must be one that this master knows".to_owned()),
    };
    Ok(Constraint { of, holds })
}

/// The whole text has to match, not a part of it.
fn pattern(text: &str) -> Result<Pattern, String> {
    let built = RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(limits::PATTERN_BYTES)
        .dfa_size_limit(limits::PATTERN_BYTES)
        .build();
    built.map(Pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression '{text}' takes more than {limit} bytes")
        }
        _ => format!("'{text}' is not a regular expression"),
    })
}

/// What constraints can ask of an agent.
#[must_use]
pub fn traits(info: &AgentInfo) -> Traits {
    let domain = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    let mut attributes = BTreeMap::new();
    for attribute in &info.attributes {
        let text = attribute.text.as_ref().map(|text| text.value.clone());
        attributes.entry(attribute.name.clone()).or_insert(text);
    }
    Traits {
        hostname: info.hostname.clone(),
        region: domain.map(|domain| domain.region.name.clone()),
        zone: domain.map(|domain| domain.zone.name.clone()),
        attributes,
    }
}
