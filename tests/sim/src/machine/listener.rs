//! A reader of the apps' event stream, over every supervisor that fails it.

use super::tail::Tail;
use super::{Crash, Due, Machine};
use crate::context::Context;
use crate::frame::{AppsCall, Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, SECOND};

/// Silence after which a stream is given up: the supervisor gives a sign of life every ten seconds.
const SILENCE: Micros = 21 * SECOND;
/// Before another supervisor is asked.
const PAUSE: Micros = 100 * MS;

/// A machine with such a reader on it.
pub struct Listener {
    host: Host,
    tail: Tail,
    /// The number of the last event seen. It survives the process: the reader stores it with what it makes of it.
    seen: u64,
    streams: u64,
}

impl Listener {
    pub(crate) fn new(host: Host, supervisors: &[(String, Host)]) -> Self {
        Self { host, tail: Tail::new(host, supervisors, SILENCE, PAUSE), seen: 0, streams: 0 }
    }

    fn connect(&mut self, cx: &mut Context) {
        let call = AppsCall::Events { after: Some(self.seen), kinds: &[], drainer: None };
        self.tail.connect(Ask::Apps(Box::new(call)), cx);
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
            Due::Next => self.tail.look(cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        if !self.tail.hears(conn, cx) {
            return;
        }
        match frame {
            Frame::Opened { .. } => self.streams += 1,
            Frame::KeepAlive => {}
            Frame::AppEvent { number, data, .. } => {
                cx.judge.stream.heard(self.seen, number, &data);
                self.seen = number;
            }
            Frame::Redirect(leader) => self.tail.redirected(&leader, cx),
            Frame::Refused { text, .. } => {
                cx.judge.broken("events are kept long enough", text);
                self.tail.ended(SECOND, cx);
            }
            _ => self.tail.failed(cx),
        }
    }

    fn crash(&mut self, _: Crash, _: &mut Context) {
        self.tail.forget();
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
