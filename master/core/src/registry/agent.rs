//! Agents: which machines belong to the cluster, and what the leader last decided about them.
//!
//! An agent declared unreachable must stay so under the next leader: its tasks have been reported lost. What it
//! runs and uses is not here; it reports that itself.

use std::sync::Arc;

use model::id::AgentId;
use model::time::{Span, Time};
use wire::registry::{self as wire_registry, Record, record};
use wire::v1::AgentInfo;

use super::limits::{ID_BYTES, Limits};
use super::refusal::{check_info, check_room, check_text};
use super::table::{Fact, Table};
use super::{Outcome, Refusal};

/// What the cluster holds of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It belongs to the cluster; whether a link stands right now is the leader's knowledge.
    Admitted,
    /// It missed its heartbeats; its tasks were reported unreachable. It may return.
    Unreachable,
    /// The operator says it never returns.
    Gone,
}

/// The two ways of being away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    Unreachable,
    Gone,
}

impl From<Away> for Presence {
    fn from(away: Away) -> Self {
        match away {
            Away::Unreachable => Self::Unreachable,
            Away::Gone => Self::Gone,
        }
    }
}

/// The operator's wish to empty an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Caps the grace period of each kill.
    pub max_grace: Option<Span>,
    /// The agent is marked gone once it is empty.
    pub mark_gone: bool,
    /// When the operator asked for it.
    pub since: Time,
}

/// The process that is the agent: what tells it from one of a copy of its data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name, drawn at its start.
    pub session: String,
    /// Of its machine; empty when it did not say.
    pub boot: String,
    /// Where its link came from.
    pub ip: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    pub id: AgentId,
    /// As it last registered; relayed, not interpreted here.
    pub info: Arc<AgentInfo>,
    /// When it was first admitted.
    pub admitted_at: Time,
    pub presence: Presence,
    /// When the presence last changed.
    pub since: Time,
    /// The operator wants nothing offered there.
    pub deactivated: bool,
    /// Set while it is emptied, and after; it is deactivated then.
    pub drain: Option<Drain>,
    /// Absent for an agent that gives its processes no names.
    pub holder: Option<Holder>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum AgentCommand {
    /// An agent registered for the first time, returned from being unreachable, was started again, or changed its
    /// information. The process of a known agent that returns unchanged needs no command.
    Admit { id: AgentId, info: Arc<AgentInfo>, at: Time, holder: Option<Holder> },
    /// An agent is away.
    Mark { id: AgentId, away: Away, at: Time },
    /// The operator wants it empty.
    Drain { id: AgentId, drain: Drain },
    /// The operator's switch for offers. On again, it also ends a drain.
    Deactivate { id: AgentId, deactivated: bool },
    /// An agent left in order, or was away for long enough.
    Forget { id: AgentId },
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Agents {
    table: Table<AgentId, Agent>,
}

impl Agents {
    pub(crate) fn check(&self, command: &AgentCommand, limits: &Limits) -> Result<(), Refusal> {
        match command {
            AgentCommand::Admit { id, info, holder, .. } => {
                check_text("id", id.as_str(), ID_BYTES)?;
                if let Some(holder) = holder {
                    check_text("session", &holder.session, ID_BYTES)?;
                    check_text("ip", &holder.ip, ID_BYTES)?;
                    let boot = if holder.boot.is_empty() { "none" } else { &holder.boot };
                    check_text("boot_id", boot, ID_BYTES)?;
                }
                check_info(&**info)?;
                match self.table.get(id) {
                    None => check_room("agents", self.table.len(), limits.agents),
                    Some(known) if known.presence == Presence::Gone => Err(Refusal::AgentGone(id.clone())),
                    Some(_) => Ok(()),
                }
            }
            AgentCommand::Mark { id, away, .. } => {
                let known = self.known(id)?;
                match (known.presence, away) {
                    (Presence::Gone, Away::Unreachable) => Err(Refusal::AgentGone(id.clone())),
                    _ => Ok(()),
                }
            }
            AgentCommand::Deactivate { id, .. } | AgentCommand::Drain { id, .. } => {
                let known = self.known(id)?;
                if known.presence == Presence::Gone { Err(Refusal::AgentGone(id.clone())) } else { Ok(()) }
            }
            AgentCommand::Forget { .. } => Ok(()),
        }
    }

    fn known(&self, id: &AgentId) -> Result<&Arc<Agent>, Refusal> {
        self.table.get(id).ok_or_else(|| Refusal::NoSuchAgent(id.clone()))
    }

    pub(crate) fn apply(&mut self, command: AgentCommand) -> Outcome {
        match command {
            AgentCommand::Admit { id, info, at, holder } => self.admit(id, info, at, holder),
            AgentCommand::Mark { id, away, at } => self.change(&id, |agent| {
                if agent.presence != away.into() {
                    agent.presence = away.into();
                    agent.since = at;
                }
            }),
            AgentCommand::Deactivate { id, deactivated } => self.change(&id, |agent| {
                agent.deactivated = deactivated;
                agent.drain = agent.drain.filter(|_| deactivated);
            }),
            AgentCommand::Drain { id, drain } => self.change(&id, |agent| {
                agent.deactivated = true;
                agent.drain = Some(drain);
            }),
            AgentCommand::Forget { id } => match self.table.remove(&id) {
                Some(_) => Outcome::Changed,
                None => Outcome::Unchanged,
            },
        }
    }

    fn admit(&mut self, id: AgentId, info: Arc<AgentInfo>, at: Time, holder: Option<Holder>) -> Outcome {
        if self.table.contains(&id) {
            return self.change(&id, |agent| {
                agent.info = info;
                agent.holder = holder;
                if agent.presence != Presence::Admitted {
                    agent.presence = Presence::Admitted;
                    agent.since = at;
                }
            });
        }
        let presence = Presence::Admitted;
        let agent = Agent {
            id: id.clone(),
            info,
            admitted_at: at,
            presence,
            since: at,
            deactivated: false,
            drain: None,
            holder,
        };
        self.table.insert(id, agent);
        Outcome::Changed
    }

    fn change(&mut self, id: &AgentId, edit: impl FnOnce(&mut Agent)) -> Outcome {
        let Some(known) = self.table.get(id) else { return Outcome::Unchanged };
        let mut agent = (**known).clone();
        edit(&mut agent);
        if agent == **known {
            return Outcome::Unchanged;
        }
        self.table.insert(id.clone(), agent);
        Outcome::Changed
    }

    pub(crate) fn get(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.table.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.table.iter()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.table.digest()
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.table.into_records()
    }

    /// Takes an agent from a snapshot; false when it is there already or its presence is none we know.
    pub(crate) fn restore(&mut self, agent: wire_registry::Agent) -> bool {
        let presence = match agent.presence() {
            wire_registry::Presence::Admitted => Presence::Admitted,
            wire_registry::Presence::Unreachable => Presence::Unreachable,
            wire_registry::Presence::Gone => Presence::Gone,
            wire_registry::Presence::Unknown => return false,
        };
        let agent = Agent {
            id: agent.id.into(),
            info: agent.info.into(),
            admitted_at: Time::from_millis(agent.admitted_at_ms),
            presence,
            since: Time::from_millis(agent.since_ms),
            deactivated: agent.deactivated,
            drain: agent.drain.map(drain_from_wire),
            holder: agent.holder.map(holder_from_wire),
        };
        self.table.insert(agent.id.clone(), agent).is_none()
    }
}

pub(crate) fn presence_to_wire(presence: Presence) -> wire_registry::Presence {
    match presence {
        Presence::Admitted => wire_registry::Presence::Admitted,
        Presence::Unreachable => wire_registry::Presence::Unreachable,
        Presence::Gone => wire_registry::Presence::Gone,
    }
}

pub(crate) fn drain_to_wire(drain: Drain) -> wire_registry::Drain {
    wire_registry::Drain {
        max_grace_ms: drain.max_grace.map(Span::as_millis),
        mark_gone: drain.mark_gone,
        since_ms: drain.since.as_millis(),
    }
}

pub(crate) fn drain_from_wire(drain: wire_registry::Drain) -> Drain {
    Drain {
        max_grace: drain.max_grace_ms.map(Span::from_millis),
        mark_gone: drain.mark_gone,
        since: Time::from_millis(drain.since_ms),
    }
}

pub(crate) fn holder_to_wire(holder: &Holder) -> wire_registry::Holder {
    wire_registry::Holder {
        session: holder.session.clone(),
        boot: holder.boot.clone(),
        ip: holder.ip.clone(),
    }
}

pub(crate) fn holder_from_wire(holder: wire_registry::Holder) -> Holder {
    Holder { session: holder.session, boot: holder.boot, ip: holder.ip }
}

impl Fact for Agent {
    fn record(&self) -> Record {
        let agent = wire_registry::Agent {
            id: self.id.to_string(),
            info: (*self.info).clone(),
            admitted_at_ms: self.admitted_at.as_millis(),
            presence: presence_to_wire(self.presence).into(),
            since_ms: self.since.as_millis(),
            deactivated: self.deactivated,
            drain: self.drain.map(drain_to_wire),
            holder: self.holder.as_ref().map(holder_to_wire),
        };
        Record { record: Some(record::Record::Agent(agent)) }
    }
}
