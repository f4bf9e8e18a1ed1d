//! A whole master without its driver: agents and frameworks speak to its core, and offers are written down as their
//! frameworks read them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use master_core::call::{FrameworkCall, SchedulerCall};
use master_core::effect::{Effect, SchedulerEvent};
use master_core::input::{Input, LinkId, RequestId, Role, StreamId, Term};
use master_core::master::Master;
use master_core::registry::Registry;
use master_core::render;
use master_core::report::AgentReport;
use master_core::settings::Settings;
use master_core::snapshot::Offer;
use model::id::FrameworkId;
use model::resources::{Bag, Form};
use model::time::Time;
use wire::link::to_master::Frame;
use wire::scheduler::call;
use wire::v1;

use crate::cluster::Shape;

/// What each agent has, and what a task takes of it: the rest is less than is worth an offer.
const TOTAL: &str = "cpus:24;mem:65536;disk:1000000;ports:[31000-32000]";
const TASK: &str = "cpus:23.995;mem:65520";

pub(crate) struct Busy {
    now: Time,
    master: Master,
    registry: Registry,
    requests: u64,
    tasks: u64,
    frameworks: Vec<(FrameworkId, StreamId)>,
    /// Who runs which task on which agent: link, framework's number and task.
    running: Vec<(u64, usize, v1::TaskInfo)>,
    /// Offers made and not answered.
    offers: Vec<(usize, Arc<Offer>)>,
}

fn resources(text: &str) -> Vec<v1::Resource> {
    Bag::parse(text).expect("a text of this program").to_wire(Form::Stack)
}

fn scheduler(kind: call::Type, fill: impl FnOnce(&mut wire::scheduler::Call)) -> wire::scheduler::Call {
    let mut call = wire::scheduler::Call { r#type: Some(kind.into()), ..Default::default() };
    fill(&mut call);
    call
}

impl Busy {
    /// Every agent runs one task that takes all that is worth offering.
    pub(crate) fn new(shape: Shape) -> Self {
        let mut busy = Self {
            now: Time::from_secs(1_700_000_000),
            master: Master::new(Settings { allocation_budget: usize::MAX, ..Settings::default() }),
            registry: Registry::default(),
            requests: 0,
            tasks: 0,
            frameworks: Vec::new(),
            running: Vec::new(),
            offers: Vec::new(),
        };
        let master = Arc::new(v1::MasterInfo { id: "M".to_owned(), ip: 1, port: 5050, ..Default::default() });
        let view = busy.registry.clone();
        busy.feed(Input::Role(Role::Leading { term: Term(1), master, view }));
        for n in 0..shape.frameworks {
            busy.subscribe(n, shape.roles);
        }
        for n in 0..shape.agents {
            busy.hello(n as u64);
        }
        busy.take_offers();
        assert_eq!(busy.running.len(), shape.agents);
        busy
    }

    fn subscribe(&mut self, n: usize, roles: usize) {
        let info = v1::FrameworkInfo {
            user: "bench".to_owned(),
            name: format!("framework {n}"),
            role: Some(format!("role{}", n % roles)),
            failover_timeout: Some(60.0),
            ..Default::default()
        };
        let call = scheduler(call::Type::Subscribe, |call| {
            call.subscribe = Some(call::Subscribe { framework_info: info, ..Default::default() });
        });
        let stream = StreamId(format!("stream{n}").into());
        let Ok(SchedulerCall::Subscribe(call)) = SchedulerCall::decode(call) else {
            panic!("a subscription was refused")
        };
        self.requests += 1;
        let request = RequestId(self.requests);
        let subscribe =
            Input::Subscribe { request, stream: stream.clone(), header: None, principal: None, call };
        for (own, event) in self.feed(subscribe) {
            if let SchedulerEvent::Subscribed { framework, .. } = event {
                assert_eq!(own, stream);
                self.frameworks.push((framework, own));
            }
        }
    }

    fn hello(&mut self, link: u64) {
        let info = v1::AgentInfo {
            hostname: format!("agent{link}.example"),
            port: Some(5051),
            resources: resources(TOTAL),
            ..Default::default()
        };
        let hello = wire::link::Hello { info, version: "0".to_owned(), ..Default::default() };
        let events = self.report(link, Frame::Hello(hello));
        self.note(events);
    }

    fn report(&mut self, link: u64, frame: Frame) -> Vec<(StreamId, SchedulerEvent)> {
        let frame = wire::link::ToMaster { frame: Some(frame) };
        let report = AgentReport::decode(frame, &Arc::from("127.0.0.1")).expect("a report");
        self.feed(Input::Agent { link: LinkId(link), report })
    }

    /// Handles an input and all that follows from it at the same moment; what schedulers are told by then.
    fn feed(&mut self, input: Input) -> Vec<(StreamId, SchedulerEvent)> {
        let mut events = Vec::new();
        let mut inputs = vec![input];
        loop {
            let input = match inputs.pop() {
                Some(input) => input,
                None if self.master.next_deadline().is_some_and(|at| at <= self.now) => Input::Wake,
                None => return events,
            };
            let mut out = Vec::new();
            self.master.handle(self.now, input, &mut out);
            for effect in out {
                match effect {
                    Effect::Propose { ticket, command } => {
                        let index = self.registry.index() + 1;
                        let outcome = self.registry.apply(index, command);
                        let view = self.registry.clone();
                        inputs.push(Input::Applied { index, ticket: Some(ticket), outcome, view });
                    }
                    Effect::Event { stream, event } => events.push((stream, event)),
                    _ => {}
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

    /// Every offer is filled with a task.
    fn take_offers(&mut self) {
        while let Some((number, offer)) = self.offers.pop() {
            self.tasks += 1;
            let task = v1::TaskInfo {
                name: "task".to_owned(),
                task_id: v1::TaskId { value: format!("task{}", self.tasks) },
                agent_id: (&offer.agent).into(),
                resources: resources(TASK),
                command: Some(v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() }),
                ..Default::default()
            };
            let launch = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch.into()),
                launch: Some(v1::offer::operation::Launch { task_infos: vec![task.clone()] }),
                ..Default::default()
            };
            let events = self.call(
                number,
                scheduler(call::Type::Accept, |call| {
                    call.accept = Some(call::Accept {
                        offer_ids: vec![(&offer.id).into()],
                        operations: vec![launch],
                        filters: None,
                    });
                }),
            );
            self.note(events);
            let hostname = &offer.info.hostname;
            let link = hostname.trim_start_matches("agent").trim_end_matches(".example").parse();
            self.running.push((link.expect("a name of this program"), number, task));
        }
    }

    fn call(&mut self, number: usize, mut call: wire::scheduler::Call) -> Vec<(StreamId, SchedulerEvent)> {
        let (framework, stream) = self.frameworks[number].clone();
        call.framework_id = Some((&framework).into());
        let Ok(SchedulerCall::Framework(call)) = SchedulerCall::decode(call) else {
            panic!("a call was refused")
        };
        let FrameworkCall { framework, verb } = call;
        self.requests += 1;
        let call = FrameworkCall { framework, verb };
        self.feed(Input::Scheduler {
            request: RequestId(self.requests),
            stream: Some(stream),
            principal: None,
            call,
        })
    }

    /// A task ends. How long it takes until the offer of what is free now is there as the bytes its framework reads.
    pub(crate) fn end_one(&mut self, round: usize) -> Duration {
        let (link, number, task) = self.running.swap_remove((round * 7_919) % self.running.len());
        let uuid = Bytes::from(uuid_of(round));
        let status = v1::TaskStatus {
            task_id: task.task_id.clone(),
            state: v1::TaskState::TaskFinished.into(),
            agent_id: Some(task.agent_id.clone()),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        let update = wire::link::StatusReport {
            framework_id: (&self.frameworks[number].0).into(),
            latest_state: status.state,
            status,
        };
        let start = Instant::now();
        let events = self.report(link, Frame::Status(update));
        let offers = events.iter().filter(|(_, event)| matches!(event, SchedulerEvent::Offers(_)));
        let bytes: usize =
            offers.map(|(_, event)| wire::json::to_vec(&render::scheduler_event(event)).len()).sum();
        let took = start.elapsed();
        assert!(bytes > 0, "what is free is offered");
        self.note(events);
        let acknowledge = scheduler(call::Type::Acknowledge, |call| {
            call.acknowledge =
                Some(call::Acknowledge { agent_id: task.agent_id, task_id: task.task_id, uuid });
        });
        let events = self.call(number, acknowledge);
        self.note(events);
        self.take_offers();
        took
    }
}

fn uuid_of(round: usize) -> Vec<u8> {
    let mut bytes = vec![0x40; 16];
    bytes[8..].copy_from_slice(&(round as u64 | 1 << 63).to_be_bytes());
    bytes
}
