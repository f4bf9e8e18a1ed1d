//! `/metrics` and `/metrics/snapshot`: for Prometheus, and under the names that dashboards of the first implementation
//! know (spec mesos-v1, 7.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, header};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::flat::flat_metrics;
use super::legacy::{readable, value};
use crate::answer;
use crate::app::App;
use crate::driver::{Measures, Message};

/// Prometheus text, or the flat JSON for those who ask for JSON.
pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    if let Err(refusal) = readable(request.method()) {
        return refusal;
    }
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.starts_with("application/json") {
        return flat(&app).await;
    }
    let measures = measures(&app).await;
    answer::typed("text/plain; version=0.0.4; charset=utf-8", app.metrics.text(measures.as_ref()))
}

pub(super) async fn metrics_snapshot(State(app): State<Arc<App>>, method: Method) -> Response {
    match readable(&method) {
        Ok(()) => flat(&app).await,
        Err(refusal) => refusal,
    }
}

async fn flat(app: &Arc<App>) -> Response {
    let metrics: serde_json::Map<String, Value> =
        flat_metrics(app).await.into_iter().map(|(name, value)| (name, json!(value))).collect();
    value(&Value::Object(metrics))
}

pub(super) async fn measures(app: &App) -> Option<Measures> {
    app.group.get()?;
    let (answer, answered) = oneshot::channel();
    app.inbox.send(Message::Measure(answer)).await.ok()?;
    answered.await.ok()
}

/// `/system/stats.json`.
pub(super) async fn system(method: Method) -> Response {
    let numbers =
        host().into_iter().map(|(name, number)| (name.replace("load_", "avg_load_"), json!(number)));
    let numbers: BTreeMap<String, Value> = numbers.collect();
    readable(&method).map_or_else(|refusal| refusal, |()| value(&json!(numbers)))
}

/// The machine's own numbers.
pub(super) fn host() -> Vec<(&'static str, f64)> {
    let mut out = vec![("cpus_total", std::thread::available_parallelism().map_or(0, usize::from) as f64)];
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let loads = text.split(' ').map_while(|word| word.parse().ok());
    out.extend(["load_1min", "load_5min", "load_15min"].into_iter().zip(loads));
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    for (line, name) in [("MemTotal:", "mem_total_bytes"), ("MemFree:", "mem_free_bytes")] {
        out.extend(kilobytes(line).map(|kilobytes| (name, kilobytes * 1024.0)));
    }
    out
}
