//! The bounds of a master that are no part of the API, each with its reason.

use model::time::Span;

/// Records waiting on one stream before its reader is taken for dead. A burst of updates after an agent's return is
/// a few hundred; a reader further behind than this is better served by reconciling.
pub const STREAM_RECORDS: usize = 16_384;

/// Bytes waiting on one stream: a whole snapshot of a big cluster must fit, a thousand stalled readers must not fill
/// the machine.
pub const STREAM_BYTES: usize = 64 << 20;

/// Answers to `RECONCILE` and `RECONCILE_OPERATIONS` that are given before the reader of the stream has got any further. A
/// slice of them is some milliseconds of the one loop and a fraction of the stream's queue, and a call can ask for as many
/// as there are tasks.
pub const RECONCILE_SLICE: usize = 1_000;

/// Tasks and operations one framework may have asked about by name without having been told: as many as a large cluster
/// runs. Beyond it a call is refused with 503; counted as `reconciliations_refused`.
pub const RECONCILIATIONS: usize = 500_000;

/// Offers in one event. Readers hold an event whole, some of them in 4 MiB at most; a framework that is alone is offered
/// a cluster at a time.
pub const OFFERS_IN_EVENT: usize = 256;

/// Attribute constraints of one framework, in all its roles: all of a role's are asked of each agent it is compared with.
pub const OFFER_CONSTRAINTS: usize = 64;

/// Memory one regular expression of them may take, and again as much while it is in use.
pub const PATTERN_BYTES: usize = 64 << 10;

/// Frameworks whose calls, events and tasks are counted one by one: each is some eighty names of the metrics. Those that come
/// when there is no room are counted in `frameworks_uncounted`.
pub const FRAMEWORK_METRICS: usize = 256;

/// Roles of one framework: each is a place in the allocator's order.
pub const FRAMEWORK_ROLES: usize = 1024;

/// Changes of the registry under way for one leader. Beyond it callers are told to come back: the log is not faster
/// for a longer queue.
pub const PROPOSALS: usize = 16_384;

/// Reads waiting for proof of leadership.
pub const READS: usize = 16_384;

/// Registrations of agents that wait for the registry. An election brings none (known agents need no write), only a
/// mass installation does, and then the rest waits its turn at the agents.
pub const REGISTRATIONS: usize = 4_096;

/// What an agent is told to wait when there are too many.
pub const REGISTRATION_PAUSE: Span = Span::from_secs(1);

/// How long an agent has to be unreachable before a later process of its data directory is taken for it at another address.
/// Until then that may as well be a copy, while the agent itself is cut off and its tasks run.
pub const MOVED_AFTER: Span = Span::from_mins(10);

/// Processes that have come with the id of an agent which has a link, each asked about on its own. With more of them by
/// turns, none is told that it is a copy; all of them wait.
pub const SUSPECTS: usize = 8;

/// Kills remembered for an agent that is not connected.
pub const PENDING_KILLS: usize = 10_000;

/// Operations of one agent that are under way or whose end its frameworks have not acknowledged. More are refused: a
/// framework that never acknowledges must not fill the masters' memory.
pub const AGENT_OPERATIONS: usize = 1_000;

/// Watches of the key-value space at one master.
pub const WATCHES: usize = 10_000;

/// Subscriptions whose framework waits for the registry are bounded by `PROPOSALS`; connected ones by this.
pub const FRAMEWORK_STREAMS: usize = 10_000;

/// A framework that lets an offer time out is not offered the like for as long as the timeout, and for so many times
/// longer with each further one. Ten frameworks that never answer hold a small cluster up for seconds, not for ever.
pub const IGNORED_GROWTH: u64 = 8;

/// The longest such pause: a scheduler that hung for a day is back in business an hour after it answers, or at once when
/// it revives.
pub const IGNORED_PAUSE: Span = Span::from_hours(1);

/// Agents looked at to explain one framework's offers. The first of its roles is always explained; a hundred thousand
/// looks take some ten milliseconds of the one loop.
pub const EXPLAIN_LOOKS: usize = 100_000;

/// Statuses kept of one task: one for each state it can be in.
pub const TASK_STATUSES: usize = 16;
