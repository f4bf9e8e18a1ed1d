//! Which process is the agent, when more than one comes with its id.
//!
//! A data directory may be copied with the machine it is on, and then two processes believe that they are the agent. Each
//! process draws a name, its session, and says those of earlier processes of its directory. The registry keeps the session
//! of the process that was taken in last; the next one must descend from it, so that a copy is locked out for good once the
//! agent was started again. What descends and is at another address, or finds another process with a link, may be the agent
//! after a restart or a copy: whether the other one lives is asked of it, and nobody is thrown out who answers.

use model::id::AgentId;
use model::time::Time;

use super::{Standing, Turn};
use crate::effect::{AgentOrder, AgentRefusal};
use crate::limits;
use crate::registry::{Agent, Holder, Presence};
use crate::report::Hello;

/// What a process is to the agent whose id it has.
#[derive(Debug)]
pub(super) enum Claim {
    /// The process that was taken in last, on another link.
    Same,
    /// A later one, which takes its place when the registry has it.
    Successor,
    Refused(AgentRefusal),
}

/// The process that says hello, as the registry keeps it.
pub(super) fn holder(hello: &Hello) -> Option<Holder> {
    let session = hello.session.clone()?;
    Some(Holder { session, boot: hello.boot.clone(), ip: hello.ip.to_string() })
}

impl Turn<'_> {
    pub(super) fn claim(&mut self, id: &AgentId, hello: &Hello) -> Claim {
        #[cfg(feature = "mutants")]
        if mutant::planted("copies-are-taken-for-agents") {
            return Claim::Same;
        }
        let Some(fact) = self.view.agent(id) else { return Claim::Successor };
        let (known, session) = match (&fact.holder, &hello.session) {
            (Some(known), Some(session)) => (known, session),
            (None, None) => return Claim::Same,
            // One of the two knows nothing of sessions: it is believed, and the registry told.
            (None, Some(_)) | (Some(_), None) => return Claim::Successor,
        };
        if known.session == *session {
            return Claim::Same;
        }
        let (agent, at) = (id.clone(), address(fact));
        let retry_after = limits::REGISTRATION_PAUSE;
        if !hello.earlier.contains(&known.session) {
            return Claim::Refused(AgentRefusal::Superseded { agent, at });
        }
        let elsewhere = !is_at(fact, known, hello) && !self.is_long_away(fact);
        match self.other_lives(id, session) {
            Some(true) => Claim::Refused(AgentRefusal::Duplicate { agent, at }),
            Some(false) => Claim::Refused(AgentRefusal::Held { agent, at, retry_after }),
            None if elsewhere => Claim::Refused(AgentRefusal::Elsewhere { agent, at, retry_after }),
            None if self.leader.proposals.registering().any(|other| other == id) => {
                Claim::Refused(AgentRefusal::Busy { retry_after })
            }
            None => Claim::Successor,
        }
    }

    /// Whether the process that has a link with this id lives: for certain, when it has answered a ping that was sent after
    /// `session` first came; or nobody knows yet. Absent when there is no link, or one that is silent.
    fn other_lives(&mut self, id: &AgentId, session: &str) -> Option<bool> {
        self.agent(id).filter(|agent| agent.link.is_some())?;
        let (now, timeout) = (self.now, self.leader.settings.link_timeout);
        let pulse = self.leader.pulses.of(id)?;
        let asked = pulse.doubted.iter().find(|(suspect, _)| suspect == session).map(|(_, ping)| *ping);
        if let Some(ping) = asked {
            let silent = now.since(pulse.heard) >= timeout;
            return if pulse.answered >= ping { Some(true) } else { (!silent).then_some(false) };
        }
        pulse.sequence += 1;
        let sequence = pulse.sequence;
        if pulse.doubted.len() >= limits::SUSPECTS {
            pulse.doubted.pop_front();
        }
        pulse.doubted.push_back((session.to_owned(), sequence));
        self.order(id, AgentOrder::Ping { sequence });
        Some(false)
    }

    /// A ping was answered by the process that is the agent.
    pub(super) fn answered(&mut self, id: &AgentId, sequence: u64) {
        if let Some(pulse) = self.leader.pulses.of(id) {
            pulse.answered = pulse.answered.max(sequence);
        }
    }

    /// Whether the agent was out of reach for so long that whoever comes from elsewhere is taken for it. By this leader's
    /// own time in office: an earlier one may have had a clock that is ahead or behind.
    fn is_long_away(&self, fact: &Agent) -> bool {
        let Standing::Leading(reign) = &self.leader.standing else { return false };
        let since: Time =
            if fact.since <= self.now { fact.since.max(reign.elected_at) } else { reign.elected_at };
        fact.presence == Presence::Unreachable && self.now.since(since) >= limits::MOVED_AFTER
    }
}

/// Whether the process is where the one before it was. A port there is only one's, so that the one before has ended.
/// Machines that were copied may have one name; they have booted apart, and have different addresses.
fn is_at(fact: &Agent, known: &Holder, hello: &Hello) -> bool {
    #[cfg(feature = "mutants")]
    if mutant::planted("agents-are-let-in-from-anywhere") {
        return true;
    }
    let named = fact.info.hostname == hello.info.hostname && fact.info.port == hello.info.port;
    let booted = !known.boot.is_empty() && known.boot == hello.boot;
    named && (booted || known.ip == *hello.ip)
}

/// Where an agent is, for people.
fn address(fact: &Agent) -> String {
    let port = fact.info.port.map(|port| format!(":{port}")).unwrap_or_default();
    let ip = fact.holder.as_ref().map(|holder| holder.ip.as_str()).unwrap_or_default();
    format!("{}{port} ({ip})", fact.info.hostname)
}
