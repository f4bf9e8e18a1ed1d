//! Metrics: the flat object that exporters of the first implementation read, and Prometheus text.

use std::sync::atomic::Ordering;

use agent_core::Summary;
use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use model::quantity::Quantity;
use model::resources::Bag;
use prometheus::core::Collector;
use prometheus::{Counter, Encoder, Gauge, Registry, TextEncoder};
use serde_json::{Map, Value};

use super::Site;
use super::reply::{self, Refusal};
use crate::machine;

/// Every metric by its name, sorted by it.
pub(super) async fn all(site: &Site) -> Result<Vec<(String, f64)>, Refusal> {
    let summary = site.summary().await?;
    let mut all = numbers(site, &summary);
    for (revocable, infix) in [(false, ""), (true, "_revocable")] {
        let of = |bag: &Bag| -> Bag {
            bag.iter().filter(|item| item.is_revocable() == revocable).cloned().collect()
        };
        let (total, used) = (of(&summary.total), of(&summary.used));
        for (kind, pick) in KINDS {
            let (total, used) = (pick(&total).as_f64(), pick(&used).as_f64());
            all.push((format!("slave/{kind}{infix}_total"), total));
            all.push((format!("slave/{kind}{infix}_used"), used));
            all.push((format!("slave/{kind}{infix}_percent"), if total > 0.0 { used / total } else { 0.0 }));
        }
    }
    all.extend(system_numbers().into_iter().map(|(name, value)| (format!("system/{name}"), value)));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

type Pick = fn(&Bag) -> Quantity;
const KINDS: [(&str, Pick); 4] =
    [("cpus", Bag::cpus), ("mem", Bag::mem), ("disk", Bag::disk), ("gpus", Bag::gpus)];

fn numbers(site: &Site, summary: &Summary) -> Vec<(String, f64)> {
    let Summary { counters, .. } = summary;
    let removals = &site.removals;
    let uptime = site.clock.now().since(site.started).as_secs_f64();
    let max_age = agent_core::limits::SANDBOX_AGE.as_secs_f64();
    let whole: [(&str, u64); 33] = [
        ("containerizer/fetcher/task_fetches_failed", counters.fetches_failed),
        ("containerizer/fetcher/task_fetches_succeeded", counters.fetches_succeeded),
        ("gc/path_removals_failed", removals.failed.load(Ordering::Relaxed)),
        ("gc/path_removals_pending", summary.old_sandboxes as u64),
        ("gc/path_removals_succeeded", removals.succeeded.load(Ordering::Relaxed)),
        ("slave/container_launch_errors", counters.launch_errors),
        ("slave/executors_registering", summary.executors.registering),
        ("slave/executors_running", summary.executors.running),
        ("slave/executors_terminated", counters.executors),
        ("slave/executors_terminating", summary.executors.terminating),
        ("slave/frameworks_active", summary.frameworks as u64),
        ("slave/invalid_framework_messages", counters.dropped_messages),
        ("slave/invalid_status_updates", counters.invalid_updates),
        ("slave/recovery_errors", counters.unrecovered),
        ("slave/registered", u64::from(summary.registered)),
        ("slave/tasks_failed", counters.failed),
        ("slave/tasks_finished", counters.finished),
        ("slave/tasks_gone", counters.gone),
        ("slave/tasks_killed", counters.killed),
        ("slave/tasks_killing", summary.killing),
        ("slave/tasks_lost", counters.lost),
        ("slave/tasks_running", summary.running),
        ("slave/tasks_staging", summary.staging),
        ("slave/tasks_starting", summary.starting),
        ("slave/valid_framework_messages", counters.messages),
        ("slave/valid_status_updates", counters.updates),
        ("slave/pending_status_updates", summary.pending_updates as u64),
        ("slave/registrations", counters.registrations),
        ("slave/fenced_orders", counters.fenced),
        ("slave/repeated_orders", counters.repeated_orders),
        ("slave/operations_finished", counters.operations),
        ("slave/operations_dropped", counters.dropped_operations),
        ("slave/operations_unacknowledged", summary.pending_operations as u64),
    ];
    let mut all: Vec<(String, f64)> =
        whole.iter().map(|(name, value)| ((*name).into(), *value as f64)).collect();
    all.extend(summary.recovery.map(|took| ("slave/recovery_time_secs".into(), took.as_secs_f64())));
    all.push(("slave/uptime_secs".into(), uptime));
    all.push(("slave/executor_directory_max_allowed_age_secs".into(), max_age));
    all
}

fn system_numbers() -> Vec<(&'static str, f64)> {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let mut all = vec![("cpus_total", cpus as f64)];
    if let Some([one, five, fifteen]) = machine::load() {
        all.extend([("load_1min", one), ("load_5min", five), ("load_15min", fifteen)]);
    }
    all.extend(machine::memory().map(|bytes| ("mem_total_bytes", bytes as f64)));
    all.extend(machine::free_memory().map(|bytes| ("mem_free_bytes", bytes as f64)));
    all
}

/// `/metrics/snapshot`: one flat object.
pub(super) async fn snapshot(site: &Site) -> Result<Value, Refusal> {
    let all = all(site).await?;
    Ok(all.into_iter().map(|(name, value)| (name, value.into())).collect::<Map<String, Value>>().into())
}

/// `/system/stats.json`.
pub(super) fn system() -> Value {
    let mut members: Vec<(String, Value)> = system_numbers()
        .into_iter()
        .map(|(name, value)| (name.replace("load_", "avg_load_"), value.into()))
        .collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members.into_iter().collect::<Map<_, _>>().into()
}

/// `/metrics`: Prometheus text, or JSON for who asks for it.
pub(super) async fn page(site: &Site, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains(wire::media::JSON)) {
        return Ok(reply::json(&snapshot(site).await?));
    }
    let text = text(&site.registry, &all(site).await?)
        .map_err(|e| Refusal::new(500, format!("Metrics cannot be shown: {e}")))?;
    Ok(reply::body(200, "text/plain; version=0.0.4", text.into()))
}

/// Names that only count up.
const COUNTED: [&str; 13] = [
    "_gone",
    "_messages",
    "operations_dropped",
    "_failed",
    "_finished",
    "_killed",
    "_lost",
    "_succeeded",
    "_errors",
    "_updates",
    "_orders",
    "registrations",
    "terminated",
];

/// Those of the accept loop come from its own registry.
fn text(doors: &Registry, all: &[(String, f64)]) -> Result<Vec<u8>, prometheus::Error> {
    let registry = Registry::new();
    for (name, value) in all {
        let plain = format!("stoa_agent_{}", name.trim_start_matches("slave/").replace('/', "_"));
        let counted =
            COUNTED.iter().any(|end| name.ends_with(end)) && !name.ends_with("pending_status_updates");
        let metric: Box<dyn Collector> = if counted {
            let counter = Counter::new(format!("{plain}_total"), name.clone())?;
            counter.inc_by(*value);
            Box::new(counter)
        } else {
            let gauge = Gauge::new(plain, name.clone())?;
            gauge.set(*value);
            Box::new(gauge)
        };
        registry.register(metric)?;
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    TextEncoder::new().encode(&doors.gather(), &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_grows_is_a_counter() {
        let all = [("slave/tasks_failed".to_owned(), 3.0), ("slave/tasks_running".to_owned(), 2.0)];
        let text = String::from_utf8(text(&Registry::new(), &all).unwrap()).unwrap();
        assert!(
            text.contains("# TYPE stoa_agent_tasks_failed_total counter\nstoa_agent_tasks_failed_total 3\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE stoa_agent_tasks_running gauge\nstoa_agent_tasks_running 2\n"),
            "{text}"
        );
    }
}
