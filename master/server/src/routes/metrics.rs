//! `/metrics` and `/metrics/snapshot`: for Prometheus, and under the names that dashboards of the first implementation
//! know (spec mesos-v1, 7.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, header};
use master_core::render;
use master_core::snapshot::Snapshot;
use model::quantity::Quantity;
use model::resources::Bag;
use model::task::TaskState;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wire::v1::task_status::{Reason, Source};

use super::legacy::{readable, value};
use crate::app::{App, Standing};
use crate::driver::{Measures, Message};
use crate::{answer, large};

/// Counters that are there before what they count has happened, because a graph of what is missing is empty and not
/// zero. Each counts what this master does; other names of the first implementation are left out.
const FROM_THE_START: [&str; 38] = [
    "dropped_messages",
    "invalid_operation_status_update_acknowledgements",
    "invalid_status_updates",
    "messages_decline_offers",
    "messages_executor_to_framework",
    "messages_exited_executor",
    "messages_framework_to_executor",
    "messages_kill_task",
    "messages_launch_tasks",
    "messages_operation_status_update",
    "messages_operation_status_update_acknowledgement",
    "messages_reconcile_operations",
    "messages_reconcile_tasks",
    "messages_register_framework",
    "messages_resource_request",
    "messages_revive_offers",
    "messages_status_update",
    "messages_status_update_acknowledgement",
    "messages_suppress_offers",
    "messages_unregister_framework",
    "messages_unregister_slave",
    "messages_update_slave",
    "offers_accepted",
    "offers_declined",
    "offers_rescinded",
    "offers_sent",
    "slave_removals",
    "slave_unreachable_completed",
    "slave_unreachable_scheduled",
    "tasks_dropped",
    "tasks_error",
    "tasks_failed",
    "tasks_finished",
    "tasks_gone",
    "tasks_gone_by_operator",
    "tasks_killed",
    "tasks_lost",
    "valid_status_updates",
];

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

async fn measures(app: &App) -> Option<Measures> {
    app.group.get()?;
    let (answer, answered) = oneshot::channel();
    app.inbox.send(Message::Measure(answer)).await.ok()?;
    answered.await.ok()
}

/// The names that dashboards know. Local: a master that does not lead answers for itself.
pub(super) async fn flat_metrics(app: &Arc<App>) -> BTreeMap<String, f64> {
    let leads = matches!(*app.standing.borrow(), Standing::Leading { .. });
    let zero = |name: &str| (format!("master/{name}"), 0.0);
    let mut out: BTreeMap<String, f64> = FROM_THE_START.iter().copied().map(zero).collect();
    out.extend(host().into_iter().map(|(name, value)| (format!("system/{name}"), value)));
    out.insert("master/elected".to_owned(), f64::from(u8::from(leads)));
    let uptime = app.clock.now().since(app.about.started);
    out.insert("master/uptime_secs".to_owned(), uptime.as_secs_f64());
    if let Some(measures) = measures(app).await {
        for (name, value) in measures.counters.iter() {
            out.insert(format!("master/{name}"), value as f64);
        }
        out.insert(
            "master/event_queue_messages".to_owned(),
            (app.inbox.max_capacity() - app.inbox.capacity()) as f64,
        );
        for (state, source, reason, count) in measures.counters.task_states() {
            count_cause(&mut out, state, source, reason, count as f64);
        }
    }
    if leads && let Ok(read) = large::read(app, None).await {
        // Looks at every task.
        out = read
            .look(move |snapshot| {
                gauges(&mut out, snapshot);
                out
            })
            .await
            .unwrap_or_default();
    }
    out
}

/// `task_failed` in the tables of old names.
fn low(state: TaskState) -> String {
    state.name().to_ascii_lowercase()
}

fn count_cause(
    out: &mut BTreeMap<String, f64>,
    state: TaskState,
    source: Option<i32>,
    reason: Option<i32>,
    count: f64,
) {
    if state.is_terminal() {
        let name = format!("master/tasks_{}", low(state).trim_start_matches("task_"));
        *out.entry(name).or_default() += count;
    }
    let source = source.and_then(|source| Source::try_from(source).ok());
    let reason = reason.and_then(|reason| Reason::try_from(reason).ok());
    if let (Some(source), Some(reason)) = (source, reason) {
        // Old words: an agent is a slave there.
        let cause = format!("{}/{}", source.as_str_name(), reason.as_str_name()).to_ascii_lowercase();
        *out.entry(format!("master/{}/{}", low(state), cause.replace("agent", "slave"))).or_default() +=
            count;
    }
}

fn gauges(out: &mut BTreeMap<String, f64>, snapshot: &Snapshot) {
    let mut set = |name: String, value: f64| out.insert(format!("master/{name}"), value);
    let tables = &snapshot.tables;
    let total: Bag = tables.agents.values().map(|agent| agent.total.clone()).sum();
    let used: Bag = tables.frameworks.values().map(|framework| render::framework_usage(framework)).sum();
    let each = |bag: &Bag| [bag.cpus(), bag.mem(), bag.disk(), bag.gpus()].map(Quantity::as_f64);
    for (name, (total, used)) in
        ["cpus", "mem", "disk", "gpus"].into_iter().zip(each(&total).into_iter().zip(each(&used)))
    {
        set(format!("{name}_total"), total);
        set(format!("{name}_used"), used);
        set(format!("{name}_percent"), if total > 0.0 { used / total } else { 0.0 });
    }
    let revocable = |bag: &Bag| -> Bag { bag.iter().filter(|item| item.is_revocable()).cloned().collect() };
    let (total, used) = (each(&revocable(&total)), each(&revocable(&used)));
    for (name, (total, used)) in ["cpus", "mem", "disk", "gpus"].into_iter().zip(total.into_iter().zip(used))
    {
        set(format!("{name}_revocable_total"), total);
        set(format!("{name}_revocable_used"), used);
        set(format!("{name}_revocable_percent"), if total > 0.0 { used / total } else { 0.0 });
    }
    let known = snapshot.registry.agents().count();
    let unreachable = known.saturating_sub(tables.agents.len() + tables.recovered.len());
    set("slaves_unreachable".into(), unreachable as f64);
    let connected = tables.agents.values().filter(|agent| agent.link.is_some()).count();
    let active = tables.agents.values().filter(|agent| agent.link.is_some() && !agent.deactivated).count();
    set("slaves_connected".into(), connected as f64);
    set("slaves_disconnected".into(), (tables.agents.len() - connected) as f64);
    set("slaves_active".into(), active as f64);
    set("slaves_inactive".into(), (tables.agents.len() - active) as f64);
    let subscribed = tables.frameworks.values().filter(|framework| framework.connected()).count();
    for name in ["connected", "active"] {
        set(format!("frameworks_{name}"), subscribed as f64);
    }
    for name in ["disconnected", "inactive"] {
        set(format!("frameworks_{name}"), (tables.frameworks.len() - subscribed) as f64);
    }
    set("outstanding_offers".into(), tables.offers.len() as f64);
    let unreachable: usize = tables.frameworks.values().map(|framework| framework.unreachable.len()).sum();
    set("tasks_unreachable".into(), unreachable as f64);
    for state in [TaskState::Staging, TaskState::Starting, TaskState::Running, TaskState::Killing] {
        let tasks = tables.frameworks.values().flat_map(|framework| framework.tasks.values());
        let count = tasks.filter(|task| task.state == state).count();
        set(format!("tasks_{}", low(state).trim_start_matches("task_")), count as f64);
    }
}

/// `/system/stats.json`.
pub(super) async fn system(method: Method) -> Response {
    let numbers =
        host().into_iter().map(|(name, number)| (name.replace("load_", "avg_load_"), json!(number)));
    let numbers: BTreeMap<String, Value> = numbers.collect();
    readable(&method).map_or_else(|refusal| refusal, |()| value(&json!(numbers)))
}

/// The machine's own numbers.
fn host() -> Vec<(&'static str, f64)> {
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
