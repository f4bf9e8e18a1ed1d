//! The closed list of what a master may ask its driver to do. The driver executes them in order and decides nothing.

use std::sync::Arc;

use bytes::Bytes;
use model::id::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
use model::role::Role;
use model::time::{Span, Time};
use wire::state::WatchRecord;

use crate::alloc::{Account, Tally};
use crate::input::{Barrier, LinkId, Peer, RequestId, StreamId, Term, Ticket};
use crate::limits;
use crate::refusal::Refusal;
use crate::registry::{Command, Drain};
use crate::snapshot::{Agent, Framework, InverseOffer, Offer, Snapshot, Task};

#[derive(Debug)]
pub enum Effect {
    /// Put a command into the log; comes back as `Applied`, `Lost` or `Busy` with the ticket.
    Propose { ticket: Ticket, command: Command },
    /// Prove leadership; comes back as `Passed` or `Refuted`.
    Barrier(Barrier),
    /// The one answer to a request.
    Answer { request: RequestId, result: Result<Reply, Refusal> },
    /// A record of a scheduler's subscription. `render::scheduler_event` makes the wire message.
    Event { stream: StreamId, event: SchedulerEvent },
    /// A record of an operator's event stream. `render::operator_event` makes the wire message.
    Notice { stream: StreamId, event: OperatorEvent },
    /// A record of a watch.
    Watch { stream: StreamId, record: WatchRecord },
    /// Say `Reached` when all that was put on the stream before has left its queue. No record of its own.
    Mark { stream: StreamId },
    /// A frame for an agent. `render::order` makes the wire message.
    Order { link: LinkId, term: Term, order: AgentOrder },
    /// End a stream in order (its queued records are still written) or hang up on an agent.
    Close { peer: Peer, reason: Reason },
    /// An agent obeys a leader of the term `seen`: this master has stopped leading by itself. The driver asks Raft
    /// whether it still leads all the same, and if so says so again by `Role::Leading`.
    StepDown { seen: u64 },
    /// Something operators look for in the log.
    Observe(Observation),
}

/// A good answer.
#[derive(Debug)]
pub enum Reply {
    /// 202, empty: the call is taken, its effects are events.
    Accepted,
    /// 200, empty: the call has taken effect.
    Done,
    /// 200 and a stream: the records follow as `Event`, `Notice` or `Watch`.
    Stream(StreamId),
    /// The whole state, cheap to hold; the driver renders the part that was asked for, off the loop.
    Snapshot(Arc<Snapshot>),
    /// What became of offers, and why there are not more.
    Explanation(Box<Explanation>),
    /// The answer of the key-value API.
    State(Box<wire::state::Answer>),
}

/// The answer to `GET /allocation`.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub at: Time,
    /// How many agents there are.
    pub agents: usize,
    /// Of every framework, in its order: what was counted, role by role. Empty when one was named.
    pub all: Vec<(FrameworkId, Role, Tally)>,
    pub one: Option<FrameworkAccount>,
}

#[derive(Clone, Debug)]
pub struct FrameworkAccount {
    pub id: FrameworkId,
    pub name: String,
    pub connected: bool,
    pub accounts: Vec<Account>,
}

/// What a scheduler is told, in order.
#[derive(Clone, Debug)]
pub enum SchedulerEvent {
    Subscribed {
        framework: FrameworkId,
        heartbeat: Span,
        master: Arc<wire::v1::MasterInfo>,
    },
    Heartbeat,
    /// Offers of one allocation, at most `limits::OFFERS_IN_EVENT`.
    Offers(Vec<Arc<Offer>>),
    Rescind(OfferId),
    /// Requests to leave agents of machines that are to be away.
    InverseOffers(Vec<Arc<InverseOffer>>),
    RescindInverse(OfferId),
    Update(Arc<wire::v1::TaskStatus>),
    Operation(Arc<wire::v1::OperationStatus>),
    Message {
        agent: AgentId,
        executor: ExecutorId,
        data: Bytes,
    },
    /// An agent was lost; or, with `executor`, that executor ended with this `wait(2)` status.
    Failure {
        agent: AgentId,
        executor: Option<(ExecutorId, i32)>,
    },
    /// The last record: the stream ends after it.
    Error(String),
}

/// What an operator's event stream tells, in order.
#[derive(Clone, Debug)]
pub enum OperatorEvent {
    Subscribed {
        snapshot: Arc<Snapshot>,
        heartbeat: Span,
    },
    Heartbeat,
    TaskAdded(Arc<Task>),
    /// `status` was passed on to the scheduler; `task` holds the newest state, which may be ahead of it.
    TaskUpdated {
        task: Arc<Task>,
        status: Arc<wire::v1::TaskStatus>,
    },
    AgentAdded(Arc<Agent>),
    AgentRemoved(AgentId),
    FrameworkAdded(Arc<Framework>),
    FrameworkUpdated(Arc<Framework>),
    FrameworkRemoved(Arc<wire::v1::FrameworkInfo>),
}

/// What the leader tells an agent.
#[derive(Clone, Debug)]
pub enum AgentOrder {
    Welcome {
        agent: AgentId,
        ping_interval: Span,
        link_timeout: Span,
        /// The agent kills their tasks.
        removed: Vec<FrameworkId>,
        /// Their pending updates are sent at once.
        connected: Vec<FrameworkId>,
    },
    /// The link is closed after it.
    Refused(AgentRefusal),
    Ping {
        sequence: u64,
    },
    Run {
        framework: Arc<wire::v1::FrameworkInfo>,
        task: Arc<wire::v1::TaskInfo>,
    },
    /// All of them or none, in one executor.
    RunGroup {
        framework: Arc<wire::v1::FrameworkInfo>,
        executor: Arc<wire::v1::ExecutorInfo>,
        tasks: Vec<Arc<wire::v1::TaskInfo>>,
    },
    Kill {
        framework: FrameworkId,
        task: TaskId,
        policy: Option<wire::v1::KillPolicy>,
    },
    Acknowledge {
        framework: FrameworkId,
        task: TaskId,
        uuid: Bytes,
    },
    /// With `resend` the framework's unacknowledged updates are sent at once.
    Framework {
        info: Arc<wire::v1::FrameworkInfo>,
        resend: bool,
    },
    /// It drains, or does so no more: what its own readers are told.
    Drain(Option<Drain>),
    ShutdownFramework(FrameworkId),
    ShutdownExecutor {
        framework: FrameworkId,
        executor: ExecutorId,
    },
    Message {
        framework: FrameworkId,
        executor: ExecutorId,
        data: Bytes,
    },
    /// Change resources as the operation says, which the master has done in its own books. Absent `framework`: by the
    /// operator.
    Operate {
        framework: Option<FrameworkId>,
        uuid: Bytes,
        operation: Arc<wire::v1::offer::Operation>,
    },
    /// Forget the operation of this uuid.
    AcknowledgeOperation {
        uuid: Bytes,
    },
    /// Kill every task and end.
    Shutdown {
        message: String,
    },
}

/// Why an agent may not register (now).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentRefusal {
    /// `leader` is `host:port` when known.
    #[error("this master does not lead")]
    NotLeader { leader: Option<Arc<str>> },
    #[error("agent {0} was marked gone: its id may never return")]
    Gone(AgentId),
    /// `at` is where the other one is.
    #[error(
        "agent {agent} runs at {at} and has just answered from there: this data directory is a copy of its"
    )]
    Duplicate { agent: AgentId, at: String },
    /// Whoever is the agent now does not descend from this process. `at` is where it is.
    #[error(
        "agent {agent} has gone on without this process, at {at}: this data directory is a copy, or was set back to an earlier state"
    )]
    Superseded { agent: AgentId, at: String },
    #[error("agent {agent} has a link from {at}: whether it still lives is being found out")]
    Held { agent: AgentId, at: String, retry_after: Span },
    #[error(
        "agent {agent} is known at {at} and may come back there. If this data directory is a copy, start with an empty one; \
         if it was moved, it is let in when nothing has come from there for {} minutes",
        limits::MOVED_AFTER.as_millis() / 60_000
    )]
    Elsewhere { agent: AgentId, at: String, retry_after: Span },
    #[error("too many agents register at once")]
    Busy { retry_after: Span },
    #[error(
        "the agent has a fault domain and this master has none, so that nobody can say whether it is in another region: \
         give the masters theirs first (--domain)"
    )]
    Placeless { retry_after: Span },
    #[error("{0}")]
    Invalid(String),
}

/// Why the core closes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The conversation is over: an ERROR was sent, the framework was removed, a newer stream took over.
    Ended,
    /// This master no longer leads.
    Deposed,
    /// The agent may not register, or was declared unreachable or gone, or opened a newer link.
    Refused,
    /// The oldest operator stream makes room for a new one.
    Evicted,
}

/// Things that happen seldom and that an operator wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    Leading {
        term: Term,
    },
    /// An agent obeys a newer leader: this one stops at once.
    Deposed {
        term: Term,
        seen: u64,
        agent: Option<AgentId>,
    },
    FrameworkSubscribed {
        framework: FrameworkId,
        name: String,
    },
    FrameworkDisconnected {
        framework: FrameworkId,
        until: Time,
    },
    FrameworkRemoved {
        framework: FrameworkId,
    },
    AgentRegistered {
        agent: AgentId,
        hostname: String,
        tasks: usize,
    },
    AgentDisconnected {
        agent: AgentId,
    },
    AgentUnreachable {
        agent: AgentId,
    },
    AgentGone {
        agent: AgentId,
    },
    /// It ended in order, or the operator took its machine down.
    AgentRemoved {
        agent: AgentId,
    },
    AgentRefused {
        link: LinkId,
        refusal: AgentRefusal,
    },
    /// What an operator asked for was not done, or nobody knows whether it was.
    OperationFailed {
        agent: AgentId,
        operation: &'static str,
        state: wire::v1::OperationState,
        message: String,
    },
    /// So many of the known agents are missing after an election that a network fault is likelier than their death:
    /// none is declared unreachable until enough have returned.
    RecoveryHalted {
        missing: usize,
        known: usize,
    },
    RecoveryEnded {
        returned: usize,
        missing: usize,
    },
    /// The books of the leader and of the allocator differ: a fault of this program.
    Misbooked(String),
}
