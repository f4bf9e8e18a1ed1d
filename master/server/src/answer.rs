//! Answers in the form clients of the API know.
//!
//! Errors are plain text with a length, also when empty; good empty answers have no type; media types of the API are sent
//! without parameters, because clients compare them as a whole.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use wire::Codec;
use wire::media::MediaError;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

pub(crate) fn bad(body: impl Into<String>) -> Response {
    text(StatusCode::BAD_REQUEST, body)
}

/// The caller may try again here, shortly.
pub(crate) fn unavailable(body: impl Into<String>) -> Response {
    with(text(StatusCode::SERVICE_UNAVAILABLE, body), header::RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(crate) fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "404 Not Found.")
}

pub(crate) fn media(error: MediaError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    text(status, error.to_string())
}

/// `allowed` as in an `Allow` header.
pub(crate) fn method_not_allowed(allowed: &'static str, method: &Method) -> Response {
    let list = allowed.split(", ").map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let body = format!("405 Method Not Allowed. Expecting one of {{ {list} }}, but received '{method}'.");
    let response = text(StatusCode::METHOD_NOT_ALLOWED, body);
    with(response, header::ALLOW, HeaderValue::from_static(allowed))
}

pub(crate) fn message<M: wire::Message>(codec: Codec, message: &M) -> Response {
    typed(codec.content_type(), codec.encode(message))
}

pub(crate) fn json(body: impl Into<Bytes>) -> Response {
    typed(wire::media::JSON, body)
}

pub(crate) fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    typed_body(content_type, Body::from(body.into()))
}

pub(crate) fn typed_body(content_type: &'static str, body: Body) -> Response {
    with(Response::new(body), header::CONTENT_TYPE, HeaderValue::from_static(content_type))
}

pub(crate) fn with(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}
