//! Which path and method means what. Ids contain slashes, so suffixes are matched from the right.

mod apps;
mod deployments;
mod drains;
pub(super) mod events;
mod groups;
mod info;
mod page;
mod queue;
mod tasks;

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::respond::{Answered, Problem};
use super::{Api, Call};
use crate::core::id::AppId;
use crate::driver::now;

/// What every instance answers by itself.
pub(super) async fn local(api: &Api, parts: &Parts, path: &[&str]) -> Option<Answered> {
    let get = parts.method == Method::GET || parts.method == Method::HEAD;
    let answer = match path {
        [] => page::to_page(),
        ["ui"] => page::apps(),
        ["ui", name] => page::file(name),
        ["ping"] => info::ping(&parts.headers),
        ["health"] => info::health(api),
        ["version"] => info::version(),
        ["metrics"] => info::metrics(api, &parts.headers),
        ["metrics", "prometheus"] => info::prometheus(api),
        _ => return None,
    };
    Some(if get { answer } else { Err(Problem::Status(StatusCode::METHOD_NOT_ALLOWED)) })
}

/// What the leader answers.
pub(super) async fn route(api: &Api, call: &Call) -> Answered {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["v2", "apps", rest @ ..] => apps::route(api, call, rest).await,
        ["v2", "tasks"] => tasks::list(api, call).await,
        ["v2", "tasks", "delete"] => tasks::delete_many(api, call).await,
        ["v2", "deployments", rest @ ..] => deployments::route(api, call, rest).await,
        ["v2", "queue", rest @ ..] => queue::route(api, call, rest).await,
        ["v2", "groups", rest @ ..] => groups::route(api, call, rest).await,
        ["v2", "info"] => info::info(api, call),
        ["v2", "leader"] => info::leader(api, call),
        ["v2", "plugins"] => info::plugins(call),
        ["v2", "events"] => events::stream(api, call).await,
        ["v2", "drains"] => drains::route(api, call).await,
        _ => Err(unknown_route()),
    }
}

fn unknown_route() -> Problem {
    Problem::NotFound("URI not found".to_owned())
}

fn wrong_method() -> Problem {
    Problem::Status(StatusCode::METHOD_NOT_ALLOWED)
}

/// The app named by the steps of a path. One that cannot be an id names no app.
fn app_id(steps: &[&str]) -> Result<AppId, Problem> {
    let text = format!("/{}", steps.join("/"));
    AppId::parse_group(&text, &AppId::root())
        .map_err(|_| Problem::NotFound(format!("App '{text}' does not exist")))
}

/// Whether the client takes a media type, and no JSON.
fn wants_only(headers: &HeaderMap, media: &str) -> bool {
    let mut accepted =
        headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accepted.peek().is_none() {
        return false;
    }
    let types: Vec<&str> = accepted
        .flat_map(|list| list.split(','))
        .map(|one| one.split(';').next().unwrap_or_default().trim())
        .collect();
    types.contains(&media)
        && !types.iter().any(|one| ["*/*", "application/*", "application/json"].contains(one))
}

fn status(status: StatusCode) -> Response {
    super::respond::empty(status)
}
