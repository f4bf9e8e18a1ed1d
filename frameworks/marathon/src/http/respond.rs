//! Answers: documents, refusals and the headers that every answer carries.

use axum::body::Body;
use axum::response::Response;
use front::guard;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue, LOCATION, PRAGMA};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use wire::marathon::{DeploymentRef, DeploymentResult, ErrorResponse, FieldErrors};

use super::body::BodyError;
use crate::core::errors::Errors;
use crate::core::id::DeploymentId;
use crate::core::version::Version;
use crate::supervisor::message::Refusal;

pub(crate) const JSON: &str = "application/json";
pub(crate) const TEXT: &str = "text/plain";
const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// Why a request gets no document.
#[derive(Debug)]
pub(crate) enum Problem {
    Refused(Refusal),
    Body(BodyError),
    NotFound(String),
    Unprocessable(String),
    BadRequest(String),
    /// The HTTP reason says it all: method, media type, size.
    Status(StatusCode),
    /// Nobody could be asked, or nobody answered in time.
    Unavailable(String),
    BadGateway(String),
    NotAllowed(String),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

pub(crate) type Answered = Result<Response, Problem>;

pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => with_type(status, JSON, body),
        Err(error) => {
            let body = json!({"message": error.to_string()}).to_string();
            with_type(StatusCode::INTERNAL_SERVER_ERROR, JSON, body.into_bytes())
        }
    }
}

pub(crate) fn ok(document: &impl Serialize) -> Answered {
    Ok(json(StatusCode::OK, document))
}

pub(crate) fn with_type(status: StatusCode, media: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 401 with the realm of the reference (spec marathon-v2).
pub(crate) fn unauthorized() -> Response {
    guard::unauthorized("Mesosphere", JSON, r#"{"message":"Credentials are missing or wrong"}"#)
}

/// The answer to an accepted change.
pub(crate) fn deployed(status: StatusCode, version: Version, deployment: &DeploymentId) -> Response {
    let result = DeploymentResult { version: version.to_string(), deployment_id: deployment.to_string() };
    with_deployment(json(status, &result), deployment)
}

pub(crate) fn with_deployment(mut response: Response, deployment: &DeploymentId) -> Response {
    if let Ok(value) = HeaderValue::from_str(deployment.as_str()) {
        response.headers_mut().insert(DEPLOYMENT_ID, value);
    }
    response
}

pub(crate) fn with_location(mut response: Response, location: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// No answer of this API may be cached by anybody.
pub(crate) fn forbid_caching(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
}

impl Problem {
    pub(crate) fn response(&self) -> Response {
        let (status, body) = self.parts();
        json(status, &body)
    }

    fn parts(&self) -> (StatusCode, ErrorResponse) {
        let plain = |status, message: &str| {
            (status, ErrorResponse { message: message.to_owned(), ..ErrorResponse::default() })
        };
        let detailed = |status, message: &str, details: Value| {
            let error =
                ErrorResponse { message: message.to_owned(), details: Some(details), deployments: None };
            (status, error)
        };
        match self {
            Self::Refused(refusal) => refused(refusal),
            Self::Body(BodyError::Empty) => detailed(
                StatusCode::BAD_REQUEST,
                "Please specify data in JSON format",
                json!("the body is empty"),
            ),
            Self::Body(BodyError::Syntax(reason)) => {
                detailed(StatusCode::BAD_REQUEST, "Invalid JSON", json!(reason))
            }
            Self::Body(BodyError::Type(errors)) => {
                detailed(StatusCode::UNPROCESSABLE_ENTITY, "Invalid JSON", json!(errors))
            }
            Self::NotFound(message) => plain(StatusCode::NOT_FOUND, message),
            Self::Unprocessable(message) => plain(StatusCode::UNPROCESSABLE_ENTITY, message),
            Self::BadRequest(message) => plain(StatusCode::BAD_REQUEST, message),
            Self::Status(status) => plain(*status, status.canonical_reason().unwrap_or_default()),
            Self::Unavailable(message) => plain(StatusCode::SERVICE_UNAVAILABLE, message),
            Self::NotAllowed(message) => plain(StatusCode::METHOD_NOT_ALLOWED, message),
            Self::BadGateway(message) => plain(StatusCode::BAD_GATEWAY, message),
        }
    }
}

fn refused(refusal: &Refusal) -> (StatusCode, ErrorResponse) {
    let mut error = ErrorResponse { message: refusal.to_string(), ..ErrorResponse::default() };
    let status = match refusal {
        Refusal::NotLeader => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Invalid(errors) => {
            error.details = Some(json!(details(errors)));
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::UnknownApp(_)
        | Refusal::UnknownVersion(..)
        | Refusal::UnknownTask(_)
        | Refusal::UnknownDeployment(_)
        | Refusal::NotQueued(_) => StatusCode::NOT_FOUND,
        Refusal::Exists(_) => StatusCode::CONFLICT,
        Refusal::Locked(deployments) => {
            let named = |id: &DeploymentId| DeploymentRef { id: id.to_string() };
            error.deployments = Some(deployments.iter().map(named).collect());
            StatusCode::CONFLICT
        }
        Refusal::TooManyDeployments(_) => StatusCode::FORBIDDEN,
    };
    (status, error)
}

fn details(errors: &Errors) -> Vec<FieldErrors> {
    errors
        .iter()
        .map(|(path, errors)| FieldErrors { path: path.to_owned(), errors: errors.to_vec() })
        .collect()
}
