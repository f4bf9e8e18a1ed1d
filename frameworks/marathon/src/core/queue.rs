//! Why apps wait: which offers came and what did not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::AgentId;
use model::time::Time;

use super::offer::{Misfit, Offer};
use crate::limits;

/// What was seen since an app began to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub since: Time,
    pub count: u32,
    /// Backing off until then.
    pub delayed_until: Option<Time>,
    pub processed: u64,
    pub unused: u64,
    pub last_used: Option<Time>,
    pub last_unused: Option<Time>,
    /// Offers turned away, by the first test they failed.
    declined: BTreeMap<Misfit, u64>,
    /// The last offer of each agent that could not be used.
    last: BTreeMap<AgentId, Unused>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    pub offer: Arc<Offer>,
    pub misfits: Vec<Misfit>,
    pub at: Time,
}

/// One test: how many offers reached it, how many it turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funnel {
    pub misfit: Misfit,
    pub declined: u64,
    pub processed: u64,
}

impl Waiting {
    pub fn new(now: Time) -> Self {
        Self {
            since: now,
            count: 0,
            delayed_until: None,
            processed: 0,
            unused: 0,
            last_used: None,
            last_unused: None,
            declined: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    pub fn used(&mut self, now: Time, agent: &AgentId) {
        self.processed += 1;
        self.last_used = Some(now);
        self.last.remove(agent);
    }

    pub fn unused(&mut self, now: Time, offer: &Arc<Offer>, misfits: Vec<Misfit>) {
        self.processed += 1;
        self.unused += 1;
        self.last_unused = Some(now);
        if let Some(first) = misfits.first() {
            *self.declined.entry(*first).or_insert(0) += 1;
        }
        if self.last.len() < limits::UNUSED_OFFERS || self.last.contains_key(&offer.agent) {
            self.last.insert(offer.agent.clone(), Unused { offer: Arc::clone(offer), misfits, at: now });
        }
    }

    pub fn last_unused_offers(&self) -> impl Iterator<Item = &Unused> {
        self.last.values()
    }

    /// Over every offer since the app began to wait.
    pub fn attempt(&self) -> Vec<Funnel> {
        funnel(self.processed, |misfit| self.declined.get(&misfit).copied().unwrap_or(0))
    }

    /// Over the last offer of each agent.
    pub fn last_offers(&self) -> Vec<Funnel> {
        let first = |unused: &Unused| unused.misfits.first().copied();
        funnel(self.last.len() as u64, |misfit| {
            self.last.values().filter(|unused| first(unused) == Some(misfit)).count() as u64
        })
    }
}

fn funnel(mut processed: u64, declined: impl Fn(Misfit) -> u64) -> Vec<Funnel> {
    Misfit::ALL
        .into_iter()
        .map(|misfit| {
            let step = Funnel { misfit, declined: declined(misfit), processed };
            processed -= step.declined;
            step
        })
        .collect()
}
