//! What the tasks of the sidecar tell each other besides messages: how things stand, for the admin address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use front::door::Tally;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, TextEncoder};
use serde::Serialize;

/// How things stand.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// HAProxy runs and answers.
    pub(crate) haproxy: bool,
    /// The supervisor whose events are followed; `None` while none can be reached and the last good state stands.
    pub(crate) feed: Option<String>,
    pub(crate) services: usize,
    pub(crate) servers: usize,
    /// What is wrong with apps, by app: labels not understood, ports taken.
    pub(crate) problems: BTreeMap<String, Vec<String>>,
    /// Services HAProxy would not load, with the reason; they are left out, or stand as they last were.
    pub(crate) rejected: BTreeMap<String, String>,
    /// The configuration in force.
    #[serde(skip)]
    pub(crate) configuration: Arc<str>,
}

/// Figures for Prometheus.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) latency: Histogram,
    pub(crate) reloads: IntCounter,
    pub(crate) failed_loads: IntCounter,
    pub(crate) commands: IntCounter,
    pub(crate) failed_commands: IntCounter,
    pub(crate) starts: IntCounter,
    pub(crate) events: IntCounter,
    pub(crate) connections: IntCounter,
    pub(crate) clients: Tally,
    pub(crate) held_lists: IntGauge,
    pub(crate) feed: IntGauge,
    pub(crate) services: IntGauge,
    pub(crate) servers: IntGauge,
    pub(crate) rejected: IntGauge,
    pub(crate) problems: IntGauge,
}

impl Metrics {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("stoa_haproxy_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("stoa_haproxy_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let buckets = vec![0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 1.0, 4.0];
        let help = "Seconds from an event's arrival until HAProxy does what follows from it";
        let latency = HistogramOpts::new("stoa_haproxy_event_to_routed_seconds", help).buckets(buckets);
        let latency = Histogram::with_opts(latency)?;
        registry.register(Box::new(latency.clone()))?;
        Ok(Self {
            latency,
            reloads: counter("reloads_total", "Configurations loaded by a reload")?,
            failed_loads: counter("failed_loads_total", "Configurations refused or not taken over")?,
            commands: counter("commands_total", "Runtime commands given")?,
            failed_commands: counter("failed_commands_total", "Runtime commands refused")?,
            starts: counter("starts_total", "Times HAProxy was started")?,
            events: counter("events_total", "Events received")?,
            connections: counter("feed_connections_total", "Event streams opened")?,
            clients: Tally::register(&registry, "stoa_haproxy")?,
            held_lists: gauge("held_lists", "Lists held back because they took away too much")?,
            feed: gauge("feed_connected", "1 while an event stream is open")?,
            services: gauge("services", "Services to be routed")?,
            servers: gauge("servers", "Servers that take new connections")?,
            rejected: gauge("rejected_services", "Services HAProxy would not load")?,
            problems: gauge("apps_with_problems", "Apps with labels or ports that could not be followed")?,
            registry,
        })
    }

    /// The text Prometheus reads.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// Held by every task of the sidecar.
#[derive(Debug)]
pub(crate) struct Shared {
    status: Mutex<Status>,
    /// When the oldest event arrived that HAProxy does not follow yet.
    pending: Mutex<Option<Instant>>,
    pub(crate) metrics: Metrics,
}

impl Shared {
    /// # Errors
    /// A metric named twice.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            status: Mutex::new(Status::default()),
            pending: Mutex::new(None),
            metrics: Metrics::new()?,
        })
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event that arrived at this time changed what is to be routed.
    pub(crate) fn changed(&self, at: Instant) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(at);
    }

    /// Takes the time of the oldest change not yet followed.
    pub(crate) fn take_pending(&self) -> Option<Instant> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
