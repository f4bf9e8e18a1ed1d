//! Agents: their links, registration, signs of life, and their leaving.
//!
//! An agent is *connected* while its link stands. One whose link closed keeps its tasks and gets no offers; silence
//! for longer than `Settings::agent_timeout`, with a link or without, makes it *unreachable*, which is a fact of the
//! registry: its tasks are reported so, and when it comes back it is admitted anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use model::id::{AgentId, ExecutorId, FrameworkId, TaskId};
use model::task::TaskState;
use model::time::Time;
use wire::v1::task_status::Reason as Why;
use wire::v1::{self, AgentInfo};

use super::Turn;
use super::proposals::Proposal;
use super::state_api::Waiting;
use super::timers::Timer;
use crate::effect::{AgentOrder, AgentRefusal, Effect, Observation, OperatorEvent, Reason, SchedulerEvent};
use crate::input::{LinkId, Peer, Term};
use crate::limits;
use crate::registry::{AgentCommand, Command, Presence};
use crate::report::{HeldExecutor, HeldTask, Hello};
use crate::snapshot::{Agent, Executor, Task};

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
    heard: Time,
    sequence: u64,
    /// Orders for its return.
    kept: Vec<AgentOrder>,
}

#[derive(Debug, Default)]
pub(crate) struct Pulses {
    table: BTreeMap<AgentId, Pulse>,
    /// Where the next slice begins.
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

/// Why an agent leaves, and what becomes of its tasks.
struct Departure {
    state: TaskState,
    reason: Why,
    /// For frameworks that do not know `state`.
    older_reason: Why,
    message: &'static str,
    /// Its tasks may come back.
    may_return: bool,
}

/// The agents are pinged in so many slices per interval: all at once would hold up the loop for each of them.
const SLICES: u64 = 8;

impl Pulses {
    pub(super) fn start(&mut self, agent: &AgentId, now: Time) {
        let pulse = self.table.entry(agent.clone());
        pulse.or_insert_with(|| Pulse { heard: now, sequence: 0, kept: Vec::new() }).heard = now;
    }

    fn stop(&mut self, agent: &AgentId) {
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

    /// The agents whose turn it is.
    fn slice(&mut self) -> Vec<AgentId> {
        let size = (self.table.len() as u64).div_ceil(SLICES) as usize;
        let from = self.cursor.take().map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<AgentId> = self
            .table
            .range::<AgentId, _>((from, Bound::Unbounded))
            .map(|(id, _)| id.clone())
            .take(size)
            .collect();
        if slice.len() == size {
            self.cursor = slice.last().cloned();
        }
        slice
    }

    pub(super) fn heard(&self, agent: &AgentId) -> Option<Time> {
        self.table.get(agent).map(|pulse| pulse.heard)
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
        let term = self.leader.leads().unwrap_or_default();
        if hello.highest_term > term.0 {
            let doubt = Doubt { link, agent: hello.agent.clone(), seen: hello.highest_term };
            return self.when_proved(Waiting::Doubt(Box::new(doubt)));
        }
        let Some(id) = hello.agent.clone() else {
            let id = self.next_agent_id();
            return self.admit_agent(link, id, hello, false, false);
        };
        let presence = self.view.agent(&id).map(|fact| fact.presence);
        match presence {
            Some(Presence::Gone) => self.refuse_agent(link, AgentRefusal::Gone(id)),
            Some(Presence::Unreachable) => self.admit_agent(link, id, hello, true, true),
            None => self.admit_agent(link, id, hello, false, false),
            Some(Presence::Admitted) => self.welcome_back(link, id, hello),
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
        let command = AgentCommand::Admit { id: agent.clone(), info, at: self.now };
        let registration = Registration { link, agent, hello, known, returns };
        self.propose(Command::Agent(command), Proposal::Registration(Box::new(registration)));
    }

    /// A known agent, back on a new link. The registry knows all it has to, unless the machine has changed.
    fn welcome_back(&mut self, link: LinkId, id: AgentId, hello: Box<Hello>) {
        if let Some(refusal) = self.twin(&id, &hello) {
            return self.refuse_agent(link, refusal);
        }
        let info = with_id(&hello.info, &id);
        if self.view.agent(&id).is_some_and(|fact| fact.info != info) {
            let command = AgentCommand::Admit { id: id.clone(), info, at: self.now };
            self.propose(Command::Agent(command), Proposal::Quiet);
        }
        self.attach(link, id, *hello, false);
    }

    /// Whether another agent holds this id on a live link. The same one, dialling again because its old link died
    /// before we noticed, is no twin.
    fn twin(&self, id: &AgentId, hello: &Hello) -> Option<AgentRefusal> {
        let agent = self.agent(id).filter(|agent| agent.link.is_some())?;
        let same = agent.info.hostname == hello.info.hostname && agent.info.port == hello.info.port;
        let heard = self.leader.pulses.heard(id)?;
        let live = self.now.since(heard) < self.leader.settings.link_timeout;
        (live && !same).then(|| AgentRefusal::Duplicate(id.clone()))
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
        self.leader.links.remove(&link);
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
        self.leader.reaper.spare(&id);
        let new = self.install_agent(link, &id, &hello);
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
        self.account_agent(&id);
        if returns {
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
        self.observe(Observation::AgentRegistered { agent: id, hostname, tasks });
        self.recovery_progresses();
    }

    fn detach_old_link(&mut self, id: &AgentId, link: LinkId) {
        let Some(old) = self.agent(id).and_then(|agent| agent.link).filter(|old| *old != link) else {
            return;
        };
        self.leader.links.remove(&old);
        self.out.push(Effect::Close { peer: Peer::Link(old), reason: Reason::Refused });
        self.rescind_agent_offers(id);
    }

    /// Makes the agent's record or brings it up to date. Whether it is new to this leader.
    fn install_agent(&mut self, link: LinkId, id: &AgentId, hello: &Hello) -> bool {
        let now = self.now;
        let deactivated = self.view.agent(id).is_some_and(|fact| fact.deactivated);
        let info = with_id(&hello.info, id);
        let (ip, version, total) =
            (Arc::clone(&hello.ip), Arc::from(hello.version.as_str()), hello.total.clone());
        if let Some(agent) = self.agent_mut(id) {
            agent.info = info;
            agent.ip = ip;
            agent.version = version;
            agent.total = total;
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
            registered_at: now,
            reregistered_at: None,
            tasks: Default::default(),
            executors: Default::default(),
            offers: Default::default(),
        };
        self.leader.tables.agents.insert(id.clone(), Arc::new(agent));
        true
    }

    /// Frameworks of the agent's tasks that nobody may run any more.
    fn removed_frameworks(&self, hello: &Hello) -> Vec<FrameworkId> {
        let named = hello.frameworks.iter().filter_map(|info| info.id.as_ref()).map(FrameworkId::from);
        let of_tasks = hello.tasks.iter().map(|task| task.framework.clone());
        let of_executors = hello.executors.iter().map(|executor| executor.framework.clone());
        let all: BTreeSet<FrameworkId> = named.chain(of_tasks).chain(of_executors).collect();
        all.into_iter().filter(|id| self.framework(id).is_none()).collect()
    }

    fn welcome(&mut self, link: LinkId, id: &AgentId, hello: &Hello, removed: Vec<FrameworkId>) {
        let named: BTreeSet<FrameworkId> =
            hello.frameworks.iter().filter_map(|info| info.id.as_ref()).map(FrameworkId::from).collect();
        let connected = named
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

    // --- what it holds

    /// The agent's executors are those it names; others of our record are gone.
    fn adopt_executors(&mut self, id: &AgentId, held: Vec<HeldExecutor>, removed: &[FrameworkId]) {
        let names: BTreeSet<(FrameworkId, ExecutorId)> =
            held.iter().map(|executor| (executor.framework.clone(), executor.id.clone())).collect();
        let known: Vec<_> =
            self.agent(id).map(|agent| agent.executors.iter().cloned().collect()).unwrap_or_default();
        for (framework, executor) in known {
            if !names.contains(&(framework.clone(), executor.clone())) {
                self.forget_executor(id, &framework, &executor);
            }
        }
        for executor in held {
            if removed.contains(&executor.framework) {
                continue;
            }
            let role = self.role_of(&executor.framework, &executor.info.resources);
            let record = Executor {
                id: executor.id.clone(),
                framework: executor.framework.clone(),
                agent: id.clone(),
                role,
                info: executor.info,
                resources: executor.resources.unallocate(),
            };
            if let Some(agent) = self.agent_mut(id) {
                agent.executors.insert((executor.framework.clone(), executor.id.clone()));
            }
            if let Some(framework) = self.framework_mut(&executor.framework) {
                framework.executors.insert((id.clone(), executor.id), Arc::new(record));
            }
        }
    }

    /// Takes the agent's tasks into the tables, and gives up those it should have and has not. Returns those it has.
    fn adopt_tasks(
        &mut self,
        id: &AgentId,
        held: Vec<HeldTask>,
        removed: &[FrameworkId],
    ) -> Vec<(FrameworkId, TaskId)> {
        let expected: BTreeSet<(FrameworkId, TaskId)> =
            self.agent(id).map(|agent| agent.tasks.iter().cloned().collect()).unwrap_or_default();
        let mut adopted = Vec::with_capacity(held.len());
        for task in held {
            if removed.contains(&task.framework) {
                continue;
            }
            let key = (task.framework.clone(), task.id.clone());
            if self.adopt_task(id, task) {
                adopted.push(key);
            }
        }
        for (framework, task) in expected {
            if !adopted.contains(&(framework.clone(), task.clone())) {
                self.give_up(id, &framework, &task);
            }
        }
        adopted
    }

    /// Whether the task may stay.
    fn adopt_task(&mut self, id: &AgentId, held: HeldTask) -> bool {
        let HeldTask { framework, id: task, .. } = &held;
        if let Some(known) = self.task(framework, task) {
            if known.agent != *id {
                // Launched anew elsewhere while this one was away: two of them must not run.
                let order =
                    AgentOrder::Kill { framework: framework.clone(), task: task.clone(), policy: None };
                self.order(id, order);
                return false;
            }
            let (framework, task) = (framework.clone(), task.clone());
            self.advance(&framework, &task, held.latest);
            return true;
        }
        let record = self.record_held(id, held);
        let (framework, task) = (record.framework.clone(), record.id.clone());
        if let Some(agent) = self.agent_mut(id) {
            agent.tasks.insert((framework.clone(), task.clone()));
        }
        let record = Arc::new(record);
        if let Some(framework) = self.framework_mut(&framework) {
            framework.tasks.insert(task, Arc::clone(&record));
        }
        self.publish(|_| Some(OperatorEvent::TaskAdded(record)));
        true
    }

    /// The record of a task this leader learns about: from its own record of what was unreachable, or from the agent
    /// alone.
    fn record_held(&mut self, id: &AgentId, held: HeldTask) -> Task {
        let was =
            self.framework_mut(&held.framework).and_then(|framework| framework.unreachable.remove(&held.id));
        let statuses = match (was, &held.forwarded) {
            (Some(was), _) => was.statuses.clone(),
            (None, Some(forwarded)) => vec![Arc::clone(forwarded)],
            (None, None) => Vec::new(),
        };
        let role = self.role_of(&held.framework, &held.info.resources);
        Task {
            id: held.id,
            framework: held.framework,
            agent: id.clone(),
            role,
            info: held.info,
            executor: held.executor,
            resources: held.resources.unallocate(),
            state: held.latest,
            forwarded: held.forwarded,
            statuses,
        }
    }

    /// The role resources were launched under, as the master wrote it into them.
    fn role_of(&self, framework: &FrameworkId, resources: &[v1::Resource]) -> model::role::Role {
        let written = resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_ref());
        let written = written.and_then(|role| role.parse().ok());
        let own = || self.framework(framework)?.profile.roles.first().cloned();
        written.or_else(own).unwrap_or_else(model::role::Role::any)
    }

    /// The agent has not got a task it was sent: the frame was lost with its link, or the agent lost the task.
    fn give_up(&mut self, id: &AgentId, framework: &FrameworkId, task: &TaskId) {
        let Some(record) = self.task(framework, task) else { return };
        if record.state.is_terminal() {
            return self.complete(framework, task);
        }
        let state = if record.state == TaskState::Staging { TaskState::Dropped } else { TaskState::Gone };
        let state = self.told(framework, state);
        let message = "Reconciliation: Task is unknown to the agent";
        let status = self.master_status(task, Some(id), state, Why::Reconciliation, message);
        self.book_and_tell(framework, task, state, status);
        self.complete(framework, task);
    }

    /// Frameworks have given the tasks up; now they hear that they live.
    fn tell_returned(&mut self, id: &AgentId, tasks: &[(FrameworkId, TaskId)]) {
        for (framework, task) in tasks {
            let Some(record) = self.task(framework, task) else { continue };
            let state = self.told(framework, record.state);
            let message = "Unreachable agent re-reregistered";
            let status = self.master_status(task, Some(id), state, Why::AgentReregistered, message);
            self.event(framework, SchedulerEvent::Update(Arc::new(status)));
        }
    }

    // --- signs of life

    /// Whose frame this is, if it is registered. Whatever it says, it lives.
    pub(super) fn heard(&mut self, link: LinkId) -> Option<AgentId> {
        let Some(Link::Registered(agent)) = self.leader.links.get(&link) else { return None };
        let agent = agent.clone();
        if let Some(pulse) = self.leader.pulses.table.get_mut(&agent) {
            pulse.heard = self.now;
        }
        self.leader.reaper.spare(&agent);
        Some(agent)
    }

    /// Pings the next slice of agents and looks for those silent for too long.
    pub(super) fn pulse(&mut self) {
        for agent in self.leader.pulses.slice() {
            let Some(pulse) = self.leader.pulses.table.get_mut(&agent) else { continue };
            pulse.sequence += 1;
            let (sequence, heard) = (pulse.sequence, pulse.heard);
            self.order(&agent, AgentOrder::Ping { sequence });
            if self.now.since(heard) >= self.leader.settings.agent_timeout {
                self.overdue(agent);
            }
        }
        let slice = self.leader.settings.ping_interval.as_millis().div_ceil(SLICES).max(1);
        self.leader.timers.set(Timer::Pulse, self.now + model::time::Span::from_millis(slice));
    }

    pub(super) fn link_closed(&mut self, link: LinkId) {
        let Some(Link::Registered(id)) = self.leader.links.remove(&link) else { return };
        let Some(agent) = self.agent_mut(&id) else { return };
        if agent.link != Some(link) {
            return;
        }
        agent.link = None;
        self.rescind_agent_offers(&id);
        self.offer_agent(&id);
        self.observe(Observation::AgentDisconnected { agent: id });
    }

    /// The agent process ends in order. With its tasks killed there is nothing to wait for.
    pub(super) fn goodbye(&mut self, link: LinkId, agent: &AgentId, tasks_killed: bool) {
        self.leader.counters.count("messages_unregister_slave");
        self.link_closed(link);
        self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Ended });
        if tasks_killed {
            self.propose_unreachable(agent.clone());
        }
    }

    // --- fencing

    /// An agent obeys a newer leader, and has refused an order of ours: this leadership is over, whatever Raft has
    /// told us so far.
    pub(super) fn fenced(&mut self, agent: Option<AgentId>, seen: u64) {
        let Some(term) = self.leader.leads().filter(|term| seen > term.0) else { return };
        self.observe(Observation::Deposed { term, seen, agent });
        self.abdicate(None);
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

    // --- leaving

    /// The registry holds that the agent is unreachable.
    pub(super) fn agent_unreachable(&mut self, id: &AgentId) {
        self.leader.counters.count("slave_unreachable_completed");
        let departure = Departure {
            state: TaskState::Unreachable,
            reason: Why::AgentRemoved,
            older_reason: Why::AgentRemoved,
            message: "health check timed out",
            may_return: true,
        };
        self.depart(id, &departure);
        self.observe(Observation::AgentUnreachable { agent: id.clone() });
        self.recovery_progresses();
    }

    /// The registry holds that the agent never returns.
    pub(super) fn agent_gone(&mut self, id: &AgentId) {
        let message = "Agent has been marked gone";
        self.order(id, AgentOrder::Shutdown { message: message.to_owned() });
        let departure = Departure {
            state: TaskState::GoneByOperator,
            reason: Why::AgentRemovedByOperator,
            older_reason: Why::AgentRemoved,
            message,
            may_return: false,
        };
        self.depart(id, &departure);
        self.observe(Observation::AgentGone { agent: id.clone() });
        self.recovery_progresses();
    }

    /// Per framework: updates, then rescinds; at last everybody hears FAILURE.
    fn depart(&mut self, id: &AgentId, departure: &Departure) {
        let (tasks, link) = match self.agent(id) {
            Some(agent) => (agent.tasks.iter().cloned().collect(), agent.link),
            None => (Vec::new(), None),
        };
        for (framework, task) in &tasks {
            self.depart_task(id, framework, task, departure);
        }
        if departure.may_return {
            self.leader.counters.count("slave_removals");
        } else {
            self.complete_unreachable(id);
        }
        self.rescind_agent_offers(id);
        self.forget_agent(id);
        let executors: Vec<_> =
            self.agent(id).map(|agent| agent.executors.iter().cloned().collect()).unwrap_or_default();
        for (framework, executor) in executors {
            if let Some(framework) = self.framework_mut(&framework) {
                framework.executors.remove(&(id.clone(), executor));
            }
        }
        let known = self.leader.tables.agents.remove(id).is_some();
        self.leader.tables.recovered.remove(id);
        self.leader.pulses.stop(id);
        self.leader.reaper.forget(id);
        if let Some(link) = link {
            self.leader.links.remove(&link);
            self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Refused });
        }
        self.fail_agent(id);
        if known {
            self.publish(|_| Some(OperatorEvent::AgentRemoved(id.clone())));
        }
    }

    fn depart_task(&mut self, id: &AgentId, framework: &FrameworkId, task: &TaskId, departure: &Departure) {
        let Some(record) = self.task(framework, task) else { return };
        if record.state.is_terminal() {
            return self.complete(framework, task);
        }
        let state = self.told(framework, departure.state);
        let reason = if state == departure.state { departure.reason } else { departure.older_reason };
        let mut status = self.master_status(task, Some(id), state, reason, departure.message);
        if departure.may_return {
            status.unreachable_time = Some(self.now.into());
        }
        self.book_and_tell(framework, task, state, status);
        if !departure.may_return {
            return self.complete(framework, task);
        }
        let Some(framework) = self.framework_mut(framework) else { return };
        let Some(record) = framework.tasks.remove(task) else { return };
        framework.unreachable.insert(task.clone(), record);
        while framework.unreachable.len() > model::limits::COMPLETED_TASKS {
            let Some((first, _)) = framework.unreachable.get_min().cloned() else { break };
            framework.unreachable.remove(&first);
        }
    }

    /// What was unreachable on an agent that never returns has ended.
    fn complete_unreachable(&mut self, id: &AgentId) {
        let frameworks: Vec<FrameworkId> = self.leader.tables.frameworks.keys().cloned().collect();
        for name in frameworks {
            let Some(framework) = self.framework(&name) else { continue };
            let lost: Vec<TaskId> = framework
                .unreachable
                .values()
                .filter(|task| task.agent == *id)
                .map(|task| task.id.clone())
                .collect();
            for task in lost {
                let state = self.told(&name, TaskState::GoneByOperator);
                let reason = if state == TaskState::GoneByOperator {
                    Why::AgentRemovedByOperator
                } else {
                    Why::AgentRemoved
                };
                let status = self.master_status(&task, Some(id), state, reason, "Agent has been marked gone");
                self.book_and_tell(&name, &task, state, status);
                let Some(framework) = self.framework_mut(&name) else { continue };
                let Some(record) = framework.unreachable.remove(&task) else { continue };
                super::status::push_completed(framework, record);
            }
        }
    }

    fn fail_agent(&mut self, id: &AgentId) {
        let connected: Vec<FrameworkId> = self
            .leader
            .tables
            .frameworks
            .values()
            .filter(|framework| framework.connected())
            .map(|framework| framework.id.clone())
            .collect();
        for framework in connected {
            self.event(&framework, SchedulerEvent::Failure { agent: id.clone(), executor: None });
        }
    }
}

/// The agent's description as everybody else sees it: with its id.
fn with_id(info: &Arc<AgentInfo>, id: &AgentId) -> Arc<AgentInfo> {
    let mut info = Arc::clone(info);
    Arc::make_mut(&mut info).id = Some(id.into());
    info
}
