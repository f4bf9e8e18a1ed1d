//! A load balancer's sidecar: the real core, which follows the event stream of apps and says what is to be routed.
//!
//! The balancer beside it does what it was told a moment later, and goes on doing it while the sidecar is away.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use haproxy::core::{Answer, Core, Effect, Input, Listing, Token};
use haproxy::service::Desired;
use haproxy::throttle::Backoff;
use haproxy::view::Settings;
use marathon::supervisor::message::Command;
use model::id::TaskId;
use model::time::Span;
use wire::marathon::Event;

use super::alarm::Alarm;
use super::{Crash, Due, Guess, Machine};
use crate::check::routes::Unfit;
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// The name by which supervisors know it.
const NAME: &str = "east";
/// As the sidecar has it: a silent feed, an answer, tries to acknowledge a drain, the first and the longest pause.
const SILENCE: Micros = 60 * SECOND;
const ANSWER: Micros = 46 * SECOND;
const TRIES: u32 = 6;
const FIRST: Span = Span::from_millis(100);
const LONGEST: Span = Span::from_secs(30);
/// A feed that stood for so long ends the growth of the pauses.
const STABLE: Micros = 60 * SECOND;

/// A machine with a balancer and a sidecar on it.
pub struct Sidecar {
    host: Host,
    supervisors: Vec<(String, Host)>,
    run: Option<Running>,
    /// What was last wanted, as it is stored.
    saved: Desired,
    /// What the balancer does.
    table: Desired,
    changes: u64,
    feeds: u64,
    drained: u64,
}

struct Running {
    core: Core,
    feed: Feed,
    requests: BTreeMap<ConnId, Request>,
    alarm: Alarm,
}

/// The event stream.
struct Feed {
    guess: Guess,
    conn: Option<ConnId>,
    open: bool,
    began: Micros,
    heard: Micros,
    seen: Option<u64>,
    backoff: Backoff,
    failures: usize,
}

/// A question under way.
struct Request {
    kind: Kind,
    call: AppsCall,
    /// Redirects, or tries, that are left.
    left: u32,
    /// When it was asked first.
    asked: Micros,
}

#[derive(Clone)]
enum Kind {
    List(Token),
    App(Token),
    Drained,
}

impl Sidecar {
    pub(crate) fn new(host: Host, supervisors: &[(String, Host)]) -> Self {
        Self {
            host,
            supervisors: supervisors.to_vec(),
            run: None,
            saved: Desired::default(),
            table: Desired::default(),
            changes: 0,
            feeds: 0,
            drained: 0,
        }
    }

    /// The tasks to which new connections are led.
    pub fn routed(&self) -> impl Iterator<Item = &str> {
        let servers =
            self.table.values().flat_map(|services| services.iter()).flat_map(|one| one.servers.values());
        servers.filter(|server| !server.draining).map(|server| server.task.as_str())
    }

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
        run.alarm.set(self.host, run.core.next_deadline(), cx);
    }

    fn execute(&mut self, effect: Effect, cx: &mut Context) {
        match effect {
            Effect::Desire(desired) => {
                self.saved = desired;
                let took = cx.between((2 * MS, 100 * MS));
                cx.later(self.host, took, Due::Applied);
            }
            Effect::List { token } => self.ask(Kind::List(token), AppsCall::List, 3, cx),
            Effect::Read { token, app } => self.ask(Kind::App(token), AppsCall::Read(app), 3, cx),
            Effect::Resolve(host) => {
                let number = host.trim_start_matches(char::is_alphabetic).parse::<u16>().ok();
                let address = number.map(|number| {
                    let [high, low] = number.to_be_bytes();
                    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
                });
                let took = cx.between((MS, 20 * MS));
                cx.later(self.host, took, Due::Sidecar(Box::new(Input::Resolved { host, address })));
            }
            Effect::Acknowledge(tasks) => {
                self.drained += tasks.len() as u64;
                let tasks = tasks.into_iter().map(TaskId::from).collect();
                let command = Command::Drained { drainer: NAME.to_owned(), tasks };
                self.ask(Kind::Drained, AppsCall::Command(command), TRIES, cx);
            }
        }
    }

    // --- questions

    fn ask(&mut self, kind: Kind, call: AppsCall, left: u32, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let conn = cx.dial(self.host, run.feed.guess.host(), Ask::Apps(Box::new(call.clone())));
        run.requests.insert(conn, Request { kind, call, left, asked: cx.now });
        cx.later(self.host, ANSWER, Due::Timeout(conn));
    }

    fn answered(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(request) = run.requests.remove(&conn) else { return };
        cx.close(conn, self.host);
        let Request { kind, call, left, asked } = request;
        if let (Frame::Redirect(leader), true) = (&frame, left > 0) {
            // A standby passes requests on; here it names the leader.
            let Some((_, host)) = self.supervisors.iter().find(|(known, _)| known == leader) else { return };
            let conn = cx.dial(self.host, *host, Ask::Apps(Box::new(call.clone())));
            run.requests.insert(conn, Request { kind, call, left: left - 1, asked });
            return cx.later(self.host, ANSWER, Due::Timeout(conn));
        }
        if let Frame::Apps(apps) = &frame {
            cx.judge.routes.listed(apps, asked, cx.now);
        }
        match (kind, frame) {
            (Kind::List(token), Frame::Apps(apps)) => {
                let listing = Listing { apps, ..Listing::default() };
                self.input(Input::Listed { token, listing: Some(listing) }, cx);
            }
            (Kind::List(token), _) => self.input(Input::Listed { token, listing: None }, cx),
            (Kind::App(token), Frame::Apps(mut apps)) => {
                let answer = apps.pop().map_or(Answer::Absent, |app| Answer::Found(Box::new(app)));
                self.input(Input::Read { token, answer }, cx);
            }
            (Kind::App(token), _) => self.input(Input::Read { token, answer: Answer::Failed }, cx),
            (Kind::Drained, Frame::Done(_)) => {}
            (Kind::Drained, _) if left > 0 => self.ask(Kind::Drained, call, left - 1, cx),
            (Kind::Drained, _) => {}
        }
    }

    // --- the feed

    fn connect(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.feed.conn.is_some() {
            return;
        }
        let after = run.feed.seen;
        let call = AppsCall::Events { after, kinds: haproxy::EVENTS, drainer: Some(NAME.to_owned()) };
        run.feed.conn = Some(cx.dial(self.host, run.feed.guess.host(), Ask::Apps(Box::new(call))));
        run.feed.open = false;
        (run.feed.began, run.feed.heard) = (cx.now, cx.now);
    }

    fn fed(&mut self, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.feed.heard = cx.now;
        match frame {
            Frame::Opened { .. } => {
                run.feed.open = true;
                self.feeds += 1;
                self.input(Input::Attached, cx);
            }
            Frame::AppEvent { number, data, .. } => {
                run.feed.seen = Some(number);
                if let Ok(event) = Event::from_json(&data) {
                    told(&event, cx);
                    self.input(Input::Event(Box::new(event)), cx);
                }
            }
            Frame::KeepAlive => {}
            Frame::Redirect(leader) => {
                run.feed.guess.redirected(&leader);
                self.lost(true, cx);
            }
            Frame::Refused { status: 410, .. } => {
                run.feed.seen = None;
                self.lost(false, cx);
            }
            _ => self.lost(false, cx),
        }
    }

    fn lost(&mut self, at_once: bool, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let feed = &mut run.feed;
        if let Some(conn) = feed.conn.take() {
            cx.close(conn, self.host);
        }
        if cx.now >= feed.began + STABLE {
            feed.backoff.reset();
            feed.failures = 0;
        }
        let mut pause = 1;
        if !at_once {
            feed.guess.failed();
            feed.failures += 1;
            // Each supervisor is tried once before the wait grows.
            let whole = feed.failures.is_multiple_of(self.supervisors.len());
            let most = if whole { feed.backoff.wait() } else { FIRST };
            pause = cx.between((1, most.as_millis() * MS));
        }
        cx.later(self.host, pause, Due::Again);
    }

    /// The balancer does what it was told, and soon has no connection to what is draining.
    fn apply(&mut self, cx: &mut Context) {
        self.table = self.saved.clone();
        self.changes += 1;
        let servers =
            self.table.values().flat_map(|services| services.iter()).flat_map(|one| one.servers.values());
        let draining: Vec<String> =
            servers.filter(|server| server.draining).map(|server| server.task.clone()).collect();
        if !draining.is_empty() {
            let took = cx.between((40 * MS, 800 * MS));
            cx.later(self.host, took, Due::Sidecar(Box::new(Input::Drained(draining))));
        }
        let tasks = self.routed().map(str::to_owned).collect();
        cx.judge.routes.leads_to(tasks, cx.now);
    }
}

/// What the feed says of an instance's fitness.
fn told(event: &Event, cx: &mut Context) {
    let now = cx.now;
    match event {
        Event::StatusUpdateEvent { task_id, task_status, .. } => {
            let ended =
                model::task::TaskState::from_name(task_status).is_some_and(|state| state.is_terminal());
            if ended {
                cx.judge.routes.told_unfit(task_id, Unfit::Ended, now);
            }
        }
        Event::HealthStatusChangedEvent { task_id, alive, .. } => {
            if *alive {
                cx.judge.routes.told_well(task_id);
            } else {
                cx.judge.routes.told_unfit(task_id, Unfit::Ill, now);
            }
        }
        _ => {}
    }
}

impl Machine for Sidecar {
    fn start(&mut self, cx: &mut Context) {
        let settings =
            Settings { groups: vec!["external".to_owned()], bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let jitter = Span::from_millis(cx.between((0, 30_000)));
        let feed = Feed {
            guess: Guess::new(&self.supervisors),
            conn: None,
            open: false,
            began: cx.now,
            heard: cx.now,
            seen: None,
            backoff: Backoff::new(FIRST, LONGEST),
            failures: 0,
        };
        let core = Core::new(settings, self.saved.clone(), jitter);
        self.run = Some(Running { core, feed, requests: BTreeMap::new(), alarm: Alarm::default() });
        self.connect(cx);
        cx.later(self.host, SECOND, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match what {
            Due::Wake => {
                run.alarm.rings(cx);
                if run.core.next_deadline().is_some_and(|deadline| deadline <= cx.clock(self.host)) {
                    self.input(Input::Wake, cx);
                } else {
                    self.arm(cx);
                }
            }
            Due::Again => self.connect(cx),
            Due::Next => {
                cx.later(self.host, SECOND, Due::Next);
                let silent = run.feed.conn.is_some() && cx.now > run.feed.heard + SILENCE;
                if silent {
                    self.lost(false, cx);
                }
                let Some(run) = &self.run else { return };
                // What was told a moment ago may rightly not be done yet.
                if run.feed.open {
                    cx.judge.routes.look(cx.now);
                }
            }
            Due::Timeout(conn) => self.answered(conn, Frame::End, cx),
            Due::Sidecar(input) => self.input(*input, cx),
            Due::Applied => self.apply(cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.feed.conn == Some(conn) {
            self.fed(frame, cx);
        } else {
            self.answered(conn, frame, cx);
        }
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        cx.judge.routes.forget();
        self.run = None;
    }

    fn unfinished(&self, cx: &Context) -> Vec<String> {
        cx.judge.apps.unrouted(self.routed())
    }

    fn report(&self) -> String {
        let held = self.run.as_ref().map_or(0, |run| run.core.held_lists());
        format!(
            "{} changes on {} feeds, {} tasks drained, {held} lists held back, {} backends",
            self.changes,
            self.feeds,
            self.drained,
            self.routed().count()
        )
    }
}
