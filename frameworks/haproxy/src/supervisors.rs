//! The supervisors: which one is asked, and the requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use front::credential::Credential;
use front::probe;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response};
use serde_json::Value;
use wire::marathon::{AppInfo, DrainAcknowledgement};

use crate::core::{Answer, Listing};
use crate::limits::{ACKNOWLEDGE_TRIES, CONNECT_TIMEOUT, FEED_SILENCE, LIST_BYTES, READ_TIMEOUT};

/// The events that mean something here. Everything else stays with the supervisor.
pub const EVENTS: &[&str] = &[
    "event_stream_attached",
    "status_update_event",
    "health_status_changed_event",
    "instance_draining_event",
    "api_post_event",
    "app_terminated_event",
    "group_change_success",
    "deployment_success",
];
/// What is wanted of each app beside its definition.
const EMBED: [&str; 4] = ["tasks", "deployments", "readiness", "draining"];
/// A follower may send us to the leader; more hops than this are a circle.
const REDIRECTS: usize = 3;

/// Why a supervisor's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is longer than {LIST_BYTES} bytes")]
    TooLong,
    #[error("its answer is not what was asked for: {0}")]
    Form(String),
}

/// Several supervisors of which any will do.
#[derive(Debug)]
pub(crate) struct Supervisors {
    /// Without a slash at the end.
    urls: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
    client: Client,
    /// For what never ends: it may be silent for a while, not for ever.
    streams: Client,
    drainer: String,
}

impl Supervisors {
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn new(
        urls: Vec<String>,
        credential: Option<&Credential>,
        drainer: String,
    ) -> Result<Self, reqwest::Error> {
        let own = credential.map(|own| (AUTHORIZATION, front::guard::authorization(own)));
        let headers: HeaderMap = own.into_iter().collect();
        let client = || {
            Client::builder()
                .default_headers(headers.clone())
                .connect_timeout(CONNECT_TIMEOUT.into())
                .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
        };
        let streams = probe::probed(client().read_timeout(FEED_SILENCE.into())).build()?;
        Ok(Self { urls, current: AtomicUsize::new(0), client: client().build()?, streams, drainer })
    }

    pub(crate) fn current(&self) -> &str {
        &self.urls[self.current.load(Ordering::Relaxed) % self.urls.len()]
    }

    pub(crate) fn count(&self) -> usize {
        self.urls.len()
    }

    /// Goes on to the next, after this one did not do.
    pub(crate) fn rotate(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the event stream, asking to be waited for when instances are to be killed.
    ///
    /// # Errors
    /// It does not answer, or with anything but a stream of events.
    pub(crate) async fn events(&self, last_id: Option<&str>) -> Result<Response, AskError> {
        let mut query: Vec<(&str, &str)> = EVENTS.iter().map(|name| ("event_type", *name)).collect();
        query.extend([("plan-format", "light"), ("drainer", &self.drainer)]);
        let mut request = self
            .streams
            .get(format!("{}/v2/events", self.current()))
            .query(&query)
            .header(ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(AskError::Status(response.status()));
        }
        Ok(response)
    }

    /// All apps. One that cannot be understood does not hide the others.
    ///
    /// # Errors
    /// No answer, or one that is no list of apps.
    pub(crate) async fn list(&self) -> Result<Listing, AskError> {
        let query = EMBED.map(|part| ("embed", format!("apps.{part}")));
        let body = self.get("/v2/apps", &query).await?.ok_or(AskError::Status(StatusCode::NOT_FOUND))?;
        let form = |error: serde_json::Error| AskError::Form(error.to_string());
        let mut value: Value = serde_json::from_slice(&body).map_err(form)?;
        let Some(Value::Array(apps)) = value.get_mut("apps").map(Value::take) else {
            return Err(AskError::Form("it has no list `apps`".into()));
        };
        let mut listing = Listing::default();
        for app in apps {
            let id = app.get("id").and_then(Value::as_str).map(str::to_owned);
            match (serde_json::from_value::<AppInfo>(app), id) {
                (Ok(app), _) => listing.apps.push(app),
                (Err(error), Some(id)) => {
                    tracing::warn!(app = id, %error, "an app in the supervisor's list cannot be understood");
                    listing.unreadable.insert(id);
                }
                (Err(error), None) => return Err(form(error)),
            }
        }
        Ok(listing)
    }

    /// One app.
    pub(crate) async fn read(&self, id: &str) -> Answer {
        let query = EMBED.map(|part| ("embed", format!("app.{part}")));
        let path = format!("/v2/apps/{}", escaped(id));
        match self.get(&path, &query).await {
            Ok(None) => Answer::Absent,
            Ok(Some(body)) => {
                let app = serde_json::from_slice::<Value>(&body).ok().and_then(|mut value| {
                    serde_json::from_value::<AppInfo>(value.get_mut("app")?.take()).ok()
                });
                app.map_or(Answer::Failed, |app| Answer::Found(Box::new(app)))
            }
            Err(error) => {
                tracing::warn!(app = id, %error, "an app could not be read");
                Answer::Failed
            }
        }
    }

    /// Tells that nothing leads to these tasks any more; tries again while that fails.
    pub(crate) async fn acknowledge(&self, task_ids: Vec<String>) {
        let body = DrainAcknowledgement { drainer: self.drainer.clone(), task_ids };
        let mut wait = Duration::from_millis(50);
        for _ in 0..ACKNOWLEDGE_TRIES {
            let url = format!("{}/v2/drains", self.current());
            let request = self.client.post(url).json(&body).timeout(CONNECT_TIMEOUT.into());
            match request.send().await {
                Ok(response) if response.status().is_success() => return,
                Ok(response) => tracing::warn!(status = %response.status(), "a drain was not acknowledged"),
                Err(error) => tracing::warn!(%error, "a drain was not acknowledged"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    /// The body of an answer; `None` for what does not exist.
    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Option<Bytes>, AskError> {
        let url = format!("{}{path}", self.current());
        let request = self.client.get(url).query(query).header(ACCEPT, "application/json");
        let mut response = request.timeout(READ_TIMEOUT.into()).send().await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(AskError::Status(status)),
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LIST_BYTES {
                return Err(AskError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.freeze()))
    }
}

/// An app's id as part of a path: its slashes are the path's.
fn escaped(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    id.trim_start_matches('/')
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap as Headers;
    use axum::response::{IntoResponse, Response as Answered};

    use super::*;

    /// A supervisor that serves `ops` alone.
    async fn guarded(headers: Headers) -> Answered {
        match headers.get(AUTHORIZATION).map(|value| value.as_bytes()) {
            Some(b"Basic b3BzOm9wLXB3") => r#"{"apps":[]}"#.into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }

    #[tokio::test]
    async fn a_supervisor_that_asks_is_told_who_the_sidecar_is() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = vec![format!("http://{}", listener.local_addr().unwrap())];
        let server =
            tokio::spawn(async move { axum::serve(listener, Router::new().fallback(guarded)).await });
        let credential: Credential = "ops:op-pw".parse().unwrap();
        let known = Supervisors::new(urls.clone(), Some(&credential), "east".to_owned()).unwrap();
        assert!(known.list().await.unwrap().apps.is_empty());
        assert!(known.events(None).await.is_ok());
        let unknown = Supervisors::new(urls, None, "east".to_owned()).unwrap();
        let refused = |error| matches!(error, AskError::Status(StatusCode::UNAUTHORIZED));
        assert!(refused(unknown.list().await.map(drop).unwrap_err()));
        assert!(refused(unknown.events(None).await.map(drop).unwrap_err()));
        server.abort();
    }

    #[test]
    fn ids_in_paths_are_escaped() {
        assert_eq!(escaped("/shop/cart"), "shop/cart");
        assert_eq!(escaped("/a b?c#d%"), "a%20b%3Fc%23d%25");
    }

    /// When the kernel asks next whether the other end of an idle connection to a port of this machine still knows it.
    fn next_probe(port: u16) -> Option<Duration> {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's connections");
        let to = format!("0100007F:{port:04X}");
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let timer = row.into_iter().find(|row| row.get(2) == Some(&&*to))?.get(5).copied()?;
        // `02` is the timer of a connection on which nothing is under way; the kernel counts hundredths of a second.
        let hundredths = timer.strip_prefix("02:").map(|when| u64::from_str_radix(when, 16))?.ok()?;
        Some(Duration::from_millis(hundredths * 10))
    }

    /// A partition can end a stream at the supervisor's side alone, which then waits for the balancer for ten seconds.
    #[tokio::test]
    async fn a_silent_stream_is_probed_long_before_the_supervisor_gives_its_balancer_up() {
        let silent = Router::new().route(
            "/v2/events",
            axum::routing::get(async || {
                let nothing = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
                axum::body::Body::from_stream(nothing)
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, silent).await });
        let supervisors = Supervisors::new(vec![format!("http://{address}")], None, "balancer".to_owned())
            .expect("a client");
        let stream = supervisors.events(None).await.expect("a stream");
        let seen = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match next_probe(address.port()) {
                    Some(wait) => break wait,
                    // What was sent is being acknowledged.
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        let wait = seen.await.expect("the connection is probed");
        assert!(wait <= probe::AFTER, "not before {wait:?}");
        drop(stream);
    }
}
