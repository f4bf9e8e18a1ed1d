//! The event stream of apps is one stream, whichever supervisor tells it.

use std::collections::BTreeMap;

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "the event stream of apps has no gap and no reordering across failover";

/// What was told, by number.
#[derive(Debug, Default)]
pub struct Stream {
    told: BTreeMap<u64, String>,
    /// What was seen.
    pub findings: Findings,
}

impl Stream {
    /// A supervisor shows an event to its readers. A new one shows what is kept again.
    pub fn published(&mut self, number: u64, payload: &str) {
        let newest = self.newest();
        match self.told.get(&number) {
            Some(known) => self.findings.look(known == payload, || {
                format!("event {number} was {known} and is {payload} under another leader")
            }),
            None => {
                self.findings.look(number == newest + 1, || format!("event {number} follows event {newest}"));
                self.told.insert(number, payload.to_owned());
            }
        }
    }

    /// The newest that was shown to anybody.
    pub fn newest(&self) -> u64 {
        self.told.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// A reader that had seen everything up to `seen` was told of the event of this number.
    pub fn heard(&mut self, seen: u64, number: u64, payload: &[u8]) {
        self.findings
            .look(number == seen + 1, || format!("a reader is told of event {number} after event {seen}"));
        let known = self.told.get(&number);
        self.findings.look(known.is_some_and(|known| known.as_bytes() == payload), || {
            format!("a reader is told another event {number} than {known:?}")
        });
    }
}
