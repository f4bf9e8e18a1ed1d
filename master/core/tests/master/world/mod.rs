//! A master and all it deals with, under one virtual clock: the registry that the log would carry, agents that answer
//! pings, and the ids a driver would draw.

pub(crate) mod script;
pub(crate) mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use master_core::call::{FrameworkCall, OperatorCall, SchedulerCall, StateCall};
use master_core::effect::{AgentOrder, Effect, Observation, Reply, SchedulerEvent};
use master_core::input::{Barrier, Input, LinkId, Peer, RequestId, Role, StreamId, Term, Ticket};
use master_core::master::Master;
use master_core::refusal::Refusal;
use master_core::registry::{Command, Limits, LimitsCommand, Registry};
use master_core::report::AgentReport;
use master_core::settings::Settings;
use master_core::snapshot::Snapshot;
use model::id::FrameworkId;
use model::time::{Span, Time};
use wire::v1;

/// Wake-ups a stretch of time may need before it counts as a loop without progress.
const WAKES: usize = 100_000;

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) master: Master,
    /// What the log has made of all proposals.
    registry: Registry,
    /// Proposals and barriers not yet decided.
    pub(crate) proposed: Vec<(Ticket, Command)>,
    pub(crate) asked: Vec<Barrier>,
    /// Decide them only when told.
    pub(crate) hold: bool,
    /// All effects since they were last taken, in order.
    pub(crate) effects: Vec<Effect>,
    requests: u64,
    /// Where the masters are.
    pub(crate) domain: Option<v1::DomainInfo>,
    /// Links that do not answer pings.
    pub(crate) silent: BTreeSet<u64>,
    /// Streams nobody reads, and marks on them that are not reached.
    pub(crate) stalled: BTreeSet<StreamId>,
    marks: Vec<StreamId>,
    /// The framework each stream was told it is.
    pub(crate) frameworks: BTreeMap<StreamId, FrameworkId>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            now: Time::from_secs(1_700_000_000),
            master: Master::new(settings),
            registry: Registry::default(),
            proposed: Vec::new(),
            asked: Vec::new(),
            hold: false,
            effects: Vec::new(),
            requests: 0,
            domain: None,
            silent: BTreeSet::new(),
            stalled: BTreeSet::new(),
            marks: Vec::new(),
            frameworks: BTreeMap::new(),
        }
    }

    /// Feeds one input, and whatever follows from it at the same moment.
    pub(crate) fn feed(&mut self, input: Input) {
        self.handle(input);
        self.settle();
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.master.handle(self.now, input, &mut out);
        for effect in &out {
            match effect {
                Effect::Propose { ticket, command } => self.proposed.push((*ticket, command.clone())),
                Effect::Barrier(barrier) => self.asked.push(*barrier),
                Effect::Mark { stream } => self.marks.push(stream.clone()),
                Effect::Event { stream, event: SchedulerEvent::Subscribed { framework, .. } } => {
                    self.frameworks.insert(stream.clone(), framework.clone());
                }
                Effect::Observe(Observation::Misbooked(misuse)) => panic!("the books differ: {misuse}"),
                _ => {}
            }
        }
        let pongs: Vec<(LinkId, u64)> = out
            .iter()
            .filter_map(|effect| match effect {
                Effect::Order { link, order: AgentOrder::Ping { sequence }, .. }
                    if !self.silent.contains(&link.0) =>
                {
                    Some((*link, *sequence))
                }
                _ => None,
            })
            .collect();
        self.effects.extend(out);
        for (link, sequence) in pongs {
            self.handle(Input::Agent { link, report: AgentReport::Pong { sequence } });
        }
    }

    /// Decides what is proposed and asked, and wakes the master, until nothing more happens at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..WAKES {
            if !self.hold && self.decide() {
                continue;
            }
            if let Some(at) = self.marks.iter().position(|stream| !self.stalled.contains(stream)) {
                let stream = self.marks.remove(at);
                self.handle(Input::Reached(stream));
                continue;
            }
            if self.master.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
            self.handle(Input::Wake);
        }
        panic!("the master has a deadline in the past however often it is woken");
    }

    /// Applies the oldest proposal or passes the oldest barrier; whether there was one.
    fn decide(&mut self) -> bool {
        if !self.proposed.is_empty() {
            let (ticket, command) = self.proposed.remove(0);
            self.apply(Some(ticket), command);
            return true;
        }
        if !self.asked.is_empty() {
            let barrier = self.asked.remove(0);
            self.handle(Input::Passed(barrier));
            return true;
        }
        false
    }

    fn apply(&mut self, ticket: Option<Ticket>, command: Command) {
        let index = self.registry.index() + 1;
        let outcome = self.registry.apply(index, command);
        let view = self.registry.clone();
        self.handle(Input::Applied { index, ticket, outcome, view });
    }

    /// Reads a stalled stream up to the next mark, if there is one.
    pub(crate) fn read(&mut self, stream: &StreamId) {
        if let Some(at) = self.marks.iter().position(|other| other == stream) {
            let stream = self.marks.remove(at);
            self.feed(Input::Reached(stream));
        }
    }

    /// Decides all that was held back.
    pub(crate) fn release(&mut self) {
        self.hold = false;
        self.settle();
    }

    /// Lets the registry hold so many frameworks and no more.
    pub(crate) fn limit(&mut self, frameworks: u64) {
        let set = Limits { frameworks, ..*self.registry.limits() };
        self.apply(None, Command::Limits(LimitsCommand { set }));
    }

    pub(crate) fn lose_proposals(&mut self) {
        for (ticket, _) in std::mem::take(&mut self.proposed) {
            self.handle(Input::Lost(ticket));
        }
        self.settle();
    }

    pub(crate) fn refute(&mut self) {
        for barrier in std::mem::take(&mut self.asked) {
            self.handle(Input::Refuted(barrier));
        }
        self.settle();
    }

    /// Lets time pass, waking the master whenever it asks for it.
    pub(crate) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        for _ in 0..WAKES {
            self.settle();
            match self.master.next_deadline() {
                Some(at) if at <= until => self.now = at.max(self.now),
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the master never comes to rest");
    }

    pub(crate) fn lead(&mut self, term: u64, id: &str) {
        let master = v1::MasterInfo {
            id: id.to_owned(),
            ip: 16_777_343,
            port: 5050,
            hostname: Some("localhost".to_owned()),
            domain: self.domain.clone(),
            ..v1::MasterInfo::default()
        };
        let view = self.registry.clone();
        self.proposed.clear();
        self.asked.clear();
        self.feed(Input::Role(Role::Leading { term: Term(term), master: Arc::new(master), view }));
    }

    /// Another master takes over, with nothing but the registry.
    pub(crate) fn fail_over(&mut self, settings: Settings) {
        self.master = Master::new(settings);
        self.frameworks.clear();
        self.proposed.clear();
        self.asked.clear();
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// A call on the scheduler endpoint, decoded as the edge does it. Returns the refusal of the edge, if any.
    pub(crate) fn scheduler(
        &mut self,
        stream: &StreamId,
        header: Option<StreamId>,
        call: wire::scheduler::Call,
    ) -> Result<RequestId, Refusal> {
        let request = self.request();
        match SchedulerCall::decode(call)? {
            SchedulerCall::Subscribe(call) => {
                self.feed(Input::Subscribe {
                    request,
                    stream: stream.clone(),
                    header,
                    principal: None,
                    call,
                });
            }
            SchedulerCall::Framework(FrameworkCall { framework, verb }) => {
                let call = FrameworkCall { framework, verb };
                self.feed(Input::Scheduler { request, stream: header, principal: None, call });
            }
        }
        Ok(request)
    }

    pub(crate) fn operator(&mut self, call: OperatorCall) -> RequestId {
        let request = self.request();
        self.feed(Input::Operator { request, call });
        request
    }

    pub(crate) fn state(&mut self, stream: &StreamId, call: StateCall) -> RequestId {
        let request = self.request();
        self.feed(Input::State { request, stream: stream.clone(), call });
        request
    }

    pub(crate) fn frame(&mut self, link: u64, frame: wire::link::to_master::Frame) {
        self.frame_from("127.0.0.1", link, frame);
    }

    /// As [`frame`](Self::frame), on a link from this address.
    pub(crate) fn frame_from(&mut self, ip: &str, link: u64, frame: wire::link::to_master::Frame) {
        let ip = Arc::from(ip);
        let frame = wire::link::ToMaster { frame: Some(frame) };
        let report = AgentReport::decode(frame, &ip).expect("the frame is a report");
        self.feed(Input::Agent { link: LinkId(link), report });
    }

    pub(crate) fn close(&mut self, peer: Peer) {
        self.feed(Input::Closed(peer));
    }

    /// All there is to see. Leaves no trace among the effects.
    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        let before = self.effects.len();
        let held = std::mem::replace(&mut self.hold, false);
        let waiting = std::mem::take(&mut self.proposed);
        self.feed(Input::Operator { request: RequestId(u64::MAX), call: OperatorCall::Read });
        self.hold = held;
        self.proposed.splice(0..0, waiting);
        let found = self.effects[before..].iter().find_map(|effect| match effect {
            Effect::Answer { result: Ok(Reply::Snapshot(snapshot)), .. } => Some(Arc::clone(snapshot)),
            _ => None,
        });
        self.effects.truncate(before);
        found.expect("a leading master shows its state")
    }
}
