//! A supervisor of apps: the real core, with leadership by a lease and durable records in the masters' key-value space.
//!
//! There are two of them. The one that holds the key of leadership reads the records, subscribes, and answers callers; the
//! other waits and names it.

mod edge;

use marathon::driver::scheduler;
use marathon::supervisor::message::{Call, Command, Commit, Effect, Input, Operation, Record};
use marathon::supervisor::{Settings, Supervisor as Core};
use model::time::Span;
use rand::RngExt;
use sdk::store::Write;

use self::edge::Edge;
use super::campaign::{Campaign, News, Race};
use super::lanes::Lanes;
use super::store::{Store, Stored};
use super::subscription::Heard;
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros};

/// The namespace of the records, and the key whose holder leads.
const NAMESPACE: &str = "marathon";
const LEADER: &str = "leader";
/// How the judge calls leadership.
const OFFICE: &str = "the supervisors' leadership";
/// The role of all apps.
const ROLE: &str = "apps";
/// Between two looks at whether readers of events have room again.
const PUMP: Micros = 200 * MS;

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
    core: Core,
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
    lanes: Option<Lanes>,
    edge: Edge,
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
                run.term = Some(Term { token, store, lanes: None, edge: Edge::new(self.host) });
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
        let Some(run) = &mut self.run else { return };
        let Some(mut term) = run.term.take() else { return };
        run.core.handle(cx.clock(self.host), Input::Deposed, &mut Vec::new());
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

    // --- the core

    fn input(&mut self, input: Input, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let mut effects = Vec::new();
        run.core.handle(cx.clock(self.host), input, &mut effects);
        for effect in effects {
            self.execute(effect, cx);
        }
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(deadline) = run.core.next_deadline() else { return };
        let at = cx.of(self.host).clock.reaches(deadline).max(cx.now);
        if run.armed.is_none_or(|armed| armed > at) {
            run.armed = Some(at);
            cx.later(self.host, at - cx.now, Due::Wake);
        }
    }

    fn execute(&mut self, effect: Effect, cx: &mut Context) {
        let Some(term) = self.run.as_mut().and_then(|run| run.term.as_mut()) else { return };
        match effect {
            Effect::Commit(commit) => {
                self.commits += 1;
                let (number, writes) = (commit.number, writes(commit));
                term.store.commit(number, writes, cx);
            }
            Effect::Call(call) => self.call(call, cx),
            Effect::Publish(events) => {
                self.published += events.len() as u64;
                for event in &events {
                    cx.judge.stream.published(event.number, &event.payload);
                }
                for name in term.edge.publish(&events, cx) {
                    self.input(Input::DrainerDisconnected { name }, cx);
                }
            }
            Effect::View(view) => {
                cx.judge.strategy.viewed(term.token, &view, cx.now);
                term.edge.show(view);
            }
            Effect::Answer(request, answer) => term.edge.answer(request, answer, cx),
        }
    }

    fn call(&mut self, call: Call, cx: &mut Context) {
        let Some(term) = self.run.as_mut().and_then(|run| run.term.as_mut()) else { return };
        match call {
            Call::Subscribe { framework } => {
                if let Some(lanes) = &mut term.lanes {
                    lanes.subscription.hang_up(cx);
                }
                let info = scheduler::framework_info(ROLE, &self.address, framework);
                term.lanes = Some(Lanes::start(self.host, &self.masters, info, cx));
            }
            Call::Disconnect => {
                if let Some(mut lanes) = term.lanes.take() {
                    lanes.subscription.hang_up(cx);
                }
            }
            call => {
                let Some(lanes) = &mut term.lanes else { return };
                match &call {
                    Call::Kill(kill) => {
                        self.killed += 1;
                        if let Some(id) = lanes.subscription.id() {
                            cx.judge.survival.asked(&id.value, &kill.task);
                        }
                    }
                    Call::Accept { launches, .. } => self.launched += launches.len() as u64,
                    _ => {}
                }
                if let Some(message) = scheduler::message(call) {
                    let uncertain = lanes.send(message, cx);
                    self.uncertain(uncertain, cx);
                }
            }
        }
    }

    fn uncertain(&mut self, tasks: Vec<model::id::TaskId>, cx: &mut Context) {
        if !tasks.is_empty() {
            self.input(Input::Uncertain(tasks), cx);
        }
    }

    fn stored(&mut self, stored: Option<Stored>, cx: &mut Context) {
        match stored {
            Some(Stored::Loaded(records)) => {
                let seed = [cx.random.random(), cx.random.random()];
                let record =
                    |stored: sdk::store::Record| Record { key: stored.key, value: stored.value.to_vec() };
                let records = records.into_iter().map(record).collect();
                self.input(Input::Elected { seed, records }, cx);
            }
            Some(Stored::Committed { number }) => self.input(Input::Committed { number }, cx),
            Some(Stored::Deposed) => self.deposed(cx),
            None => {}
        }
    }

    fn told(&mut self, heard: Option<Heard>, cx: &mut Context) {
        let Some(lanes) = self.run.as_mut().and_then(|run| run.term.as_mut()?.lanes.as_mut()) else { return };
        match heard {
            Some(Heard::Event(event)) => {
                if let Some(subscribed) = &event.subscribed {
                    cx.judge.facts.subscribed(subscribed.framework_id.value.as_str().into());
                }
                if let (Some(update), Some(id)) = (&event.update, lanes.subscription.id()) {
                    cx.judge.updates.received(&id.value, &update.status);
                }
                if let Some(heard) = sdk::subscription::Heard::read(event) {
                    self.input(scheduler::input(heard), cx);
                }
            }
            Some(Heard::Lost) => self.input(Input::Disconnected, cx),
            Some(Heard::Answered { conn, call, taken }) => {
                let uncertain = lanes.answered(conn, &call, taken, cx);
                self.uncertain(uncertain, cx);
            }
            None => {}
        }
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
                let request = term.edge.waits(conn);
                self.input(Input::Request { request, origin: Default::default(), command }, cx);
            }
            AppsCall::Events { after, kinds, drainer } => {
                if term.edge.listen(conn, after, kinds, drainer.clone(), cx)
                    && let Some(name) = drainer
                {
                    self.input(Input::DrainerConnected { name }, cx);
                }
            }
            AppsCall::List => term.edge.read(conn, None, cx),
            AppsCall::Read(app) => term.edge.read(conn, Some(&app), cx),
        }
    }
}

/// What a commit writes, in the words of the kit.
fn writes(commit: Commit) -> Vec<Write> {
    let write = |operation| match operation {
        Operation::Put { key, value } => Write::Put { key, value: value.into() },
        Operation::Delete { key } => Write::Delete { key },
    };
    commit.operations.into_iter().map(write).collect()
}

impl Machine for Supervisor {
    fn start(&mut self, cx: &mut Context) {
        self.starts += 1;
        let settings = Settings {
            role: ROLE.to_owned(),
            service_ports: 10_000..=10_100,
            drain_timeout: Span::from_secs(10),
        };
        let campaign =
            Campaign::new(self.host, &self.masters, Race::of_the_kit(NAMESPACE, LEADER, &self.address));
        campaign.rest(cx);
        self.run =
            Some(Running { core: Core::new(settings), campaign, leader: None, term: None, armed: None });
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
                }
            }
            Due::Wake => {
                let heard = run.term.as_mut().and_then(|term| term.lanes.as_mut()?.subscription.wake(cx));
                self.told(heard, cx);
                let now = cx.clock(self.host);
                let Some(run) = &mut self.run else { return };
                if run.armed.is_some_and(|armed| armed <= cx.now) {
                    run.armed = None;
                }
                if run.core.next_deadline().is_some_and(|deadline| deadline <= now) {
                    self.input(Input::Wake, cx);
                } else {
                    self.arm(cx);
                }
            }
            Due::Timeout(conn) => {
                let news = run.campaign.timeout(conn, cx);
                let stored = run.term.as_mut().and_then(|term| term.store.timeout(conn, cx));
                let lanes = run.term.as_mut().and_then(|term| term.lanes.as_mut());
                let heard = lanes.and_then(|lanes| lanes.subscription.timeout(conn, cx));
                self.learn(news, cx);
                self.stored(stored, cx);
                self.told(heard, cx);
            }
            Due::Pump => {
                cx.later(self.host, PUMP, Due::Pump);
                if let Some(term) = &mut run.term {
                    for name in term.edge.pump(cx) {
                        self.input(Input::DrainerDisconnected { name }, cx);
                    }
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
                if let Some(name) = term.edge.gone(conn, cx) {
                    self.input(Input::DrainerDisconnected { name }, cx);
                }
                return;
            }
            if term.store.is_mine(conn) {
                let stored = term.store.heard(conn, frame, cx);
                return self.stored(stored, cx);
            }
            if run.campaign.is_mine(conn) {
                let news = run.campaign.heard(conn, frame, cx);
                return self.learn(news, cx);
            }
            if let Some(lanes) = &mut term.lanes {
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
