//! Answers and refusals with the headers that clients rely on.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Response, header};
use serde_json::Value;

/// Why a request is refused: a status and a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    text: String,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), allow: None }
    }

    pub(super) fn recovering() -> Self {
        Self::new(503, "Agent has not finished recovery")
    }

    pub(super) fn method(method: &Method, allowed: &'static str) -> Self {
        let text =
            format!("405 Method Not Allowed. Expecting one of {{ '{allowed}' }}, but received '{method}'.");
        Self { allow: Some(allowed), ..Self::new(405, text) }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = body(self.status, "text/plain; charset=utf-8", self.text.into());
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

pub(super) fn json(value: &Value) -> Response<Body> {
    body(200, wire::media::JSON, value.to_string().into())
}

/// A whole body, which gives it a `Content-Length`: clients take an answer without one for a stream.
pub(super) fn body(status: u16, content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with nothing in it, and without a `Content-Type`, which some clients would refuse.
pub(super) fn empty() -> Response<Body> {
    Response::new(Body::empty())
}
