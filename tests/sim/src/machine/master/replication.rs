//! The replica of a master: busy while it syncs, and what comes meanwhile waits for its next turn.

use master_core::input::{self, Input};
use replica::snapshot::{Intake, load};
use replica::{Barrier, Descriptor, NodeId, Outbox, Output, PeerMessage, Role, Ticket};

use super::{CHANGE, LIMITS, Master, OWN_BARRIER, Request};
use crate::context::Context;
use crate::machine::Due;
use crate::version::{self, NEXT, Registrar};

/// What a turn puts out. A leader's messages do not wait for its own disk; everybody else's were held back by the
/// replica itself.
struct Outgoing {
    leads: bool,
    at_once: Vec<PeerMessage>,
    later: Vec<Output<Registrar>>,
}

impl Outbox<Registrar> for Outgoing {
    fn put(&mut self, output: Output<Registrar>) {
        match output {
            Output::Send(message) if self.leads => self.at_once.push(message),
            output => self.later.push(output),
        }
    }
}

impl Master {
    /// Asks the replica for something, with all else that is asked at this moment.
    pub(super) fn ask(&mut self, request: Request, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.requests.push(request);
        self.call(cx);
    }

    /// Asks the replica for something that comes alone: if nothing else is under way it is done at once.
    pub(super) fn ask_now(&mut self, request: Request, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        // After a stall the missed ticks are forgotten: made up for, they would look like a dead leader.
        if matches!(request, Request::Tick) && run.requests.iter().any(|r| matches!(r, Request::Tick)) {
            return;
        }
        run.requests.push(request);
        if !run.busy && !run.called {
            self.turn(cx);
        }
    }

    /// Wakes the replica's thread, which takes what has come until it runs.
    pub(super) fn call(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        if !run.busy && !run.called {
            run.called = true;
            cx.later(self.host, 1, Due::Turn);
        }
    }

    /// Lets the replica do what waits for it.
    pub(super) fn turn(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.called = false;
        let mut refused = Vec::new();
        for request in run.requests.drain(..) {
            match request {
                Request::Tick => run.replica.tick(),
                // Whoever is not of this group is not listened to.
                Request::Step(message) => drop(run.replica.step(*message)),
                Request::Unreachable(node) => run.replica.unreachable(node),
                Request::Gone(node) => run.replica.gone(node),
                // Busy with another, or deposed: it is asked for again.
                Request::Change(change) => drop(run.replica.change(CHANGE, &change)),
                Request::Propose(ticket, command) => {
                    if run.replica.propose(ticket, &command).is_err() && ticket != LIMITS {
                        refused.push(Input::Busy(input::Ticket(ticket.0)));
                    }
                }
                Request::Barrier(barrier) => match run.replica.barrier(barrier) {
                    Ok(()) => {}
                    Err(_) if barrier == OWN_BARRIER => run.in_doubt = false,
                    Err(_) => refused.push(Input::Refuted(input::Barrier(barrier.0))),
                },
            }
        }
        let before = run.replica.disk().syncs();
        let leads = matches!(run.leading, Some(Role::Leading { .. }));
        let mut out = Outgoing { leads, at_once: Vec::new(), later: Vec::new() };
        let result = run.replica.turn(&mut out);
        let synced = run.replica.disk().syncs() > before;
        run.busy = true;
        for message in out.at_once {
            self.send_peer(message, cx);
        }
        if let Err(fatal) = result {
            // What was sent before the write is on its way.
            for output in out.later {
                if let Output::Send(message) = output {
                    self.send_peer(message, cx);
                }
            }
            return self.end(fatal, cx);
        }
        for input in refused {
            self.handle(input, cx);
        }
        if synced {
            let took = cx.sync_time();
            cx.later(self.host, took, Due::Outputs(out.later));
        } else {
            self.turned(out.later, cx);
        }
    }

    /// The replica's turn is over, its sync included.
    pub(super) fn turned(&mut self, outputs: Vec<Output<Registrar>>, cx: &mut Context) {
        if let Some(run) = &mut self.run {
            run.busy = false;
        }
        for output in outputs {
            self.output(output, cx);
        }
        if self.run.as_ref().is_some_and(|run| !run.requests.is_empty()) {
            self.call(cx);
        }
    }

    pub(super) fn send_peer(&mut self, message: PeerMessage, cx: &mut Context) {
        let to = message.to();
        let Some((host, _, _)) = self.group.members.get(&to) else { return };
        let message = match self.level {
            NEXT => match version::peer(message) {
                Ok(message) => message,
                Err(why) => return cx.judge.broken("versions understand each other", why),
            },
            _ => message,
        };
        if !cx.message(self.host, *host, message)
            && let Some(run) = &mut self.run
        {
            run.requests.push(Request::Unreachable(to));
        }
    }

    pub(super) fn output(&mut self, output: Output<Registrar>, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match output {
            Output::Send(message) => self.send_peer(message, cx),
            Output::Applied { index, ticket, outcome, view, .. } => {
                run.view = view.clone();
                self.group.levels.group_is_at(view.level());
                version::turn(self.level, view.level());
                let digest = view.digest();
                cx.trace.note(index);
                cx.trace.note(digest);
                cx.judge.applied(&self.address, index, digest, &view);
                let ticket =
                    ticket.filter(|ticket| *ticket != LIMITS).map(|Ticket(ticket)| input::Ticket(ticket));
                self.handle(Input::Applied { index, ticket, outcome, view }, cx);
            }
            Output::Installed { index, view } => {
                let digest = view.digest();
                cx.trace.note(digest);
                cx.judge.installed(&self.address, index, digest);
                run.view = view;
            }
            Output::Lost(CHANGE | LIMITS) => {}
            Output::Lost(Ticket(ticket)) => self.handle(Input::Lost(input::Ticket(ticket)), cx),
            Output::Passed(OWN_BARRIER) => {
                if let (true, Some(role)) = (std::mem::take(&mut run.in_doubt), run.leading) {
                    self.role(role, cx);
                }
            }
            Output::Failed(OWN_BARRIER) => run.in_doubt = false,
            Output::Passed(Barrier(barrier)) => self.handle(Input::Passed(input::Barrier(barrier)), cx),
            Output::Failed(Barrier(barrier)) => self.handle(Input::Refuted(input::Barrier(barrier)), cx),
            Output::Role(role) => {
                run.in_doubt = false;
                run.leading = matches!(role, Role::Leading { .. }).then_some(role);
                self.role(role, cx);
            }
            Output::Build(job) => {
                let after = cx.sync_time();
                cx.later(self.host, after, Due::Build(Box::new(job)));
            }
            Output::Fetch { from, descriptor } => {
                let after = cx.sync_time() * 3;
                cx.later(self.host, after, Due::Fetch { from, descriptor: Box::new(descriptor) });
            }
            Output::Members { .. } => {}
        }
    }

    pub(super) fn fetch(&mut self, from: NodeId, descriptor: &Descriptor, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let id = descriptor.id;
        let (host, _, files) = &self.group.members[&from];
        let there = cx.of(*host).up && !cx.net.blocked(*host, self.host) && !cx.net.blocked(self.host, *host);
        let result = match files.bytes(id).filter(|_| there) {
            None => Err("the leader is gone, or the file".to_owned()),
            Some(bytes) => {
                let own = run.replica.files();
                let pulled = || {
                    let mut intake = Intake::begin(own.clone(), descriptor.clone())?;
                    bytes.chunks(4096).try_for_each(|some| intake.push(some))?;
                    intake.finish()
                };
                let pulled: Result<(), replica::DiskError> = pulled();
                let loaded = |()| load::<Registrar, _>(&own, descriptor).map_err(|error| error.to_string());
                pulled.map_err(|error| error.to_string()).and_then(loaded)
            }
        };
        if result.is_err() && self.level < NEXT && self.group.raised(NEXT) {
            // It would ask for it for ever, and say why each time.
            self.too_old(cx);
        }
        let Some(run) = &mut self.run else { return };
        run.replica.fetched(id, result);
        self.call(cx);
    }
}
