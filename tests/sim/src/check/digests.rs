//! Masters that have applied the same entries are in the same state.

use std::collections::BTreeMap;

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "registries at an equal index have equal digests";

/// The first digest seen at each index.
#[derive(Debug, Default)]
pub struct Digests {
    known: BTreeMap<u64, u64>,
    /// What was seen.
    pub findings: Findings,
}

impl Digests {
    /// A master is at an index.
    pub fn at(&mut self, master: &str, index: u64, digest: u64) {
        let known = *self.known.entry(index).or_insert(digest);
        self.findings.look(known == digest, || {
            format!("{master} has {digest:016x} at index {index}, others had {known:016x}")
        });
    }
}
