//! `/api/v1/scheduler`: the ladder of checks of spec mesos-v1, section 1.5, up to where the core goes on.

use front::door::Connection;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use master_core::call::{FrameworkCall, SchedulerCall, Verb};
use master_core::effect::Reply;
use master_core::input::{Input, StreamId};
use wire::Codec;

use super::{ask, ask_for_stream, plain, refused, stream_id};
use crate::app::App;
use crate::path::Original;
use crate::{answer, body, guard, redirect};

const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");
/// Clients must allow so much; ours have 36 characters.
const STREAM_ID_BYTES: usize = 128;

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
    let codec = request_codec(&parts.headers)?;
    let bytes = body::read(app, &parts.headers, payload).await?;
    let decode = move |bytes: &[u8]| codec.decode::<wire::scheduler::Call>(bytes).map(SchedulerCall::decode);
    let call = body::decode(bytes, decode, |error| answer::bad(error.to_string())).await?;
    let call = call.map_err(|refusal| refused(app, &refusal, original))?;
    let accept = response_codec(&parts.headers);
    let header = given_stream(&parts.headers)?;
    let principal = guard::name(&parts.extensions);
    match call {
        SchedulerCall::Subscribe(call) => {
            let codec = accept?;
            let connection = connection(&parts.extensions)?;
            let id = stream_id();
            let own = id.clone();
            let (asked, reader) = ask_for_stream(app, id.clone(), connection, |request| Input::Subscribe {
                request,
                stream: own,
                header,
                principal,
                call,
            })
            .await;
            match asked.answer().await {
                Ok(Reply::Stream(_)) => Ok(answer::with(
                    streaming(codec, reader.into_body(codec)),
                    STREAM_ID,
                    HeaderValue::from_str(&id.0).map_err(|_| answer::bad("The stream has no lawful id"))?,
                )),
                Ok(other) => Ok(plain(&other)),
                Err(refusal) => Err(refused(app, &refusal, original)),
            }
        }
        SchedulerCall::Framework(call) => {
            if matches!(call, FrameworkCall { verb: Verb::ReconcileOperations { .. }, .. }) {
                accept?;
            }
            let asked =
                ask(app, |request| Input::Scheduler { request, stream: header, principal, call }).await;
            match asked.answer().await {
                Ok(reply) => Ok(plain(&reply)),
                Err(refusal) => Err(refused(app, &refusal, original)),
            }
        }
    }
}

fn given_stream(headers: &HeaderMap) -> Result<Option<StreamId>, Response> {
    let Some(value) = headers.get(STREAM_ID) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if text.len() <= STREAM_ID_BYTES => Ok(Some(StreamId(text.into()))),
        _ => Err(answer::bad(format!(
            "'Mesos-Stream-Id' must be text of at most {STREAM_ID_BYTES} characters"
        ))),
    }
}

/// The connection a request came on, which every request brings along.
pub(super) fn connection(extensions: &http::Extensions) -> Result<&Connection, Response> {
    extensions.get().ok_or_else(|| answer::unavailable("The connection is gone"))
}

pub(super) fn request_codec(headers: &HeaderMap) -> Result<Codec, Response> {
    let value = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => Some(value.to_str().unwrap_or("not text")),
    };
    Codec::of_request(value).map_err(answer::media)
}

pub(super) fn response_codec(headers: &HeaderMap) -> Result<Codec, Response> {
    let values = headers.get_all(header::ACCEPT).iter().map(|value| value.to_str().unwrap_or("not text"));
    Codec::of_response(values).map_err(answer::media)
}

/// Announces the type of the records; the length is left open, so the answer is chunked.
pub(super) fn streaming(codec: Codec, body: axum::body::Body) -> Response {
    let response = Response::new(body);
    answer::with(response, header::CONTENT_TYPE, HeaderValue::from_static(codec.content_type()))
}
