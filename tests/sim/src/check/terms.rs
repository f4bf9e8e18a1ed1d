//! A term has one leader.

use std::collections::BTreeMap;

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "at most one master leads in a term";

/// Who led when.
#[derive(Debug, Default)]
pub struct Terms {
    leaders: BTreeMap<u64, String>,
    /// What was seen.
    pub findings: Findings,
}

impl Terms {
    /// A master says that it leads.
    pub fn elected(&mut self, master: &str, term: u64) {
        let first = self.leaders.entry(term).or_insert_with(|| master.to_owned());
        let holds = first == master;
        let first = first.clone();
        self.findings.look(holds, || format!("{master} leads in term {term}, in which {first} led"));
    }
}
