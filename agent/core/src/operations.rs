//! Operations on the agent's resources: done and stored first, then reported until somebody acknowledges.
//!
//! The master has each done in its books already, and may send a task that needs the result right behind. So the totals
//! change at once, here as there, and one that cannot be done is reported as such and undone by the master.

use std::sync::Arc;

use model::id::FrameworkId;
use model::resources::Bag;
use model::time::Time;
use wire::v1::{self, OperationState};

use crate::agent::{Agent, Timer};
use crate::change::{self, Change, Kind, Source, Volume};
use crate::checkpoint::{OperationRecord, Record};
use crate::effect::{Effect, Report};
use crate::ids::Uuid;
use crate::limits;
use crate::spec::Invalid;
use crate::task::Phase;

/// An operation that has ended, until its end was acknowledged.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The master's name of it.
    pub uuid: Uuid,
    /// Absent for one of an operator.
    pub framework: Option<FrameworkId>,
    pub asked: Arc<v1::offer::Operation>,
    pub status: Arc<v1::OperationStatus>,
}

impl Agent {
    /// An operation ordered by the master.
    pub(crate) fn operate(
        &mut self,
        now: Time,
        framework: Option<FrameworkId>,
        uuid: Uuid,
        asked: Arc<v1::offer::Operation>,
        out: &mut Vec<Effect>,
    ) {
        if self.state.operations.contains_key(&uuid) {
            self.counters.repeated_orders += 1;
            return self.report_operation(now, uuid, out);
        }
        let crowded = self.state.operations.len() >= limits::OPERATIONS;
        let done = if crowded {
            let message = format!("The ends of {} operations wait to be acknowledged", limits::OPERATIONS);
            Err((OperationState::OperationDropped, message))
        } else {
            Change::read(&asked)
                .map_err(|Invalid(message)| (OperationState::OperationError, message))
                .and_then(|change| {
                    let total = self.changed_by(&change);
                    let total = total.map_err(|message| (OperationState::OperationFailed, message))?;
                    Ok((change, total))
                })
        };
        let (state, message) = match &done {
            Ok(_) => (OperationState::OperationFinished, None),
            Err((state, message)) => (*state, Some(message.clone())),
        };
        let status = Arc::new(v1::OperationStatus {
            operation_id: asked.id.clone(),
            state: state.into(),
            message,
            // Without one nobody acknowledges it: what is not kept cannot be sent again either.
            uuid: (!crowded).then(|| v1::Uuid { value: self.ids.uuid().0.to_vec().into() }),
            agent_id: self.state.agent.as_ref().map(|id| v1::AgentId { value: id.to_string() }),
            ..Default::default()
        });
        let operation = Operation { uuid, framework, asked, status };
        if crowded {
            self.counters.dropped_operations += 1;
            return self.tell_operation(operation, out);
        }
        let changed = done.as_ref().ok().map(|(_, total)| change::changed(total));
        self.record(Record::Operation(Box::new(OperationRecord { operation, changed })), out);
        if let Ok((change, total)) = done {
            self.total = total;
            self.counters.operations += 1;
            self.rearrange(&change, out);
        }
        self.report_operation(now, uuid, out);
    }

    /// What the agent has after a change, or why it cannot be.
    fn changed_by(&self, change: &Change) -> Result<Bag, String> {
        let total = change.apply(&self.total).map_err(|error| error.to_string())?;
        for volume in change::volumes(&change.resources) {
            let Volume { role, id } = &volume;
            match change.kind {
                Kind::Create if change::volumes(&self.total).any(|known| known == volume) => {
                    return Err(format!("Role '{role}' has a volume '{id}' on this agent already"));
                }
                Kind::Create if self.state.removing.contains(&volume) => {
                    return Err(format!("Volume '{id}' of role '{role}' is being removed: try again"));
                }
                Kind::Destroy => {
                    if let Some(user) = self.user_of(&volume) {
                        return Err(format!("Volume '{id}' of role '{role}' is used by {user}"));
                    }
                }
                _ => {}
            }
        }
        if !total.contains(&self.used) {
            return Err(format!("{} is in use on this agent", change.resources));
        }
        Ok(total)
    }

    /// A task or executor that has a volume, for people to read.
    fn user_of(&self, volume: &Volume) -> Option<String> {
        let has = |spec: &crate::spec::TaskSpec| {
            let mut sources = spec.mounts.iter().map(|mount| &mount.source);
            sources.any(|source| matches!(source, Source::Volume { volume: own, .. } if own == volume))
        };
        let tasks = self.state.tasks.values().filter(|task| task.phase != Phase::Ended);
        let mut tasks = tasks.filter(|task| task.spec.as_ref().is_some_and(|spec| has(spec)));
        let mut executors = self.state.executors.values();
        tasks.next().map(|task| format!("task '{}'", task.key.task)).or_else(|| {
            let executor = executors.find(|executor| executor.spec.as_ref().is_some_and(|spec| has(spec)))?;
            Some(format!("executor '{}'", executor.key.executor))
        })
    }

    /// What a change means for the disk. It waits for the record: data must not go before it is certain that they shall.
    fn rearrange(&mut self, change: &Change, out: &mut Vec<Effect>) {
        for volume in change::volumes(&change.resources) {
            match change.kind {
                Kind::Create => self.outbox.after(Effect::MakeVolume(volume), out),
                Kind::Destroy => self.outbox.after(Effect::RemoveVolume(volume), out),
                Kind::Reserve | Kind::Unreserve => {}
            }
        }
    }

    /// Sends the end of an operation, if there is a master to send it to, and waits for its acknowledgement.
    pub(crate) fn report_operation(&mut self, now: Time, uuid: Uuid, out: &mut Vec<Effect>) {
        if self.registered().is_none() {
            return;
        }
        let Some(operation) = self.state.operations.get(&uuid).cloned() else { return };
        let delay = self.delays.get(&uuid).copied().unwrap_or(limits::RETRY_FIRST);
        self.delays.insert(uuid, delay.saturating_mul(2).min(limits::RETRY_MAX));
        self.timers.set(Timer::Operation(uuid), now + delay);
        self.tell_operation(operation, out);
    }

    fn tell_operation(&mut self, operation: Operation, out: &mut Vec<Effect>) {
        if let Some(link) = self.registered() {
            self.outbox.after(Effect::Send { link, report: Report::Operation(Box::new(operation)) }, out);
        }
    }

    /// A new master, or the same again: it hears of all of them.
    pub(crate) fn report_operations(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.delays.clear();
        for uuid in self.state.operations.keys().copied().collect::<Vec<_>>() {
            self.report_operation(now, uuid, out);
        }
    }

    pub(crate) fn operation_acknowledged(&mut self, uuid: Uuid, out: &mut Vec<Effect>) {
        if self.state.operations.contains_key(&uuid) {
            self.timers.clear(&Timer::Operation(uuid));
            self.delays.remove(&uuid);
            self.record(Record::OperationAcknowledged(uuid), out);
        }
    }

    /// Without a master nothing is due.
    pub(crate) fn hold_operations(&mut self) {
        for uuid in self.state.operations.keys() {
            self.timers.clear(&Timer::Operation(*uuid));
        }
    }
}
