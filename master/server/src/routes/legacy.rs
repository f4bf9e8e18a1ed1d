//! The old GET endpoints: what dashboards, exporters and load balancers ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::{Method, StatusCode, header};
use master_core::call::OperatorCall;
use master_core::input::Input;
use master_core::render;
use master_core::snapshot::{Snapshot, Task};
use model::quantity::Quantity;
use model::resources::Bag;
use model::task::TaskState;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wire::v1::task_status::{Reason, Source};

use super::snapshot_json::{self as shapes, Each, Members};
use super::{ask, plain, refused};
use crate::app::{App, Standing};
use crate::driver::{Measures, Message};
use crate::path::Original;
use crate::{answer, body, redirect, who};

const ALLOWED: &str = "GET, HEAD, POST";

/// Old scripts POST where they mean GET; nothing else is lenient.
fn readable(method: &Method) -> Result<(), Response> {
    match *method {
        Method::GET | Method::HEAD | Method::POST => Ok(()),
        _ => Err(answer::method_not_allowed(ALLOWED, method)),
    }
}

/// 200 when this master does its work: it leads, or follows a leader.
pub(super) async fn health(State(app): State<Arc<App>>, method: Method) -> Response {
    if let Err(refusal) = readable(&method) {
        return refusal;
    }
    match &*app.standing.borrow() {
        Standing::Leading { .. } | Standing::Following { .. } => answer::empty(StatusCode::OK),
        Standing::Forming { missing } => answer::unavailable(redirect::forming(missing)),
        Standing::Electing => answer::unavailable("No leading master is known at present"),
        Standing::Ending => answer::unavailable("This master is ending"),
    }
}

pub(super) async fn version(method: Method) -> Response {
    readable(&method).map_or_else(|refusal| refusal, |()| value(&who::version()))
}

pub(super) async fn flags(State(app): State<Arc<App>>, method: Method) -> Response {
    let flags: BTreeMap<&str, &str> = app.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    readable(&method).map_or_else(|refusal| refusal, |()| value(&json!({ "flags": flags })))
}

pub(super) async fn redirect(State(app): State<Arc<App>>) -> Response {
    redirect::leader(&app)
}

fn value(value: &Value) -> Response {
    answer::json(value.to_string())
}

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

async fn flat(app: &App) -> Response {
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
pub(super) async fn flat_metrics(app: &App) -> BTreeMap<String, f64> {
    let leads = matches!(*app.standing.borrow(), Standing::Leading { .. });
    let mut out = BTreeMap::new();
    out.insert("master/elected".to_owned(), f64::from(u8::from(leads)));
    let uptime = app.clock.now().since(app.started);
    out.insert("master/uptime_secs".to_owned(), uptime.as_secs_f64());
    if let Some(measures) = measures(app).await {
        for (name, value) in measures.counters.iter() {
            out.insert(format!("master/{name}"), value as f64);
        }
        for (state, source, reason, count) in measures.counters.task_states() {
            count_cause(&mut out, state, source, reason, count as f64);
        }
    }
    if leads && let Ok(snapshot) = super::snapshot(app, None).await {
        gauges(&mut out, &snapshot);
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

/// The leader's snapshot, rendered beside the loop.
pub(super) async fn leaders(
    app: Arc<App>,
    request: Request,
    work: impl FnOnce(&Snapshot, &App) -> Vec<u8> + Send + 'static,
) -> Response {
    // The request itself is not kept: its body is of no interest, and cannot be shared between threads.
    let allowed = redirect::unless_leading(&app, &request).and_then(|()| readable(request.method()));
    let original = request.extensions().get::<Original>().cloned();
    drop(request);
    let gathered = match allowed {
        Ok(()) => super::snapshot(&app, original.as_ref()).await,
        Err(response) => Err(response),
    };
    match gathered {
        Ok(snapshot) => {
            let own = app.clone();
            super::render(&app, move || answer::json(work(&snapshot, &own))).await
        }
        Err(response) => response,
    }
}

pub(super) async fn state(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, state_json).await
}

fn state_json(snapshot: &Snapshot, app: &App) -> Vec<u8> {
    let tables = &snapshot.tables;
    let pid = who::pid(&app.advertise);
    let (hostname, port) = who::host_and_port(&app.advertise);
    let id = snapshot.master.id.clone();
    let active = tables.agents.values().filter(|agent| agent.link.is_some() && !agent.deactivated).count();
    let deactivated = tables.agents.values().filter(|agent| agent.deactivated).count();
    let unreachable =
        snapshot.registry.agents().count().saturating_sub(tables.agents.len() + tables.recovered.len());
    let flags: BTreeMap<&str, &str> = app.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let leader = json!({"id": id, "pid": pid, "port": port, "hostname": hostname});
    Members(vec![
        ("version", Box::new(who::API_VERSION)),
        ("stoa_version", Box::new(who::VERSION)),
        ("build_date", Box::new("")),
        ("build_time", Box::new(0.0)),
        ("build_user", Box::new("stoa")),
        ("start_time", Box::new(app.started.as_secs_f64())),
        ("elected_time", Box::new(snapshot.elected_at.as_secs_f64())),
        ("id", Box::new(id)),
        ("pid", Box::new(pid.clone())),
        ("hostname", Box::new(hostname)),
        ("capabilities", Box::new(["AGENT_UPDATE"])),
        ("activated_slaves", Box::new(active as f64)),
        ("deactivated_slaves", Box::new(deactivated as f64)),
        ("unreachable_slaves", Box::new(unreachable as f64)),
        ("leader", Box::new(pid)),
        ("leader_info", Box::new(leader)),
        ("flags", Box::new(flags)),
        ("slaves", Box::new(Each(|| tables.agents.values().map(|agent| shapes::agent(snapshot, agent))))),
        ("recovered_slaves", Box::new(shapes::recovered(snapshot))),
        ("frameworks", Box::new(Each(|| tables.frameworks.values().map(|one| shapes::framework(one))))),
        (
            "completed_frameworks",
            Box::new(Each(|| tables.completed.iter().map(|one| shapes::framework(one)))),
        ),
        ("orphan_tasks", Box::new([0; 0])),
        ("unregistered_frameworks", Box::new([0; 0])),
    ])
    .to_vec()
}

#[derive(Deserialize)]
pub(super) struct OneAgent {
    slave_id: Option<String>,
}

pub(super) async fn slaves(
    State(app): State<Arc<App>>,
    Query(one): Query<OneAgent>,
    request: Request,
) -> Response {
    leaders(app, request, move |snapshot, _| {
        let wanted = |id: &str| one.slave_id.as_deref().is_none_or(|slave| slave == id);
        let agents = || snapshot.tables.agents.values().filter(|agent| wanted(agent.id.as_str()));
        Members(vec![
            ("slaves", Box::new(Each(|| agents().map(|agent| shapes::agent_in_full(snapshot, agent))))),
            ("recovered_slaves", Box::new(shapes::recovered(snapshot))),
        ])
        .to_vec()
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct OneFramework {
    framework_id: Option<String>,
}

pub(super) async fn frameworks(
    State(app): State<Arc<App>>,
    Query(one): Query<OneFramework>,
    request: Request,
) -> Response {
    leaders(app, request, move |snapshot, _| {
        let wanted = |id: &str| one.framework_id.as_deref().is_none_or(|framework| framework == id);
        let tables = &snapshot.tables;
        let live = || tables.frameworks.values().filter(|one| wanted(one.id.as_str()));
        let ended = || tables.completed.iter().filter(|one| wanted(one.id.as_str()));
        Members(vec![
            ("frameworks", Box::new(Each(|| live().map(|one| shapes::framework(one))))),
            ("completed_frameworks", Box::new(Each(|| ended().map(|one| shapes::framework(one))))),
            ("unregistered_frameworks", Box::new([0; 0])),
        ])
        .to_vec()
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct TaskQuery {
    limit: Option<usize>,
    offset: Option<usize>,
    order: Option<String>,
    framework_id: Option<String>,
    task_id: Option<String>,
}

/// Tasks of one page when the caller names no number.
const TASK_PAGE: usize = 100;

pub(super) async fn tasks(
    State(app): State<Arc<App>>,
    Query(query): Query<TaskQuery>,
    request: Request,
) -> Response {
    leaders(app, request, move |snapshot, _| {
        let tables = &snapshot.tables;
        let frameworks = tables.frameworks.values().chain(tables.completed.iter());
        let mut tasks: Vec<&Task> = frameworks
            .filter(|one| query.framework_id.as_deref().is_none_or(|id| id == one.id.as_str()))
            .flat_map(|one| one.tasks.values().chain(one.unreachable.values()).chain(one.completed.iter()))
            .map(|task| &**task)
            .filter(|task| query.task_id.as_deref().is_none_or(|id| id == task.id.as_str()))
            .collect();
        let first_seen =
            |task: &Task| task.statuses.first().and_then(|status| status.timestamp).unwrap_or_default();
        tasks.sort_by(|a, b| first_seen(b).total_cmp(&first_seen(a)));
        if query.order.as_deref() == Some("asc") {
            tasks.reverse();
        }
        let page = tasks.into_iter().skip(query.offset.unwrap_or(0)).take(query.limit.unwrap_or(TASK_PAGE));
        let page: Vec<&Task> = page.collect();
        Members(vec![("tasks", Box::new(Each(|| page.iter().map(|task| shapes::task(task)))))]).to_vec()
    })
    .await
}

pub(super) async fn roles(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, _| Members(vec![("roles", Box::new(shapes::roles(snapshot)))]).to_vec())
        .await
}

/// `{}` without any quota, as tools know it.
pub(super) async fn quota(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, _| wire::json::to_vec(&render::quota_status(snapshot))).await
}

/// GET tells the weights, PUT sets some of them: the same array.
pub(super) async fn weights(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.method() == Method::PUT {
        return set_weights(&app, request).await.unwrap_or_else(|refusal| refusal);
    }
    leaders(app, request, |snapshot, _| {
        let weights = snapshot.registry.weights();
        let all: Vec<Value> = weights
            .map(|weight| json!({"role": &*weight.role, "weight": weight.thousandths as f64 / 1000.0}))
            .collect();
        Value::Array(all).to_string().into_bytes()
    })
    .await
}

#[derive(Deserialize)]
struct WeightGiven {
    role: Option<String>,
    weight: f64,
}

async fn set_weights(app: &App, request: Request) -> Result<Response, Response> {
    redirect::unless_leading(app, &request)?;
    let (parts, payload) = request.into_parts();
    let bytes = body::read(app, &parts.headers, payload).await?;
    let given: Vec<WeightGiven> = serde_json::from_slice(&bytes)
        .map_err(|error| answer::bad(format!("Failed to parse update weights request JSON: {error}")))?;
    let update = wire::master::call::UpdateWeights {
        weight_infos: given
            .into_iter()
            .map(|given| wire::v1::WeightInfo { weight: given.weight, role: given.role })
            .collect(),
    };
    let call = wire::master::Call {
        r#type: Some(wire::master::call::Type::UpdateWeights.into()),
        update_weights: Some(update),
        ..Default::default()
    };
    let original = parts.extensions.get::<Original>();
    let call =
        OperatorCall::decode(call, super::stream_id()).map_err(|refusal| refused(app, &refusal, original))?;
    match ask(app, |request| Input::Operator { request, call }).await.answer().await {
        Ok(reply) => Ok(plain(&reply)),
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}

pub(super) async fn state_summary(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, app| {
        let tables = &snapshot.tables;
        Members(vec![
            ("hostname", Box::new(who::host_and_port(&app.advertise).0)),
            (
                "slaves",
                Box::new(Each(|| tables.agents.values().map(|one| shapes::agent_summary(snapshot, one)))),
            ),
            (
                "frameworks",
                Box::new(Each(|| tables.frameworks.values().map(|one| shapes::framework_summary(one)))),
            ),
        ])
        .to_vec()
    })
    .await
}

/// `POST /teardown` with `frameworkId=<id>` as a form.
pub(super) async fn teardown(State(app): State<Arc<App>>, request: Request) -> Response {
    let done = async {
        redirect::unless_leading(&app, &request)?;
        let (parts, payload) = request.into_parts();
        if parts.method != Method::POST {
            return Err(answer::method_not_allowed("POST", &parts.method));
        }
        let bytes = body::read(&app, &parts.headers, payload).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| answer::bad("The form must be text"))?;
        let id = text.split('&').find_map(|pair| pair.strip_prefix("frameworkId="));
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Err(answer::bad("Missing 'frameworkId' query parameter in the request body"));
        };
        let call = OperatorCall::Teardown(id.into());
        let asked = ask(&app, |request| Input::Operator { request, call }).await;
        match asked.answer().await {
            Ok(reply) => Ok(plain(&reply)),
            Err(refusal) => Err(refused(&app, &refusal, parts.extensions.get::<Original>())),
        }
    };
    done.await.unwrap_or_else(|refusal| refusal)
}
