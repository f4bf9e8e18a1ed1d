//! Revisions tell the order in which things happened.

use std::collections::BTreeMap;

use super::Findings;
use crate::net::Micros;

/// What is promised.
pub const PROMISE: &str = "a call never answers with a revision older than one answered before it began";

/// The greatest revision answered by each time.
#[derive(Debug, Default)]
pub struct Revisions {
    greatest: BTreeMap<Micros, u64>,
    /// What was seen.
    pub findings: Findings,
}

impl Revisions {
    /// A call that began at `invoked` was answered now.
    pub fn answered(&mut self, client: u64, invoked: Micros, now: Micros, revision: u64) {
        let before = self.greatest.range(..invoked).next_back().map_or(0, |(_, greatest)| *greatest);
        self.findings.look(revision >= before, || {
            format!("client {client} was answered at revision {revision}, after {before} had been answered")
        });
        let latest = self.greatest.last_key_value().map_or(0, |(_, greatest)| *greatest);
        self.greatest.insert(now, latest.max(revision));
    }
}
