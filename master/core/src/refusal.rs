//! Why a call was refused, and the HTTP status and sentence that say so.

use model::id::{AgentId, FrameworkId};

use crate::input::StreamId;

/// A call that had no effect. `Display` is the body of the answer, word for word what clients of Mesos know where
/// Mesos has the case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This master does not lead, or ceased to before the outcome was known. The driver answers with a redirect
    /// when it knows the leader.
    #[error("This master does not lead")]
    NotLeading,
    /// The outcome is unknown: the call may have taken effect. Repeating it is safe.
    #[error("Leadership was lost before the outcome was known: repeat the call")]
    Unknown,
    #[error("Too many changes are under way: repeat the call later")]
    Busy,
    #[error("{limit} {what} are open already, which is the limit")]
    TooMany { what: &'static str, limit: usize },
    /// A framework that nothing is wrong with, at a moment when the registry holds no more.
    #[error(
        "There may be at most {limit} frameworks, and none of them can make room now: subscribe again later"
    )]
    NoRoom { limit: u64 },
    /// A call that says too little or too much; the text names the member and the rule.
    #[error("Failed to validate {call}: {fault}")]
    Invalid { call: &'static str, fault: String },
    #[error("Subscribe calls should not include the 'Mesos-Stream-Id' header")]
    StreamIdOnSubscribe,
    #[error("All non-subscribe calls should include the 'Mesos-Stream-Id' header")]
    StreamIdMissing,
    #[error(
        "The stream ID '{stream}' included in this request didn't match the stream ID currently associated with framework ID {framework}"
    )]
    StreamIdDiffers { stream: StreamId, framework: FrameworkId },
    #[error("Framework cannot be found")]
    FrameworkUnknown,
    #[error("Framework is not subscribed")]
    NotSubscribed,
    #[error("Authenticated principal '{given}' does not match principal '{owner}' set in `FrameworkInfo`")]
    PrincipalDiffers { given: String, owner: String },
    #[error("FrameworkInfo update is not valid: {0}")]
    UpdateInvalid(String),
    /// The framework's principal may not be in these roles.
    #[error("{0}")]
    Unauthorized(String),
    #[error("The framework was removed meanwhile")]
    FrameworkVanished,
    #[error("{0} is not supported by this master")]
    Unsupported(String),
    /// Operator `TEARDOWN` of a framework nobody knows.
    #[error("No framework found with specified ID")]
    NoSuchFramework,
    #[error("Agent '{0}' not found")]
    NoSuchAgent(AgentId),
    #[error("Unknown agent")]
    UnknownAgent,
    #[error("Agent is currently being marked gone")]
    GoesAway,
    #[error("Agent is currently undergoing another transition: repeat the call later")]
    InTransition,
    #[error("Failed to validate update weights request JSON for role '{role}': {fault}")]
    WeightInvalid { role: String, fault: String },
    #[error("Invalid QuotaConfig: {0}")]
    QuotaInvalid(String),
    /// An operator's change of resources of which not enough are free, even if all offers of the agent were withdrawn; or
    /// that the agent itself refuses.
    #[error("{0}")]
    NotFree(String),
    #[error("Agent '{0}' is not connected: nothing of it can be changed until it is back")]
    NotConnected(AgentId),
    /// The agent was lost, or this leadership, with an operator's change of resources on its way.
    #[error("It is not known whether the agent has done it: look at its resources before repeating the call")]
    Unsaid,
    /// What the registry itself refused; the text is its own.
    #[error("{0}")]
    Registry(#[from] crate::registry::Refusal),
}

impl Refusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotLeading
            | Self::Unknown
            | Self::Busy
            | Self::InTransition
            | Self::TooMany { .. }
            | Self::NoRoom { .. } => 503,
            Self::NotSubscribed | Self::Unauthorized(_) => 403,
            Self::NoSuchAgent(_) => 404,
            Self::FrameworkVanished | Self::GoesAway | Self::NotFree(_) | Self::NotConnected(_) => 409,
            Self::Unsupported(_) => 501,
            // Not 503, which says to repeat the call: it may have been done.
            Self::Unsaid => 504,
            Self::Invalid { .. }
            | Self::StreamIdOnSubscribe
            | Self::StreamIdMissing
            | Self::StreamIdDiffers { .. }
            | Self::FrameworkUnknown
            | Self::PrincipalDiffers { .. }
            | Self::UpdateInvalid(_)
            | Self::NoSuchFramework
            | Self::UnknownAgent
            | Self::WeightInvalid { .. }
            | Self::QuotaInvalid(_)
            | Self::Registry(_) => 400,
        }
    }
}
