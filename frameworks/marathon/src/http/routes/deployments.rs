//! `/v2/deployments`: what is under way, and taking it back.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use wire::marathon::Deployment;

use super::{apps, origin};
use crate::core::id::DeploymentId;
use crate::http::Api;
use crate::http::query::Query;
use crate::http::reply::Answer;
use crate::http::view::deployment;
use crate::supervisor::message::{Command, Reply};

pub(super) async fn list(State(api): State<Api>) -> Answer {
    let state = api.view().await?;
    let all: Vec<Deployment> = state.deployments.values().map(|one| deployment::deployment(one)).collect();
    Ok(Json(all).into_response())
}

/// Without force a new deployment brings the former definitions back; with it everything stays as it is now.
pub(super) async fn cancel(State(api): State<Api>, Path(id): Path<String>, request: Request) -> Answer {
    let force = Query::parse(request.uri().query()).flag("force", false);
    let command = Command::CancelDeployment { deployment: DeploymentId::from(id.as_str()), force };
    match api.command(origin(&request), command).await? {
        Reply::Cancelled => Ok(StatusCode::ACCEPTED.into_response()),
        other => apps::finish(other, None),
    }
}
