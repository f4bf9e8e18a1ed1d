//! Who listens: schedulers, operators, watchers of the key-value space.
//!
//! The core never waits for a reader. Records go to the driver, which queues at most `limits::STREAM_RECORDS` and
//! `limits::STREAM_BYTES` of them per stream; when a reader is further behind, the driver ends the stream and says so
//! with `Input::Closed`. Closing is the only remedy for a slow reader: a framework comes back with its id and
//! reconciles, where an unbounded queue would take the master down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::id::FrameworkId;
use model::limits::{HEARTBEAT, OPERATOR_STREAMS};
use wire::state::WatchRecord;

use super::reconcile::Asked;
use super::timers::Timer;
use super::{Turn, activity, state_api::Watch};
use crate::effect::{Effect, OperatorEvent, Reason, SchedulerEvent};
use crate::input::{Peer, StreamId};
use crate::registry::{Index, Text};

#[derive(Debug)]
pub(crate) enum Listener {
    /// A scheduler whose framework waits for the registry.
    Candidate,
    Framework(FrameworkId),
    Operator,
    Watch(Watch),
}

#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) table: BTreeMap<StreamId, Listener>,
    /// The operators' streams, oldest first.
    operators: VecDeque<StreamId>,
    pub(crate) watches: usize,
    /// Watches by namespace: a commit concerns few of them, and looking at each would cost more than the commit.
    pub(crate) watched: BTreeMap<Text, BTreeSet<StreamId>>,
    /// What schedulers asked about their tasks and operations.
    pub(super) asked: BTreeMap<StreamId, Asked>,
    /// Whoever is concerned by the commits up to this one has been told, or is known to be behind.
    pub(crate) looked: Index,
}

impl Streams {
    pub(super) fn operators(&self) -> usize {
        self.operators.len()
    }
}

impl Turn<'_> {
    pub(super) fn open_stream(&mut self, stream: StreamId, listener: Listener) {
        match &listener {
            Listener::Operator => self.leader.streams.operators.push_back(stream.clone()),
            Listener::Watch(watch) => {
                self.leader.streams.watches += 1;
                let watched = self.leader.streams.watched.entry(watch.namespace().clone());
                watched.or_default().insert(stream.clone());
            }
            Listener::Candidate | Listener::Framework(_) => {}
        }
        if !matches!(listener, Listener::Candidate) {
            self.leader.timers.set(Timer::Heartbeat(stream.clone()), self.now + HEARTBEAT);
        }
        self.leader.streams.table.insert(stream, listener);
    }

    /// Makes room for one more operator: the oldest goes.
    pub(super) fn evict_operators(&mut self) {
        while self.leader.streams.operators.len() >= OPERATOR_STREAMS {
            let Some(oldest) = self.leader.streams.operators.front().cloned() else { break };
            self.close_stream(&oldest, Reason::Evicted);
        }
    }

    /// Ends a stream after what was sent on it.
    pub(super) fn close_stream(&mut self, stream: &StreamId, reason: Reason) {
        if self.forget_stream(stream).is_some() {
            self.out.push(Effect::Close { peer: Peer::Stream(stream.clone()), reason });
        }
    }

    pub(super) fn close_all_streams(&mut self, reason: Reason) {
        let all: Vec<StreamId> = self.leader.streams.table.keys().cloned().collect();
        for stream in all {
            self.close_stream(&stream, reason);
        }
    }

    fn forget_stream(&mut self, stream: &StreamId) -> Option<Listener> {
        let listener = self.leader.streams.table.remove(stream)?;
        self.leader.streams.asked.remove(stream);
        self.leader.timers.cancel(&Timer::Heartbeat(stream.clone()));
        match &listener {
            Listener::Operator => self.leader.streams.operators.retain(|other| other != stream),
            Listener::Watch(watch) => {
                self.leader.streams.watches -= 1;
                if let Some(watched) = self.leader.streams.watched.get_mut(watch.namespace()) {
                    watched.remove(stream);
                    if watched.is_empty() {
                        self.leader.streams.watched.remove(watch.namespace());
                    }
                }
            }
            Listener::Candidate | Listener::Framework(_) => {}
        }
        Some(listener)
    }

    /// The reader hung up, or was too slow.
    pub(super) fn stream_closed(&mut self, stream: &StreamId) {
        if let Some(Listener::Framework(framework)) = self.forget_stream(stream) {
            self.disconnect(&framework);
        }
    }

    pub(super) fn heartbeat(&mut self, stream: &StreamId) {
        self.leader.timers.set(Timer::Heartbeat(stream.clone()), self.now + HEARTBEAT);
        self.feed(stream, self.leader.streams.looked);
        let effect = match self.leader.streams.table.get_mut(stream) {
            None | Some(Listener::Candidate) => {
                return self.leader.timers.cancel(&Timer::Heartbeat(stream.clone()));
            }
            Some(Listener::Framework(framework)) => {
                let framework = framework.clone();
                return self.event(&framework, SchedulerEvent::Heartbeat);
            }
            Some(Listener::Operator) => {
                Effect::Notice { stream: stream.clone(), event: OperatorEvent::Heartbeat }
            }
            Some(Listener::Watch(watch)) => {
                let revision = watch.told();
                Effect::Watch { stream: stream.clone(), record: WatchRecord::Progress { revision } }
            }
        };
        self.out.push(effect);
    }

    /// Sends an event to a framework, if it is connected.
    pub(super) fn event(&mut self, framework: &FrameworkId, event: SchedulerEvent) {
        let Some(stream) = self.framework(framework).and_then(|framework| framework.stream.clone()) else {
            return;
        };
        self.tally(framework, activity::event(&event), 1);
        self.out.push(Effect::Event { stream, event });
    }

    /// Sends an event to every operator. `make` is not called when there is none.
    pub(super) fn publish(&mut self, make: impl FnOnce(&Self) -> Option<OperatorEvent>) {
        if self.leader.streams.operators.is_empty() {
            return;
        }
        let Some(event) = make(self) else { return };
        for stream in &self.leader.streams.operators {
            self.out.push(Effect::Notice { stream: stream.clone(), event: event.clone() });
        }
    }
}
