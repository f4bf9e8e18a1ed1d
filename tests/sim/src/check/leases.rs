//! A lock under a lease has one holder.

use std::collections::BTreeMap;

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "a lock under a lease is held by one client at a time, and its tokens grow";

/// Until when each client believes that it holds the lock.
#[derive(Debug, Default)]
pub struct Leases {
    held: BTreeMap<u64, Micros>,
    token: u64,
    /// What was seen.
    pub findings: Findings,
}

impl Leases {
    /// A client holds the lock now and trusts it until then. Clients' clocks may run apart by two thousandths of a
    /// per cent of a lease's length between two of its renewals, which nobody promises to make good.
    pub fn holds(&mut self, client: u64, token: u64, now: Micros, until: Micros) {
        let slack = (until - now) / 1_000;
        let other = self.held.iter().find(|(other, until)| **other != client && **until > now + slack);
        self.findings.look(other.is_none(), || {
            format!("client {client} holds the lock at {now} µs, and so does {other:?}")
        });
        let newest = self.token;
        self.findings
            .look(token >= newest, || format!("client {client} holds token {token} after token {newest}"));
        self.token = newest.max(token);
        self.held.insert(client, until);
    }

    /// A client holds it no more.
    pub fn over(&mut self, client: u64, at: Micros) {
        if let Some(until) = self.held.get_mut(&client) {
            *until = at.min(*until);
        }
    }
}
