//! The REST API: requests in, commands and views out. No rule of the product lives here.

mod logs;
mod metrics;
mod precondition;
mod present;
mod respond;
mod routes;
mod sandboxes;
mod statistics;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State as Extract};
use axum::response::Response;
use front::credential::Credential;
use front::door::{self, Bounds};
use front::guard::{self, Guard};
use front::standby::{Standby, Unforwarded};
use http::header::HeaderName;
use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use sdk::Masters;
use sdk::leadership::Standing;
use sdk::scheduler::{AskError, Handle};
use sdk::step::Step;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::metrics::Metrics;
use self::respond::{Answered, Problem};
use self::sandboxes::Sandboxes;
use crate::core::book::Book;
use crate::core::message::{Command, Reply};
use crate::driver::Batch;
use crate::limits;

/// The API of one instance. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    scheduler: Handle<Batch>,
    advertise: String,
    guard: Option<Guard>,
    standby: Standby,
    sandboxes: Sandboxes,
    metrics: Metrics,
    room: Semaphore,
}

/// A request, taken apart.
struct Call {
    parts: Parts,
    /// Steps of the path below the prefix, decoded.
    path: Vec<String>,
    query: BTreeMap<String, String>,
    body: Bytes,
}

/// Where a request says which standby has sent it on.
const VIA: HeaderName = HeaderName::from_static("x-chronos-via");

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
    pub(crate) fn new(
        advertise: &str,
        guard: Option<Guard>,
        (masters, credential): (Masters, Option<&Credential>),
        scheduler: Handle<Batch>,
    ) -> Self {
        let authorization = credential.map(guard::authorization);
        Self(Arc::new(Inner {
            scheduler,
            advertise: advertise.to_owned(),
            guard,
            standby: Standby::new(advertise, VIA, limits::PROXY_ANSWER),
            sandboxes: Sandboxes::new(masters, authorization),
            metrics: Metrics::new(),
            room: Semaphore::new(limits::REQUESTS),
        }))
    }

    /// Serves until `shutdown` resolves and the open requests have ended.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let router = Router::new().fallback(handle).with_state(self.clone());
        door::serve(listener, router, BOUNDS, self.0.metrics.connections(), shutdown).await;
    }

    async fn answer(&self, from: SocketAddr, request: Request) -> Response {
        let method = request.method().clone();
        let result = match self.0.room.try_acquire() {
            Ok(_permit) => self.dispatch(from, request).await,
            Err(_) => Err(Problem::Unavailable("too many requests at once".to_owned())),
        };
        let response = respond::finished(result.unwrap_or_else(|problem| problem.response()));
        self.0.metrics.answered(&method, response.status());
        response
    }

    async fn dispatch(&self, from: SocketAddr, request: Request) -> Answered {
        let (parts, body) = request.into_parts();
        if parts.uri.path_and_query().is_some_and(|text| text.as_str().len() > limits::URI_BYTES) {
            return Err(Problem::Status(StatusCode::URI_TOO_LONG));
        }
        let path = steps(parts.uri.path())?;
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        if let Some(guard) = &self.0.guard
            && !matches!(names[..], ["ping"])
            && guard.authenticate(&parts.headers).is_none()
        {
            return Ok(respond::unauthorized());
        }
        if let Some(response) = routes::local(self, &parts, &names).await {
            return response;
        }
        let below = match &names[..] {
            ["v1", "scheduler", rest @ ..] | ["scheduler", rest @ ..] => rest.len(),
            ["metrics"] => 1,
            _ => return Err(Problem::Status(StatusCode::NOT_FOUND)),
        };
        let body = read(body).await?;
        if let Some(response) = self.forwarded(from, &parts, &body).await? {
            return Ok(response);
        }
        let query = query(parts.uri.query());
        let path = path[path.len() - below..].to_vec();
        routes::route(self, &Call { parts, path, query, body }).await
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
        let mut standing = self.0.scheduler.standing();
        loop {
            let known =
                standing.wait_for(|standing| !matches!(standing, Standing::Following { leader: None }));
            let leader = match tokio::time::timeout_at(until, known).await {
                Ok(Ok(standing)) => match &*standing {
                    Standing::Leading(_) => return Ok(None),
                    Standing::Following { leader } => leader.clone().unwrap_or_default(),
                },
                _ => return Err(Problem::Unavailable("no instance leads at present".to_owned())),
            };
            let problem = match self.0.standby.forward(&leader, from, parts, body.clone()).await {
                Ok(response) => return Ok(Some(response)),
                Err(Unforwarded::Circle) => {
                    return Err(Problem::BadGateway("the request goes round in circles".to_owned()));
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
    }

    fn standing(&self) -> Standing {
        self.0.scheduler.standing().borrow().clone()
    }

    /// Runs `ask` in the scheduler, and waits until what it has changed is stored.
    async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Batch, &mut Step) -> R + Send + 'static,
    ) -> Result<R, Problem> {
        match tokio::time::timeout(limits::ANSWER, self.0.scheduler.ask(ask)).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(AskError::NotLeading { .. })) => {
                Err(Problem::Unavailable("this instance does not lead".to_owned()))
            }
            Ok(Err(AskError::Unknown)) => Err(Problem::Unavailable(
                "this instance has ceased to lead; what became of the change is unknown".to_owned(),
            )),
            Err(_) => Err(Problem::Unavailable(
                "the change was not stored in time; what becomes of it is unknown".to_owned(),
            )),
        }
    }

    async fn book(&self) -> Result<Book, Problem> {
        self.ask(|batch, _| batch.book()).await
    }

    async fn command(&self, command: Command) -> Result<Reply, Problem> {
        self.ask(|batch, step| batch.command(command, step)).await?.map_err(Problem::Refused)
    }
}

impl Call {
    fn method(&self) -> &Method {
        &self.parts.method
    }

    fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::BadRequest(format!("the body is not JSON: {error}")))
    }

    /// A whole number of the query.
    fn number(&self, name: &str, default: usize) -> Result<usize, Problem> {
        let Some(text) = self.query.get(name) else { return Ok(default) };
        text.parse().map_err(|_| Problem::BadRequest(format!("{name} '{text}' must be a whole number")))
    }

    fn has(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| !matches!(value.as_str(), "false" | "0"))
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
    let whole = axum::body::to_bytes(body, limits::BODY_BYTES);
    let read = tokio::time::timeout(limits::BODY_TIME, whole).await;
    read.map_err(|_| Problem::Status(StatusCode::REQUEST_TIMEOUT))?.map_err(|_| {
        Problem::BadRequest(format!("the body must end, and have at most {} bytes", limits::BODY_BYTES))
    })
}

/// Steps of the path, decoded, the empty ones dropped.
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

fn query(text: Option<&str>) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect()
}
