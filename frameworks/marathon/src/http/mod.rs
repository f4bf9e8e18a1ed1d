//! The REST API: requests in, commands and views out. No rule of the product lives here.

mod body;
mod metrics;
mod place;
mod present;
mod query;
mod respond;
mod routes;
mod selector;
#[cfg(test)]
mod tests;

pub use present::embedded;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::response::Response;
use front::door::{self, Bounds};
use front::standby::{Standby, Unforwarded};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use sdk::hub::Hub;
use sdk::leadership::Standing;
use sdk::scheduler::{AskError, Handle};
use sdk::step::Step;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use self::metrics::Metrics;
use self::query::Query;
use self::respond::{Answered, Problem};
use crate::driver::{Config, Framework};
use crate::limits;
use crate::supervisor::message::{Command, Origin, Refusal, Reply};
use crate::supervisor::state::State;

/// What the API stands on.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<Config>,
    pub(crate) handle: Handle<Framework>,
    pub(crate) view: watch::Receiver<Option<Arc<State>>>,
    pub(crate) hub: watch::Receiver<Option<Hub>>,
}

/// The API of one instance. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    around: Surroundings,
    standby: Standby,
    metrics: Metrics,
    room: Arc<Semaphore>,
}

/// A request, taken apart.
pub(crate) struct Call {
    pub(crate) parts: Parts,
    /// Steps of the path, decoded, the empty ones dropped: one client library doubles slashes, another ends in one.
    pub(crate) path: Vec<String>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
    pub(crate) from: SocketAddr,
}

const LEADER: HeaderName = HeaderName::from_static("x-marathon-leader");
const VIA: HeaderName = HeaderName::from_static("x-marathon-via");

/// What connections of clients may cost.
const BOUNDS: Bounds = Bounds {
    connections: limits::CONNECTIONS,
    head: limits::HEAD_TIME,
    head_bytes: limits::HEAD_BYTES,
    headers: limits::HEADERS,
    unread: limits::UNREAD_TIME,
    keep_alive: limits::KEEP_ALIVE,
    drain: limits::SHUTDOWN,
};

impl Api {
    pub(crate) fn new(around: Surroundings) -> Self {
        let standby = Standby::new(&around.config.advertise, VIA, limits::PROXY_ANSWER);
        let room = Arc::new(Semaphore::new(limits::REQUESTS));
        Self(Arc::new(Inner { around, standby, metrics: Metrics::new(), room }))
    }

    /// Serves until `shutdown` resolves and the open requests have ended.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        self.serve_within(listener, BOUNDS, shutdown).await;
    }

    async fn serve_within(self, listener: TcpListener, bounds: Bounds, shutdown: impl Future<Output = ()>) {
        let router = Router::new().fallback(handle).with_state(self.clone());
        door::serve(listener, router, bounds, self.metrics().connections(), shutdown).await;
    }

    async fn answer(&self, from: SocketAddr, request: Request) -> Response {
        let started = std::time::Instant::now();
        let Ok(permit) = Arc::clone(&self.0.room).try_acquire_owned() else {
            self.0.metrics.refused();
            return Problem::Unavailable("too many requests at once".to_owned()).response();
        };
        let method = request.method().clone();
        let mut response = match self.dispatch(from, request).await {
            Ok(response) => response,
            Err(problem) => problem.response(),
        };
        if response.headers().get(CONTENT_TYPE).is_none_or(|value| value != routes::events::STREAM) {
            respond::forbid_caching(response.headers_mut());
        }
        self.0.metrics.answered(&method, response.status(), started.elapsed());
        // A stream holds its place until it ends.
        let (parts, body) = response.into_parts();
        Response::from_parts(parts, place::keep_with(body, permit))
    }

    async fn dispatch(&self, from: SocketAddr, request: Request) -> Answered {
        let (parts, body) = request.into_parts();
        if parts.uri.path_and_query().is_some_and(|text| text.as_str().len() > limits::URI_BYTES) {
            return Err(Problem::Status(StatusCode::URI_TOO_LONG));
        }
        let path = steps(parts.uri.path())?;
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(guard) = &self.config().guard
            && !matches!(names[..], ["ping"])
            && guard.authenticate(&parts.headers).is_none()
        {
            return Ok(respond::unauthorized());
        }
        if let Some(response) = routes::local(self, &parts, &names).await {
            return response;
        }
        let body = read(body).await?;
        if let Some(response) = self.forwarded(from, &parts, &body).await? {
            return Ok(response);
        }
        let query = Query::parse(parts.uri.query());
        let call = Call { parts, path, query, body, from };
        let mut response = routes::route(self, &call).await.unwrap_or_else(|problem| problem.response());
        if let Ok(value) = HeaderValue::from_str(&format!("http://{}", self.config().advertise)) {
            response.headers_mut().insert(LEADER, value);
        }
        Ok(response)
    }

    /// The leader's answer, if the leader is not here. When it has just died the request waits for the next one: nothing
    /// has been sent, and most clients would only come back at once.
    async fn forwarded(
        &self,
        from: SocketAddr,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Option<Response>, Problem> {
        let until = tokio::time::Instant::now() + limits::TAKEOVER;
        let mut standing = self.0.around.handle.standing();
        while let Some(leader) = self.leader_elsewhere().await? {
            let problem = match self.0.standby.forward(&leader, from, parts, body.clone()).await {
                Ok(response) => return Ok(Some(response)),
                Err(Unforwarded::Circle) => {
                    return Err(Problem::BadGateway("Detected proxying loop".to_owned()));
                }
                Err(Unforwarded::Failed(why)) => return Err(Problem::BadGateway(why)),
                Err(Unforwarded::Unreachable(why)) => Problem::BadGateway(why),
            };
            let dead = Standing::Following { leader: Some(leader) };
            let changed = standing.wait_for(|standing| *standing != dead);
            if !matches!(tokio::time::timeout_at(until, changed).await, Ok(Ok(_))) {
                return Err(problem);
            }
        }
        Ok(None)
    }

    /// Where the leader is, if it is not here. Waits a little while there is none.
    async fn leader_elsewhere(&self) -> Result<Option<String>, Problem> {
        let mut standing = self.0.around.handle.standing();
        let known = standing.wait_for(|standing| !matches!(standing, Standing::Following { leader: None }));
        match tokio::time::timeout(limits::LEADER_WAIT, known).await {
            Ok(Ok(standing)) => Ok(match &*standing {
                Standing::Leading(_) => None,
                Standing::Following { leader } => leader.clone(),
            }),
            _ => Err(Problem::BadGateway("Could not find a leader to forward the request to".to_owned())),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.around.config
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn standing(&self) -> Standing {
        self.0.around.handle.standing().borrow().clone()
    }

    /// What is stored and so may be shown; waits a little for a new leader to have read it.
    pub(crate) async fn view(&self) -> Result<Arc<State>, Problem> {
        let mut view = self.0.around.view.clone();
        let present = tokio::time::timeout(limits::LEADER_WAIT, view.wait_for(Option::is_some)).await;
        let view = present.ok().and_then(Result::ok).and_then(|view| view.clone());
        view.ok_or_else(|| Problem::Unavailable("the leader is still reading its records".to_owned()))
    }

    /// The view there is, if any.
    pub(crate) fn view_now(&self) -> Option<Arc<State>> {
        self.0.around.view.borrow().clone()
    }

    pub(crate) fn hub(&self) -> Option<Hub> {
        self.0.around.hub.borrow().clone()
    }

    pub(crate) fn abdicate(&self) {
        self.0.around.handle.abdicate();
    }

    /// Has the supervisor obey a command, and waits until what it did is stored.
    pub(crate) async fn command(&self, call: &Call, command: Command) -> Result<Reply, Problem> {
        let handle = &self.0.around.handle;
        if handle.is_full() {
            return Err(Problem::Unavailable("too many changes wait to be made".to_owned()));
        }
        let origin = call.origin();
        let ask = handle.ask(move |framework, step| framework.command(&origin, command, step));
        match tokio::time::timeout(limits::ANSWER, ask).await {
            Ok(Ok(answer)) => answer.map_err(Problem::from),
            Ok(Err(AskError::NotLeading { .. })) => Err(Problem::from(Refusal::NotLeader)),
            Ok(Err(AskError::Unknown)) => Err(Problem::Unavailable(
                "this instance has ceased to lead; what became of the change is unknown".to_owned(),
            )),
            Err(_) => Err(Problem::Unavailable(
                "the change was not stored in time; what becomes of it is unknown".to_owned(),
            )),
        }
    }

    /// Tells the supervisor something that has no answer.
    pub(crate) async fn tell(&self, tell: impl FnOnce(&mut Framework, &mut Step) + Send + 'static) {
        self.0.around.handle.tell(tell).await;
    }
}

impl Call {
    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The client as it is named in events: behind a standby it is the first of those forwarded for.
    fn origin(&self) -> Origin {
        let forwarded = self.parts.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let first = forwarded.and_then(|list| list.split(',').next()).map(|ip| ip.trim().to_owned());
        Origin {
            client_ip: first.unwrap_or_else(|| self.from.ip().to_string()),
            uri: self.parts.uri.path().to_owned(),
        }
    }

    /// The document in the body.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Ok(body::decode(self.json()?)?)
    }

    /// The list of documents in the body.
    pub(crate) fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, Problem> {
        Ok(body::decode_list(self.json()?)?)
    }

    /// The body, unless it says that it is something else than JSON.
    fn json(&self) -> Result<&[u8], Problem> {
        let media = self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Command lines that say nothing send the type of forms.
        let fine = media.is_none_or(|media| {
            let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            media.ends_with("json") || media == "application/x-www-form-urlencoded" || media.is_empty()
        });
        if fine { Ok(&self.body) } else { Err(Problem::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE)) }
    }
}

async fn handle(
    Extract(api): Extract<Api>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    api.answer(from, request).await
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(limits::BODY_TIME, axum::body::to_bytes(body, limits::BODY_BYTES)).await;
    let read = read.map_err(|_| Problem::Status(StatusCode::REQUEST_TIMEOUT))?;
    read.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            Problem::Status(StatusCode::PAYLOAD_TOO_LARGE)
        } else {
            Problem::BadRequest("the body ended before it was complete".to_owned())
        }
    })
}

fn steps(path: &str) -> Result<Vec<String>, Problem> {
    path.split('/')
        .filter(|step| !step.is_empty())
        .map(|step| {
            let text = percent_decode_str(step).decode_utf8();
            text.map(|text| text.into_owned())
                .map_err(|_| Problem::BadRequest(format!("path step '{step}' is not UTF-8 when decoded")))
        })
        .collect()
}
