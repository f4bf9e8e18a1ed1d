//! The accept loop, and what each connection may cost.
//!
//! Our own instead of the framework's: there a client that opens connections and says nothing keeps them for ever, and
//! one that asks for a stream and never reads keeps it, because nothing polls a stream whose socket is full.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{IntCounter, IntGauge, Registry};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service;

/// Before the next try when no connection can be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// For the head of the next request, idle time included.
    pub head: Duration,
    /// Request line and headers together.
    pub head_bytes: usize,
    /// Headers of one request.
    pub headers: usize,
    /// Without a byte taken of what is written: the reader is gone or does not read.
    pub unread: Duration,
    /// Silence after which the kernel asks whether the client is still there.
    pub keep_alive: Duration,
    /// Once the server is to end, connections have so long to finish what they do.
    pub drain: Duration,
}

/// Figures of the loop, among those of its server.
#[derive(Debug, Clone)]
pub struct Tally {
    open: IntGauge,
    full: IntCounter,
}

impl Tally {
    /// Adds `PREFIX_http_connections` and `PREFIX_http_connections_full_total` to a server's figures.
    ///
    /// # Errors
    /// The registry has them already, or the prefix makes no lawful name.
    pub fn register(registry: &Registry, prefix: &str) -> Result<Self, prometheus::Error> {
        let open = IntGauge::new(format!("{prefix}_http_connections"), "Open connections of clients")?;
        let full = IntCounter::new(
            format!("{prefix}_http_connections_full_total"),
            "Times a connection had to wait for another to end",
        )?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(full.clone()))?;
        Ok(Self { open, full })
    }
}

/// What a handler may know of the connection its request came on, and do to it. Among the request's extensions.
#[derive(Clone, Debug)]
pub struct Connection {
    pub peer: SocketAddr,
    kill: Arc<Notify>,
    /// Held by whoever took the connection over, so that upgraded ones count as well.
    _place: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    /// Cuts the connection, whatever is still to be written on it.
    pub fn kill(&self) {
        self.kill.notify_one();
    }

    /// Resolves when somebody cuts it. For those who took the connection over from HTTP.
    pub async fn killed(&self) {
        self.kill.notified().await;
    }
}

/// Serves until `shutdown` resolves, then lets connections finish what they do, for a while.
///
/// A request's extensions hold its [`Connection`] and axum's `ConnectInfo`.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    bounds: Bounds,
    tally: &Tally,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let room = Arc::new(Semaphore::new(bounds.connections));
    let (ending, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tally.open.set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Finished ones are taken out, or the set would grow for ever.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &room, tally, bounds) => accepted,
        };
        match accepted {
            Ok((stream, connection)) => {
                connections.spawn(carry(stream, connection, service.clone(), bounds, ending.subscribe()));
            }
            Err(error) => {
                // Out of descriptors, or a connection that ended before it was taken. Neither is made better by trying
                // again at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    ending.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(bounds.drain, finish).await.is_err() {
        tracing::warn!(left = connections.len(), "connections cut at the end");
    }
    tally.open.set(0);
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    tally: &Tally,
    bounds: Bounds,
) -> std::io::Result<(TcpStream, Connection)> {
    if room.available_permits() == 0 {
        tally.full.inc();
    }
    let place = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Records and events are small and waited for.
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    // A client that vanished, and one that takes nothing of what is written, are both given up by the kernel.
    sockopt::set_tcp_user_timeout(socket, u32::try_from(bounds.unread.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, bounds.keep_alive)?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    Ok((stream, Connection { peer, kill: Arc::default(), _place: Arc::new(place) }))
}

async fn carry<S>(
    stream: TcpStream,
    connection: Connection,
    service: S,
    bounds: Bounds,
    mut ending: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let kill = connection.kill.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut service = service.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(connection.peer));
        request.extensions_mut().insert(connection.clone());
        async move { service.call(request).await }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(bounds.head_bytes)
        .max_headers(bounds.headers)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut http => break ended,
            () = kill.notified() => return,
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
