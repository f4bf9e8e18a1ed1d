//! A lock under a lease has one holder.

use std::collections::BTreeMap;

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "a lock under a lease is held by one client at a time, and its tokens grow";

/// Who believes to hold which lock.
#[derive(Debug, Default)]
pub struct Leases {
    locks: BTreeMap<&'static str, Lock>,
    /// What was seen.
    pub findings: Findings,
}

/// Until when each client believes that it holds the lock, and the newest token.
#[derive(Debug, Default)]
struct Lock {
    held: BTreeMap<u64, Micros>,
    token: u64,
}

impl Leases {
    /// A client holds the lock now and trusts it until then. Clocks run apart by up to four ten-thousandths here, which
    /// nobody promises to make good: of the time for which the lock is trusted a thousandth is allowed.
    pub fn holds(&mut self, name: &'static str, client: u64, token: u64, now: Micros, until: Micros) {
        let slack = (until - now) / 1_000;
        let lock = self.locks.entry(name).or_default();
        let other = lock.held.iter().find(|(other, until)| **other != client && **until > now + slack);
        self.findings.look(other.is_none(), || {
            format!("client {client} holds {name} at {now} µs, and so does {other:?}")
        });
        let newest = lock.token;
        self.findings.look(token >= newest, || {
            format!("client {client} holds {name} by token {token} after token {newest}")
        });
        lock.token = newest.max(token);
        lock.held.insert(client, until);
    }

    /// A client holds it no more.
    pub fn over(&mut self, name: &'static str, client: u64, at: Micros) {
        if let Some(until) = self.locks.entry(name).or_default().held.get_mut(&client) {
            *until = at.min(*until);
        }
    }
}
