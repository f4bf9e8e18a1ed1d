//! Reservations bind everybody, and outlive every process.

use std::collections::BTreeMap;

use model::id::{AgentId, OperationId};
use model::resources::Bag;
use wire::v1;

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "what is reserved is offered to no other role; what an agent said is reserved stays so until its owner gives it back";

/// What is known of the reservations on one agent.
#[derive(Debug, Default)]
struct Kept {
    /// At least this is there.
    bag: Bag,
    /// The last operation that was asked for there.
    last: Option<OperationId>,
}

/// What was promised to whom.
#[derive(Debug, Default)]
pub struct Reservations {
    kept: BTreeMap<AgentId, Kept>,
    /// What was seen.
    pub findings: Findings,
}

impl Reservations {
    /// A framework of these roles, all at top level as everywhere in this world, is offered something.
    pub fn offered(&mut self, roles: &[String], offer: &v1::Offer) {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref()).unwrap_or("*");
        self.findings.look(roles.iter().any(|own| own == role), || {
            format!("a framework of {roles:?} is offered something as '{role}'")
        });
        let foreign = |resource: &&v1::Resource| {
            let reserved = resource.reservations.last().and_then(|layer| layer.role.as_deref());
            reserved.or(resource.role.as_deref()).is_some_and(|owner| owner != "*" && owner != role)
        };
        let foreign = offer.resources.iter().find(foreign);
        self.findings.look(foreign.is_none(), || format!("'{role}' is offered {foreign:?}"));
    }

    /// The owner asks for a change, by which this may be gone. Until it hears of the outcome it counts on nothing new.
    pub fn asked(&mut self, agent: &AgentId, operation: &OperationId, gives: &Bag) {
        let kept = self.kept.entry(agent.clone()).or_default();
        kept.bag = kept.bag.without(gives);
        kept.last = Some(operation.clone());
    }

    /// The agent has said that the change is done, by which this is there. Of one that is not the last the owner cannot
    /// tell whether a later one has undone it.
    pub fn done(&mut self, agent: &AgentId, operation: &OperationId, has: &Bag) {
        if let Some(kept) = self.kept.get_mut(agent).filter(|kept| kept.last.as_ref() == Some(operation)) {
            kept.bag += has;
        }
    }

    /// The disk of an agent is gone, and it will be another when it comes back.
    pub fn wiped(&mut self, agent: &AgentId) {
        self.kept.remove(agent);
    }

    /// The agents on which something is reserved for certain.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.kept.iter().filter(|(_, kept)| !kept.bag.is_empty()).map(|(agent, _)| agent)
    }

    /// What an agent has when all has come to rest.
    pub fn rests(&mut self, agent: &AgentId, total: &Bag) {
        if let Some(kept) = self.kept.get(agent) {
            let there = total.contains(&kept.bag);
            self.findings.look(there, || format!("{agent} has {total}, and {} is reserved there", kept.bag));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(role: &str, reserved: Option<&str>) -> v1::Offer {
        let layer =
            |role: &str| v1::resource::ReservationInfo { role: Some(role.into()), ..Default::default() };
        let resource = v1::Resource {
            name: "cpus".into(),
            reservations: reserved.map(layer).into_iter().collect(),
            ..Default::default()
        };
        v1::Offer {
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.into()) }),
            resources: vec![resource],
            ..Default::default()
        }
    }

    fn bag(text: &str) -> Bag {
        Bag::parse(text).expect("lawful")
    }

    #[test]
    fn what_is_reserved_is_for_one_role() {
        let roles = ["a".to_owned()];
        for (offer, fine) in [
            (offer("a", Some("a")), true),
            (offer("a", None), true),
            (offer("a", Some("b")), false),
            (offer("b", None), false),
        ] {
            let mut checker = Reservations::default();
            checker.offered(&roles, &offer);
            assert_eq!(checker.findings.wrong.is_empty(), fine, "{offer:?}");
        }
    }

    #[test]
    fn what_was_confirmed_must_be_there_until_it_is_given_back() {
        let (agent, one, two) = (AgentId::from("S"), OperationId::from("1"), OperationId::from("2"));
        let holds = |checker: &mut Reservations, total: &str| {
            checker.findings = Findings::default();
            checker.rests(&agent, &bag(total));
            checker.findings.wrong.is_empty()
        };
        let mut checker = Reservations::default();
        checker.asked(&agent, &one, &Bag::new());
        assert!(holds(&mut checker, "mem:1"), "nothing was confirmed yet");
        checker.done(&agent, &one, &bag("cpus:2"));
        assert!(holds(&mut checker, "cpus:3") && !holds(&mut checker, "mem:1"));
        assert_eq!(checker.agents().count(), 1);
        checker.asked(&agent, &two, &bag("cpus:2"));
        checker.done(&agent, &one, &bag("cpus:2"));
        assert!(holds(&mut checker, "mem:1"), "the word on the first came again, after it was undone");
        checker.done(&agent, &two, &bag("disk:1"));
        checker.wiped(&agent);
        assert!(holds(&mut checker, "mem:1"));
    }
}
