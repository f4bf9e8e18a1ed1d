//! Leaders of the past can do no harm.

use agent_core::{Effect, Report};

use super::Findings;

/// What is promised.
pub const PROMISE: &str = "orders of a deposed leader have no effect";

/// What is promised of leaders.
pub const ALLEGIANCE: &str = "no leader takes in an agent that obeys a newer one";

/// Looks at what agents do when ordered by a leader of the past.
#[derive(Debug, Default)]
pub struct Fencing {
    /// What was seen of agents.
    pub findings: Findings,
    /// What was seen of leaders. They are the first line: because of it orders of the past get as far as to an agent only
    /// where a leader does what it must not, or the world does so in its name.
    pub allegiance: Findings,
}

impl Fencing {
    /// A master that leads in `term` takes in an agent that has said it obeys a leader of term `obeyed`.
    pub fn welcomed(&mut self, master: &str, term: u64, obeyed: u64) {
        self.allegiance.look(term >= obeyed, || {
            format!("{master} of term {term} takes in an agent that obeys term {obeyed}")
        });
    }

    /// An order of `term` came to an agent that has stored an order of `highest`. Those of the present show nothing.
    pub fn order(&mut self, agent: &str, term: u64, highest: u64, effects: &[Effect]) {
        if term >= highest {
            return;
        }
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

#[cfg(test)]
mod tests {
    use agent_core::LinkId;

    use super::*;

    /// Whether an agent that has stored an order of term 5 may do this when it is told to by a leader of that term.
    fn lawful(term: u64, effects: &[Effect]) -> bool {
        let mut fencing = Fencing::default();
        fencing.order("a1", term, 5, effects);
        fencing.findings.wrong.is_empty()
    }

    #[test]
    fn the_past_is_answered_and_not_obeyed() {
        let link = LinkId(1);
        let answer = || Effect::Send { link, report: Report::Fenced { highest: 5 } };
        assert!(lawful(4, &[answer(), Effect::Hangup { link }]));
        assert!(!lawful(4, &[answer(), Effect::MeasureDisk]));
        assert!(lawful(5, &[Effect::MeasureDisk]));
    }

    #[test]
    fn orders_of_the_present_are_not_counted() {
        let mut fencing = Fencing::default();
        fencing.order("a1", 5, 5, &[Effect::MeasureDisk]);
        assert_eq!(fencing.findings.looks, 0);
        fencing.order("a1", 4, 5, &[]);
        assert_eq!(fencing.findings.looks, 1);
    }

    #[test]
    fn who_obeys_a_newer_leader_is_not_taken_in() {
        let mut fencing = Fencing::default();
        fencing.welcomed("m1", 5, 5);
        assert!(fencing.allegiance.wrong.is_empty());
        fencing.welcomed("m1", 5, 6);
        assert!(!fencing.allegiance.wrong.is_empty());
    }
}
