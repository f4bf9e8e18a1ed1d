//! Quotas: the operator's change of them, and what becomes of offers under the new ones.

use std::collections::BTreeMap;

use model::id::OfferId;
use model::resources::Quantities;
use model::role::Role;

use super::proposals::Proposal;
use super::{Leader, Turn};
use crate::alloc::{PolicyChange, Quota as Share};
use crate::input::RequestId;
use crate::refusal::Refusal;
use crate::registry::{Command, Quota, QuotaCommand, Registry};

/// With quotas nothing is offered after an election until so many percent of the known agents are back: what the
/// missing ones run counts in what their roles have, and would be given to others.
const AGENTS_BACK_PERCENT: usize = 80;

impl Leader {
    /// Whether offers wait for more agents to return.
    pub(crate) fn holds_offers(&self, view: &Registry) -> bool {
        let (missing, known) = self.missing_agents();
        missing > 0 && view.quotas().next().is_some() && (known - missing) * 100 < known * AGENTS_BACK_PERCENT
    }
}

impl Turn<'_> {
    /// All are set or none. `force` sets what cannot be kept as things stand: it will be when others give back.
    pub(super) fn update_quota(&mut self, request: RequestId, force: bool, set: Vec<Quota>) {
        let judged = if force {
            Ok(())
        } else {
            self.check_consumption(&set).and_then(|()| self.check_capacity(&set))
        };
        match judged {
            Ok(()) => self.propose(Command::Quota(QuotaCommand { set }), Proposal::Quotas { request }),
            Err(fault) => self.answer(request, Err(Refusal::QuotaInvalid(fault))),
        }
    }

    fn check_consumption(&self, set: &[Quota]) -> Result<(), String> {
        if set.iter().all(|quota| quota.limits.is_empty()) {
            return Ok(());
        }
        let consumed = self.allocator.consumption();
        for quota in set {
            let Some(used) = quota.role.parse::<Role>().ok().and_then(|role| consumed.get(&role)) else {
                continue;
            };
            if let Some((name, limit)) = quota.limits.iter().find(|(name, limit)| used.of(name) > *limit) {
                let (role, used) = (&quota.role, used.of(name));
                return Err(format!(
                    "role '{role}' uses '{name}:{used}' already, which exceeds the limit '{name}:{limit}' (use 'force' flag to bypass this check)"
                ));
            }
        }
        Ok(())
    }

    fn check_capacity(&self, set: &[Quota]) -> Result<(), String> {
        let set_anew = |role: &str| set.iter().any(|quota| &*quota.role == role);
        let kept = self.view.quotas().map(|quota| &**quota).filter(|quota| !set_anew(&quota.role));
        let mut guarantees = Quantities::new();
        kept.chain(set).for_each(|quota| guarantees += &quota.guarantees);
        let mut capacity = Quantities::new();
        for agent in self.leader.tables.agents.values() {
            capacity += &Quantities::of_bag(&agent.total, |_| true);
        }
        match capacity.exceeded_by(&guarantees) {
            None => Ok(()),
            Some(_) if set.iter().all(|quota| quota.guarantees.is_empty()) => Ok(()),
            Some(_) => Err(format!(
                "total quota guarantees '{guarantees}' exceed cluster capacity '{capacity}' (use 'force' flag to bypass this check)"
            )),
        }
    }

    /// Tells the allocator all quotas there are.
    pub(super) fn apply_quotas(&mut self) {
        let read = |quota: &Quota| {
            // The leader let no other names in; a role another version let in has no quota here.
            let role = quota.role.parse().ok()?;
            Some((role, Share { guarantees: quota.guarantees.clone(), limits: quota.limits.clone() }))
        };
        let quotas: BTreeMap<Role, Share> = self.view.quotas().filter_map(|quota| read(quota)).collect();
        self.allocator.policy(PolicyChange::Quotas(quotas));
    }

    /// Offers that take a role over its limit are withdrawn; and where more is promised than is free, all offers to
    /// those who are owed nothing, so that the promise does not wait for their answers.
    pub(super) fn quotas_updated(&mut self) {
        self.apply_quotas();
        let scarce = self.allocator.owes_too_much();
        let unfit =
            |role: &Role| self.allocator.is_over_limit(role) || (scarce && !self.allocator.is_owed(role));
        let offers = self.leader.tables.offers.values().filter(|offer| unfit(&offer.role));
        let offers: Vec<OfferId> = offers.map(|offer| offer.id.clone()).collect();
        for id in offers {
            self.rescind(&id);
        }
    }
}
