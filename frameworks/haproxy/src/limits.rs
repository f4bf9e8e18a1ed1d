//! Every bound of the sidecar, with its reason.

use std::time::Duration;

use front::door::Bounds;
use model::time::Span;

/// Characters of the data directory's path: HAProxy binds its sockets under a longer temporary name, and a unix
/// socket's path has at most 107.
pub(crate) const DATA_DIR_BYTES: usize = 72;

// --- feed

/// Events waiting for the core. A full queue stops the reader, and the supervisor closes a stream it cannot write to;
/// the reconnection reads everything anew.
pub(crate) const EVENT_QUEUE: usize = 10_000;
/// One line of the event stream. Plans of deployments, which can be larger, are not asked for.
pub(crate) const EVENT_LINE_BYTES: usize = 4 << 20;
/// A stream silent for so long is dead: keep-alives come every ten seconds or so.
pub(crate) const FEED_SILENCE: Span = Span::from_secs(60);
/// A stream that lasted so long ends the growth of the waits.
pub(crate) const FEED_STABLE: Span = Span::from_secs(60);
pub(crate) const BACKOFF_FIRST: Span = Span::from_millis(100);
pub(crate) const BACKOFF_MOST: Span = Span::from_secs(30);
/// A whole list of apps with tasks.
pub(crate) const LIST_BYTES: usize = 256 << 20;
pub(crate) const CONNECT_TIMEOUT: Span = Span::from_secs(3);
pub(crate) const READ_TIMEOUT: Span = Span::from_secs(46);
/// Attempts to tell the supervisor that a task is drained. It stops waiting by itself after ten seconds.
pub(crate) const ACKNOWLEDGE_TRIES: usize = 6;

// --- core

/// Between two whole lists, as long as the events make sense.
pub(crate) const LIST_EVERY: Span = Span::from_secs(60);
/// Whole lists asked for by events come no closer than this.
pub(crate) const LIST_APART: Span = Span::from_secs(2);
pub(crate) const LIST_RETRY: Span = Span::from_secs(1);
/// Between a list that takes suspiciously much away and the one that confirms it.
pub(crate) const CONFIRM_AFTER: Span = Span::from_secs(3);
/// Percent of the servers one list may take away unconfirmed.
pub(crate) const SHRINK_PERCENT: usize = 30;
/// Reads of single apps under way; with more to do, the whole list is cheaper.
pub(crate) const APP_READS: usize = 8;
/// How often apps with instances not yet ready are looked at: readiness has no event.
pub(crate) const READY_EVERY: Span = Span::from_secs(1);
/// Events kept for replay on top of a read under way. More than this, and it is read again.
pub(crate) const REPLAY_EVENTS: usize = 20_000;
/// How long an instance keeps its last verdict while the supervisor knows none, as after a change of leader.
pub(crate) const UNKNOWN_HEALTH: Span = Span::from_mins(5);

// --- HAProxy

/// An answer of a runtime command.
pub(crate) const ANSWER_BYTES: usize = 64 << 20;
pub(crate) const COMMAND_TIMEOUT: Span = Span::from_secs(5);
/// Reloads come no closer than this, the first of a series excepted.
pub(crate) const RELOAD_APART: Span = Span::from_secs(2);
pub(crate) const RELOAD_TIMEOUT: Span = Span::from_secs(20);
pub(crate) const VALIDATE_TIMEOUT: Span = Span::from_secs(30);
pub(crate) const START_TIMEOUT: Span = Span::from_secs(15);
/// How long a worker of an older configuration may finish its connections.
pub(crate) const HARD_STOP: Span = Span::from_secs(60);
/// Workers of older configurations at a time.
pub(crate) const OLD_WORKERS: u32 = 8;
/// How often connections of draining servers are counted.
pub(crate) const DRAIN_POLL: Span = Span::from_millis(20);
/// How often the deletion of a server with connections is tried again.
pub(crate) const DELETE_POLL: Span = Span::from_millis(50);
/// After which the connections of a server to be deleted are cut: its task is gone.
pub(crate) const DELETE_AFTER: Span = Span::from_secs(60);
/// How often what HAProxy does is compared with what it should do.
pub(crate) const VERIFY_EVERY: Span = Span::from_secs(30);
/// After which a service that could not be loaded is tried again: a taken port may be free by then.
pub(crate) const REJECTED_AGAIN: Span = Span::from_secs(30);
/// After a runtime change, how long until the file follows.
pub(crate) const REWRITE_AFTER: Span = Span::from_secs(1);
/// Older configurations kept beside the current one.
pub(crate) const KEPT_CONFIGURATIONS: usize = 5;
/// HAProxy's own messages; the file is emptied beyond.
pub(crate) const LOG_BYTES: u64 = 1 << 20;
pub(crate) const RESTART_FIRST: Span = Span::from_millis(200);
pub(crate) const RESTART_MOST: Span = Span::from_secs(10);

// --- between the tasks of the sidecar

/// Reports and orders waiting; they are few.
pub(crate) const REPORT_QUEUE: usize = 64;

// --- the sidecar's own address

/// Connections of those who look: scrapers, health checks, people.
pub(crate) const ADMIN: Bounds = Bounds {
    connections: 256,
    head: Duration::from_secs(75),
    head_bytes: 16 << 10,
    headers: 100,
    unread: Duration::from_secs(20),
    keep_alive: Duration::from_secs(20),
    drain: Duration::from_secs(2),
};
