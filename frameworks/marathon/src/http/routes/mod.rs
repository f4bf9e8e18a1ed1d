//! Which handler answers which path, and what every answer has in common.

mod apps;
mod deployments;
mod groups;
mod service;
mod tasks;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::reply::Failure;
use super::serve::client;
use super::{Api, proxy};
use crate::core::id::AppId;
use crate::limits;
use crate::supervisor::message::Origin;

/// Everything the API answers.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route(
            "/v2/apps",
            get(apps::list).post(apps::create).put(apps::replace_many).patch(apps::patch_many),
        )
        .route(
            "/v2/apps/{*rest}",
            get(apps::read).post(apps::act).put(apps::replace).patch(apps::patch).delete(apps::remove),
        )
        .route("/v2/tasks", get(tasks::list))
        .route("/v2/tasks/delete", post(tasks::kill))
        .route("/v2/groups", get(groups::root))
        .route("/v2/groups/{*rest}", get(groups::read))
        .route("/v2/deployments", get(deployments::list))
        .route("/v2/deployments/{id}", delete(deployments::cancel))
        .route("/v2/queue", get(service::queue))
        .route("/v2/queue/{*rest}", delete(service::reset_delay))
        .route("/v2/info", get(service::info))
        .route("/v2/leader", get(service::leader).delete(service::abdicate))
        .route("/v2/events", get(service::events))
        .route("/v2/drains", get(service::drains).post(service::drained))
        .route("/v2/plugins", get(service::plugins))
        .route("/ping", get(service::ping))
        .route("/health", get(service::health))
        .route("/version", get(service::version))
        .route("/metrics", get(service::metrics))
        .route("/metrics/prometheus", get(service::prometheus))
        .method_not_allowed_fallback(async || Failure::status(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || Failure::not_found())
        .layer(middleware::from_fn_with_state(api.clone(), proxy::to_leader))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .layer(middleware::from_fn_with_state(api.clone(), common))
        .with_state(api)
}

/// Headers of every answer, and the errors that the framework itself makes in the form of ours.
async fn common(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    api.metrics.answered(response.status().as_u16());
    let plain = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/plain; charset=utf-8");
    if plain && response.status().is_client_error() {
        response = Failure::status(response.status()).into_response();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (header::EXPIRES, "0"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-xss-protection"), "1; mode=block"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who asks, for the events that tell of it.
fn origin(request: &Request) -> Origin {
    let uri = request.uri().path_and_query().map_or("/", |both| both.as_str());
    Origin { client_ip: client(request), uri: uri.to_owned() }
}

/// The id that a path names; what cannot be an id is that of no app.
fn app_id(text: &str) -> Result<AppId, Failure> {
    AppId::parse(text, &AppId::root())
        .map_err(|_| Failure::new(StatusCode::NOT_FOUND, format!("App '/{text}' does not exist")))
}
