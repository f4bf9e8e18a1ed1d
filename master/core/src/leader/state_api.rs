//! The key-value API: reads behind a proof of leadership, writes through the log, watches, and the ends of leases.

use std::collections::BTreeMap;

use model::id::FrameworkId;
use wire::state::WatchRecord;

use super::Turn;
use super::agents::Doubt;
use super::proposals::Proposal;
use super::streams::Listener;
use super::timers::Timer;
use crate::call::Explain;
use crate::effect::{Effect, Reason, Reply};
use crate::input::{Barrier, RequestId, StreamId};
use crate::limits;
use crate::refusal::Refusal;
use crate::registry::{Index, Outcome, Read, StateCall, Text, WatchFrom, Watcher, Write};

/// Ends of leases proposed in one turn; the rest follows at once, after what else is waiting.
const EXPIRIES_PER_TURN: usize = 256;

/// Batches sent to one watcher in one turn. One that is further behind gets the rest after what else is waiting.
const BATCHES_PER_TURN: usize = 8;

/// A reader of changes.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: Watcher,
    /// It has been told all there was when it was last looked at.
    current: bool,
}

impl Watch {
    pub(crate) fn namespace(&self) -> &Text {
        self.watcher.namespace()
    }

    /// Every change up to this revision has been told.
    pub(crate) fn told(&self) -> Index {
        self.watcher.next() - 1
    }
}

/// What waits for a proof of leadership.
#[derive(Debug)]
pub(crate) enum Waiting {
    Snapshot(RequestId),
    Explain {
        request: RequestId,
        ask: Explain,
    },
    State {
        request: RequestId,
        read: Read,
    },
    Watch {
        request: RequestId,
        stream: StreamId,
        from: WatchFrom,
    },
    /// A scheduler's questions about its tasks and operations.
    Questions {
        framework: FrameworkId,
        stream: StreamId,
    },
    /// An agent claims to obey a newer leader.
    Doubt(Box<Doubt>),
}

/// One question at a time is under way; whoever comes meanwhile waits for the next, which covers them all. Asking for
/// each read would cost a round trip among the masters for each.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    asked: BTreeMap<Barrier, Vec<Waiting>>,
    next: Vec<Waiting>,
}

impl Reads {
    fn len(&self) -> usize {
        self.next.len() + self.asked.values().map(Vec::len).sum::<usize>()
    }
}

impl Turn<'_> {
    pub(super) fn state_call(&mut self, request: RequestId, stream: StreamId, call: StateCall) {
        match call {
            StateCall::Read(read) => self.when_proved(Waiting::State { request, read }),
            StateCall::Watch(from) => {
                if self.leader.streams.watches >= limits::WATCHES {
                    let refusal = Refusal::TooMany { what: "watches", limit: limits::WATCHES };
                    return self.answer(request, Err(refusal));
                }
                self.when_proved(Waiting::Watch { request, stream, from });
            }
            #[cfg(feature = "mutants")]
            StateCall::Write(write @ Write::Txn(_)) if mutant::planted("writes-are-acknowledged-early") => {
                let revision = self.view.index() + 1;
                let done = wire::state::TxnAnswer {
                    revision,
                    succeeded: true,
                    replayed: false,
                    results: Vec::new(),
                };
                self.answer(request, Ok(Reply::State(Box::new(wire::state::Answer::Txn(done)))));
                self.propose(write.command(), Proposal::Quiet);
            }
            StateCall::Write(write) => self.propose(write.command(), Proposal::State { request, write }),
        }
    }

    pub(super) fn state_written(&mut self, request: RequestId, write: &Write, outcome: Outcome) {
        let result = write.answer(self.view.index(), outcome);
        self.answer(request, result.map(|answer| Reply::State(Box::new(answer))).map_err(Refusal::Registry));
    }

    /// Has something done once it is proved that this master still leads, and has applied all that was committed.
    pub(super) fn when_proved(&mut self, waiting: Waiting) {
        if self.leader.reads.len() >= limits::READS {
            return self.unproved(waiting, Refusal::Busy);
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("reads-do-not-wait") {
            return self.proved(waiting);
        }
        self.leader.reads.next.push(waiting);
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if !self.leader.reads.asked.is_empty() || self.leader.reads.next.is_empty() {
            return;
        }
        self.leader.serial.barrier += 1;
        let barrier = Barrier(self.leader.serial.barrier);
        let waiting = std::mem::take(&mut self.leader.reads.next);
        self.leader.reads.asked.insert(barrier, waiting);
        self.out.push(Effect::Barrier(barrier));
    }

    pub(super) fn passed(&mut self, barrier: Barrier) {
        for waiting in self.leader.reads.asked.remove(&barrier).unwrap_or_default() {
            self.proved(waiting);
        }
        self.ask_next();
    }

    pub(super) fn refuted(&mut self, barrier: Barrier) {
        for waiting in self.leader.reads.asked.remove(&barrier).unwrap_or_default() {
            self.unproved(waiting, Refusal::NotLeading);
        }
        self.ask_next();
    }

    pub(super) fn fail_all_reads(&mut self) {
        let reads = std::mem::take(&mut self.leader.reads);
        for waiting in reads.asked.into_values().flatten().chain(reads.next) {
            self.unproved(waiting, Refusal::NotLeading);
        }
    }

    fn proved(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Snapshot(request) => {
                let result = self.snapshot().map(Reply::Snapshot).ok_or(Refusal::NotLeading);
                self.answer(request, result);
            }
            Waiting::Explain { request, ask } => {
                let result = self.explain(&ask).map(|explanation| Reply::Explanation(Box::new(explanation)));
                self.answer(request, result);
            }
            Waiting::State { request, read } => {
                let result = read.answer(self.view);
                self.answer(
                    request,
                    result.map(|answer| Reply::State(Box::new(answer))).map_err(Refusal::Registry),
                );
            }
            Waiting::Watch { request, stream, from } => {
                let (watcher, started) = from.start(self.view);
                self.answer(request, Ok(Reply::Stream(stream.clone())));
                self.out.push(Effect::Watch { stream: stream.clone(), record: started });
                self.open_stream(stream.clone(), Listener::Watch(Watch { watcher, current: false }));
                self.feed(&stream, 0);
            }
            Waiting::Questions { framework, stream } => self.questions_proved(&framework, &stream, true),
            Waiting::Doubt(doubt) => self.doubt_refuted(*doubt),
        }
    }

    fn unproved(&mut self, waiting: Waiting, refusal: Refusal) {
        match waiting {
            Waiting::Snapshot(request)
            | Waiting::Explain { request, .. }
            | Waiting::State { request, .. }
            | Waiting::Watch { request, .. } => {
                self.answer(request, Err(refusal));
            }
            Waiting::Questions { framework, stream } => self.questions_proved(&framework, &stream, false),
            Waiting::Doubt(doubt) => self.doubt_stands(&doubt),
        }
    }

    /// The registry has moved on: whoever watches a namespace that has changed is told.
    pub(super) fn feed_watches(&mut self) {
        let streams = &mut self.leader.streams;
        let before = std::mem::replace(&mut streams.looked, self.view.index());
        if streams.watches == 0 {
            return;
        }
        let concerned: Vec<StreamId> = match self.view.touched(before) {
            Some(spaces) => {
                spaces.into_iter().filter_map(|space| streams.watched.get(space)).flatten().cloned().collect()
            }
            None => streams.watched.values().flatten().cloned().collect(),
        };
        for stream in concerned {
            self.feed(&stream, before);
        }
    }

    /// Sends a watcher what is new. Up to the revision `looked` there is nothing for one that was up to date.
    pub(super) fn feed(&mut self, stream: &StreamId, looked: Index) {
        for _ in 0..BATCHES_PER_TURN {
            let Some(Listener::Watch(watch)) = self.leader.streams.table.get_mut(stream) else { return };
            if std::mem::take(&mut watch.current) {
                watch.watcher.skip(looked);
            }
            match watch.watcher.poll(self.view) {
                Ok(batch) => {
                    let more = batch.more;
                    watch.current = !more;
                    // Empty ones are left to the heartbeat: not each commit concerns each watcher.
                    if !batch.events.is_empty() {
                        self.out
                            .push(Effect::Watch { stream: stream.clone(), record: WatchRecord::from(batch) });
                    }
                    if !more {
                        return;
                    }
                }
                Err(compacted) => {
                    self.out
                        .push(Effect::Watch { stream: stream.clone(), record: WatchRecord::from(compacted) });
                    return self.close_stream(stream, Reason::Ended);
                }
            }
        }
        self.leader.timers.set(Timer::Heartbeat(stream.clone()), self.now);
    }

    /// Proposes the ends of leases whose holders were silent for too long.
    pub(super) fn expire_leases(&mut self) {
        for command in self.leader.leases.due(self.now, self.view, EXPIRIES_PER_TURN) {
            self.propose(command, Proposal::Quiet);
        }
    }
}
