//! Answers and errors in the forms that clients of the v2 API read.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wire::marathon::{DeploymentRef, DeploymentResult, ErrorResponse, FieldErrors};

use crate::core::errors::Errors;
use crate::core::id::DeploymentId;
use crate::core::version::Version;
use crate::supervisor::message::Refusal;

pub(super) type Answer = Result<Response, Failure>;

/// The header of every accepted change.
const DEPLOYMENT: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// An error, with the status and the body the specification gives it.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: Box<ErrorResponse>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = ErrorResponse { message: message.into(), details: None, deployments: None };
        Self { status, body: Box::new(body) }
    }

    fn with(mut self, details: Value) -> Self {
        self.body.details = Some(details);
        self
    }

    /// The body is not JSON at all; `details` says where it stops being so.
    pub(super) fn broken_json(details: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid JSON").with(details.into())
    }

    pub(super) fn no_json(details: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Please specify data in JSON format").with(details.into())
    }

    /// The body is JSON, but a value has the wrong type.
    pub(super) fn wrong_type(path: &str, error: String) -> Self {
        let details = vec![FieldErrors { path: path.to_owned(), errors: vec![error] }];
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid JSON").with(json!(details))
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "URI not found")
    }

    pub(super) fn not_loaded() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the leader is still loading its records: try again")
    }

    pub(super) fn outcome_unknown() -> Self {
        let text = "leadership was lost before the outcome was known: look whether it was done before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// A bare status with its reason phrase.
    pub(super) fn status(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or_default())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Invalid(_) | Refusal::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::UnknownApp(_)
            | Refusal::UnknownVersion(..)
            | Refusal::UnknownTask(_)
            | Refusal::UnknownDeployment(_)
            | Refusal::NotQueued(_) => StatusCode::NOT_FOUND,
            Refusal::Exists(_) | Refusal::Locked(_) => StatusCode::CONFLICT,
            Refusal::TooManyDeployments(_) => StatusCode::FORBIDDEN,
            Refusal::NotLeader => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut failure = Self::new(status, refusal.to_string());
        match refusal {
            Refusal::Invalid(errors) => failure = failure.with(json!(details(&errors))),
            Refusal::Locked(deployments) => {
                failure.body.deployments = Some(deployments.iter().map(reference).collect());
            }
            _ => {}
        }
        failure
    }
}

fn details(errors: &Errors) -> Vec<FieldErrors> {
    let field = |(path, errors): (&str, &[String])| FieldErrors { path: path.to_owned(), errors: errors.to_vec() };
    errors.iter().map(field).collect()
}

pub(super) fn reference(id: &DeploymentId) -> DeploymentRef {
    DeploymentRef { id: id.to_string() }
}

/// The body and the header of an accepted change.
pub(super) fn deployed(status: StatusCode, version: Version, deployment: &DeploymentId) -> Response {
    let body = DeploymentResult { version: version.to_string(), deployment_id: deployment.to_string() };
    (status, [deployment_header(deployment)], Json(body)).into_response()
}

pub(super) fn deployment_header(deployment: &DeploymentId) -> (HeaderName, HeaderValue) {
    // An id of ours is hex digits and hyphens.
    let value = HeaderValue::from_str(deployment.as_str()).unwrap_or(HeaderValue::from_static(""));
    (DEPLOYMENT, value)
}

/// `Location` of a new object. The path has been parsed as an id, so it is plain text.
pub(super) fn location(path: &str) -> (HeaderName, HeaderValue) {
    (header::LOCATION, HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/")))
}
