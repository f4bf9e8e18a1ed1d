//! The latest times of something that happens often, for those who read percentiles of the moment.

use std::collections::VecDeque;
use std::time::Duration;

/// As many as the percentiles are taken from.
const KEPT: usize = 1_000;

/// How long something took: how often in all, and the last of them in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    count: u64,
    millis: VecDeque<f64>,
}

impl Recent {
    pub(crate) fn push(&mut self, took: Duration) {
        self.count += 1;
        if self.millis.len() == KEPT {
            self.millis.pop_front();
        }
        self.millis.push_back(took.as_secs_f64() * 1e3);
    }

    /// The last one under no name, and what is to be known of all that are kept; nothing before the first.
    pub(crate) fn values(&self) -> Vec<(&'static str, f64)> {
        let Some(last) = self.millis.back() else { return Vec::new() };
        let mut sorted: Vec<f64> = self.millis.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // Between the two nearest where it falls between them.
        let percentile = |part: f64| {
            let place = part * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        vec![
            ("", *last),
            ("/count", self.count as f64),
            ("/max", percentile(1.0)),
            ("/min", percentile(0.0)),
            ("/p50", percentile(0.5)),
            ("/p90", percentile(0.9)),
            ("/p95", percentile(0.95)),
            ("/p99", percentile(0.99)),
            ("/p999", percentile(0.999)),
            ("/p9999", percentile(0.9999)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_are_kept() {
        let mut recent = Recent::default();
        assert_eq!(recent.values(), []);
        for millis in 1..=1_200 {
            recent.push(Duration::from_millis(millis));
        }
        let values = recent.values();
        assert_eq!(values[..4], [("", 1200.0), ("/count", 1200.0), ("/max", 1200.0), ("/min", 201.0)]);
        assert!((values[4].1 - 700.5).abs() < 1e-6, "{values:?}");
    }
}
