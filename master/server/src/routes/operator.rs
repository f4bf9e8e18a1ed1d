//! `/api/v1`: the operator API.

use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Method;
use master_core::call::OperatorCall;
use master_core::effect::Reply;
use master_core::input::Input;
use master_core::refusal::Refusal;
use master_core::render::{self, Large};
use master_core::snapshot::Snapshot;
use model::time::Time;
use wire::master::call::{ListFiles, ReadFile, SetLoggingLevel, Type};
use wire::master::{Call, Response as Answer, response};

use super::flat::flat_metrics;
use super::logs;
use super::scheduler::{connection, request_codec, response_codec, streaming};
use super::{ask, ask_for_stream, plain, refused, stream_id};
use crate::app::App;
use crate::path::Original;
use crate::{answer, body, guard, large, redirect, who};

pub(super) async fn call(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(&app, request).await.unwrap_or_else(|refusal| refusal)
}

async fn respond(app: &Arc<App>, request: Request) -> Result<Response, Response> {
    redirect::unless_leading(app, &request)?;
    let (parts, payload) = request.into_parts();
    let original = parts.extensions.get::<Original>();
    if parts.method != Method::POST {
        return Err(answer::method_not_allowed("POST", &parts.method));
    }
    let codec = request_codec(&parts.headers)?;
    let bytes = body::read(app, &parts.headers, payload).await?;
    let decode = move |bytes: &[u8]| codec.decode::<Call>(bytes);
    let call = body::decode(bytes, decode, |error| answer::bad(error.to_string())).await?;
    let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok());
    if let Some(kind) = kind {
        guard::may_call(&parts.extensions, kind)?;
    }
    // A call that cannot be is refused before the question how to answer it.
    let local = kind.is_some_and(is_local);
    let stream = stream_id();
    let mut own = Own::default();
    let decoded = match local {
        true => {
            own = Own { set_level: call.set_logging_level, list: call.list_files, read: call.read_file };
            None
        }
        false => Some(
            OperatorCall::decode(call, stream.clone()).map_err(|refusal| refused(app, &refusal, original))?,
        ),
    };
    let accept = response_codec(&parts.headers)?;
    let Some(decoded) = decoded else { return own_answer(app, accept, kind, own).await };
    match decoded {
        OperatorCall::Read => {
            let (kind, started) = (kind.unwrap_or(Type::Unknown), app.about.started);
            let read = large::read(app, original).await?;
            if let Some(what) = Large::of(kind) {
                let written =
                    move |snapshot: &Snapshot, out: &mut dyn io::Write| what.write(snapshot, accept, out);
                return Ok(read.write(accept.content_type(), written).await);
            }
            let answered = read.look(move |snapshot| self::read(kind, snapshot, started)).await?;
            Ok(match answered {
                Ok(message) => answer::message(accept, &message),
                Err(refusal) => answer::text(http::StatusCode::NOT_IMPLEMENTED, refusal.to_string()),
            })
        }
        OperatorCall::Subscribe { .. } => {
            let connection = connection(&parts.extensions)?;
            let (asked, reader) =
                ask_for_stream(app, stream, connection, |request| Input::Operator { request, call: decoded })
                    .await;
            finish(app, asked.answer().await, original, || streaming(accept, reader.into_body(accept)))
        }
        other => {
            let asked = ask(app, |request| Input::Operator { request, call: other }).await;
            finish(app, asked.answer().await, original, || answer::empty(http::StatusCode::OK))
        }
    }
}

fn finish(
    app: &App,
    result: Result<Reply, Refusal>,
    original: Option<&Original>,
    stream: impl FnOnce() -> Response,
) -> Result<Response, Response> {
    match result {
        Ok(Reply::Stream(_)) => Ok(stream()),
        Ok(reply) => Ok(plain(&reply)),
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}

fn read(kind: Type, snapshot: &Snapshot, started: Time) -> Result<Answer, Refusal> {
    Ok(match kind {
        Type::GetMaster => render::get_master(snapshot, started),
        Type::GetRoles => render::get_roles(snapshot),
        Type::GetWeights => render::get_weights(snapshot),
        Type::GetQuota => render::get_quota(snapshot),
        Type::GetMaintenanceSchedule => render::get_maintenance_schedule(snapshot),
        Type::GetMaintenanceStatus => render::get_maintenance_status(snapshot),
        Type::GetOperations => render::get_operations(snapshot),
        other => return Err(Refusal::Unsupported(other.as_str_name().to_owned())),
    })
}

/// Calls about this process, which the core knows nothing of.
fn is_local(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetHealth
            | Type::GetVersion
            | Type::GetFlags
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::SetLoggingLevel
            | Type::ListFiles
            | Type::ReadFile
    )
}

/// What such calls carry.
#[derive(Default)]
struct Own {
    set_level: Option<SetLoggingLevel>,
    list: Option<ListFiles>,
    read: Option<ReadFile>,
}

async fn own_answer(
    app: &Arc<App>,
    accept: wire::Codec,
    kind: Option<Type>,
    own: Own,
) -> Result<Response, Response> {
    Ok(answer::message(
        accept,
        &match kind {
            Some(Type::SetLoggingLevel) => return logs::set_level(app, own.set_level),
            Some(Type::GetLoggingLevel) => logs::level(app),
            Some(Type::ListFiles) => logs::list(app, own.list).await?,
            Some(Type::ReadFile) => logs::read_file(app, own.read).await?,
            kind => about(app, kind).await,
        },
    ))
}

/// What this process is and does.
async fn about(app: &Arc<App>, kind: Option<Type>) -> Answer {
    let mut out = Answer::default();
    let kind = match kind {
        Some(Type::GetVersion) => {
            out.get_version = Some(response::GetVersion {
                version_info: wire::v1::VersionInfo {
                    version: who::API_VERSION.to_owned(),
                    build_date: Some(String::new()),
                    build_time: Some(0.0),
                    build_user: Some("stoa".to_owned()),
                    ..Default::default()
                },
            });
            response::Type::GetVersion
        }
        Some(Type::GetFlags) => {
            let flags = app.about.flags.iter();
            out.get_flags = Some(response::GetFlags {
                flags: flags
                    .map(|(name, value)| wire::v1::Flag {
                        name: (*name).to_owned(),
                        value: Some(value.clone()),
                    })
                    .collect(),
            });
            response::Type::GetFlags
        }
        Some(Type::GetMetrics) => {
            let metrics = flat_metrics(app).await.into_iter();
            out.get_metrics = Some(response::GetMetrics {
                metrics: metrics.map(|(name, value)| wire::v1::Metric { name, value: Some(value) }).collect(),
            });
            response::Type::GetMetrics
        }
        _ => {
            out.get_health = Some(response::GetHealth { healthy: true });
            response::Type::GetHealth
        }
    };
    out.r#type = Some(kind.into());
    out
}
