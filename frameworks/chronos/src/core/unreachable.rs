//! How long a job waits for an agent that cannot be reached.

use model::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits;

/// What becomes of an attempt whose agent cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Unreachable {
    /// After so long it is lost, and the retry policy decides.
    LostAfter(Span),
    /// Nothing, until the agent returns or an operator says that it is gone.
    Wait,
}

impl Default for Unreachable {
    fn default() -> Self {
        Self::LostAfter(limits::LOST_AFTER)
    }
}

impl Unreachable {
    /// `None`: for ever.
    pub fn patience(self) -> Option<Span> {
        match self {
            Self::LostAfter(span) => Some(span),
            Self::Wait => None,
        }
    }
}

impl TryFrom<Value> for Unreachable {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        if value.as_str() == Some("wait") {
            return Ok(Self::Wait);
        }
        let most = limits::LOST_AFTER_LONGEST.as_millis() / 1000;
        let seconds = value.as_object().filter(|fields| fields.len() == 1);
        let seconds = seconds.and_then(|fields| fields.get("lostAfterSeconds")?.as_u64());
        match seconds.filter(|seconds| *seconds <= most) {
            Some(seconds) => Ok(Self::LostAfter(Span::from_secs(seconds))),
            None => Err(format!("must be {{\"lostAfterSeconds\": 0 to {most}}} or \"wait\"")),
        }
    }
}

impl From<Unreachable> for Value {
    fn from(unreachable: Unreachable) -> Self {
        match unreachable.patience() {
            Some(span) => json!({"lostAfterSeconds": span.as_millis() / 1000}),
            None => "wait".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_time_or_a_word() {
        let rule = "must be {\"lostAfterSeconds\": 0 to 2592000} or \"wait\"";
        for (given, read) in [
            (json!("wait"), Ok(Unreachable::Wait)),
            (json!({"lostAfterSeconds": 0}), Ok(Unreachable::LostAfter(Span::ZERO))),
            (json!({"lostAfterSeconds": 90}), Ok(Unreachable::LostAfter(Span::from_secs(90)))),
            (json!({"lostAfterSeconds": -1}), Err(rule)),
            (json!({"lostAfterSeconds": 1.5}), Err(rule)),
            (json!({"lostAfterSeconds": 2_592_001}), Err(rule)),
            (json!({"lostAfter": 90}), Err(rule)),
            (json!({}), Err(rule)),
            (json!("never"), Err(rule)),
        ] {
            let told = Unreachable::try_from(given.clone());
            assert_eq!(told.as_ref().map_err(String::as_str), read.as_ref().map_err(|rule| *rule), "{given}");
            if let Ok(told) = told {
                assert_eq!(Value::from(told), given);
            }
        }
    }
}
