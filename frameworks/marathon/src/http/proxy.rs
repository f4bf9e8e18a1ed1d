//! A standby hands requests on to the leader, streams included.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::Stream;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::respond::Problem;
use crate::limits;

const VIA: HeaderName = HeaderName::from_static("x-marathon-via");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that concern one connection only.
const HOP: [HeaderName; 6] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HOST];

#[derive(Debug)]
pub(super) struct Proxy {
    http: reqwest::Client,
    /// How this instance names itself.
    via: String,
}

impl Proxy {
    pub(super) fn new(own_address: &str) -> Self {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits::PROXY_CONNECT)
            .tcp_nodelay(true);
        // Only a broken TLS set-up of the machine fails here; without TLS there is nothing to fail.
        let http = builder.build().unwrap_or_default();
        Self { http, via: format!("1.1 {own_address}") }
    }

    /// Sends a request to `leader` and its answer back.
    ///
    /// # Errors
    /// [`Unforwarded::Unreachable`] when nothing was sent, so that it may be tried elsewhere.
    pub(super) async fn forward(
        &self,
        leader: &str,
        from: SocketAddr,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Response, Unforwarded> {
        let mut headers = parts.headers.clone();
        let been_here = headers.get_all(&VIA).iter().any(|value| value.as_bytes() == self.via.as_bytes());
        if been_here || self.via == format!("1.1 {leader}") {
            return Err(Unforwarded::Failed(Problem::BadGateway("Detected proxying loop".to_owned())));
        }
        for name in HOP {
            headers.remove(name);
        }
        append(&mut headers, VIA, &self.via);
        append(&mut headers, FORWARDED_FOR, &from.ip().to_string());
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = self
            .http
            .request(parts.method.clone(), format!("http://{leader}{target}"))
            .headers(headers)
            .body(body);
        // A leader that was stopped takes connections and says nothing.
        let sent = tokio::time::timeout(limits::PROXY_ANSWER, request.send()).await;
        let silent =
            |_| Unforwarded::Failed(Problem::BadGateway(format!("the leader {leader} does not answer")));
        let answer = sent.map_err(silent)?.map_err(|error| {
            let problem = Problem::BadGateway(format!("the leader {leader} cannot be reached: {error}"));
            if error.is_connect() { Unforwarded::Unreachable(problem) } else { Unforwarded::Failed(problem) }
        })?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        for (name, value) in answer.headers() {
            if !HOP.contains(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        append(response.headers_mut(), VIA, &self.via);
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(response)
    }
}

/// Why there is no answer of the leader.
pub(super) enum Unforwarded {
    Unreachable(Problem),
    /// It may have got the request.
    Failed(Problem),
}

fn append(headers: &mut http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

/// A body that holds `permit` for as long as it lives.
pub(super) fn keep_with(body: Body, permit: OwnedSemaphorePermit) -> Body {
    Body::from_stream(Kept { body: body.into_data_stream(), _permit: permit })
}

struct Kept {
    body: axum::body::BodyDataStream,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Kept {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
