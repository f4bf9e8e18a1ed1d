//! What the API counts, in both forms that `GET /metrics` answers.

use prometheus::{Encoder, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use serde_json::{Map, Value, json};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    registry: Registry,
    /// Answers by status.
    requests: IntCounterVec,
    /// Open event streams.
    pub(super) streams: IntGauge,
    pub(super) apps: IntGauge,
    pub(super) instances: IntGauge,
    pub(super) deployments: IntGauge,
    pub(super) waiting: IntGauge,
    pub(super) leading: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a constant name that is one");
            registry.register(Box::new(gauge.clone())).expect("registered once");
            gauge
        };
        let options = Opts::new("stoa_marathon_http_requests_total", "Answered requests by status");
        let requests = IntCounterVec::new(options, &["status"]).expect("a constant name that is one");
        registry.register(Box::new(requests.clone())).expect("registered once");
        Self {
            requests,
            streams: gauge("stoa_marathon_event_streams", "Open event streams"),
            apps: gauge("stoa_marathon_apps", "Apps"),
            instances: gauge("stoa_marathon_instances", "Instances, launched or not"),
            deployments: gauge("stoa_marathon_deployments", "Deployments under way"),
            waiting: gauge("stoa_marathon_waiting_apps", "Apps with instances that wait for an offer"),
            leading: gauge("stoa_marathon_leading", "1 on the instance that leads"),
            registry,
        }
    }

    pub(super) fn answered(&self, status: u16) {
        self.requests.with_label_values(&[status.to_string().as_str()]).inc();
    }

    /// The Prometheus text form.
    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing to a vector does not fail, and every family has a metric.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The JSON form that clients of the v2 API expect.
    pub(super) fn json(&self) -> Value {
        let mut gauges = Map::new();
        let mut counters = Map::new();
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let labels: String = metric.get_label().iter().map(|pair| format!(".{}", pair.value())).collect();
                let name = format!("{}{labels}", family.name());
                match family.get_field_type() {
                    prometheus::proto::MetricType::COUNTER => {
                        counters.insert(name, json!({ "count": metric.get_counter().value() }));
                    }
                    _ => {
                        gauges.insert(name, json!({ "value": metric.get_gauge().value() }));
                    }
                }
            }
        }
        json!({ "version": "4.0.0", "gauges": gauges, "counters": counters, "histograms": {}, "meters": {}, "timers": {} })
    }
}
