//! Frameworks that want offers of some agents only.

use master_core::effect::{Effect, SchedulerEvent};
use wire::scheduler::attribute_constraint::predicate::{
    NotExists, Predicate as Holds, TextEquals, TextMatches,
};
use wire::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector as Of};
use wire::scheduler::attribute_constraint::{Predicate, Selector};
use wire::scheduler::offer_constraints::RoleConstraints;
use wire::scheduler::offer_constraints::role_constraints::Group;
use wire::scheduler::{AttributeConstraint, OfferConstraints, call};
use wire::v1::FrameworkInfo;

use crate::world::script::Script;

fn hostname(holds: Holds) -> AttributeConstraint {
    constraint(Of::PseudoattributeType(PseudoattributeType::Hostname.into()), holds)
}

fn constraint(of: Of, holds: Holds) -> AttributeConstraint {
    AttributeConstraint {
        selector: Selector { selector: Some(of) },
        predicate: Predicate { predicate: Some(holds) },
    }
}

fn constraints(role: &str, groups: Vec<Vec<AttributeConstraint>>) -> OfferConstraints {
    let groups = groups.into_iter().map(|attribute_constraints| Group { attribute_constraints }).collect();
    OfferConstraints { role_constraints: [(role.to_owned(), RoleConstraints { groups })].into() }
}

fn subscribe(script: &mut Script, constraints: OfferConstraints) -> Vec<Effect> {
    script.subscribe_as(call::Subscribe {
        framework_info: FrameworkInfo {
            user: "root".to_owned(),
            name: "choosy".to_owned(),
            ..FrameworkInfo::default()
        },
        suppressed_roles: Vec::new(),
        offer_constraints: Some(constraints),
    })
}

/// The hosts that are offered.
fn offered(effects: &[Effect]) -> Vec<String> {
    let offers = effects.iter().filter_map(|effect| match effect {
        Effect::Event { event: SchedulerEvent::Offers(offers), .. } => Some(offers),
        _ => None,
    });
    offers.flatten().map(|offer| offer.info.hostname.clone()).collect()
}

#[test]
fn only_agents_that_meet_a_group_are_offered_until_the_framework_says_otherwise() {
    let mut script = Script::new();
    for line in ["lead", "hello a1", "hello a2", "hello a3"] {
        script.effects_of(line);
    }
    let matches = hostname(Holds::TextMatches(TextMatches { regex: "a[34]".to_owned() }));
    let equals = hostname(Holds::TextEquals(TextEquals { value: "a1".to_owned() }));
    let no_rack = constraint(Of::AttributeName("rack".to_owned()), Holds::NotExists(NotExists {}));
    let given = constraints("*", vec![vec![matches], vec![equals, no_rack]]);
    let effects = subscribe(&mut script, given.clone());
    assert_eq!(offered(&effects), ["a1", "a3"]);
    assert_eq!(offered(&script.effects_of("hello a4 host=a4")), ["a4"]);
    assert_eq!(offered(&script.effects_of("hello a5 host=a45")), Vec::<String>::new(), "all of a name");
    let framework = script.snapshot().tables.frameworks.values().next().cloned().expect("it subscribed");
    assert_eq!(framework.constraints.given, given, "as it gave them");
    let mut why = script.effects_of("op explain framework=M-0000 agent=M-S1");
    let why = format!("{:?}", why.pop());
    assert!(why.contains("Some(Constrained)") && why.contains("constrained: 2"), "{why}");
    // The whole description is replaced, the constraints with it.
    let effects = script.effects_of("update-framework other name=choosy");
    assert_eq!(offered(&effects), ["a2", "a45"]);
}

#[test]
fn constraints_that_cannot_be_kept_end_the_subscription() {
    let matches = |regex: &str| hostname(Holds::TextMatches(TextMatches { regex: regex.to_owned() }));
    let nothing = AttributeConstraint::default();
    let no_type = constraint(Of::PseudoattributeType(0), Holds::NotExists(NotExists {}));
    let no_predicate = AttributeConstraint { predicate: Predicate::default(), ..matches("a") };
    let many = vec![vec![matches("a"); 65]];
    for (given, text) in [
        (
            constraints("web", vec![vec![matches("a")]]),
            "'offer_constraints' names role 'web', which is not among its roles",
        ),
        (constraints("*", vec![]), "'offer_constraints' of role '*': 'groups' must not be empty"),
        (
            constraints("*", vec![vec![]]),
            "'offer_constraints' of role '*': a group must have at least one of 'attribute_constraints'",
        ),
        (
            constraints("*", vec![vec![nothing]]),
            "'offer_constraints' of role '*': 'selector' must have an attribute's name or a pseudo-attribute's type",
        ),
        (
            constraints("*", vec![vec![no_type]]),
            "'offer_constraints' of role '*': 'selector.pseudoattribute_type' must be HOSTNAME, REGION or ZONE",
        ),
        (
            constraints("*", vec![vec![no_predicate]]),
            "'offer_constraints' of role '*': 'predicate' must be one that this master knows",
        ),
        (
            constraints("*", vec![vec![matches("a(")]]),
            "'offer_constraints' of role '*': 'a(' is not a regular expression",
        ),
        (
            constraints("*", vec![vec![matches("(a{1000}){1000}")]]),
            "'offer_constraints' of role '*': the regular expression '(a{1000}){1000}' takes more than 65536 bytes",
        ),
        (constraints("*", many), "'offer_constraints' has more than 64 'attribute_constraints'"),
    ] {
        let mut script = Script::new();
        script.effects_of("lead");
        let effects = subscribe(&mut script, given);
        let error = effects.iter().find_map(|effect| match effect {
            Effect::Event { event: SchedulerEvent::Error(text), .. } => Some(text.as_str()),
            _ => None,
        });
        assert_eq!(error, Some(text));
    }
}
