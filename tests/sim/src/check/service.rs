//! Who wants resources is offered some, whoever else misbehaves.

use super::Findings;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "a framework that wants resources is offered some within ten seconds, or within a minute after everything has healed";

/// From the wish to the offer where nothing breaks; the framework repeats its wish every few seconds.
pub const WAIT: Micros = 10 * SECOND;
/// The same after a storm, counted from its end: masters and agents have to find each other first.
const AFTERWARDS: Micros = 60 * SECOND;

/// What frameworks waited for.
#[derive(Debug, Default)]
pub struct Service {
    /// Nothing breaks in this world at all.
    pub calm: bool,
    healed: Option<Micros>,
    /// The longest wait where nothing breaks.
    pub longest: Micros,
    /// What was seen.
    pub findings: Findings,
}

impl Service {
    /// Everything has healed.
    pub fn healed(&mut self, now: Micros) {
        self.healed = Some(now);
    }

    /// A framework wants resources since then, and is offered some now, or not yet.
    pub fn waits(&mut self, name: &str, since: Micros, now: Micros) {
        let until = match self.healed {
            _ if self.calm => since + WAIT,
            Some(healed) => since.max(healed) + AFTERWARDS,
            None => return,
        };
        self.longest = self.longest.max(now - since);
        self.findings.look(now <= until, || {
            format!("{name} wants resources since {since} µs and was offered none by {now} µs")
        });
    }
}
