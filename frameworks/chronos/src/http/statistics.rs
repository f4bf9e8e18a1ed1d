//! How long runs of a job took, from the history that is kept.

use model::time::Span;
use serde_json::{Value, json};

use crate::core::book::Book;
use crate::core::run::State;

/// From due to done, in order.
#[derive(Default)]
pub(super) struct Durations(Vec<Span>);

impl Durations {
    pub(super) fn of(book: &Book, job: &str) -> Self {
        let ended = book.runs_of(job).filter(|run| matches!(run.state, State::Succeeded | State::Failed));
        let mut took: Vec<Span> = ended.filter_map(|run| run.took()).collect();
        took.sort_unstable();
        Self(took)
    }

    /// The smallest value that so many thousandths do not exceed.
    fn quantile(&self, thousandths: usize) -> u64 {
        let at = (self.0.len() * thousandths).div_ceil(1000).saturating_sub(1);
        self.0.get(at).map_or(0, |span| span.as_millis())
    }

    fn mean(&self) -> u64 {
        let sum: u64 = self.0.iter().map(|span| span.as_millis()).sum();
        sum.checked_div(self.0.len() as u64).unwrap_or(0)
    }

    /// In milliseconds, under Chronos's name of the figure; `None` for a name it does not have.
    pub(super) fn named(&self, name: &str) -> Option<u64> {
        Some(match name {
            "99thPercentile" => self.quantile(990),
            "98thPercentile" => self.quantile(980),
            "95thPercentile" => self.quantile(950),
            "75thPercentile" => self.quantile(750),
            "median" => self.quantile(500),
            "mean" => self.mean(),
            "count" => self.0.len() as u64,
            _ => return None,
        })
    }

    pub(super) fn json(&self) -> Value {
        let names = [
            "75thPercentile",
            "95thPercentile",
            "98thPercentile",
            "99thPercentile",
            "median",
            "mean",
            "count",
        ];
        let figures = names.map(|name| (name.to_owned(), json!(self.named(name).unwrap_or(0))));
        Value::Object(figures.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let durations = Durations((1..=100).map(Span::from_millis).collect());
        let figures: Vec<u64> = ["median", "99thPercentile", "75thPercentile", "mean", "count"]
            .map(|name| durations.named(name).unwrap_or(0))
            .into();
        assert_eq!(figures, [50, 99, 75, 50, 100]);
        assert_eq!(Durations::default().named("median"), Some(0));
        assert_eq!(durations.named("12thPercentile"), None);
    }
}
