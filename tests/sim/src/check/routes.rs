//! Where a load balancer leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::net::{Micros, SECOND};

/// What is promised.
pub const PROMISE: &str = "two seconds after the feed has told of an instance's end or illness nothing leads to it, and at rest \
                           a balancer leads to what serves and to nothing else";

/// How long a balancer may take to do what follows from an event.
const DELAY: Micros = 2 * SECOND;

/// What was told, and what is done.
#[derive(Debug, Default)]
pub struct Routes {
    unfit: BTreeMap<String, Micros>,
    leads_to: BTreeSet<String>,
    /// What was seen.
    pub findings: Findings,
}

impl Routes {
    /// The feed has told whether an instance is fit to serve.
    pub fn told(&mut self, task: &str, fit: bool, now: Micros) {
        if fit {
            self.unfit.remove(task);
        } else {
            self.unfit.entry(task.to_owned()).or_insert(now);
        }
    }

    /// The sidecar was started anew, and knows what it has stored.
    pub fn forget(&mut self) {
        self.unfit.clear();
    }

    /// From now on new connections are led to these.
    pub fn leads_to(&mut self, tasks: BTreeSet<String>) {
        self.leads_to = tasks;
    }

    /// Nothing that has been unfit for long is led to.
    pub fn look(&mut self, now: Micros) {
        for task in &self.leads_to {
            let since = self.unfit.get(task);
            self.findings.look(since.is_none_or(|since| now < since + DELAY), || {
                format!("connections are led to {task} at {now} µs, of whose end was told at {since:?}")
            });
        }
    }
}
