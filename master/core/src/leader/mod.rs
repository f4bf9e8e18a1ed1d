//! The soft state of a leading master: connections, offers, tasks. Rebuilt after each election from what agents and
//! schedulers report; nothing in it would be missed.
//!
//! This file only dispatches; each command has its own, and each file adds its methods to [`Turn`].

mod accept;
mod activity;
mod adopt;
mod agents;
mod allocation;
mod change;
mod claims;
mod collect;
mod counters;
mod decline;
mod depart;
mod drain;
mod explain;
mod inverse;
mod kill;
mod maintenance;
mod operations;
mod operator;
mod proposals;
mod quota;
mod reconcile;
mod recovery;
mod room;
mod state_api;
mod status;
mod streams;
mod subscribe;
mod teardown;
mod timers;
mod validate;
mod validate_group;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, FrameworkId};
use model::resources::Bag;
use model::time::Time;
use wire::v1::MasterInfo;

use crate::alloc::Allocator;
use crate::call::{FrameworkCall, Verb};
use crate::effect::{AgentOrder, AgentRefusal, Effect, Observation, Reason, Reply};
use crate::input::{Input, LinkId, Peer, RequestId, Role, StreamId, Term};
use crate::refusal::Refusal;
use crate::registry::{Expiry, Registry};
use crate::report::AgentReport;
use crate::settings::Settings;
use crate::snapshot::{Agent, Framework, Snapshot, Tables};

pub use activity::Activity;
pub use counters::Counters;

use agents::{Link, Pulses};
use inverse::Inverse;
use proposals::Proposals;
use recovery::Reaper;
use state_api::Reads;
use streams::Streams;
use timers::{Timer, Timers};

/// Everything but the registry and the allocator.
#[derive(Debug)]
pub struct Leader {
    settings: Settings,
    standing: Standing,
    tables: Tables,
    streams: Streams,
    links: BTreeMap<LinkId, Link>,
    pulses: Pulses,
    proposals: Proposals,
    reads: Reads,
    timers: Timers,
    reaper: Reaper,
    inverse: Inverse,
    /// What was given for what by operations that an agent refused, while another has changed it further.
    undone: BTreeMap<AgentId, Vec<(Bag, Bag)>>,
    /// Operators who wait for an agent to say how their operation ended, by its uuid, and since when.
    asked: BTreeMap<Bytes, (RequestId, Time)>,
    leases: Expiry,
    counters: Counters,
    serial: Serial,
}

/// What this master may do.
#[derive(Debug)]
enum Standing {
    Leading(Reign),
    /// `leader` is where to go instead, when known.
    Idle {
        leader: Option<Arc<str>>,
    },
}

/// One leadership.
#[derive(Debug)]
struct Reign {
    term: Term,
    master: Arc<MasterInfo>,
    elected_at: Time,
}

/// Counters behind ids. Those of frameworks, agents and offers start anew with each leadership, whose uuid is part of
/// the id; tickets and barriers never do.
#[derive(Debug, Default)]
struct Serial {
    framework: u64,
    agent: u64,
    offer: u64,
    operation: u64,
    ticket: u64,
    barrier: u64,
}

impl Leader {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            standing: Standing::Idle { leader: None },
            tables: Tables::default(),
            streams: Streams::default(),
            links: BTreeMap::new(),
            pulses: Pulses::default(),
            proposals: Proposals::default(),
            reads: Reads::default(),
            timers: Timers::default(),
            reaper: Reaper::default(),
            inverse: Inverse::default(),
            undone: BTreeMap::new(),
            asked: BTreeMap::new(),
            leases: Expiry::default(),
            counters: Counters::default(),
            serial: Serial::default(),
        }
    }

    pub(crate) fn leads(&self) -> Option<Term> {
        match &self.standing {
            Standing::Leading(reign) => Some(reign.term),
            Standing::Idle { .. } => None,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Operators who listen.
    pub(crate) fn operators(&self) -> usize {
        self.streams.operators()
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.timers.next(), self.leases.next_deadline()].into_iter().flatten().min()
    }
}

/// One step of the master: its parts, the time, and where effects go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    pub(crate) view: &'a mut Registry,
    pub(crate) leader: &'a mut Leader,
    pub(crate) allocator: &'a mut Allocator,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Wake => self.wake(),
            Input::Role(role) => self.role(role),
            Input::Applied { ticket, outcome, view, .. } => self.applied(ticket, outcome, view),
            Input::Lost(ticket) => self.failed(ticket, Refusal::Unknown),
            Input::Busy(ticket) => self.failed(ticket, Refusal::Busy),
            Input::Passed(barrier) => self.passed(barrier),
            Input::Refuted(barrier) => self.refuted(barrier),
            Input::Subscribe { request, stream, header, principal, call } => {
                if self.leads_or_refuses(request) {
                    self.subscribe(request, stream, header, principal, call);
                }
            }
            Input::Scheduler { request, stream, principal, call } => {
                if self.leads_or_refuses(request) {
                    self.framework_call(request, stream, principal, call);
                }
            }
            Input::Operator { request, call } => {
                if self.leads_or_refuses(request) {
                    self.operator_call(request, call);
                }
            }
            Input::State { request, stream, call } => {
                if self.leads_or_refuses(request) {
                    self.state_call(request, stream, call);
                }
            }
            Input::Agent { link, report } => self.agent_report(link, report),
            Input::Reached(stream) => self.mark_reached(&stream),
            Input::Closed(Peer::Stream(stream)) => self.stream_closed(&stream),
            Input::Closed(Peer::Link(link)) => self.link_closed(link),
        }
    }

    fn wake(&mut self) {
        if self.leader.leads().is_none() {
            return;
        }
        for timer in self.leader.timers.due(self.now) {
            match timer {
                Timer::Pulse => self.pulse(),
                Timer::Reap => self.reap(),
                Timer::Recovery => self.recovery_closes(),
                Timer::Collect => self.collect(),
                Timer::Heartbeat(stream) => self.heartbeat(&stream),
                Timer::Failover(framework) => self.failover_timed_out(framework),
                Timer::Offer(offer) => self.offer_timed_out(&offer),
                // They are asked below, after the offers that tell of it.
                Timer::Inverse => {}
                Timer::TakeDown(agent) => self.take_down(agent),
                Timer::InverseAgain(agent, _) => self.ask_about(&agent),
            }
        }
        self.expire_leases();
        self.allocate();
        self.ask_inverse();
    }

    fn role(&mut self, role: Role) {
        match role {
            Role::Leading { term, .. } if self.leader.leads() == Some(term) => {}
            Role::Leading { term, master, view } => {
                self.abdicate(None);
                *self.view = view;
                self.reign(term, master);
            }
            Role::Following { leader } => self.abdicate(Some(leader)),
            Role::Candidate => self.abdicate(None),
        }
    }

    /// Takes office. The view holds every fact committed by earlier leaders, since leading is only reported when the
    /// first entry of the own term was applied.
    fn reign(&mut self, term: Term, master: Arc<MasterInfo>) {
        self.leader.standing = Standing::Leading(Reign { term, master, elected_at: self.now });
        self.out.push(Effect::Observe(Observation::Leading { term }));
        self.apply_weights();
        self.apply_quotas();
        self.leader.streams.looked = self.view.index();
        self.leader.leases = Expiry::lead(self.now, self.view);
        self.recover();
        self.leader.timers.set(Timer::Pulse, self.now);
        self.leader.timers.set(Timer::Collect, self.now + collect::EVERY);
    }

    /// Leaves office, or learns about another's: whoever waits is told to go elsewhere, and all soft state is dropped.
    /// What was proposed may yet take effect.
    fn abdicate(&mut self, leader: Option<Arc<str>>) {
        if self.leader.leads().is_some() {
            self.resign();
        }
        self.leader.standing = Standing::Idle { leader };
    }

    fn resign(&mut self) {
        self.fail_all_proposals();
        self.fail_all_reads();
        self.fail_all_changes();
        self.close_all_streams(Reason::Deposed);
        for link in std::mem::take(&mut self.leader.links).into_keys() {
            self.out.push(Effect::Close { peer: Peer::Link(link), reason: Reason::Deposed });
        }
        let old = std::mem::replace(self.leader, Leader::new(self.leader.settings.clone()));
        self.leader.counters = old.counters;
        self.leader.serial =
            Serial { ticket: old.serial.ticket, barrier: old.serial.barrier, ..Serial::default() };
        *self.allocator = Allocator::default();
    }

    fn leads_or_refuses(&mut self, request: RequestId) -> bool {
        let leads = self.leader.leads().is_some();
        if !leads {
            self.answer(request, Err(Refusal::NotLeading));
        }
        leads
    }

    /// Steps 13 to 20 of the ladder (spec mesos-v1, section 1.5), then the call itself.
    fn framework_call(
        &mut self,
        request: RequestId,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
        call: FrameworkCall,
    ) {
        let FrameworkCall { framework, verb } = call;
        let admitted = self
            .admit_call(&framework, stream.as_ref(), principal.as_deref())
            .and_then(|()| self.admit_questions(stream.as_ref(), &verb));
        if let Err(refusal) = admitted {
            return self.answer(request, Err(refusal));
        }
        self.leader.counters.call(&verb);
        if let Some(name) = activity::call(&verb) {
            self.tally(&framework, name, 1);
        }
        // Those are answered when it is known what became of them.
        if !matches!(verb, Verb::Teardown | Verb::UpdateFramework(_) | Verb::Unknown) {
            self.answer(request, Ok(Reply::Accepted));
        }
        match verb {
            Verb::Teardown => self.teardown(request, framework),
            Verb::Accept(accept) => self.accept(&framework, accept),
            Verb::Decline { offers, refuse } => self.decline(&framework, &offers, refuse),
            Verb::Revive { roles } => self.revive(&framework, &roles),
            Verb::Suppress { roles } => self.suppress(&framework, &roles),
            Verb::Kill { task, agent, policy } => self.kill(&framework, task, agent, policy),
            Verb::Shutdown { executor, agent } => self.shutdown_executor(framework, executor, &agent),
            Verb::Acknowledge { agent, task, uuid } => self.acknowledge(framework, task, &agent, uuid),
            Verb::Reconcile { tasks } => self.reconcile(&framework, tasks),
            Verb::Message { agent, executor, data } => self.message(framework, executor, &agent, data),
            Verb::Request => {}
            Verb::AnswerInverseOffers { offers, accepted, refuse } => {
                self.answer_inverse(&framework, &offers, accepted, refuse);
            }
            Verb::AcknowledgeOperation { operation, uuid } => {
                self.acknowledge_operation(&framework, operation, &uuid);
            }
            Verb::ReconcileOperations { operations } => self.reconcile_operations(&framework, operations),
            Verb::UpdateFramework(update) => self.update_framework(request, &framework, update),
            Verb::Unknown => self.answer(request, Err(Refusal::Unsupported("Call type UNKNOWN".to_owned()))),
        }
    }

    fn agent_report(&mut self, link: LinkId, report: AgentReport) {
        let Standing::Leading(_) = &self.leader.standing else {
            let Standing::Idle { leader } = &self.leader.standing else { return };
            let refusal = AgentRefusal::NotLeader { leader: leader.clone() };
            return self.refuse_agent(link, refusal);
        };
        if let AgentReport::Hello(hello) = report {
            return self.hello(link, hello);
        }
        let Some(agent) = self.heard(link) else { return };
        match report {
            AgentReport::Hello(_) => {}
            AgentReport::Pong { sequence } => self.answered(&agent, sequence),
            AgentReport::Status { framework, task, status, state, latest } => {
                self.status_reported(&agent, framework, &task, status, state, latest);
            }
            AgentReport::Message { framework, executor, data } => {
                self.executor_message(&agent, &framework, executor, data);
            }
            AgentReport::ExecutorExit { framework, executor, status } => {
                self.executor_exited(&agent, &framework, executor, status);
            }
            AgentReport::Fenced { highest_term } => self.fenced(Some(agent), highest_term),
            AgentReport::Resources { total } => self.totals_changed(&agent, total),
            AgentReport::Goodbye { tasks_killed } => self.goodbye(link, &agent, tasks_killed),
            AgentReport::Operation(report) => self.operation_reported(&agent, *report),
        }
    }

    // --- what every file needs

    fn answer(&mut self, request: RequestId, result: Result<Reply, Refusal>) {
        self.out.push(Effect::Answer { request, result });
    }

    fn observe(&mut self, observation: Observation) {
        self.out.push(Effect::Observe(observation));
    }

    fn framework(&self, id: &FrameworkId) -> Option<&Arc<Framework>> {
        self.leader.tables.frameworks.get(id)
    }

    fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.leader.tables.frameworks.get_mut(id).map(Arc::make_mut)
    }

    fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.leader.tables.agents.get(id)
    }

    fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.leader.tables.agents.get_mut(id).map(Arc::make_mut)
    }

    /// Sends an order if the agent is connected; whether it was.
    fn order(&mut self, agent: &AgentId, order: AgentOrder) -> bool {
        let Some(link) = self.agent(agent).and_then(|agent| agent.link) else { return false };
        self.order_on(link, order);
        true
    }

    fn order_on(&mut self, link: LinkId, order: AgentOrder) {
        let term = self.leader.leads().unwrap_or_default();
        self.out.push(Effect::Order { link, term, order });
    }

    /// The uuid of this leadership, with which the ids it gives start.
    fn uuid(&self) -> &str {
        match &self.leader.standing {
            Standing::Leading(reign) => &reign.master.id,
            Standing::Idle { .. } => "",
        }
    }

    /// All there is to see, for a reader elsewhere.
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let Standing::Leading(reign) = &self.leader.standing else { return None };
        Some(Arc::new(Snapshot {
            at: self.now,
            elected_at: reign.elected_at,
            master: Arc::clone(&reign.master),
            tables: self.leader.tables.clone(),
            registry: self.view.clone(),
        }))
    }
}
