//! The connections of a master: links of agents, calls, and the streams that answer some of them.

use master_core::call::{OperatorCall, SchedulerCall, StateCall};
use master_core::input::{Input, LinkId, Peer, RequestId, StreamId};
use master_core::refusal::Refusal;
use rand::RngExt;

use super::{Edge, Kind, Master, Waiting};
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::ConnId;

impl Master {
    pub(super) fn asked(&mut self, conn: ConnId, ask: Ask, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if run.standing != Edge::Leading {
            let frame = elsewhere(&run.standing);
            cx.send(conn, self.host, frame);
            return cx.close(conn, self.host);
        }
        let request = RequestId(conn.0);
        match ask {
            Ask::Link => {
                let client = cx.net.conns.get(&conn).map(|c| c.host(crate::net::Side::Client));
                let ip = client.map_or_else(String::new, |host| cx.of(host).name.clone());
                run.conns.insert(conn, Kind::Link { ip: ip.into(), obeyed: 0 });
                run.links.insert(LinkId(conn.0), conn);
                cx.send(conn, self.host, Frame::Linked);
            }
            Ask::Scheduler { stream, call } => {
                let header = stream.map(|stream| StreamId(stream.into()));
                match SchedulerCall::decode(*call) {
                    Err(refusal) => self.refuse(conn, &refusal, cx),
                    Ok(SchedulerCall::Subscribe(call)) => {
                        let own = StreamId(format!("{:032x}", cx.random.random::<u128>()).into());
                        self.waits(request, conn, Some(own.clone()));
                        let input = Input::Subscribe { request, stream: own, header, principal: None, call };
                        self.handle(input, cx);
                    }
                    Ok(SchedulerCall::Framework(call)) => {
                        self.waits(request, conn, None);
                        self.handle(Input::Scheduler { request, stream: header, principal: None, call }, cx);
                    }
                }
            }
            Ask::Apps(_) | Ask::Jobs(_) => {
                cx.send(
                    conn,
                    self.host,
                    Frame::Refused { status: 404, text: "masters know no apps".to_owned() },
                );
                cx.close(conn, self.host);
            }
            Ask::Operator(call) => {
                let own = StreamId(format!("{:032x}", cx.random.random::<u128>()).into());
                match OperatorCall::decode(*call, own) {
                    Err(refusal) => self.refuse(conn, &refusal, cx),
                    Ok(call) => {
                        self.waits(request, conn, None);
                        self.handle(Input::Operator { request, call }, cx);
                    }
                }
            }
            Ask::State(call) => match StateCall::from_wire(*call) {
                Err(refusal) => self.refuse(conn, &Refusal::Registry(refusal), cx),
                Ok(call) => {
                    let own = StreamId(format!("{:032x}", cx.random.random::<u128>()).into());
                    self.waits(request, conn, Some(own.clone()));
                    self.handle(Input::State { request, stream: own, call }, cx);
                }
            },
        }
    }

    pub(super) fn waits(&mut self, request: RequestId, conn: ConnId, stream: Option<StreamId>) {
        let Some(run) = &mut self.run else { return };
        run.conns.insert(conn, Kind::Request);
        run.waiting.insert(request, Waiting { conn, stream });
    }

    pub(super) fn refuse(&mut self, conn: ConnId, refusal: &Refusal, cx: &mut Context) {
        cx.send(conn, self.host, Frame::Refused { status: refusal.status(), text: refusal.to_string() });
        cx.close(conn, self.host);
    }

    pub(super) fn closed(&mut self, conn: ConnId, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let peer = match run.conns.remove(&conn) {
            Some(Kind::Link { .. }) => {
                run.links.remove(&LinkId(conn.0));
                Peer::Link(LinkId(conn.0))
            }
            Some(Kind::Stream(stream)) => {
                run.streams.remove(&stream);
                Peer::Stream(stream)
            }
            // The answer finds nobody.
            Some(Kind::Request) | None => return,
        };
        cx.close(conn, self.host);
        self.handle(Input::Closed(peer), cx);
    }
}

pub(super) fn elsewhere(edge: &Edge) -> Frame {
    match edge {
        Edge::Following(leader) => Frame::Redirect(leader.to_string()),
        Edge::Leading | Edge::Electing => Frame::Unavailable,
    }
}
