//! `/api/v1/state`: the key-value API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use master_core::call::StateCall;
use master_core::effect::Reply;
use master_core::input::Input;
use master_core::refusal::Refusal;
use wire::Codec;
use wire::state::{Call, Failure};

use super::scheduler::{connection, request_codec, streaming};
use super::{ask, ask_for_stream, plain, refused, stream_id};
use crate::app::App;
use crate::path::Original;
use crate::{answer, body, redirect};

pub(super) async fn call(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(&app, request).await.unwrap_or_else(|refusal| refusal)
}

async fn respond(app: &App, request: Request) -> Result<Response, Response> {
    redirect::unless_leading(app, &request)?;
    let (parts, payload) = request.into_parts();
    let original = parts.extensions.get::<Original>();
    if parts.method != Method::POST {
        return Err(answer::method_not_allowed("POST", &parts.method));
    }
    if request_codec(&parts.headers)? != Codec::Json {
        let text = "Expecting 'Content-Type' of application/json";
        return Err(answer::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let bytes = body::read(app, &parts.headers, payload).await?;
    let call = body::decode(bytes, Call::from_slice, |error| {
        failure(StatusCode::BAD_REQUEST, error.reason, Some(error.field))
    })
    .await?;
    let call = StateCall::from_wire(call).map_err(|refusal| registry_refused(&refusal))?;
    let stream = stream_id();
    if matches!(call, StateCall::Watch(_)) {
        let connection = connection(&parts.extensions)?;
        let own = stream.clone();
        let (asked, reader) =
            ask_for_stream(app, stream, connection, |request| Input::State { request, stream: own, call })
                .await;
        return match asked.answer().await {
            Ok(Reply::Stream(_)) => Ok(streaming(Codec::Json, reader.into_body(Codec::Json))),
            other => finish(app, other, original),
        };
    }
    let asked = ask(app, |request| Input::State { request, stream, call }).await;
    finish(app, asked.answer().await, original)
}

fn finish(
    app: &App,
    result: Result<Reply, Refusal>,
    original: Option<&Original>,
) -> Result<Response, Response> {
    match result {
        Ok(Reply::State(state)) => match serde_json::to_vec(&*state) {
            Ok(bytes) => Ok(answer::json(bytes)),
            Err(error) => Err(failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), None)),
        },
        Ok(other) => Ok(plain(&other)),
        Err(Refusal::Registry(refusal)) => Err(registry_refused(&refusal)),
        Err(refusal @ (Refusal::Unknown | Refusal::Busy | Refusal::TooMany { .. })) => {
            let response = failure(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string(), None);
            Err(answer::with(response, http::header::RETRY_AFTER, http::HeaderValue::from_static("1")))
        }
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}

fn registry_refused(refusal: &master_core::registry::Refusal) -> Response {
    failure(StatusCode::BAD_REQUEST, refusal.to_string(), refusal.field().map(str::to_owned))
}

fn failure(status: StatusCode, error: String, field: Option<String>) -> Response {
    // Two texts: nothing in it that JSON could not say.
    let body = serde_json::to_vec(&Failure { error, field }).unwrap_or_default();
    let mut response = answer::json(body);
    *response.status_mut() = status;
    response
}
