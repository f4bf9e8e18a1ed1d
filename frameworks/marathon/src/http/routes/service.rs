//! The supervisor itself: queue, leader, events, drains, health.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use model::id::TaskId;
use serde_json::json;
use wire::marathon::{DrainAcknowledgement, HttpConfig, Info, Leader, MarathonConfig, Message, ZookeeperConfig};

use super::origin;
use crate::core::id::AppId;
use crate::driver::now;
use crate::http::query::Query;
use crate::http::reply::{Answer, Failure};
use crate::http::view::{drain, queue as view};
use crate::http::{Api, body, events as stream};
use crate::limits;
use crate::supervisor::message::{Command, Refusal};

/// Tools branch on a version of this form, at least 1.5.
const COMPATIBLE: &str = "1.11.24";

pub(super) async fn queue(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let offers = query.all("embed").any(|word| word == "lastUnusedOffers");
    let state = api.view().await?;
    Ok(Json(view::queue(&state, offers, now())).into_response())
}

/// `DELETE /v2/queue/{id}/delay`.
pub(super) async fn reset_delay(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Answer {
    let id = rest.strip_suffix("/delay").ok_or_else(Failure::not_found)?;
    let not_queued = || Failure::new(StatusCode::NOT_FOUND, format!("Application /{id} not found in tasks queue."));
    let app = AppId::parse(id, &AppId::root()).map_err(|_| not_queued())?;
    api.command(origin(&request), Command::ResetDelay { app }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn info(State(api): State<Api>) -> Answer {
    let config = &api.around.config;
    let framework_id = api.view().await?.framework.as_ref().map(ToString::to_string);
    let (first, last) = config.service_ports;
    let (host, port) = config.advertise.rsplit_once(':').unwrap_or((&config.advertise, "0"));
    let info = Info {
        name: "marathon".to_owned(),
        version: COMPATIBLE.to_owned(),
        buildref: concat!("stoa-", env!("CARGO_PKG_VERSION")).to_owned(),
        elected: api.leads(),
        leader: api.leader_now(),
        framework_id,
        marathon_config: MarathonConfig {
            master: config.masters.join(","),
            failover_timeout: crate::driver::FAILOVER_TIMEOUT.as_millis() / 1000,
            framework_name: "marathon".to_owned(),
            ha: true,
            checkpoint: true,
            local_port_min: first,
            local_port_max: last,
            executor: "//cmd".to_owned(),
            hostname: host.to_owned(),
            webui_url: None,
            mesos_role: config.role.clone(),
            mesos_user: None,
            task_launch_timeout: limits::LAUNCH_TIMEOUT.as_millis(),
            reconciliation_interval: limits::RECONCILE_INTERVAL.as_millis(),
            ..MarathonConfig::default()
        },
        zookeeper_config: ZookeeperConfig::default(),
        http_config: HttpConfig { http_port: port.parse().unwrap_or(0), https_port: None },
    };
    Ok(Json(info).into_response())
}

pub(super) async fn leader(State(api): State<Api>) -> Answer {
    match api.leader_now() {
        Some(leader) => Ok(Json(Leader { leader }).into_response()),
        None => Err(Failure::new(StatusCode::NOT_FOUND, "There is no leader")),
    }
}

/// Gives the leadership up; another instance, or this one after a pause, takes it.
pub(super) async fn abdicate(State(api): State<Api>) -> Answer {
    if !api.leads() {
        return Err(Failure::new(StatusCode::NOT_FOUND, "There is no leader"));
    }
    api.around.abdicate.notify_one();
    Ok(Json(Message { message: "Leadership abdicated".to_owned() }).into_response())
}

pub(super) async fn events(State(api): State<Api>, headers: HeaderMap, request: Request) -> Answer {
    api.view().await?;
    let query = Query::parse(request.uri().query());
    stream::open(&api, now(), &crate::http::serve::client(&request), &headers, &query)
}

pub(super) async fn drains(State(api): State<Api>) -> Answer {
    Ok(Json(drain::drains(&*api.view().await?)).into_response())
}

/// A balancer sends nothing more to these tasks.
pub(super) async fn drained(State(api): State<Api>, request: Request) -> Answer {
    let origin = origin(&request);
    let headers = request.headers().clone();
    let bytes = axum::body::to_bytes(request.into_body(), limits::BODY_BYTES)
        .await
        .map_err(|_| Failure::status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let document: DrainAcknowledgement = body::read(&headers, &bytes)?;
    if document.task_ids.len() > limits::TASKS_PER_KILL {
        let text = format!("taskIds must not name more than {} tasks", limits::TASKS_PER_KILL);
        return Err(Refusal::BadRequest(text).into());
    }
    let tasks = document.task_ids.iter().map(|text| TaskId::from(text.as_str())).collect();
    api.command(origin, Command::Drained { drainer: document.drainer, tasks }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn plugins() -> Answer {
    Ok(Json(json!({ "plugins": [] })).into_response())
}

/// `pong`, in whatever form is asked for.
pub(super) async fn ping(headers: HeaderMap) -> Answer {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let text = |kind: &'static str| ([(header::CONTENT_TYPE, kind)], "pong").into_response();
    Ok(if ["text/plain", "text/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
        text("text/plain")
    } else if accept.contains("text/html") {
        text("text/html")
    } else if accept.contains("application/json") {
        Json("pong").into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    })
}

/// 200 when this instance can do its work: it leads with its records loaded, or it knows who does.
pub(super) async fn health(State(api): State<Api>) -> Answer {
    let loaded = api.around.view.borrow().is_some();
    match api.leader_now() {
        Some(_) if loaded || !api.leads() => Ok(StatusCode::OK.into_response()),
        Some(_) => Err(Failure::not_loaded()),
        None => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no instance leads, or no master answers")),
    }
}

pub(super) async fn version() -> Answer {
    Ok(Json(json!({ "version": env!("CARGO_PKG_VERSION"), "name": "stoa marathon" })).into_response())
}

pub(super) async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Answer {
    observe(&api);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/json") {
        return Ok(Json(api.metrics.json()).into_response());
    }
    Ok(text(&api))
}

pub(super) async fn prometheus(State(api): State<Api>) -> Answer {
    observe(&api);
    Ok(text(&api))
}

fn text(api: &Api) -> axum::response::Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, api.metrics.text()).into_response()
}

/// Brings the gauges to the present: nobody looks at them between two reads.
fn observe(api: &Api) {
    let metrics = &api.metrics;
    let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    metrics.leading.set(i64::from(api.leads()));
    metrics.streams.set(size(api.hub().map_or(0, |hub| hub.readers())));
    let view = api.around.view.borrow().clone().unwrap_or_default();
    metrics.apps.set(size(view.definitions().count()));
    metrics.instances.set(size(view.instances.len()));
    metrics.deployments.set(size(view.deployments.len()));
    metrics.waiting.set(size(view.waiting.len()));
}
