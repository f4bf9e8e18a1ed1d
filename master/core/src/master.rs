//! One master: the facts it has applied, the soft state of its leadership, and who gets what.

use model::time::Time;

use crate::alloc::Allocator;
use crate::effect::Effect;
use crate::input::{Input, Term};
use crate::leader::{Counters, Leader, Turn};
use crate::registry::Registry;
use crate::settings::Settings;

/// All state of one master. It does no IO, reads no clock and draws no random number: the same inputs at the same
/// times give the same effects, on any machine and in any year.
///
/// Two kinds of methods: `handle` takes what happened and says what to do about it, and is total: it never fails,
/// blocks or panics, whatever arrives. The rest are questions. A driver feeds inputs one at a time, executes the
/// effects in order, and gives `Input::Wake` when `next_deadline` has passed. Time never goes back. Work that can
/// wait for more of its kind (allocation) is done on `Wake`, with a deadline of the present: a driver that takes
/// what is queued before it looks at the deadline thereby gathers a burst into one run, and loses no time when
/// nothing else is queued.
#[derive(Debug)]
pub struct Master {
    view: Registry,
    leader: Leader,
    allocator: Allocator,
}

impl Master {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { view: Registry::default(), leader: Leader::new(settings), allocator: Allocator::default() }
    }

    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        let mut turn =
            Turn { now, view: &mut self.view, leader: &mut self.leader, allocator: &mut self.allocator, out };
        turn.take(input);
    }

    /// When to call with `Input::Wake` if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let allocates = self.leader.leads().is_some() && !self.leader.holds_offers(&self.view);
        let allocation = allocates.then(|| self.allocator.next_deadline()).flatten();
        [self.leader.next_deadline(), allocation].into_iter().flatten().min()
    }

    /// The registry as of the newest `Applied`.
    #[must_use]
    pub fn view(&self) -> &Registry {
        &self.view
    }

    /// The term this master leads in, while it does.
    #[must_use]
    pub fn leads(&self) -> Option<Term> {
        self.leader.leads()
    }

    /// Who holds what, and why somebody is offered nothing. Only of use while this master leads.
    #[must_use]
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// How many operators listen.
    #[must_use]
    pub fn operators(&self) -> usize {
        self.leader.operators()
    }

    /// What was counted since the program started, and the sizes of the leader's tables, for metrics.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.leader.counters()
    }
}
