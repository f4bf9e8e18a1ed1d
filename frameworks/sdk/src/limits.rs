//! Every bound of the SDK, with its reason.

use std::time::Duration;

/// The most writes in one transaction; the masters take 128 operations.
pub const WRITES: usize = 128;
/// The most bytes of values in one transaction: well below what a master takes as one request.
pub const WRITE_BYTES: usize = 4 << 20;
/// How long leadership lasts without a keepalive: the time until a standby takes over from a leader that was killed.
pub const LEADERSHIP: Duration = Duration::from_secs(3);
/// Keepalives per time to live: two may be lost.
pub const KEEPALIVES: u32 = 3;
/// The pause after a campaign that no master answered.
pub const CAMPAIGN_AGAIN: Duration = Duration::from_millis(200);
/// Events handed to a reader in one go.
pub const BATCH: usize = 256;
