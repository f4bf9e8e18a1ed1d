//! `/v2/tasks`.

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode};
use model::id::TaskId;
use wire::marathon::{KillTasks, Task, TasksResponse};

use super::{apps, wants_only, wrong_method};
use crate::core::app::AppDefinition;
use crate::core::id;
use crate::core::instance::{Condition, Instance};
use crate::http::present;
use crate::http::respond::{Answered, Problem, TEXT, ok, with_type};
use crate::http::{Api, Call};
use crate::supervisor::message::{Command, Reply, Selection};
use crate::supervisor::state::State;

pub(super) async fn list(api: &Api, call: &Call) -> Answered {
    if call.method() != Method::GET {
        return Err(wrong_method());
    }
    let state = api.view().await?;
    if wants_only(&call.parts.headers, TEXT) {
        let apps: Vec<_> = state.definitions().cloned().collect();
        return Ok(text(&state, &apps));
    }
    let wanted: Vec<&str> = call.query.all("status").chain(call.query.all("status[]")).collect();
    let keep = |instance: &Instance| {
        wanted.is_empty()
            || wanted.iter().any(|status| match instance.condition {
                Condition::Running => status.eq_ignore_ascii_case("running"),
                Condition::Provisioned | Condition::Staging => status.eq_ignore_ascii_case("staging"),
                _ => false,
            })
    };
    let apps = state.apps.keys();
    let tasks = apps.flat_map(|app| present::shown(&state, app)).filter(|(instance, _)| keep(instance));
    ok(&TasksResponse {
        tasks: tasks.map(|(instance, task)| present::task(&state, instance, task)).collect(),
    })
}

/// The list load balancers of old read: a line for each app and service port, its fields separated by tabs.
pub(super) fn text(state: &State, apps: &[Arc<AppDefinition>]) -> Response {
    let mut lines = String::new();
    for app in apps {
        let running: Vec<_> = present::shown(state, &app.id)
            .filter(|(instance, _)| instance.condition == Condition::Running)
            .map(|(_, task)| task)
            .collect();
        let name = app.id.safe();
        if app.ports.is_empty() {
            let hosts: String = running.iter().map(|task| format!("{}\t", task.host)).collect();
            lines.push_str(&format!("{name}\t \t{hosts}\n"));
        }
        for (at, definition) in app.ports.iter().enumerate() {
            let hosts: String = running
                .iter()
                .filter_map(|task| Some(format!("{}:{}\t", task.host, task.ports.get(at)?)))
                .collect();
            lines.push_str(&format!("{name}\t{}\t{hosts}\n", definition.port));
        }
    }
    with_type(StatusCode::OK, TEXT, lines.into_bytes())
}

pub(super) async fn delete_many(api: &Api, call: &Call) -> Answered {
    if call.method() != Method::POST {
        return Err(wrong_method());
    }
    let KillTasks { ids } = call.document()?;
    if let Some(bad) = ids.iter().find(|text| id::of_task(text).is_none()) {
        return Err(Problem::BadRequest(format!("Invalid task id '{}'.", bad.escape_debug())));
    }
    let selection = Selection::Tasks(ids.into_iter().map(TaskId::from).collect());
    let flag = |name| call.query.flag(name, false);
    let command = Command::Kill { selection, scale: flag("scale"), wipe: flag("wipe"), force: flag("force") };
    match api.command(call, command).await? {
        Reply::Killing(instances) => {
            let state = api.view().await?;
            ok(&TasksResponse {
                tasks: instances.iter().filter_map(|instance| killed(&state, instance)).collect(),
            })
        }
        other => Ok(apps::changed(&other)),
    }
}

/// A task as it was when its kill was asked for.
pub(super) fn killed(state: &State, instance: &Arc<Instance>) -> Option<Task> {
    Some(present::task(state, instance, instance.task.as_ref()?))
}
