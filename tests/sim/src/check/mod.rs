//! The promises, and who watches over each.
//!
//! A checker is told what happened by the machines and their surroundings, which know more than any real observer
//! could, and says what must not be.

pub mod acknowledged;
pub mod apps;
pub mod books;
pub mod changes;
pub mod copies;
pub mod digests;
pub mod fencing;
pub mod filters;
pub mod leases;
pub mod once;
pub mod punctual;
pub mod quota;
pub mod reasons;
mod repeating;
pub mod reservations;
pub mod revisions;
pub mod routes;
pub mod service;
pub mod strategy;
pub mod stream;
pub mod survival;
pub mod tasks;
pub mod terms;
pub mod unasked;
pub mod updates;
pub mod watches;

use master_core::registry::Registry;

use crate::net::Micros;

/// So many violations of one promise are kept; the first one is what matters.
const KEPT: usize = 3;

/// What one checker has seen.
#[derive(Debug, Default, Clone)]
pub struct Findings {
    /// How often it looked.
    pub looks: u64,
    /// What was wrong, the first few.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Something that must not be.
    pub fn wrong(&mut self, text: impl Into<String>) {
        if self.wrong.len() < KEPT {
            self.wrong.push(text.into());
        }
    }

    /// Looks once; `text` is only made when it does not hold.
    pub fn look(&mut self, holds: bool, text: impl FnOnce() -> String) {
        self.looks += 1;
        if !holds {
            self.wrong(text());
        }
    }
}

/// All checkers.
#[derive(Debug, Default)]
pub struct Judge {
    /// Everything has healed: nobody breaks anything any more.
    pub healed: bool,
    /// Equal digests at equal index.
    pub digests: digests::Digests,
    /// One leader a term.
    pub terms: terms::Terms,
    /// Nothing acknowledged is lost.
    pub facts: acknowledged::Facts,
    /// What the writers did, for the checker of linearizability.
    pub history: Vec<linear::Operation>,
    /// Revisions grow with time.
    pub revisions: revisions::Revisions,
    /// One holder of the lock.
    pub leases: leases::Leases,
    /// The leader's books.
    pub books: books::Books,
    /// Copies of agents.
    pub copies: copies::Copies,
    /// No task twice.
    pub tasks: tasks::Tasks,
    /// How tasks failed.
    pub reasons: reasons::Reasons,
    /// No task dies by us.
    pub survival: survival::Survival,
    /// Status updates.
    pub updates: updates::Updates,
    /// Leaders of the past.
    pub fencing: fencing::Fencing,
    /// Watches.
    pub watches: watches::Watches,
    /// What runs of apps, and what is wanted.
    pub apps: apps::Apps,
    /// What users were told is made of their apps.
    pub changes: changes::Changes,
    /// Decisions of supervisors.
    pub strategy: strategy::Strategy,
    /// The events of apps.
    pub stream: stream::Stream,
    /// What a role has for itself.
    pub reservations: reservations::Reservations,
    /// What was declined for a while.
    pub filters: filters::Filters,
    /// Waits for offers.
    pub service: service::Service,
    /// What roles are promised and allowed.
    pub quotas: quota::Quotas,
    /// Due times of jobs.
    pub once: once::Once,
    /// When runs begin.
    pub punctual: punctual::Punctual,
    /// What balancers do.
    pub routes: routes::Routes,
    /// All is well again in time.
    pub progress: Findings,
    /// Everything else that must never happen, by promise.
    pub other: Findings,
}

impl Judge {
    /// An assumption of the world itself does not hold.
    pub fn broken(&mut self, promise: &str, why: String) {
        self.other.wrong(format!("{promise}: {why}"));
    }

    /// A master applied an entry, and is in a state of this digest.
    pub fn applied(&mut self, master: &str, index: u64, digest: u64, view: &Registry) {
        self.digests.at(master, index, digest);
        if self.watches.learn(index, view) {
            self.facts.learn(index, view);
            self.once.learn(view);
        }
    }

    /// A master's state was replaced by a snapshot, or read from its disk.
    pub fn installed(&mut self, master: &str, index: u64, digest: u64) {
        self.digests.at(master, index, digest);
    }

    /// A master leads.
    pub fn elected(&mut self, master: &str, term: u64, view: &Registry) {
        self.terms.elected(master, term);
        self.facts.kept(master, term, view);
    }

    /// The program itself says that its books do not agree.
    pub fn misbooked(&mut self, master: &str, what: &str) {
        self.books.findings.wrong(format!("{master}: {what}"));
    }

    /// The last looks, when the world has come to rest.
    pub fn conclude(&mut self) {
        self.updates.conclude();
        self.apps.conclude();
        self.once.conclude();
    }

    /// Every promise with what was seen of it. Linearizability is decided here.
    pub fn verdict(&mut self, now: Micros) -> Vec<(&'static str, &'static str, Findings)> {
        let mut linear = Findings::default();
        for (key, verdict) in linear::by_key(&self.history, now) {
            linear.looks += 1;
            if let Err(why) = verdict {
                linear.wrong(format!("key k{key}: {why}"));
            }
        }
        vec![
            ("digests", digests::PROMISE, self.digests.findings.clone()),
            ("terms", terms::PROMISE, self.terms.findings.clone()),
            ("acknowledged", acknowledged::PROMISE, self.facts.findings.clone()),
            ("linear", linear::PROMISE, linear),
            ("revisions", revisions::PROMISE, self.revisions.findings.clone()),
            ("leases", leases::PROMISE, self.leases.findings.clone()),
            ("watches", watches::PROMISE, self.watches.findings.clone()),
            ("books", books::PROMISE, self.books.findings.clone()),
            ("copies", copies::PROMISE, self.copies.findings.clone()),
            ("tasks", tasks::PROMISE, self.tasks.findings.clone()),
            ("reasons", reasons::PROMISE, self.reasons.findings.clone()),
            ("survival", survival::PROMISE, self.survival.findings.clone()),
            ("updates", updates::PROMISE, self.updates.findings.clone()),
            ("fencing", fencing::PROMISE, self.fencing.findings.clone()),
            ("allegiance", fencing::ALLEGIANCE, self.fencing.allegiance.clone()),
            ("apps", apps::PROMISE, self.apps.findings.clone()),
            ("changes", changes::PROMISE, self.changes.findings.clone()),
            ("strategy", strategy::PROMISE, self.strategy.findings.clone()),
            ("unasked", unasked::PROMISE, self.strategy.unasked.findings.clone()),
            ("stream", stream::PROMISE, self.stream.findings.clone()),
            ("routes", routes::PROMISE, self.routes.findings.clone()),
            ("reservations", reservations::PROMISE, self.reservations.findings.clone()),
            ("filters", filters::PROMISE, self.filters.findings.clone()),
            ("service", service::PROMISE, self.service.findings.clone()),
            ("quota", quota::PROMISE, self.quotas.findings.clone()),
            ("once", once::PROMISE, self.once.findings.clone()),
            ("punctual", punctual::PROMISE, self.punctual.findings.clone()),
            (
                "progress",
                "when everything has healed, all is well again within four minutes",
                self.progress.clone(),
            ),
            ("world", "nothing else happens that must never happen", self.other.clone()),
        ]
    }
}
