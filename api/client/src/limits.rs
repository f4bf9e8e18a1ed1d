//! Every bound of the clients, with its reason.

use std::time::Duration;

use model::time::Span;

/// The largest event taken from a scheduler stream: an OFFERS over all agents of a large cluster stays below it.
pub const EVENT_BYTES: usize = 64 << 20;
/// The largest record taken from a watch: a value is 1 MiB at most, and a record holds a bounded batch of them.
pub const WATCH_RECORD_BYTES: usize = 16 << 20;
/// Events received and not yet taken by the framework. Past it the client stops reading, and the master, whose queue is
/// bounded too, closes the stream: the framework then subscribes again and reconciles.
pub const EVENT_QUEUE: usize = 1024;
/// The largest answer of the key-value API: at most 64 MiB of keys and values, in base64.
pub const ANSWER_BYTES: usize = 96 << 20;
/// How much of a refusal is kept: a sentence, not whatever a proxy in between has to say.
pub const REFUSAL_BYTES: usize = 16 << 10;
/// A watch that is silent for so long is given up: the masters tell their progress every 5 seconds, and a host that
/// lost its power closes no connection.
pub const WATCH_SILENCE: Duration = Duration::from_secs(11);
/// How often a redirect is followed without a pause: during an election two masters may name each other.
pub const REDIRECTS: u32 = 3;
/// How long a master may take for the head of an answer, and for each part of its body.
pub const ANSWER: Duration = Duration::from_secs(5);
/// How long a TCP connection may take: the masters are near.
pub const CONNECT: Duration = Duration::from_secs(1);
/// After so much silence of the network the master's system is asked whether it still knows the connection, and so often and
/// so many times until it is given up: a partition can end a stream at the master's side alone, and two heartbeats are
/// half a minute.
pub const PROBE_AFTER: Duration = Duration::from_secs(3);
pub const PROBE_EVERY: Duration = Duration::from_secs(2);
pub const PROBES: u32 = 3;
/// How long a call of the key-value API is tried before its caller hears that no master answers.
pub const CALL: Duration = Duration::from_secs(15);
/// The pause before another master is tried, after all have been tried once: an election takes about this long.
pub const TRY_AGAIN: Duration = Duration::from_millis(50);
/// The first pause before subscribing again, and the longest.
pub const BACKOFF_FIRST: Span = Span::from_millis(50);
pub const BACKOFF_LONGEST: Span = Span::from_secs(2);
/// Heartbeats missed before a silent stream is given up.
pub const HEARTBEATS_MISSED: u64 = 2;
/// A subscription without its first event for this long is given up.
pub const SUBSCRIBED: Span = Span::from_secs(10);
