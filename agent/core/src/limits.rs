//! Every bound and period of the agent, with its reason.

use model::time::Span;

// --- status updates

/// First wait for an acknowledgement before an update is sent again; doubles with each try.
pub const RETRY_FIRST: Span = Span::from_secs(10);
/// Longest wait between two tries.
pub const RETRY_MAX: Span = Span::from_mins(10);
/// A terminal update waiting behind an unacknowledged one is announced by repeating that one, which carries the
/// newest state, after so long: the resources of an ended task shall not stay booked for minutes.
pub const ANNOUNCE_END: Span = Span::from_secs(1);
/// Uuids remembered per stream after their acknowledgement, so that a repeated update is known.
pub const UUIDS_REMEMBERED: usize = 32;

// --- link

/// From a dial to the answer of the HTTP upgrade.
pub const DIAL_TIMEOUT: Span = Span::from_secs(5);
/// From the hello to the welcome. Long enough for a new leader that admits thousands of agents at once.
pub const WELCOME_TIMEOUT: Span = Span::from_secs(30);
/// Longest wait after the first fruitless round over all masters; doubles with each round. The wait is drawn
/// between a half of it and all of it, so that ten thousand agents do not come at the same moment.
pub const BACKOFF_FIRST: Span = Span::from_millis(250);
pub const BACKOFF_MAX: Span = Span::from_secs(15);
/// Longest wait a master may ask for.
pub const BUSY_MAX: Span = Span::from_mins(1);
/// Names of processes kept while no leader is known to have taken one in. A process whose name was dropped and which had been
/// taken in would lock its successors out: it would have to be one of the oldest of so many in a row that died between the
/// leader's write and their own.
pub const SESSIONS: usize = 16;
/// Redirects followed in a row: two masters that each name the other must not keep an agent dialling.
pub const REDIRECTS: u32 = 4;
/// Silence after which a link is dead, when the master's own figure is beyond reason.
pub const LINK_TIMEOUT_MIN: Span = Span::from_secs(1);
pub const LINK_TIMEOUT_MAX: Span = Span::from_mins(10);

// --- tasks

/// Between SIGTERM and SIGKILL when neither the kill nor the task says otherwise (spec mesos-v1, 8.8).
pub const KILL_GRACE: Span = Span::from_secs(3);
/// Longest grace period taken seriously.
pub const KILL_GRACE_MAX: Span = Span::from_days(1);
/// Longest grace of tasks whose framework is no more: the master has given away what they hold, and nobody is left who
/// could shorten it (spec mesos-v1, 10.1).
pub const REMOVED_GRACE: Span = Span::from_secs(5);
/// Grace of tasks that end because the agent itself ends, which has ten seconds for everything.
pub const STOP_GRACE: Span = Span::from_secs(5);
/// For schedulers to acknowledge the ends of tasks that ended with the agent. What they do not is sent again when
/// the agent comes back.
pub const LAST_WORDS: Span = Span::from_secs(1);
/// Tasks held at once, ended but unacknowledged ones included. Each running one costs two processes and a
/// socket, and Linux has 32,768 process ids by default.
pub const TASKS: usize = 15_000;
/// Ended and acknowledged tasks shown to readers.
pub const COMPLETED: usize = 1_000;
/// Effects that may wait for the disk before the driver stops listening to the master.
pub const HELD: usize = 16_384;

// --- executors

/// From the launch of an executor to its first SUBSCRIBE (spec mesos-v1, 10.1).
pub const REGISTRATION_TIMEOUT: Span = Span::from_mins(1);
/// For the executors of an earlier process of the agent to subscribe to this one; they try at least every two
/// seconds (MESOS_SUBSCRIPTION_BACKOFF_MAX).
pub const REREGISTRATION_TIMEOUT: Span = Span::from_secs(15);
/// For an executor whose stream broke to subscribe again while its process lives: as long as it was told to try
/// (MESOS_RECOVERY_TIMEOUT).
pub const RECOVERY_TIMEOUT: Span = Span::from_mins(15);
/// Between SHUTDOWN and SIGKILL when the executor's description does not say (MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD).
pub const SHUTDOWN_GRACE: Span = Span::from_secs(5);
/// Executors held at once. Each keeps a connection open.
pub const EXECUTORS: usize = 1_000;
/// Frameworks without tasks here that are shown to readers.
pub const COMPLETED_FRAMEWORKS: usize = 50;
/// Ended executors shown to readers.
pub const COMPLETED_EXECUTORS: usize = 150;

// --- operations

/// Ended operations that are not acknowledged. Masters send no more at a time; were they all of a framework that never
/// acknowledges, its agents must not fill up with them.
pub const OPERATIONS: usize = 1_000;

// --- checks

/// Shortest wait between two checks: a task file must not be able to occupy the agent.
pub const CHECK_INTERVAL_MIN: Span = Span::from_millis(100);

// --- garbage

/// How long the sandbox of an ended task is kept on an empty disk.
pub const SANDBOX_AGE: Span = Span::from_days(7);
/// Sandboxes of ended tasks kept at most, whatever their age: each costs inodes, which `df` does not show.
pub const SANDBOXES: usize = 20_000;
/// How often the disk is measured and old sandboxes are removed.
pub const GC_PERIOD: Span = Span::from_mins(1);
/// Sandboxes removed at a time, so that a disk that fills up does not become busy as well.
pub const GC_BATCH: usize = 64;
/// Part of the disk, in thousandths, that shall stay free.
pub const GC_HEADROOM: u64 = 100;
/// Two clocks of one boot that are further apart than this say that the machine's clock was set in between. Less is the
/// rounding of how long the machine is up.
pub const CLOCK_STEP: Span = Span::from_secs(1);
