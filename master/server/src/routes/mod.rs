//! What is served, one file per API.

mod allocation;
mod flat;
mod internal;
mod legacy;
mod logs;
mod maintenance;
mod members;
mod metrics;
mod operator;
mod page;
mod scheduler;
mod snapshot_json;
pub(crate) mod state;
mod state_api;

use front::door::Connection;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::any;
use master_core::effect::Reply;
use master_core::input::{Input, RequestId, StreamId};
use master_core::refusal::Refusal;
use master_core::snapshot::Snapshot;
use tokio::sync::oneshot;

use crate::answer;
use crate::app::App;
use crate::driver::Message;
use crate::guard;
use crate::path::Original;
use crate::peers;
use crate::redirect;
use crate::streams::{StreamReader, stream};

/// All routes. Methods are checked by the handlers: where the leader is comes before how one asks.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/scheduler", any(scheduler::call))
        .route("/api/v1", any(operator::call))
        .route("/api/v1/state", any(state_api::call))
        .route("/internal/link", any(internal::link))
        .route(peers::PATH, any(internal::raft))
        .route(peers::HELLO_PATH, any(internal::hello))
        .route(peers::SNAPSHOT_PATH, any(internal::snapshot))
        .route("/", any(page::cluster))
        .route("/ui/{name}", any(page::file))
        .route("/members", any(members::group))
        .route("/members/{id}", any(members::member))
        .route("/health", any(legacy::health))
        .route("/version", any(legacy::version))
        .route("/flags", any(legacy::flags))
        .route("/redirect", any(legacy::redirect))
        .route("/metrics", any(metrics::metrics))
        .route("/metrics/snapshot", any(metrics::metrics_snapshot))
        .route("/state", any(legacy::state))
        .route("/slaves", any(legacy::slaves))
        .route("/frameworks", any(legacy::frameworks))
        .route("/tasks", any(legacy::tasks))
        .route("/roles", any(legacy::roles))
        .route("/allocation", any(allocation::allocation))
        .route("/quota", any(legacy::quota))
        .route("/weights", any(legacy::weights))
        .route("/state-summary", any(legacy::state_summary))
        .route("/files/browse", any(logs::browse))
        .route("/files/read", any(logs::read))
        .route("/files/download", any(logs::download))
        .route("/files/debug", any(logs::debug))
        .route("/system/stats.json", any(metrics::system))
        .route("/logging/toggle", any(logs::toggle))
        .route("/teardown", any(legacy::teardown))
        .route("/maintenance/schedule", any(maintenance::schedule))
        .route("/maintenance/status", any(maintenance::status))
        .route("/machine/down", any(maintenance::down))
        .route("/machine/up", any(maintenance::up))
        .fallback(async || answer::not_found())
        .layer(from_fn_with_state(app.clone(), guard::admit))
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app)
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // The pattern, not the path: clients choose paths, and each would be a series of its own.
    let route = request.extensions().get::<axum::extract::MatchedPath>().cloned();
    let response = next.run(request).await;
    app.metrics
        .answered(route.as_ref().map_or("unknown", |route| route.as_str()), response.status().as_u16());
    response
}

/// A request to the core under way.
struct Asked {
    id: RequestId,
    answer: oneshot::Receiver<Result<Reply, Refusal>>,
}

impl Asked {
    /// The core's word. It answers everything it is asked, unless the process ends.
    async fn answer(self) -> Result<Reply, Refusal> {
        self.answer.await.unwrap_or(Err(Refusal::Unknown))
    }
}

/// Puts an input to the core that it answers once.
async fn ask(app: &App, input: impl FnOnce(RequestId) -> Input) -> Asked {
    submit(app, input, None).await
}

/// The same, with a stream that begins if the answer says so.
async fn ask_for_stream(
    app: &App,
    id: StreamId,
    connection: &Connection,
    input: impl FnOnce(RequestId) -> Input,
) -> (Asked, StreamReader) {
    let (sender, reader) = stream(id.clone(), connection.clone(), app.inbox.clone());
    (submit(app, input, Some((id, sender))).await, reader)
}

async fn submit(
    app: &App,
    input: impl FnOnce(RequestId) -> Input,
    stream: Option<(StreamId, crate::streams::StreamSender)>,
) -> Asked {
    let id = app.request_id();
    let (answer, answered) = oneshot::channel();
    let message = Message::Request { id, input: Box::new(input(id)), answer, stream };
    // A full inbox makes requests wait, which is what clients understand; a closed one drops the answer's sender.
    let _ = app.inbox.send(message).await;
    Asked { id, answer: answered }
}

fn stream_id() -> StreamId {
    StreamId(uuid::Uuid::new_v4().to_string().into())
}

/// A refusal as HTTP has it: its status, its sentence; or where the leader is.
fn refused(app: &App, refusal: &Refusal, original: Option<&Original>) -> Response {
    match refusal {
        Refusal::NotLeading => redirect::away(app, original),
        other => {
            let status = http::StatusCode::from_u16(other.status()).unwrap_or(http::StatusCode::BAD_REQUEST);
            if status == http::StatusCode::SERVICE_UNAVAILABLE {
                return answer::unavailable(other.to_string());
            }
            answer::text(status, other.to_string())
        }
    }
}

/// Answers that carry nothing of their own.
fn plain(reply: &Reply) -> Response {
    match reply {
        Reply::Accepted => answer::empty(http::StatusCode::ACCEPTED),
        _ => answer::empty(http::StatusCode::OK),
    }
}

/// Everything the leader knows, proved current.
pub(crate) async fn snapshot(app: &App, original: Option<&Original>) -> Result<Arc<Snapshot>, Response> {
    let call = master_core::call::OperatorCall::Read;
    let asked = ask(app, |request| Input::Operator { request, call }).await;
    let id = asked.id;
    match asked.answer().await {
        Ok(Reply::Snapshot(snapshot)) => Ok(snapshot),
        Ok(other) => {
            tracing::error!(request = id.0, ?other, "a read was answered with something else");
            Err(answer::text(http::StatusCode::INTERNAL_SERVER_ERROR, "The master answered something else"))
        }
        Err(refusal) => Err(refused(app, &refusal, original)),
    }
}
