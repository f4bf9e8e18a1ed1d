//! A standby passes requests on to the leader, so that any instance will do for a client.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::reply::Failure;
use crate::limits;

const VIA: HeaderName = HeaderName::from_static("x-marathon-via");
const LEADER: HeaderName = HeaderName::from_static("x-marathon-leader");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What every instance answers for itself.
const LOCAL: [&str; 3] = ["/health", "/metrics", "/version"];
/// The stream is never passed on: a proxy in the middle would hold events back. Its reader is sent to the leader.
const STREAM: &str = "/v2/events";
/// Headers that concern one connection and not the request.
const HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::HOST,
    header::UPGRADE,
];

/// Answers here when this instance leads, and passes on otherwise.
pub(super) async fn to_leader(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if LOCAL.iter().any(|local| path == *local || path.strip_prefix(local).is_some_and(|p| p.starts_with('/'))) {
        return next.run(request).await;
    }
    if api.leads() {
        return mark(next.run(request).await, &api.around.config.advertise);
    }
    match api.leader().await {
        None => Failure::new(StatusCode::BAD_GATEWAY, "no instance leads at the moment: try again").into_response(),
        Some(leader) if leader == api.around.config.advertise => mark(next.run(request).await, &leader),
        Some(leader) if path == STREAM => redirect(&leader, &request),
        Some(leader) => forward(&api, &leader, request).await.unwrap_or_else(IntoResponse::into_response),
    }
}

fn mark(mut response: Response, leader: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("http://{leader}")) {
        response.headers_mut().insert(LEADER, value);
    }
    response
}

fn redirect(leader: &str, request: &Request) -> Response {
    let query = request.uri().path_and_query().map_or(STREAM, |both| both.as_str());
    (StatusCode::FOUND, [(header::LOCATION, format!("http://{leader}{query}"))]).into_response()
}

async fn forward(api: &Api, leader: &str, request: Request) -> Result<Response, Failure> {
    let own = &api.around.config.advertise;
    let via = format!("1.1 {own}");
    let seen = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(&via));
    if request.headers().get_all(VIA).iter().any(seen) {
        return Err(Failure::new(StatusCode::BAD_GATEWAY, "proxy loop: two instances take each other for the leader"));
    }
    let target = request.uri().path_and_query().map_or("/", |both| both.as_str());
    let url = format!("http://{leader}{target}");
    let method = request.method().clone();
    let mut headers = without_hop(request.headers());
    add(&mut headers, FORWARDED_FOR, &super::serve::client(&request));
    add(&mut headers, VIA, &via);
    let body = axum::body::to_bytes(request.into_body(), limits::BODY_BYTES);
    let body = body.await.map_err(|_| Failure::status(StatusCode::PAYLOAD_TOO_LARGE))?;

    let answer = api.http.request(method, url).headers(headers).body(body).send().await;
    let answer = answer.map_err(|error| {
        Failure::new(StatusCode::BAD_GATEWAY, format!("the leader {leader} does not answer: {error}"))
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = without_hop(answer.headers());
    add(response.headers_mut(), VIA, &via);
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}

fn without_hop(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in HOP {
        kept.remove(name);
    }
    kept
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}
