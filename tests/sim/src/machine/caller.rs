//! The caller of an API: one call at a time, tried at every server until it is answered or given up.

use super::{Due, Guess};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// For the head of an answer, as the client has it.
const ANSWER: Micros = 5 * SECOND;
/// How long a call is tried, as the client has it.
const CALL: Micros = 15 * SECOND;
/// Before another server is tried.
const PAUSE: Micros = 50 * MS;

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was done, and this is the answer.
    Answered(Frame),
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
    ask: Option<Ask>,
    conn: Option<ConnId>,
    /// An earlier try may have got through.
    doubtful: bool,
    begun: Micros,
    /// No try before then.
    next: Micros,
}

impl Caller {
    pub(crate) fn new(host: Host, servers: &[(String, Host)]) -> Self {
        let guess = Guess::new(servers);
        Self { host, guess, ask: None, conn: None, doubtful: false, begun: 0, next: 0 }
    }

    /// Whether a call is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.ask.is_some()
    }

    /// Whether a connection is that of the call under way.
    pub(crate) fn is_mine(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// Begins a call; its outcome comes from one of the other methods.
    pub(crate) fn begin(&mut self, ask: Ask, cx: &mut Context) {
        self.ask = Some(ask);
        self.begun = cx.now;
        self.doubtful = false;
        self.attempt(cx);
    }

    /// Begins a call of the key-value API.
    pub(crate) fn state(&mut self, call: wire::state::Call, cx: &mut Context) {
        self.begin(Ask::State(Box::new(call)), cx);
    }

    fn attempt(&mut self, cx: &mut Context) {
        let Some(ask) = self.ask.clone() else { return };
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
            Frame::Refused { text, .. } if !self.doubtful => Outcome::Refused(text),
            Frame::Redirect(leader) => {
                let again = self.guess.redirected(&leader);
                return self.failed(again, cx);
            }
            Frame::Refused { .. } | Frame::Unavailable | Frame::End => {
                self.doubtful = true;
                self.guess.failed();
                return self.failed(false, cx);
            }
            answer => Outcome::Answered(answer),
        };
        self.ask = None;
        Some(outcome)
    }

    fn failed(&mut self, at_once: bool, cx: &mut Context) -> Option<Outcome> {
        if cx.now >= self.begun + CALL {
            self.ask = None;
            return Some(Outcome::Unknown);
        }
        let pause = if at_once { 1 } else { PAUSE };
        self.next = cx.now + pause;
        cx.later(self.host, pause, Due::Again);
        None
    }

    /// Takes notice of what became due on a machine that calls and does nothing else.
    pub(crate) fn due(&mut self, what: &Due, cx: &mut Context) -> Option<Outcome> {
        match what {
            Due::Again => {
                self.again(cx);
                None
            }
            Due::Timeout(conn) => self.timeout(*conn, cx),
            _ => None,
        }
    }

    /// The pause of this caller is over, or that of another one of the same process.
    pub(crate) fn again(&mut self, cx: &mut Context) {
        if self.conn.is_none() && cx.now >= self.next {
            self.attempt(cx);
        }
    }

    /// A connection has had its time.
    pub(crate) fn timeout(&mut self, conn: ConnId, cx: &mut Context) -> Option<Outcome> {
        self.heard(conn, Frame::End, cx)
    }

    /// The call is of no interest any more; whether there was one.
    pub(crate) fn forget(&mut self) -> bool {
        self.conn = None;
        self.ask.take().is_some()
    }
}
