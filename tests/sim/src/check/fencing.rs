//! Leaders of the past can do no harm.

use agent_core::{Effect, Report};

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "orders of a deposed leader have no effect";

/// Looks at what agents do when ordered by a leader of the past.
#[derive(Debug, Default)]
pub struct Fencing {
    /// What was seen.
    pub findings: Findings,
}

impl Fencing {
    /// A master that leads in `term` takes in an agent that has said it obeys a leader of term `obeyed`. That a newer
    /// one is not taken in is the first line: because of it orders of the past hardly ever get as far as to an agent.
    pub fn welcomed(&mut self, master: &str, term: u64, obeyed: u64) {
        self.findings.look(term >= obeyed, || {
            format!("{master} of term {term} takes in an agent that obeys term {obeyed}")
        });
    }

    /// An order of `term` came to an agent that has stored an order of `highest`.
    pub fn order(&mut self, agent: &str, term: u64, highest: u64, effects: &[Effect]) {
        let harmless = |effect: &Effect| {
            matches!(
                effect,
                Effect::Send { report: Report::Fenced { .. }, .. }
                    | Effect::Hangup { .. }
                    | Effect::Dial { .. }
            )
        };
        let harm = effects.iter().find(|effect| !harmless(effect));
        self.findings
            .look(harm.is_none(), || format!("{agent} obeys term {term} after term {highest}: {harm:?}"));
    }
}
