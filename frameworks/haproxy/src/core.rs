//! The sidecar without IO: what to read, when to believe it, and when a task may be killed.
//!
//! The stream of events is a hint and a whole list is the truth, but neither is trusted blindly: a list that takes
//! away much of what is routed has to be confirmed by a second one, and what is known is kept while nothing can be
//! read. Events that arrive while a read is under way are replayed on top of its answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use model::time::{Span, Time};
use wire::marathon::{AppInfo, Event};

use crate::limits::{
    APP_READS, CONFIRM_AFTER, LIST_APART, LIST_EVERY, LIST_RETRY, READY_EVERY, REPLAY_EVENTS, SHRINK_PERCENT,
};
use crate::service::{Desired, count_servers};
use crate::view::{Need, Settings, View};

/// Names a read, so that a late answer is not taken for another's.
pub type Token = u64;

/// Everything that happens to the sidecar.
#[derive(Debug, Clone)]
pub enum Input {
    /// The event stream is open, for the first time or again. Its end is no input: what is known stays.
    Attached,
    Event(Box<Event>),
    /// The answer of [`Effect::List`]; `None` when it failed.
    Listed {
        token: Token,
        listing: Option<Listing>,
    },
    /// The answer of [`Effect::Read`].
    Read {
        token: Token,
        answer: Answer,
    },
    /// The answer of [`Effect::Resolve`].
    Resolved {
        host: String,
        address: Option<IpAddr>,
    },
    /// No connection leads to these draining tasks any more.
    Drained(Vec<String>),
    /// The operator asks for a whole list.
    Refresh,
    /// The deadline passed.
    Wake,
}

/// A whole list of apps.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub apps: Vec<AppInfo>,
    /// Ids of apps in the list that could not be understood.
    pub unreadable: BTreeSet<String>,
}

/// What came of reading one app.
#[derive(Debug, Clone)]
pub enum Answer {
    Found(Box<AppInfo>),
    Absent,
    Failed,
}

/// Everything the sidecar asks of its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read all apps with their tasks.
    List {
        token: Token,
    },
    /// Read one app with its tasks.
    Read {
        token: Token,
        app: String,
    },
    Resolve(String),
    /// This is to be routed from now on.
    Desire(Desired),
    /// Tell the supervisor that nothing leads to these tasks any more.
    Acknowledge(Vec<String>),
}

/// A read under way.
#[derive(Debug, Clone)]
struct Reading {
    /// `None` for the whole list.
    app: Option<String>,
    /// The first event after it was asked for.
    since: u64,
    /// Something happened that the answer may not show: read again.
    again: bool,
}

/// A list that takes away too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    None,
    /// The next list is asked for at this time and decides.
    Held {
        confirm_at: Time,
    },
    /// The list under way decides.
    Confirming,
}

#[derive(Debug)]
pub struct Core {
    view: View,
    /// Spreads the periodic lists of many sidecars.
    jitter: Span,
    reads: BTreeMap<Token, Reading>,
    next_token: Token,
    /// Recent events with their numbers, while reads are under way.
    log: VecDeque<(u64, Event)>,
    next_event: u64,
    /// When to list next; `None` before the first stream was attached.
    list_at: Option<Time>,
    last_list: Option<Time>,
    ready_at: Option<Time>,
    suspicion: Suspicion,
    held: u64,
    acknowledged: BTreeSet<String>,
    /// A list was believed: what is wanted is more than what an earlier sidecar left behind.
    believed: bool,
    /// An event, or what was read because of one, has changed what an earlier sidecar left behind. That is acted on at once,
    /// whenever a list is believed.
    stirred: bool,
    told: Option<u64>,
}

impl Core {
    /// `jitter` delays this sidecar's periodic lists; give each another.
    pub fn new(settings: Settings, desired: Desired, jitter: Span) -> Self {
        let view = View::new(settings, desired);
        Self {
            believed: false,
            stirred: false,
            told: None,
            view,
            jitter,
            reads: BTreeMap::new(),
            next_token: 1,
            log: VecDeque::new(),
            next_event: 0,
            list_at: None,
            last_list: None,
            ready_at: None,
            suspicion: Suspicion::None,
            held: 0,
            acknowledged: BTreeSet::new(),
        }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// Lists that were held back because they took away too much.
    pub fn held_lists(&self) -> u64 {
        self.held
    }

    /// When the core wants to be woken.
    pub fn next_deadline(&self) -> Option<Time> {
        let confirm = match self.suspicion {
            Suspicion::Held { confirm_at } => Some(confirm_at),
            Suspicion::None | Suspicion::Confirming => None,
        };
        [self.list_at, self.ready_at, confirm, self.view.next_deadline()].into_iter().flatten().min()
    }

    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Attached => {
                // Events were missed: an answer under way may be from before.
                self.reads.retain(|_, reading| reading.app.is_some());
                // A new leader asks again for what the old one was told.
                self.acknowledged.clear();
                self.suspicion = Suspicion::None;
                self.list_at = Some(now);
                #[cfg(feature = "mutants")]
                if mutant::planted("returning-feeds-read-nothing") && self.believed {
                    self.list_at = None;
                }
            }
            Input::Event(event) => self.event(now, *event, out),
            Input::Listed { token, listing } => self.listed(now, token, listing),
            Input::Read { token, answer } => self.read(now, token, answer, out),
            Input::Resolved { host, address } => self.view.resolved(now, &host, address),
            Input::Drained(tasks) => self.acknowledge(tasks, out),
            Input::Refresh => self.list_at = Some(now),
            Input::Wake => {}
        }
        self.turn(now, out);
    }

    /// What is due, after every input.
    fn turn(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.view.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.view.expire(now);
        }
        if matches!(self.suspicion, Suspicion::Held { confirm_at } if confirm_at <= now) {
            self.suspicion = Suspicion::Confirming;
            self.list_at = Some(now);
        }
        if self.list_at.is_some_and(|at| at <= now) {
            self.list(now, out);
        }
        self.watch_readiness(now, out);
        out.extend(self.view.take_unresolved().into_iter().map(Effect::Resolve));
        // The first time also when it is what was saved: until then nobody knew whether that is still true.
        if (self.believed || self.stirred) && self.told != Some(self.view.changes()) {
            self.told = Some(self.view.changes());
            out.push(Effect::Desire(self.view.desired().clone()));
        }
        self.acknowledge_unrouted(out);
    }

    fn list(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.list_at = Some(now + LIST_EVERY + self.jitter);
        if let Some(reading) = self.reads.values_mut().find(|reading| reading.app.is_none()) {
            reading.again = true;
            return;
        }
        self.last_list = Some(now);
        self.view.forget_failed_hosts();
        let token = self.open(None);
        out.push(Effect::List { token });
    }

    fn open(&mut self, app: Option<String>) -> Token {
        let token = self.next_token;
        self.next_token += 1;
        self.reads.insert(token, Reading { app, since: self.next_event, again: false });
        token
    }

    /// Lists soon, but not more often than is decent.
    fn list_soon(&mut self, now: Time) {
        let earliest = self.last_list.map_or(now, |last| last + LIST_APART).max(now);
        if self.list_at.is_none_or(|at| at > earliest) {
            self.list_at = Some(earliest);
        }
    }

    fn read_app(&mut self, now: Time, app: String, out: &mut Vec<Effect>) {
        if let Some(reading) = self.reads.values_mut().find(|reading| reading.app.as_ref() == Some(&app)) {
            reading.again = true;
        } else if self.reads.len() > APP_READS {
            self.list_soon(now);
        } else {
            let token = self.open(Some(app.clone()));
            out.push(Effect::Read { token, app });
        }
    }

    fn event(&mut self, now: Time, event: Event, out: &mut Vec<Effect>) {
        if let Event::InstanceDrainingEvent { task_id, .. } = &event {
            // Asked again, whoever asks has not heard the answer.
            self.acknowledged.remove(task_id);
        }
        let before = self.view.changes();
        let need = self.view.event(now, &event);
        self.stirred |= self.view.changes() != before;
        if !self.reads.is_empty() {
            self.log.push_back((self.next_event, event));
            self.next_event += 1;
            if self.log.len() > REPLAY_EVENTS {
                self.log.pop_front();
            }
        }
        match need {
            Need::Nothing => {}
            Need::App(app) => self.read_app(now, app, out),
            Need::Everything => self.list_soon(now),
        }
    }

    /// Ends a read. `None` when its answer is of no use: not asked for, or some of the events since were dropped.
    fn close(&mut self, token: Token) -> Option<Reading> {
        let reading = self.reads.remove(&token)?;
        let kept_from = self.log.front().map_or(self.next_event, |(number, _)| *number);
        let complete = reading.since == self.next_event || kept_from <= reading.since;
        complete.then_some(reading)
    }

    fn listed(&mut self, now: Time, token: Token, listing: Option<Listing>) {
        let Some(reading) = self.close(token) else {
            self.trim_log();
            return self.list_soon(now);
        };
        match listing {
            Some(listing) => self.believe(now, &reading, &listing),
            None => {
                // The suspicion stays: a failed confirmation confirms nothing.
                if self.suspicion == Suspicion::Confirming {
                    self.suspicion = Suspicion::Held { confirm_at: now + CONFIRM_AFTER };
                }
                self.list_at = Some(now + LIST_RETRY);
            }
        }
        if reading.again {
            self.list_soon(now);
        }
        self.trim_log();
    }

    fn believe(&mut self, now: Time, reading: &Reading, listing: &Listing) {
        let mut after = self.view.clone();
        after.replace(now, &listing.apps, &listing.unreadable);
        for (_, event) in self.log.iter().filter(|(number, _)| *number >= reading.since) {
            after.event(now, event);
        }
        let (had, has) = (count_servers(self.view.desired()), count_servers(after.desired()));
        let lost = had.saturating_sub(has);
        let suspicious = lost * 100 > had * SHRINK_PERCENT;
        if suspicious && self.suspicion == Suspicion::None {
            self.held += 1;
            self.suspicion = Suspicion::Held { confirm_at: now + CONFIRM_AFTER };
            return;
        }
        if suspicious && matches!(self.suspicion, Suspicion::Held { .. }) {
            return;
        }
        self.suspicion = Suspicion::None;
        self.believed = true;
        self.view = after;
    }

    fn read(&mut self, now: Time, token: Token, answer: Answer, out: &mut Vec<Effect>) {
        let Some(reading) = self.close(token) else {
            self.trim_log();
            return self.list_soon(now);
        };
        let Some(app) = reading.app.clone() else { return };
        let before = self.view.changes();
        match answer {
            Answer::Failed => self.list_soon(now),
            Answer::Found(_) | Answer::Absent => {
                let info = if let Answer::Found(info) = &answer { Some(&**info) } else { None };
                self.view.update(now, &app, info);
                for (_, event) in self.log.iter().filter(|(number, _)| *number >= reading.since) {
                    self.view.event(now, event);
                }
            }
        }
        self.stirred |= self.view.changes() != before;
        self.trim_log();
        if reading.again {
            self.read_app(now, app, out);
        }
    }

    /// Drops the events no read under way needs.
    fn trim_log(&mut self) {
        let needed = self.reads.values().map(|reading| reading.since).min().unwrap_or(self.next_event);
        while self.log.front().is_some_and(|(number, _)| *number < needed) {
            self.log.pop_front();
        }
    }

    fn watch_readiness(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.ready_at.is_some_and(|at| at > now) {
            return;
        }
        let unready: Vec<String> = self.view.unready().cloned().collect();
        self.ready_at = if unready.is_empty() { None } else { Some(now + READY_EVERY) };
        for app in unready {
            self.read_app(now, app, out);
        }
    }

    fn acknowledge(&mut self, tasks: Vec<String>, out: &mut Vec<Effect>) {
        let draining: BTreeSet<&String> = self.view.draining().collect();
        let news: Vec<String> = tasks
            .into_iter()
            .filter(|task| draining.contains(task) && !self.acknowledged.contains(task))
            .collect();
        if !news.is_empty() {
            self.acknowledged.extend(news.iter().cloned());
            out.push(Effect::Acknowledge(news));
        }
    }

    /// A draining task that no server leads to needs no waiting for.
    fn acknowledge_unrouted(&mut self, out: &mut Vec<Effect>) {
        if self.view.draining().next().is_none() {
            self.acknowledged.clear();
            return;
        }
        let idle = self.view.draining_unrouted();
        self.acknowledge(idle, out);
    }
}
