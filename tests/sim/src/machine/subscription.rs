//! A scheduler's subscription: the real passive session, the stream it asks for, and calls on connections of their own.

use std::collections::BTreeMap;

use client::session::{Effect as Do, Input as Said, Session};
use model::time::Span;
use rand::RngExt;
use wire::scheduler::{Call, Event, call, event};
use wire::v1::{self, framework_info::capability::Type as Capability};

use super::alarm::Alarm;
use super::{Due, Guess};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, Micros, SECOND};

/// For the head of an answer, as the client has it.
const ANSWER: Micros = 5 * SECOND;

/// What is heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Box<Event>),
    /// The stream is broken; another is looked for.
    Lost,
    /// What became of a call.
    Answered {
        conn: ConnId,
        call: Box<Call>,
        taken: Taken,
    },
}

/// Whether the master took a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    No,
    Unknown,
}

/// What a framework of this world says of itself: nobody removes it while it is away.
pub(crate) fn info(name: &str, role: &str, capabilities: &[Capability]) -> v1::FrameworkInfo {
    let capability = |kind: &Capability| v1::framework_info::Capability { r#type: Some((*kind).into()) };
    v1::FrameworkInfo {
        user: "nobody".into(),
        name: name.into(),
        failover_timeout: Some(100_000.0),
        roles: vec![role.into()],
        capabilities: capabilities.iter().map(capability).collect(),
        ..Default::default()
    }
}

/// The scheduler's side.
pub(crate) struct Subscription {
    host: Host,
    guess: Guess,
    /// What it subscribes as; with its id as soon as that is known.
    pub(crate) info: v1::FrameworkInfo,
    session: Session,
    /// The attempt or the stream, with its id.
    stream: Option<(ConnId, Option<String>)>,
    subscribed: bool,
    alarm: Alarm,
    calls: BTreeMap<ConnId, Call>,
}

impl Subscription {
    /// Subscribes, with as many attempts as it takes.
    pub(crate) fn begin(
        host: Host,
        masters: &[(String, Host)],
        info: v1::FrameworkInfo,
        cx: &mut Context,
    ) -> Self {
        let mut subscription = Self {
            host,
            guess: Guess::new(masters),
            info,
            session: Session::new(cx.random.random()),
            stream: None,
            subscribed: false,
            alarm: Alarm::default(),
            calls: BTreeMap::new(),
        };
        subscription.said(&Said::Wake, cx);
        subscription
    }

    /// Whether the master has said so on the stream that stands.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// The framework's id, once known.
    pub(crate) fn id(&self) -> Option<&v1::FrameworkId> {
        self.info.id.as_ref()
    }

    /// The id of the stream that stands.
    pub(crate) fn stream(&self) -> Option<String> {
        self.stream.as_ref().and_then(|(_, stream)| stream.clone())
    }

    fn said(&mut self, said: &Said, cx: &mut Context) {
        let mut effects = Vec::new();
        self.session.handle(cx.clock(self.host), said, &mut effects);
        for effect in effects {
            match effect {
                Do::Connect => self.connect(cx),
                Do::Disconnect => {
                    self.guess.failed();
                    self.hang_up(cx);
                }
                Do::Stop => self.hang_up(cx),
            }
        }
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context) {
        self.alarm.set(self.host, self.session.next_deadline(), cx);
    }

    /// Takes notice of what became due on a machine that subscribes and does nothing else.
    pub(crate) fn due(&mut self, what: &Due, cx: &mut Context) -> Option<Heard> {
        match what {
            Due::Wake => self.wake(cx),
            Due::Timeout(conn) => self.timeout(*conn, cx),
            _ => None,
        }
    }

    /// The alarm rang, for this or for something else on the machine. `Lost` when the session gave its stream up.
    pub(crate) fn wake(&mut self, cx: &mut Context) -> Option<Heard> {
        if !self.alarm.rings(cx) {
            return None;
        }
        let before = self.subscribed;
        self.said(&Said::Wake, cx);
        (before && !self.subscribed).then_some(Heard::Lost)
    }

    fn connect(&mut self, cx: &mut Context) {
        let call = Call {
            framework_id: self.info.id.clone(),
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(call::Subscribe { framework_info: self.info.clone(), ..Default::default() }),
            ..Call::default()
        };
        let ask = Ask::Scheduler { stream: None, call: Box::new(call) };
        let conn = cx.dial(self.host, self.guess.host(), ask);
        self.stream = Some((conn, None));
        cx.later(self.host, ANSWER, Due::Timeout(conn));
    }

    /// Closes the stream, as a process that has lost interest does.
    pub(crate) fn hang_up(&mut self, cx: &mut Context) {
        self.subscribed = false;
        if let Some((conn, _)) = self.stream.take() {
            cx.close(conn, self.host);
        }
    }

    /// Makes a call on a connection of its own; `None` without a stream to make it on.
    pub(crate) fn call(&mut self, mut call: Call, cx: &mut Context) -> Option<ConnId> {
        let (_, stream) = self.stream.as_ref()?;
        let stream = Some(stream.clone()?);
        call.framework_id.clone_from(&self.info.id);
        let conn =
            cx.dial(self.host, self.guess.host(), Ask::Scheduler { stream, call: Box::new(call.clone()) });
        self.calls.insert(conn, call);
        cx.later(self.host, ANSWER, Due::Timeout(conn));
        Some(conn)
    }

    /// A connection has had its time.
    pub(crate) fn timeout(&mut self, conn: ConnId, cx: &mut Context) -> Option<Heard> {
        match &self.stream {
            // The stream stands.
            Some((known, Some(_))) if *known == conn => None,
            _ => self.heard(conn, Frame::End, cx),
        }
    }

    pub(crate) fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) -> Option<Heard> {
        let Some((_, stream)) = self.stream.as_mut().filter(|(known, _)| *known == conn) else {
            return self.answered(conn, &frame, cx);
        };
        match frame {
            Frame::Opened { stream: id } => {
                *stream = Some(id);
                self.said(&Said::Opened, cx);
                None
            }
            Frame::Event(event) => {
                self.event(&event, cx);
                Some(Heard::Event(event))
            }
            Frame::Redirect(leader) => {
                let again = self.guess.redirected(&leader);
                self.ended(again, cx)
            }
            _ => {
                self.guess.failed();
                self.ended(false, cx)
            }
        }
    }

    fn event(&mut self, event: &Event, cx: &mut Context) {
        match event.r#type() {
            event::Type::Subscribed => {
                let Some(subscribed) = &event.subscribed else { return };
                self.info.id = Some(subscribed.framework_id.clone());
                self.subscribed = true;
                let seconds = subscribed.heartbeat_interval_seconds.unwrap_or(15.0);
                let heartbeat = Span::from_secs_f64(seconds).unwrap_or(Span::from_secs(15));
                self.said(&Said::Subscribed { heartbeat }, cx);
            }
            event::Type::Error => self.said(&Said::Refused, cx),
            event::Type::Offers => {
                for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
                    cx.judge.reservations.offered(&self.info.roles, offer);
                }
                self.said(&Said::Heard, cx);
            }
            _ => self.said(&Said::Heard, cx),
        }
    }

    fn ended(&mut self, again: bool, cx: &mut Context) -> Option<Heard> {
        let before = self.subscribed;
        self.hang_up(cx);
        self.said(&Said::Ended { again }, cx);
        before.then_some(Heard::Lost)
    }

    /// The end of a call's connection, or its answer.
    fn answered(&mut self, conn: ConnId, frame: &Frame, cx: &mut Context) -> Option<Heard> {
        let call = Box::new(self.calls.remove(&conn)?);
        cx.close(conn, self.host);
        let taken = match frame {
            Frame::Taken => Taken::Yes,
            Frame::Refused { .. } | Frame::Redirect(_) => Taken::No,
            _ => Taken::Unknown,
        };
        Some(Heard::Answered { conn, call, taken })
    }
}
