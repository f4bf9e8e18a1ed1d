//! A master: the real core and the real replica, driven as the server's loop drives them.
//!
//! The replica has a thread of its own in the server; here it is busy while it syncs, and what comes meanwhile waits
//! for its next turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use master_core::call::{OperatorCall, SchedulerCall, StateCall};
use master_core::effect::{AgentOrder, Effect, Observation, Reply};
use master_core::input::{self, Input, LinkId, Peer, RequestId, StreamId};
use master_core::limits::STREAM_RECORDS;
use master_core::master::Master as Core;
use master_core::refusal::Refusal;
use master_core::registry::{Command, Registry};
use master_core::render;
use master_core::report::AgentReport;
use master_core::settings::Settings;
use rand::RngExt;
use replica::disk::{MemoryDisk, MemoryFiles};
use replica::form::Founding;
use replica::snapshot::{Intake, load};
use replica::{Barrier, Descriptor, Fatal, NodeId, Options, Output, PeerMessage, Replica, Role, Ticket};

pub use master::machine::Registrar;

use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// A tick of the replica, as the server has it.
const TICK: Micros = 50 * MS;
/// Frames waiting for one agent, as the server has it.
const LINK_FRAMES: usize = 4_096;
/// How often the leader's books are looked at.
const AUDIT: Micros = 2 * SECOND;
/// As the server's driver.
const OWN_BARRIER: Barrier = Barrier(u64::MAX);

/// Where every master and its files are, for the others.
#[derive(Debug, Clone)]
pub struct Group {
    /// Who founded the group.
    pub founding: Founding,
    /// Each master's host, address and files.
    pub members: BTreeMap<NodeId, (Host, String, MemoryFiles)>,
}

/// A machine with a master on it.
pub struct Master {
    host: Host,
    node: NodeId,
    address: String,
    group: Arc<Group>,
    disk: Option<MemoryDisk>,
    run: Option<Running>,
    ended: Option<Fatal>,
    starts: u64,
    elections: u64,
    audits: u64,
}

/// What waits for the replica's next turn.
enum Request {
    Tick,
    Step(Box<PeerMessage>),
    Propose(Ticket, Box<Command>),
    Barrier(Barrier),
    Unreachable(NodeId),
    Gone(NodeId),
}

/// Who asked, and the stream the answer may be.
struct Waiting {
    conn: ConnId,
    stream: Option<StreamId>,
}

struct Running {
    core: Core,
    replica: Replica<Registrar, MemoryDisk>,
    requests: Vec<Request>,
    /// The replica's turn is under way.
    busy: bool,
    /// A turn is asked for already.
    called: bool,
    view: Registry,
    waiting: BTreeMap<RequestId, Waiting>,
    links: BTreeMap<LinkId, ConnId>,
    streams: BTreeMap<StreamId, ConnId>,
    /// The other direction, and what the server's tasks know of a connection.
    conns: BTreeMap<ConnId, Kind>,
    own: VecDeque<Input>,
    leading: Option<Role>,
    in_doubt: bool,
    standing: Edge,
    armed: Option<Micros>,
    audit_at: Micros,
    audit: Option<RequestId>,
    requests_made: u64,
}

/// What a connection is to this master.
enum Kind {
    Link {
        ip: Arc<str>,
        /// The term its agent said it obeys.
        obeyed: u64,
    },
    Request,
    Stream(StreamId),
}

/// What the edge knows of leadership.
#[derive(Debug, PartialEq, Eq)]
enum Edge {
    Leading,
    Following(Arc<str>),
    Electing,
}

impl Master {
    pub(crate) fn new(host: Host, node: NodeId, disk: MemoryDisk, group: Arc<Group>) -> Self {
        let address = group.members[&node].1.clone();
        let disk = Some(disk);
        Self { host, node, address, group, disk, run: None, ended: None, starts: 0, elections: 0, audits: 0 }
    }

    /// The registry and the index it is at, while the process runs.
    pub fn view(&self) -> Option<&Registry> {
        self.run.as_ref().map(|run| &run.view)
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.core.leads().is_some())
    }

    /// The index it has applied and its digest, while the process runs.
    pub fn position(&self) -> Option<(u64, u64)> {
        self.run.as_ref().map(|run| (run.replica.status().applied, run.view.digest()))
    }

    /// The power goes in the middle of the next write.
    pub(crate) fn cut_power(&mut self) {
        if let Some(run) = &mut self.run {
            run.replica.disk_mut().cut_power();
        }
    }

    /// Whether the power goes with the next write.
    pub(crate) fn is_doomed(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.replica.disk().is_doomed())
    }

    /// The group's other way to say that a process has ended.
    fn end(&mut self, fatal: Fatal, cx: &mut Context) {
        cx.trace.text("ended");
        let power = matches!(fatal, Fatal::Disk(_));
        if !power {
            cx.judge.broken("masters go on", format!("{}: {fatal}", self.address));
            self.ended = Some(fatal);
        }
        // A disk that fails in this world has lost its power.
        cx.of_mut(self.host).power = !power;
        cx.of_mut(self.host).up = false;
        self.crash(if power { Crash::Power } else { Crash::Killed }, cx);
        cx.process_ended(self.host);
    }

    // --- the replica

    fn ask(&mut self, request: Request, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        // After a stall the missed ticks are forgotten: made up for, they would look like a dead leader.
        if matches!(request, Request::Tick) && run.requests.iter().any(|r| matches!(r, Request::Tick)) {
            return;
        }
        run.requests.push(request);
        self.call(cx);
    }

    /// Wakes the replica's thread, which takes what has come until it runs.
    fn call(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if !run.busy && !run.called {
            run.called = true;
            cx.later(self.host, 1, Due::Turn);
        }
    }

    /// Lets the replica do what waits for it.
    fn turn(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.called = false;
        let mut refused = Vec::new();
        for request in run.requests.drain(..) {
            match request {
                Request::Tick => run.replica.tick(),
                // Whoever is not of this group is not listened to.
                Request::Step(message) => drop(run.replica.step(*message)),
                Request::Unreachable(node) => run.replica.unreachable(node),
                Request::Gone(node) => run.replica.gone(node),
                Request::Propose(ticket, command) => {
                    if run.replica.propose(ticket, &command).is_err() {
                        refused.push(Input::Busy(input::Ticket(ticket.0)));
                    }
                }
                Request::Barrier(barrier) => match run.replica.barrier(barrier) {
                    Ok(()) => {}
                    Err(_) if barrier == OWN_BARRIER => run.in_doubt = false,
                    Err(_) => refused.push(Input::Refuted(input::Barrier(barrier.0))),
                },
            }
        }
        let before = run.replica.disk().syncs();
        let mut outputs = Vec::new();
        let result = run.replica.turn(&mut outputs);
        let synced = run.replica.disk().syncs() > before;
        run.busy = true;
        let took = if synced { cx.sync_time() } else { 5 };
        if let Err(fatal) = result {
            // What was sent before the write is on its way.
            for output in outputs {
                if let Output::Send(message) = output {
                    self.send_peer(message, cx);
                }
            }
            return self.end(fatal, cx);
        }
        // A leader's messages do not wait for its own disk; everybody else's were held back by the replica itself.
        let (at_once, later): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|output| {
            matches!(output, Output::Send(_)) && matches!(run.leading, Some(Role::Leading { .. }))
        });
        for output in at_once {
            if let Output::Send(message) = output {
                self.send_peer(message, cx);
            }
        }
        cx.later(self.host, took, Due::Outputs(later));
        for input in refused {
            self.handle(input, cx);
        }
    }

    fn send_peer(&mut self, message: PeerMessage, cx: &mut Context) {
        let to = message.to();
        let Some((host, _, _)) = self.group.members.get(&to) else { return };
        if !cx.message(self.host, *host, message)
            && let Some(run) = &mut self.run
        {
            run.requests.push(Request::Unreachable(to));
        }
    }

    fn output(&mut self, output: Output<Registrar>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match output {
            Output::Send(message) => self.send_peer(message, cx),
            Output::Applied { index, ticket, outcome, view, .. } => {
                run.view = view.clone();
                cx.trace.note(index);
                cx.judge.applied(&self.address, index, &view);
                let ticket = ticket.map(|Ticket(ticket)| input::Ticket(ticket));
                self.handle(Input::Applied { index, ticket, outcome, view }, cx);
            }
            Output::Installed { index, view } => {
                cx.judge.installed(&self.address, index, &view);
                run.view = view;
            }
            Output::Lost(Ticket(ticket)) => self.handle(Input::Lost(input::Ticket(ticket)), cx),
            Output::Passed(OWN_BARRIER) => {
                if let (true, Some(role)) = (std::mem::take(&mut run.in_doubt), run.leading) {
                    self.role(role, cx);
                }
            }
            Output::Failed(OWN_BARRIER) => run.in_doubt = false,
            Output::Passed(Barrier(barrier)) => self.handle(Input::Passed(input::Barrier(barrier)), cx),
            Output::Failed(Barrier(barrier)) => self.handle(Input::Refuted(input::Barrier(barrier)), cx),
            Output::Role(role) => {
                run.in_doubt = false;
                run.leading = matches!(role, Role::Leading { .. }).then_some(role);
                self.role(role, cx);
            }
            Output::Build(job) => {
                let after = cx.sync_time();
                cx.later(self.host, after, Due::Build(Box::new(job)));
            }
            Output::Fetch { from, descriptor } => {
                let after = cx.sync_time() * 3;
                cx.later(self.host, after, Due::Fetch { from, descriptor: Box::new(descriptor) });
            }
            Output::Members { .. } => {}
        }
    }

    fn fetch(&mut self, from: NodeId, descriptor: &Descriptor, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let id = descriptor.id;
        let (host, _, files) = &self.group.members[&from];
        let there = cx.of(*host).up && !cx.net.blocked(*host, self.host) && !cx.net.blocked(self.host, *host);
        let result = match files.bytes(id).filter(|_| there) {
            None => Err("the leader is gone, or the file".to_owned()),
            Some(bytes) => {
                let own = run.replica.files();
                let pulled = || {
                    let mut intake = Intake::begin(own.clone(), descriptor.clone())?;
                    bytes.chunks(4096).try_for_each(|some| intake.push(some))?;
                    intake.finish()
                };
                let pulled: Result<(), replica::DiskError> = pulled();
                let loaded = |()| load::<Registrar, _>(&own, descriptor).map_err(|error| error.to_string());
                pulled.map_err(|error| error.to_string()).and_then(loaded)
            }
        };
        run.replica.fetched(id, result);
        self.call(cx);
    }

    // --- the core

    fn role(&mut self, role: Role, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let (role, edge) = match role {
            Role::Leading { term } => {
                cx.judge.elected(&self.address, term, &run.view);
                self.elections += 1;
                let master = Arc::new(info(&self.address, cx.random.random()));
                let view = run.view.clone();
                (input::Role::Leading { term: input::Term(term), master, view }, Edge::Leading)
            }
            Role::Following { leader, .. } => match self.group.members.get(&leader) {
                Some((_, address, _)) => {
                    let leader: Arc<str> = address.as_str().into();
                    (input::Role::Following { leader: leader.clone() }, Edge::Following(leader))
                }
                None => (input::Role::Candidate, Edge::Electing),
            },
            Role::Electing { .. } => (input::Role::Candidate, Edge::Electing),
        };
        self.handle(Input::Role(role), cx);
        if let Some(run) = &mut self.run {
            run.standing = edge;
        }
    }

    fn handle(&mut self, input: Input, cx: &mut Context) {
        self.step(input, cx);
        while let Some(input) = self.run.as_mut().and_then(|run| run.own.pop_front()) {
            self.step(input, cx);
        }
        self.arm(cx);
    }

    fn step(&mut self, input: Input, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let mut effects = Vec::new();
        run.core.handle(cx.clock(self.host), input, &mut effects);
        for effect in effects {
            self.execute(effect, cx);
        }
    }

    /// Sets the alarm for the core's deadline. What is due at once comes after what is queued for this very moment.
    fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(deadline) = run.core.next_deadline() else { return };
        let at = cx.of(self.host).clock.reaches(deadline).max(cx.now);
        if run.armed.is_none_or(|armed| armed > at) {
            run.armed = Some(at);
            cx.later(self.host, at - cx.now, Due::Wake);
        }
    }

    fn wake(&mut self, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(run) = &mut self.run else { return };
        if run.armed.is_some_and(|armed| armed <= cx.now) {
            run.armed = None;
        }
        if run.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(Input::Wake, cx);
        } else {
            self.arm(cx);
        }
        self.consider_audit(cx);
    }

    fn execute(&mut self, effect: Effect, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match effect {
            Effect::Propose { ticket, command } => {
                self.ask(Request::Propose(Ticket(ticket.0), Box::new(command)), cx);
            }
            Effect::Barrier(barrier) => self.ask(Request::Barrier(Barrier(barrier.0)), cx),
            Effect::Answer { request, result } => self.answer(request, result, cx),
            Effect::Event { stream, event } => {
                self.record(&stream, Frame::Event(Box::new(render::scheduler_event(&event))), cx);
            }
            Effect::Watch { stream, record } => self.record(&stream, Frame::Watch(record), cx),
            // No operator listens in this world.
            Effect::Notice { .. } => {}
            Effect::Order { link, term, order } => self.order(link, term, &order, cx),
            Effect::Close { peer, .. } => match peer {
                Peer::Stream(id) => {
                    if let Some(conn) = run.streams.remove(&id) {
                        run.conns.remove(&conn);
                        cx.close(conn, self.host);
                    }
                }
                Peer::Link(id) => {
                    if let Some(conn) = run.links.remove(&id) {
                        run.conns.remove(&conn);
                        cx.close(conn, self.host);
                    }
                }
            },
            Effect::StepDown { .. } => {
                run.standing = Edge::Electing;
                run.in_doubt = true;
                self.ask(Request::Barrier(OWN_BARRIER), cx);
            }
            Effect::Observe(observation) => {
                if let Observation::Misbooked(what) = observation {
                    cx.judge.misbooked(&self.address, &what);
                }
            }
        }
    }

    fn order(&mut self, link: LinkId, term: input::Term, order: &AgentOrder, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(conn) = run.links.get(&link).copied() else { return };
        if let AgentOrder::Welcome { agent, .. } = order {
            if let Some(Kind::Link { obeyed, .. }) = run.conns.get(&conn) {
                cx.judge.fencing.welcomed(&self.address, term.0, *obeyed);
            }
            cx.judge.facts.admitted(agent.clone());
        }
        let frame = Frame::ToAgent(Box::new(render::order(term, order)));
        if cx.send(conn, self.host, frame) > LINK_FRAMES {
            run.links.remove(&link);
            run.conns.remove(&conn);
            cx.close(conn, self.host);
            run.own.push_back(Input::Closed(Peer::Link(link)));
        }
    }

    fn record(&mut self, stream: &StreamId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(conn) = run.streams.get(stream).copied() else { return };
        if cx.send(conn, self.host, frame) > STREAM_RECORDS {
            run.streams.remove(stream);
            run.conns.remove(&conn);
            cx.close(conn, self.host);
            run.own.push_back(Input::Closed(Peer::Stream(stream.clone())));
        }
    }

    fn answer(&mut self, request: RequestId, result: Result<Reply, Refusal>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.audit == Some(request) {
            run.audit = None;
            if let Ok(Reply::Snapshot(snapshot)) = &result {
                self.audits += 1;
                cx.judge.books.look(&self.address, snapshot, run.core.allocator(), cx.now);
            }
            return;
        }
        let Some(waiting) = run.waiting.remove(&request) else {
            let why = format!("{}: request {} was answered twice", self.address, request.0);
            return cx.judge.broken("one answer a request", why);
        };
        let conn = waiting.conn;
        if let (Ok(Reply::Stream(_)), Some(stream)) = (&result, waiting.stream) {
            if let Some(kind) = run.conns.get_mut(&conn) {
                *kind = Kind::Stream(stream.clone());
                run.streams.insert(stream.clone(), conn);
                cx.send(conn, self.host, Frame::Opened { stream: stream.0.to_string() });
            } else {
                // The client has gone meanwhile.
                run.own.push_back(Input::Closed(Peer::Stream(stream)));
            }
            return;
        }
        run.conns.remove(&conn);
        let frame = match result {
            Ok(Reply::State(answer)) => Frame::State(answer),
            Ok(_) => Frame::Taken,
            Err(Refusal::NotLeading) => elsewhere(&run.standing),
            Err(Refusal::Unknown | Refusal::Busy | Refusal::TooMany { .. }) => Frame::Unavailable,
            Err(refusal) => Frame::Refused { status: refusal.status(), text: refusal.to_string() },
        };
        cx.send(conn, self.host, frame);
        cx.close(conn, self.host);
    }

    /// Asks for the whole state as an operator would, now and then.
    fn consider_audit(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.core.leads().is_none() || cx.now < run.audit_at || run.audit.is_some() {
            return;
        }
        run.audit_at = cx.now + AUDIT;
        run.requests_made += 1;
        let request = RequestId(u64::MAX - run.requests_made);
        run.audit = Some(request);
        self.handle(Input::Operator { request, call: OperatorCall::Read }, cx);
    }

    // --- connections

    fn asked(&mut self, conn: ConnId, ask: Ask, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.standing != Edge::Leading {
            let frame = elsewhere(&run.standing);
            cx.send(conn, self.host, frame);
            return cx.close(conn, self.host);
        }
        let request = RequestId(conn.0);
        match ask {
            Ask::Link => {
                let client = cx.net.conns.get(&conn).map(|c| c.host(crate::net::Side::Client));
                let ip = client.map_or_else(String::new, |host| cx.of(host).name.clone());
                run.conns.insert(conn, Kind::Link { ip: ip.into(), obeyed: 0 });
                run.links.insert(LinkId(conn.0), conn);
                cx.send(conn, self.host, Frame::Linked);
            }
            Ask::Scheduler { stream, call } => {
                let header = stream.map(|stream| StreamId(stream.into()));
                match SchedulerCall::decode(*call) {
                    Err(refusal) => self.refuse(conn, &refusal, cx),
                    Ok(SchedulerCall::Subscribe(call)) => {
                        let own = StreamId(format!("{:032x}", cx.random.random::<u128>()).into());
                        self.waits(request, conn, Some(own.clone()));
                        let input = Input::Subscribe { request, stream: own, header, principal: None, call };
                        self.handle(input, cx);
                    }
                    Ok(SchedulerCall::Framework(call)) => {
                        self.waits(request, conn, None);
                        self.handle(Input::Scheduler { request, stream: header, principal: None, call }, cx);
                    }
                }
            }
            Ask::State(call) => match StateCall::from_wire(*call) {
                Err(refusal) => self.refuse(conn, &Refusal::Registry(refusal), cx),
                Ok(call) => {
                    let own = StreamId(format!("{:032x}", cx.random.random::<u128>()).into());
                    self.waits(request, conn, Some(own.clone()));
                    self.handle(Input::State { request, stream: own, call }, cx);
                }
            },
        }
    }

    fn waits(&mut self, request: RequestId, conn: ConnId, stream: Option<StreamId>) {
        let Some(run) = &mut self.run else { return };
        run.conns.insert(conn, Kind::Request);
        run.waiting.insert(request, Waiting { conn, stream });
    }

    fn refuse(&mut self, conn: ConnId, refusal: &Refusal, cx: &mut Context) {
        cx.send(conn, self.host, Frame::Refused { status: refusal.status(), text: refusal.to_string() });
        cx.close(conn, self.host);
    }

    fn closed(&mut self, conn: ConnId, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let peer = match run.conns.remove(&conn) {
            Some(Kind::Link { .. }) => {
                run.links.remove(&LinkId(conn.0));
                Peer::Link(LinkId(conn.0))
            }
            Some(Kind::Stream(stream)) => {
                run.streams.remove(&stream);
                Peer::Stream(stream)
            }
            // The answer finds nobody.
            Some(Kind::Request) | None => return,
        };
        cx.close(conn, self.host);
        self.handle(Input::Closed(peer), cx);
    }
}

impl Machine for Master {
    fn start(&mut self, cx: &mut Context) {
        let Some(disk) = self.disk.take() else { return };
        self.starts += 1;
        let options = Options {
            seed: cx.random.random(),
            snapshot_log_bytes: cx.weather.snapshot_bytes,
            keep_entries: 100,
            ..Options::default()
        };
        let replica = match Replica::open(disk, self.node, options) {
            Ok(replica) => replica,
            Err(fatal) => return cx.judge.broken("what was written can be read", fatal.to_string()),
        };
        let view = replica.view();
        cx.judge.installed(&self.address, replica.status().applied, &view);
        self.run = Some(Running {
            core: Core::new(Settings::default()),
            replica,
            requests: Vec::new(),
            busy: false,
            called: false,
            view,
            waiting: BTreeMap::new(),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            conns: BTreeMap::new(),
            own: VecDeque::new(),
            leading: None,
            in_doubt: false,
            standing: Edge::Electing,
            armed: None,
            audit_at: 0,
            audit: None,
            requests_made: 0,
        });
        let phase = cx.between((0, TICK));
        cx.later(self.host, phase, Due::Tick);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        match what {
            Due::Wake => self.wake(cx),
            Due::Tick => {
                cx.later(self.host, TICK, Due::Tick);
                self.ask(Request::Tick, cx);
            }
            Due::Outputs(outputs) => {
                if let Some(run) = &mut self.run {
                    run.busy = false;
                }
                for output in outputs {
                    self.output(output, cx);
                }
                if self.run.as_ref().is_some_and(|run| !run.requests.is_empty()) {
                    self.call(cx);
                }
            }
            Due::Turn => self.turn(cx),
            Due::Build(job) => {
                let Some(run) = &mut self.run else { return };
                let result = job.run(&run.replica.files());
                match run.replica.built(result) {
                    Ok(()) => self.call(cx),
                    Err(fatal) => self.end(fatal, cx),
                }
            }
            Due::Fetch { from, descriptor } => self.fetch(from, &descriptor, cx),
            Due::PeerGone(node) => self.ask(Request::Gone(node), cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        match frame {
            Frame::Ask(ask) => self.asked(conn, ask, cx),
            Frame::ToMaster(frame) => {
                let Some(run) = &mut self.run else { return };
                let Some(Kind::Link { ip, obeyed }) = run.conns.get_mut(&conn) else { return };
                if let Some(wire::link::to_master::Frame::Hello(hello)) = &frame.frame {
                    *obeyed = hello.highest_term;
                }
                match AgentReport::decode(*frame, ip) {
                    Ok(report) => self.handle(Input::Agent { link: LinkId(conn.0), report }, cx),
                    Err(bad) => cx.judge.broken("frames are understood", bad.to_string()),
                }
            }
            Frame::End => self.closed(conn, cx),
            _ => {}
        }
    }

    fn peer(&mut self, message: PeerMessage, cx: &mut Context) {
        self.ask(Request::Step(Box::new(message)), cx);
    }

    fn crash(&mut self, how: Crash, cx: &mut Context) {
        let Some(run) = self.run.take() else { return };
        let mut disk = run.replica.into_disk();
        let unsynced = disk.unsynced();
        let survivors = match how {
            Crash::Killed => unsynced,
            Crash::Power => cx.random.random_range(0..=unsynced),
        };
        disk.crash(survivors);
        self.disk = Some(disk);
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        match &self.run {
            None => vec!["does not run".to_owned()],
            Some(run) if run.standing == Edge::Electing => vec!["knows no leader".to_owned()],
            Some(_) => Vec::new(),
        }
    }

    fn report(&self) -> String {
        let index = self.position().map_or(0, |(index, _)| index);
        format!(
            "started {} times, elected {}, applied {index}, {} audits",
            self.starts, self.elections, self.audits
        )
    }

    fn ended(&self) -> bool {
        self.ended.is_some()
    }
}

fn elsewhere(edge: &Edge) -> Frame {
    match edge {
        Edge::Following(leader) => Frame::Redirect(leader.to_string()),
        Edge::Leading | Edge::Electing => Frame::Unavailable,
    }
}

/// Who a master is to clients, with a fresh id.
fn info(address: &str, id: u128) -> wire::v1::MasterInfo {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    wire::v1::MasterInfo {
        id: format!("{id:032x}"),
        ip: 0,
        port: port.parse().unwrap_or_default(),
        hostname: Some(host.to_owned()),
        ..Default::default()
    }
}
