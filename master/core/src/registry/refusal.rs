//! Why the registry did not do what a command asked.

use std::fmt::Display;

use model::id::{AgentId, FrameworkId};
use prost::Message;

use super::Text;
use super::limits::INFO_BYTES;

/// A refusal changes nothing and is the same on every master.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field of the command breaks a rule.
    #[error("{field} {rule}")]
    Invalid {
        /// Its path in the command, as `then[2].put.key`.
        field: String,
        /// The rule, continuing the field's name to a sentence.
        rule: String,
    },
    /// A table is full.
    #[error("there may be at most {limit} {what}")]
    Full { what: &'static str, limit: u64 },
    #[error("framework {0} has been removed and its id is not used again")]
    FrameworkRemoved(FrameworkId),
    #[error("framework {id} belongs to principal '{owner}'")]
    NotOwner { id: FrameworkId, owner: Text },
    #[error("agent {0} is not known")]
    NoSuchAgent(AgentId),
    #[error("agent {0} was marked gone, which is for ever")]
    AgentGone(AgentId),
    #[error("this cluster is '{0}'")]
    OtherCluster(Text),
    #[error("node {node} is a member under the address {address}")]
    NodeTaken { node: u64, address: Text },
    #[error(
        "{field}: there is no lease '{lease}' in namespace '{namespace}': it was never granted, ended or was revoked"
    )]
    NoSuchLease { field: String, namespace: Text, lease: Text },
    #[error("lease '{0}' is alive with another time to live")]
    LeaseTaken(Text),
    #[error("request '{0}' was used before for a different transaction")]
    RequestReused(Text),
    #[error("namespace '{namespace}' may hold at most {limit} bytes of keys and values")]
    Quota { namespace: Text, limit: u64 },
    #[error("{field}: the answer would be larger than {limit} bytes")]
    AnswerTooLarge { field: String, limit: u64 },
}

impl Refusal {
    pub(crate) fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), rule: rule.into() }
    }

    /// The path of the field at fault, where one is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. }
            | Self::NoSuchLease { field, .. }
            | Self::AnswerTooLarge { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// Refuses an empty text and one longer than `limit` bytes. The name of the field is only written out for a refusal.
pub(crate) fn check_text(field: impl Display, text: &str, limit: u64) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid(field.to_string(), "must not be empty"));
    }
    if text.len() as u64 > limit {
        return Err(Refusal::invalid(
            field.to_string(),
            format!("has {} bytes, at most {limit} are allowed", text.len()),
        ));
    }
    Ok(())
}

/// Refuses a message that is too long once encoded.
pub(crate) fn check_info(info: &impl Message) -> Result<(), Refusal> {
    let bytes = info.encoded_len() as u64;
    if bytes > INFO_BYTES {
        return Err(Refusal::invalid("info", format!("has {bytes} bytes, at most {INFO_BYTES} are allowed")));
    }
    Ok(())
}

/// Refuses one more when there already are `limit`.
pub(crate) fn check_room(what: &'static str, present: u64, limit: u64) -> Result<(), Refusal> {
    if present >= limit { Err(Refusal::Full { what, limit }) } else { Ok(()) }
}
