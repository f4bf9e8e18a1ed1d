//! Every bound of this crate, with its reason. Bounds of the core's own tables and streams are the core's.

use std::time::Duration;

/// Connections open at once. A process has 20,000 descriptors at most on the machines we know; the log, snapshots and
/// peers need some of them.
pub(crate) const CONNECTIONS: usize = 15_000;

/// Request line and headers together.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// Headers of one request.
pub(crate) const HEADERS: usize = 100;

/// How long a client may take to send its next request's head, idle time between requests included. Longer than the
/// idle time of common client pools would be useless, much shorter would race with them.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(75);

/// One request body.
pub(crate) const BODY_BYTES: usize = 16 << 20;

/// How long a body may take to arrive.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(60);

/// All bodies on their way together, in units of [`BODY_UNIT`]: 512 MiB. Without it 15,000 clients that stop one byte
/// short of the limit would hold 240 GB.
pub(crate) const BODY_UNITS: usize = 8_192;

/// What a body's memory is accounted in.
pub(crate) const BODY_UNIT: usize = 64 << 10;

/// A body larger than this is decoded on a thread of its own, so that it does not hold up the small ones.
pub(crate) const DECODE_ASIDE_BYTES: usize = 256 << 10;

/// Unacknowledged bytes or an unread window for so long end the connection: the reader is gone or does not read.
pub(crate) const UNREAD_TIME: Duration = Duration::from_secs(30);

/// Silence after which the kernel asks whether a client is still there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Large answers rendered at once; further readers wait their turn. Each takes a core.
pub(crate) const RENDERS: usize = 2;

/// Readers of the whole state at once. Each holds a thread, and the records of its moment that have changed since.
pub(crate) const READERS: usize = 64;

/// How long one more reader waits for a place before it is told to come later.
pub(crate) const READER_WAIT: Duration = Duration::from_secs(10);

/// Bytes of a large answer made in one piece.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// Pieces of a large answer made ahead of its reader.
pub(crate) const PIECES_AHEAD: usize = 4;

/// How long a reader may leave a piece lying.
pub(crate) const PIECE_UNREAD: Duration = Duration::from_secs(30);

/// How long one large answer may take altogether: what its reader holds on to grows with every change of the cluster.
pub(crate) const READ_TIME: Duration = Duration::from_secs(600);

/// Of a file, shown at once.
pub(crate) const READ_BYTES: u64 = 64 << 10;

/// Of a file of names of users or groups, looked at for one of them.
pub(crate) const NAMES_BYTES: u64 = 1 << 20;

/// Messages waiting for the driver.
pub(crate) const INBOX: usize = 16_384;

/// Events of the replica waiting for the driver. A full queue holds up the replica, which is right: a leader whose loop
/// stands still should lose its leadership, not fill its memory.
pub(crate) const EVENTS: usize = 4_096;

/// Inputs taken in a row before the deadline is looked at.
pub(crate) const BURST: usize = 256;

/// Handling one input for longer than this is worth a line in the log.
pub(crate) const SLOW_INPUT: Duration = Duration::from_millis(100);

/// Records rendered ahead of the connection that carries them.
pub(crate) const RENDERED_AHEAD: usize = 4;

/// How long a stream that was ended in order may take to be read to its end.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// Frames waiting for one agent. An agent that is this far behind is gone or hangs; it will report everything anew.
pub(crate) const LINK_FRAMES: usize = 4_096;

/// One frame of an agent: its greeting tells of each task it holds.
pub(crate) const LINK_FRAME_BYTES: usize = 64 << 20;

/// How long a new link may be silent before its greeting.
pub(crate) const GREETING_TIME: Duration = Duration::from_secs(10);

/// Messages waiting for one peer. Full means the peer is slow or gone: raft is told and sends again what matters.
pub(crate) const PEER_MESSAGES: usize = 1_024;

/// Patience with a peer that is dialled.
pub(crate) const DIAL_TIME: Duration = Duration::from_secs(2);

/// Between attempts to reach a peer, at first and at most.
pub(crate) const REDIAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Between rounds of greetings while a group is being founded.
pub(crate) const FORMING_PAUSE: Duration = Duration::from_millis(100);

/// Bytes a peer does not acknowledge for so long end the stream, and a new one is dialled. After a network fault the
/// kernel's own retries come minutes apart.
pub(crate) const PEER_SILENCE_MS: u32 = 3_000;

/// What the other first members get to start their replicas, before the founder stands for election.
pub(crate) const FIRST_CAMPAIGN: Duration = Duration::from_millis(250);

/// Silence on a snapshot's stream after which it is given up.
pub(crate) const SNAPSHOT_SILENCE: Duration = Duration::from_secs(30);

/// A greeting of a peer and its answer.
pub(crate) const HELLO_BYTES: usize = 64 << 10;

/// How long leadership is waited to pass on before a leader stops.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(1_500);

/// How long open connections may take to end at shutdown. Everything together stays below ten seconds.
pub(crate) const DRAIN: Duration = Duration::from_secs(4);

/// Real time of one tick of the replica. An election takes ten to twenty of them.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// A learner that lacks at most so many entries gets its vote: at the rate of a busy group that is a tenth of a second.
pub(crate) const PROMOTION_LAG: u64 = 1_000;

/// After a promotion that could not be made.
pub(crate) const PROMOTION_PAUSE: Duration = Duration::from_secs(1);

/// Between attempts to join a group whose members cannot admit this one yet.
pub(crate) const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// Redirects followed by one attempt to join: the leader is one step away, unless it changes just then.
pub(crate) const JOIN_HOPS: usize = 4;

/// A request to join and its answer.
pub(crate) const JOIN_BYTES: usize = 64 << 10;
