//! What agents and other masters ask of this one.

use front::door::Connection;
use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use replica::wire::Frame;
use replica::{Files, SnapshotId};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::app::App;
use crate::wireup::Stream;
use crate::{answer, limits, link, peers, redirect, wireup};

/// `GET /internal/link`: an agent registers and stays.
pub(super) async fn link(State(app): State<Arc<App>>, request: Request) -> Response {
    if let Err(elsewhere) = redirect::unless_leading(&app, &request) {
        return elsewhere;
    }
    upgrade(app, request, link::PROTOCOL, link::carry)
}

/// `GET /internal/raft`: another master sends its messages.
pub(super) async fn raft(State(app): State<Arc<App>>, request: Request) -> Response {
    upgrade(app, request, peers::PROTOCOL, |app, stream, connection| async move {
        tokio::select! {
            () = peers::receive(app, stream) => {}
            () = connection.killed() => {}
        }
    })
}

fn upgrade<F: Future<Output = ()> + Send + 'static>(
    app: Arc<App>,
    mut request: Request,
    protocol: &'static str,
    carry: impl FnOnce(Arc<App>, Stream, Connection) -> F + Send + 'static,
) -> Response {
    if !wireup::asks_for(request.headers(), protocol) {
        return wireup::upgrade_required(protocol);
    }
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return answer::unavailable("The connection is gone");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                tokio::select! {
                    () = carry(app.clone(), TokioIo::new(upgraded), connection) => {}
                    () = app.ending() => {}
                }
            }
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    wireup::switching(protocol)
}

/// `POST /internal/raft/hello`: first members tell each other who they are.
pub(super) async fn hello(State(app): State<Arc<App>>, request: Request) -> Response {
    let body = Limited::new(request.into_body(), limits::HELLO_BYTES).collect();
    let Ok(Ok(body)) = timeout(limits::DIAL_TIME, body).await else {
        return answer::bad("A greeting is one small frame");
    };
    match peers::parse(&body.to_bytes()) {
        Ok(Frame::Hello(hello)) => {
            let answer = app.with_forming(|forming| {
                // Its error concerns us both; the other side is told by our own greeting.
                if let Err(error) = forming.hear(&hello) {
                    tracing::warn!("{error}");
                }
                forming.hello()
            });
            answer::typed("application/octet-stream", Frame::Hello(answer).encode())
        }
        Ok(_) => answer::bad("A greeting was expected"),
        Err(error) => answer::bad(error.to_string()),
    }
}

#[derive(Deserialize)]
pub(super) struct Which {
    index: u64,
    term: u64,
}

/// `GET /internal/raft/snapshot`: the file a follower was told of.
pub(super) async fn snapshot(State(app): State<Arc<App>>, Query(which): Query<Which>) -> Response {
    let Some(group) = app.group.get() else { return answer::unavailable("The replica does not run yet") };
    let (files, id) = (group.files.clone(), SnapshotId { index: which.index, term: which.term });
    let Ok(Ok(file)) = tokio::task::spawn_blocking(move || files.open(id)).await else {
        return answer::not_found();
    };
    let (chunks, received) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || read(file, &chunks));
    answer::typed("application/octet-stream", Bytes::new()).map(|_| Body::new(FileBody(received)))
}

/// Until the file or the reader ends. A reader that stops is cut off by its socket.
fn read(mut file: Box<dyn Read + Send>, chunks: &mpsc::Sender<std::io::Result<Bytes>>) {
    loop {
        let mut chunk = vec![0; 256 << 10];
        let chunk = match file.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk.into())
            }
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

struct FileBody(mpsc::Receiver<std::io::Result<Bytes>>);

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(http_body::Frame::data)))
    }
}
