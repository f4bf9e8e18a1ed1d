//! Why something asked for is not done.

use super::schedule::BadSchedule;

/// Nothing was changed. Chronos has one status for all of these, 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field breaks a rule.
    #[error("{field} {rule}")]
    Field {
        /// Its name in the document.
        field: String,
        /// What it must be, in words.
        rule: String,
    },
    #[error("job '{0}' does not exist")]
    UnknownJob(String),
    #[error("run '{0}' does not exist")]
    UnknownRun(String),
    #[error("queue '{0}' does not exist")]
    UnknownQueue(String),
    /// A table is full.
    #[error("{0}")]
    Full(String),
}

impl Refusal {
    /// The same of a field that is inside another.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        match self {
            Self::Field { field, rule } => Self::Field { field: format!("{outer}.{field}"), rule },
            other => other,
        }
    }

    pub fn field(field: &str, rule: impl Into<String>) -> Self {
        Self::Field { field: field.to_owned(), rule: rule.into() }
    }
}

impl From<BadSchedule> for Refusal {
    fn from(error: BadSchedule) -> Self {
        Self::field(error.field, error.rule)
    }
}
