//! The accept loop, and what each connection may cost.
//!
//! Our own instead of the framework's: there a client that opens connections and says nothing keeps them for ever, and
//! one that asks for events and never reads keeps its stream, because nothing polls a stream whose socket is full.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

use super::metrics::Metrics;
use crate::limits;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Open at once.
    pub(super) connections: usize,
    /// For the head of the next request, idle time included.
    pub(super) head: Duration,
    /// Without a byte taken of what is written, in milliseconds.
    pub(super) unread_ms: u32,
}

impl Bounds {
    pub(super) const NORMAL: Self =
        Self { connections: limits::CONNECTIONS, head: limits::HEAD_TIME, unread_ms: limits::UNREAD_TIME_MS };
}

/// Serves until `shutdown` resolves and the connections have finished what they do.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: &Metrics,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let (ending, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        metrics.connections(connections.len());
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Finished ones are taken out, or the set would grow for ever.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room, metrics, bounds) => accepted,
        };
        match accepted {
            Ok((stream, from, place)) => {
                let (router, ending) = (router.clone(), ending.subscribe());
                connections.spawn(async move {
                    carry(stream, from, router, bounds, ending).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, or a connection that ended before it was taken. Neither is made better by trying
                // again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    ending.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    metrics: &Metrics,
    bounds: Bounds,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if room.available_permits() == 0 {
        metrics.connections_full();
    }
    // Beyond the cap new connections wait in the kernel's queue.
    let place = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    // Events are small and waited for.
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    // A client that vanished, and one that takes nothing of what is written, are both given up by the kernel.
    sockopt::set_tcp_user_timeout(socket, bounds.unread_ms)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, limits::KEEP_ALIVE)?;
    Ok((stream, from, place))
}

async fn carry(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    bounds: Bounds,
    mut ending: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(from));
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut http = std::pin::pin!(http);
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut http => break ended,
            _ = ending.wait_for(|ending| *ending), if !told => {
                told = true;
                http.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}
