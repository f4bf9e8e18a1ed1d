//! The closed list of what may happen to a master, and the names its driver and it use for what is open between them.
//!
//! Everything that arrives is already decoded (`crate::call`, `crate::report`): the driver does that in the task of
//! the request, so that the one loop of the master never parses.

use std::fmt;
use std::sync::Arc;

use crate::call::{FrameworkCall, OperatorCall, StateCall, Subscribe};
use crate::registry::{Outcome, Registry};
use crate::report::AgentReport;

/// A request over HTTP that waits for exactly one `Effect::Answer`. Chosen by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A connection of an agent. Chosen by the driver, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A proposal on its way through the log. Chosen by the core, unique in one run of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A question "do I still lead, and up to where must I have applied?". Chosen by the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Barrier(pub u64);

/// The Raft term of a leader: what agents are fenced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// An answer that goes on: the text is the `Mesos-Stream-Id` of a scheduler's subscription. A fresh version 4 UUID
/// from the driver for each stream of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub Arc<str>);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can be closed, by either side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A scheduler's subscription, an operator's event stream or a watch.
    Stream(StreamId),
    Link(LinkId),
}

/// What this master is in the Raft group.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a change of role is moved once, and seldom")]
pub enum Role {
    /// Reported once the first entry of the own term is applied, never before.
    Leading {
        term: Term,
        /// Who this master is to clients. `id` is a fresh UUID of this leadership: framework, agent and offer ids
        /// start with it, so that no two leaderships ever choose the same one.
        master: Arc<wire::v1::MasterInfo>,
        view: Registry,
    },
    Following {
        /// `host:port` as members announced it.
        leader: Arc<str>,
    },
    /// No leader is known.
    Candidate,
}

/// One thing that happened. `Master::handle` takes them one at a time, in the order the driver saw them.
#[derive(Debug)]
pub enum Input {
    /// `Master::next_deadline` has passed.
    Wake,
    Role(Role),
    /// An entry of the log took effect. `view` is the registry after it; `ticket` is set when this master, in this
    /// run, proposed it. Reported on every master.
    Applied {
        index: u64,
        ticket: Option<Ticket>,
        outcome: Outcome,
        view: Registry,
    },
    /// Leadership went away with the proposal under way: it may have taken effect or not.
    Lost(Ticket),
    /// The proposal was not taken at all (too much in flight): it has not and will not take effect.
    Busy(Ticket),
    /// This master led when the barrier was asked for, and has applied all that was committed then.
    Passed(Barrier),
    /// The barrier cannot be answered: leadership is in doubt or gone.
    Refuted(Barrier),
    /// `SUBSCRIBE` on the scheduler endpoint. `stream` is the id its answer will carry; `header` is a
    /// `Mesos-Stream-Id` sent along, which is an error.
    Subscribe {
        request: RequestId,
        stream: StreamId,
        header: Option<StreamId>,
        principal: Option<Arc<str>>,
        call: Subscribe,
    },
    /// Every other call on the scheduler endpoint.
    Scheduler {
        request: RequestId,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
        call: FrameworkCall,
    },
    Operator {
        request: RequestId,
        call: OperatorCall,
    },
    /// A call of the key-value API; `stream` is the id its answer will carry if it is a `WATCH`.
    State {
        request: RequestId,
        stream: StreamId,
        call: StateCall,
    },
    /// A frame of an agent. The first on a link is a `Hello`.
    Agent {
        link: LinkId,
        report: AgentReport,
    },
    /// The reader of a stream has got as far as a `Mark`. Not reported of a stream that was closed before.
    Reached(StreamId),
    /// The other side hung up, or the driver closed it: its queue was full (`limits::STREAM_RECORDS`,
    /// `limits::STREAM_BYTES`), or it broke the protocol. Not reported for what the core closed itself.
    Closed(Peer),
}
