//! After an election, and what is slow on purpose: giving agents up.
//!
//! A new leader knows from the registry which agents and frameworks there are, and nothing of their doings. They have
//! a window to return. Agents that miss it, like those that fall silent later, become unreachable at a limited rate;
//! and not at all while so many are missing that a fault of the network is likelier than their death. Without the
//! limit one bad switch would have every task of the cluster started twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::time::{Span, Time};
use wire::v1::FrameworkInfo;

use super::proposals::Proposal;
use super::subscribe::Admission;
use super::timers::Timer;
use super::{Leader, Turn};
use crate::effect::{Observation, OperatorEvent};
use crate::profile::Profile;
use crate::registry::{AgentCommand, Away, Command, Presence};
use crate::settings::Settings;

/// Who is to be given up, and when the next may be.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    /// Silent for too long.
    overdue: BTreeSet<AgentId>,
    /// Being marked in the registry.
    marking: BTreeSet<AgentId>,
    /// How many may be marked now; `None` until the first use, which starts with the whole burst.
    allowance: Option<Allowance>,
    /// Agents known when this leader was elected.
    known: usize,
    /// The window for them to return is open.
    open: bool,
    /// That too many are missing has been said.
    halted: bool,
}

/// A token bucket in whole numbers.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    tokens: u32,
    /// When the last token was added.
    filled: Time,
}

impl Allowance {
    fn refill(self, now: Time, settings: &Settings) -> Self {
        let every = settings.unreachable_every.as_millis().max(1);
        let more = now.since(self.filled).as_millis() / every;
        let room = u64::from(settings.unreachable_burst.saturating_sub(self.tokens));
        if more >= room {
            return Self { tokens: settings.unreachable_burst.max(self.tokens), filled: now };
        }
        // `more` is less than a burst, which fits.
        let tokens = self.tokens + u32::try_from(more).unwrap_or(u32::MAX);
        Self { tokens, filled: self.filled + Span::from_millis(more * every) }
    }
}

impl Reaper {
    /// A sign of life: nothing is held against the agent any more. Whether it was about to be given up.
    pub(super) fn spare(&mut self, agent: &AgentId) -> bool {
        self.overdue.remove(agent)
    }

    pub(super) fn forget(&mut self, agent: &AgentId) {
        self.overdue.remove(agent);
        self.marking.remove(agent);
    }
}

impl Leader {
    /// How many of the agents known at the election are missing, while their window to return is open, and how many
    /// were known.
    pub(super) fn missing_agents(&self) -> (usize, usize) {
        let missing = if self.reaper.open { self.tables.recovered.len() } else { 0 };
        (missing.min(self.reaper.known), self.reaper.known)
    }
}

impl Turn<'_> {
    /// Expects back everybody the registry knows.
    pub(super) fn recover(&mut self) {
        let admitted = self.view.agents().filter(|agent| agent.presence == Presence::Admitted);
        let agents: Vec<AgentId> = admitted.map(|agent| agent.id.clone()).collect();
        self.leader.reaper = Reaper { known: agents.len(), open: !agents.is_empty(), ..Reaper::default() };
        for agent in agents {
            self.leader.pulses.start(&agent, self.now);
            self.leader.tables.recovered.insert(agent);
        }
        if self.leader.reaper.open {
            self.leader.timers.set(Timer::Recovery, self.now + self.leader.settings.recovery_window);
        }
        let frameworks: Vec<(FrameworkId, Arc<FrameworkInfo>)> =
            self.view.frameworks().map(|fact| (fact.id.clone(), Arc::clone(&fact.info))).collect();
        for (id, info) in frameworks {
            self.recover_framework(id, info);
        }
    }

    /// A framework of which only its description is known: it lives until it subscribes or its time is over.
    fn recover_framework(&mut self, id: FrameworkId, info: Arc<FrameworkInfo>) {
        // It was read before it was admitted. Should another version of this program have admitted what this one
        // cannot read, it has no roles and gets no offers, but keeps its tasks until it subscribes again.
        let profile = Profile::read(&info).unwrap_or_default();
        let grace = profile.failover_timeout.max(self.leader.settings.framework_window);
        let suppressed = BTreeSet::new();
        let (profile, constraints) = (Arc::new(profile), Arc::default());
        self.install(Admission { id: id.clone(), info, profile, suppressed, constraints }, true);
        self.leader.timers.set(Timer::Failover(id), self.now + grace);
    }

    /// An agent tells of frameworks. Those this cluster does not know, and has not removed, are taken in: their tasks
    /// run, and somebody may come for them.
    pub(super) fn recover_frameworks(&mut self, infos: &[Arc<FrameworkInfo>]) {
        for info in infos {
            let Some(id) = info.id.as_ref().map(FrameworkId::from) else { continue };
            if self.framework(&id).is_some() || self.view.tombstone(&id).is_some() {
                continue;
            }
            self.recover_framework(id.clone(), Arc::clone(info));
            let Some(framework) = self.framework(&id).cloned() else { continue };
            let admission = Admission {
                id,
                info: Arc::clone(&framework.info),
                profile: Arc::clone(&framework.profile),
                suppressed: BTreeSet::new(),
                constraints: Arc::default(),
            };
            let command = self.admit_command(&admission);
            self.propose(command, Proposal::Quiet);
            self.publish(|_| Some(OperatorEvent::FrameworkAdded(framework)));
        }
    }

    /// The window has closed: who is missing now is overdue.
    pub(super) fn recovery_closes(&mut self) {
        self.leader.reaper.open = false;
        let missing: Vec<AgentId> = self.leader.tables.recovered.iter().cloned().collect();
        let returned = self.leader.reaper.known.saturating_sub(missing.len());
        self.observe(Observation::RecoveryEnded { returned, missing: missing.len() });
        for agent in missing {
            self.overdue(agent);
        }
    }

    /// An agent has been silent for too long.
    pub(super) fn overdue(&mut self, agent: AgentId) {
        let reaper = &mut self.leader.reaper;
        if reaper.marking.contains(&agent) || (reaper.open && self.leader.tables.recovered.contains(&agent)) {
            return;
        }
        if reaper.overdue.insert(agent) {
            self.leader.counters.count("slave_unreachable_scheduled");
        }
        self.leader.timers.set(Timer::Reap, self.now);
    }

    /// Gives up as many of the overdue as may be now.
    pub(super) fn reap(&mut self) {
        let settings = self.leader.settings.clone();
        let fresh = Allowance { tokens: settings.unreachable_burst, filled: self.now };
        let mut allowance = self.leader.reaper.allowance.unwrap_or(fresh).refill(self.now, &settings);
        let halted = self.recovery_halts();
        let recovered = &self.leader.tables.recovered;
        let due: Vec<AgentId> = self
            .leader
            .reaper
            .overdue
            .iter()
            .filter(|agent| !(halted && recovered.contains(*agent)))
            .take(allowance.tokens as usize)
            .cloned()
            .collect();
        allowance.tokens -= u32::try_from(due.len()).unwrap_or(allowance.tokens);
        self.leader.reaper.allowance = Some(allowance);
        for agent in due {
            self.leader.reaper.overdue.remove(&agent);
            self.propose_unreachable(agent, "health check timed out");
        }
        if !self.leader.reaper.overdue.is_empty() {
            let pause = if halted { settings.ping_interval } else { settings.unreachable_every };
            self.leader.timers.set(Timer::Reap, self.now + pause.max(Span::from_millis(1)));
        }
    }

    /// Whether so many are missing since the election that none of them may be given up.
    fn recovery_halts(&mut self) -> bool {
        let settings = &self.leader.settings;
        // Against those who are here, not against those who were: agents that lost their disks come back as new ones, and
        // prove the network all the same. The old ones would otherwise be waited for as long as this master leads.
        let here = self.leader.tables.agents.len();
        let halting = |missing: usize| {
            let known = missing + here;
            let part = missing as u128 * 100 > known as u128 * u128::from(settings.recovery_halt_percent);
            missing > settings.recovery_spare && part
        };
        let mut missing = self.leader.tables.recovered.len();
        if halting(missing) {
            missing = self.missing_places();
        }
        let halts = halting(missing);
        if halts && !self.leader.reaper.halted {
            self.observe(Observation::RecoveryHalted { missing, known: missing + here });
        }
        self.leader.reaper.halted = halts;
        halts
    }

    /// At how many places known agents are missing. A place is a port of a machine: where a new agent is the old one is not
    /// out of reach, and several that were registered at one place, one after the other, are missing once. Leaders that fall
    /// before they have welcomed an agent leave one behind each, which nobody will ever be.
    fn missing_places(&self) -> usize {
        type Place<'a> = (&'a str, Option<i32>, Option<&'a str>);
        let taken: BTreeSet<Place<'_>> = self
            .leader
            .tables
            .agents
            .values()
            .flat_map(|agent| {
                let (name, port) = (agent.info.hostname.as_str(), agent.info.port);
                [(name, port, Some(&*agent.ip)), (name, port, None)]
            })
            .collect();
        let recovered = self.leader.tables.recovered.iter().filter_map(|id| self.view.agent(id));
        let missing: BTreeSet<Place<'_>> = recovered
            .map(|fact| {
                let ip = fact.holder.as_ref().map(|holder| holder.ip.as_str());
                (fact.info.hostname.as_str(), fact.info.port, ip)
            })
            .collect();
        missing.difference(&taken).count()
    }

    /// One more of the known agents is back, or gone for good.
    pub(super) fn recovery_progresses(&mut self) {
        if self.leader.reaper.open && self.leader.tables.recovered.is_empty() {
            self.leader.timers.cancel(&Timer::Recovery);
            self.recovery_closes();
        }
    }

    /// `message` is what schedulers read about it.
    pub(super) fn propose_unreachable(&mut self, agent: AgentId, message: &'static str) {
        self.leader.reaper.marking.insert(agent.clone());
        let command = AgentCommand::Mark { id: agent.clone(), away: Away::Unreachable, at: self.now };
        self.propose(Command::Agent(command), Proposal::Unreachable { agent, message });
    }

    /// The pulse will find it overdue again, if it still is.
    pub(super) fn marking_failed(&mut self, agent: &AgentId) {
        self.leader.reaper.marking.remove(agent);
    }
}
