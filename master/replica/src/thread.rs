//! The dedicated thread around a replica.
//!
//! Blocking writes and no async runtime: a sync that takes ten milliseconds must not hold up anything else, and nothing
//! else may hold up a heartbeat. Group commit is not a feature of this loop but its consequence: whatever arrives during
//! one sync is the next batch.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::error::{DiskError, Fatal, NotNow};
use crate::limits;
use crate::machine::Machine;
use crate::member::Change;
use crate::node::{Outbox, Output, Replica, Status};
use crate::snapshot::{Descriptor, SnapshotId};
use crate::ticket::{Barrier, Ticket};
use crate::types::NodeId;
use crate::wire::PeerMessage;

/// What the thread tells its owner, in order.
pub enum Event<M: Machine> {
    /// Something the replica put out; `Build` is done by the thread itself and never comes here.
    Output(Output<M>),
    /// A proposal or membership change was not even tried.
    Refused(Ticket, NotNow),
    /// A barrier was not even tried.
    RefusedBarrier(Barrier, NotNow),
    /// Numbers after a turn, at most once a tick.
    Status(Status),
    /// The thread has ended; the last event.
    Stopped(Result<(), Fatal>),
}

/// Where events go. Called on the replica's thread: it may block to push back on a follower that catches up, but a
/// leader's heartbeats wait meanwhile.
pub trait Outlet<M: Machine>: Send + 'static {
    /// Takes one event.
    fn event(&mut self, event: Event<M>);
}

impl<M: Machine, F: FnMut(Event<M>) + Send + 'static> Outlet<M> for F {
    fn event(&mut self, event: Event<M>) {
        self(event);
    }
}

enum Request<M: Machine> {
    Propose(Ticket, M::Command),
    Change(Ticket, Change),
    Barrier(Barrier),
    Step(PeerMessage),
    Unreachable(NodeId),
    Gone(NodeId),
    Fetched(SnapshotId, Result<M, String>),
    Built(Result<Descriptor, DiskError>),
    Campaign,
    HandOver,
    Stop,
}

/// The queue in front of the thread. Clones share it.
pub struct Handle<M: Machine> {
    queue: SyncSender<Request<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<M: Machine> Handle<M> {
    /// Queues a proposal. An error is all that will be heard of it; otherwise an event answers the ticket.
    pub fn propose(&self, ticket: Ticket, command: M::Command) -> Result<(), NotNow> {
        self.offer(Request::Propose(ticket, command))
    }

    /// Queues a change of membership.
    pub fn change(&self, ticket: Ticket, change: Change) -> Result<(), NotNow> {
        self.offer(Request::Change(ticket, change))
    }

    /// Queues a read barrier.
    pub fn barrier(&self, barrier: Barrier) -> Result<(), NotNow> {
        self.offer(Request::Barrier(barrier))
    }

    /// Queues a peer's message; a full queue loses it, as a network may.
    pub fn step(&self, message: PeerMessage) -> Result<(), NotNow> {
        self.offer(Request::Step(message))
    }

    /// A peer's link broke or overflowed.
    pub fn unreachable(&self, node: NodeId) {
        // Lost when the queue is full: the next failure, a tick later, says it again.
        let _ = self.offer(Request::Unreachable(node));
    }

    /// A peer's process has ended.
    pub fn gone(&self, node: NodeId) {
        // Lost when the queue is full: the election timeout says the same, later.
        let _ = self.offer(Request::Gone(node));
    }

    /// Answers an [`Output::Fetch`]. Waits for a place in the queue: a lost answer would pause this follower. Not to be
    /// called from an async task.
    pub fn fetched(&self, id: SnapshotId, result: Result<M, String>) {
        let _ = self.queue.send(Request::Fetched(id, result));
    }

    /// Stands for election now.
    pub fn campaign(&self) {
        let _ = self.offer(Request::Campaign);
    }

    /// Passes leadership on, before an orderly stop.
    pub fn hand_over(&self) {
        let _ = self.offer(Request::HandOver);
    }

    /// Ends the thread after the turn under way. Waits for a place in the queue.
    pub fn stop(&self) {
        let _ = self.queue.send(Request::Stop);
    }

    fn offer(&self, request: Request<M>) -> Result<(), NotNow> {
        self.queue.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => NotNow::Busy,
            TrySendError::Disconnected(_) => NotNow::NotLeader { leader: None },
        })
    }
}

/// Starts the thread. `tick` is the real time of one tick.
pub fn spawn<M: Machine, D: Disk>(
    replica: Replica<M, D>,
    tick: Duration,
    outlet: impl Outlet<M>,
) -> io::Result<(Handle<M>, JoinHandle<()>)> {
    let (queue, requests) = sync_channel(limits::QUEUE_REQUESTS);
    let handle = Handle { queue: queue.clone() };
    let runner = Runner { replica, tick, port: Port { outlet, jobs: Vec::new() }, queue };
    let thread = Builder::new().name("replica".into()).spawn(move || runner.run(&requests))?;
    Ok((handle, thread))
}

struct Runner<M: Machine, D: Disk, O: Outlet<M>> {
    replica: Replica<M, D>,
    tick: Duration,
    port: Port<M, O>,
    queue: SyncSender<Request<M>>,
}

/// Outputs leave for the owner as they are made, except the work we do ourselves.
struct Port<M: Machine, O> {
    outlet: O,
    jobs: Vec<crate::snapshot::Job<M>>,
}

impl<M: Machine, O: Outlet<M>> Outbox<M> for Port<M, O> {
    fn put(&mut self, output: Output<M>) {
        match output {
            Output::Build(job) => self.jobs.push(job),
            output => self.outlet.event(Event::Output(output)),
        }
    }
}

impl<M: Machine, D: Disk, O: Outlet<M>> Runner<M, D, O> {
    fn run(mut self, requests: &Receiver<Request<M>>) {
        // The consensus library ends by panic when it meets the impossible, among it any storage error.
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve(requests)));
        let result = ended.unwrap_or_else(|panic| {
            Err(match self.replica.take_failure() {
                Some(error) => Fatal::Disk(error),
                None => Fatal::Consensus(panic_text(panic.as_ref())),
            })
        });
        self.port.outlet.event(Event::Stopped(result));
    }

    fn serve(&mut self, requests: &Receiver<Request<M>>) -> Result<(), Fatal> {
        let mut next_tick = Instant::now() + self.tick;
        self.turn()?;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match requests.recv_timeout(wait) {
                Ok(request) => {
                    if !self.take(request)? || !self.take_waiting(requests)? {
                        self.turn()?;
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            let due = now >= next_tick;
            if due {
                self.replica.tick();
                // After a stall the missed ticks are forgotten: made up for, they would look like a dead leader.
                next_tick = (next_tick + self.tick).max(now + self.tick / 2);
            }
            self.turn()?;
            if due {
                self.port.outlet.event(Event::Status(self.replica.status()));
            }
        }
    }

    fn turn(&mut self) -> Result<(), Fatal> {
        self.replica.turn(&mut self.port)?;
        for job in self.port.jobs.drain(..) {
            let (files, queue) = (self.replica.files(), self.queue.clone());
            let work = move || {
                let _ = queue.send(Request::Built(job.run(&files)));
            };
            Builder::new()
                .name("snapshot".into())
                .spawn(work)
                .map_err(|error| DiskError::new("start a thread to write a snapshot", error))?;
        }
        Ok(())
    }

    /// Takes what else has arrived, within bounds, so that it shares the next sync. False to stop.
    fn take_waiting(&mut self, requests: &Receiver<Request<M>>) -> Result<bool, Fatal> {
        for _ in 0..limits::TURN_REQUESTS {
            if self.replica.proposed_bytes() > limits::TURN_BYTES {
                break;
            }
            let Ok(request) = requests.try_recv() else { break };
            if !self.take(request)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, request: Request<M>) -> Result<bool, Fatal> {
        match request {
            Request::Propose(ticket, command) => {
                if let Err(why) = self.replica.propose(ticket, &command) {
                    self.port.outlet.event(Event::Refused(ticket, why));
                }
            }
            Request::Change(ticket, change) => {
                if let Err(why) = self.replica.change(ticket, &change) {
                    self.port.outlet.event(Event::Refused(ticket, why));
                }
            }
            Request::Barrier(barrier) => {
                if let Err(why) = self.replica.barrier(barrier) {
                    self.port.outlet.event(Event::RefusedBarrier(barrier, why));
                }
            }
            Request::Step(message) => {
                if let Err(stranger) = self.replica.step(message) {
                    tracing::debug!(%stranger, "peer message refused");
                }
            }
            Request::Unreachable(node) => self.replica.unreachable(node),
            Request::Gone(node) => self.replica.gone(node),
            Request::Fetched(id, result) => self.replica.fetched(id, result),
            Request::Built(result) => self.replica.built(result)?,
            Request::Campaign => self.replica.campaign(),
            Request::HandOver => self.replica.hand_over(),
            Request::Stop => return Ok(false),
        }
        Ok(true)
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("for a reason it did not give").to_owned()
}
