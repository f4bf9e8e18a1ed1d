//! A small web server that says its name, and can be killed like a process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::sidecar::PATIENCE;

pub(crate) struct Instance {
    shared: Arc<Shared>,
    port: u16,
    task: JoinHandle<()>,
}

struct Shared {
    name: String,
    requests: AtomicU64,
    /// Requests for `/slow` wait for a permit.
    slow: Semaphore,
    waiting: Semaphore,
}

impl Instance {
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            requests: AtomicU64::new(0),
            slow: Semaphore::new(0),
            waiting: Semaphore::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { shared, port, task }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it with every connection it has, as a signal would.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// Lets one slow request go on.
    pub(crate) fn release(&self) {
        self.shared.slow.add_permits(1);
    }

    /// Returns when a slow request has arrived.
    pub(crate) async fn until_waiting(&self) {
        let arrived = tokio::time::timeout(PATIENCE, self.shared.waiting.acquire()).await;
        arrived.expect("a slow request arrives").unwrap().forget();
    }

    /// Asks the service again and again until this instance was the one to answer.
    pub(crate) async fn until_asked(&self, client: &reqwest::Client, port: u16) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.shared.requests.load(Ordering::Relaxed) == 0 {
            assert!(tokio::time::Instant::now() < deadline, "{} is not asked", self.name());
            let _ = client.get(format!("http://127.0.0.1:{port}/")).send().await;
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborted with this task, and with it the connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| answer(Arc::clone(&shared), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if request.uri().path() == "/slow" {
        shared.waiting.add_permits(1);
        shared.slow.acquire().await.unwrap().forget();
    }
    let path = request.uri().path();
    let body =
        if path == "/" || path == "/slow" { shared.name.clone() } else { format!("{} {path}", shared.name) };
    Ok(Response::new(body))
}
