//! An instance of a scheduler that is led in turns: the real core on the kit's real engine, with leadership by a lease and
//! durable records in the masters' key-value space.
//!
//! There are two of a kind. The one that holds the key of leadership reads the records, subscribes, and answers callers; the
//! other waits and names it.

mod engine;
mod kind;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use sdk::engine::Engine;

pub(crate) use self::kind::Kind;
use super::alarm::Alarm;
use super::campaign::{Campaign, News, Race};
use super::lanes::Lanes;
use super::store::{Store, Stored};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, Micros};

/// The key whose holder leads.
const LEADER: &str = "leader";

/// A machine with such an instance on it.
pub(crate) struct Instance<K: Kind> {
    pub(super) host: Host,
    number: u64,
    address: String,
    masters: Vec<(String, Host)>,
    pub(super) kind: K,
    run: Option<Running<K>>,
    starts: u64,
    terms: u64,
    commits: u64,
    launched: u64,
    killed: u64,
}

struct Running<K: Kind> {
    campaign: Campaign,
    /// The one that leads, as far as a standby knows.
    leader: Option<String>,
    term: Option<Term<K>>,
    alarm: Alarm,
}

/// What there is only while it leads.
struct Term<K: Kind> {
    store: Store,
    /// Once the records are read.
    engine: Option<Engine<Box<K::Scheduler>>>,
    /// A batch is on its way to the store.
    storing: bool,
    lanes: Option<Lanes>,
    /// When to subscribe, while there is no subscription.
    again: Micros,
    /// Callers without an answer.
    waiting: BTreeSet<ConnId>,
    answers: (Sender<Answer>, Receiver<Answer>),
    api: K::Api,
}

/// To whom, and what.
type Answer = (ConnId, Frame);

impl<K: Kind> Term<K> {
    fn new(store: Store, api: K::Api) -> Self {
        Self {
            store,
            engine: None,
            storing: false,
            lanes: None,
            again: 0,
            waiting: BTreeSet::new(),
            answers: channel(),
            api,
        }
    }

    /// Whether callers are answered.
    fn is_open(&self) -> bool {
        self.engine.is_some() && K::is_open(&self.api)
    }
}

impl<K: Kind> Instance<K> {
    pub(crate) fn new(host: Host, number: u64, address: String, masters: &[(String, Host)]) -> Self {
        Self {
            host,
            number,
            address,
            masters: masters.to_vec(),
            kind: K::default(),
            run: None,
            starts: 0,
            terms: 0,
            commits: 0,
            launched: 0,
            killed: 0,
        }
    }

    fn term(&mut self) -> Option<&mut Term<K>> {
        self.run.as_mut()?.term.as_mut()
    }

    /// What callers are shown, while it leads.
    pub(super) fn api(&mut self) -> Option<&mut K::Api> {
        Some(&mut self.term()?.api)
    }

    /// Who decides, once the records are read; none while it does not lead.
    pub(super) fn scheduler(&self) -> Option<&K::Scheduler> {
        Some(self.run.as_ref()?.term.as_ref()?.engine.as_ref()?.scheduler())
    }

    // --- leadership

    fn learn(&mut self, news: Option<News>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match news {
            Some(News::Holds { token, until }) => {
                if cx.now < until {
                    cx.judge.leases.holds(K::NAME, self.number, token, cx.now, until);
                }
                self.terms += 1;
                run.leader = None;
                let api = K::begin(self.host, token, cx);
                let mut store = Store::new(self.host, &self.masters, K::NAMESPACE, LEADER, token);
                store.load(cx);
                run.term = Some(Term::new(store, api));
            }
            Some(News::Renewed { token, until }) => {
                cx.judge.leases.holds(K::NAME, self.number, token, cx.now, until);
            }
            Some(News::Lost { at }) => {
                cx.judge.leases.over(K::NAME, self.number, at);
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
        K::end(term.api, cx);
        for conn in term.waiting {
            cx.send(conn, self.host, Frame::Unavailable);
            cx.close(conn, self.host);
        }
    }

    /// Leads no more, and hands the key back.
    pub(super) fn resign(&mut self, cx: &mut Context) {
        self.step_down(cx);
        let news = self.run.as_mut().and_then(|run| run.campaign.release(cx));
        self.learn(news, cx);
    }

    fn stored(&mut self, stored: Option<Stored>, cx: &mut Context) {
        match stored {
            Some(Stored::Loaded(records)) => self.elected(records, cx),
            Some(Stored::Committed) => self.committed(cx),
            // Another leads.
            Some(Stored::Deposed) => self.resign(cx),
            None => {}
        }
    }

    // --- callers

    fn asked(&mut self, conn: ConnId, call: K::Call, cx: &mut Context) {
        let Some(run) = &self.run else { return };
        if run.term.as_ref().is_some_and(Term::is_open) {
            return K::serve(self, conn, call, cx);
        }
        let frame = run.leader.clone().map_or(Frame::Unavailable, Frame::Redirect);
        cx.send(conn, self.host, frame);
        cx.close(conn, self.host);
    }

    /// Shows readers what there is to see now, and tells those whose request is stored.
    fn tell(&mut self, cx: &mut Context) {
        K::show(self, cx);
        let host = self.host;
        let Some(term) = self.term() else { return };
        while let Ok((conn, frame)) = term.answers.1.try_recv() {
            K::answers(conn, &frame, cx);
            if term.waiting.remove(&conn) {
                cx.send(conn, host, frame);
                cx.close(conn, host);
            }
        }
    }

    /// Whether a connection that is over was that of a caller.
    fn left(&mut self, conn: ConnId, cx: &mut Context) -> bool {
        if self.term().is_some_and(|term| term.waiting.remove(&conn)) {
            cx.close(conn, self.host);
            return true;
        }
        K::left(self, conn, cx)
    }

    // --- time

    fn again(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.campaign.again(cx);
        let Some(term) = &mut run.term else { return };
        term.store.again(cx);
        if let Some(lanes) = &mut term.lanes {
            let uncertain = lanes.again(cx);
            self.uncertain(uncertain, cx);
            self.go_on(cx);
        }
    }

    fn timeout(&mut self, conn: ConnId, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
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
}

impl<K: Kind> Machine for Instance<K> {
    fn start(&mut self, cx: &mut Context) {
        self.starts += 1;
        let race = Race::of_the_kit(K::NAMESPACE, LEADER, &self.address);
        let campaign = Campaign::new(self.host, &self.masters, race);
        campaign.rest(cx);
        self.run = Some(Running { campaign, leader: None, term: None, alarm: Alarm::default() });
        K::started(self.host, cx);
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
            Due::Again => self.again(cx),
            Due::Wake => self.wake(cx),
            Due::Timeout(conn) => self.timeout(conn, cx),
            Due::Pump => K::pump(self, cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        if let Frame::Ask(ask) = frame {
            return match K::call(ask) {
                Some(call) => self.asked(conn, call, cx),
                None => cx.close(conn, self.host),
            };
        }
        if matches!(frame, Frame::End) && self.left(conn, cx) {
            return;
        }
        let Some(run) = &mut self.run else { return };
        if let Some(term) = &mut run.term {
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
        cx.judge.leases.over(K::NAME, self.number, cx.now);
        self.run = None;
    }

    fn clock_set(&mut self, cx: &mut Context) {
        K::clock_set(self, cx);
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        let Some(run) = &self.run else { return vec!["does not run".to_owned()] };
        let Some(term) = &run.term else { return Vec::new() };
        let Some(engine) = &term.engine else { return vec!["has yet to read its records".to_owned()] };
        let mut missing = Vec::new();
        if !term.lanes.as_ref().is_some_and(|lanes| lanes.subscription.is_subscribed()) {
            missing.push("leads and is not subscribed".to_owned());
        }
        missing.extend(K::unfinished(engine.scheduler(), &term.api));
        missing
    }

    fn report(&self) -> String {
        format!(
            "started {} times, led {} terms, {} commits, {} launches, {} kills{}",
            self.starts,
            self.terms,
            self.commits,
            self.launched,
            self.killed,
            self.kind.report()
        )
    }
}
