//! Every bound of the supervisor, with its reason.

use std::time::Duration;

use model::time::Span;

// --- documents

/// Characters of an app's path: with an instance's uuid and a launch number it still is a file name of 255 bytes.
pub const APP_ID_BYTES: usize = 190;

/// Bytes of a request body. A definition is stored whole and must fit a value of the key-value space several times.
pub const BODY_BYTES: usize = 1 << 20;

/// Bytes of one app definition as stored: it also travels inside one event record, next to others.
pub const DEFINITION_BYTES: usize = 256 << 10;

/// Instances of one app: each is a record in the masters' memory.
pub const INSTANCES_PER_APP: u32 = 100_000;

/// Apps changed by one call: its app, version and deployment records are one transaction.
pub const APPS_PER_CHANGE: usize = 50;

/// Tasks named by one kill call.
pub const TASKS_PER_KILL: usize = 10_000;

/// Versions kept of an app, beside those that instances and deployments still need.
pub const VERSIONS_PER_APP: usize = 50;

/// Bytes a compiled constraint expression may take, so that none eats the memory of the supervisor.
pub const REGEX_BYTES: usize = 256 << 10;

// --- deployments

/// Deployments that run at once; beyond it changes are refused.
pub const DEPLOYMENTS: usize = 100;

// --- store

/// Records of one transaction: the masters allow 128 operations, of which one is the leader's compare, one the
/// events' record and a few its window.
pub const TXN_RECORDS: usize = 118;

/// Bytes of one transaction, so that its events' record stays below the size of a value.
pub const TXN_BYTES: usize = 600 << 10;

// --- events

/// Events kept for readers that come back.
pub const EVENT_WINDOW: usize = 10_000;

/// Bytes of kept events.
pub const EVENT_WINDOW_BYTES: usize = 8 << 20;

/// Records of kept events dropped with one transaction; one is added each time, so the window shrinks.
pub const EVENT_TRIM: usize = 4;

// --- launching

/// Tasks launched on one offer: bounds the size of one ACCEPT call.
pub const LAUNCHES_PER_OFFER: usize = 1_000;

/// Unused resources are refused for so long; whatever makes them useful again revives them.
pub const REFUSE: Span = Span::from_secs(120);

/// Shortest time between two REVIVE calls: each makes the master forget every refusal of ours.
pub const REVIVE_INTERVAL: Span = Span::from_millis(50);

/// While apps wait, offers are asked for again after so long, in case a notice was lost.
pub const REVIVE_AGAIN: Span = Span::from_secs(30);

/// Agents whose last unused offer is remembered for each waiting app.
pub const UNUSED_OFFERS: usize = 100;

/// A task that is launched but not running by then is killed and launched again.
pub const LAUNCH_TIMEOUT: Span = Span::from_secs(300);

// --- killing

/// Kills sent and not yet confirmed; the others wait their turn.
pub const KILLS_IN_FLIGHT: usize = 100;

/// A kill without an answer is repeated after so long.
pub const KILL_RETRY: Span = Span::from_secs(10);

/// Share of an app's instances, in percent, that failing health checks may kill per window; at least one. A checker
/// that is overloaded itself must not take the whole app down.
pub const HEALTH_KILL_PERCENT: u32 = 10;

/// The window of [`HEALTH_KILL_PERCENT`].
pub const HEALTH_KILL_WINDOW: Span = Span::from_secs(30);

/// Health checks without a delay of their own begin so long after the start, or after their interval if that is less.
pub const FIRST_CHECK: Span = Span::from_secs(1);

// --- draining

/// Drainers waited for at once; more are told so.
pub const DRAINERS: usize = 64;

/// Bytes of a drainer's name.
pub const DRAINER_NAME_BYTES: usize = 100;

// --- agents out of reach

/// Instances given up on unreachable agents whose return is still expected, so that they are then killed by
/// knowledge; beyond it the oldest is forgotten.
pub const TOMBSTONES: usize = 10_000;

// --- API

/// A caller is answered within this, if only that it took too long.
pub const ANSWER: Duration = Duration::from_secs(15);

/// A caller waits so long for a leader to be known, and for the leader to have read its records.
pub const LEADER_WAIT: Duration = Duration::from_millis(2500);

/// A request to a leader that has just died waits so long for the next: the lease of leadership and a little more.
pub const TAKEOVER: Duration = Duration::from_secs(5);

/// Requests worked on at once, event streams included; beyond it callers are turned away.
pub const REQUESTS: usize = 16_384;

/// Connections open at once; more wait in the kernel's queue. Descriptors are also needed for the masters and for what a
/// standby passes on.
pub const CONNECTIONS: usize = 18_000;

/// Request line and headers together; no less than [`URI_BYTES`].
pub const HEAD_BYTES: usize = 64 << 10;

/// Headers of one request.
pub const HEADERS: usize = 100;

/// How long a client may take to send its next request's head, idle time between requests included. Longer than the idle
/// time of common client pools would be useless, much shorter would race with them.
pub const HEAD_TIME: Duration = Duration::from_secs(75);

/// How long a client may take to send its body.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// Unacknowledged bytes or an unread window for so long end the connection: the reader is gone or does not read.
pub const UNREAD_TIME: Duration = Duration::from_secs(20);

/// The leader has so long to begin its answer: longer than it gives itself ([`ANSWER`]).
pub const PROXY_ANSWER: Duration = Duration::from_secs(20);

/// Silence on an event stream after which a keep-alive is written.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bytes of a path with its query.
pub const URI_BYTES: usize = 16 << 10;

/// Open requests have so long to end when the process is asked to.
pub const SHUTDOWN: Duration = Duration::from_secs(3);
