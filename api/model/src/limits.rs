//! Every bound of the system that more than one part has to know, each with its reason.

use crate::time::Span;

// --- texts

/// Ids become file names, and common file systems end names there.
pub const ID_BYTES: usize = 255;

/// A role is at most a path in the shares' tree; each level costs a node and a comparison.
pub const ROLE_BYTES: usize = 1024;

// --- resources

/// Largest scalar amount of one resource, in units: 10^12 MB is an exabyte, and 10^15 thousandths stay below 2^53,
/// so that every amount survives the trip through the wire's doubles.
pub const SCALAR_UNITS: i64 = 1_000_000_000_000;

/// Distinct resources in one message. A machine with every disk split into volumes has hundreds.
pub const RESOURCES: usize = 4096;

/// Intervals in one ranges value: the worst case of scattered ports is every second one of 65,536.
pub const RANGES: usize = 32_768;

/// Items in one set value.
pub const SET_ITEMS: usize = 4096;

/// Depth of a stack of reservations, which is also the depth of roles worth having.
pub const RESERVATIONS: usize = 64;

/// Attributes of one agent.
pub const ATTRIBUTES: usize = 256;

// --- offers

/// `refuse_seconds` when the call has no filters or a negative number (spec mesos-v1, section 8.4).
pub const REFUSE_DEFAULT: Span = Span::from_secs(5);

/// A longer refusal is cut to this.
pub const REFUSE_MAX: Span = Span::from_days(365);

/// The shortest life of a refusal that is not zero. Frameworks count on the period of the classic allocator.
pub const ALLOCATION_INTERVAL: Span = Span::from_secs(1);

/// How long a refusal of zero seconds keeps the same resources from the same framework. With none, the offer would
/// bounce between the two as fast as the network carries it; the classic allocator waits for its next period.
pub const REOFFER_PAUSE: Span = Span::from_millis(100);

/// Refusals remembered per framework, role and agent; beyond it the one that ends first is forgotten, which only
/// means an offer too many.
pub const FILTERS_PER_AGENT: usize = 8;

// --- kept history

/// Ended frameworks shown to operators.
pub const COMPLETED_FRAMEWORKS: usize = 50;

/// Ended tasks kept per framework, and likewise unreachable ones.
pub const COMPLETED_TASKS: usize = 1000;

// --- streams

/// Announced to subscribers, who give up after about five missed ones.
pub const HEARTBEAT_ANNOUNCED: Span = Span::from_secs(15);

/// Really sent: some clients drop a stream that is silent for ten seconds whatever was announced.
pub const HEARTBEAT: Span = Span::from_secs(5);

/// Operators' event streams at one master; the oldest is closed for a newer one.
pub const OPERATOR_STREAMS: usize = 1000;

/// Bytes of one request body, and of one record on a stream.
pub const BODY_BYTES: usize = 16 << 20;

/// Bytes that an executor may send its scheduler in one message or status. In base64 and with all that is around them they
/// stay below 4 MiB, where readers of streams in use give up.
pub const EXECUTOR_DATA_BYTES: usize = 5 << 19;

// --- key-value space

/// Bytes of one value.
pub const VALUE_BYTES: usize = 1 << 20;

/// Compares plus operations of one transaction.
pub const TXN_OPERATIONS: usize = 128;
