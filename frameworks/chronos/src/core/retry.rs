//! When a failed attempt is repeated, and which failures count.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use model::time::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refusal::Refusal;
use crate::limits;

/// What a job says of its repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    pub kind: RetryKind,
    /// Seconds before the first repetition.
    pub delay: u64,
    /// The longest delay in seconds.
    pub max: u64,
    /// Up to so many seconds more, other ones for each run: jobs that failed together do not come back together.
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter: u64,
    /// Exit codes that are repeated; none named: all. Ends without an exit code always are.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub retry_on: BTreeSet<Cause>,
    /// Ends that are final.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub never_on: BTreeSet<Cause>,
    /// Ends that are repeated and take nothing from `retries`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub uncounted_on: BTreeSet<Cause>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            kind: RetryKind::Fixed,
            delay: 60,
            max: 3600,
            jitter: 0,
            retry_on: BTreeSet::new(),
            never_on: BTreeSet::new(),
            uncounted_on: BTreeSet::new(),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryKind {
    #[default]
    Fixed,
    /// Twice as long each time.
    Exponential,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Cause {
    Exit(i32),
    /// Its agent is gone.
    Lost,
    /// It took longer than one attempt may.
    TimeLimit,
    /// Anything else: a signal, a container that does not start.
    Error,
}

impl TryFrom<Value> for Cause {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let code = value.as_i64().and_then(|code| i32::try_from(code).ok());
        match (code, value.as_str()) {
            (Some(code), _) => Ok(Self::Exit(code)),
            (_, Some("lost")) => Ok(Self::Lost),
            (_, Some("timeLimit")) => Ok(Self::TimeLimit),
            (_, Some("error")) => Ok(Self::Error),
            _ => Err(format!("{value} must be an exit code, \"lost\", \"timeLimit\" or \"error\"")),
        }
    }
}

impl From<Cause> for Value {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Exit(code) => code.into(),
            named => named.to_string().into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => code.fmt(f),
            Self::Lost => f.write_str("lost"),
            Self::TimeLimit => f.write_str("timeLimit"),
            Self::Error => f.write_str("error"),
        }
    }
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The run has failed.
    Final,
    /// It is repeated, if any repetition is left.
    Counted,
    /// It is repeated.
    Uncounted,
}

impl RetryPolicy {
    /// # Errors
    /// Two rules contradict each other, or a number is out of bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        for (field, rule) in
            [("retryPolicy.retryOn", &self.retry_on), ("retryPolicy.uncountedOn", &self.uncounted_on)]
        {
            if let Some(both) = rule.intersection(&self.never_on).next() {
                return Err(Refusal::field(field, format!("names {both}, which neverOn calls final")));
            }
        }
        if self.jitter > limits::JITTER.as_millis() / 1000 {
            let most = limits::JITTER.as_millis() / 1000;
            return Err(Refusal::field("retryPolicy.jitter", format!("must be at most {most} seconds")));
        }
        Ok(())
    }

    /// The pause after the `failures`th failure of a run. Chance would not be the same after a failover: what is added is
    /// drawn from the name of the run.
    pub fn pause(&self, run: &str, failures: u32) -> Span {
        let factor = match self.kind {
            RetryKind::Fixed => 1,
            RetryKind::Exponential => 1u64 << failures.saturating_sub(1).min(32),
        };
        let seconds = self.delay.saturating_mul(factor).min(self.max.max(self.delay));
        let mut hasher = DefaultHasher::new();
        (run, failures).hash(&mut hasher);
        let more = hasher.finish() % (self.jitter * 1000 + 1);
        Span::from_secs(seconds) + Span::from_millis(more)
    }

    pub fn verdict(&self, cause: Cause) -> Verdict {
        let named = |rule: &BTreeSet<Cause>| rule.contains(&cause);
        if named(&self.never_on) {
            Verdict::Final
        } else if named(&self.uncounted_on) {
            Verdict::Uncounted
        } else if self.retry_on.is_empty() || named(&self.retry_on) || !matches!(cause, Cause::Exit(_)) {
            Verdict::Counted
        } else {
            Verdict::Final
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> Result<RetryPolicy, String> {
        serde_json::from_value(document).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_and_given_back_as_they_were() {
        let text = json!({
            "kind": "exponential", "delay": 1, "max": 60, "jitter": 5,
            "retryOn": [1, 2], "neverOn": [64, "timeLimit"], "uncountedOn": ["lost", 75],
        });
        let policy = read(text).expect("a policy");
        assert_eq!(read(serde_json::to_value(&policy).expect("json")).expect("again"), policy);
        for (cause, verdict) in [
            (Cause::Exit(1), Verdict::Counted),
            (Cause::Exit(3), Verdict::Final),
            (Cause::Exit(64), Verdict::Final),
            (Cause::Exit(75), Verdict::Uncounted),
            (Cause::Lost, Verdict::Uncounted),
            (Cause::TimeLimit, Verdict::Final),
            (Cause::Error, Verdict::Counted),
        ] {
            assert_eq!(policy.verdict(cause), verdict, "{cause}");
        }
    }

    #[test]
    fn contradictions_and_unknown_words_are_refused() {
        let both = read(json!({"retryOn": [4], "neverOn": [4]})).expect("well formed");
        let refusal = both.check().expect_err("a contradiction").to_string();
        assert_eq!(refusal, "retryPolicy.retryOn names 4, which neverOn calls final");
        let word = read(json!({"neverOn": ["oops"]})).expect_err("no cause");
        assert_eq!(word, "\"oops\" must be an exit code, \"lost\", \"timeLimit\" or \"error\"");
        assert!(read(json!({"jitter": 100_000})).expect("well formed").check().is_err());
    }

    proptest! {
        /// Never shorter than asked for, never longer than the longest with its jitter, and the same wherever it is asked.
        #[test]
        fn pauses_stay_within_their_bounds(
            delay in 0u64..5000, max in 0u64..5000, jitter in 0u64..100, failures in 1u32..50, exponential: bool,
        ) {
            let kind = if exponential { RetryKind::Exponential } else { RetryKind::Fixed };
            let policy = RetryPolicy { kind, delay, max, jitter, ..RetryPolicy::default() };
            let pause = policy.pause("a@1", failures);
            prop_assert_eq!(pause, policy.pause("a@1", failures));
            prop_assert!(pause >= Span::from_secs(delay));
            prop_assert!(pause <= Span::from_secs(max.max(delay) + jitter));
        }
    }
}
