//! The core of a master, and what it asks for.

use std::sync::Arc;

use master_core::call::OperatorCall;
use master_core::effect::{AgentOrder, Effect, Observation, Reply};
use master_core::input::{self, Input, LinkId, Peer, RequestId, StreamId};
use master_core::limits::STREAM_RECORDS;
use master_core::refusal::Refusal;
use master_core::registry::{Command, Limits, LimitsCommand};
use master_core::render;
use rand::RngExt;
use replica::{Barrier, Role, Ticket};

use super::edge::elsewhere;
use super::{Edge, Kind, LIMITS, LINK_FRAMES, Master, OWN_BARRIER, Request};
use crate::context::Context;
use crate::frame::Frame;
use crate::version::{self, NEXT};

impl Master {
    pub(super) fn role(&mut self, role: Role, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let (role, edge) = match role {
            Role::Leading { term } => {
                cx.judge.elected(&self.address, term, &run.view);
                self.elections += 1;
                let master = Arc::new(info(&self.address, cx.random.random()));
                let view = run.view.clone();
                (input::Role::Leading { term: input::Term(term), master, view }, Edge::Leading)
            }
            Role::Following { leader, .. } => match self.group.members.get(&leader) {
                Some((_, address, _)) => {
                    let leader: Arc<str> = address.as_str().into();
                    (input::Role::Following { leader: leader.clone() }, Edge::Following(leader))
                }
                None => (input::Role::Candidate, Edge::Electing),
            },
            Role::Electing { .. } => (input::Role::Candidate, Edge::Electing),
        };
        let leads = matches!(role, input::Role::Leading { .. });
        self.handle(Input::Role(role), cx);
        if leads {
            let set = Limits { history_events: cx.weather.history_events, ..Limits::default() };
            self.ask(Request::Propose(LIMITS, Box::new(Command::Limits(LimitsCommand { set }))), cx);
        }
        if let Some(run) = &mut self.run {
            run.standing = edge;
        }
    }

    pub(super) fn handle(&mut self, input: Input, cx: &mut Context) {
        self.step(input, cx);
        while let Some(input) = self.run.as_mut().and_then(|run| run.own.pop_front()) {
            self.step(input, cx);
        }
        self.arm(cx);
    }

    pub(super) fn step(&mut self, input: Input, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let mut effects = Vec::new();
        run.core.handle(cx.clock(self.host), input, &mut effects);
        for effect in effects {
            self.execute(effect, cx);
        }
    }

    pub(super) fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.alarm.set(self.host, run.core.next_deadline(), cx);
    }

    pub(super) fn wake(&mut self, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(run) = &mut self.run else { return };
        run.alarm.rings(cx);
        if run.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(Input::Wake, cx);
        } else {
            self.arm(cx);
        }
        self.consider_audit(cx);
    }

    pub(super) fn execute(&mut self, effect: Effect, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match effect {
            Effect::Propose { ticket, command } => {
                self.ask(Request::Propose(Ticket(ticket.0), Box::new(command)), cx);
            }
            Effect::Barrier(barrier) => self.ask(Request::Barrier(Barrier(barrier.0)), cx),
            Effect::Answer { request, result } => self.answer(request, result, cx),
            Effect::Event { stream, event } => {
                self.record(&stream, Frame::Event(Box::new(render::scheduler_event(&event))), cx);
            }
            Effect::Watch { stream, record } => self.record(&stream, Frame::Watch(record), cx),
            // Readers of this world take what comes: what `record` cuts is what never left.
            Effect::Mark { stream } => {
                if run.streams.contains_key(&stream) {
                    run.own.push_back(Input::Reached(stream));
                }
            }
            // No operator listens in this world.
            Effect::Notice { .. } => {}
            Effect::Order { link, term, order } => self.order(link, term, &order, cx),
            Effect::Close { peer, .. } => match peer {
                Peer::Stream(id) => {
                    if let Some(conn) = run.streams.remove(&id) {
                        run.conns.remove(&conn);
                        cx.close(conn, self.host);
                    }
                }
                Peer::Link(id) => {
                    if let Some(conn) = run.links.remove(&id) {
                        run.conns.remove(&conn);
                        cx.close(conn, self.host);
                    }
                }
            },
            Effect::StepDown { .. } => {
                run.standing = Edge::Electing;
                run.in_doubt = true;
                self.ask(Request::Barrier(OWN_BARRIER), cx);
            }
            Effect::Observe(observation) => {
                if let Observation::Misbooked(what) = observation {
                    cx.judge.misbooked(&self.address, &what);
                }
            }
        }
    }

    pub(super) fn order(&mut self, link: LinkId, term: input::Term, order: &AgentOrder, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(conn) = run.links.get(&link).copied() else { return };
        if let AgentOrder::Welcome { agent, .. } = order {
            if let Some(Kind::Link { obeyed, .. }) = run.conns.get(&conn) {
                cx.judge.fencing.welcomed(&self.address, term.0, *obeyed);
            }
            cx.judge.facts.admitted(agent.clone());
        }
        let mut order = render::order(term, order);
        if self.level == NEXT {
            order = match version::read_by_this(&order) {
                Ok(order) => order,
                Err(why) => return cx.judge.broken("versions understand each other", why),
            };
        }
        let frame = Frame::ToAgent(Box::new(order));
        if cx.send(conn, self.host, frame) > LINK_FRAMES {
            run.links.remove(&link);
            run.conns.remove(&conn);
            cx.close(conn, self.host);
            run.own.push_back(Input::Closed(Peer::Link(link)));
        }
    }

    pub(super) fn record(&mut self, stream: &StreamId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(conn) = run.streams.get(stream).copied() else { return };
        if cx.send(conn, self.host, frame) > STREAM_RECORDS {
            run.streams.remove(stream);
            run.conns.remove(&conn);
            cx.close(conn, self.host);
            run.own.push_back(Input::Closed(Peer::Stream(stream.clone())));
        }
    }

    pub(super) fn answer(&mut self, request: RequestId, result: Result<Reply, Refusal>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.audit == Some(request) {
            run.audit = None;
            if let Ok(Reply::Snapshot(snapshot)) = &result {
                self.audits += 1;
                cx.judge.books.look(&self.address, snapshot, run.core.allocator(), cx.now);
                cx.judge.quotas.look(snapshot, run.view.quotas(), cx.judge.healed, cx.now);
            }
            return;
        }
        let Some(waiting) = run.waiting.remove(&request) else {
            let why = format!("{}: request {} was answered twice", self.address, request.0);
            return cx.judge.broken("one answer a request", why);
        };
        let conn = waiting.conn;
        if let (Ok(Reply::Stream(_)), Some(stream)) = (&result, waiting.stream) {
            if let Some(kind) = run.conns.get_mut(&conn) {
                *kind = Kind::Stream(stream.clone());
                run.streams.insert(stream.clone(), conn);
                cx.send(conn, self.host, Frame::Opened { stream: stream.0.to_string() });
            } else {
                // The client has gone meanwhile.
                run.own.push_back(Input::Closed(Peer::Stream(stream)));
            }
            return;
        }
        run.conns.remove(&conn);
        let frame = match result {
            Ok(Reply::State(answer)) => Frame::State(answer),
            Ok(_) => Frame::Taken,
            Err(Refusal::NotLeading) => elsewhere(&run.standing),
            Err(Refusal::Unknown | Refusal::Busy | Refusal::TooMany { .. }) => Frame::Unavailable,
            Err(refusal) => Frame::Refused { status: refusal.status(), text: refusal.to_string() },
        };
        cx.send(conn, self.host, frame);
        cx.close(conn, self.host);
    }

    /// Asks for the whole state as an operator would, now and then.
    pub(super) fn consider_audit(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.core.leads().is_none() || cx.now < run.audit_at || run.audit.is_some() {
            return;
        }
        run.audit_at = cx.now + cx.weather.audit;
        run.requests_made += 1;
        let request = RequestId(u64::MAX - run.requests_made);
        run.audit = Some(request);
        self.handle(Input::Operator { request, call: OperatorCall::Read }, cx);
    }
}

/// Who a master is to clients, with a fresh id.
fn info(address: &str, id: u128) -> wire::v1::MasterInfo {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    wire::v1::MasterInfo {
        id: format!("{id:032x}"),
        ip: 0,
        port: port.parse().unwrap_or_default(),
        hostname: Some(host.to_owned()),
        ..Default::default()
    }
}
