//! A client of the key-value API: one call at a time, tried at every master until it is answered or given up.

use wire::state::{Answer, Call};

use super::{Due, Guess};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// For the head of an answer, as the client has it.
const ANSWER: Micros = 5 * SECOND;
/// How long a call is tried, as the client has it.
const CALL: Micros = 15 * SECOND;
/// Before another master is tried.
const PAUSE: Micros = 50 * MS;

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was done, and this is the answer.
    Answered(Box<Answer>),
    /// It was not done.
    Refused(String),
    /// It may have been done, or may yet be.
    Unknown,
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct Caller {
    host: Host,
    guess: Guess,
    call: Option<Call>,
    conn: Option<ConnId>,
    /// An earlier try may have got through.
    doubtful: bool,
    begun: Micros,
}

impl Caller {
    pub(crate) fn new(host: Host, masters: &[(String, Host)]) -> Self {
        Self { host, guess: Guess::new(masters), call: None, conn: None, doubtful: false, begun: 0 }
    }

    /// Whether a call is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.call.is_some()
    }

    /// Begins a call; its outcome comes from one of the other methods.
    pub(crate) fn begin(&mut self, call: Call, cx: &mut Context) {
        self.call = Some(call);
        self.begun = cx.now;
        self.doubtful = false;
        self.attempt(cx);
    }

    fn attempt(&mut self, cx: &mut Context) {
        let Some(call) = &self.call else { return };
        let ask = Ask::State(Box::new(call.clone()));
        let conn = cx.dial(self.host, self.guess.host(), ask);
        self.conn = Some(conn);
        cx.later(self.host, ANSWER, Due::Timeout(conn));
    }

    /// Takes what came on a connection of its own.
    pub(crate) fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) -> Option<Outcome> {
        if self.conn != Some(conn) {
            return None;
        }
        self.conn = None;
        cx.close(conn, self.host);
        let outcome = match frame {
            Frame::State(answer) => Outcome::Answered(answer),
            Frame::Refused { text, .. } if !self.doubtful => Outcome::Refused(text),
            Frame::Redirect(leader) => {
                let again = self.guess.redirected(&leader);
                return self.failed(again, cx);
            }
            _ => {
                self.doubtful = true;
                self.guess.failed();
                return self.failed(false, cx);
            }
        };
        self.call = None;
        Some(outcome)
    }

    fn failed(&mut self, at_once: bool, cx: &mut Context) -> Option<Outcome> {
        if cx.now >= self.begun + CALL {
            self.call = None;
            return Some(Outcome::Unknown);
        }
        cx.later(self.host, if at_once { 1 } else { PAUSE }, Due::Again);
        None
    }

    /// The pause is over.
    pub(crate) fn again(&mut self, cx: &mut Context) {
        if self.conn.is_none() && self.call.is_some() {
            self.attempt(cx);
        }
    }

    /// A connection has had its time.
    pub(crate) fn timeout(&mut self, conn: ConnId, cx: &mut Context) -> Option<Outcome> {
        self.heard(conn, Frame::End, cx)
    }

    /// The process has ended.
    pub(crate) fn forget(&mut self) -> bool {
        self.conn = None;
        self.call.take().is_some()
    }
}
