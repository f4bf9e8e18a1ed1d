//! The accept loop, and what each connection may cost.
//!
//! Our own instead of the framework's, because connections need a cap, a head limit and a head timeout, a reader that
//! never reads must be cut off from outside, and targets in absolute form must be routed like any other.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::Service;

use crate::limits;
use crate::path;

/// What a handler may know of the connection its request came on, and do to it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    kill: Arc<Notify>,
    /// Held by whoever took the connection over, so that upgraded ones count as well.
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    /// Cuts the connection, whatever is still to be written on it.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    /// Resolves when somebody cuts it. For those who took the connection over from HTTP.
    pub(crate) async fn killed(&self) {
        self.kill.notified().await;
    }
}

/// Serves until `ending` is set, then lets connections finish what they do, for a while.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut ending: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => break,
            // Finished ones are taken out, or the set would grow for ever.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let connection =
                    Connection { peer: peer.ip(), kill: Arc::default(), _permit: Arc::new(permit) };
                connections.spawn(carry(stream, connection, router.clone(), ending.clone()));
            }
            Err(error) => {
                // Out of descriptors, or a connection that ended before it was taken. Neither is made better by trying again at
                // once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::DRAIN, finish).await.is_err() {
        tracing::warn!(left = connections.len(), "connections cut at the end");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Beyond the cap new connections wait in the kernel's queue.
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    set_up(&stream)?;
    Ok((stream, peer, permit))
}

fn set_up(stream: &TcpStream) -> std::io::Result<()> {
    // Records are small and waited for.
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    // A peer that vanished, and one that takes nothing of what is written, are both given up by the kernel.
    sockopt::set_tcp_user_timeout(socket, limits::UNREAD_TIME_MS)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(20))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    Ok(())
}

async fn carry(stream: TcpStream, connection: Connection, router: Router, mut ending: watch::Receiver<bool>) {
    let kill = connection.kill.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(Body::new);
        path::normalize(&mut request);
        request.extensions_mut().insert(connection.clone());
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES)
        .max_headers(limits::HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let mut told = false;
    loop {
        tokio::select! {
            result = &mut http => {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = kill.notified() => return,
            _ = ending.wait_for(|ending| *ending), if !told => {
                told = true;
                http.as_mut().graceful_shutdown();
            }
        }
    }
}
