//! What is measured here, for Prometheus. The core's own counters join it when it is asked for.

use std::sync::Arc;
use std::time::Duration;

use front::door::Tally;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use replica::{Role, Status};

use crate::driver::Measures;

/// From 10 µs, the cost of an ordinary input, to a second, which is a stall.
const HANDLE_BUCKETS: &[f64] = &[1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0];

/// From a sync that hit a cache to a disk that hangs.
const SYNC_BUCKETS: &[f64] = &[5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.2, 1.0];

pub(crate) struct Metrics {
    registry: Registry,
    handle_seconds: Histogram,
    sync_seconds: Histogram,
    requests: IntCounterVec,
    pub(crate) connections: Tally,
    readers_refused: IntCounter,
    inbox: IntGauge,
    events: IntGauge,
    term: IntGauge,
    leading: IntGauge,
    applied: IntGauge,
    committed: IntGauge,
    last: IntGauge,
    first: IntGauge,
    snapshot: IntGauge,
    tickets: IntGauge,
    lag: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a lawful name");
            registry.register(Box::new(gauge.clone())).expect("registered once");
            gauge
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(options).expect("a lawful name");
            registry.register(Box::new(histogram.clone())).expect("registered once");
            histogram
        };
        let requests = Opts::new("stoa_master_http_requests_total", "Requests answered, by route and status");
        let requests = IntCounterVec::new(requests, &["route", "status"]).expect("lawful names");
        registry.register(Box::new(requests.clone())).expect("registered once");
        let readers_refused = IntCounter::new(
            "stoa_master_readers_refused_total",
            "Reads of the whole state refused because too many were under way",
        )
        .expect("a lawful name");
        registry.register(Box::new(readers_refused.clone())).expect("registered once");
        Self {
            readers_refused,
            handle_seconds: histogram(
                "stoa_master_handle_seconds",
                "Time the loop takes for one input",
                HANDLE_BUCKETS,
            ),
            sync_seconds: histogram(
                "stoa_master_log_sync_seconds",
                "Time of one synced write of the log",
                SYNC_BUCKETS,
            ),
            requests,
            connections: Tally::register(&registry, "stoa_master").expect("registered once"),
            inbox: gauge("stoa_master_inbox", "Messages waiting for the loop"),
            events: gauge("stoa_master_replica_events", "Events of the replica waiting for the loop"),
            term: gauge("stoa_master_raft_term", "Raft term"),
            leading: gauge("stoa_master_leading", "1 while this master leads"),
            applied: gauge("stoa_master_raft_applied_index", "Last log index applied"),
            committed: gauge("stoa_master_raft_committed_index", "Last log index known committed"),
            last: gauge("stoa_master_raft_last_index", "Last log index held"),
            first: gauge("stoa_master_raft_first_index", "First log index still held"),
            snapshot: gauge("stoa_master_raft_snapshot_index", "Log index of the newest snapshot"),
            tickets: gauge("stoa_master_raft_open_proposals", "Proposals under way"),
            lag: gauge(
                "stoa_master_raft_follower_lag",
                "Entries the slowest member is behind, seen by the leader",
            ),
            registry,
        }
    }

    /// Where the log reports its synced writes.
    pub(crate) fn sync_observer(&self) -> Arc<dyn Fn(Duration) + Send + Sync> {
        let histogram = self.sync_seconds.clone();
        Arc::new(move |took| histogram.observe(took.as_secs_f64()))
    }

    pub(crate) fn handled(&self, took: Duration, inbox: usize, events: usize) {
        self.handle_seconds.observe(took.as_secs_f64());
        self.inbox.set(signed(inbox as u64));
        self.events.set(signed(events as u64));
    }

    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
    }

    pub(crate) fn reader_refused(&self) {
        self.readers_refused.inc();
    }

    pub(crate) fn replica(&self, status: &Status) {
        self.term.set(signed(status.term));
        self.leading.set(i64::from(matches!(status.role, Role::Leading { .. })));
        self.applied.set(signed(status.applied));
        self.committed.set(signed(status.committed));
        self.last.set(signed(status.last));
        self.first.set(signed(status.first));
        self.snapshot.set(signed(status.snapshot));
        self.tickets.set(signed(status.open_tickets as u64));
        let slowest = status.matched.values().min().copied().unwrap_or(status.last);
        self.lag.set(signed(status.last.saturating_sub(slowest)));
    }

    /// Proposals of this master that are not decided yet.
    pub(crate) fn open_proposals(&self) -> i64 {
        self.tickets.get()
    }

    /// Term, applied index and open proposals, for the status page.
    pub(crate) fn raft(&self) -> (i64, i64) {
        (self.term.get(), self.applied.get())
    }

    /// The text format; `measures` of the driver, where it runs.
    pub(crate) fn text(&self, measures: Option<&Measures>) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        let Some(measures) = measures else { return text };
        let mut line = |name: &str, kind: &str, value: u64| {
            text.extend_from_slice(format!("# TYPE {name} {kind}\n{name} {value}\n").as_bytes());
        };
        line("stoa_master_streams", "gauge", measures.streams as u64);
        line("stoa_master_links", "gauge", measures.links as u64);
        for (name, value) in measures.counters.iter() {
            line(&format!("stoa_master_{}_total", name.replace(['/', '-'], "_")), "counter", value);
        }
        text
    }
}

/// Gauges are signed; none of ours comes near the end.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
