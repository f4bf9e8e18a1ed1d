//! A standby hands requests on to its leader, streams included.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::HeaderMap;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;

use crate::probe::probed;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers that concern one connection only.
const HOP: [HeaderName; 6] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HOST];
/// To connect to the leader.
pub const CONNECT: Duration = Duration::from_secs(5);

/// The way to the leader.
#[derive(Debug)]
pub struct Standby {
    http: reqwest::Client,
    /// The header by which a request says where it has been, and what this server writes there.
    via: (HeaderName, String),
    own: String,
    answer: Duration,
}

/// Why there is no answer of the leader; a sentence.
#[derive(Debug)]
pub enum Unforwarded {
    /// Nothing was sent: it may be tried elsewhere.
    Unreachable(String),
    /// The leader may have got the request.
    Failed(String),
    /// The request has been here before: servers take each other for the leader.
    Circle,
}

impl Standby {
    /// A way from the server `own`; the leader has `answer` to begin its answer.
    pub fn new(own: &str, via: HeaderName, answer: Duration) -> Self {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true);
        // Only a broken TLS set-up of the machine fails here; without TLS there is nothing to fail.
        let http = probed(builder).build().unwrap_or_default();
        Self { http, via: (via, format!("1.1 {own}")), own: own.to_owned(), answer }
    }

    /// Sends a request of the client `from` to `leader`, and its answer back.
    ///
    /// # Errors
    /// [`Unforwarded`] says whether the leader may have got it.
    pub async fn forward(
        &self,
        leader: &str,
        from: SocketAddr,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Response, Unforwarded> {
        let (via, own) = &self.via;
        let been_here = parts.headers.get_all(via).iter().any(|value| value.as_bytes() == own.as_bytes());
        if been_here || self.own == leader {
            return Err(Unforwarded::Circle);
        }
        let mut headers = parts.headers.clone();
        for name in HOP {
            headers.remove(name);
        }
        append(&mut headers, via, own);
        append(&mut headers, &FORWARDED_FOR, &from.ip().to_string());
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = self.http.request(parts.method.clone(), format!("http://{leader}{target}"));
        // A leader that was stopped takes connections and says nothing.
        let sent = tokio::time::timeout(self.answer, request.headers(headers).body(body).send()).await;
        let silent = |_| Unforwarded::Failed(format!("the leader {leader} does not answer"));
        let answer = sent.map_err(silent)?.map_err(|error| {
            let why = format!("the leader {leader} cannot be reached: {error}");
            if error.is_connect() { Unforwarded::Unreachable(why) } else { Unforwarded::Failed(why) }
        })?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        for (name, value) in answer.headers() {
            if !HOP.contains(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        append(response.headers_mut(), via, own);
        *response.body_mut() = Body::from_stream(answer.bytes_stream());
        Ok(response)
    }
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}
