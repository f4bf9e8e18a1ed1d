//! The records: read when leadership begins, written in fenced transactions, one at a time, until the outcome is known.

use rand::RngExt;
use sdk::store::{Record, Write};
use wire::state::{self, Answer, Base64, Compare, Key, Put, Range, Txn};

use super::caller::{Caller, Outcome};
use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host};
use crate::version;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Stored {
    Loaded(Vec<Record>),
    Committed,
    /// The fence does not hold any more: nothing was written.
    Deposed,
}

/// The records as one leader has them.
#[derive(Debug)]
pub(crate) struct Store {
    host: Host,
    caller: Caller,
    namespace: &'static str,
    fence: Compare,
    loaded: Vec<Record>,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Nothing,
    Load { after: Option<String> },
    Commit { txn: Txn },
}

impl Store {
    /// Records that are written only while `key` is the one that was created at the revision `token`.
    pub(crate) fn new(
        host: Host,
        masters: &[(String, Host)],
        namespace: &'static str,
        key: &str,
        token: u64,
    ) -> Self {
        let fence = Compare { key: key.into(), create_revision: Some(token), ..Compare::default() };
        Self {
            host,
            caller: Caller::new(host, masters),
            namespace,
            fence,
            loaded: Vec::new(),
            task: Task::Nothing,
        }
    }

    pub(crate) fn load(&mut self, cx: &mut Context) {
        self.task = Task::Load { after: None };
        self.ask(cx);
    }

    /// Writes all or nothing.
    pub(crate) fn commit(&mut self, writes: Vec<Write>, cx: &mut Context) {
        let next = cx.of(self.host).next;
        let operation = |write| match write {
            Write::Put { key, value } => {
                let value = if next { version::document(&value).into() } else { value };
                state::Operation::Put(Put { key, value: Base64(value), lease: None })
            }
            Write::Delete { key } => state::Operation::Delete(Key { key }),
        };
        let txn = Txn {
            namespace: self.namespace.into(),
            request: Some(format!("{:032x}", cx.random.random::<u128>())),
            compare: vec![self.fence.clone()],
            then: writes.into_iter().map(operation).collect(),
            otherwise: Vec::new(),
        };
        self.task = Task::Commit { txn };
        self.ask(cx);
    }

    /// Does the task, for the first time or again, under one request id.
    fn ask(&mut self, cx: &mut Context) {
        let call = match &self.task {
            Task::Nothing => return,
            Task::Load { after } => state::Call::Range(Range {
                namespace: self.namespace.into(),
                prefix: String::new(),
                after: after.clone(),
                limit: None,
            }),
            Task::Commit { txn } => state::Call::Txn(txn.clone()),
        };
        self.caller.state(call, cx);
    }

    /// Whether a connection is its own.
    pub(crate) fn is_mine(&self, conn: ConnId) -> bool {
        self.caller.is_mine(conn)
    }

    pub(crate) fn again(&mut self, cx: &mut Context) {
        self.caller.again(cx);
    }

    pub(crate) fn timeout(&mut self, conn: ConnId, cx: &mut Context) -> Option<Stored> {
        self.heard(conn, Frame::End, cx)
    }

    pub(crate) fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) -> Option<Stored> {
        let outcome = self.caller.heard(conn, frame, cx)?;
        let answer = match outcome {
            Outcome::Answered(Frame::State(answer)) => *answer,
            Outcome::Refused(why) => {
                cx.judge.broken("records of schedulers are taken", why);
                return None;
            }
            Outcome::Answered(_) | Outcome::Unknown => {
                self.ask(cx);
                return None;
            }
        };
        match (std::mem::replace(&mut self.task, Task::Nothing), answer) {
            (Task::Load { .. }, Answer::Range(page)) => {
                let record = |entry: state::Entry| Record {
                    key: entry.key,
                    value: entry.value.0,
                    revision: entry.mod_revision,
                };
                self.loaded.extend(page.entries.into_iter().map(record));
                if page.next.is_some() {
                    self.task = Task::Load { after: page.next };
                    self.ask(cx);
                    return None;
                }
                Some(Stored::Loaded(std::mem::take(&mut self.loaded)))
            }
            (Task::Commit { .. }, Answer::Txn(txn)) => {
                Some(if txn.succeeded { Stored::Committed } else { Stored::Deposed })
            }
            (task, other) => {
                cx.judge.broken("answers fit their calls", format!("{task:?}: {other:?}"));
                None
            }
        }
    }
}
