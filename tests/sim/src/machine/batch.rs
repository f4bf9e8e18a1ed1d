//! A scheduler of jobs: the real core and the kit's real engine, with leadership by a lease and durable records in the
//! masters' key-value space.
//!
//! There are two of them. The one that holds the key of leadership reads the records, subscribes, and answers callers; the
//! other waits and names it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use agent_core::TaskKey;
use chronos::core::run::Run;
use chronos::core::scheduler::Settings;
use chronos::{Batch as Core, Channels};
use model::time::Span;
use sdk::engine::{Effect, Engine};
use sdk::scheduler::{Records, Scheduler as _};
use sdk::store::Record;
use wire::scheduler::Call;

use super::campaign::{Campaign, News, Race};
use super::lanes::Lanes;
use super::store::{Store, Stored};
use super::subscription::Heard;
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{Ask, Frame, JobsCall};
use crate::net::{ConnId, Host, Micros, SECOND};

/// The namespace of the records, and the key whose holder leads.
pub(crate) const NAMESPACE: &str = "chronos";
const LEADER: &str = "leader";
/// How the judge calls leadership.
const OFFICE: &str = "the batch schedulers' leadership";
/// The role of all jobs.
const ROLE: &str = "jobs";
/// Before a master is asked again that ended the subscription, as the kit has it.
const SUBSCRIBE_AGAIN: Micros = SECOND;

/// A machine with a batch scheduler on it.
pub struct Batch {
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
    store: Store,
    /// Since the records are read.
    engine: Option<Engine<Box<Core>>>,
    storing: bool,
    lanes: Option<Lanes>,
    /// When to subscribe, while there is no subscription.
    again: Micros,
    /// Callers without an answer.
    waiting: BTreeSet<ConnId>,
    answers: (Sender<Answer>, Receiver<Answer>),
}

/// To whom, and what.
type Answer = (ConnId, Frame);

impl Batch {
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
        }
    }

    /// Whether it knows that a task may run. `None` of what is no task of a run, or while it does not lead.
    pub(crate) fn knows(&self, key: &TaskKey) -> Option<bool> {
        let engine = self.run.as_ref()?.term.as_ref()?.engine.as_ref()?;
        chronos::core::run::of_task(key.task.as_str())?;
        Some(engine.scheduler().tasks().iter().any(|(task, _)| *task == key.task))
    }

    fn term(&mut self) -> Option<&mut Term> {
        self.run.as_mut()?.term.as_mut()
    }

    fn engine(&mut self) -> Option<&mut Engine<Box<Core>>> {
        self.term()?.engine.as_mut()
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
                let standing = cx.of_mut(self.host);
                standing.clock = standing.wall;
                run.leader = None;
                let mut store = Store::new(self.host, &self.masters, NAMESPACE, LEADER, token);
                store.load(cx);
                run.term = Some(Term {
                    store,
                    engine: None,
                    storing: false,
                    lanes: None,
                    again: 0,
                    waiting: BTreeSet::new(),
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

    /// Leads no more: those who wait learn that the outcome is unknown here.
    fn step_down(&mut self, cx: &mut Context) {
        let Some(mut term) = self.run.as_mut().and_then(|run| run.term.take()) else { return };
        if let Some(lanes) = &mut term.lanes {
            lanes.subscription.hang_up(cx);
        }
        for conn in term.waiting {
            cx.send(conn, self.host, Frame::Unavailable);
            cx.close(conn, self.host);
        }
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
            Some(Stored::Deposed) => {
                self.step_down(cx);
                let news = self.run.as_mut().and_then(|run| run.campaign.release(cx));
                self.learn(news, cx);
            }
            None => {}
        }
    }

    // --- the engine

    fn elected(&mut self, records: Vec<Record>, cx: &mut Context) {
        let now = cx.clock(self.host);
        let framework = sdk::engine::framework(&records);
        let settings = Settings { failure_retry: Span::from_secs(2), disable_after_failures: 0 };
        let core = Box::new(Core::new(settings, "", Channels::default()));
        let mut engine = Engine::new(core, framework, model::limits::REFUSE_DEFAULT);
        let elected = engine.elected(now, &Records::new(records));
        let Some(term) = self.term() else { return };
        term.engine = Some(engine);
        self.must(elected, cx);
        self.subscribe(cx);
        self.go_on(cx);
    }

    /// What the kit ends a run for must not happen here.
    fn must(&self, outcome: Result<(), sdk::scheduler::RunError>, cx: &mut Context) {
        if let Err(error) = outcome {
            cx.judge.broken("schedulers of jobs go on", error.to_string());
        }
    }

    fn subscribe(&mut self, cx: &mut Context) {
        let mut info = sdk::scheduler::Settings::new("chronos", &[]).info;
        info.roles = vec![ROLE.to_owned()];
        let (host, masters) = (self.host, self.masters.clone());
        let Some(term) = self.term() else { return };
        info.id = term.engine.as_ref().and_then(|engine| engine.framework().map(Into::into));
        term.lanes = Some(Lanes::start(host, &masters, info, cx));
    }

    /// Stores what is to be stored and does what may be done, until the one waits for the other.
    fn go_on(&mut self, cx: &mut Context) {
        loop {
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
                    self.answer(cx);
                }
                Effect::Finish => cx.judge.broken("schedulers of jobs go on", "it has finished".to_owned()),
            }
        }
    }

    fn call(&mut self, call: Call, cx: &mut Context) {
        let launched = sdk::call::launched(&call).len() as u64;
        self.launched += launched;
        self.killed += u64::from(call.kill.is_some());
        let now = cx.clock(self.host);
        let Some(term) = self.term() else { return };
        // Without a subscription it is lost, and repeated after the next.
        let Some(lanes) = &mut term.lanes else { return };
        if let (Some(kill), Some(id)) = (&call.kill, lanes.subscription.id()) {
            cx.judge.survival.asked(&id.value, &kill.task_id.value.as_str().into());
        }
        let uncertain = lanes.send(call, cx);
        self.uncertain(now, uncertain, cx);
    }

    fn uncertain(&mut self, now: model::time::Time, tasks: Vec<model::id::TaskId>, cx: &mut Context) {
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
                }
                sdk::subscription::Heard::read(event)
            }
            Some(Heard::Lost) => {
                Some(sdk::subscription::Heard::Lost { reason: "the stream is broken".to_owned() })
            }
            Some(Heard::Answered { conn, call, taken }) => {
                let uncertain = lanes.answered(conn, &call, taken, cx);
                self.uncertain(now, uncertain, cx);
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

    fn asked(&mut self, conn: ConnId, call: JobsCall, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(run) = &mut self.run else { return };
        let Some(term) = run.term.as_mut().filter(|term| term.engine.is_some()) else {
            let frame = run.leader.clone().map_or(Frame::Unavailable, Frame::Redirect);
            cx.send(conn, self.host, frame);
            return cx.close(conn, self.host);
        };
        term.waiting.insert(conn);
        let sender = term.answers.0.clone();
        let Some(engine) = &mut term.engine else { return };
        let asked = engine.ask(now, move |core, step| {
            let answer = match call {
                JobsCall::Command(command) => match core.command(command, step) {
                    Ok(reply) => Frame::JobDone(reply),
                    Err(refusal) => Frame::Refused { status: 400, text: refusal.to_string() },
                },
                JobsCall::List => {
                    Frame::Jobs(core.book().jobs.values().map(|job| Arc::clone(&job.definition)).collect())
                }
            };
            // Whoever asks a scheduler that leads no more is told otherwise.
            Box::new(move || drop(sender.send((conn, answer))))
        });
        self.must(asked, cx);
        self.go_on(cx);
    }

    /// Tells those whose request is stored.
    fn answer(&mut self, cx: &mut Context) {
        let host = self.host;
        let Some(term) = self.term() else { return };
        while let Ok((conn, frame)) = term.answers.1.try_recv() {
            if !term.waiting.remove(&conn) {
                continue;
            }
            cx.send(conn, host, frame);
            cx.close(conn, host);
        }
    }
}

impl Machine for Batch {
    fn start(&mut self, cx: &mut Context) {
        self.starts += 1;
        let race = Race::of_the_kit(NAMESPACE, LEADER, &self.address);
        let campaign = Campaign::new(self.host, &self.masters, race);
        campaign.rest(cx);
        self.run = Some(Running { campaign, leader: None, term: None, armed: None });
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
                    self.uncertain(cx.clock(self.host), uncertain, cx);
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
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if let Frame::Ask(ask) = frame {
            return match ask {
                Ask::Jobs(call) => self.asked(conn, *call, cx),
                _ => cx.close(conn, self.host),
            };
        }
        if let Some(term) = &mut run.term {
            if matches!(frame, Frame::End) && term.waiting.remove(&conn) {
                return cx.close(conn, self.host);
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

    /// A term keeps its time: when that is not the machine's any more, the term ends.
    fn clock_set(&mut self, cx: &mut Context) {
        let standing = cx.of(self.host);
        if standing.wall.ahead_ms.abs_diff(standing.clock.ahead_ms) > sdk::limits::CLOCK_STEP.as_millis() {
            self.step_down(cx);
            let news = self.run.as_mut().and_then(|run| run.campaign.release(cx));
            self.learn(news, cx);
        }
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        let Some(run) = &self.run else { return vec!["does not run".to_owned()] };
        let Some(term) = &run.term else { return Vec::new() };
        let Some(engine) = &term.engine else { return vec!["has yet to read its records".to_owned()] };
        let mut missing = Vec::new();
        if !term.lanes.as_ref().is_some_and(|lanes| lanes.subscription.is_subscribed()) {
            missing.push("leads and is not subscribed".to_owned());
        }
        let book = engine.scheduler().book();
        let runs = book.active.keys().flat_map(|job| book.active_of(job));
        let told = |run: Arc<Run>| {
            let task = run.task.as_ref().map_or("no task", |task| task.id.as_str());
            format!("has yet to finish {} ({}, {task})", run.id(), run.state.name())
        };
        missing.extend(runs.map(told));
        missing
    }

    fn report(&self) -> String {
        format!(
            "started {} times, led {} terms, {} commits, {} launches, {} kills",
            self.starts, self.terms, self.commits, self.launched, self.killed
        )
    }
}
