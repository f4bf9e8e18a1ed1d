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
    /// A master has heard the greeting of an agent that obeys a leader of term `obeyed`: if that is news, it leads no
    /// more. This first line is why orders of the past hardly ever get as far as to an agent.
    pub fn greeted(&mut self, master: &str, leads: Option<u64>, obeyed: u64) {
        let holds = leads.is_none_or(|term| term >= obeyed);
        self.findings.look(holds, || format!("{master} leads on in term {leads:?}, an agent obeys {obeyed}"));
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
