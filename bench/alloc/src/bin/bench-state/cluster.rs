//! A whole master's core with simulated agents that run tasks: some of them end all the time, and others begin.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use master_core::call::{FrameworkCall, OperatorCall, SchedulerCall};
use master_core::effect::{AgentOrder, Effect, Reply, SchedulerEvent};
use master_core::input::{Input, LinkId, RequestId, Role, StreamId, Term};
use master_core::master::Master;
use master_core::registry::Registry;
use master_core::report::AgentReport;
use master_core::settings::Settings;
use master_core::snapshot::{Offer, Snapshot};
use model::id::FrameworkId;
use model::resources::{Bag, Form};
use model::time::Time;
use wire::link::to_master::Frame;
use wire::scheduler::call;
use wire::v1;

use crate::longest::Longest;
use crate::turns::processor_time;

#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) agents: usize,
    pub(crate) tasks_each: usize,
    pub(crate) frameworks: usize,
}

/// What each agent has, and what a task takes of it: ten of them leave nothing that is worth an offer.
const TOTAL: &str = "cpus:24;mem:65536;disk:1000000;ports:[31000-32000]";
const TASK: &str = "cpus:2.4;mem:6552";

/// What the cluster needs of one running task to end it.
struct Running {
    link: u64,
    framework: usize,
    task: v1::TaskId,
    agent: v1::AgentId,
}

pub(crate) struct Cluster {
    now: Time,
    master: Master,
    registry: Registry,
    requests: u64,
    uuids: u64,
    tasks: u64,
    changes: usize,
    frameworks: Vec<(FrameworkId, StreamId)>,
    running: Vec<Running>,
    /// Offers made and not answered.
    offers: Vec<(usize, Arc<Offer>)>,
    /// Pings that agents have not answered yet.
    pings: VecDeque<(LinkId, u64)>,
    /// The longest turns so far, by what they were taken for.
    pub(crate) longest: Longest,
}

/// Answers to pings in one change of the cluster: 100,000 a second, twice what its agents send.
const ANSWERS: usize = 100;

fn resources(text: &str) -> Vec<v1::Resource> {
    Bag::parse(text).expect("a text of this program").to_wire(Form::Stack)
}

fn scheduler(kind: call::Type, fill: impl FnOnce(&mut wire::scheduler::Call)) -> wire::scheduler::Call {
    let mut call = wire::scheduler::Call { r#type: Some(kind.into()), ..Default::default() };
    fill(&mut call);
    call
}

fn decode(frame: Frame) -> AgentReport {
    let frame = wire::link::ToMaster { frame: Some(frame) };
    AgentReport::decode(frame, &Arc::from("127.0.0.1")).expect("a report")
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            now: Time::from_secs(1_700_000_000),
            master: Master::new(Settings::default()),
            registry: Registry::default(),
            requests: 0,
            uuids: 0,
            tasks: 0,
            changes: 0,
            frameworks: Vec::new(),
            running: Vec::new(),
            offers: Vec::new(),
            pings: VecDeque::new(),
            longest: Longest::default(),
        };
        let master = Arc::new(v1::MasterInfo { id: "M".to_owned(), ip: 1, port: 5050, ..Default::default() });
        let view = cluster.registry.clone();
        cluster.feed(Input::Role(Role::Leading { term: Term(1), master, view }));
        cluster
    }

    /// Agents come, and nobody wants anything of them yet.
    pub(crate) fn register(&mut self, agents: usize) {
        for link in 0..agents as u64 {
            let info = v1::AgentInfo {
                hostname: format!("agent{link}.example"),
                port: Some(5051),
                resources: resources(TOTAL),
                ..Default::default()
            };
            let hello = wire::link::Hello { info, version: "0".to_owned(), ..Default::default() };
            self.report(link, Frame::Hello(hello));
        }
    }

    /// Frameworks come and fill all agents with tasks, which run.
    pub(crate) fn launch(&mut self, shape: Shape) {
        for number in 0..shape.frameworks {
            self.subscribe(number);
        }
        self.take_offers(shape.tasks_each);
        while self.running.len() < shape.agents * shape.tasks_each {
            self.now += model::time::Span::from_secs(1);
            let events = self.feed(Input::Wake);
            self.note(events);
            self.take_offers(shape.tasks_each);
            self.answer_pings(usize::MAX);
        }
    }

    fn subscribe(&mut self, number: usize) {
        let info = v1::FrameworkInfo {
            user: "bench".to_owned(),
            name: format!("framework {number}"),
            role: Some(format!("role{}", number % 10)),
            failover_timeout: Some(60.0),
            ..Default::default()
        };
        let call = scheduler(call::Type::Subscribe, |call| {
            call.subscribe = Some(call::Subscribe { framework_info: info, ..Default::default() });
        });
        let stream = StreamId(format!("stream{number}").into());
        let Ok(SchedulerCall::Subscribe(call)) = SchedulerCall::decode(call) else {
            panic!("a subscription was refused")
        };
        let request = self.request();
        let subscribe = Input::Subscribe { request, stream, header: None, principal: None, call };
        let events = self.feed(subscribe);
        for (own, event) in &events {
            if let SchedulerEvent::Subscribed { framework, .. } = event {
                self.frameworks.push((framework.clone(), own.clone()));
            }
        }
        self.note(events);
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn uuid(&mut self) -> Bytes {
        self.uuids += 1;
        let mut bytes = vec![0x40; 16];
        bytes[8..].copy_from_slice(&(self.uuids | 1 << 63).to_be_bytes());
        Bytes::from(bytes)
    }

    fn report(&mut self, link: u64, frame: Frame) {
        let events = self.feed(Input::Agent { link: LinkId(link), report: decode(frame) });
        self.note(events);
    }

    /// Handles an input and all that follows from it at the same moment; what schedulers are told by then.
    fn feed(&mut self, input: Input) -> Vec<(StreamId, SchedulerEvent)> {
        let mut events = Vec::new();
        self.handle(input, |effect| {
            if let Effect::Event { stream, event } = effect {
                events.push((stream, event));
            }
        });
        events
    }

    fn answer_pings(&mut self, most: usize) {
        for _ in 0..most {
            let Some((LinkId(link), sequence)) = self.pings.pop_front() else { return };
            self.report(link, Frame::Pong(wire::link::Pong { sequence }));
        }
    }

    /// The registry answers at once.
    fn handle(&mut self, input: Input, mut seen: impl FnMut(Effect)) {
        let mut inputs = vec![input];
        loop {
            let input = match inputs.pop() {
                Some(input) => input,
                None if self.master.next_deadline().is_some_and(|at| at <= self.now) => Input::Wake,
                None => return,
            };
            let mut out = Vec::new();
            let kind = Longest::kind(&input);
            let begun = processor_time();
            self.master.handle(self.now, input, &mut out);
            self.longest.note(kind, processor_time() - begun);
            for effect in out {
                match effect {
                    Effect::Propose { ticket, command } => {
                        let index = self.registry.index() + 1;
                        let outcome = self.registry.apply(index, command);
                        let view = self.registry.clone();
                        inputs.push(Input::Applied { index, ticket: Some(ticket), outcome, view });
                    }
                    Effect::Order { link, order: AgentOrder::Ping { sequence }, .. } => {
                        self.pings.push_back((link, sequence));
                    }
                    Effect::Barrier(barrier) => inputs.push(Input::Passed(barrier)),
                    other => seen(other),
                }
            }
        }
    }

    fn note(&mut self, events: Vec<(StreamId, SchedulerEvent)>) {
        for (stream, event) in events {
            let number = self.frameworks.iter().position(|(_, own)| *own == stream);
            if let (Some(number), SchedulerEvent::Offers(offers)) = (number, event) {
                self.offers.extend(offers.into_iter().map(|offer| (number, offer)));
            }
        }
    }

    /// Every offer is filled with so many tasks, which start and run, and whose updates are acknowledged.
    fn take_offers(&mut self, tasks: usize) {
        while let Some((framework, offer)) = self.offers.pop() {
            let infos: Vec<v1::TaskInfo> = (0..tasks).map(|_| self.task(&offer)).collect();
            let launch = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch.into()),
                launch: Some(v1::offer::operation::Launch { task_infos: infos.clone() }),
                ..Default::default()
            };
            let accept =
                call::Accept { offer_ids: vec![(&offer.id).into()], operations: vec![launch], filters: None };
            self.call(framework, scheduler(call::Type::Accept, |call| call.accept = Some(accept)));
            let hostname = &offer.info.hostname;
            let link = hostname.trim_start_matches("agent").trim_end_matches(".example").parse();
            let link = link.expect("a name of this program");
            for info in infos {
                let running = Running { link, framework, task: info.task_id, agent: info.agent_id };
                self.update(&running, v1::TaskState::TaskStarting);
                self.update(&running, v1::TaskState::TaskRunning);
                self.running.push(running);
            }
        }
    }

    fn task(&mut self, offer: &Offer) -> v1::TaskInfo {
        self.tasks += 1;
        v1::TaskInfo {
            name: "task".to_owned(),
            task_id: v1::TaskId { value: format!("task{}", self.tasks) },
            agent_id: (&offer.agent).into(),
            resources: resources(TASK),
            command: Some(v1::CommandInfo {
                value: Some("exec ./server --port $PORT0".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn update(&mut self, running: &Running, state: v1::TaskState) {
        let uuid = self.uuid();
        let status = v1::TaskStatus {
            task_id: running.task.clone(),
            state: state.into(),
            agent_id: Some(running.agent.clone()),
            uuid: Some(uuid.clone()),
            timestamp: Some(self.now.as_secs_f64()),
            source: Some(v1::task_status::Source::Executor.into()),
            ..Default::default()
        };
        let framework_id = (&self.frameworks[running.framework].0).into();
        let update = wire::link::StatusReport { framework_id, latest_state: status.state, status };
        self.report(running.link, Frame::Status(update));
        let acknowledge =
            call::Acknowledge { agent_id: running.agent.clone(), task_id: running.task.clone(), uuid };
        let call = scheduler(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
        self.call(running.framework, call);
    }

    fn call(&mut self, number: usize, mut call: wire::scheduler::Call) {
        let (framework, stream) = self.frameworks[number].clone();
        call.framework_id = Some((&framework).into());
        let Ok(SchedulerCall::Framework(FrameworkCall { framework, verb })) = SchedulerCall::decode(call)
        else {
            panic!("a call was refused")
        };
        let request = self.request();
        let call = FrameworkCall { framework, verb };
        let events = self.feed(Input::Scheduler { request, stream: Some(stream), principal: None, call });
        self.note(events);
    }

    /// A task ends somewhere, and the next begins where it was.
    pub(crate) fn change(&mut self) {
        self.changes += 1;
        self.now += model::time::Span::from_millis(1);
        let ended = self.running.swap_remove((self.changes * 7_919) % self.running.len());
        self.update(&ended, v1::TaskState::TaskFinished);
        self.take_offers(1);
        self.answer_pings(ANSWERS);
    }

    /// Another master is elected, and no agent comes back to it until its window has closed.
    pub(crate) fn elect_another(mut self) -> Longest {
        self.longest = Longest::default();
        self.master = Master::new(Settings::default());
        let master = Arc::new(v1::MasterInfo { id: "N".to_owned(), ip: 1, port: 5050, ..Default::default() });
        let view = self.registry.clone();
        self.handle(Input::Role(Role::Leading { term: Term(2), master, view }), |_| {});
        for _ in 0..20 {
            self.now += model::time::Span::from_secs(1);
            self.handle(Input::Wake, |_| {});
        }
        self.longest
    }

    /// All the leader knows, as its readers get it.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        let request = self.request();
        let mut found = None;
        self.handle(Input::Operator { request, call: OperatorCall::Read }, |effect| {
            if let Effect::Answer { result: Ok(Reply::Snapshot(snapshot)), .. } = effect {
                found = Some(snapshot);
            }
        });
        found.expect("the leader answers")
    }
}
