//! What a master acknowledged is there after every election, and took effect where it said.

use std::collections::{BTreeMap, BTreeSet};

use master_core::registry::Registry;
use model::id::{AgentId, FrameworkId};

use super::Findings;
use crate::machine::writer::NAMESPACE;

/// What is promised.
pub const PROMISE: &str = "nothing acknowledged is lost: agents, frameworks, keys";

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Facts {
    agents: BTreeSet<AgentId>,
    frameworks: BTreeSet<FrameworkId>,
    /// The value put at a revision.
    puts: BTreeMap<u64, Vec<(String, Vec<u8>)>>,
    /// The newest revision at which a client was told that its write took effect.
    newest: u64,
    /// The newest term that anybody has led in.
    term: u64,
    /// What was seen.
    pub findings: Findings,
}

impl Facts {
    /// An agent was welcomed.
    pub fn admitted(&mut self, agent: AgentId) {
        self.agents.insert(agent);
    }

    /// A framework was given its id.
    pub fn subscribed(&mut self, framework: FrameworkId) {
        self.frameworks.insert(framework);
    }

    /// A client was told that its write took effect at a revision; `None` for a deletion.
    pub fn written(&mut self, key: usize, value: Option<u64>, revision: u64) {
        self.newest = self.newest.max(revision);
        let Some(value) = value else { return };
        let name = format!("k{key}");
        let bytes = value.to_string().into_bytes();
        let there =
            self.puts.get(&revision).is_some_and(|puts| puts.iter().any(|(k, v)| *k == name && *v == bytes));
        self.findings
            .look(there, || format!("{name} = {value} was acknowledged at {revision}, where it is not"));
    }

    /// The registry right after an entry, seen for the first time.
    pub fn learn(&mut self, index: u64, view: &Registry) {
        for at in 0..4 {
            let key = format!("k{at}");
            if let Some(entry) = view.get(NAMESPACE, &key).filter(|entry| entry.mod_revision == index) {
                self.puts.entry(index).or_default().push((key, entry.value.to_vec()));
            }
        }
    }

    /// A master that leads must know all of it: of keys, it has applied the newest write. That what is there is the same
    /// for all is another's to see.
    pub fn kept(&mut self, master: &str, term: u64, view: &Registry) {
        // Who was stopped while it was elected says so late: others may have led and written since.
        if term < self.term {
            return;
        }
        self.term = term;
        let (index, newest) = (view.index(), self.newest);
        self.findings.look(index >= newest, || {
            format!("{master} leads at {index} without the write that was acknowledged at {newest}")
        });
        let agent = self.agents.iter().find(|id| view.agent(id).is_none());
        self.findings.look(agent.is_none(), || format!("{master} leads without knowing agent {agent:?}"));
        let framework = self.frameworks.iter().find(|id| view.framework(id).is_none());
        self.findings
            .look(framework.is_none(), || format!("{master} leads without knowing framework {framework:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a leader of this term may know nothing, after one of term 5, when there is something to know.
    fn lawful(term: u64, acknowledge: impl FnOnce(&mut Facts)) -> bool {
        let (mut facts, nothing) = (Facts::default(), Registry::default());
        facts.kept("m1", 5, &nothing);
        acknowledge(&mut facts);
        facts.kept("m2", term, &nothing);
        facts.findings.wrong.is_empty()
    }

    #[test]
    fn whoever_leads_next_knows_agents_frameworks_and_writes() {
        assert!(lawful(6, |_| ()));
        assert!(!lawful(6, |facts| facts.admitted("S1".into())));
        assert!(!lawful(6, |facts| facts.subscribed("F1".into())));
        assert!(!lawful(6, |facts| facts.written(0, None, 7)));
    }

    #[test]
    fn who_says_late_that_it_was_elected_need_not_know_what_came_after() {
        assert!(lawful(4, |facts| facts.written(0, None, 7)));
    }
}
