//! `/api/v1/state`: the key-value API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use front::credential::Credential;
use front::guard::Role;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use master_core::call::StateCall;
use master_core::effect::Reply;
use master_core::input::Input;
use master_core::refusal::Refusal;
use master_core::registry::Refusal as Refused;
use wire::Codec;
use wire::state::{Call, Failure};

use super::scheduler::{connection, request_codec, streaming};
use super::{ask, ask_for_stream, plain, refused, stream_id};
use crate::app::App;
use crate::path::Original;
use crate::{answer, body, guard, redirect};

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
    let principal = principal(app, &parts)?;
    let bytes = body::read(app, &parts.headers, payload).await?;
    let call = body::decode(bytes, Call::from_slice, |error| {
        failure(StatusCode::BAD_REQUEST, error.reason, Some(error.field))
    })
    .await?;
    if let Some(principal) = &principal
        && !owns(principal, call.namespace())
    {
        let error = format!(
            "namespace '{}' is not one of principal '{principal}': these are '{principal}' and what begins with '{principal}/'",
            call.namespace()
        );
        return Err(failure(StatusCode::FORBIDDEN, error, Some("namespace".to_owned())));
    }
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
            Err(answer::with(response, http::header::RETRY_AFTER, HeaderValue::from_static("1")))
        }
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}

fn registry_refused(refusal: &Refused) -> Response {
    let status = match refusal {
        Refused::NoSuchLease { .. } => StatusCode::NOT_FOUND,
        Refused::LeaseTaken(_) | Refused::RequestReused(_) => StatusCode::CONFLICT,
        Refused::Quota { .. } | Refused::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::BAD_REQUEST,
    };
    failure(status, refusal.to_string(), refusal.field().map(str::to_owned))
}

/// Whose namespaces the caller may reach; `None` for all of them. A master without a list of principals takes the caller's
/// word, and does not look at the secret.
fn principal(app: &App, parts: &Parts) -> Result<Option<String>, Response> {
    if app.guard.is_some() {
        return match guard::principal(&parts.extensions) {
            Some(known) if known.is(Role::Operator) => Ok(None),
            Some(known) if known.is(Role::Framework) => Ok(Some(known.name.to_string())),
            _ => {
                let error = "records are kept for principals with the role 'framework'".to_owned();
                Err(failure(StatusCode::FORBIDDEN, error, None))
            }
        };
    }
    let Some(given) = parts.headers.get(AUTHORIZATION) else { return Ok(None) };
    match given.to_str().ok().and_then(Credential::of_basic) {
        Some(credential) => Ok(Some(credential.principal().to_owned())),
        None => {
            let error = "Authorization must be 'Basic' and the base64 of 'principal:secret'".to_owned();
            let response = failure(StatusCode::UNAUTHORIZED, error, Some("Authorization".to_owned()));
            Err(answer::with(response, WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"stoa\"")))
        }
    }
}

/// A principal has the namespace of its name, and as many below it as it likes.
fn owns(principal: &str, namespace: &str) -> bool {
    namespace.strip_prefix(principal).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn failure(status: StatusCode, error: String, field: Option<String>) -> Response {
    // Two texts: nothing in it that JSON could not say.
    let body = serde_json::to_vec(&Failure { error, field }).unwrap_or_default();
    let mut response = answer::json(body);
    *response.status_mut() = status;
    response
}
