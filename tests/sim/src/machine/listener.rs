//! A reader of the apps' event stream, over every supervisor that fails it.

use super::{Crash, Due, Guess, Machine};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// Silence after which a stream is given up: the supervisor gives a sign of life every ten seconds.
const SILENCE: Micros = 21 * SECOND;

/// A machine with such a reader on it.
pub struct Listener {
    host: Host,
    guess: Guess,
    conn: Option<ConnId>,
    heard: Micros,
    /// The number of the last event seen. It survives the process: the reader stores it with what it makes of it.
    seen: u64,
    streams: u64,
}

impl Listener {
    pub(crate) fn new(host: Host, supervisors: &[(String, Host)]) -> Self {
        Self { host, guess: Guess::new(supervisors), conn: None, heard: 0, seen: 0, streams: 0 }
    }

    fn connect(&mut self, cx: &mut Context) {
        if self.conn.is_some() {
            return;
        }
        let call = AppsCall::Events { after: Some(self.seen), kinds: &[], drainer: None };
        self.conn = Some(cx.dial(self.host, self.guess.host(), Ask::Apps(Box::new(call))));
        self.heard = cx.now;
    }

    fn ended(&mut self, pause: Micros, cx: &mut Context) {
        if let Some(conn) = self.conn.take() {
            cx.close(conn, self.host);
        }
        cx.later(self.host, pause, Due::Again);
    }
}

impl Machine for Listener {
    fn start(&mut self, cx: &mut Context) {
        self.connect(cx);
        cx.later(self.host, SECOND, Due::Next);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        match what {
            Due::Again => self.connect(cx),
            Due::Next => {
                cx.later(self.host, SECOND, Due::Next);
                if self.conn.is_some() && cx.now > self.heard + SILENCE {
                    self.guess.failed();
                    self.ended(100 * MS, cx);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        if self.conn != Some(conn) {
            return cx.close(conn, self.host);
        }
        self.heard = cx.now;
        match frame {
            Frame::Opened { .. } => self.streams += 1,
            Frame::KeepAlive => {}
            Frame::AppEvent { number, data, .. } => {
                cx.judge.stream.heard(self.seen, number, &data);
                self.seen = number;
            }
            Frame::Redirect(leader) => {
                let at_once = self.guess.redirected(&leader);
                self.ended(if at_once { 1 } else { 100 * MS }, cx);
            }
            Frame::Refused { text, .. } => {
                cx.judge.broken("events are kept long enough", text);
                self.ended(SECOND, cx);
            }
            _ => {
                self.guess.failed();
                self.ended(100 * MS, cx);
            }
        }
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {
        self.conn = None;
    }

    fn unfinished(&self, cx: &Context) -> Vec<String> {
        let newest = cx.judge.stream.newest();
        if self.seen < newest {
            vec![format!("has seen event {} of {newest}", self.seen)]
        } else {
            Vec::new()
        }
    }

    fn report(&self) -> String {
        format!("{} events on {} streams", self.seen, self.streams)
    }
}
