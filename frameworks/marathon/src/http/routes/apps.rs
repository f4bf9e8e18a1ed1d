//! `/v2/apps`: definitions, versions, restarts, and the tasks of one app.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use model::id::TaskId;
use wire::marathon::{App, AppInfo, AppResponse, AppsResponse, StarResponse, TasksResponse, VersionsResponse};

use super::{app_id, origin, tasks};
use crate::core::app::AppDefinition;
use crate::core::id::AppId;
use crate::core::render::render;
use crate::core::version::Version;
use crate::driver::now;
use crate::http::Api;
use crate::http::body;
use crate::http::query::Query;
use crate::http::reply::{Answer, Failure, deployed, deployment_header, location, reference};
use crate::http::selector::Selector;
use crate::http::view::app::{self, Embed};
use crate::http::view::task;
use crate::limits;
use crate::supervisor::message::{Command, Origin, Refusal, Reply, Selection, UpdateOptions};
use crate::supervisor::state;

/// What stands behind the id in a path.
enum Target {
    App(AppId),
    /// `/v2/apps/{group}/*`: every app below a group.
    Below(AppId),
    Versions(AppId),
    Version(AppId, String),
    Tasks(AppId),
    TasksBelow(AppId),
    Task(AppId, TaskId),
    Restart(AppId),
}

/// Ids have slashes, so the words of the API are looked for from the right.
fn target(rest: &str) -> Result<Target, Failure> {
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        ["*"] => Ok(Target::Below(AppId::root())),
        [id @ .., "*"] => Ok(Target::Below(app_id(&id.join("/"))?)),
        [id @ .., "*", "tasks"] => Ok(Target::TasksBelow(group_id(&id.join("/"))?)),
        [id @ .., "versions"] if !id.is_empty() => Ok(Target::Versions(app_id(&id.join("/"))?)),
        [id @ .., "versions", version] if !id.is_empty() => {
            Ok(Target::Version(app_id(&id.join("/"))?, (*version).to_owned()))
        }
        [id @ .., "tasks"] if !id.is_empty() => Ok(Target::Tasks(app_id(&id.join("/"))?)),
        [id @ .., "tasks", task] if !id.is_empty() => {
            Ok(Target::Task(app_id(&id.join("/"))?, TaskId::from(*task)))
        }
        [id @ .., "restart"] if !id.is_empty() => Ok(Target::Restart(app_id(&id.join("/"))?)),
        _ => Ok(Target::App(app_id(rest)?)),
    }
}

fn group_id(text: &str) -> Result<AppId, Failure> {
    AppId::parse_group(text, &AppId::root())
        .map_err(|_| Failure::new(StatusCode::NOT_FOUND, format!("Group '/{text}' does not exist")))
}

pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let filter = Filter::parse(&query)?;
    let state = api.view().await?;
    let embed = Embed::LIST.with(&query);
    let found = state.definitions().filter(|definition| filter.takes(definition));
    let apps = found.map(|definition| app::info(&state, definition, embed, now())).collect();
    Ok(Json(AppsResponse { apps }).into_response())
}

struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    labels: Option<Selector>,
}

impl Filter {
    fn parse(query: &Query) -> Result<Self, Failure> {
        let lower = |name: &str| query.first(name).map(str::to_lowercase);
        let labels = query.first("label").map(Selector::parse).transpose();
        let labels = labels.map_err(|text| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, text))?;
        Ok(Self { cmd: lower("cmd"), id: lower("id"), labels })
    }

    fn takes(&self, app: &AppDefinition) -> bool {
        let within = |wanted: &Option<String>, text: Option<&str>| match wanted {
            None => true,
            Some(wanted) => text.is_some_and(|text| text.to_lowercase().contains(wanted.as_str())),
        };
        within(&self.cmd, app.cmd.as_deref())
            && within(&self.id, Some(app.id.as_str()))
            && self.labels.as_ref().is_none_or(|selector| selector.holds(&app.labels))
    }
}

pub(super) async fn read(State(api): State<Api>, Path(rest): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let state = api.view().await?;
    match target(&rest)? {
        Target::App(id) => {
            let definition = defined(&state, &id)?;
            let info = app::info(&state, definition, Embed::SINGLE.with(&query), now());
            Ok(Json(AppResponse { app: info }).into_response())
        }
        Target::Below(group) => {
            let apps = below(&state, &group, Embed::LIST.with(&query))?;
            Ok(Json(StarResponse { apps }).into_response())
        }
        Target::Versions(id) => {
            defined(&state, &id)?;
            let versions = state.apps.get(&id).into_iter().flat_map(|app| app.versions.keys().rev());
            Ok(Json(VersionsResponse { versions: versions.map(ToString::to_string).collect() }).into_response())
        }
        Target::Version(id, version) => version_of(&state, &id, &version),
        Target::Tasks(id) => {
            defined(&state, &id)?;
            let tasks = state.instances_of(&id).filter_map(|instance| task::task(&state, instance)).collect();
            Ok(Json(TasksResponse { tasks }).into_response())
        }
        Target::TasksBelow(group) => {
            let below = state.instances.values().filter(|instance| group.contains(&instance.app));
            let tasks = below.filter_map(|instance| task::task(&state, instance)).collect();
            Ok(Json(TasksResponse { tasks }).into_response())
        }
        Target::Task(..) | Target::Restart(_) => Err(Failure::status(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn defined<'a>(state: &'a state::State, id: &AppId) -> Result<&'a AppDefinition, Failure> {
    state.definition(id).map(AsRef::as_ref).ok_or_else(|| Refusal::UnknownApp(id.clone()).into())
}

fn below(state: &state::State, group: &AppId, embed: Embed) -> Result<Vec<AppInfo>, Failure> {
    let found: Vec<AppInfo> = state
        .definitions()
        .filter(|definition| group.contains(&definition.id))
        .map(|definition| app::info(state, definition, embed, now()))
        .collect();
    if found.is_empty() && !group.is_root() {
        return Err(Failure::new(StatusCode::NOT_FOUND, format!("Group '{group}' does not exist")));
    }
    Ok(found)
}

fn version_of(state: &state::State, id: &AppId, text: &str) -> Answer {
    defined(state, id)?;
    let Some(version) = Version::parse(text) else {
        return Err(Refusal::Unprocessable(format!("Invalid timestamp '{text}' in version")).into());
    };
    let former = state.apps.get(id).and_then(|app| app.versions.get(&version));
    let former = former.ok_or_else(|| Failure::from(Refusal::UnknownVersion(id.clone(), version)))?;
    Ok(Json(render(former)).into_response())
}

/// A request taken apart: the query and the body are read once, here.
struct Parts {
    origin: Origin,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl Parts {
    async fn of(request: Request) -> Result<Self, Failure> {
        let origin = origin(&request);
        let query = Query::parse(request.uri().query());
        let headers = request.headers().clone();
        // A length that is announced is refused before the body is read.
        let announced = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limits::BODY_BYTES) {
            return Err(too_large());
        }
        let body = axum::body::to_bytes(request.into_body(), limits::BODY_BYTES).await.map_err(|_| too_large())?;
        Ok(Self { origin, query, headers, body })
    }

    fn document<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        body::read(&self.headers, &self.body)
    }

    fn force(&self) -> bool {
        self.query.flag("force", false)
    }
}

fn too_large() -> Failure {
    let text = format!("the body must not be larger than {} bytes", limits::BODY_BYTES);
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

pub(super) async fn create(State(api): State<Api>, request: Request) -> Answer {
    let parts = Parts::of(request).await?;
    let document: App = parts.document()?;
    let command = Command::Create { document: Box::new(document), force: parts.force() };
    match api.command(parts.origin, command).await? {
        Reply::Created { app, deployment } => {
            let info = AppInfo {
                app: render(&app),
                tasks_staged: Some(0),
                tasks_running: Some(0),
                tasks_healthy: Some(0),
                tasks_unhealthy: Some(0),
                deployments: Some(vec![reference(&deployment)]),
                ..AppInfo::default()
            };
            let headers = [deployment_header(&deployment), location(&format!("/v2/apps{}", app.id))];
            Ok((StatusCode::CREATED, headers, Json(info)).into_response())
        }
        other => finish(other, None),
    }
}

pub(super) async fn replace(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Answer {
    change(&api, &rest, request, true).await
}

pub(super) async fn patch(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Answer {
    change(&api, &rest, request, false).await
}

async fn change(api: &Api, rest: &str, request: Request, put: bool) -> Answer {
    let Target::App(id) = target(rest)? else {
        return Err(Failure::status(StatusCode::METHOD_NOT_ALLOWED));
    };
    let parts = Parts::of(request).await?;
    let document: App = parts.document()?;
    let options = options(&parts, put);
    let command = Command::Update { app: id.clone(), document: Box::new(document), options };
    finish(api.command(parts.origin, command).await?, Some(&id))
}

fn options(parts: &Parts, put: bool) -> UpdateOptions {
    let partial = !put || parts.query.flag("partialUpdate", true);
    UpdateOptions { force: parts.force(), partial, create: put }
}

pub(super) async fn replace_many(State(api): State<Api>, request: Request) -> Answer {
    change_many(&api, request, true).await
}

pub(super) async fn patch_many(State(api): State<Api>, request: Request) -> Answer {
    change_many(&api, request, false).await
}

async fn change_many(api: &Api, request: Request, put: bool) -> Answer {
    let parts = Parts::of(request).await?;
    let documents: Vec<App> = parts.document()?;
    let options = options(&parts, put);
    finish(api.command(parts.origin, Command::UpdateMany { documents, options }).await?, None)
}

/// `POST` below an app: only a restart.
pub(super) async fn act(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Answer {
    let Target::Restart(app) = target(&rest)? else {
        return Err(Failure::status(StatusCode::METHOD_NOT_ALLOWED));
    };
    let parts = Parts::of(request).await?;
    let command = Command::Restart { app, force: parts.force() };
    finish(api.command(parts.origin, command).await?, None)
}

pub(super) async fn remove(State(api): State<Api>, Path(rest): Path<String>, request: Request) -> Answer {
    let parts = Parts::of(request).await?;
    match target(&rest)? {
        Target::App(app) => {
            let command = Command::Delete { app, force: parts.query.flag("force", true) };
            finish(api.command(parts.origin, command).await?, None)
        }
        Target::Tasks(app) => {
            let host = parts.query.first("host").map(str::to_owned);
            let selection = Selection::App { app, host };
            tasks::kill_selected(&api, parts.origin, &parts.query, selection).await
        }
        Target::Task(app, task) => {
            let selection = Selection::Task { app, task };
            tasks::kill_selected(&api, parts.origin, &parts.query, selection).await
        }
        _ => Err(Failure::status(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// The answer to a change that started a deployment.
pub(super) fn finish(reply: Reply, created_at: Option<&AppId>) -> Answer {
    let Reply::Deployed { version, deployment, created } = reply else {
        return Ok(StatusCode::OK.into_response());
    };
    match created_at.filter(|_| created) {
        Some(id) => {
            let location = [location(&format!("/v2/apps{id}"))];
            Ok((location, deployed(StatusCode::CREATED, version, &deployment)).into_response())
        }
        None => Ok(deployed(StatusCode::OK, version, &deployment)),
    }
}
