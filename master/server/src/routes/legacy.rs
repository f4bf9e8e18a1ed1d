//! The old GET endpoints: what dashboards, exporters and load balancers ask.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use master_core::call::OperatorCall;
use master_core::input::Input;
use master_core::render;
use master_core::snapshot::{Agent, Snapshot, Task};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::snapshot_json::{self as shapes, Each, Members};
use super::state::write_state;
use super::{ask, plain, refused};
use crate::app::{App, Standing};
use crate::path::Original;
use crate::{answer, body, large, redirect, who};

const ALLOWED: &str = "GET, HEAD, POST";

/// Old scripts POST where they mean GET; nothing else is lenient.
pub(super) fn readable(method: &Method) -> Result<(), Response> {
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
    let flags: BTreeMap<&str, &str> =
        app.about.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    readable(&method).map_or_else(|refusal| refusal, |()| value(&json!({ "flags": flags })))
}

pub(super) async fn redirect(State(app): State<Arc<App>>) -> Response {
    redirect::leader(&app)
}

pub(super) fn value(value: &Value) -> Response {
    answer::json(value.to_string())
}

/// The leader's snapshot, written beside the loop.
pub(super) async fn leaders(
    app: Arc<App>,
    request: Request,
    work: impl FnOnce(&Snapshot, &App, &mut dyn io::Write) -> io::Result<()> + Send + 'static,
) -> Response {
    // The request itself is not kept: its body is of no interest, and cannot be shared between threads.
    let allowed = redirect::unless_leading(&app, &request).and_then(|()| readable(request.method()));
    let original = request.extensions().get::<Original>().cloned();
    drop(request);
    if let Err(refusal) = allowed {
        return refusal;
    }
    let read = large::read(&app, original.as_ref()).await;
    match read {
        Ok(read) => {
            let own = app.clone();
            read.write(wire::media::JSON, move |snapshot, out| work(snapshot, &own, out)).await
        }
        Err(refusal) => refusal,
    }
}

pub(super) async fn state(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, app, out| write_state(snapshot, &app.about, out)).await
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
    leaders(app, request, move |snapshot, _, out| {
        let wanted = |id: &str| one.slave_id.as_deref().is_none_or(|slave| slave == id);
        let agents = || snapshot.tables.agents.values().filter(|agent| wanted(agent.id.as_str()));
        Members(vec![
            ("slaves", Box::new(Each(|| agents().map(|agent| shapes::agent_in_full(snapshot, agent))))),
            ("recovered_slaves", Box::new(shapes::recovered(snapshot))),
        ])
        .write(out)
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
    leaders(app, request, move |snapshot, _, out| {
        let wanted = |id: &str| one.framework_id.as_deref().is_none_or(|framework| framework == id);
        let tables = &snapshot.tables;
        let live = || tables.frameworks.values().filter(|one| wanted(one.id.as_str()));
        let ended = || tables.completed.iter().filter(|one| wanted(one.id.as_str()));
        Members(vec![
            ("frameworks", Box::new(Each(|| live().map(|one| shapes::Whole(one))))),
            ("completed_frameworks", Box::new(Each(|| ended().map(|one| shapes::Whole(one))))),
            ("unregistered_frameworks", Box::new([0; 0])),
        ])
        .write(out)
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
    leaders(app, request, move |snapshot, _, out| {
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
        Members(vec![("tasks", Box::new(Each(|| page.iter().map(|task| shapes::task(task)))))]).write(out)
    })
    .await
}

pub(super) async fn roles(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, _, out| {
        Members(vec![("roles", Box::new(shapes::roles(snapshot)))]).write(out)
    })
    .await
}

/// `{}` without any quota, as tools know it.
pub(super) async fn quota(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, _, out| wire::json::to_writer(out, &render::quota_status(snapshot)))
        .await
}

/// GET tells the weights, PUT sets some of them: the same array.
pub(super) async fn weights(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.method() == Method::PUT {
        return set_weights(&app, request).await.unwrap_or_else(|refusal| refusal);
    }
    leaders(app, request, |snapshot, _, out| {
        let weights = snapshot.registry.weights();
        let all: Vec<Value> = weights
            .map(|weight| json!({"role": &*weight.role, "weight": weight.thousandths as f64 / 1000.0}))
            .collect();
        out.write_all(Value::Array(all).to_string().as_bytes())
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
    leaders(app, request, |snapshot, app, out| {
        let tables = &snapshot.tables;
        let histories = shapes::Histories::of(snapshot);
        let agent = |agent: &Arc<Agent>| shapes::agent_summary(snapshot, &histories, agent);
        Members(vec![
            ("hostname", Box::new(who::host_and_port(&app.about.advertise).0)),
            ("slaves", Box::new(Each(|| tables.agents.values().map(agent)))),
            (
                "frameworks",
                Box::new(Each(|| tables.frameworks.values().map(|one| shapes::framework_summary(one)))),
            ),
        ])
        .write(out)
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
        let id = id.map(|id| percent_decode_str(id).decode_utf8_lossy().into_owned());
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Err(answer::bad("Missing 'frameworkId' query parameter in the request body"));
        };
        let call = OperatorCall::Teardown(id.as_str().into());
        let asked = ask(&app, |request| Input::Operator { request, call }).await;
        match asked.answer().await {
            Ok(reply) => Ok(plain(&reply)),
            Err(refusal) => Err(refused(&app, &refusal, parts.extensions.get::<Original>())),
        }
    };
    done.await.unwrap_or_else(|refusal| refusal)
}
