//! A client that keeps asking and counts every answer that is not the one it wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

/// Requests sent one after the other by a few clients, with and without kept connections, until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
    sent: Arc<AtomicU64>,
}

/// What came of it.
pub struct Outcome {
    pub sent: u64,
    /// One sentence for each failed request.
    pub failures: Vec<String>,
}

impl Load {
    /// Half of the clients keep their connection, the other half opens one for each request.
    pub fn start(url: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|i| {
                let (url, stop, sent) = (url.to_owned(), stop.clone(), sent.clone());
                let idle = if i % 2 == 0 { 1 } else { 0 };
                tokio::spawn(async move { ask(&url, idle, &stop, &sent).await })
            })
            .collect();
        Self { stop, clients, sent }
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.expect("a client ends"));
        }
        Outcome { sent: self.sent.load(Ordering::Relaxed), failures }
    }
}

async fn ask(url: &str, idle: usize, stop: &AtomicBool, sent: &AtomicU64) -> Vec<String> {
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(idle)
        .timeout(Duration::from_secs(10))
        .build()
        .expect("a client");
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        match http.get(url).send().await {
            Ok(answer) if answer.status().is_success() => {
                if let Err(error) = answer.bytes().await {
                    failures.push(format!("request {number}: its body broke off: {error:?}"));
                }
            }
            Ok(answer) => failures.push(format!("request {number}: {}", answer.status())),
            Err(error) => failures.push(format!("request {number}: {error:?}")),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    failures
}
