//! A supervisor of apps: the real core on the kit's engine, with leadership by a lease and durable records in the masters'
//! key-value space.
//!
//! There are two of them. The one that holds the key of leadership reads the records, subscribes, and answers callers; the
//! other waits and names it.

mod edge;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use marathon::driver::{Framework, Windows, scheduler};
use marathon::supervisor::Settings;
use marathon::supervisor::message::{Command, Published};
use marathon::supervisor::state::State;
use model::task::TaskState;
use model::time::Span;
use rand::RngExt;
use sdk::engine::{Effect, Engine, Reply};
use sdk::scheduler::Records;
use sdk::step::Step;
use sdk::store::Record;
use wire::scheduler::Call;

use self::edge::Edge;
use super::campaign::{Campaign, News, Race};
use super::lanes::Lanes;
use super::store::{Store, Stored};
use super::subscription::Heard;
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// The namespace of the records, and the key whose holder leads.
const NAMESPACE: &str = "marathon";
const LEADER: &str = "leader";
/// How the judge calls leadership.
const OFFICE: &str = "the supervisors' leadership";
/// The role of all apps.
const ROLE: &str = "apps";
/// Between two looks at whether readers of events have room again.
const PUMP: Micros = 200 * MS;
/// As the kit has it.
const SUBSCRIBE_AGAIN: Micros = SECOND;

/// A machine with a supervisor on it.
pub struct Supervisor {
    host: Host,
    number: u64,
    address: String,
    masters: Vec<(String, Host)>,
    run: Option<Running>,
    starts: u64,
    terms: u64,
    commits: u64,
    launched: u64,
    killed: u64,
    published: u64,
}

struct Running {
    campaign: Campaign,
    /// The one that leads, as far as a standby knows.
    leader: Option<String>,
    term: Option<Term>,
    armed: Option<Micros>,
}

/// What there is only while it leads.
struct Term {
    /// The revision of the key it holds.
    token: u64,
    store: Store,
    /// Once the records are read.
    engine: Option<Engine<Box<Framework>>>,
    /// A batch is on its way to the store.
    storing: bool,
    lanes: Option<Lanes>,
    /// When to subscribe, while there is no subscription.
    again: Micros,
    edge: Edge,
    glass: Arc<Glass>,
    answers: (Sender<Answer>, Receiver<Answer>),
}

/// To whom, and what.
type Answer = (ConnId, Frame);

/// What readers are shown, until the machine has looked at it.
#[derive(Debug, Default)]
struct Glass(Mutex<Vec<Shown>>);

#[derive(Debug)]
enum Shown {
    Events(Vec<Arc<Published>>),
    View(Arc<State>),
}

impl Glass {
    fn put(&self, shown: Shown) {
        self.0.lock().expect("nobody panics with it").push(shown);
    }

    fn take(&self) -> Vec<Shown> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

impl Windows for Glass {
    fn publish(&self, events: Vec<Arc<Published>>) {
        self.put(Shown::Events(events));
    }

    fn show(&self, view: Arc<State>) {
        self.put(Shown::View(view));
    }

    fn close(&self) {}
}

impl Supervisor {
    pub(crate) fn new(host: Host, number: u64, address: String, masters: &[(String, Host)]) -> Self {
        Self {
            host,
            number,
            address,
            masters: masters.to_vec(),
            run: None,
            starts: 0,
            terms: 0,
            commits: 0,
            launched: 0,
            killed: 0,
            published: 0,
        }
    }

    /// Whether it believes to lead, and answers callers.
    pub fn leads(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.term.as_ref().is_some_and(|term| term.edge.is_open()))
    }

    // --- leadership

    fn learn(&mut self, news: Option<News>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match news {
            Some(News::Holds { token, until }) => {
                if cx.now < until {
                    cx.judge.leases.holds(OFFICE, self.number, token, cx.now, until);
                }
                self.terms += 1;
                run.leader = None;
                let mut store = Store::new(self.host, &self.masters, NAMESPACE, LEADER, token);
                store.load(cx);
                run.term = Some(Term {
                    token,
                    store,
                    engine: None,
                    storing: false,
                    lanes: None,
                    again: 0,
                    edge: Edge::new(self.host),
                    glass: Arc::default(),
                    answers: channel(),
                });
            }
            Some(News::Renewed { token, until }) => {
                cx.judge.leases.holds(OFFICE, self.number, token, cx.now, until);
            }
            Some(News::Lost { at }) => {
                cx.judge.leases.over(OFFICE, self.number, at);
                self.step_down(cx);
            }
            Some(News::Held { by }) => run.leader = (by != self.address).then_some(by),
            None => {}
        }
    }

    /// Leads no more: readers are sent away, those who wait learn that the outcome is unknown here.
    fn step_down(&mut self, cx: &mut Context) {
        let Some(mut term) = self.run.as_mut().and_then(|run| run.term.take()) else { return };
        if let Some(lanes) = &mut term.lanes {
            lanes.subscription.hang_up(cx);
        }
        term.edge.close(cx);
    }

    /// The store says that another leads.
    fn deposed(&mut self, cx: &mut Context) {
        self.step_down(cx);
        let news = self.run.as_mut().and_then(|run| run.campaign.release(cx));
        self.learn(news, cx);
    }

    fn term(&mut self) -> Option<&mut Term> {
        self.run.as_mut()?.term.as_mut()
    }

    fn engine(&mut self) -> Option<&mut Engine<Box<Framework>>> {
        self.term()?.engine.as_mut()
    }

    fn stored(&mut self, stored: Option<Stored>, cx: &mut Context) {
        match stored {
            Some(Stored::Loaded(records)) => self.elected(records, cx),
            Some(Stored::Committed) => {
                let Some(term) = self.term() else { return };
                term.storing = false;
                let effects = term.engine.as_mut().map(Engine::stored).unwrap_or_default();
                self.execute(effects, cx);
                self.go_on(cx);
            }
            Some(Stored::Deposed) => self.deposed(cx),
            None => {}
        }
    }

    // --- the engine

    fn elected(&mut self, records: Vec<Record>, cx: &mut Context) {
        let now = cx.clock(self.host);
        let settings = Settings {
            role: ROLE.to_owned(),
            service_ports: 10_000..=10_100,
            drain_timeout: Span::from_secs(10),
        };
        let seed = [cx.random.random(), cx.random.random()];
        let Some(term) = self.term() else { return };
        let framework = Box::new(Framework::new(settings, term.glass.clone(), move || seed));
        let known = sdk::engine::framework(&records);
        let mut engine = Engine::new(framework, known, marathon::limits::REFUSE).with_prefix("");
        let elected = engine.elected(now, &Records::under_prefix("", records));
        term.engine = Some(engine);
        self.must(elected, cx);
        self.subscribe(cx);
        self.go_on(cx);
    }

    /// What the kit ends a run for must not happen here.
    fn must(&self, outcome: Result<(), sdk::scheduler::RunError>, cx: &mut Context) {
        if let Err(error) = outcome {
            cx.judge.broken("supervisors go on", error.to_string());
        }
    }

    fn subscribe(&mut self, cx: &mut Context) {
        let mut info = scheduler::framework_info(ROLE, &self.address);
        let (host, masters) = (self.host, self.masters.clone());
        let Some(term) = self.term() else { return };
        info.id = term.engine.as_ref().and_then(|engine| engine.framework().map(Into::into));
        term.lanes = Some(Lanes::start(host, &masters, info, cx));
    }

    /// Stores what is to be stored and does what may be done, until the one waits for the other.
    fn go_on(&mut self, cx: &mut Context) {
        loop {
            self.look(cx);
            let Some(term) = self.term() else { return };
            let Some(engine) = &mut term.engine else { return };
            let effects = engine.release();
            if !term.storing
                && let Some(batch) = engine.next_batch()
            {
                term.storing = true;
                term.store.commit(batch, cx);
                self.commits += 1;
            }
            if effects.is_empty() {
                return self.arm(cx);
            }
            self.execute(effects, cx);
        }
    }

    fn execute(&mut self, effects: Vec<Effect>, cx: &mut Context) {
        for effect in effects {
            match effect {
                Effect::Call(call) => self.call(*call, cx),
                Effect::Reply(reply) => {
                    reply();
                    self.look(cx);
                }
                Effect::Finish => cx.judge.broken("supervisors go on", "it has finished".to_owned()),
            }
        }
    }

    /// Shows readers what there is to see now, and tells those whose request is stored.
    fn look(&mut self, cx: &mut Context) {
        let Some(term) = self.term() else { return };
        let mut behind = Vec::new();
        let mut published = 0;
        for shown in term.glass.take() {
            match shown {
                Shown::Events(events) => {
                    published += events.len() as u64;
                    for event in &events {
                        cx.judge.stream.published(event.number, &event.payload);
                    }
                    behind.extend(term.edge.publish(&events, cx));
                }
                Shown::View(view) => {
                    cx.judge.changes.viewed(term.token, &view);
                    cx.judge.strategy.viewed(term.token, &view, cx.now);
                    term.edge.show(view);
                }
            }
        }
        while let Ok((conn, frame)) = term.answers.1.try_recv() {
            if matches!(frame, Frame::Done(_)) {
                cx.judge.changes.acknowledged(conn);
            }
            term.edge.answer(conn, frame, cx);
        }
        self.published += published;
        self.drainers_left(behind, cx);
    }

    fn drainers_left(&mut self, names: Vec<String>, cx: &mut Context) {
        for name in names {
            self.ask(cx, |framework, step| {
                framework.drainer_disconnected(name, step);
                Box::new(|| ())
            });
        }
    }

    /// Runs a step of the scheduler. What comes of it is done by the next [`Self::go_on`].
    fn ask(&mut self, cx: &mut Context, ask: impl FnOnce(&mut Framework, &mut Step) -> Reply) {
        let now = cx.clock(self.host);
        let Some(engine) = self.engine() else { return };
        let asked = engine.ask(now, ask);
        self.must(asked, cx);
    }

    fn call(&mut self, call: Call, cx: &mut Context) {
        self.launched += sdk::call::launched(&call).len() as u64;
        self.killed += u64::from(call.kill.is_some());
        let Some(term) = self.term() else { return };
        // Without a subscription it is lost, and repeated after the next.
        let Some(lanes) = &mut term.lanes else { return };
        if let (Some(kill), Some(id)) = (&call.kill, lanes.subscription.id()) {
            cx.judge.survival.asked(&id.value, &kill.task_id.value.as_str().into());
        }
        let uncertain = lanes.send(call, cx);
        self.uncertain(uncertain, cx);
    }

    fn uncertain(&mut self, tasks: Vec<model::id::TaskId>, cx: &mut Context) {
        let now = cx.clock(self.host);
        if !tasks.is_empty()
            && let Some(engine) = self.engine()
        {
            let heard = engine.heard(now, sdk::subscription::Heard::Uncertain(tasks));
            self.must(heard, cx);
        }
    }

    fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(engine) = run.term.as_ref().and_then(|term| term.engine.as_ref()) else { return };
        let Some(deadline) = engine.next_deadline() else { return };
        let at = cx.of(self.host).clock.reaches(deadline).max(cx.now);
        if run.armed.is_none_or(|armed| armed > at) {
            run.armed = Some(at);
            cx.later(self.host, at - cx.now, Due::Wake);
        }
    }

    fn wake(&mut self, cx: &mut Context) {
        let heard = self.term().and_then(|term| term.lanes.as_mut()?.subscription.wake(cx));
        self.told(heard, cx);
        let now = cx.clock(self.host);
        let Some(run) = &mut self.run else { return };
        if run.armed.is_some_and(|armed| armed <= cx.now) {
            run.armed = None;
        }
        let Some(term) = &mut run.term else { return };
        let Some(engine) = &mut term.engine else { return };
        let due = engine.next_deadline().is_some_and(|deadline| deadline <= now);
        let woken = if due { engine.wake(now) } else { Ok(()) };
        let again = term.lanes.is_none() && cx.now >= term.again;
        self.must(woken, cx);
        if again {
            self.subscribe(cx);
        }
        self.go_on(cx);
    }

    fn told(&mut self, heard: Option<Heard>, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(lanes) = self.term().and_then(|term| term.lanes.as_mut()) else { return };
        let heard = match heard {
            Some(Heard::Event(event)) => {
                if let Some(subscribed) = &event.subscribed {
                    cx.judge.facts.subscribed(subscribed.framework_id.value.as_str().into());
                }
                if let (Some(update), Some(id)) = (&event.update, lanes.subscription.id()) {
                    cx.judge.updates.received(&id.value, &update.status);
                    if let Some(state) = TaskState::from_name(update.status.state().as_str_name()) {
                        cx.judge.strategy.told(&update.status.task_id.value, state);
                    }
                }
                sdk::subscription::Heard::read(event)
            }
            Some(Heard::Lost) => {
                Some(sdk::subscription::Heard::Lost { reason: "the stream is broken".to_owned() })
            }
            Some(Heard::Answered { conn, call, taken }) => {
                let uncertain = lanes.answered(conn, &call, taken, cx);
                self.uncertain(uncertain, cx);
                None
            }
            None => None,
        };
        let Some(term) = self.term() else { return };
        if matches!(heard, Some(sdk::subscription::Heard::Ended { .. })) {
            term.lanes = None;
            term.again = cx.now + SUBSCRIBE_AGAIN;
            cx.later(self.host, SUBSCRIBE_AGAIN, Due::Wake);
        }
        if let (Some(heard), Some(engine)) = (heard, self.engine()) {
            let heard = engine.heard(now, heard);
            self.must(heard, cx);
        }
        self.go_on(cx);
    }

    // --- callers

    fn asked(&mut self, conn: ConnId, call: AppsCall, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(term) = run.term.as_mut().filter(|term| term.edge.is_open()) else {
            let frame = run.leader.clone().map_or(Frame::Unavailable, Frame::Redirect);
            cx.send(conn, self.host, frame);
            return cx.close(conn, self.host);
        };
        match call {
            AppsCall::Command(command) => {
                if let Command::Kill { selection, .. } = &command {
                    cx.judge.strategy.killed_by_user(selection, cx.now);
                }
                term.edge.waits(conn);
                let (token, sender) = (term.token, term.answers.0.clone());
                let (asked, mut taken) = (command.clone(), None);
                self.ask(cx, |framework, step| {
                    let frame = match framework.command(&Default::default(), command, step) {
                        Ok(reply) => {
                            taken = Some(reply.clone());
                            Frame::Done(Box::new(reply))
                        }
                        Err(refusal) => Frame::Refused { status: 409, text: refusal.to_string() },
                    };
                    // Whoever asks a supervisor that leads no more is told otherwise.
                    Box::new(move || drop(sender.send((conn, frame))))
                });
                if let Some(reply) = taken {
                    cx.judge.changes.decided(token, conn, &asked, &reply);
                }
                self.go_on(cx);
            }
            AppsCall::Events { after, kinds, drainer } => {
                if term.edge.listen(conn, after, kinds, drainer.clone(), cx)
                    && let Some(name) = drainer
                {
                    self.ask(cx, |framework, step| {
                        framework.drainer_connected(name, step);
                        Box::new(|| ())
                    });
                    self.go_on(cx);
                }
            }
            AppsCall::List => term.edge.read(conn, None, cx),
            AppsCall::Read(app) => term.edge.read(conn, Some(&app), cx),
        }
    }
}

impl Machine for Supervisor {
    fn start(&mut self, cx: &mut Context) {
        self.starts += 1;
        let campaign =
            Campaign::new(self.host, &self.masters, Race::of_the_kit(NAMESPACE, LEADER, &self.address));
        campaign.rest(cx);
        self.run = Some(Running { campaign, leader: None, term: None, armed: None });
        cx.later(self.host, PUMP, Due::Pump);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match what {
            Due::Next => {
                let news = run.campaign.next(cx);
                self.learn(news, cx);
            }
            Due::Expired => {
                let news = run.campaign.expired(cx);
                self.learn(news, cx);
            }
            Due::Again => {
                run.campaign.again(cx);
                let Some(term) = &mut run.term else { return };
                term.store.again(cx);
                if let Some(lanes) = &mut term.lanes {
                    let uncertain = lanes.again(cx);
                    self.uncertain(uncertain, cx);
                    self.go_on(cx);
                }
            }
            Due::Wake => self.wake(cx),
            Due::Timeout(conn) => {
                let news = run.campaign.timeout(conn, cx);
                let stored = run.term.as_mut().and_then(|term| term.store.timeout(conn, cx));
                let lanes = run.term.as_mut().and_then(|term| term.lanes.as_mut());
                let heard = lanes.and_then(|lanes| lanes.subscription.timeout(conn, cx));
                self.learn(news, cx);
                self.stored(stored, cx);
                if heard.is_some() {
                    self.told(heard, cx);
                }
            }
            Due::Pump => {
                cx.later(self.host, PUMP, Due::Pump);
                if let Some(term) = &mut run.term {
                    let left = term.edge.pump(cx);
                    self.drainers_left(left, cx);
                    self.go_on(cx);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if let Frame::Ask(ask) = frame {
            return match ask {
                Ask::Apps(call) => self.asked(conn, *call, cx),
                _ => cx.close(conn, self.host),
            };
        }
        if let Some(term) = &mut run.term {
            if matches!(frame, Frame::End) && term.edge.knows(conn) {
                let left = term.edge.gone(conn, cx);
                self.drainers_left(left.into_iter().collect(), cx);
                return self.go_on(cx);
            }
            if term.store.is_mine(conn) {
                let stored = term.store.heard(conn, frame, cx);
                return self.stored(stored, cx);
            }
            if !run.campaign.is_mine(conn)
                && let Some(lanes) = &mut term.lanes
            {
                let heard = lanes.subscription.heard(conn, frame, cx);
                return self.told(heard, cx);
            }
        }
        let news = run.campaign.heard(conn, frame, cx);
        self.learn(news, cx);
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        cx.judge.leases.over(OFFICE, self.number, cx.now);
        self.run = None;
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        let Some(run) = &self.run else { return vec!["does not run".to_owned()] };
        let Some(term) = &run.term else { return Vec::new() };
        let mut missing = Vec::new();
        if !term.lanes.as_ref().is_some_and(|lanes| lanes.subscription.is_subscribed()) {
            missing.push("leads and is not subscribed".to_owned());
        }
        missing.extend(term.edge.unfinished());
        missing
    }

    fn report(&self) -> String {
        format!(
            "started {} times, led {} terms, {} commits, {} launches, {} kills, {} events",
            self.starts, self.terms, self.commits, self.launched, self.killed, self.published
        )
    }
}
