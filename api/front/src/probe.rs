//! Streams whose other end went away without a word.

use std::time::Duration;

use reqwest::ClientBuilder;

/// After so much silence of the network the other side's system is asked whether it still knows the connection.
pub const AFTER: Duration = Duration::from_secs(3);
/// How often it is asked, and how many times until the connection is given up.
const EVERY: Duration = Duration::from_secs(2);
const TIMES: u32 = 3;

/// A client that notices within [`AFTER`] that the other side has ended a stream, and after three questions without an answer
/// that there is no way to it.
///
/// A partition can end a stream at the other side alone: its last segments are lost, and the reader hears nothing. Two
/// heartbeats of a master are half a minute, and a supervisor waits ten seconds for a balancer whose stream broke before it
/// ends instances that the balancer still leads to.
pub fn probed(builder: ClientBuilder) -> ClientBuilder {
    builder.tcp_keepalive(AFTER).tcp_keepalive_interval(EVERY).tcp_keepalive_retries(TIMES)
}
