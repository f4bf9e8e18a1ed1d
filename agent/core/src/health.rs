//! Health checks and checks: when to ask a task how it is, and what its answers mean (spec mesos-v1, 10.7).
//!
//! They run beside the task on its agent, so that neither a busy leader nor a partition makes a healthy task look
//! ill. A health check kills after failures in a row; a check only reports.

use std::sync::Arc;

use model::time::{Span, Time};

use crate::effect::ProbeId;
use crate::spec::CommandSpec;

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Run a command in the task's container.
    Command(Arc<CommandSpec>),
    /// `GET` on the loopback address the container sees.
    Http { tls: bool, port: u16, path: String },
    /// Connect to it.
    Tcp { port: u16 },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The command ended with this code.
    Exit(i32),
    /// The answer had this HTTP status.
    Status(u16),
    Connected,
    TimedOut,
    /// Killed by a signal, refused, not resolvable, ...
    Failed(String),
}

impl Finding {
    fn is_success(&self) -> bool {
        match self {
            Self::Exit(code) => *code == 0,
            Self::Status(status) => (200..400).contains(status),
            Self::Connected => true,
            Self::TimedOut | Self::Failed(_) => false,
        }
    }
}

/// When and what to ask, from the task's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub target: Target,
    /// From the start of the task to the first question.
    pub delay: Span,
    /// From an answer to the next question.
    pub interval: Span,
    /// `None` waits for ever.
    pub timeout: Option<Span>,
}

/// A health check's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSpec {
    pub schedule: Schedule,
    /// Failures before the first success do not count until this age.
    pub grace: Span,
    /// So many counted failures in a row kill the task.
    pub failures: u32,
}

/// The two kinds of checks a task may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Health,
    Check,
}

/// What a finding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Nothing,
    Report,
    /// Report, then kill.
    Kill,
}

/// A running task's health.
#[derive(Debug, Clone, Default)]
pub struct Health {
    failures: u32,
    /// `None` until the first success or counted failure.
    pub healthy: Option<bool>,
    pub in_flight: Option<ProbeId>,
}

impl Health {
    /// After a restart of the agent: the last state told goes on, the count of failures begins anew.
    pub fn recovered(healthy: Option<bool>) -> Self {
        Self { healthy, ..Self::default() }
    }

    /// Takes in one finding about a task that runs since `started`.
    pub fn judge(&mut self, now: Time, started: Time, spec: &HealthSpec, finding: &Finding) -> Verdict {
        if finding.is_success() {
            self.failures = 0;
            let news = self.healthy != Some(true);
            self.healthy = Some(true);
            return if news { Verdict::Report } else { Verdict::Nothing };
        }
        if self.healthy.is_none() && now.since(started) < spec.grace {
            return Verdict::Nothing;
        }
        self.failures = self.failures.saturating_add(1);
        self.healthy = Some(false);
        if self.failures >= spec.failures { Verdict::Kill } else { Verdict::Report }
    }
}

/// What a check says about its task, as far as known. An empty result means: not yet, or it timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    Command(Option<i32>),
    Http(Option<u16>),
    Tcp(Option<bool>),
}

impl CheckResult {
    /// The result before the first answer.
    pub fn unknown(target: &Target) -> Self {
        match target {
            Target::Command(_) => Self::Command(None),
            Target::Http { .. } => Self::Http(None),
            Target::Tcp { .. } => Self::Tcp(None),
        }
    }

    fn of(target: &Target, finding: &Finding) -> Self {
        match (target, finding) {
            (Target::Command(_), Finding::Exit(code)) => Self::Command(Some(*code)),
            (Target::Http { .. }, Finding::Status(status)) => Self::Http(Some(*status)),
            (Target::Tcp { .. }, Finding::Connected) => Self::Tcp(Some(true)),
            (Target::Tcp { .. }, Finding::Failed(_)) => Self::Tcp(Some(false)),
            (target, _) => Self::unknown(target),
        }
    }
}

/// A running task's check.
#[derive(Debug, Clone)]
pub struct Check {
    pub result: CheckResult,
    pub in_flight: Option<ProbeId>,
}

impl Check {
    pub fn new(target: &Target) -> Self {
        Self { result: CheckResult::unknown(target), in_flight: None }
    }

    /// Takes in one finding; whether it changed the result.
    pub fn judge(&mut self, target: &Target, finding: &Finding) -> Verdict {
        let result = CheckResult::of(target, finding);
        let news = result != self.result;
        self.result = result;
        if news { Verdict::Report } else { Verdict::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> HealthSpec {
        let schedule = Schedule {
            target: Target::Tcp { port: 80 },
            delay: Span::ZERO,
            interval: Span::from_secs(1),
            timeout: None,
        };
        HealthSpec { schedule, grace: Span::from_secs(10), failures: 3 }
    }

    fn judge(health: &mut Health, secs: u64, finding: Finding) -> Verdict {
        health.judge(Time::from_secs(100 + secs), Time::from_secs(100), &spec(), &finding)
    }

    fn refused() -> Finding {
        Finding::Failed("connection refused".into())
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count() {
        let mut health = Health::default();
        for secs in 0..10 {
            assert_eq!(judge(&mut health, secs, refused()), Verdict::Nothing);
            assert_eq!(health.healthy, None);
        }
        assert_eq!(judge(&mut health, 10, refused()), Verdict::Report);
        assert_eq!(judge(&mut health, 11, Finding::TimedOut), Verdict::Report);
        assert_eq!(judge(&mut health, 12, refused()), Verdict::Kill);
    }

    #[test]
    fn the_first_success_ends_the_grace_period() {
        let mut health = Health::default();
        assert_eq!(judge(&mut health, 1, Finding::Connected), Verdict::Report);
        assert_eq!(judge(&mut health, 2, Finding::Connected), Verdict::Nothing);
        assert_eq!(judge(&mut health, 3, refused()), Verdict::Report);
        assert_eq!(health.healthy, Some(false));
        assert_eq!(judge(&mut health, 4, Finding::Connected), Verdict::Report);
        assert_eq!(judge(&mut health, 5, refused()), Verdict::Report);
        assert_eq!(judge(&mut health, 6, refused()), Verdict::Report);
        assert_eq!(judge(&mut health, 7, refused()), Verdict::Kill);
    }

    #[test]
    fn redirects_are_healthy_and_errors_are_not() {
        for (status, healthy) in
            [(199, false), (200, true), (302, true), (399, true), (400, false), (503, false)]
        {
            assert_eq!(Finding::Status(status).is_success(), healthy, "{status}");
        }
    }

    #[test]
    fn a_check_reports_changes_only_and_forgets_when_it_times_out() {
        let target = Target::Http { tls: false, port: 80, path: "/".into() };
        let mut check = Check::new(&target);
        assert_eq!(check.judge(&target, &Finding::TimedOut), Verdict::Nothing);
        assert_eq!(check.judge(&target, &Finding::Status(200)), Verdict::Report);
        assert_eq!(check.judge(&target, &Finding::Status(200)), Verdict::Nothing);
        assert_eq!(check.judge(&target, &Finding::Status(500)), Verdict::Report);
        assert_eq!(check.judge(&target, &Finding::TimedOut), Verdict::Report);
        assert_eq!(check.result, CheckResult::Http(None));
    }
}
