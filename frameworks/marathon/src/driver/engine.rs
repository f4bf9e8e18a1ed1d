//! The supervisor and those who wait for it. It turns effects into answers, views and events; what needs the outside
//! world it hands on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::time::Time;
use sdk::hub::Hub;
use sdk::ring::Event;
use tokio::sync::{oneshot, watch};

use crate::limits;
use crate::supervisor::Supervisor;
use crate::supervisor::message::{
    Call, Command, Commit, Effect, Input, Origin, Published, Refusal, Reply, RequestId,
};
use crate::supervisor::state::State;

/// What a caller is told.
pub(crate) type Answer = Result<Reply, Refusal>;

/// What the API asks of the supervisor.
#[derive(Debug)]
pub(crate) enum Request {
    Command { origin: Origin, command: Command, answer: oneshot::Sender<Answer> },
    DrainerConnected { name: String },
    DrainerDisconnected { name: String },
}

/// Stores and calls; the results come back as inputs.
pub(crate) trait Outside {
    fn commit(&mut self, commit: Commit);
    fn call(&mut self, call: Call);
}

/// What readers see: nothing while this process does not lead.
#[derive(Debug)]
pub(crate) struct Windows {
    pub(crate) view: watch::Sender<Option<Arc<State>>>,
    pub(crate) hub: watch::Sender<Option<Hub>>,
}

/// A supervisor at work.
#[derive(Debug)]
pub(crate) struct Engine {
    supervisor: Supervisor,
    windows: Windows,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    requests: u64,
    effects: Vec<Effect>,
}

impl Engine {
    pub(crate) fn new(supervisor: Supervisor, windows: Windows) -> Self {
        Self { supervisor, windows, waiting: BTreeMap::new(), requests: 0, effects: Vec::new() }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.supervisor.next_deadline()
    }

    pub(crate) fn input(&mut self, now: Time, input: Input, outside: &mut impl Outside) {
        let mut effects = std::mem::take(&mut self.effects);
        self.supervisor.handle(now, input, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Commit(commit) => outside.commit(commit),
                Effect::Call(call) => outside.call(call),
                Effect::Publish(events) => self.publish(&events),
                Effect::View(view) => {
                    self.windows.view.send_replace(Some(view));
                }
                Effect::Answer(request, answer) => {
                    if let Some(caller) = self.waiting.remove(&request) {
                        // A caller that went away needs no answer.
                        let _ = caller.send(answer);
                    }
                }
            }
        }
        self.effects = effects;
    }

    /// Leads no more: readers are sent to the new leader, and those who wait learn that the outcome is unknown here.
    pub(crate) fn abandon(&mut self) {
        self.windows.view.send_replace(None);
        self.windows.hub.send_replace(None);
        self.waiting.clear();
        // What a deposed supervisor asks for is to leave the master, which happens as its connections are dropped.
        self.supervisor.handle(Time::ZERO, Input::Deposed, &mut Vec::new());
    }

    pub(crate) fn request(&mut self, now: Time, request: Request, outside: &mut impl Outside) {
        let input = match request {
            Request::DrainerConnected { name } => Input::DrainerConnected { name },
            Request::DrainerDisconnected { name } => Input::DrainerDisconnected { name },
            // Nobody waits any more, and may have asked another leader since.
            Request::Command { answer, .. } if answer.is_closed() => return,
            Request::Command { origin, command, answer } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.waiting.insert(request, answer);
                Input::Request { request, origin, command }
            }
        };
        self.input(now, input, outside);
    }

    fn publish(&self, events: &[Arc<Published>]) {
        let ring_event = |event: &Arc<Published>| Event {
            id: event.number,
            kind: event.kind,
            data: Bytes::copy_from_slice(event.payload.as_bytes()),
        };
        let hub = self.windows.hub.borrow().clone();
        let hub = hub.unwrap_or_else(|| {
            // The first call of a leader brings the kept window.
            let before = events.first().map_or(0, |event| event.number - 1);
            let hub = Hub::new(before, limits::EVENT_WINDOW, limits::EVENT_WINDOW_BYTES);
            self.windows.hub.send_replace(Some(hub.clone()));
            hub
        });
        hub.publish(events.iter().map(ring_event));
    }
}
