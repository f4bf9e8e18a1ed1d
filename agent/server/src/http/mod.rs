//! The agent's own API: reads for people, tools and dashboards (spec mesos-v1, sections 1.1, 6.3 and 7).
//!
//! Answers are rendered here from a copy of the state, never in the driver.

mod api;
mod executor;
mod files;
mod legacy;
mod logs;
mod metrics;
mod monitor;
mod reply;
mod tasks;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use agent_core::{Input, Summary, View};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use front::door::{self, Bounds, Tally};
use front::guard::{self, Guard};
use front::logging::Logging;
use model::id::ContainerId;
use model::time::Time;
use sandbox::Usage;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Sender, UnboundedSender};
use tokio::sync::oneshot;
use wire::v1;

use crate::clock::Clock;
use crate::driver::Question;
use crate::janitor::Removals;
use crate::limits;
use crate::settings::Address;
use reply::Refusal;

/// What the routes know beside the driver's answers.
pub(crate) struct Site {
    pub(crate) ask: Sender<Question>,
    pub(crate) address: Address,
    pub(crate) info: Arc<v1::AgentInfo>,
    pub(crate) flags: Vec<(&'static str, String)>,
    pub(crate) sandboxes: PathBuf,
    pub(crate) removals: Arc<Removals>,
    pub(crate) clock: Clock,
    pub(crate) started: Time,
    /// The process's log.
    pub(crate) logging: Arc<Logging>,
    /// Where ends of executors' streams are told.
    pub(crate) inputs: UnboundedSender<Input>,
    pub(crate) next_stream: AtomicU64,
    /// Figures of the accept loop.
    pub(crate) connections: Tally,
    pub(crate) registry: prometheus::Registry,
    /// Whom the API serves; absent: everybody.
    pub(crate) guard: Option<Guard>,
}

/// What connections of readers and executors may cost.
const BOUNDS: Bounds = Bounds {
    connections: limits::CONNECTIONS,
    head: limits::HEAD,
    head_bytes: limits::HEAD_BYTES,
    headers: limits::HEADERS,
    unread: limits::UNREAD,
    keep_alive: limits::KEEP_ALIVE,
    drain: limits::DRAIN,
};

/// The server, bound but not yet serving.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Arc<Site>,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, address: SocketAddr, site: Site) -> Self {
        Self { listener, address, site: Arc::new(site) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then lets connections finish what they do, for a moment.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let tally = self.site.connections.clone();
        let site = self.site;
        let service = tower::service_fn(move |request: Request<Body>| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(route(&site, request).await) }
        });
        door::serve(self.listener, service, BOUNDS, &tally, shutdown).await;
    }
}

/// The path without what does not matter: empty segments, and the process name `slave(1)` in front.
fn normal(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.first().is_some_and(|first| matches!(*first, "slave(1)" | "slave%281%29")) {
        segments.remove(0);
    }
    segments.join("/")
}

async fn route(site: &Site, request: Request<Body>) -> Response<Body> {
    let path = normal(request.uri().path());
    let (parts, body) = request.into_parts();
    if let Some(guard) = &site.guard
        // Executors have no credentials; what they may say depends on what runs here.
        && !matches!(path.as_str(), "health" | "version" | "api/v1/executor")
        && guard.authenticate(&parts.headers).is_none()
    {
        let writes = path == "api/v1" || path.starts_with("api/v1/");
        let realm = if writes { "mesos-agent-readwrite" } else { "mesos-agent-readonly" };
        return guard::unauthorized(realm, "text/plain; charset=utf-8", "401 Unauthorized.");
    }
    let answer = match path.as_str() {
        "api/v1/executor" => executor::handle(site, &parts, body).await,
        // As the first implementation, which drops trailing segments until it knows the rest.
        path if path == "api/v1" || path.starts_with("api/v1/") => api::handle(site, &parts, body).await,
        path => match parts.method {
            Method::GET | Method::HEAD | Method::POST => read(site, path, &parts).await,
            _ => Err(Refusal::method(&parts.method, "GET")),
        },
    };
    answer.unwrap_or_else(Refusal::into_response)
}

async fn read(site: &Site, path: &str, parts: &Parts) -> Result<Response<Body>, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    match path {
        "health" => site.summary().await.map(|_| reply::empty()),
        "version" => Ok(reply::json(&legacy::version())),
        "state" | "state.json" => Ok(reply::json(&legacy::state(site, &site.view().await?))),
        "flags" => Ok(reply::json(&legacy::flags(site))),
        "metrics" => metrics::page(site, &parts.headers).await,
        "metrics/snapshot" => Ok(reply::json(&metrics::snapshot(site).await?)),
        "containers" => Ok(reply::json(&monitor::containers(site).await?)),
        "monitor/statistics" | "monitor/statistics.json" => {
            Ok(reply::json(&monitor::statistics(site).await?))
        }
        "system/stats.json" => Ok(reply::json(&metrics::system())),
        "logging/toggle" => logs::toggle(site, query),
        "files/browse" | "files/browse.json" => files::browse(site, query).await,
        "files/read" | "files/read.json" => files::read(site, query).await,
        "files/download" | "files/download.json" => files::download(site, query).await,
        "files/debug" | "files/debug.json" => Ok(reply::json(&files::debug(site, &site.view().await?))),
        _ => Err(Refusal::new(404, "404 Not Found.")),
    }
}

impl Site {
    /// The state, once containers of an earlier process are found.
    async fn view(&self) -> Result<View, Refusal> {
        let view = self.ask(Question::View).await?;
        if view.recovering { Err(Refusal::recovering()) } else { Ok(view) }
    }

    async fn summary(&self) -> Result<Summary, Refusal> {
        let summary = self.ask(Question::Summary).await?;
        if summary.recovering { Err(Refusal::recovering()) } else { Ok(summary) }
    }

    async fn usage(&self, container: &ContainerId) -> Result<Option<Usage>, Refusal> {
        self.ask(|reply| Question::Usage(container.clone(), reply)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Refusal> {
        let ending = |_| Refusal::new(503, "The agent is ending");
        let (reply, answer) = oneshot::channel();
        self.ask.send(question(reply)).await.map_err(|_| Refusal::new(503, "The agent is ending"))?;
        answer.await.map_err(ending)
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn paths_are_matched_without_what_does_not_matter() {
        for path in ["/state", "//state", "/state/", "/slave(1)/state", "/slave%281%29/state"] {
            assert_eq!(normal(path), "state", "{path}");
        }
        assert_eq!(normal("/slave(1)%2Fstate"), "slave(1)%2Fstate");
        assert_eq!(normal("/"), "");
    }
}
