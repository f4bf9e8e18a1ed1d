//! What is counted, in the text form of Prometheus and in the JSON form that older clients expect.

use std::time::Duration;

use front::door::Tally;
use http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use serde_json::{Map, Value, json};

use crate::core::instance::Condition;
use crate::supervisor::state::State;

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: HistogramVec,
    connections: Tally,
    refused: IntCounter,
    readers: IntGauge,
    leading: IntGauge,
    apps: IntGauge,
    deployments: IntGauge,
    waiting: IntGauge,
    instances: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::with_opts(Opts::new(name, help)).expect("a constant name");
            register(&registry, gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::with_opts(Opts::new(name, help)).expect("a constant name");
            register(&registry, counter)
        };
        let requests = HistogramOpts::new("marathon_http_request_seconds", "Time to the head of the answer");
        Self {
            requests: register(
                &registry,
                HistogramVec::new(requests, &["method", "status"]).expect("constant names"),
            ),
            connections: Tally::register(&registry, "marathon").expect("registered once"),
            refused: counter(
                "marathon_http_refused_total",
                "Requests turned away because too many were open",
            ),
            readers: gauge("marathon_event_readers", "Readers of the event stream"),
            leading: gauge("marathon_leading", "Whether this instance leads"),
            apps: gauge("marathon_apps", "Apps"),
            deployments: gauge("marathon_deployments", "Running deployments"),
            waiting: gauge("marathon_waiting_instances", "Instances that wait for an offer"),
            instances: register(
                &registry,
                IntGaugeVec::new(Opts::new("marathon_instances", "Instances by condition"), &["condition"])
                    .expect("constant names"),
            ),
            registry,
        }
    }

    pub(crate) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        // A method nobody knows must not make a new series.
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        self.requests.with_label_values(&[method, status.as_str()]).observe(took.as_secs_f64());
    }

    /// Where the accept loop counts.
    pub(crate) fn connections(&self) -> &Tally {
        &self.connections
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    /// Brings the gauges up to date: they are counted when somebody asks.
    pub(crate) fn observe(&self, state: Option<&State>, readers: usize) {
        self.readers.set(i64::try_from(readers).unwrap_or(i64::MAX));
        self.leading.set(state.is_some().into());
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.apps.set(state.map_or(0, |state| count(state.definitions().count())));
        self.deployments.set(state.map_or(0, |state| count(state.deployments.len())));
        self.waiting.set(
            state.map_or(0, |state| state.waiting.values().map(|waiting| i64::from(waiting.count)).sum()),
        );
        for (name, condition) in Condition::NAMES {
            if condition.is_terminal() {
                continue;
            }
            let same = |state: &State| state.instances.values().filter(|i| i.condition == condition).count();
            self.instances.with_label_values(&[name]).set(state.map_or(0, |state| count(same(state))));
        }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// The same numbers under the keys of the older form.
    pub(crate) fn json(&self) -> Value {
        let (mut gauges, mut counters, mut histograms) = (Map::new(), Map::new(), Map::new());
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let labels: String =
                    metric.get_label().iter().map(|label| format!(".{}", label.value())).collect();
                let name = format!("{}{labels}", family.name());
                if family.get_field_type() == MetricType::GAUGE {
                    gauges.insert(name, json!({"value": metric.get_gauge().get_value()}));
                } else if family.get_field_type() == MetricType::COUNTER {
                    counters.insert(name, json!({"count": metric.get_counter().get_value()}));
                } else {
                    let histogram = metric.get_histogram();
                    let (count, sum) = (histogram.get_sample_count(), histogram.get_sample_sum());
                    let mean = if count == 0 { 0.0 } else { sum / count as f64 };
                    histograms.insert(name, json!({"count": count, "mean": mean}));
                }
            }
        }
        json!({"version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": histograms, "meters": {}, "timers": {}})
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    // Names are constants and differ, so registration cannot clash.
    let _ = registry.register(Box::new(collector.clone()));
    collector
}
