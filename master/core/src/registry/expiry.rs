//! The leader's timers for leases. Soft: a new leader starts them anew, which only ever lengthens a lease.

use std::collections::{BTreeMap, BTreeSet};

use model::time::{Span, Time};

use super::{Command, Index, Lease, LeaseCommand, Registry, Text};

/// How long to wait for a proposed end before proposing it again: the proposal may have been lost.
const PROPOSE_AGAIN: Span = Span::from_secs(2);

type Name = (Text, Text);

#[derive(Debug, Clone, Copy)]
struct Timer {
    deadline: Time,
    granted: Index,
    renewals: u64,
}

/// When each lease ends unless it is renewed. Passive: the leader says what happened and asks what is due.
#[derive(Debug, Default)]
pub struct Expiry {
    timers: BTreeMap<Name, Timer>,
    queue: BTreeSet<(Time, Name)>,
}

impl Expiry {
    /// Starts anew on election: each lease gets its whole time, since nobody knows when its holder last spoke.
    pub fn lead(now: Time, view: &Registry) -> Self {
        let mut expiry = Self::default();
        for lease in view.leases() {
            expiry.observe(now, lease);
            #[cfg(feature = "mutants")]
            if mutant::planted("leases-end-with-the-leader") {
                let name = (lease.namespace.clone(), lease.id.clone());
                expiry.set(name.clone(), Timer { deadline: now, ..expiry.timers[&name] });
            }
        }
        expiry
    }

    /// A grant or renewal was committed.
    pub fn observe(&mut self, now: Time, lease: &Lease) {
        let name = (lease.namespace.clone(), lease.id.clone());
        let known = self.timers.get(&name).map(|timer| (timer.granted, timer.renewals));
        if known == Some((lease.granted, lease.renewals)) {
            // A repeated grant answers the lease as it stands and must not lengthen it.
            return;
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("renewals-are-not-seen") && known.is_some() {
            return self.set(name.clone(), Timer { renewals: lease.renewals, ..self.timers[&name] });
        }
        self.set(name, Timer { deadline: now + lease.ttl, granted: lease.granted, renewals: lease.renewals });
    }

    fn set(&mut self, name: Name, timer: Timer) {
        self.queue.insert((timer.deadline, name.clone()));
        let old = self.timers.insert(name.clone(), timer);
        if let Some(old) = old.filter(|old| old.deadline != timer.deadline) {
            self.queue.remove(&(old.deadline, name));
        }
    }

    /// When `due` will next have something to say.
    pub fn next_deadline(&self) -> Option<Time> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// The ends to propose, at most `limit` of them. Leases that ended otherwise are forgotten on the way.
    pub fn due(&mut self, now: Time, view: &Registry, limit: usize) -> Vec<Command> {
        let mut commands = Vec::new();
        while commands.len() < limit {
            let Some((deadline, name)) = self.queue.first().cloned() else { break };
            if deadline > now {
                break;
            }
            let Some(timer) = self.timers.get(&name).copied() else { break };
            let (namespace, lease) = name.clone();
            if view.lease(&namespace, &lease).is_none() {
                self.queue.pop_first();
                self.timers.remove(&name);
                continue;
            }
            self.set(name, Timer { deadline: now + PROPOSE_AGAIN, ..timer });
            commands.push(Command::Lease(LeaseCommand::Expire {
                namespace,
                lease,
                granted: timer.granted,
                renewals_seen: timer.renewals,
            }));
        }
        commands
    }
}
