//! The sidecar's own address: how it fares, what it did, and the endpoints other balancers of its kind have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::mpsc;

use crate::apply::Order;
use crate::core::Input;
use crate::runtime::processes;
use crate::shared::{Shared, Status};
use crate::socket::ask;

/// What the routes need.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: PathBuf,
    pub(crate) master: PathBuf,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/_haproxy_health_check", get(health))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/config", get(configuration))
        .route("/_haproxy_getconfig", get(configuration))
        .route("/_haproxy_getvhostmap", get(no_map))
        .route("/_haproxy_getappmap", get(no_map))
        .route("/_haproxy_getpids", get(pids))
        .route("/haproxy", get(statistics))
        .route("/_mlb_signal/hup", any(refresh))
        .route("/_mlb_signal/usr1", any(reload))
        .with_state(admin)
}

/// 200 while HAProxy serves, also on the last good state: that is what the sidecar is for.
async fn health(State(admin): State<Admin>) -> (StatusCode, Json<Status>) {
    let status = admin.shared.status().clone();
    let code = if status.haproxy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(status))
}

async fn version() -> Json<serde_json::Value> {
    Json(json!({ "name": "stoa haproxy", "version": env!("CARGO_PKG_VERSION") }))
}

async fn metrics(State(admin): State<Admin>) -> Response {
    text("text/plain; version=0.0.4", admin.shared.metrics.text())
}

async fn configuration(State(admin): State<Admin>) -> Response {
    let configuration = Arc::clone(&admin.shared.status().configuration);
    text("text/plain", configuration.to_string())
}

/// Host names are routed by rules in the configuration, so the maps other balancers keep are empty.
async fn no_map() -> Response {
    text("text/plain", String::new())
}

async fn pids(State(admin): State<Admin>) -> Response {
    let found = ask(&admin.master, "show proc").await.ok().and_then(|answer| processes(&answer).ok());
    let Some(found) = found else { return unavailable() };
    let pids: Vec<String> = found.workers.iter().chain(&found.old_workers).map(u32::to_string).collect();
    text("text/plain", pids.join(" "))
}

/// `/haproxy?stats;csv`: HAProxy's own table. There is no page for people here.
async fn statistics(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    if !query.is_some_and(|query| query.starts_with("stats")) {
        return (StatusCode::NOT_FOUND, "ask for /haproxy?stats;csv\n").into_response();
    }
    match ask(&admin.stats, "show stat").await {
        Ok(table) => text("text/csv", table),
        Err(_) => unavailable(),
    }
}

async fn refresh(State(admin): State<Admin>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if !peer.ip().is_loopback() {
        return forbidden();
    }
    match admin.inputs.try_send(Input::Refresh) {
        Ok(()) => text("text/plain", "reading everything anew\n".into()),
        Err(_) => unavailable(),
    }
}

async fn reload(State(admin): State<Admin>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if !peer.ip().is_loopback() {
        return forbidden();
    }
    match admin.orders.try_send(Order::Reload) {
        Ok(()) => text("text/plain", "loading the configuration again\n".into()),
        Err(_) => unavailable(),
    }
}

fn text(kind: &'static str, body: String) -> Response {
    ([(CONTENT_TYPE, kind)], body).into_response()
}

fn forbidden() -> Response {
    (StatusCode::FORBIDDEN, "only from this machine itself\n").into_response()
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "HAProxy does not answer\n").into_response()
}
