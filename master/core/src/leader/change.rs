//! Changes of what resources are: RESERVE, UNRESERVE, CREATE, DESTROY, by frameworks and operators (spec mesos-v1,
//! sections 8.5, 9.4 and 11.4).
//!
//! A change is done in the master's books at once, so that the next operation of the same call may use its result; the
//! link to the agent keeps the order, so that no task gets there before what it needs. The agent stores its totals, and
//! they come back with its registration: nothing of this is in the registry. An agent that refuses all the same has the
//! change undone, see `operations`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, FrameworkId, OfferId, OperationId};
use model::resources::{Bag, Disk, Item, Persistence};
use model::role::Role;
use wire::v1::{self, OperationState, OperationStatus};

use super::Turn;
use super::accept::Deal;
use super::validate::demand;
use crate::call::{Change, ChangeKind};
use crate::effect::AgentOrder;
use crate::input::RequestId;
use crate::limits;
use crate::refusal::Refusal;
use crate::snapshot::{Agent, Framework, Operation};

impl Turn<'_> {
    /// An operation on offers. Without an id its framework does not hear of its fate.
    pub(super) fn change(
        &mut self,
        framework: &FrameworkId,
        deal: &mut Deal,
        id: Option<OperationId>,
        change: &Change,
    ) {
        let (bag, rest) = match self.judge_change(framework, deal, id.as_ref(), change) {
            Ok(judged) => judged,
            Err(fault) => {
                self.leader.counters.operation(change.kind.name(), OperationState::OperationError);
                return self.fail_operation(framework, id.as_ref(), &fault);
            }
        };
        let (given, taken) = (deal.rest.without(&rest), rest.without(&deal.rest));
        deal.all = deal.all.without(&given) + &taken;
        deal.rest = rest;
        self.convert(&deal.agent, Some((framework, &deal.role)), &given, &taken);
        let info = Arc::new(change.kind.to_wire(id.as_ref(), &bag));
        self.record_change(Some(framework.clone()), &deal.agent, id, info, (given, taken));
    }

    /// What the operation is about, and what remains of the offers after it.
    fn judge_change(
        &self,
        framework: &FrameworkId,
        deal: &Deal,
        id: Option<&OperationId>,
        change: &Change,
    ) -> Result<(Bag, Bag), String> {
        let (Some(record), Some(agent)) = (self.framework(framework), self.agent(&deal.agent)) else {
            return Err("The agent is not there any more".to_owned());
        };
        if let Some(id) = id {
            model::id::check(id.as_str()).map_err(|error| format!("'Operation.id': {error}"))?;
            let known = self.leader.tables.operation_names.contains_key(&(framework.clone(), id.clone()));
            demand(!known, "'Operation.id' is that of an operation not yet acknowledged")?;
        }
        demand(
            agent.operations.len() < limits::AGENT_OPERATIONS,
            "Too many operations of this agent are not yet acknowledged",
        )?;
        demand(!change.sourced, "'reserve.source' must not be set by frameworks")?;
        let marked = change.resources.as_ref().map_err(ToString::to_string)?;
        let foreign = marked.iter().find_map(|item| item.allocated_to().filter(|role| **role != deal.role));
        if let Some(role) = foreign {
            return Err(format!(
                "Resources are allocated to role '{role}' while the offers are allocated to role '{}'",
                deal.role
            ));
        }
        let bag = marked.unallocate();
        lawful(change.kind, &bag)?;
        for item in &bag {
            own(change.kind, item, record, &deal.role)?;
        }
        self.possible(change.kind, &bag, agent)?;
        let rest = change.kind.apply(&deal.rest, &bag).map_err(|error| error.to_string())?;
        Ok((bag, rest))
    }

    /// What depends on the agent: ids of volumes are unique in their role, and one that is in use stays.
    fn possible(&self, kind: ChangeKind, bag: &Bag, agent: &Agent) -> Result<(), String> {
        match kind {
            ChangeKind::Reserve | ChangeKind::Unreserve => Ok(()),
            ChangeKind::Create => {
                let name = |item: &Item| Some((item.reserved_to()?.clone(), persistence(item)?.id.clone()));
                let mut taken: BTreeSet<_> = agent.total.iter().filter_map(name).collect();
                let twice = bag.iter().find(|item| name(item).is_some_and(|name| !taken.insert(name)));
                match twice.and_then(persistence) {
                    Some(twice) => Err(format!("Persistence ID '{}' is in use already", twice.id)),
                    None => Ok(()),
                }
            }
            ChangeKind::Destroy => {
                let used = |item: &&Item| {
                    let holds = |bag: &Bag| bag.iter().any(|held| held.tag() == item.tag());
                    agent.tasks.iter().any(|(framework, task)| {
                        self.task(framework, task)
                            .is_some_and(|task| task.state.holds_resources() && holds(&task.resources))
                    })
                };
                match bag.iter().find(used) {
                    Some(volume) => Err(format!("Volume '{volume}' is used by a task")),
                    None => Ok(()),
                }
            }
        }
    }

    /// An operator's operation, on what is free. Offers are withdrawn as far as it needs their resources, and only if
    /// that is enough. The answer waits for the agent: it may know what the books do not, for example
    /// that tasks of a removed framework have not ended yet.
    pub(super) fn operator_change(&mut self, request: RequestId, id: &AgentId, change: &Change) {
        let result = self.judge_operator(id, change).and_then(|bag| {
            self.make_room(id, change.kind, &bag)?;
            Ok(bag)
        });
        let bag = match result {
            Ok(bag) => bag,
            Err(refusal) => return self.answer(request, Err(refusal)),
        };
        let free = self.allocator.free(id).cloned().unwrap_or_default();
        let Ok(after) = change.kind.apply(&free, &bag) else {
            // Looked at before; nothing has changed since.
            return self.answer(request, Err(Refusal::NotFree(format!("{free} does not contain {bag}"))));
        };
        let (given, taken) = (free.without(&after), after.without(&free));
        self.convert(id, None, &given, &taken);
        let info = Arc::new(change.kind.to_wire(None, &bag));
        let uuid = self.record_change(None, id, None, info, (given, taken));
        self.leader.asked.insert(uuid, (request, self.now));
    }

    fn judge_operator(&self, id: &AgentId, change: &Change) -> Result<Bag, Refusal> {
        let Some(agent) = self.agent(id).filter(|agent| agent.link.is_some()) else {
            self.stays(id)?;
            return Err(Refusal::NotConnected(id.clone()));
        };
        let invalid = |fault: String| Refusal::Invalid { call: "master::Call", fault };
        if agent.operations.len() >= limits::AGENT_OPERATIONS {
            return Err(Refusal::TooMany {
                what: "operations of the agent",
                limit: limits::AGENT_OPERATIONS,
            });
        }
        let bag = change.resources.as_ref().map_err(|error| invalid(error.to_string()))?;
        if bag.iter().any(|item| item.allocated_to().is_some()) {
            return Err(invalid("'allocation_info' must not be set on resources of an operator".to_owned()));
        }
        lawful(change.kind, bag).map_err(invalid)?;
        self.possible(change.kind, bag, agent).map_err(invalid)?;
        Ok(bag.clone())
    }

    /// Withdraws offers of the agent, one after the other, until what is free is enough. Their frameworks have refused
    /// nothing: the rest may be offered to them again at once.
    fn make_room(&mut self, id: &AgentId, kind: ChangeKind, bag: &Bag) -> Result<(), Refusal> {
        use model::resources::ReserveError;
        let offers: Vec<OfferId> =
            self.agent(id).map(|agent| agent.offers.iter().cloned().collect()).unwrap_or_default();
        let mut most = self.allocator.free(id).cloned().unwrap_or_default();
        for offer in offers.iter().filter_map(|offer| self.leader.tables.offers.get(offer)) {
            most += &offer.resources;
        }
        kind.apply(&most, bag).map_err(|error| match error {
            ReserveError::Lacking(_) => Refusal::NotFree(error.to_string()),
            error => Refusal::Invalid { call: "master::Call", fault: error.to_string() },
        })?;
        for offer in offers {
            let enough = self.allocator.free(id).is_some_and(|free| kind.apply(free, bag).is_ok());
            if enough {
                break;
            }
            self.rescind(&offer);
        }
        Ok(())
    }

    /// Writes an operation down and sends it to its agent. Returns its uuid.
    fn record_change(
        &mut self,
        framework: Option<FrameworkId>,
        agent: &AgentId,
        id: Option<OperationId>,
        info: Arc<v1::offer::Operation>,
        exchange: (Bag, Bag),
    ) -> Bytes {
        let uuid = self.next_operation();
        let status = OperationStatus {
            operation_id: id.as_ref().map(Into::into),
            state: OperationState::OperationPending.into(),
            agent_id: Some(agent.into()),
            ..OperationStatus::default()
        };
        let operation = Operation {
            uuid: uuid.clone(),
            framework: framework.clone(),
            agent: agent.clone(),
            info: Arc::clone(&info),
            state: OperationState::OperationPending,
            status: Arc::new(status),
            exchange: Some(exchange),
        };
        self.keep_operation(operation);
        self.leader.counters.count("operations_sent");
        self.order(agent, AgentOrder::Operate { framework, uuid: uuid.clone(), operation: info });
        uuid
    }

    /// A name no operation of this cluster ever had: the term, and a number within it.
    fn next_operation(&mut self) -> Bytes {
        let term = self.leader.leads().unwrap_or_default();
        self.leader.serial.operation += 1;
        let mut name = term.0.to_be_bytes().to_vec();
        name.extend(self.leader.serial.operation.to_be_bytes());
        name.into()
    }
}

fn persistence(item: &Item) -> Option<&Persistence> {
    item.tag()?.disk.as_ref()?.persistence.as_ref()
}

/// What is to be said of an operation by itself.
fn lawful(kind: ChangeKind, bag: &Bag) -> Result<(), String> {
    if bag.is_empty() {
        return Err(format!("{} names no resources", kind.name()));
    }
    let Some(lonely) = bag.iter().find(|item| {
        let disk: Option<&Disk> = item.tag().and_then(|tag| tag.disk.as_ref());
        disk.is_some_and(|disk| disk.persistence.is_some() && disk.container_path.is_none())
    }) else {
        return Ok(());
    };
    Err(format!("Resource '{lonely}' is invalid: 'disk.volume' must be set on a persistent volume"))
}

/// What a framework may do with one resource in a role of its own.
fn own(kind: ChangeKind, item: &Item, framework: &Framework, role: &Role) -> Result<(), String> {
    let principal = framework.info.principal.as_deref();
    let same = |given: Option<&str>, member: &str| {
        if given == principal {
            return Ok(());
        }
        let say = |principal: Option<&str>| principal.map_or("none".to_owned(), |name| format!("'{name}'"));
        Err(format!(
            "'{member}' of '{item}' is {}, but the principal of the framework is {}",
            say(given),
            say(principal)
        ))
    };
    match kind {
        ChangeKind::Reserve => {
            let layers = item.tag().map(|tag| &*tag.reservations).unwrap_or_default();
            let Some(layer) = layers.last() else { return Ok(()) };
            if layer.role != *role {
                return Err(format!(
                    "'{item}' is to be reserved to role '{}', but was offered to role '{role}'",
                    layer.role
                ));
            }
            demand(
                layers.len() < 2 || framework.profile.capabilities.refinement,
                "A reservation may only be refined by a framework with the RESERVATION_REFINEMENT capability",
            )?;
            same(layer.principal.as_deref(), "reservations.principal")
        }
        ChangeKind::Create => {
            demand(
                !item.is_shared() || framework.profile.capabilities.shared,
                "A shared volume may only be created by a framework with the SHARED_RESOURCES capability",
            )?;
            let given = persistence(item).and_then(|volume| volume.principal.as_deref());
            same(given, "disk.persistence.principal")
        }
        ChangeKind::Unreserve | ChangeKind::Destroy => Ok(()),
    }
}
