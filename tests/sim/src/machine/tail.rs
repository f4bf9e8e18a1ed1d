//! A stream that is followed over every server that fails it.

use super::{Due, Guess};
use crate::context::Context;
use crate::frame::Ask;
use crate::net::{ConnId, Host, Micros, SECOND};

/// The reader's side.
#[derive(Debug)]
pub(crate) struct Tail {
    host: Host,
    guess: Guess,
    conn: Option<ConnId>,
    /// When something came last.
    heard: Micros,
    /// Silence after which the stream is given up.
    silence: Micros,
    /// Before another server is asked.
    pause: Micros,
}

impl Tail {
    pub(crate) fn new(host: Host, servers: &[(String, Host)], silence: Micros, pause: Micros) -> Self {
        Self { host, guess: Guess::new(servers), conn: None, heard: 0, silence, pause }
    }

    /// Asks for the stream, unless it stands.
    pub(crate) fn connect(&mut self, ask: Ask, cx: &mut Context) {
        if self.conn.is_none() {
            self.conn = Some(cx.dial(self.host, self.guess.host(), ask));
            self.heard = cx.now;
        }
    }

    /// Something came on a connection; whether on this stream. What is of one before is closed.
    pub(crate) fn hears(&mut self, conn: ConnId, cx: &mut Context) -> bool {
        let mine = self.conn == Some(conn);
        if mine {
            self.heard = cx.now;
        } else {
            cx.close(conn, self.host);
        }
        mine
    }

    /// A look each second whether the stream has been silent for too long.
    pub(crate) fn look(&mut self, cx: &mut Context) {
        cx.later(self.host, SECOND, Due::Next);
        if self.conn.is_some() && cx.now > self.heard + self.silence {
            self.failed(cx);
        }
    }

    /// The server is not the one to ask: this one is.
    pub(crate) fn redirected(&mut self, leader: &str, cx: &mut Context) {
        let at_once = self.guess.redirected(leader);
        self.ended(if at_once { 1 } else { self.pause }, cx);
    }

    /// The server fails it: the next is asked.
    pub(crate) fn failed(&mut self, cx: &mut Context) {
        self.guess.failed();
        self.ended(self.pause, cx);
    }

    /// The stream is over, and [`Due::Again`] says when to ask for it again.
    pub(crate) fn ended(&mut self, pause: Micros, cx: &mut Context) {
        if let Some(conn) = self.conn.take() {
            cx.close(conn, self.host);
        }
        cx.later(self.host, pause, Due::Again);
    }

    /// The process has ended.
    pub(crate) fn forget(&mut self) {
        self.conn = None;
    }
}
