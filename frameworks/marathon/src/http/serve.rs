//! The accept loop: connections are bounded in number, in the size of their heads and in the time these may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::{Api, routes};

/// Connections at once; past it new ones wait in the kernel's queue.
const CONNECTIONS: usize = 15_000;
/// The head of a request must have arrived by then.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a head.
const HEAD_BYTES: usize = 64 << 10;
/// How long connections may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// Where a request came from.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) String);

impl Api {
    /// Serves until `shutdown` resolves.
    ///
    /// # Errors
    /// The socket cannot accept any more.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let router = routes::router(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        loop {
            let place = Arc::clone(&places).acquire_owned();
            let accepted = async {
                let place = place.await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((listener.accept().await, place))
            };
            tokio::select! {
                accepted = accepted => match accepted? {
                    (Ok((stream, address)), place) => {
                        let client = Client(address.ip().to_string());
                        connection(stream, client, place, &router, &graceful);
                    }
                    // A client that was gone again, or a full table of descriptors: the next may do better.
                    (Err(error), _) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                () = &mut shutdown => break,
            }
        }
        // Streams end with leadership; what still hangs is cut off.
        let _ = tokio::time::timeout(ENDING, graceful.shutdown()).await;
        Ok(())
    }
}

fn connection(
    stream: TcpStream,
    client: Client,
    place: OwnedSemaphorePermit,
    router: &Router,
    graceful: &GracefulShutdown,
) {
    // Without it an event waits for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let router = router.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(client.clone());
        *request.uri_mut() = normal(request.uri());
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection broke off");
        }
        drop(place);
    });
}

/// The path with single slashes and none at its end: clients write `/v2/apps//my/app` and `/v2/apps/`.
fn normal(uri: &Uri) -> Uri {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) && uri.authority().is_none() {
        return uri.clone();
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", segments.join("/")).parse().unwrap_or_else(|_| uri.clone())
}

/// The address of a request's client.
pub(super) fn client(request: &Request) -> String {
    request.extensions().get::<Client>().map_or_else(String::new, |client| client.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_put_in_order() {
        for (given, expected) in [
            ("/v2/apps", "/v2/apps"),
            ("/v2/apps/", "/v2/apps"),
            ("/v2/apps//my/app?x=//", "/v2/apps/my/app?x=//"),
            ("//v2//apps//", "/v2/apps"),
            ("http://host:1/ping", "/ping"),
            ("/", "/"),
        ] {
            assert_eq!(normal(&given.parse().unwrap()).to_string(), expected, "{given}");
        }
    }
}
