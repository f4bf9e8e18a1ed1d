//! A client that reads and writes a few keys, and remembers what it was told.

use linear::{Done, Kind, Operation as Recorded};
use rand::RngExt;
use wire::state::{Answer, Base64, Call, Compare, Get, Key, Operation, OperationAnswer, Put, Txn};

use super::caller::{Caller, Outcome};
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS};

/// The namespace of the clients.
pub const NAMESPACE: &str = "test";
/// Keys they meet at.
const KEYS: usize = 4;
/// Calls after which a client rests, so that histories stay checkable.
const CALLS: u64 = 400;

/// A machine with such a client on it.
pub struct Writer {
    host: Host,
    number: u64,
    caller: Caller,
    made: u64,
    unknown: u64,
    open: Option<Recorded>,
    /// The last value seen of each key, for a compare that may hold.
    seen: [Option<u64>; KEYS],
    up: bool,
}

impl Writer {
    pub(crate) fn new(host: Host, number: u64, masters: &[(String, Host)]) -> Self {
        Self {
            host,
            number,
            caller: Caller::new(host, masters),
            made: 0,
            unknown: 0,
            open: None,
            seen: [None; KEYS],
            up: false,
        }
    }

    fn next(&mut self, cx: &mut Context) {
        if self.caller.is_busy() || self.made >= CALLS {
            return;
        }
        self.made += 1;
        let at = cx.random.random_range(0..KEYS);
        let key = format!("k{at}");
        let fresh = self.number * 1_000_000 + self.made;
        let kind = match cx.random.random_range(0..10) {
            0..4 => Kind::Read,
            4..7 => Kind::Write(Some(fresh)),
            7..8 => Kind::Write(None),
            _ => Kind::Swap { from: self.seen[at], to: fresh },
        };
        let request = Some(format!("{:032x}", cx.random.random::<u128>()));
        let put = |value: u64| {
            Operation::Put(Put {
                key: key.clone(),
                value: Base64(value.to_string().into_bytes().into()),
                lease: None,
            })
        };
        let txn = |compare, then| {
            Call::Txn(Txn {
                namespace: NAMESPACE.into(),
                request: request.clone(),
                compare,
                then,
                otherwise: Vec::new(),
            })
        };
        let call = match kind {
            Kind::Read => Call::Get(Get { namespace: NAMESPACE.into(), key: key.clone() }),
            Kind::Write(Some(value)) => txn(Vec::new(), vec![put(value)]),
            Kind::Write(None) => txn(Vec::new(), vec![Operation::Delete(Key { key: key.clone() })]),
            Kind::Swap { from, to } => {
                let compare = match from {
                    None => Compare { key: key.clone(), exists: Some(false), ..Compare::default() },
                    Some(value) => Compare {
                        key: key.clone(),
                        value: Some(Base64(value.to_string().into_bytes().into())),
                        ..Compare::default()
                    },
                };
                txn(vec![compare], vec![put(to)])
            }
        };
        self.open = Some(Recorded { key: at, kind, invoked: cx.now, done: None });
        self.caller.state(call, cx);
    }

    fn outcome(&mut self, outcome: Option<Outcome>, cx: &mut Context) {
        let Some(outcome) = outcome else { return };
        let Some(mut open) = self.open.take() else { return };
        match outcome {
            Outcome::Answered(frame) => {
                let Frame::State(answer) = frame else {
                    return cx.judge.broken("answers fit their calls", format!("{frame:?}"));
                };
                let (result, revision) = match *answer {
                    Answer::Get(get) => {
                        let value = get.entry.and_then(|entry| number(&entry.value));
                        self.seen[open.key] = value;
                        (Done::Read(value), get.revision)
                    }
                    Answer::Txn(txn) => {
                        let read = txn.results.iter().any(|r| matches!(r, OperationAnswer::Get { .. }));
                        if read {
                            cx.judge.broken("answers fit their calls", format!("{txn:?}"));
                        }
                        (Done::Wrote { succeeded: txn.succeeded }, txn.revision)
                    }
                    other => return cx.judge.broken("answers fit their calls", format!("{other:?}")),
                };
                if let (Kind::Swap { to, .. }, Done::Wrote { succeeded: true }) = (open.kind, &result) {
                    self.seen[open.key] = Some(to);
                }
                cx.trace.note(revision);
                open.done = Some((cx.now, result));
                cx.judge.revisions.answered(self.number, open.invoked, cx.now, revision);
                if let Some(value) = open.written() {
                    cx.judge.facts.written(open.key, value, revision);
                }
            }
            // Refused for certain: it never happened.
            Outcome::Refused(text) => {
                cx.judge.broken("lawful calls are taken", text);
                return self.rest(cx);
            }
            Outcome::Unknown => self.unknown += 1,
        }
        cx.judge.history.push(open);
        self.rest(cx);
    }

    fn rest(&self, cx: &mut Context) {
        let pause = cx.between((0, 400 * MS));
        cx.later(self.host, pause, Due::Next);
    }
}

impl Machine for Writer {
    fn start(&mut self, cx: &mut Context) {
        self.up = true;
        self.rest(cx);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        if matches!(what, Due::Next) {
            return self.next(cx);
        }
        let outcome = self.caller.due(&what, cx);
        self.outcome(outcome, cx);
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let outcome = self.caller.heard(conn, frame, cx);
        self.outcome(outcome, cx);
    }

    fn crash(&mut self, _: Crash, cx: &mut Context) {
        self.up = false;
        if self.caller.forget()
            && let Some(open) = self.open.take()
        {
            // Nobody will ever know.
            self.unknown += 1;
            cx.judge.history.push(open);
        }
    }

    fn unfinished(&self, cx: &Context) -> Vec<String> {
        let stuck = self.open.as_ref().is_some_and(|open| cx.now > open.invoked + 20_000 * MS);
        if stuck { vec!["waits for an answer".to_owned()] } else { Vec::new() }
    }

    fn report(&self) -> String {
        format!("{} calls, {} of them with an unknown outcome", self.made, self.unknown)
    }
}

/// A value as this client writes it.
pub(crate) fn number(value: &Base64) -> Option<u64> {
    std::str::from_utf8(&value.0).ok()?.parse().ok()
}
