//! The one loop that owns the master: take an input, handle it, execute its effects.
//!
//! Nothing else touches the core, so there is nothing to lock; and nothing in here waits for anybody: queues that are full
//! are closed or answered with "later".

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use master_core::effect::{Effect, Observation, Reason, Reply};
use master_core::input::{self, Input, LinkId, Peer, RequestId, StreamId};
use master_core::leader::Counters;
use master_core::master::Master;
use master_core::refusal::Refusal;
use master_core::registry::{Command, LevelCommand, Registry};
use master_core::settings::Settings;
use replica::thread::{Event, Handle};
use replica::{Barrier, Fatal, Output, Role, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

use crate::app::{App, Standing};
use crate::link::LinkSender;
use crate::machine::Registrar;
use crate::recent::Recent;
use crate::streams::{Record, StreamSender};
use crate::{limits, who};

/// What the tasks around the driver tell it.
pub(crate) enum Message {
    /// A request that waits for one answer; `stream` is taken over if the answer goes on.
    Request {
        id: RequestId,
        input: Box<Input>,
        answer: oneshot::Sender<Result<Reply, Refusal>>,
        stream: Option<(StreamId, StreamSender)>,
    },
    /// Nobody waits.
    Input(Box<Input>),
    Linked {
        id: LinkId,
        sender: LinkSender,
    },
    Measure(oneshot::Sender<Measures>),
}

/// Numbers only the driver knows.
pub(crate) struct Measures {
    pub(crate) counters: Counters,
    pub(crate) streams: usize,
    pub(crate) links: usize,
    /// Operators who listen.
    pub(crate) operators: usize,
    /// Refusals of offers in force, by role.
    pub(crate) refusals: BTreeMap<model::role::Role, usize>,
    pub(crate) allocations: Recent,
    pub(crate) stores: Recent,
}

struct Waiting {
    answer: oneshot::Sender<Result<Reply, Refusal>>,
    stream: Option<(StreamId, StreamSender)>,
}

pub(crate) struct Driver {
    app: Arc<App>,
    master: Master,
    replica: Handle<Registrar>,
    events: mpsc::Receiver<Event<Registrar>>,
    inbox: mpsc::Receiver<Message>,
    /// The registry after the last entry applied here.
    view: Registry,
    waiting: HashMap<RequestId, Waiting>,
    streams: HashMap<StreamId, StreamSender>,
    links: HashMap<LinkId, LinkSender>,
    /// Inputs that effects brought about; handled before anything else.
    own: VecDeque<Input>,
    effects: Vec<Effect>,
    /// Our role, while we lead.
    leading: Option<Role>,
    /// The core doubts it, and the group has been asked.
    in_doubt: bool,
    /// What is on its way through the log, and since when.
    proposed: HashMap<u64, Instant>,
    /// How long the turns took in which the allocator ran.
    allocations: Recent,
    /// How long proposals took to be applied.
    stores: Recent,
}

/// The core counts its barriers from below; this one is the driver's own.
const OWN_BARRIER: Barrier = Barrier(u64::MAX);
/// Of the command that raises the group's level: nobody waits for it.
const LEVEL_TICKET: Ticket = Ticket(u64::MAX);

impl Driver {
    pub(crate) fn new(
        app: Arc<App>,
        replica: Handle<Registrar>,
        events: mpsc::Receiver<Event<Registrar>>,
        inbox: mpsc::Receiver<Message>,
        view: Registry,
        settings: Settings,
    ) -> Self {
        Self {
            app,
            master: Master::new(settings),
            replica,
            events,
            inbox,
            view,
            waiting: HashMap::new(),
            streams: HashMap::new(),
            links: HashMap::new(),
            own: VecDeque::new(),
            effects: Vec::new(),
            leading: None,
            in_doubt: false,
            proposed: HashMap::new(),
            allocations: Recent::default(),
            stores: Recent::default(),
        }
    }

    /// Runs until the replica stops or `ending` is set; in the latter case streams and links are let go in order.
    pub(crate) async fn run(mut self, mut ending: watch::Receiver<bool>) -> Result<(), Fatal> {
        self.app.standing.send_replace(Standing::Electing);
        loop {
            let deadline = self.master.next_deadline().map(|time| self.app.clock.instant(time));
            let wake = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            // The deadline last: work that can wait for more of its kind is done when nothing else is queued.
            tokio::select! {
                biased;
                _ = ending.wait_for(|ending| *ending) => {
                    // Whoever waits is told what is known of it: not everything may be asked for again.
                    self.handle(Input::Role(input::Role::Candidate));
                    return Ok(());
                }
                event = self.events.recv() => match event {
                    Some(event) => self.event(event)?,
                    None => return Err(Fatal::Consensus("the replica's thread is gone".to_owned())),
                },
                message = self.inbox.recv() => match message {
                    Some(message) => self.message(message),
                    None => return Ok(()),
                },
                () = wake => self.handle(Input::Wake),
            }
            self.take_waiting()?;
        }
    }

    /// Takes what is queued, within bounds, and then looks at the deadline even if more has come.
    fn take_waiting(&mut self) -> Result<(), Fatal> {
        let mut taken = 0;
        while taken < limits::BURST {
            if let Ok(event) = self.events.try_recv() {
                self.event(event)?;
            } else if let Ok(message) = self.inbox.try_recv() {
                self.message(message);
            } else {
                return Ok(());
            }
            taken += 1;
        }
        if self.master.next_deadline().is_some_and(|deadline| deadline <= self.app.clock.now()) {
            self.handle(Input::Wake);
        }
        Ok(())
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Request { id, input, answer, stream } => {
                self.waiting.insert(id, Waiting { answer, stream });
                self.handle(*input);
            }
            Message::Input(input) => {
                if let Input::Closed(peer) = &*input {
                    // What we closed ourselves is not reported.
                    let known = match peer {
                        Peer::Stream(id) => self.streams.remove(id).is_some(),
                        Peer::Link(id) => self.links.remove(id).is_some(),
                    };
                    if !known {
                        return;
                    }
                }
                self.handle(*input);
            }
            Message::Linked { id, sender } => {
                self.links.insert(id, sender);
            }
            Message::Measure(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(Measures {
                    counters: self.master.counters().clone(),
                    streams: self.streams.len(),
                    links: self.links.len(),
                    operators: self.master.operators(),
                    refusals: self.master.allocator().refusals(),
                    allocations: self.allocations.clone(),
                    stores: self.stores.clone(),
                });
            }
        }
    }

    fn event(&mut self, event: Event<Registrar>) -> Result<(), Fatal> {
        match event {
            Event::Output(output) => self.output(output),
            // Asked for again with the next tick.
            Event::Refused(LEVEL_TICKET, _) => {}
            Event::Refused(Ticket(ticket), _) => {
                self.proposed.remove(&ticket);
                self.handle(Input::Busy(input::Ticket(ticket)));
            }
            Event::RefusedBarrier(OWN_BARRIER, _) => self.in_doubt = false,
            Event::RefusedBarrier(Barrier(barrier), _) => {
                self.handle(Input::Refuted(input::Barrier(barrier)))
            }
            Event::Stopped(result) => {
                result?;
                return Err(Fatal::Consensus("the replica ended by itself".to_owned()));
            }
            Event::Status(_) => self.consider_level(),
        }
        Ok(())
    }

    /// Raises the level of the group as soon as the programs of all members know what that allows to write. Asked for once a
    /// tick while it is due: to ask twice changes nothing.
    fn consider_level(&mut self) {
        let Some(group) = self.app.group.get() else { return };
        group.levels.group_is_at(self.view.level());
        if self.leading.is_none() {
            return;
        }
        let members: Vec<_> = group.members.borrow().iter().map(|member| member.id).collect();
        if let Some(level) = group.levels.reachable(group.node, members.into_iter()) {
            tracing::info!(level, "every master knows what this level allows to write");
            // Refused while too much is under way: the next tick asks again.
            let _ = self.replica.propose(LEVEL_TICKET, Command::Level(LevelCommand { level }));
        }
    }

    fn output(&mut self, output: Output<Registrar>) {
        match output {
            Output::Applied { index, ticket, outcome, view, .. } => {
                self.view = view.clone();
                let ticket = ticket.filter(|ticket| *ticket != LEVEL_TICKET);
                let ticket = ticket.map(|Ticket(ticket)| input::Ticket(ticket));
                if let Some(since) = ticket.and_then(|ticket| self.proposed.remove(&ticket.0)) {
                    self.stores.push(since.elapsed());
                }
                self.handle(Input::Applied { index, ticket, outcome, view });
            }
            Output::Installed { view, .. } => self.view = view,
            Output::Lost(LEVEL_TICKET) => {}
            Output::Lost(Ticket(ticket)) => {
                self.proposed.remove(&ticket);
                self.handle(Input::Lost(input::Ticket(ticket)));
            }
            Output::Passed(OWN_BARRIER) => self.still_leading(),
            Output::Failed(OWN_BARRIER) => self.in_doubt = false,
            Output::Passed(Barrier(barrier)) => self.handle(Input::Passed(input::Barrier(barrier))),
            Output::Failed(Barrier(barrier)) => self.handle(Input::Refuted(input::Barrier(barrier))),
            Output::Role(role) => {
                self.in_doubt = false;
                self.leading = matches!(role, Role::Leading { .. }).then_some(role);
                self.role(role);
            }
            // Taken by the replica's thread itself.
            Output::Send(_) | Output::Members { .. } | Output::Build(_) | Output::Fetch { .. } => {}
        }
    }

    fn role(&mut self, role: Role) {
        let (role, standing) = match role {
            Role::Leading { term } => {
                let domain = self.app.domain.clone();
                let master = Arc::new(who::master_info(&self.app.advertise, self.app.ip, domain));
                let view = self.view.clone();
                (input::Role::Leading { term: input::Term(term), master, view }, Standing::Leading { term })
            }
            Role::Following { leader, term } => {
                let members = self.app.group.get().map(|group| group.members.borrow().clone());
                match members.as_ref().and_then(|members| members.address(leader)) {
                    Some(address) => {
                        let leader: Arc<str> = address.into();
                        tracing::info!(%leader, term, "following");
                        (input::Role::Following { leader: leader.clone() }, Standing::Following { leader })
                    }
                    None => (input::Role::Candidate, Standing::Electing),
                }
            }
            Role::Electing { .. } => (input::Role::Candidate, Standing::Electing),
        };
        self.handle(Input::Role(role));
        // Only now: whoever is let through by it finds a core that knows.
        self.app.standing.send_replace(standing);
    }

    fn handle(&mut self, input: Input) {
        self.step(input);
        while let Some(input) = self.own.pop_front() {
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let begun = Instant::now();
        let runs = self.master.counters().allocation_runs();
        let mut effects = std::mem::take(&mut self.effects);
        self.master.handle(self.app.clock.now(), input, &mut effects);
        let took = begun.elapsed();
        if self.master.counters().allocation_runs() > runs {
            self.allocations.push(took);
        }
        self.app.metrics.handled(took, self.inbox.len(), self.events.len());
        if took > limits::SLOW_INPUT {
            tracing::warn!(millis = took.as_millis() as u64, "handling one input took long");
        }
        for effect in effects.drain(..) {
            self.execute(effect);
        }
        self.effects = effects;
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Propose { ticket, command } => {
                match self.replica.propose(Ticket(ticket.0), command) {
                    // The core proposes no more than `limits::PROPOSALS` at a time.
                    Ok(_) => {
                        self.proposed.insert(ticket.0, Instant::now());
                    }
                    Err(_) => self.own.push_back(Input::Busy(ticket)),
                }
            }
            Effect::Barrier(barrier) => {
                if self.replica.barrier(Barrier(barrier.0)).is_err() {
                    self.own.push_back(Input::Refuted(barrier));
                }
            }
            Effect::Answer { request, result } => self.answer(request, result),
            Effect::Event { stream, event } => self.record(stream, Record::Event(event)),
            Effect::Notice { stream, event } => self.record(stream, Record::Notice(event)),
            Effect::Watch { stream, record } => self.record(stream, Record::Watch(record)),
            Effect::Mark { stream } => self.record(stream, Record::Mark),
            Effect::Order { link, term, order } => {
                if self.links.get(&link).is_some_and(|sender| !sender.send(term, order)) {
                    self.links.remove(&link);
                    self.own.push_back(Input::Closed(Peer::Link(link)));
                }
            }
            Effect::Close { peer, reason } => self.close(&peer, reason),
            Effect::StepDown { seen } => self.ask_whether_we_lead(seen),
            Effect::Observe(observation) => observe(&observation),
        }
    }

    /// The core has stopped leading because an agent obeys somebody else. Raft knows whether there is such a somebody.
    fn ask_whether_we_lead(&mut self, seen: u64) {
        tracing::warn!(seen, "asking the group whether this master still leads");
        self.app.standing.send_replace(Standing::Electing);
        // A refusal needs no answer: the change of role that caused it is on its way.
        if self.replica.barrier(OWN_BARRIER).is_ok() {
            self.in_doubt = true;
        }
    }

    /// Raft says that we led when we asked.
    fn still_leading(&mut self) {
        if let (true, Some(role)) = (std::mem::take(&mut self.in_doubt), self.leading) {
            self.role(role);
        }
    }

    fn answer(&mut self, request: RequestId, result: Result<Reply, Refusal>) {
        let Some(waiting) = self.waiting.remove(&request) else {
            tracing::error!(request = request.0, "a request was answered twice");
            return;
        };
        if let (Ok(Reply::Stream(_)), Some((own, sender))) = (&result, waiting.stream) {
            self.streams.insert(own, sender);
        }
        // Whoever asked may have gone; its stream, if it had one, tells so itself.
        let _ = waiting.answer.send(result);
    }

    fn record(&mut self, stream: StreamId, record: Record) {
        if self.streams.get(&stream).is_some_and(|sender| !sender.send(record)) {
            tracing::warn!(%stream, "a stream was cut: its reader does not keep up");
            self.streams.remove(&stream);
            self.own.push_back(Input::Closed(Peer::Stream(stream)));
        }
    }

    fn close(&mut self, peer: &Peer, reason: Reason) {
        tracing::debug!(?peer, ?reason, "closed");
        match peer {
            Peer::Stream(id) => {
                self.streams.remove(id);
            }
            Peer::Link(id) => {
                self.links.remove(id);
            }
        }
    }
}

/// One line an event, for operators.
fn observe(observation: &Observation) {
    match observation {
        Observation::Leading { term } => tracing::info!(term = term.0, "leading"),
        Observation::Deposed { term, seen, agent } => {
            tracing::warn!(term = term.0, seen, ?agent, "deposed: an agent obeys a newer leader");
        }
        Observation::RecoveryHalted { missing, known } => {
            tracing::error!(
                missing,
                known,
                "too many agents are missing after the election: none is declared unreachable"
            );
        }
        Observation::Misbooked(what) => tracing::error!(what, "the books of leader and allocator differ"),
        Observation::AgentUnreachable { agent } => tracing::warn!(%agent, "agent unreachable"),
        Observation::AgentRefused { link, refusal } => {
            tracing::warn!(link = link.0, %refusal, "agent refused")
        }
        Observation::FrameworkSubscribed { framework, name } => {
            tracing::info!(%framework, name, "framework subscribed")
        }
        Observation::FrameworkDisconnected { framework, until } => {
            tracing::info!(%framework, until_unix_ms = until.as_millis(), "framework disconnected");
        }
        Observation::FrameworkRemoved { framework } => tracing::info!(%framework, "framework removed"),
        Observation::AgentRegistered { agent, hostname, tasks } => {
            tracing::info!(%agent, hostname, tasks, "agent registered");
        }
        Observation::AgentDisconnected { agent } => tracing::info!(%agent, "agent disconnected"),
        Observation::AgentGone { agent } => tracing::info!(%agent, "agent marked gone"),
        Observation::AgentRemoved { agent } => {
            tracing::info!(%agent, "agent removed: it ended, or its machine is down")
        }
        Observation::OperationFailed { agent, operation, state, message } => {
            let state = state.as_str_name();
            tracing::warn!(%agent, operation, state, reason = message, "an operator's operation has failed, or may have");
        }
        Observation::RecoveryEnded { returned, missing } => {
            tracing::info!(returned, missing, "recovery after the election ended");
        }
    }
}
