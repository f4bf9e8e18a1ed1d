//! A client that follows the changes of the writers' keys, over every master that fails it. When it comes too late it reads
//! the keys and follows them from there, as the kit's mirror does.

use wire::state::{Answer, Call, Event, Range, RangeAnswer, Watch, WatchRecord};

use super::tail::Tail;
use super::writer::NAMESPACE;
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// Silence after which a watch is given up, as the client has it.
const SILENCE: Micros = 11 * SECOND;
/// Before another master is asked.
const PAUSE: Micros = 50 * MS;
/// Before the keys are read anew, as the mirror has it.
const AGAIN: Micros = 200 * MS;

/// A machine with such a client on it.
pub struct Watcher {
    host: Host,
    number: u64,
    tail: Tail,
    /// The first revision not yet told of; nothing before the first answer.
    next: Option<u64>,
    /// What follows its place is not kept any more: the keys are read before the next watch.
    late: bool,
    events: u64,
    streams: u64,
    refusals: u64,
}

impl Watcher {
    pub(crate) fn new(host: Host, number: u64, masters: &[(String, Host)]) -> Self {
        let tail = Tail::new(host, masters, SILENCE, PAUSE);
        Self { host, number, tail, next: None, late: false, events: 0, streams: 0, refusals: 0 }
    }

    fn connect(&mut self, cx: &mut Context) {
        let (namespace, prefix) = (NAMESPACE.into(), "k".into());
        let call = if self.late {
            Call::Range(Range { namespace, prefix, after: None, limit: None })
        } else {
            Call::Watch(Watch { namespace, prefix, from: self.next })
        };
        self.tail.connect(Ask::State(Box::new(call)), cx);
    }

    /// The keys, all on one page. The master that answered is the one to watch at.
    fn read(&mut self, page: &RangeAnswer, cx: &mut Context) {
        cx.judge.watches.read(self.number, page.revision, &page.entries);
        self.late = false;
        self.next = Some(page.revision + 1);
        self.tail.ended(1, cx);
    }

    fn record(&mut self, record: WatchRecord, cx: &mut Context) {
        match record {
            WatchRecord::Started { revision } => {
                self.streams += 1;
                match self.next {
                    None => {
                        cx.judge.watches.starts(self.number, revision);
                        self.next = Some(revision);
                    }
                    Some(next) if next != revision => {
                        let why = format!("asked from {next}, was begun at {revision}");
                        cx.judge.broken("a watch has no gap", why);
                    }
                    Some(_) => {}
                }
            }
            WatchRecord::Events { revision, events } => {
                for event in &events {
                    self.events += 1;
                    let (key, at, put) = match event {
                        Event::Put { entry } => (&entry.key, entry.mod_revision, true),
                        Event::Delete { key, revision } => (key, *revision, false),
                    };
                    cx.judge.watches.heard(self.number, key, at, put);
                }
                self.progress(revision, cx);
            }
            WatchRecord::Progress { revision } => self.progress(revision, cx),
            WatchRecord::Compacted { revision } => {
                cx.judge.watches.compacted(self.number, self.next, revision);
                self.refusals += 1;
                self.late = true;
                // The last record: the master has not failed, and is asked again.
                self.tail.ended(AGAIN, cx);
            }
        }
    }

    /// Everything up to `revision` has been told.
    fn progress(&mut self, revision: u64, cx: &mut Context) {
        cx.judge.watches.complete(self.number, revision);
        self.next = Some(self.next.unwrap_or(0).max(revision + 1));
    }
}

impl Machine for Watcher {
    fn start(&mut self, cx: &mut Context) {
        self.connect(cx);
        cx.later(self.host, SECOND, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        match what {
            Due::Again => self.connect(cx),
            Due::Next => self.tail.look(cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        if !self.tail.hears(conn, cx) {
            return;
        }
        match frame {
            Frame::Opened { .. } => {}
            Frame::Watch(record) => self.record(record, cx),
            Frame::State(answer) => match *answer {
                Answer::Range(page) => self.read(&page, cx),
                other => cx.judge.broken("answers fit their calls", format!("{other:?}")),
            },
            Frame::Redirect(leader) => self.tail.redirected(&leader, cx),
            _ => self.tail.failed(cx),
        }
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {
        self.tail.forget();
    }

    fn unfinished(&self, cx: &Context) -> Vec<String> {
        cx.judge.watches.behind(self.number, self.next).into_iter().collect()
    }

    fn report(&self) -> String {
        format!("{} events on {} streams, {} times too late", self.events, self.streams, self.refusals)
    }
}
