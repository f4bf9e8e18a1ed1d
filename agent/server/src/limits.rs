//! Every bound of the process around the core, with its reason.

use std::time::Duration;

/// Bytes of records written with one sync: enough for thousands of them, little to lose to a torn write.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// Records with the writer but not yet synced before the driver stops listening to the master.
pub(crate) const UNSYNCED: u64 = 32_768;
/// Bytes appended since the last compaction before the next one, at least; more when the state itself is large.
pub(crate) const COMPACT_BYTES: u64 = 16 << 20;

/// Bytes of one frame of the link: an order holds one task, a hello all of them.
pub(crate) const FRAME_BYTES: usize = 256 << 20;
/// Frames waiting to be written to the master. After a registration every task may have one to send. A master
/// that does not take them loses its link.
pub(crate) const FRAMES_OUT: usize = 65_536;
/// Frames of the master waiting for the driver; beyond it the connection is simply not read.
pub(crate) const FRAMES_IN: usize = 1024;
/// To connect to a master and hear its answer to the upgrade.
pub(crate) const DIAL: Duration = Duration::from_secs(4);
/// A single write that takes longer shows a master that does not read.
pub(crate) const WRITE: Duration = Duration::from_secs(10);
/// The last words on a link that is hung up.
pub(crate) const HANGUP: Duration = Duration::from_secs(1);

/// Between two lines of the log about masters that cannot be reached.
pub(crate) const COMPLAINT: Duration = Duration::from_secs(30);
/// Fetches at a time; more wait for their turn.
pub(crate) const FETCHES: usize = 32;
/// Probes at a time; more wait for their turn, which their time-out does not include.
pub(crate) const PROBES: usize = 256;
/// Stands for "no time-out": a probe that hangs for a day is as good as one that hangs for ever.
pub(crate) const PROBE_FOREVER: Duration = Duration::from_secs(24 * 3600);

/// Connections of readers and executors at a time: two for each of the most executors there may be, and 512 more.
/// Each may hold a body of [`model::limits::BODY_BYTES`].
pub(crate) const CONNECTIONS: usize = 2 * agent_core::limits::EXECUTORS + 512;
/// Events waiting for an executor to read them. One that just subscribed may have a launch and a kill of every task
/// to hear of; one that reads too slowly loses its stream.
pub(crate) const EVENTS: usize = 2 * agent_core::limits::TASKS + 2048;
/// Between two heartbeats on the stream of an executor (spec mesos-v1, 1.10).
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(30 * 60);
/// For the head of the next request, idle time included, against readers that never finish it.
pub(crate) const HEAD: Duration = Duration::from_secs(15);
/// Request line and headers together.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// Headers of one request.
pub(crate) const HEADERS: usize = 100;
/// Silence after which the kernel asks whether a reader is still there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Once the agent has ended, answers have so long to be written. Executors' streams end with the driver.
pub(crate) const DRAIN: Duration = Duration::from_secs(1);
/// How long an answer may lie unread.
pub(crate) const UNREAD: Duration = Duration::from_secs(30);
/// For a request's body.
pub(crate) const BODY: Duration = Duration::from_secs(60);
/// Questions of readers waiting for the driver.
pub(crate) const QUESTIONS: usize = 256;
/// Bytes given by one read of a file: 16 pages, as readers of sandboxes expect (spec mesos-v1, 1.12).
pub(crate) const READ_BYTES: u64 = 64 << 10;
/// Entries of one directory listing.
pub(crate) const ENTRIES: usize = 10_000;

/// For everything after the request to end: the grace of tasks, if they are to go, and then some.
pub(crate) const STOP: Duration = Duration::from_secs(9);
