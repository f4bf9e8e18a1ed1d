//! Agents: their links, registration, signs of life, and their leaving.
//!
//! An agent is *connected* while its link stands. One whose link closed keeps its tasks and gets no offers; silence
//! for longer than `Settings::agent_timeout`, with a link or without, makes it *unreachable*, which is a fact of the
//! registry: its tasks are reported so, and when it comes back it is admitted anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId};
use model::time::Time;
use wire::v1::AgentInfo;

use super::Turn;
use super::claims::{Claim, holder};
use super::depart::Gone;
use super::proposals::Proposal;
use super::state_api::Waiting;
use super::timers::Timer;
use crate::effect::{AgentOrder, AgentRefusal, Effect, Observation, OperatorEvent, Reason};
use crate::input::{LinkId, Peer, Term};
use crate::limits;
use crate::registry::{AgentCommand, Command, Presence};
use crate::report::Hello;
use crate::snapshot::Agent;

/// A connection that said hello.
#[derive(Debug)]
pub(crate) enum Link {
    /// Its registration waits for the registry, or for a proof of leadership.
    Waiting,
    Registered(AgentId),
}

/// What is known of an agent's life from one moment to the next. Apart from its record, which readers may hold and
/// which would be copied at each ping.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(super) heard: Time,
    pub(super) sequence: u64,
    /// The newest ping that was answered.
    pub(super) answered: u64,
    /// Other processes that have come with this agent's id, at most [`limits::SUSPECTS`], oldest first: the session of
    /// each, and the ping whose answer shows that there are two.
    pub(super) doubted: VecDeque<(String, u64)>,
    /// Orders for its return.
    kept: Vec<AgentOrder>,
}

#[derive(Debug, Default)]
pub(crate) struct Pulses {
    table: BTreeMap<AgentId, Pulse>,
    /// How many slices this round has, which of them is next, and behind which agent it begins.
    slices: u64,
    slice: u64,
    cursor: Option<AgentId>,
}

/// A registration that waits for the registry.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) link: LinkId,
    pub(crate) agent: AgentId,
    pub(crate) hello: Box<Hello>,
    /// Known to the registry before.
    known: bool,
    /// Its tasks were reported unreachable.
    returns: bool,
}

/// An agent that claims to obey a newer leader.
#[derive(Debug)]
pub(crate) struct Doubt {
    link: LinkId,
    agent: Option<AgentId>,
    seen: u64,
}

/// The agents are pinged in so many slices per interval at least: all at once would hold up the loop for each of them.
const SLICES: u64 = 8;
/// Agents in one slice at most. With more agents there are more slices.
const SLICE: u64 = 256;

impl Pulses {
    pub(super) fn start(&mut self, agent: &AgentId, now: Time) {
        let pulse = self.table.entry(agent.clone());
        pulse
            .or_insert_with(|| Pulse {
                heard: now,
                sequence: 0,
                answered: 0,
                doubted: VecDeque::new(),
                kept: Vec::new(),
            })
            .heard = now;
    }

    pub(super) fn stop(&mut self, agent: &AgentId) {
        self.table.remove(agent);
    }

    /// Remembers an order for an agent that is away. Kills are repeated by schedulers anyway, so that too many are
    /// dropped rather than kept.
    pub(super) fn keep_for_return(&mut self, agent: &AgentId, order: AgentOrder) {
        if let Some(pulse) =
            self.table.get_mut(agent).filter(|pulse| pulse.kept.len() < limits::PENDING_KILLS)
        {
            pulse.kept.push(order);
        }
    }

    /// The agents whose turn it is. Each has one in a round; those that come or go meanwhile only change who is in which
    /// slice, or wait for the next round.
    fn next_slice(&mut self) -> Vec<AgentId> {
        let count = self.table.len() as u64;
        if self.slice == 0 {
            self.slices = SLICES.max(count.div_ceil(SLICE));
        }
        let size = count.div_ceil(self.slices) as usize;
        let from = match (self.slice, self.cursor.take()) {
            (0, _) => Bound::Unbounded,
            (_, Some(last)) => Bound::Excluded(last),
            // Everybody has had a turn in this round.
            (_, None) => {
                self.slice = (self.slice + 1) % self.slices;
                return Vec::new();
            }
        };
        self.slice = (self.slice + 1) % self.slices;
        let rest = self.table.range::<AgentId, _>((from, Bound::Unbounded));
        let slice: Vec<AgentId> = rest.map(|(id, _)| id.clone()).take(size).collect();
        self.cursor = slice.last().cloned();
        slice
    }

    pub(super) fn of(&mut self, agent: &AgentId) -> Option<&mut Pulse> {
        self.table.get_mut(agent)
    }
}

impl Turn<'_> {
    // --- registration

    pub(super) fn hello(&mut self, link: LinkId, hello: Box<Hello>) {
        if self.leader.links.contains_key(&link) {
            let refusal =
                AgentRefusal::Invalid("a link starts with one Hello, this is the second".to_owned());
            return self.refuse_agent(link, refusal);
        }
        self.leader.links.insert(link, Link::Waiting);
        self.leader.counters.count(match hello.agent {
            None => "messages_register_slave",
            Some(_) => "messages_reregister_slave",
        });
        let term = self.leader.leads().unwrap_or_default();
        #[cfg(feature = "mutants")]
        let term = if mutant::planted("leader-ignores-newer-terms") || mutant::planted("agents-obey-any-term")
        {
            Term(u64::MAX)
        } else {
            term
        };
        if hello.highest_term > term.0 {
            let doubt = Doubt { link, agent: hello.agent.clone(), seen: hello.highest_term };
            return self.when_proved(Waiting::Doubt(Box::new(doubt)));
        }
        let fact = hello.agent.as_ref().and_then(|id| self.view.agent(id));
        let presence = fact.map(|fact| fact.presence);
        if presence != Some(Presence::Gone) && self.is_down(&hello) {
            return self.send_away(link, &hello);
        }
        if presence != Some(Presence::Gone) && self.is_placeless(&hello.info) {
            let refusal = AgentRefusal::Placeless { retry_after: limits::REGISTRATION_PAUSE };
            return self.refuse_agent(link, refusal);
        }
        let Some(id) = hello.agent.clone() else {
            let id = self.next_agent_id();
            return self.admit_agent(link, id, hello, false, false);
        };
        match presence {
            Some(Presence::Gone) => self.refuse_agent(link, AgentRefusal::Gone(id)),
            None => self.admit_agent(link, id, hello, false, false),
            Some(presence) => self.known_agent(link, id, hello, presence == Presence::Unreachable),
        }
    }

    fn known_agent(&mut self, link: LinkId, id: AgentId, hello: Box<Hello>, away: bool) {
        match self.claim(&id, &hello) {
            Claim::Refused(refusal) => self.refuse_agent(link, refusal),
            Claim::Successor => self.admit_agent(link, id, hello, true, away),
            Claim::Same if away => self.admit_agent(link, id, hello, true, true),
            Claim::Same => self.welcome_back(link, id, hello),
        }
    }

    fn next_agent_id(&mut self) -> AgentId {
        let id = format!("{}-S{}", self.uuid(), self.leader.serial.agent);
        self.leader.serial.agent += 1;
        AgentId::from(id)
    }

    /// Has the registry admit the agent, new or back from being unreachable.
    fn admit_agent(&mut self, link: LinkId, agent: AgentId, hello: Box<Hello>, known: bool, returns: bool) {
        if self.leader.proposals.registrations() >= limits::REGISTRATIONS {
            return self.refuse_agent(link, AgentRefusal::Busy { retry_after: limits::REGISTRATION_PAUSE });
        }
        let info = with_id(&hello.info, &agent);
        let holder = holder(&hello);
        let command = AgentCommand::Admit { id: agent.clone(), info, at: self.now, holder };
        let registration = Registration { link, agent, hello, known, returns };
        self.propose(Command::Agent(command), Proposal::Registration(Box::new(registration)));
    }

    /// The process of a known agent, back on a new link. The registry knows all it has to, unless the machine has changed.
    fn welcome_back(&mut self, link: LinkId, id: AgentId, hello: Box<Hello>) {
        let info = with_id(&hello.info, &id);
        if self.view.agent(&id).is_some_and(|fact| fact.info != info) {
            let holder = holder(&hello);
            let command = AgentCommand::Admit { id: id.clone(), info, at: self.now, holder };
            self.propose(Command::Agent(command), Proposal::Quiet);
        }
        self.attach(link, id, *hello, false);
    }

    pub(super) fn registered(&mut self, registration: Registration) {
        let Registration { link, agent, hello, known, returns } = registration;
        if !self.leader.links.contains_key(&link) {
            return self.admitted_in_vain(agent, known);
        }
        self.attach(link, agent, *hello, returns);
    }

    /// The link closed while the registry wrote. A new agent does not know its id and will never use it; a known one
    /// is expected like after an election.
    fn admitted_in_vain(&mut self, agent: AgentId, known: bool) {
        if self.agent(&agent).is_some() {
            return;
        }
        if known {
            self.leader.pulses.start(&agent, self.now);
            self.leader.tables.recovered.insert(agent);
        } else {
            self.propose(Command::Agent(AgentCommand::Forget { id: agent }), Proposal::Quiet);
        }
    }

    pub(super) fn registration_failed(&mut self, registration: &Registration, refusal: AgentRefusal) {
        if self.leader.links.contains_key(&registration.link) {
            self.refuse_agent(registration.link, refusal);
        }
    }

    pub(super) fn refuse_agent(&mut self, link: LinkId, refusal: AgentRefusal) {
        self.link_closed(link);
        self.observe(Observation::AgentRefused { link, refusal: refusal.clone() });
        self.order_on(link, AgentOrder::Refused(refusal));
        self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Refused });
    }

    /// Takes a registered agent at its word: what it holds is the truth about its tasks.
    fn attach(&mut self, link: LinkId, id: AgentId, hello: Hello, returns: bool) {
        self.detach_old_link(&id, link);
        self.leader.links.insert(link, Link::Registered(id.clone()));
        self.leader.pulses.start(&id, self.now);
        self.leader.tables.recovered.remove(&id);
        self.spare(&id);
        let new = self.install_agent(link, &id, &hello, returns);
        self.leader.counters.count(if new { "slave_registrations" } else { "slave_reregistrations" });
        self.recover_frameworks(&hello.frameworks);
        if new {
            self.publish(|turn| Some(OperatorEvent::AgentAdded(Arc::clone(turn.agent(&id)?))));
        }
        let tasks = hello.tasks.len();
        let removed = self.removed_frameworks(&hello);
        self.welcome(link, &id, &hello, removed.clone());
        self.adopt_executors(&id, hello.executors, &removed);
        let adopted = self.adopt_tasks(&id, hello.tasks, &removed);
        self.adopt_operations(&id, hello.operations);
        self.account_agent(&id);
        self.ask_about(&id);
        if returns {
            self.give_up_unreachable(&id);
            self.tell_returned(&id, &adopted);
        }
        for order in self
            .leader
            .pulses
            .table
            .get_mut(&id)
            .map(|pulse| std::mem::take(&mut pulse.kept))
            .unwrap_or_default()
        {
            self.order_on(link, order);
        }
        let hostname = hello.info.hostname.clone();
        self.observe(Observation::AgentRegistered { agent: id.clone(), hostname, tasks });
        self.drain_goes_on(&id);
        self.recovery_progresses();
    }

    /// A sign of life.
    fn spare(&mut self, agent: &AgentId) {
        if self.leader.reaper.spare(agent) {
            self.leader.counters.count("slave_unreachable_canceled");
        }
    }

    fn detach_old_link(&mut self, id: &AgentId, link: LinkId) {
        let Some(old) = self.agent(id).and_then(|agent| agent.link).filter(|old| *old != link) else {
            return;
        };
        self.leader.links.remove(&old);
        self.out.push(Effect::Close { peer: Peer::Link(old), reason: Reason::Refused });
        self.rescind_agent_offers(id);
    }

    /// Makes the agent's record or brings it up to date. Whether this leader had none; one that `returns` it had before.
    fn install_agent(&mut self, link: LinkId, id: &AgentId, hello: &Hello, returns: bool) -> bool {
        let now = self.now;
        let fact = self.view.agent(id);
        let (deactivated, drain) = fact.map_or((false, None), |fact| (fact.deactivated, fact.drain));
        let info = with_id(&hello.info, id);
        let unavailability = self.planned(&hello.info.hostname, &hello.ip);
        let (ip, version, total) =
            (Arc::clone(&hello.ip), Arc::from(hello.version.as_str()), hello.total.clone());
        if let Some(agent) = self.agent_mut(id) {
            agent.info = info;
            agent.ip = ip;
            agent.version = version;
            agent.total = total;
            agent.unavailability = unavailability;
            agent.link = Some(link);
            agent.reregistered_at = Some(now);
            return false;
        }
        let agent = Agent {
            id: id.clone(),
            info,
            ip,
            version,
            total,
            link: Some(link),
            deactivated,
            drain,
            unavailability,
            registered_at: now,
            reregistered_at: returns.then_some(now),
            tasks: Default::default(),
            executors: Default::default(),
            offers: Default::default(),
            operations: Default::default(),
        };
        self.leader.tables.agents.insert(id.clone(), Arc::new(agent));
        true
    }

    /// Frameworks of the agent's tasks that nobody may run any more.
    fn removed_frameworks(&self, hello: &Hello) -> Vec<FrameworkId> {
        frameworks_of(hello).into_iter().filter(|id| self.framework(id).is_none()).collect()
    }

    pub(super) fn welcome(&mut self, link: LinkId, id: &AgentId, hello: &Hello, removed: Vec<FrameworkId>) {
        let connected = frameworks_of(hello)
            .into_iter()
            .filter(|id| self.framework(id).is_some_and(|framework| framework.connected()))
            .collect();
        let order = AgentOrder::Welcome {
            agent: id.clone(),
            ping_interval: self.leader.settings.ping_interval,
            link_timeout: self.leader.settings.link_timeout,
            removed,
            connected,
        };
        self.order_on(link, order);
    }

    // --- signs of life

    /// Whose frame this is, if it is registered. Whatever it says, it lives.
    pub(super) fn heard(&mut self, link: LinkId) -> Option<AgentId> {
        let Some(Link::Registered(agent)) = self.leader.links.get(&link) else { return None };
        let agent = agent.clone();
        if let Some(pulse) = self.leader.pulses.table.get_mut(&agent) {
            pulse.heard = self.now;
        }
        self.spare(&agent);
        Some(agent)
    }

    /// Pings the next slice of agents and looks for those silent for too long.
    pub(super) fn pulse(&mut self) {
        for agent in self.leader.pulses.next_slice() {
            let Some(pulse) = self.leader.pulses.table.get_mut(&agent) else { continue };
            pulse.sequence += 1;
            let (sequence, heard) = (pulse.sequence, pulse.heard);
            self.order(&agent, AgentOrder::Ping { sequence });
            if self.now.since(heard) >= self.leader.settings.agent_timeout {
                self.overdue(agent);
            }
        }
        self.fail_late_changes();
        let slice = self.leader.settings.ping_interval.as_millis().div_ceil(self.leader.pulses.slices).max(1);
        self.leader.timers.set(Timer::Pulse, self.now + model::time::Span::from_millis(slice));
    }

    pub(super) fn link_closed(&mut self, link: LinkId) {
        let Some(Link::Registered(id)) = self.leader.links.remove(&link) else { return };
        let Some(agent) = self.agent_mut(&id) else { return };
        if agent.link != Some(link) {
            return;
        }
        agent.link = None;
        self.fail_changes(&id);
        self.rescind_agent_offers(&id);
        self.rescind_inverse_offers(&id);
        self.offer_agent(&id);
        self.observe(Observation::AgentDisconnected { agent: id });
    }

    /// The agent process ends in order. With its tasks killed there is nothing to wait for.
    pub(super) fn goodbye(&mut self, link: LinkId, agent: &AgentId, tasks_killed: bool) {
        self.leader.counters.count("messages_unregister_slave");
        self.link_closed(link);
        self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Ended });
        // The operator's word about an agent outlives its process, so that such a one is not forgotten.
        let minded = self.view.agent(agent).is_some_and(|fact| fact.deactivated);
        match (tasks_killed, minded) {
            (false, _) => {}
            (true, false) => self.propose_removed(agent.clone(), Gone::Ended),
            (true, true) => self.propose_unreachable(agent.clone(), "agent ended and killed its tasks"),
        }
    }

    // --- fencing

    /// An agent obeys a newer leader, and has refused an order of ours: this leadership is over, whatever Raft has
    /// told us so far.
    pub(super) fn fenced(&mut self, agent: Option<AgentId>, seen: u64) {
        let Some(term) = self.leader.leads().filter(|term| seen > term.0) else { return };
        self.observe(Observation::Deposed { term, seen, agent });
        self.abdicate(None);
        self.out.push(Effect::StepDown { seen });
    }

    /// The agent's term is higher than ours, and yet we lead: it is not of this cluster's history. Its directory was
    /// copied from another cluster, or ours was set back.
    pub(super) fn doubt_refuted(&mut self, doubt: Doubt) {
        if !self.leader.links.contains_key(&doubt.link) {
            return;
        }
        let Term(term) = self.leader.leads().unwrap_or_default();
        let refusal = AgentRefusal::Invalid(format!(
            "the agent has obeyed a leader of term {}, but this cluster is at term {term}: its data directory belongs to another cluster",
            doubt.seen
        ));
        self.refuse_agent(doubt.link, refusal);
    }

    /// Nobody vouches for us any more.
    pub(super) fn doubt_stands(&mut self, doubt: &Doubt) {
        self.fenced(doubt.agent.clone(), doubt.seen);
        if self.leader.links.contains_key(&doubt.link) {
            self.refuse_agent(doubt.link, AgentRefusal::NotLeader { leader: None });
        }
    }
}

/// All frameworks an agent has something of.
fn frameworks_of(hello: &Hello) -> BTreeSet<FrameworkId> {
    let named = hello.frameworks.iter().filter_map(|info| info.id.as_ref()).map(FrameworkId::from);
    let of_tasks = hello.tasks.iter().map(|task| task.framework.clone());
    let of_executors = hello.executors.iter().map(|executor| executor.framework.clone());
    named.chain(of_tasks).chain(of_executors).collect()
}

/// The agent's description as everybody else sees it: with its id.
fn with_id(info: &Arc<AgentInfo>, id: &AgentId) -> Arc<AgentInfo> {
    let mut info = Arc::clone(info);
    Arc::make_mut(&mut info).id = Some(id.into());
    info
}
