//! Clients who do not stop asking, with connections kept and with a new one each time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::instance::Instance;
use crate::sidecar::eventually;

pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) fn start(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let keeping = reqwest::Client::new();
        let fresh = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let clients = [keeping.clone(), keeping, fresh.clone(), fresh];
        let clients =
            clients.into_iter().map(|client| tokio::spawn(ask(client, port, Arc::clone(&shared)))).collect();
        Self { shared, clients }
    }

    /// Returns when so many more requests were made.
    pub(crate) async fn more(&self, count: u64) {
        let from = self.shared.requests.load(Ordering::Relaxed);
        eventually("more requests", || async {
            self.shared.requests.load(Ordering::Relaxed) >= from + count
        })
        .await;
    }

    /// Requests made, and what went wrong with those that failed.
    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        let failures = self.shared.failures.lock().unwrap().clone();
        (self.shared.requests.load(Ordering::Relaxed), failures)
    }
}

async fn ask(client: reqwest::Client, port: u16, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let problem = match client.get(format!("http://127.0.0.1:{port}/")).send().await {
            Ok(response) if response.status().is_success() => {
                response.text().await.err().map(|e| e.to_string())
            }
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(format!("{error:?}")),
        };
        shared.requests.fetch_add(1, Ordering::Relaxed);
        shared.failures.lock().unwrap().extend(problem);
    }
}

/// A request under way at this instance.
pub(crate) async fn slow_request(port: u16, instance: &Instance) -> JoinHandle<String> {
    // Another may be chosen: it is let go, and the next request goes round.
    let client = reqwest::Client::new();
    let (name, url) = (instance.name().to_owned(), format!("http://127.0.0.1:{port}/"));
    loop {
        // Balanced in turn: the request after one answered by another goes to this one.
        let answered = client.get(&url).send().await.unwrap().text().await.unwrap();
        if answered != name {
            break;
        }
    }
    let request = tokio::spawn(async move {
        client.get(format!("http://127.0.0.1:{port}/slow")).send().await.unwrap().text().await.unwrap()
    });
    instance.until_waiting().await;
    request
}
