//! What is counted, in the text form of Prometheus and in the JSON form that clients of Chronos read.

use front::door::Tally;
use http::{Method, StatusCode};
use prometheus::{Encoder, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use serde_json::{Map, Value, json};

use super::statistics::Durations;
use crate::core::book::Book;
use crate::notify::{Channel, Outbox};

/// What a leader knows at one moment.
pub(super) struct Seen {
    pub(super) book: Book,
    /// Runs that wait for offers: of high priority, and all.
    pub(super) queued: (usize, usize),
    /// Runs looked at for a launch so far.
    pub(super) considered: u64,
    pub(super) outbox: Outbox,
}

pub(super) struct Metrics {
    registry: Registry,
    connections: Tally,
    requests: IntCounterVec,
    leading: IntGauge,
    jobs: IntGauge,
    active: IntGauge,
    queued: IntGauge,
    considered: IntGauge,
    missing: IntGauge,
    letters: IntGaugeVec,
    notifications: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(Opts::new(name, help)).expect("a constant name");
            // Names are constants and differ, so registration cannot clash.
            let _ = registry.register(Box::new(gauge.clone()));
            gauge
        };
        let requests = Opts::new("chronos_http_requests", "Requests by method and status");
        let requests = IntCounterVec::new(requests, &["method", "status"]).expect("constant names");
        let _ = registry.register(Box::new(requests.clone()));
        let letters = Opts::new("chronos_notifications_waiting", "Notifications that wait to be sent");
        let letters = IntGaugeVec::new(letters, &["channel"]).expect("constant names");
        let _ = registry.register(Box::new(letters.clone()));
        let notifications = Opts::new("chronos_notifications", "What became of notifications");
        let notifications =
            IntCounterVec::new(notifications, &["channel", "outcome"]).expect("constant names");
        let _ = registry.register(Box::new(notifications.clone()));
        Self {
            connections: Tally::register(&registry, "chronos").expect("constant names"),
            letters,
            notifications,
            requests,
            leading: gauge("chronos_leading", "Whether this instance leads"),
            jobs: gauge("chronos_jobs", "Jobs"),
            active: gauge("chronos_active_runs", "Runs that are not over"),
            queued: gauge("chronos_queued_runs", "Runs that wait for an offer"),
            considered: gauge(
                "chronos_considered_runs",
                "Runs looked at for a launch since this instance leads",
            ),
            missing: gauge(
                "chronos_runs_with_lost_tasks",
                "Runs with tasks that were given up as lost and may still go on",
            ),
            registry,
        }
    }

    pub(super) fn connections(&self) -> &Tally {
        &self.connections
    }

    pub(super) fn answered(&self, method: &Method, status: StatusCode) {
        // A method nobody knows must not make a new series.
        let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        self.requests.with_label_values(&[method, status.as_str()]).inc();
    }

    /// Brings the figures up to date: they are counted when somebody asks.
    pub(super) fn text(&self, seen: Option<&Seen>) -> Vec<u8> {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let book = seen.map(|seen| &seen.book);
        self.leading.set(seen.is_some().into());
        self.jobs.set(book.map_or(0, |book| count(book.jobs.len())));
        self.active.set(book.map_or(0, |book| count(book.active.values().map(|due| due.len()).sum())));
        self.queued.set(seen.map_or(0, |seen| count(seen.queued.1)));
        self.missing.set(book.map_or(0, |book| count(book.missing.len())));
        let considered = seen.map_or(0, |seen| i64::try_from(seen.considered).unwrap_or(i64::MAX));
        self.considered.set(considered);
        if let Some(seen) = seen {
            self.letters(&seen.outbox);
        }
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    fn letters(&self, outbox: &Outbox) {
        // Counted where it happens; here only shown.
        self.notifications.reset();
        for (channel, lane) in &outbox.lanes {
            let counts = &lane.counts;
            let outcomes = [
                ("sent", counts.sent),
                ("failed", counts.failed),
                ("given_up", counts.given_up),
                ("dropped", counts.dropped),
            ];
            for (outcome, count) in outcomes {
                self.notifications.with_label_values(&[channel.name(), outcome]).inc_by(count);
            }
        }
        for channel in Channel::ALL {
            let waiting = i64::try_from(outbox.waiting_of(channel)).unwrap_or(i64::MAX);
            self.letters.with_label_values(&[channel.name()]).set(waiting);
        }
    }
}

/// Per job: how long its runs took, how many went well and badly.
pub(super) fn json(book: &Book, (high, queued): (usize, usize)) -> Value {
    let (mut counters, mut histograms) = (Map::new(), Map::new());
    for job in book.jobs.values() {
        let name = job.name();
        histograms.insert(format!("jobs.run.time.{name}"), Durations::of(book, name).json());
        counters.insert(format!("jobs.run.success.{name}"), json!({"count": job.status.success_count}));
        counters.insert(format!("jobs.run.failure.{name}"), json!({"count": job.status.error_count}));
    }
    let prefix = "org.apache.mesos.chronos.scheduler.jobs.TaskManager";
    let gauges = json!({
        format!("{prefix}.queueSize"): {"value": queued - high},
        format!("{prefix}.highQueueSize"): {"value": high},
    });
    json!({"version": "3.0.0", "gauges": gauges, "counters": counters, "histograms": histograms, "meters": {}, "timers": {}})
}
