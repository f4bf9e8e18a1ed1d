//! `/v2/apps`.

use std::sync::Arc;

use http::{Method, StatusCode};
use model::id::TaskId;
use serde_json::json;
use wire::marathon::{
    App, AppResponse, AppsResponse, StarResponse, TaskResponse, TasksResponse, VersionsResponse,
};

use super::{app_id, now, unknown_route, wrong_method};
use crate::core::app::AppDefinition;
use crate::core::id::AppId;
use crate::core::render::render;
use crate::core::version::Version;
use crate::http::present::{self, Embed};
use crate::http::query::Query;
use crate::http::respond::{Answered, Problem, deployed, json, ok, with_deployment, with_location};
use crate::http::selector::Selector;
use crate::http::{Api, Call};
use crate::supervisor::message::{Command, Refusal, Reply, Selection, UpdateOptions};
use crate::supervisor::state::State;

pub(super) async fn route(api: &Api, call: &Call, rest: &[&str]) -> Answered {
    match (call.method(), rest) {
        (&Method::GET, []) => list(api, call).await,
        (&Method::POST, []) => create(api, call).await,
        (&Method::PUT, []) => update_many(api, call, true).await,
        (&Method::PATCH, []) => update_many(api, call, false).await,
        (_, []) => Err(wrong_method()),
        (&Method::GET, [group @ .., "*"]) => star(api, call, group).await,
        (&Method::POST, [id @ .., "restart"]) => restart(api, call, id).await,
        (&Method::GET, [id @ .., "tasks"]) => tasks(api, call, id).await,
        (&Method::DELETE, [id @ .., "tasks"]) => {
            let host = call.query.get("host").map(str::to_owned);
            kill(api, call, Selection::App { app: app_id(id)?, host }, false).await
        }
        (&Method::DELETE, [id @ .., "tasks", task]) => {
            kill(api, call, Selection::Task { app: app_id(id)?, task: TaskId::from(*task) }, true).await
        }
        (&Method::GET, [id @ .., "versions"]) => versions(api, id).await,
        (&Method::GET, [id @ .., "versions", version]) => former(api, id, version).await,
        (_, [.., "restart" | "tasks" | "versions" | "*"] | [.., "tasks" | "versions", _]) => {
            Err(wrong_method())
        }
        (&Method::GET, id) => single(api, call, id).await,
        (&Method::PUT, id) => update(api, call, id, true).await,
        (&Method::PATCH, id) => update(api, call, id, false).await,
        (&Method::DELETE, id) => delete(api, call, id).await,
        (&Method::POST, _) => Err(wrong_method()),
        _ => Err(unknown_route()),
    }
}

async fn list(api: &Api, call: &Call) -> Answered {
    let state = api.view().await?;
    let filter = Filter::read(&call.query)?;
    let embed = Embed::read(&call.query, Embed::list());
    let apps = state.definitions().filter(|app| filter.keeps(app));
    ok(&AppsResponse { apps: apps.map(|app| present::app_info(&state, app, embed, now())).collect() })
}

/// Conditions of a list, all of which have to hold.
struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    labels: Option<Selector>,
}

impl Filter {
    fn read(query: &Query) -> Result<Self, Problem> {
        let lower = |key| query.get(key).map(str::to_lowercase);
        let labels = query.get("label").map(Selector::parse).transpose().map_err(Problem::Unprocessable)?;
        Ok(Self { cmd: lower("cmd"), id: lower("id"), labels })
    }

    fn keeps(&self, app: &AppDefinition) -> bool {
        let cmd = |part: &String| app.cmd.as_ref().is_some_and(|cmd| cmd.to_lowercase().contains(part));
        self.cmd.as_ref().is_none_or(cmd)
            && self.id.as_ref().is_none_or(|part| app.id.as_str().contains(part))
            && self.labels.as_ref().is_none_or(|labels| labels.matches(&app.labels))
    }
}

/// Every app of a group and the groups below it.
async fn star(api: &Api, call: &Call, group: &[&str]) -> Answered {
    let state = api.view().await?;
    let id = app_id(group)?;
    let apps = below(&state, &id)?;
    let embed = Embed::read(&call.query, Embed::single());
    ok(&StarResponse { apps: apps.iter().map(|app| present::app_info(&state, app, embed, now())).collect() })
}

fn below(state: &State, group: &AppId) -> Result<Vec<Arc<AppDefinition>>, Problem> {
    let apps: Vec<_> = state.definitions().filter(|app| group.contains(&app.id)).cloned().collect();
    if apps.is_empty() && !group.is_root() {
        return Err(Problem::NotFound(format!("Group '{group}' does not exist")));
    }
    Ok(apps)
}

async fn single(api: &Api, call: &Call, id: &[&str]) -> Answered {
    let state = api.view().await?;
    let app = known(&state, id)?;
    let embed = Embed::read(&call.query, Embed::single());
    ok(&AppResponse { app: present::app_info(&state, &app, embed, now()) })
}

fn known(state: &State, id: &[&str]) -> Result<Arc<AppDefinition>, Problem> {
    let id = app_id(id)?;
    let app = state.definition(&id).cloned();
    app.ok_or_else(|| Refusal::UnknownApp(id).into())
}

async fn create(api: &Api, call: &Call) -> Answered {
    let document = Box::new(call.document::<App>()?);
    let force = call.query.flag("force", false);
    match api.command(call, Command::Create { document, force }).await? {
        Reply::Created { app, deployment } => {
            let mut info = serde_json::to_value(render(&app)).unwrap_or_default();
            for count in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
                info[count] = json!(0);
            }
            info["deployments"] = json!([{"id": deployment.as_str()}]);
            let response = with_deployment(json(StatusCode::CREATED, &info), &deployment);
            Ok(with_location(response, &format!("/v2/apps{}", app.id)))
        }
        other => Ok(changed(&other)),
    }
}

async fn update(api: &Api, call: &Call, id: &[&str], put: bool) -> Answered {
    let document = Box::new(call.document::<App>()?);
    let command = Command::Update { app: app_to_change(id)?, document, options: options(call, put) };
    let reply = api.command(call, command).await?;
    let response = changed(&reply);
    Ok(match reply {
        Reply::Deployed { created: true, .. } => with_location(response, call.parts.uri.path()),
        _ => response,
    })
}

/// The id of an app that may come to exist by this call: one that cannot be is wrong, not unknown.
fn app_to_change(id: &[&str]) -> Result<AppId, Problem> {
    let text = format!("/{}", id.join("/"));
    AppId::parse(&text, &AppId::root())
        .map_err(|error| Refusal::Invalid(crate::core::errors::Errors::one("/id", error.to_string())).into())
}

async fn update_many(api: &Api, call: &Call, put: bool) -> Answered {
    let documents = call.documents::<App>()?;
    let command = Command::UpdateMany { documents, options: options(call, put) };
    Ok(changed(&api.command(call, command).await?))
}

fn options(call: &Call, put: bool) -> UpdateOptions {
    UpdateOptions {
        force: call.query.flag("force", false),
        partial: !put || call.query.flag("partialUpdate", true),
        create: put,
    }
}

async fn delete(api: &Api, call: &Call, id: &[&str]) -> Answered {
    // The one change that is forced unless told otherwise.
    let force = call.query.flag("force", true);
    Ok(changed(&api.command(call, Command::Delete { app: app_id(id)?, force }).await?))
}

async fn restart(api: &Api, call: &Call, id: &[&str]) -> Answered {
    let force = call.query.flag("force", false);
    Ok(changed(&api.command(call, Command::Restart { app: app_id(id)?, force }).await?))
}

/// The answer to a change that has a deployment.
pub(super) fn changed(reply: &Reply) -> axum::response::Response {
    match reply {
        Reply::Deployed { version, deployment, created } => {
            let status = if *created { StatusCode::CREATED } else { StatusCode::OK };
            deployed(status, *version, deployment)
        }
        Reply::Cancelled => super::status(StatusCode::ACCEPTED),
        _ => super::status(StatusCode::NO_CONTENT),
    }
}

async fn tasks(api: &Api, call: &Call, id: &[&str]) -> Answered {
    let state = api.view().await?;
    let apps = match id {
        [group @ .., "*"] => below(&state, &app_id(group)?)?,
        id => vec![known(&state, id)?],
    };
    if super::wants_only(&call.parts.headers, "text/plain") {
        return Ok(super::tasks::text(&state, &apps));
    }
    let all = apps.iter().flat_map(|app| present::shown(&state, &app.id));
    ok(&TasksResponse { tasks: all.map(|(instance, task)| present::task(&state, instance, task)).collect() })
}

/// Kills tasks of one app. `one` says that a single task was named, which has an answer of its own.
async fn kill(api: &Api, call: &Call, selection: Selection, one: bool) -> Answered {
    let flag = |name| call.query.flag(name, false);
    let command = Command::Kill { selection, scale: flag("scale"), wipe: flag("wipe"), force: flag("force") };
    match api.command(call, command).await? {
        Reply::Killing(instances) => {
            let state = api.view().await?;
            let task = |instance: &Arc<_>| super::tasks::killed(&state, instance);
            let mut tasks: Vec<_> = instances.iter().filter_map(task).collect();
            match tasks.pop() {
                Some(task) if one => ok(&TaskResponse { task }),
                last => {
                    tasks.extend(last);
                    ok(&TasksResponse { tasks })
                }
            }
        }
        other => Ok(changed(&other)),
    }
}

async fn versions(api: &Api, id: &[&str]) -> Answered {
    let state = api.view().await?;
    let app = known(&state, id)?;
    let versions =
        state.apps.get(&app.id).map(|record| record.versions.keys().rev().map(ToString::to_string));
    ok(&VersionsResponse { versions: versions.into_iter().flatten().collect() })
}

async fn former(api: &Api, id: &[&str], version: &str) -> Answered {
    let state = api.view().await?;
    let app = known(&state, id)?;
    let Some(version) = Version::parse(version) else {
        return Err(Problem::Unprocessable(format!("Invalid timestamp '{}'", version.escape_debug())));
    };
    match state.apps.get(&app.id).and_then(|record| record.versions.get(&version)) {
        Some(former) => ok(&render(former)),
        None => Err(Refusal::UnknownVersion(app.id.clone(), version).into()),
    }
}
