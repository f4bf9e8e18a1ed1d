//! What becomes of operations: their ends on the way to schedulers, acknowledgements on the way back, and what is said
//! of them when asked.
//!
//! As with tasks, only agents retry. An operation is remembered until its end was acknowledged: by its framework when
//! that gave it an id, by this master otherwise. Its operator is told of it by the answer to the call.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, FrameworkId, OperationId};
use wire::v1::offer::operation::Type as Kind;
use wire::v1::{self, OperationState, OperationStatus};

use super::Turn;
use crate::effect::{AgentOrder, Observation, Reply, SchedulerEvent};
use crate::refusal::Refusal;
use crate::registry::Presence;
use crate::report::OperationReport;
use crate::snapshot::Operation;

impl Turn<'_> {
    pub(super) fn keep_operation(&mut self, operation: Operation) {
        let uuid = operation.uuid.clone();
        if let Some(agent) = self.agent_mut(&operation.agent) {
            agent.operations.insert(uuid.clone());
        }
        let id = operation.status.operation_id.as_ref().map(OperationId::from);
        if let (Some(framework), Some(id)) = (&operation.framework, id) {
            self.leader.tables.operation_names.insert((framework.clone(), id), uuid.clone());
        }
        self.leader.tables.operations.insert(uuid, Arc::new(operation));
    }

    fn forget_operation(&mut self, uuid: &Bytes) -> Option<Arc<Operation>> {
        let operation = self.leader.tables.operations.remove(uuid)?;
        if let Some(agent) = self.agent_mut(&operation.agent) {
            agent.operations.remove(uuid);
        }
        let id = operation.status.operation_id.as_ref().map(OperationId::from);
        if let (Some(framework), Some(id)) = (&operation.framework, id) {
            self.leader.tables.operation_names.remove(&(framework.clone(), id));
        }
        self.drain_may_end(&operation.agent);
        Some(operation)
    }

    /// Whether the agent has been sent changes of which it has not said that they are done.
    pub(super) fn changes_wait(&self, agent: &AgentId) -> bool {
        let Some(agent) = self.agent(agent) else { return false };
        agent.operations.iter().any(|uuid| {
            let operation = self.leader.tables.operations.get(uuid);
            operation.is_some_and(|operation| operation.state == OperationState::OperationPending)
        })
    }

    /// An agent tells how an operation ended.
    pub(super) fn operation_reported(&mut self, agent: &AgentId, report: OperationReport) {
        self.leader.counters.count("messages_operation_status_update");
        let (uuid, state) = (report.uuid.clone(), report.state);
        self.count_end(&uuid, state);
        let status = self.take_report(agent, report);
        if matches!(
            state,
            OperationState::OperationFailed
                | OperationState::OperationError
                | OperationState::OperationDropped
        ) {
            self.undo(&uuid);
        }
        let owner = self.leader.tables.operations.get(&uuid).and_then(|record| record.framework.clone());
        let asked = owner.filter(|owner| status.operation_id.is_some() && self.framework(owner).is_some());
        let retried = status.uuid.is_some();
        if let Some(framework) = asked {
            self.event(&framework, SchedulerEvent::Operation(status));
        } else if retried {
            self.order(agent, AgentOrder::AcknowledgeOperation { uuid: uuid.clone() });
        }
        if !retried || !self.leader.tables.operations.get(&uuid).is_some_and(|record| self.is_awaited(record))
        {
            self.forget_operation(&uuid);
        }
    }

    /// Counts an end that is news: agents repeat themselves until they are acknowledged.
    fn count_end(&mut self, uuid: &Bytes, state: OperationState) {
        let Some(record) = self.leader.tables.operations.get(uuid) else { return };
        if record.state != OperationState::OperationPending || state == OperationState::OperationPending {
            return;
        }
        let kind = record.info.r#type.and_then(|kind| Kind::try_from(kind).ok());
        if let Some(kind) = kind {
            self.leader.counters.operation(kind.as_str_name(), state);
        }
    }

    /// An operator's operation has ended. Whoever waits is told; what was not done is in the log as well, for whoever
    /// asked an earlier leader was told only that it is not known.
    fn settle(&mut self, operation: &Operation, state: OperationState, message: &str) {
        let message =
            if message.is_empty() { "The agent has not done it, and does not say why" } else { message };
        if state != OperationState::OperationFinished {
            self.observe(Observation::OperationFailed {
                agent: operation.agent.clone(),
                operation: operation.info.r#type().as_str_name(),
                state,
                message: message.to_owned(),
            });
        }
        let Some((request, _)) = self.leader.asked.remove(&operation.uuid) else { return };
        let result = match state {
            OperationState::OperationFinished => Ok(Reply::Accepted),
            OperationState::OperationUnreachable => Err(Refusal::Unsaid),
            _ => Err(Refusal::NotFree(message.to_owned())),
        };
        self.answer(request, result);
    }

    /// The agent is away, and nobody knows when it will say how the operations on their way to it ended.
    pub(super) fn fail_changes(&mut self, agent: &AgentId) {
        let uuids: Vec<Bytes> =
            self.agent(agent).map(|agent| agent.operations.iter().cloned().collect()).unwrap_or_default();
        for uuid in uuids {
            if let Some((request, _)) = self.leader.asked.remove(&uuid) {
                self.answer(request, Err(Refusal::Unsaid));
            }
        }
    }

    /// An agent that lives and says nothing, as one whose disk hangs does, keeps nobody waiting for longer than one that is
    /// silent. Names are given in the order of time.
    pub(super) fn fail_late_changes(&mut self) {
        let patience = self.leader.settings.agent_timeout;
        while let Some(first) = self.leader.asked.first_entry() {
            if self.now.since(first.get().1) < patience {
                return;
            }
            let (request, _) = first.remove();
            self.answer(request, Err(Refusal::Unsaid));
        }
    }

    pub(super) fn fail_all_changes(&mut self) {
        for (request, _) in std::mem::take(&mut self.leader.asked).into_values() {
            self.answer(request, Err(Refusal::Unsaid));
        }
    }

    /// Whether somebody will acknowledge its end.
    fn is_awaited(&self, operation: &Operation) -> bool {
        operation.status.operation_id.is_some()
            && operation.framework.as_ref().is_some_and(|framework| self.framework(framework).is_some())
    }

    /// Brings the record of an operation up to date, or makes one when this leader has none. The status as the
    /// framework is told it.
    fn take_report(&mut self, agent: &AgentId, report: OperationReport) -> Arc<OperationStatus> {
        let OperationReport { framework, uuid, mut status, state, operation } = report;
        // Agents repeat themselves until they are acknowledged. Of what an earlier leader has ordered there is no record.
        let known = self.leader.tables.operations.get(&uuid);
        let waits = known.is_none_or(|record| record.state == OperationState::OperationPending);
        let settled = framework.is_none() && waits && state != OperationState::OperationPending;
        if status.agent_id.is_none() {
            Arc::make_mut(&mut status).agent_id = Some(agent.into());
        }
        match self.leader.tables.operations.get_mut(&uuid) {
            Some(record) => {
                let record = Arc::make_mut(record);
                if status.operation_id.is_none() {
                    Arc::make_mut(&mut status).operation_id = record.status.operation_id.clone();
                }
                record.state = state;
                record.status = Arc::clone(&status);
            }
            None => self.keep_operation(Operation {
                uuid: uuid.clone(),
                framework,
                agent: agent.clone(),
                info: operation.unwrap_or_default(),
                state,
                status: Arc::clone(&status),
                exchange: None,
            }),
        }
        let record = self.leader.tables.operations.get(&uuid).filter(|_| settled).cloned();
        if let Some(record) = record {
            self.settle(&record, state, status.message.as_deref().unwrap_or_default());
        }
        status
    }

    /// The agent did not do what the books say. What was made of its resources may be offered: that is withdrawn. A
    /// task that was launched on it meanwhile will fail at the agent.
    fn undo(&mut self, uuid: &Bytes) {
        let Some(record) = self.leader.tables.operations.get_mut(uuid) else { return };
        let agent = record.agent.clone();
        let Some(exchange) = Arc::make_mut(record).exchange.take() else { return };
        let mut undone = self.leader.undone.remove(&agent).unwrap_or_default();
        undone.push(exchange);
        let Some(was) = self.agent(&agent).map(|agent| agent.total.clone()) else { return };
        let mut total = was.clone();
        // What was made by one and changed once more by another is there again when the other is undone: the agent
        // refuses that as well, since it builds upon what was not done. So this begins with the last.
        while let Some((at, rest)) = undone
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, (_, taken))| Some((at, total.checked_sub(taken).ok()?)))
        {
            let (given, _) = undone.remove(at);
            total = rest + &given;
        }
        if !undone.is_empty() {
            self.leader.undone.insert(agent.clone(), undone);
        }
        if total != was {
            self.replace_total(&agent, total);
        }
    }

    /// The agent's word about operations, on a new link. Its totals, named with it, count in all it has done.
    pub(super) fn adopt_operations(&mut self, id: &AgentId, reports: Vec<OperationReport>) {
        self.leader.undone.remove(id);
        let named: BTreeSet<Bytes> = reports.iter().map(|report| report.uuid.clone()).collect();
        let known: Vec<Bytes> =
            self.agent(id).map(|agent| agent.operations.iter().cloned().collect()).unwrap_or_default();
        for uuid in known.iter().filter(|uuid| !named.contains(*uuid)) {
            let message = "Reconciliation: Operation is unknown to the agent";
            self.end_operation(uuid, OperationState::OperationDropped, message);
        }
        for report in reports {
            let uuid = report.uuid.clone();
            self.take_report(id, report);
            if let Some(record) = self.leader.tables.operations.get_mut(&uuid) {
                Arc::make_mut(record).exchange = None;
            }
        }
    }

    /// The agent is away; what it was to do may have been done.
    pub(super) fn depart_operations(&mut self, id: &AgentId, may_return: bool, message: &str) {
        self.leader.undone.remove(id);
        let known: Vec<Bytes> =
            self.agent(id).map(|agent| agent.operations.iter().cloned().collect()).unwrap_or_default();
        for uuid in known {
            if may_return {
                let message = "Agent is unreachable";
                self.end_operation(&uuid, OperationState::OperationUnreachable, message);
            } else {
                self.end_operation(&uuid, OperationState::OperationGoneByOperator, message);
            }
        }
    }

    /// Ends an operation by the master's own finding, and tells who asked for it unless that one knows of another end.
    fn end_operation(&mut self, uuid: &Bytes, state: OperationState, message: &str) {
        self.count_end(uuid, state);
        let Some(record) = self.forget_operation(uuid) else { return };
        if record.state != OperationState::OperationPending {
            return;
        }
        match &record.framework {
            None => self.settle(&record, state, message),
            Some(framework) if self.is_awaited(&record) => {
                let status = OperationStatus {
                    state: state.into(),
                    message: Some(message.to_owned()),
                    ..(*record.status).clone()
                };
                self.event(framework, SchedulerEvent::Operation(Arc::new(status)));
            }
            Some(_) => {}
        }
    }

    /// `ACKNOWLEDGE_OPERATION_STATUS`. Anything but the newest status of a known operation changes nothing.
    pub(super) fn acknowledge_operation(
        &mut self,
        framework: &FrameworkId,
        operation: OperationId,
        uuid: &Bytes,
    ) {
        let name = self.leader.tables.operation_names.get(&(framework.clone(), operation));
        let record = name.and_then(|name| self.leader.tables.operations.get(name));
        let newest = record.filter(|record| {
            record.status.uuid.as_ref().is_some_and(|last| last.value == *uuid)
                && record.state != OperationState::OperationPending
        });
        let Some((agent, name)) = newest.map(|record| (record.agent.clone(), record.uuid.clone())) else {
            return self.leader.counters.count("invalid_operation_status_update_acknowledgements");
        };
        self.leader.counters.count("valid_operation_status_update_acknowledgements");
        self.order(&agent, AgentOrder::AcknowledgeOperation { uuid: name.clone() });
        self.forget_operation(&name);
    }

    /// The framework is gone for ever: nobody will acknowledge.
    pub(super) fn forget_operations(&mut self, id: &FrameworkId) {
        let own = self.leader.tables.operation_names.range((id.clone(), OperationId::from(""))..);
        let own: Vec<Bytes> =
            own.take_while(|((owner, _), _)| owner == id).map(|(_, uuid)| uuid.clone()).collect();
        for uuid in own {
            let ended = self.leader.tables.operations.get(&uuid);
            let Some(ended) = ended.filter(|record| record.state != OperationState::OperationPending) else {
                // Its end will find nobody, and is acknowledged then.
                continue;
            };
            let agent = ended.agent.clone();
            self.order(&agent, AgentOrder::AcknowledgeOperation { uuid: uuid.clone() });
            self.forget_operation(&uuid);
        }
    }

    /// All operations of a framework that it gave a name and that are known.
    pub(super) fn own_operations(&self, framework: &FrameworkId) -> Vec<(OperationId, Option<AgentId>)> {
        let own = self.leader.tables.operation_names.range((framework.clone(), OperationId::from(""))..);
        own.take_while(|((owner, _), _)| owner == framework).map(|((_, id), _)| (id.clone(), None)).collect()
    }

    /// Says of an operation what is known of it.
    pub(super) fn tell_operation(
        &mut self,
        framework: &FrameworkId,
        operation: OperationId,
        agent: Option<AgentId>,
    ) {
        let status = self.operation_answer(framework, operation, agent);
        self.event(framework, SchedulerEvent::Operation(Arc::new(status)));
    }

    /// An answer has no uuid: there is nothing to acknowledge.
    fn operation_answer(
        &self,
        framework: &FrameworkId,
        operation: OperationId,
        agent: Option<AgentId>,
    ) -> OperationStatus {
        let name = self.leader.tables.operation_names.get(&(framework.clone(), operation.clone()));
        let known = name.and_then(|name| self.leader.tables.operations.get(name));
        let (state, message, agent) = match known {
            Some(known) => {
                let message = "Reconciliation: Latest operation state";
                (known.state, message, Some(known.agent.clone()))
            }
            None => {
                let (state, message) = self.operation_verdict(agent.as_ref());
                (state, message, agent)
            }
        };
        OperationStatus {
            operation_id: Some(v1::OperationId::from(operation)),
            state: state.into(),
            message: Some(message.to_owned()),
            agent_id: agent.map(v1::AgentId::from),
            ..OperationStatus::default()
        }
    }

    /// What to say of an operation nobody here knows.
    fn operation_verdict(&self, agent: Option<&AgentId>) -> (OperationState, &'static str) {
        let Some(agent) = agent else {
            return (OperationState::OperationUnknown, "Reconciliation: Operation is unknown");
        };
        if self.leader.tables.recovered.contains(agent) {
            return (OperationState::OperationRecovering, "Reconciliation: Agent is recovering");
        }
        match self.view.agent(agent).map(|fact| fact.presence) {
            Some(Presence::Unreachable) => {
                (OperationState::OperationUnreachable, "Reconciliation: Agent is unreachable")
            }
            Some(Presence::Gone) => {
                (OperationState::OperationGoneByOperator, "Reconciliation: Agent marked gone by operator")
            }
            _ => (OperationState::OperationUnknown, "Reconciliation: Operation is unknown"),
        }
    }
}
