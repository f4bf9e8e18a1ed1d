//! Answers and refusals.

use axum::body::Body;
use axum::response::Response;
use front::guard;
use http::StatusCode;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;

use crate::core::refusal::Refusal;

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain";
/// The run that a request has started.
pub(super) const RUN_ID: HeaderName = HeaderName::from_static("x-chronos-run-id");

/// Why a request gets no document.
#[derive(Debug)]
pub(super) enum Problem {
    Refused(Refusal),
    BadRequest(String),
    /// The HTTP reason says it all: no such route, too long.
    Status(StatusCode),
    Unavailable(String),
    /// The job is not what the client took it for.
    Changed(String),
    /// It was there, and will not be again.
    Gone(String),
    BadGateway(String),
}

pub(super) type Answered = Result<Response, Problem>;

pub(super) fn json(document: &impl Serialize) -> Answered {
    match serde_json::to_vec(document) {
        Ok(body) => Ok(with_type(StatusCode::OK, JSON, body)),
        Err(error) => Err(Problem::BadRequest(error.to_string())),
    }
}

pub(super) fn text(body: String) -> Answered {
    Ok(with_type(StatusCode::OK, TEXT, body.into_bytes()))
}

pub(super) fn done() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn with_type(status: StatusCode, media: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// 401 without a body, which is what clients test (spec chronos-v1, section 1.2).
pub(super) fn unauthorized() -> Response {
    guard::unauthorized("Mesosphere", TEXT, "")
}

/// What every answer carries.
pub(super) fn finished(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Problem {
    /// Clients read the beginning of `message`; `status` is the reason phrase.
    pub(super) fn response(self) -> Response {
        let (status, message) = match self {
            Self::Refused(Refusal::Full(message)) => (StatusCode::SERVICE_UNAVAILABLE, message),
            Self::Refused(refusal) => (StatusCode::BAD_REQUEST, refusal.to_string()),
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, message),
            Self::Status(status) => (status, status.canonical_reason().unwrap_or_default().to_owned()),
            Self::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, message),
            Self::Changed(message) => (StatusCode::PRECONDITION_FAILED, message),
            Self::Gone(message) => (StatusCode::GONE, message),
            Self::BadGateway(message) => (StatusCode::BAD_GATEWAY, message),
        };
        let body = json!({"message": message, "status": status.canonical_reason().unwrap_or_default()});
        with_type(status, JSON, body.to_string().into_bytes())
    }
}
