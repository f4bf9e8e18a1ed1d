//! Changes of the registry under way, and what each is for.
//!
//! The rule of visibility: whatever reveals a change is emitted when it was applied, never before.

use std::collections::BTreeMap;

use model::id::{AgentId, FrameworkId};

use super::Turn;
use super::agents::Registration;
use super::depart::Gone;
use super::subscribe::Admission;
use super::teardown::Removal;
use crate::effect::{AgentRefusal, Effect, Reply};
use crate::input::{RequestId, StreamId, Ticket};
use crate::limits;
use crate::refusal::Refusal;
use crate::registry::{Command, Drain, Outcome, Registry, Text, Write};

/// What to do when a proposal was applied, or was not.
#[derive(Debug)]
pub(crate) enum Proposal {
    /// A framework subscribes on this stream.
    Subscription {
        stream: StreamId,
        admission: Box<Admission>,
    },
    /// A framework is removed to make room for the one that subscribes on this stream.
    Replacement {
        leaves: FrameworkId,
        stream: StreamId,
        admission: Box<Admission>,
    },
    /// `UPDATE_FRAMEWORK`.
    Update {
        request: RequestId,
        admission: Box<Admission>,
    },
    Removal {
        framework: FrameworkId,
        cause: Removal,
    },
    /// An agent registers for the first time, or returns from being unreachable.
    Registration(Box<Registration>),
    Unreachable {
        agent: AgentId,
        message: &'static str,
    },
    /// Without a request: the end of a drain.
    Gone {
        agent: AgentId,
        request: Option<RequestId>,
    },
    Drain {
        agent: AgentId,
        drain: Drain,
        request: RequestId,
    },
    Deactivation {
        agent: AgentId,
        deactivated: bool,
        request: RequestId,
    },
    Weights {
        request: RequestId,
        roles: Vec<Text>,
    },
    Quotas {
        request: RequestId,
    },
    Maintenance {
        request: RequestId,
    },
    /// The agent is forgotten with its tasks; it may come back as new.
    Removed {
        agent: AgentId,
        why: Gone,
    },
    State {
        request: RequestId,
        write: Write,
    },
    /// Nobody waits: the end of a lease, a framework or an agent as agents describe it.
    Quiet,
}

#[derive(Debug, Default)]
pub(crate) struct Proposals {
    open: BTreeMap<Ticket, Proposal>,
    /// How many of them are registrations.
    registrations: usize,
    /// And how many are subscriptions.
    subscriptions: usize,
}

impl Proposals {
    pub(crate) fn registrations(&self) -> usize {
        self.registrations
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Frameworks that are being removed.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &FrameworkId> {
        self.open.values().filter_map(|open| match open {
            Proposal::Removal { framework: leaves, .. } | Proposal::Replacement { leaves, .. } => {
                Some(leaves)
            }
            _ => None,
        })
    }

    /// Whether the agent is being marked gone.
    pub(super) fn goes(&self, id: &AgentId) -> bool {
        self.open.values().any(|open| matches!(open, Proposal::Gone { agent, .. } if agent == id))
    }

    /// Whether the agent is being marked gone or unreachable.
    pub(super) fn in_transition(&self, id: &AgentId) -> bool {
        let marks = |open: &Proposal| matches!(open, Proposal::Unreachable { agent, .. } if agent == id);
        self.goes(id) || self.open.values().any(marks)
    }

    /// Agents that are being admitted.
    pub(super) fn registering(&self) -> impl Iterator<Item = &AgentId> {
        self.open.values().filter_map(|open| match open {
            Proposal::Registration(registration) => Some(&registration.agent),
            _ => None,
        })
    }

    fn insert(&mut self, ticket: Ticket, proposal: Proposal) {
        self.registrations += usize::from(matches!(proposal, Proposal::Registration(_)));
        self.subscriptions += usize::from(matches!(proposal, Proposal::Subscription { .. }));
        self.open.insert(ticket, proposal);
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Proposal> {
        let proposal = self.open.remove(&ticket)?;
        self.registrations -= usize::from(matches!(proposal, Proposal::Registration(_)));
        self.subscriptions -= usize::from(matches!(proposal, Proposal::Subscription { .. }));
        Some(proposal)
    }
}

impl Turn<'_> {
    /// Proposes a change, unless the registry would refuse it as things stand or too much is under way: then
    /// `proposal` fails at once.
    pub(super) fn propose(&mut self, command: Command, proposal: Proposal) {
        if let Err(refusal) = self.view.check(&command) {
            return self.fail(proposal, Refusal::Registry(refusal));
        }
        if self.leader.proposals.open.len() >= limits::PROPOSALS {
            return self.fail(proposal, Refusal::Busy);
        }
        self.leader.serial.ticket += 1;
        let ticket = Ticket(self.leader.serial.ticket);
        self.leader.proposals.insert(ticket, proposal);
        self.out.push(Effect::Propose { ticket, command });
    }

    pub(super) fn applied(&mut self, ticket: Option<Ticket>, outcome: Outcome, view: Registry) {
        *self.view = view;
        if self.leader.leads().is_none() {
            return;
        }
        if let Outcome::Lease(lease) = &outcome {
            self.leader.leases.observe(self.now, lease);
        }
        let proposal = ticket.and_then(|ticket| self.leader.proposals.remove(ticket));
        match (proposal, outcome) {
            (None, _) => {}
            (Some(Proposal::State { request, write }), outcome) => {
                self.state_written(request, &write, outcome)
            }
            (Some(proposal), Outcome::Refused(refusal)) => self.fail(proposal, Refusal::Registry(refusal)),
            (Some(proposal), _) => self.succeed(proposal),
        }
        self.feed_watches();
    }

    fn succeed(&mut self, proposal: Proposal) {
        match proposal {
            Proposal::Subscription { stream, admission } => self.subscribed(stream, *admission),
            Proposal::Replacement { leaves, stream, admission } => self.replaced(&leaves, stream, admission),
            Proposal::Update { request, admission } => self.framework_updated(request, *admission),
            Proposal::Removal { framework, cause } => self.removed(&framework, cause),
            Proposal::Registration(registration) => self.registered(*registration),
            Proposal::Unreachable { agent, message } => self.agent_unreachable(&agent, message),
            // Empty twice, for it registered meanwhile.
            Proposal::Gone { agent, request: None } if self.agent(&agent).is_none() => {}
            Proposal::Gone { agent, request } => {
                self.agent_gone(&agent);
                if let Some(request) = request {
                    self.answer(request, Ok(Reply::Done));
                }
            }
            Proposal::Deactivation { agent, deactivated, request } => {
                self.agent_deactivated(&agent, deactivated);
                self.answer(request, Ok(Reply::Done));
            }
            Proposal::Drain { agent, drain, request } => {
                self.drain_begins(&agent, drain);
                self.answer(request, Ok(Reply::Done));
            }
            Proposal::Weights { request, roles } => {
                self.weights_updated(&roles);
                self.answer(request, Ok(Reply::Done));
            }
            Proposal::Quotas { request } => {
                self.quotas_updated();
                self.answer(request, Ok(Reply::Done));
            }
            Proposal::Maintenance { request } => {
                self.maintenance_changed();
                self.answer(request, Ok(Reply::Done));
            }
            Proposal::Removed { agent, why } => self.agent_removed(&agent, why),
            Proposal::State { .. } | Proposal::Quiet => {}
        }
    }

    /// A proposal did not make it, or nobody can say.
    pub(super) fn failed(&mut self, ticket: Ticket, refusal: Refusal) {
        if let Some(proposal) = self.leader.proposals.remove(ticket) {
            self.fail(proposal, refusal);
        }
    }

    pub(super) fn fail_all_proposals(&mut self) {
        for (_, proposal) in std::mem::take(&mut self.leader.proposals).open {
            self.fail(proposal, Refusal::Unknown);
        }
    }

    fn fail(&mut self, proposal: Proposal, refusal: Refusal) {
        match proposal {
            Proposal::Subscription { stream, .. } | Proposal::Replacement { stream, .. } => {
                self.subscription_failed(&stream, &refusal)
            }
            Proposal::Removal { framework, cause } => self.removal_failed(framework, cause, refusal),
            Proposal::Registration(registration) => {
                let refusal = match refusal {
                    Refusal::Registry(refusal) => AgentRefusal::Invalid(refusal.to_string()),
                    _ => AgentRefusal::Busy { retry_after: limits::REGISTRATION_PAUSE },
                };
                self.registration_failed(&registration, refusal);
            }
            Proposal::Unreachable { agent, .. } => self.marking_failed(&agent),
            Proposal::Update { request, .. }
            | Proposal::Gone { request: Some(request), .. }
            | Proposal::Drain { request, .. }
            | Proposal::Deactivation { request, .. }
            | Proposal::Weights { request, .. }
            | Proposal::Quotas { request }
            | Proposal::Maintenance { request }
            | Proposal::State { request, .. } => self.answer(request, Err(refusal)),
            // The agent's next registration, or the next end of a task there, looks again.
            Proposal::Gone { request: None, .. } | Proposal::Quiet => {}
            // The others are found silent in a while.
            Proposal::Removed { agent, why: Gone::Down } => self.taking_down_failed(&agent),
            Proposal::Removed { why: Gone::Ended, .. } => {}
        }
    }
}
