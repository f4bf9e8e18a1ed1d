//! What an operator may choose about a master's behaviour.

use std::sync::Arc;

use model::time::Span;

use crate::authority::Authority;

/// Times are measured from what the leader hears, never from clocks of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often each agent is pinged.
    pub ping_interval: Span,
    /// Silence after which an agent takes its link for dead and dials again. Below `agent_timeout`, so that a link
    /// that died unnoticed is replaced before its agent is given up.
    pub link_timeout: Span,
    /// Silence after which an agent is unreachable and its tasks are reported so.
    pub agent_timeout: Span,
    /// What known agents have to return after an election before the missing ones are called unreachable.
    pub recovery_window: Span,
    /// The least time a framework has to come back after an election, whatever its own failover timeout: it lost
    /// its stream by our fault.
    pub framework_window: Span,
    /// So many agents may be declared unreachable at once ...
    pub unreachable_burst: u32,
    /// ... and then one in each such span.
    pub unreachable_every: Span,
    /// Once the recovery window has closed: with more than this part of the agents missing, of those and the ones that are
    /// here, none is declared unreachable, for a fault of the network is likelier than so many deaths.
    pub recovery_halt_percent: u32,
    /// So few missing agents never halt the recovery, whatever part of the cluster they are.
    pub recovery_spare: usize,
    /// An agent that was marked unreachable or gone so long ago is forgotten, with its id ...
    pub forget_after: Span,
    /// ... and sooner when more than so many are away.
    pub away_agents: usize,
    /// An offer not answered for so long is rescinded.
    pub offer_timeout: Option<Span>,
    /// Agents visited by one run of the allocator; the rest waits for the next turn of the loop.
    pub allocation_budget: usize,
    /// What principals of frameworks may do.
    pub authority: Arc<Authority>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Span::from_secs(1),
            link_timeout: Span::from_secs(3),
            agent_timeout: Span::from_secs(5),
            recovery_window: Span::from_secs(10),
            framework_window: Span::from_secs(60),
            unreachable_burst: 10,
            unreachable_every: Span::from_millis(100),
            recovery_halt_percent: 50,
            recovery_spare: 2,
            forget_after: Span::from_days(14),
            away_agents: 102_400,
            offer_timeout: None,
            allocation_budget: 2_000,
            authority: Arc::default(),
        }
    }
}
