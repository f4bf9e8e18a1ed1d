//! The legacy endpoints of maintenance: `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use master_core::call::OperatorCall;
use master_core::input::Input;
use master_core::registry::MaintenanceCommand;
use master_core::render;
use serde::Deserialize;
use wire::maintenance::Schedule;
use wire::v1::MachineId;

use super::legacy::leaders;
use super::{ask, plain, refused};
use crate::app::App;
use crate::path::Original;
use crate::{answer, body, redirect};

/// GET tells the schedule, POST replaces it.
pub(super) async fn schedule(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.method() == Method::POST {
        return change(&app, request, |bytes| {
            let schedule = wire::json::from_slice::<Schedule>(bytes).map_err(|error| error.to_string())?;
            Ok(MaintenanceCommand::schedule(schedule))
        })
        .await
        .unwrap_or_else(|refusal| refusal);
    }
    leaders(app, request, |snapshot, _, out| {
        wire::json::to_writer(out, &render::maintenance_schedule(snapshot))
    })
    .await
}

pub(super) async fn status(State(app): State<Arc<App>>, request: Request) -> Response {
    leaders(app, request, |snapshot, _, out| {
        wire::json::to_writer(out, &render::maintenance_status(snapshot))
    })
    .await
}

/// An array of machines goes away.
pub(super) async fn down(State(app): State<Arc<App>>, request: Request) -> Response {
    machines(&app, request, MaintenanceCommand::down).await
}

/// An array of machines is back.
pub(super) async fn up(State(app): State<Arc<App>>, request: Request) -> Response {
    machines(&app, request, MaintenanceCommand::up).await
}

#[derive(Deserialize)]
struct MachineGiven {
    hostname: Option<String>,
    ip: Option<String>,
}

async fn machines(
    app: &App,
    request: Request,
    command: fn(Vec<MachineId>) -> MaintenanceCommand,
) -> Response {
    if request.method() != Method::POST {
        return answer::method_not_allowed("POST", request.method());
    }
    let read = move |bytes: &[u8]| {
        let given: Vec<MachineGiven> = serde_json::from_slice(bytes)
            .map_err(|error| format!("Failed to parse an array of machines: {error}"))?;
        let machine = |given: MachineGiven| MachineId { hostname: given.hostname, ip: given.ip };
        Ok(command(given.into_iter().map(machine).collect()))
    };
    change(app, request, read).await.unwrap_or_else(|refusal| refusal)
}

async fn change(
    app: &App,
    request: Request,
    read: impl FnOnce(&[u8]) -> Result<MaintenanceCommand, String> + Send + 'static,
) -> Result<Response, Response> {
    redirect::unless_leading(app, &request)?;
    let (parts, payload) = request.into_parts();
    let bytes = body::read(app, &parts.headers, payload).await?;
    let command = body::decode(bytes, read, answer::bad).await?;
    let call = OperatorCall::Maintain(command);
    match ask(app, |request| Input::Operator { request, call }).await.answer().await {
        Ok(reply) => Ok(plain(&reply)),
        Err(refusal) => Err(refused(app, &refusal, parts.extensions.get::<Original>())),
    }
}
