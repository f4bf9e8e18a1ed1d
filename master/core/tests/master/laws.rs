//! What holds whatever happens: random conversations with frameworks that come and go, agents that fall silent and
//! return, masters that fail, and a log that takes its time.
//!
//! * per agent, what is offered and used is never more than there is, and with nothing under way the agent agrees;
//! * a task is sent to an agent at most once, and each task of an ACCEPT is either sent or answered for;
//! * each request is answered once;
//! * a framework and the master agree about which offers and inverse offers are open;
//! * what is neither used nor offered is free in the allocator's books, which never contradict the leader's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use master_core::call::{Change, ChangeKind, OperatorCall};
use master_core::effect::{AgentOrder, Effect, SchedulerEvent};
use master_core::input::{LinkId, Peer, RequestId, StreamId};
use master_core::registry::{MaintenanceCommand, Unavailability, Window};
use master_core::render::{agent_offered, agent_usage};
use master_core::settings::Settings;
use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::resources::{Bag, Form};
use model::task::TaskState;
use model::time::Span;
use proptest::prelude::*;
use wire::link::to_master::Frame;
use wire::scheduler::Call;
use wire::scheduler::call::{self, Type};
use wire::v1::{self, OperationState, offer::operation::Type as OperationType};

use crate::world::World;
use crate::world::script::{resources, task_info, uuid};

const TOTAL: &str = "cpus:4;mem:4096;ports:[31000-31009]";

#[derive(Clone, Debug)]
enum Step {
    Subscribe {
        framework: usize,
    },
    HangUp {
        framework: usize,
    },
    Teardown {
        framework: usize,
    },
    /// Takes an open offer for a task that needs so much of it.
    Accept {
        framework: usize,
        offer: usize,
        tenths: u32,
        refuse: u32,
    },
    AcceptNonsense {
        framework: usize,
    },
    Decline {
        framework: usize,
        offer: usize,
        refuse: u32,
    },
    Revive {
        framework: usize,
    },
    Suppress {
        framework: usize,
    },
    Kill {
        framework: usize,
        task: usize,
    },
    Reconcile {
        framework: usize,
    },
    /// An agent's task moves on, and says so.
    Advance {
        agent: usize,
        task: usize,
        to: usize,
    },
    Dial {
        agent: usize,
    },
    Drop {
        agent: usize,
    },
    Silence {
        agent: usize,
    },
    Unsilence {
        agent: usize,
    },
    Gone {
        agent: usize,
    },
    /// Reserves of an open offer.
    Reserve {
        framework: usize,
        offer: usize,
        tenths: u32,
    },
    /// The operator reserves, or the other way.
    Change {
        agent: usize,
        reserve: bool,
        tenths: u32,
    },
    Drain {
        agent: usize,
        mark_gone: bool,
    },
    Reactivate {
        agent: usize,
    },
    /// The machines up to this one are to be away.
    Plan {
        machines: usize,
        start: i64,
    },
    Down {
        agent: usize,
    },
    Up {
        agent: usize,
    },
    AnswerInverse {
        framework: usize,
        accepted: bool,
    },
    /// An agent gets to the operations it was sent.
    Operate {
        agent: usize,
    },
    /// The agent kills its tasks and ends.
    Goodbye {
        agent: usize,
    },
    Pass {
        millis: u64,
    },
    Hold,
    Release,
    FailOver,
}

fn step() -> impl Strategy<Value = Step> {
    let (framework, agent) = (0..3usize, 0..3usize);
    prop_oneof![
        4 => framework.clone().prop_map(|framework| Step::Subscribe { framework }),
        2 => framework.clone().prop_map(|framework| Step::HangUp { framework }),
        1 => framework.clone().prop_map(|framework| Step::Teardown { framework }),
        12 => (framework.clone(), 0..4usize, 1..60u32, 0..3u32)
            .prop_map(|(framework, offer, tenths, refuse)| Step::Accept { framework, offer, tenths, refuse }),
        1 => framework.clone().prop_map(|framework| Step::AcceptNonsense { framework }),
        3 => (framework.clone(), 0..4usize, 0..3u32)
            .prop_map(|(framework, offer, refuse)| Step::Decline { framework, offer, refuse }),
        2 => framework.clone().prop_map(|framework| Step::Revive { framework }),
        1 => framework.clone().prop_map(|framework| Step::Suppress { framework }),
        3 => (framework.clone(), 0..8usize).prop_map(|(framework, task)| Step::Kill { framework, task }),
        1 => framework.clone().prop_map(|framework| Step::Reconcile { framework }),
        4 => (framework.clone(), 0..4usize, 1..20u32)
            .prop_map(|(framework, offer, tenths)| Step::Reserve { framework, offer, tenths }),
        1 => (framework, any::<bool>())
            .prop_map(|(framework, accepted)| Step::AnswerInverse { framework, accepted }),
        4 => (agent.clone(), any::<bool>(), 1..20u32)
            .prop_map(|(agent, reserve, tenths)| Step::Change { agent, reserve, tenths }),
        1 => (agent.clone(), any::<bool>()).prop_map(|(agent, mark_gone)| Step::Drain { agent, mark_gone }),
        1 => agent.clone().prop_map(|agent| Step::Reactivate { agent }),
        1 => (0..4usize, 0..3i64).prop_map(|(machines, start)| Step::Plan { machines, start }),
        1 => agent.clone().prop_map(|agent| Step::Down { agent }),
        1 => agent.clone().prop_map(|agent| Step::Up { agent }),
        1 => agent.clone().prop_map(|agent| Step::Goodbye { agent }),
        4 => agent.clone().prop_map(|agent| Step::Operate { agent }),
        12 => (agent.clone(), 0..8usize, 0..4usize).prop_map(|(agent, task, to)| Step::Advance { agent, task, to }),
        6 => agent.clone().prop_map(|agent| Step::Dial { agent }),
        2 => agent.clone().prop_map(|agent| Step::Drop { agent }),
        2 => agent.clone().prop_map(|agent| Step::Silence { agent }),
        2 => agent.clone().prop_map(|agent| Step::Unsilence { agent }),
        1 => agent.prop_map(|agent| Step::Gone { agent }),
        6 => (0..9_000u64).prop_map(|millis| Step::Pass { millis }),
        2 => Just(Step::Hold),
        4 => Just(Step::Release),
        1 => Just(Step::FailOver),
    ]
}

#[derive(Default)]
struct Machine {
    id: Option<AgentId>,
    link: Option<u64>,
    /// What it runs, or has run and not heard the last acknowledgement of.
    tasks: BTreeMap<(FrameworkId, TaskId), (v1::TaskInfo, TaskState)>,
    /// What its resources have become; nothing yet when absent.
    changed: Option<Bag>,
    /// Operations it has been sent and has not got to.
    waiting: Vec<(Option<FrameworkId>, Bytes, Arc<v1::offer::Operation>)>,
    /// How operations ended, until that is acknowledged.
    ended: BTreeMap<Bytes, wire::link::OperationReport>,
    silent: bool,
}

impl Machine {
    fn total(&self) -> Bag {
        self.changed.clone().unwrap_or_else(|| Bag::from_wire(&resources(TOTAL)).expect("resources"))
    }
}

#[derive(Default)]
struct Scheduler {
    id: Option<FrameworkId>,
    stream: Option<StreamId>,
    offers: BTreeMap<OfferId, AgentId>,
    asked: BTreeSet<OfferId>,
    tasks: Vec<TaskId>,
}

struct Play {
    world: World,
    machines: [Machine; 3],
    schedulers: [Scheduler; 3],
    serial: u64,
    term: u64,
    sent: BTreeSet<(FrameworkId, TaskId)>,
    answered: BTreeSet<RequestId>,
    /// Tasks of ACCEPTs not yet known to be sent or answered for.
    owed: BTreeSet<(FrameworkId, TaskId)>,
}

impl Play {
    fn new() -> Self {
        let mut world = World::new(Settings::default());
        world.lead(1, "M1");
        Self {
            world,
            machines: Default::default(),
            schedulers: Default::default(),
            serial: 0,
            term: 1,
            sent: BTreeSet::new(),
            answered: BTreeSet::new(),
            owed: BTreeSet::new(),
        }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Subscribe { framework } => self.subscribe(framework),
            Step::HangUp { framework } => {
                if let Some(stream) = self.schedulers[framework].stream.take() {
                    self.schedulers[framework].offers.clear();
                    self.schedulers[framework].asked.clear();
                    self.world.close(Peer::Stream(stream));
                }
            }
            Step::Teardown { framework } => {
                self.call(framework, Call { r#type: Some(Type::Teardown.into()), ..Call::default() })
            }
            Step::Accept { framework, offer, tenths, refuse } => {
                self.accept(framework, offer, tenths, refuse)
            }
            Step::AcceptNonsense { framework } => {
                let id = self.new_task(framework);
                let accept = accept(vec!["nowhere-O1".to_owned()], task_info(&id, "nowhere", "cpus:1"), 0);
                self.owe(framework, &id);
                self.call(framework, accept);
            }
            Step::Decline { framework, offer, refuse } => {
                let scheduler = &mut self.schedulers[framework];
                let Some(id) = scheduler.offers.keys().nth(offer).cloned() else { return };
                scheduler.offers.remove(&id);
                let decline = call::Decline {
                    offer_ids: vec![(&id).into()],
                    filters: Some(v1::Filters { refuse_seconds: Some(f64::from(refuse)) }),
                };
                self.call(
                    framework,
                    Call { r#type: Some(Type::Decline.into()), decline: Some(decline), ..Call::default() },
                );
            }
            Step::Revive { framework } => {
                self.call(framework, Call { r#type: Some(Type::Revive.into()), ..Call::default() })
            }
            Step::Suppress { framework } => {
                self.call(framework, Call { r#type: Some(Type::Suppress.into()), ..Call::default() })
            }
            Step::Kill { framework, task } => {
                let Some(task) = self.schedulers[framework].tasks.get(task).cloned() else { return };
                let kill = call::Kill { task_id: (&task).into(), ..call::Kill::default() };
                self.call(
                    framework,
                    Call { r#type: Some(Type::Kill.into()), kill: Some(kill), ..Call::default() },
                );
            }
            Step::Reconcile { framework } => {
                let reconcile = Some(call::Reconcile::default());
                self.call(
                    framework,
                    Call { r#type: Some(Type::Reconcile.into()), reconcile, ..Call::default() },
                );
            }
            Step::Advance { agent, task, to } => self.advance(agent, task, to),
            Step::Dial { agent } => self.dial(agent),
            Step::Drop { agent } => {
                if let Some(link) = self.machines[agent].link.take() {
                    self.world.close(Peer::Link(LinkId(link)));
                }
            }
            Step::Silence { agent } | Step::Unsilence { agent } => {
                let machine = &mut self.machines[agent];
                machine.silent = matches!(step, Step::Silence { .. });
                let Some(link) = machine.link else { return };
                if machine.silent {
                    self.world.silent.insert(link);
                } else {
                    self.world.silent.remove(&link);
                }
            }
            Step::Gone { agent } => {
                if let Some(id) = self.machines[agent].id.clone() {
                    let request = self.world.operator(OperatorCall::MarkAgentGone(id));
                    let _ = request;
                }
            }
            Step::Reserve { framework, offer, tenths } => self.reserve(framework, offer, tenths),
            Step::Change { agent, reserve, tenths } => self.change(agent, reserve, tenths),
            Step::Drain { agent, mark_gone } => {
                if let Some(agent) = self.machines[agent].id.clone() {
                    self.world.operator(OperatorCall::Drain { agent, max_grace: None, mark_gone });
                }
            }
            Step::Reactivate { agent } => {
                if let Some(agent) = self.machines[agent].id.clone() {
                    self.world.operator(OperatorCall::Deactivate { agent, deactivated: false });
                }
            }
            Step::Plan { machines, start } => {
                let machines: Vec<_> = (0..machines).map(machine).collect();
                let unavailability = Unavailability { start, duration: None };
                let windows = match machines.is_empty() {
                    true => Vec::new(),
                    false => vec![Window { machines, unavailability }],
                };
                self.world.operator(OperatorCall::Maintain(MaintenanceCommand::Schedule { windows }));
            }
            Step::Down { agent } => {
                let machines = vec![machine(agent)];
                self.world.operator(OperatorCall::Maintain(MaintenanceCommand::Down { machines }));
            }
            Step::Up { agent } => {
                let machines = vec![machine(agent)];
                self.world.operator(OperatorCall::Maintain(MaintenanceCommand::Up { machines }));
            }
            Step::AnswerInverse { framework, accepted } => self.answer_inverse(framework, accepted),
            Step::Operate { agent } => {
                let machine = &mut self.machines[agent];
                let Some(link) = machine.link else { return };
                for (framework, uuid, operation) in std::mem::take(&mut machine.waiting) {
                    self.operate(agent, link, framework.as_ref(), uuid, &operation);
                }
            }
            Step::Goodbye { agent } => {
                let machine = &mut self.machines[agent];
                machine.tasks.clear();
                if let Some(link) = machine.link {
                    let goodbye = wire::link::Goodbye { tasks_killed: true };
                    self.world.frame(link, Frame::Goodbye(goodbye));
                }
            }
            Step::Pass { millis } => self.world.pass(Span::from_millis(millis)),
            Step::Hold => self.world.hold = true,
            Step::Release => self.world.release(),
            Step::FailOver => self.fail_over(),
        }
        self.listen();
    }

    fn subscribe(&mut self, framework: usize) {
        let stream = StreamId(format!("s{}", self.next()).as_str().into());
        let scheduler = &mut self.schedulers[framework];
        scheduler.offers.clear();
        scheduler.asked.clear();
        scheduler.stream = Some(stream.clone());
        let info = v1::FrameworkInfo {
            user: "root".to_owned(),
            name: format!("f{framework}"),
            id: scheduler.id.as_ref().map(Into::into),
            failover_timeout: Some(framework as f64 * 4.0),
            role: (framework < 2).then(|| "r".to_owned()),
            ..v1::FrameworkInfo::default()
        };
        let subscribe = call::Subscribe { framework_info: info, ..call::Subscribe::default() };
        let call =
            Call { r#type: Some(Type::Subscribe.into()), subscribe: Some(subscribe), ..Call::default() };
        self.world.scheduler(&stream, None, call).expect("a whole call");
    }

    /// Sends a call on behalf of a framework that thinks it is subscribed.
    fn call(&mut self, framework: usize, mut call: Call) {
        let scheduler = &self.schedulers[framework];
        let (Some(id), Some(stream)) = (scheduler.id.clone(), scheduler.stream.clone()) else { return };
        call.framework_id = Some((&id).into());
        self.world.scheduler(&stream, Some(stream.clone()), call).expect("a whole call");
    }

    fn new_task(&mut self, framework: usize) -> String {
        let id = format!("t{}", self.next());
        self.schedulers[framework].tasks.push(id.as_str().into());
        id
    }

    fn owe(&mut self, framework: usize, task: &str) {
        let scheduler = &self.schedulers[framework];
        let current = scheduler.id.as_ref().and_then(|id| {
            let snapshot = self.world.snapshot();
            let record = snapshot.tables.frameworks.get(id)?.clone();
            (record.connected() && record.stream == scheduler.stream).then(|| id.clone())
        });
        if let Some(id) = current {
            self.owed.insert((id, task.into()));
        }
    }

    fn accept(&mut self, framework: usize, offer: usize, tenths: u32, refuse: u32) {
        let scheduler = &mut self.schedulers[framework];
        let Some((id, agent)) =
            scheduler.offers.iter().nth(offer).map(|(id, agent)| (id.clone(), agent.clone()))
        else {
            return;
        };
        scheduler.offers.remove(&id);
        let task = self.new_task(framework);
        let amount = format!("cpus:{};mem:{}", f64::from(tenths) / 10.0, tenths * 10);
        self.owe(framework, &task);
        self.call(framework, accept(vec![id.to_string()], task_info(&task, agent.as_str(), &amount), refuse));
    }

    fn reserve(&mut self, framework: usize, offer: usize, tenths: u32) {
        let scheduler = &mut self.schedulers[framework];
        let Some(id) = scheduler.offers.keys().nth(offer).cloned() else { return };
        scheduler.offers.remove(&id);
        let operation = v1::offer::Operation {
            id: Some(v1::OperationId { value: format!("o{}", self.next()) }),
            r#type: Some(OperationType::Reserve.into()),
            reserve: Some(v1::offer::operation::Reserve { resources: reserved(tenths), source: Vec::new() }),
            ..v1::offer::Operation::default()
        };
        let accept = call::Accept {
            offer_ids: vec![(&id).into()],
            operations: vec![operation],
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        };
        self.call(
            framework,
            Call { r#type: Some(Type::Accept.into()), accept: Some(accept), ..Call::default() },
        );
    }

    fn change(&mut self, agent: usize, reserve: bool, tenths: u32) {
        let Some(agent) = self.machines[agent].id.clone() else { return };
        let kind = if reserve { ChangeKind::Reserve } else { ChangeKind::Unreserve };
        let change = Change { kind, resources: Bag::from_wire(&reserved(tenths)), sourced: false };
        self.world.operator(OperatorCall::Change { agent, change });
    }

    fn answer_inverse(&mut self, framework: usize, accepted: bool) {
        let Some(offer) = self.schedulers[framework].asked.pop_first() else { return };
        let inverse_offer_ids = vec![(&offer).into()];
        let call = if accepted {
            let accept = call::AcceptInverseOffers { inverse_offer_ids, filters: None };
            Call {
                r#type: Some(Type::AcceptInverseOffers.into()),
                accept_inverse_offers: Some(accept),
                ..Call::default()
            }
        } else {
            let decline = call::DeclineInverseOffers { inverse_offer_ids, filters: None };
            Call {
                r#type: Some(Type::DeclineInverseOffers.into()),
                decline_inverse_offers: Some(decline),
                ..Call::default()
            }
        };
        self.call(framework, call);
    }

    fn dial(&mut self, agent: usize) {
        let link = self.next();
        let machine = &mut self.machines[agent];
        let old = machine.link.replace(link);
        // Orders are lost with their link.
        machine.waiting.clear();
        let tasks = machine.tasks.iter().map(|((framework, _), (info, state))| wire::link::TaskRecord {
            framework_id: framework.into(),
            info: info.clone(),
            latest_state: (*state).into(),
            forwarded: None,
            executor_id: None,
        });
        let hello = wire::link::Hello {
            agent_id: machine.id.as_ref().map(Into::into),
            info: v1::AgentInfo {
                hostname: format!("host{agent}"),
                port: Some(5051),
                resources: resources(TOTAL),
                ..v1::AgentInfo::default()
            },
            version: "0.1.0".to_owned(),
            highest_term: self.term,
            tasks: tasks.collect(),
            checkpointed_resources: machine.total().to_wire(Form::Stack),
            operations: machine.ended.values().cloned().collect(),
            ..wire::link::Hello::default()
        };
        if machine.silent {
            self.world.silent.insert(link);
        }
        // The old link is noticed to be dead before or after the new one, as it happens.
        if let Some(old) = old.filter(|old| old % 2 == 0) {
            self.world.close(Peer::Link(LinkId(old)));
        }
        self.world.frame(link, Frame::Hello(hello));
    }

    fn advance(&mut self, agent: usize, task: usize, to: usize) {
        let machine = &mut self.machines[agent];
        let Some(link) = machine.link else { return };
        let Some(((framework, id), (_, state))) = machine.tasks.iter_mut().nth(task) else { return };
        let next = [TaskState::Starting, TaskState::Running, TaskState::Finished, TaskState::Failed][to];
        if state.may_become(next) {
            *state = next;
        }
        let (framework, id, state) = (framework.clone(), id.clone(), *state);
        self.report(link, &framework, &id, state);
    }

    fn report(&mut self, link: u64, framework: &FrameworkId, task: &TaskId, state: TaskState) {
        let status = v1::TaskStatus {
            task_id: task.into(),
            state: state.into(),
            uuid: Some(uuid(self.next())),
            ..v1::TaskStatus::default()
        };
        let report =
            wire::link::StatusReport { framework_id: framework.into(), status, latest_state: state.into() };
        self.world.frame(link, Frame::Status(report));
    }

    fn fail_over(&mut self) {
        self.world.hold = false;
        self.world.fail_over(Settings::default());
        self.term += 1;
        self.world.lead(self.term, &format!("M{}", self.term));
        for machine in &mut self.machines {
            machine.link = None;
        }
        for scheduler in &mut self.schedulers {
            scheduler.stream = None;
            scheduler.offers.clear();
            scheduler.asked.clear();
        }
    }

    /// Everybody reads what the master sent, and does what it says.
    fn listen(&mut self) {
        loop {
            let effects = std::mem::take(&mut self.world.effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Answer { request, .. } => {
                        assert!(self.answered.insert(request), "request {} was answered twice", request.0);
                    }
                    Effect::Event { stream, event } => self.hear(&stream, event),
                    Effect::Order { link, order, .. } => self.obey(link.0, order),
                    Effect::Close { peer: Peer::Link(link), .. } => {
                        for machine in &mut self.machines {
                            machine.link = machine.link.filter(|own| *own != link.0);
                        }
                    }
                    Effect::Close { peer: Peer::Stream(stream), .. } => {
                        for scheduler in &mut self.schedulers {
                            if scheduler.stream.as_ref() == Some(&stream) {
                                scheduler.stream = None;
                                scheduler.offers.clear();
                                scheduler.asked.clear();
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn hear(&mut self, stream: &StreamId, event: SchedulerEvent) {
        let Some(at) = self.schedulers.iter().position(|scheduler| scheduler.stream.as_ref() == Some(stream))
        else {
            return;
        };
        let scheduler = &mut self.schedulers[at];
        match event {
            SchedulerEvent::Subscribed { framework, .. } => scheduler.id = Some(framework),
            SchedulerEvent::Offers(offers) => {
                for offer in offers {
                    let known = scheduler.offers.insert(offer.id.clone(), offer.agent.clone());
                    assert!(known.is_none(), "offer {} was made twice", offer.id);
                }
            }
            SchedulerEvent::Rescind(offer) => {
                assert!(scheduler.offers.remove(&offer).is_some(), "{offer} is rescinded and was not open");
            }
            SchedulerEvent::InverseOffers(offers) => {
                for offer in offers {
                    assert!(scheduler.asked.insert(offer.id.clone()), "{} was made twice", offer.id);
                }
            }
            SchedulerEvent::RescindInverse(offer) => {
                assert!(scheduler.asked.remove(&offer), "{offer} is rescinded and was not open");
            }
            SchedulerEvent::Operation(status) => {
                let (Some(uuid), Some(id)) = (status.uuid.clone(), status.operation_id.clone()) else {
                    return;
                };
                let acknowledge = call::AcknowledgeOperationStatus {
                    agent_id: status.agent_id.clone(),
                    resource_provider_id: None,
                    uuid: uuid.value,
                    operation_id: id,
                };
                let call = Call {
                    r#type: Some(Type::AcknowledgeOperationStatus.into()),
                    acknowledge_operation_status: Some(acknowledge),
                    ..Call::default()
                };
                self.call(at, call);
            }
            SchedulerEvent::Error(text) if text == "Framework has been removed" => scheduler.id = None,
            SchedulerEvent::Update(status) => {
                let task = TaskId::from(&status.task_id);
                let Some(framework) = scheduler.id.clone() else { return };
                self.owed.remove(&(framework, task));
                self.acknowledge(at, &status);
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, at: usize, status: &v1::TaskStatus) {
        let (Some(uuid), Some(agent)) = (status.uuid.clone(), status.agent_id.clone()) else { return };
        let acknowledge = call::Acknowledge { agent_id: agent, task_id: status.task_id.clone(), uuid };
        let acknowledge = Some(acknowledge);
        self.call(at, Call { r#type: Some(Type::Acknowledge.into()), acknowledge, ..Call::default() });
    }

    fn obey(&mut self, link: u64, order: AgentOrder) {
        if let AgentOrder::Run { framework, task } = &order {
            let key =
                (framework.id.as_ref().expect("a framework has an id").into(), TaskId::from(&task.task_id));
            assert!(self.sent.insert(key.clone()), "{} was sent twice", key.1);
            self.owed.remove(&key);
        }
        let Some(at) = self.machines.iter().position(|machine| machine.link == Some(link)) else { return };
        let machine = &mut self.machines[at];
        match order {
            AgentOrder::Welcome { agent, removed, .. } => {
                machine.id = Some(agent);
                machine.tasks.retain(|(framework, _), _| !removed.contains(framework));
            }
            AgentOrder::Run { framework, task } => {
                let key = (
                    framework.id.as_ref().expect("a framework has an id").into(),
                    TaskId::from(&task.task_id),
                );
                machine.tasks.insert(key, ((*task).clone(), TaskState::Staging));
            }
            AgentOrder::Kill { framework, task, .. } => {
                let Some((_, state)) = machine.tasks.get_mut(&(framework.clone(), task.clone())) else {
                    return;
                };
                if state.is_terminal() {
                    return;
                }
                *state = TaskState::Killed;
                self.report(link, &framework, &task, TaskState::Killed);
            }
            AgentOrder::Acknowledge { framework, task, .. } => {
                let key = (framework, task);
                if machine.tasks.get(&key).is_some_and(|(_, state)| state.is_terminal()) {
                    machine.tasks.remove(&key);
                }
            }
            AgentOrder::ShutdownFramework(framework) => machine.tasks.retain(|(own, _), _| *own != framework),
            AgentOrder::Operate { framework, uuid, operation } => {
                machine.waiting.push((framework, uuid, operation));
            }
            AgentOrder::AcknowledgeOperation { uuid } => {
                machine.ended.remove(&uuid);
            }
            AgentOrder::Shutdown { .. } => *machine = Machine::default(),
            _ => {}
        }
    }

    /// A machine does as it is told, or refuses: what it cannot do, and now and then what it could.
    fn operate(
        &mut self,
        at: usize,
        link: u64,
        framework: Option<&FrameworkId>,
        uuid: Bytes,
        operation: &v1::offer::Operation,
    ) {
        let number = self.next();
        let machine = &mut self.machines[at];
        let total = machine.total();
        let bag = |resources: &[v1::Resource]| Bag::from_wire(resources).expect("resources");
        let made = match (&operation.reserve, &operation.unreserve) {
            (Some(reserve), _) if !number.is_multiple_of(3) => {
                total.reserve_as(&bag(&reserve.resources)).ok()
            }
            (None, Some(unreserve)) => total.unreserve(&bag(&unreserve.resources)).ok(),
            _ => None,
        };
        let state = match made {
            Some(made) => {
                machine.changed = Some(made);
                OperationState::OperationFinished
            }
            None => OperationState::OperationError,
        };
        let report = wire::link::OperationReport {
            framework_id: framework.map(Into::into),
            status: v1::OperationStatus {
                operation_id: operation.id.clone(),
                state: state.into(),
                uuid: Some(v1::Uuid { value: crate::world::script::uuid(number) }),
                ..v1::OperationStatus::default()
            },
            operation_uuid: uuid.clone(),
            operation: None,
        };
        machine.ended.insert(uuid, report.clone());
        self.world.frame(link, Frame::Operation(report));
    }

    fn check(&mut self) {
        let snapshot = self.world.snapshot();
        let tables = &snapshot.tables;
        for agent in tables.agents.values() {
            let total = &agent.total;
            let machine = self.machines.iter().find(|machine| machine.id.as_ref() == Some(&agent.id));
            let waits = |uuid: &Bytes| tables.operations[uuid].state == OperationState::OperationPending;
            if let Some(machine) =
                machine.filter(|_| agent.link.is_some() && !agent.operations.iter().any(waits))
            {
                assert_eq!(*total, machine.total(), "what {} has", agent.id);
            }
            let held = (agent_usage(tables, agent) + &agent_offered(tables, agent)).unallocate();
            assert!(total.contains(&held), "agent {} holds {held} of {total}", agent.id);
            let free = self.world.master.allocator().free(&agent.id);
            assert_eq!(free, Some(&total.without(&held)), "what is not held of {} is free", agent.id);
            for (framework, task) in &agent.tasks {
                let record = tables.frameworks.get(framework).and_then(|framework| framework.tasks.get(task));
                assert_eq!(
                    record.map(|task| &task.agent),
                    Some(&agent.id),
                    "{task} is in the agent's list alone"
                );
            }
            assert!(agent.link.is_some() || agent.offers.is_empty(), "{} is away and offered", agent.id);
        }
        let mut open = 0;
        for framework in tables.frameworks.values() {
            open += framework.offers.len();
            for task in framework.tasks.values() {
                let home = tables.agents.get(&task.agent);
                let listed =
                    home.is_some_and(|agent| agent.tasks.contains(&(framework.id.clone(), task.id.clone())));
                assert!(listed, "{} is not in the list of its agent {}", task.id, task.agent);
            }
            assert!(
                framework.connected() || framework.offers.is_empty(),
                "{} is away and has offers",
                framework.id
            );
        }
        assert_eq!(open, tables.offers.len());
        for operation in tables.operations.values() {
            let home = tables.agents.get(&operation.agent);
            assert!(
                home.is_some_and(|agent| agent.operations.contains(&operation.uuid)),
                "an operation is not in the list of its agent {}",
                operation.agent
            );
        }
        for scheduler in &self.schedulers {
            let record = scheduler.id.as_ref().and_then(|id| tables.frameworks.get(id));
            let Some(record) =
                record.filter(|record| record.stream.is_some() && record.stream == scheduler.stream)
            else {
                continue;
            };
            let theirs: Vec<&OfferId> = record.offers.keys().collect();
            let ours: Vec<&OfferId> = scheduler.offers.keys().collect();
            assert_eq!(ours, theirs, "{} and the master disagree about its offers", record.id);
            let theirs: Vec<&OfferId> = record.inverse_offers.keys().collect();
            let ours: Vec<&OfferId> = scheduler.asked.iter().collect();
            assert_eq!(ours, theirs, "{} and the master disagree about what it was asked", record.id);
        }
        assert!(self.owed.is_empty(), "neither sent nor answered for: {:?}", self.owed);
    }
}

fn machine(agent: usize) -> master_core::registry::Machine {
    master_core::registry::Machine::new(&format!("host{agent}"), "")
}

fn reserved(tenths: u32) -> Vec<v1::Resource> {
    let mut all = resources(&format!("cpus:{}", f64::from(tenths) / 10.0));
    for resource in &mut all {
        resource.reservations = vec![v1::resource::ReservationInfo {
            r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
            role: Some("r".to_owned()),
            ..v1::resource::ReservationInfo::default()
        }];
    }
    all
}

fn accept(offers: Vec<String>, task: v1::TaskInfo, refuse: u32) -> Call {
    let launch = v1::offer::Operation {
        r#type: Some(OperationType::Launch.into()),
        launch: Some(v1::offer::operation::Launch { task_infos: vec![task] }),
        ..v1::offer::Operation::default()
    };
    let accept = call::Accept {
        offer_ids: offers.into_iter().map(|value| v1::OfferId { value }).collect(),
        operations: vec![launch],
        filters: Some(v1::Filters { refuse_seconds: Some(f64::from(refuse)) }),
    };
    Call { r#type: Some(Type::Accept.into()), accept: Some(accept), ..Call::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(steps in prop::collection::vec(step(), 1..160)) {
        let mut play = Play::new();
        for step in &steps {
            play.run(step);
            play.check();
        }
        let requests = play.world.request().0;
        play.world.release();
        play.listen();
        // Who waits for the word of an agent is answered when its link is gone, at the latest.
        for link in 0..play.next() {
            play.world.close(Peer::Link(LinkId(link)));
        }
        play.listen();
        for request in 1..requests {
            // Those asked of a master that failed were answered by its connection breaking.
            let lost = steps.iter().any(|step| matches!(step, Step::FailOver));
            prop_assert!(lost || play.answered.contains(&RequestId(request)), "request {request} was never answered");
        }
    }
}

#[test]
fn totals_are_what_the_machines_say() {
    let bag = Bag::from_wire(&resources(TOTAL)).expect("resources");
    assert_eq!(Bag::from_wire(&bag.to_wire(Form::Stack)), Ok(bag));
}
