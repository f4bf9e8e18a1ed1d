//! Every bound of the SDK, with its reason.

use std::time::Duration;

use model::time::Span;

/// The most writes in one transaction; the masters take 128 operations.
pub const WRITES: usize = 128;
/// The most bytes of keys and values in one transaction: the masters take 4 MiB, the fence's own key among them.
pub const WRITE_BYTES: usize = (4 << 20) - KEY_BYTES;
/// The longest key that the masters take.
pub const KEY_BYTES: usize = 1 << 10;
/// How long leadership lasts without a keepalive: the time until a standby takes over from a leader that was killed.
pub const LEADERSHIP: Duration = Duration::from_secs(3);
/// Keepalives per time to live: two may be lost.
pub const KEEPALIVES: u32 = 3;
/// The pause after a campaign that no master answered.
pub const CAMPAIGN_AGAIN: Duration = Duration::from_millis(200);
/// Events handed to a reader in one go.
pub const BATCH: usize = 256;
/// Bytes of events handed to a reader in one go, unless one alone is larger: what a reader that then stops reading keeps
/// in memory.
pub const BATCH_BYTES: usize = 64 << 10;
/// The largest record: the most that the masters take as one value.
pub const RECORD_BYTES: usize = 1 << 20;
/// The pause before a write or a read without an answer is sent again: the client has tried long by then.
pub const STORE_AGAIN: Duration = Duration::from_millis(100);
/// The pause before a write that the masters refuse is sent again: somebody has to make room meanwhile.
pub const REFUSED_AGAIN: Duration = Duration::from_secs(2);
/// How long handing leadership back may take: past it the lease runs out by itself.
pub const RESIGN: Duration = Duration::from_secs(3);
/// After leadership is given up by request, another instance has so long to take it.
pub const ABDICATION: Duration = Duration::from_secs(2);
/// Kills and acknowledgements on their way to the master at once. They may overtake each other; other calls go one by
/// one, as their order matters.
pub const CALLS: usize = 64;
/// The pause before a call is sent again of which nobody can say whether the master took it.
pub const CALL_AGAIN: Duration = Duration::from_secs(1);
/// Calls waiting for their turn: an update of every task of a large framework, each with its acknowledgement.
pub const CALL_QUEUE: usize = 200_000;
/// Reports of launches in doubt that nobody has read yet; past it the sender waits.
pub const UNCERTAIN: usize = 16;
/// Steps that wait to be stored: past it nothing more is heard until some are.
pub const STEPS: usize = 4096;
/// Questions of other tasks of the process to the scheduler that wait for their turn.
pub const ASKS: usize = 1024;
/// Updates remembered so that a repetition is acknowledged and not told twice: those of some seconds of a busy cluster.
/// One that is older than all of these is told again, as it is after a failover.
pub const UPDATES_SEEN: usize = 16_384;
/// The first pause before a task that the master did not speak of is asked about again, and the longest.
pub const RECONCILE_FIRST: Span = Span::from_secs(2);
pub const RECONCILE_LONGEST: Span = Span::from_secs(60);
/// How often the master is asked about everything, for tasks that the framework does not know.
pub const RECONCILE_ALL: Span = Span::from_mins(15);
/// Tasks in one question: an answer to each comes as an event.
pub const RECONCILE_TASKS: usize = 1000;
/// The pause before subscribing again after a master ended the subscription while this instance leads.
pub const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);
/// A wall clock that is further from a term's own time than this was set, and not slewed: the term ends.
pub const CLOCK_STEP: Span = Span::from_secs(10);
/// How often a term compares its time with the wall's.
pub const CLOCK_LOOK: Duration = Duration::from_secs(2);
