//! `/v2/tasks`: every task, as JSON and in the tab-separated form that the first HAProxy bridges read; kills.

use std::fmt::Write as _;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use model::id::TaskId;
use model::task::TaskState;
use wire::marathon::{KillTasks, Task, TaskResponse, TasksResponse};

use super::{apps, origin};
use crate::core::app::AppDefinition;
use crate::core::id;
use crate::core::instance::{Condition, Instance};
use crate::http::query::Query;
use crate::http::reply::{Answer, Failure};
use crate::http::view::task;
use crate::http::{Api, body};
use crate::limits;
use crate::supervisor::message::{Command, Origin, Reply, Selection};
use crate::supervisor::state;

pub(super) async fn list(State(api): State<Api>, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let state = api.view().await?;
    if wants_text(&headers) {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((kind, text(&state)).into_response());
    }
    let query = Query::parse(query.as_deref());
    let wanted: Vec<&str> = query.all("status").chain(query.all("status[]")).collect();
    let found = state.instances.values().filter(|instance| has_status(instance, &wanted));
    let tasks = found.filter_map(|instance| task::task(&state, instance)).collect();
    Ok(Json(TasksResponse { tasks }).into_response())
}

/// Text only for those who take nothing else: it has the lowest quality on this side.
fn wants_text(headers: &HeaderMap) -> bool {
    let accepted: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let all = accepted.join(",");
    all.contains("text/plain") && !all.contains("json") && !all.contains("*/*")
}

fn has_status(instance: &Instance, wanted: &[&str]) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|status| match *status {
            "running" => instance.condition == Condition::Running,
            "staging" => matches!(instance.condition, Condition::Staging | Condition::Provisioned),
            _ => false,
        })
}

fn text(state: &state::State) -> String {
    let mut text = String::new();
    for app in state.definitions() {
        let running: Vec<_> = state
            .instances_of(&app.id)
            .filter_map(|instance| instance.task.as_ref())
            .filter(|task| task.state == Some(TaskState::Running))
            .collect();
        for (port, column) in columns(app) {
            let _ = write!(text, "{}\t{column}\t", app.id.safe());
            for task in &running {
                match port.map(|at| task.ports.get(at)) {
                    Some(Some(number)) => {
                        let _ = write!(text, "{}:{number}\t", task.host);
                    }
                    // An instance without that port has nothing to be reached at.
                    Some(None) => {}
                    None => {
                        let _ = write!(text, "{}\t", task.host);
                    }
                }
            }
            text.push('\n');
        }
    }
    text
}

/// One line for each service port; one with a blank column for an app without.
fn columns(app: &AppDefinition) -> Vec<(Option<usize>, String)> {
    if app.ports.is_empty() {
        return vec![(None, " ".to_owned())];
    }
    app.ports.iter().enumerate().map(|(at, port)| (Some(at), port.port.to_string())).collect()
}

pub(super) async fn kill(State(api): State<Api>, request: Request) -> Answer {
    let origin = origin(&request);
    let query = Query::parse(request.uri().query());
    let headers = request.headers().clone();
    let bytes: Bytes = axum::body::to_bytes(request.into_body(), limits::BODY_BYTES)
        .await
        .map_err(|_| Failure::status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let document: KillTasks = body::read(&headers, &bytes)?;
    if let Some(bad) = document.ids.iter().find(|text| id::of_task(text).is_none()) {
        return Err(Failure::new(StatusCode::BAD_REQUEST, format!("'{bad}' is not the id of a task")));
    }
    let ids = document.ids.iter().map(|text| TaskId::from(text.as_str())).collect();
    kill_selected(&api, origin, &query, Selection::Tasks(ids)).await
}

/// Kills tasks and lists them as they were, or scales their apps down.
pub(super) async fn kill_selected(api: &Api, origin: Origin, query: &Query, selection: Selection) -> Answer {
    let single = matches!(selection, Selection::Task { .. });
    let command = Command::Kill {
        selection,
        scale: query.flag("scale", false),
        wipe: query.flag("wipe", false),
        force: query.flag("force", false),
    };
    let killed = match api.command(origin, command).await? {
        Reply::Killing(instances) => instances,
        other => return apps::finish(other, None),
    };
    let state = api.view().await?;
    let mut tasks: Vec<Task> = killed.iter().filter_map(|instance| task::task(&state, instance)).collect();
    match tasks.pop() {
        Some(task) if single => Ok(Json(TaskResponse { task }).into_response()),
        last => {
            tasks.extend(last);
            Ok(Json(TasksResponse { tasks }).into_response())
        }
    }
}
