//! Offers are not wanted: `DECLINE`, `SUPPRESS`, and wanted again: `REVIVE`.

use std::collections::BTreeSet;

use model::id::{FrameworkId, OfferId};
use model::role::Role;
use model::time::Span;

use super::Turn;

impl Turn<'_> {
    /// Unknown, repeated and other frameworks' ids are ignored.
    pub(super) fn decline(&mut self, framework: &FrameworkId, offers: &[OfferId], refuse: Span) {
        for id in offers {
            let own = self.leader.tables.offers.get(id).is_some_and(|offer| offer.framework == *framework);
            if own {
                self.leader.counters.count("offers_declined");
                self.tally(framework, "offers/declined", 1);
                self.release_offer(id, Some(refuse));
                self.answers_offers(framework);
            }
        }
    }

    /// The roles a call names, or all; `None` when one is not the framework's, which drops the call.
    fn roles_meant(&self, framework: &FrameworkId, names: &[String]) -> Option<BTreeSet<Role>> {
        let profile = &self.framework(framework)?.profile;
        if names.is_empty() { Some(profile.roles.clone()) } else { profile.own_roles(names).ok() }
    }

    pub(super) fn revive(&mut self, framework: &FrameworkId, names: &[String]) {
        let Some(roles) = self.roles_meant(framework, names) else {
            return self.leader.counters.count("dropped_messages");
        };
        if let Some(record) = self.framework_mut(framework) {
            record.suppressed.retain(|role| !roles.contains(role));
        }
        self.want_offers(framework, roles);
    }

    /// Outstanding offers stay.
    pub(super) fn suppress(&mut self, framework: &FrameworkId, names: &[String]) {
        let Some(roles) = self.roles_meant(framework, names) else {
            return self.leader.counters.count("dropped_messages");
        };
        if let Some(record) = self.framework_mut(framework) {
            record.suppressed.extend(roles.iter().cloned());
        }
        self.want_no_offers(framework, roles);
    }
}
