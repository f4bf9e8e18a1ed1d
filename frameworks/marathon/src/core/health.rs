//! Health of instances, as their agents report it, and how fast ill ones may be killed.

use std::collections::{BTreeMap, VecDeque};

use model::time::Time;

use super::app::HealthCheck;
use super::id::AppId;
use crate::limits;

/// Results of the check of one task. Stored with the instance: a new leader goes on with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Unknown before the first result.
    pub alive: Option<bool>,
    pub consecutive_failures: u32,
    pub first_success: Option<Time>,
    pub last_success: Option<Time>,
    pub last_failure: Option<Time>,
    pub last_failure_cause: Option<String>,
}

/// What one result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The verdict differs from the one before.
    pub flipped: bool,
    /// A failure was counted.
    pub failed: bool,
}

impl Health {
    /// Takes in a result. The agent has already left out failures within the grace period.
    pub fn record(&mut self, now: Time, alive: bool, cause: &str) -> Change {
        let flipped = self.alive != Some(alive);
        self.alive = Some(alive);
        if alive {
            self.consecutive_failures = 0;
            self.first_success.get_or_insert(now);
            self.last_success = Some(now);
        } else {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            self.last_failure = Some(now);
            self.last_failure_cause = (!cause.is_empty()).then(|| cause.to_owned());
        }
        Change { flipped, failed: !alive }
    }

    /// Whether so many failures in a row have come that the instance is to be replaced.
    pub fn is_fatal(&self, check: &HealthCheck) -> bool {
        check.max_failures > 0
            && self.alive == Some(false)
            && self.consecutive_failures >= check.protocol.fatal_failures(check.max_failures)
    }
}

/// Limits how many instances of an app are killed for their health within a window: when everything looks ill at
/// once, the checks are as suspect as the instances.
#[derive(Debug, Default)]
pub struct Breaker(BTreeMap<AppId, VecDeque<Time>>);

impl Breaker {
    /// Counts a kill, or says when to ask again.
    pub fn take(&mut self, now: Time, app: &AppId, instances: u32) -> Result<(), Time> {
        let kills = self.0.entry(app.clone()).or_default();
        while kills.front().is_some_and(|at| *at + limits::HEALTH_KILL_WINDOW <= now) {
            kills.pop_front();
        }
        let most = (instances * limits::HEALTH_KILL_PERCENT / 100).max(1) as usize;
        if kills.len() >= most {
            return Err(kills[kills.len() - most] + limits::HEALTH_KILL_WINDOW);
        }
        kills.push_back(now);
        Ok(())
    }

    pub fn forget(&mut self, app: &AppId) {
        self.0.remove(app);
    }
}

#[cfg(test)]
mod tests {
    use model::time::Span;

    use super::super::app::Protocol;
    use super::*;

    fn check(protocol: Protocol, max_failures: u32) -> HealthCheck {
        HealthCheck {
            protocol,
            path: None,
            port: None,
            port_index: Some(0),
            command: None,
            grace: Span::ZERO,
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            max_failures,
            delay: Span::ZERO,
            ignore_1xx: false,
        }
    }

    fn fatal_after(check: &HealthCheck) -> Option<u32> {
        let mut health = Health::default();
        (1..10).find(|_| {
            health.record(Time::from_secs(1), false, "503");
            health.is_fatal(check)
        })
    }

    #[test]
    fn kills_come_after_the_forgiven_failures() {
        assert_eq!(fatal_after(&check(Protocol::Http, 3)), Some(4));
        assert_eq!(fatal_after(&check(Protocol::MesosHttp, 3)), Some(3));
        assert_eq!(fatal_after(&check(Protocol::Command, 1)), Some(1));
        assert_eq!(fatal_after(&check(Protocol::Http, 0)), None);
    }

    #[test]
    fn a_success_forgives() {
        let mut health = Health::default();
        assert_eq!(health.record(Time::from_secs(1), true, ""), Change { flipped: true, failed: false });
        assert_eq!(health.record(Time::from_secs(2), false, "x"), Change { flipped: true, failed: true });
        assert_eq!(health.record(Time::from_secs(3), false, "x"), Change { flipped: false, failed: true });
        assert_eq!(health.record(Time::from_secs(4), true, ""), Change { flipped: true, failed: false });
        assert_eq!(health.consecutive_failures, 0);
        assert_eq!(health.first_success, Some(Time::from_secs(1)));
        assert_eq!(health.last_failure_cause.as_deref(), Some("x"));
    }

    #[test]
    fn a_tenth_may_be_killed_per_window() {
        let app = AppId::parse("/a", &AppId::root()).unwrap();
        let mut breaker = Breaker::default();
        let at = Time::from_secs;
        assert_eq!(breaker.take(at(0), &app, 25), Ok(()));
        assert_eq!(breaker.take(at(10), &app, 25), Ok(()));
        assert_eq!(breaker.take(at(10), &app, 25), Err(at(30)));
        assert_eq!(breaker.take(at(30), &app, 25), Ok(()));
        assert_eq!(breaker.take(at(30), &app, 25), Err(at(40)));
        assert_eq!(breaker.take(at(30), &app, 40), Ok(()));
        assert_eq!(breaker.take(at(30), &app, 3), Err(at(60)));
    }
}
