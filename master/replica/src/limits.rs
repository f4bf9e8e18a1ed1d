//! Every bound of this crate, with its reason.

/// One command, encoded. Larger than the largest request body a master accepts, so that a request which passed the
/// edge never fails here.
pub const COMMAND_BYTES: usize = 20 << 20;

/// One frame between peers. An append message is filled up to [`APPEND_BYTES`] and always holds at least one entry,
/// so the largest is one command and its headers, or a batch of that size.
pub const FRAME_BYTES: usize = COMMAND_BYTES + (4 << 20);

/// Raft's `max_size_per_msg`. The library's default of 0 means one entry per message.
pub const APPEND_BYTES: u64 = 1 << 20;

/// Raft's `max_inflight_msgs`: appends on their way to one follower.
pub const INFLIGHT_APPENDS: usize = 64;

/// Entries appended but not committed; beyond it callers are told to come back.
pub const UNCOMMITTED_BYTES: u64 = 32 << 20;

/// Committed entries handed over in one step, so that one turn of a node that catches up stays short.
pub const COMMITTED_BYTES_PER_READY: u64 = 8 << 20;

/// Recent entries kept in memory beside the disk, so that replication and apply do not read back what was just written.
pub const CACHE_BYTES: usize = 16 << 20;

/// Proposals waiting for their commit, at one node.
pub const OPEN_TICKETS: usize = 16_384;

/// Linearizable reads waiting, at one node.
pub const OPEN_BARRIERS: usize = 16_384;

/// Requests the replica thread takes before it syncs; whatever is beyond waits for the next turn.
pub const TURN_REQUESTS: usize = 4_096;

/// Indices between two fingerprints of the state. Members apply at their own pace: they can be compared while they work only
/// where all of them look, and far enough apart that whoever asks once a second misses few.
pub const FINGERPRINT_EVERY: u64 = 64;

/// Bytes of proposals the replica thread takes before it syncs.
pub const TURN_BYTES: usize = 4 << 20;

/// Requests queued for the replica thread; a full queue is answered with "busy".
pub const QUEUE_REQUESTS: usize = 8_192;

/// Members of a group. Seven voters already cost four syncs per commit.
pub const MEMBERS: usize = 7;

/// Ids of removed members remembered, so that a removed node is told and stops.
pub const REMOVED_MEMBERS: usize = 64;

/// One chunk of a snapshot file.
pub const CHUNK_BYTES: usize = 64 << 20;

/// A member's address in bytes: a host name has at most 253, a port five digits.
pub const ADDRESS_BYTES: usize = 260;

/// Ticks after which a follower that was sent a snapshot and reported nothing is asked again. Without it a lost report
/// would leave that follower paused for ever.
pub const SNAPSHOT_SILENCE_TICKS: u64 = 1_200;

/// Ticks within which a follower stands for election once it knows that its leader's process has ended.
pub const SOON_TICKS: usize = 3;

/// Log entries held at one time while a start reads all of them to see that none is damaged.
pub const CHECK_BYTES: u64 = 4 << 20;
