//! How much a process logs, which operators may ask and change for a while (spec mesos-v1, 7.3).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// As at the start.
const USUAL: u32 = 0;

/// The process's own log, as whoever started it has it.
#[derive(Clone)]
pub struct Logs {
    /// The file it is written to, if it is kept in one.
    pub file: Option<PathBuf>,
    /// Makes it say more: 0 what was asked for at the start, 1 `debug`, 2 and above `trace`.
    pub set_level: Arc<dyn Fn(u32) + Send + Sync>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Logs").field("file", &self.file).finish_non_exhaustive()
    }
}

/// The process's log, as operators know it.
pub struct Logging {
    logs: Option<Logs>,
    /// The level, and how often it was changed: an end that comes after another change does nothing.
    now: Mutex<(u32, u64)>,
}

impl Logging {
    /// Without `logs` there is nothing to be read or changed.
    pub fn new(logs: Option<Logs>) -> Self {
        Self { logs, now: Mutex::new((USUAL, 0)) }
    }

    /// Where the log is kept, if it is kept in a file.
    pub fn file(&self) -> Option<&Path> {
        self.logs.as_ref()?.file.as_deref()
    }

    /// 0 as at the start.
    pub fn level(&self) -> u32 {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Another level for so long. False when this process was started by a program that keeps its log to itself.
    pub fn set(self: &Arc<Self>, level: u32, duration: Duration) -> bool {
        let Some(change) = self.change(level) else { return false };
        if level != USUAL {
            let logging = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                let latest = logging.now.lock().unwrap_or_else(PoisonError::into_inner).1;
                if latest == change {
                    logging.change(USUAL);
                }
            });
        }
        true
    }

    /// The number of this change.
    fn change(&self, level: u32) -> Option<u64> {
        let logs = self.logs.as_ref()?;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (level, now.1 + 1);
        (logs.set_level)(level);
        tracing::info!(level, "logging level");
        Some(now.1)
    }
}

/// What `/logging/toggle` is asked: the level, or with a number and a time (`10secs`, `15mins`) another one for so long.
///
/// # Errors
/// One of the two is missing, or the time is none: a sentence that names it.
pub fn toggle(level: Option<u32>, duration: Option<&str>) -> Result<Option<(u32, Duration)>, String> {
    match (level, duration) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("Expecting 'level=value' in query.".to_owned()),
        (Some(_), None) => Err("Expecting 'duration=value' in query.".to_owned()),
        (Some(level), Some(text)) => {
            let sentence = || format!("Invalid duration '{text}': expecting one like 10secs");
            Ok(Some((level, parse_duration(text).ok_or_else(sentence)?)))
        }
    }
}

/// A number and its unit, as durations are written in flags and queries of the first implementation.
fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("secs", 1.0),
        ("mins", 60.0),
        ("hrs", 3_600.0),
        ("days", 86_400.0),
    ];
    // `mins` also ends like `ns`, but then what is before it is no number.
    let amount = |(unit, seconds): &(&str, f64)| -> Option<f64> {
        Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * seconds)
    };
    Duration::try_from_secs_f64(UNITS.iter().find_map(amount)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        assert_eq!(parse_duration("10secs"), Some(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5mins"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "10", "secs", "-1secs", "1e300days", "ten secs"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_level_is_set_for_a_time() {
        assert_eq!(toggle(None, None), Ok(None));
        assert_eq!(toggle(Some(1), Some("10secs")), Ok(Some((1, Duration::from_secs(10)))));
        for (level, duration, part) in [
            (Some(1), None, "'duration=value'"),
            (None, Some("1secs"), "'level=value'"),
            (Some(1), Some("x"), "'x'"),
        ] {
            let error = toggle(level, duration).expect_err("not both");
            assert!(error.contains(part), "{error}");
        }
    }
}
