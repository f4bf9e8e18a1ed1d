//! Upgraded connections and dialling, as far as links and peers have it in common.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer;
use crate::limits;

pub(crate) type Stream = TokioIo<Upgraded>;

/// Does the request ask for this protocol?
pub(crate) fn asks_for(headers: &HeaderMap, protocol: &str) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|name| name.eq_ignore_ascii_case(protocol))
}

/// The answer to a request for another protocol than ours.
pub(crate) fn upgrade_required(protocol: &'static str) -> Response {
    let response = answer::text(StatusCode::UPGRADE_REQUIRED, format!("Expecting 'Upgrade: {protocol}'"));
    answer::with(response, header::UPGRADE, HeaderValue::from_static(protocol))
}

pub(crate) fn switching(protocol: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let response = answer::with(response, header::UPGRADE, HeaderValue::from_static(protocol));
    answer::with(response, header::CONNECTION, HeaderValue::from_static("upgrade"))
}

/// A connection to another master.
pub(crate) async fn dial(address: &str) -> io::Result<SendRequest<Full<Bytes>>> {
    within(limits::DIAL_TIME, async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        sockopt::set_tcp_user_timeout(stream.as_fd(), limits::PEER_SILENCE_MS)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            // Its end is seen by whoever uses it.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    })
    .await
}

/// A request to another master; `path` is one of ours. With `own` this master says who it is.
pub(crate) fn request(
    address: &str,
    path: &str,
    body: Bytes,
    own: Option<HeaderValue>,
) -> http::request::Builder {
    let mut builder = Request::builder().uri(path).header(header::HOST, address);
    if let Some(own) = own {
        builder = builder.header(header::AUTHORIZATION, own);
    }
    if body.is_empty() { builder } else { builder.method(http::Method::POST) }
}

/// The body of a small answer.
pub(crate) async fn small(body: Incoming, limit: usize) -> io::Result<Bytes> {
    let collected = Limited::new(body, limit).collect();
    let collected = within(limits::DIAL_TIME, async { collected.await.map_err(io::Error::other) }).await?;
    Ok(collected.to_bytes())
}

/// The result, or a sentence about the time that has passed.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", limit.as_millis())))
        }
    }
}
