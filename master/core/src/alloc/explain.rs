//! What a framework was offered and declined, and why it is not offered more: counted as it happens where that costs
//! an addition, and found when asked for the rest.

use std::collections::BTreeMap;

use model::id::{AgentId, FrameworkId};
use model::resources::{Bag, Name};
use model::role::Role;
use model::time::Time;

use super::grant::Quota;
use super::why::{Why, WhyAgent};
use super::{Allocator, Client};

/// What became of a framework's offers in one role, since it subscribed to this leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Offers made.
    pub offered: u64,
    pub last_offered: Option<Time>,
    /// Times it used something of what was offered.
    pub used: u64,
    /// Times it gave back an offer, or what it left of one, and asked not to be offered it again.
    pub refused: u64,
    pub last_refusal: Option<Refused>,
    /// Offers it did not answer in time.
    pub lapsed: u64,
    /// Times something came back without its doing, or without a refusal: rescinded, or void.
    pub withdrawn: u64,
}

/// What was given back, and until when the like is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub agent: AgentId,
    pub resources: Bag,
    pub until: Time,
}

/// With whom a framework competes in one of its roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has used something, and its own share decides.
    User,
    /// It has used nothing yet: with its siblings of that kind it counts as one.
    Newcomer,
    /// It let an offer lapse, and comes after all who did not, until then or until it answers.
    Behind { until: Time },
}

impl Standing {
    /// A word for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Newcomer => "newcomer",
            Self::Behind { .. } => "behind",
        }
    }
}

/// Where a framework stands in one of its roles.
#[derive(Clone, Debug)]
pub struct Account {
    pub role: Role,
    pub tally: Tally,
    /// In thousandths.
    pub weight: u64,
    /// The framework's largest part of any kind in the whole cluster, offers included, in millionths, and of which
    /// kind it is.
    pub share: u64,
    pub dominant: Option<Name>,
    pub standing: Standing,
    /// How many contenders are asked before it; `None` when it does not wait for offers.
    pub ahead: Option<usize>,
    /// Of the top-level role, which counts for all roles below it.
    pub quota: Option<Quota>,
    /// What it holds, and how the agents look to it. `None` where looking at all of them for so many roles would hold
    /// up everybody else.
    pub view: Option<View>,
    /// How the one agent looks that was asked about.
    pub agent: Option<WhyAgent>,
}

#[derive(Clone, Debug, Default)]
pub struct View {
    pub used: Bag,
    pub offered: Bag,
    pub why: Why,
}

impl Allocator {
    /// All contenders of a framework, or the one in the role that is named. At most `looks` agents are looked at, but
    /// always all of them for the first role. Empty when there is no such framework or role.
    pub fn accounts(
        &self,
        framework: &FrameworkId,
        role: Option<&Role>,
        agent: Option<&AgentId>,
        looks: usize,
    ) -> Vec<Account> {
        let known = self.frameworks.get(framework).into_iter().flatten();
        let wanted = known.filter(|(own, _)| role.is_none_or(|role| role == *own));
        let places = self.order.places();
        let mut left = looks;
        let mut accounts = Vec::new();
        for (role, client) in wanted {
            let agents = self.agents.count();
            let look = accounts.is_empty() || agents <= left;
            left = left.saturating_sub(agents);
            let contender = self.contender(*client);
            let (share, dominant) = self.order.share_of(*client);
            accounts.push(Account {
                role: role.clone(),
                tally: contender.tally.clone(),
                weight: self.order.weight_of(role),
                share,
                dominant,
                standing: self.standing(*client),
                ahead: places.get(client).copied(),
                quota: self.quotas.get(&contender.top).cloned(),
                view: look.then(|| self.view(*client)),
                agent: agent.and_then(|agent| Some(self.look(self.agents.index(agent)?, *client))),
            });
        }
        accounts
    }

    fn standing(&self, client: Client) -> Standing {
        match self.contender(client).behind {
            Some(until) => Standing::Behind { until },
            None if self.order.is_user(client) => Standing::User,
            None => Standing::Newcomer,
        }
    }

    /// All frameworks that compete for anything or hold something, and what became of their offers, role by role.
    pub fn tallies(&self) -> impl Iterator<Item = (&FrameworkId, &Role, &Tally)> {
        self.frameworks.iter().flat_map(move |(framework, roles)| {
            roles.iter().map(move |(role, client)| (framework, role, &self.contender(*client).tally))
        })
    }

    /// How many refusals keep agents from frameworks, by role.
    pub fn refusals(&self) -> BTreeMap<Role, usize> {
        let mut all = BTreeMap::new();
        for (role, client) in self.frameworks.values().flatten() {
            *all.entry(role.clone()).or_default() += self.filters.count(*client);
        }
        all
    }

    fn view(&self, client: Client) -> View {
        let contender = self.contender(client);
        let why =
            Why { subscribed: contender.subscribed, suppressed: contender.suppressed, ..Why::default() };
        let mut view = View { why, ..View::default() };
        for (index, agent) in self.agents.iter() {
            if let Some(holding) = agent.holdings.get(client) {
                view.used += &holding.used;
                view.offered += &holding.offered;
            }
            view.why.count(self.look(index, client));
        }
        view
    }
}

impl Why {
    /// For people: one sentence, the most frequent reason first.
    #[must_use]
    pub fn sentence(&self) -> String {
        if !self.subscribed {
            return "it is not subscribed in this role, and nothing is offered".to_owned();
        }
        if self.suppressed {
            return "it has suppressed this role, and nothing is offered until it revives it".to_owned();
        }
        let mut reasons = [
            (self.offered, "are offered to it now"),
            (self.free, "will be offered, to it or to whoever comes first"),
            (self.refused, "it has refused and is not offered again for a while"),
            (
                self.too_little,
                "have too little left, of what is not used, offered to others or reserved to others",
            ),
            (self.quota_limit, "are withheld because its role has reached the limit of its quota"),
            (self.kept_for_guarantees, "are kept for roles that have less than their quota guarantees"),
            (self.incapable, "need a capability it has not announced: GPU_RESOURCES or REGION_AWARE"),
            (self.constrained, "are left out by its own offer constraints"),
            (self.inactive, "are disconnected, draining or deactivated"),
        ];
        reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let said: Vec<String> = reasons
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, reason)| format!("{count} {reason}"))
            .collect();
        if said.is_empty() {
            return "there is no agent".to_owned();
        }
        format!("of all agents {}", said.join("; "))
    }
}

impl WhyAgent {
    /// A word for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Offered => "offered",
            Self::Inactive => "inactive",
            Self::NeedsGpuCapability => "needs_gpu_capability",
            Self::NeedsRegionCapability => "needs_region_capability",
            Self::Constrained => "constrained",
            Self::TooLittle => "too_little",
            Self::QuotaLimit => "quota_limit",
            Self::KeptForGuarantees => "kept_for_guarantees",
            Self::Refused { .. } => "refused",
        }
    }
}
