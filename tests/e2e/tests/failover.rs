//! The leading master is killed under writes, again and again: nothing acknowledged is lost, and soon another serves.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Shape};
use e2e::state;
use e2e::wait::{check, until};
use serde_json::Value;

const KILLS: usize = 5;
/// The promise is 3 s on a machine of its own; here the tests share it.
const SERVES_AGAIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_leader_under_writes_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 0, marathons: 0, haproxy: false }).await;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let addresses = cluster.master_addresses.clone();
            tokio::spawn(write(writer, addresses, stop.clone(), acknowledged.clone()))
        })
        .collect();
    let count = || acknowledged.lock().expect("not poisoned").len();

    for _ in 0..KILLS {
        let before = count();
        until("writes go on", SERVES_AGAIN, async || check(count() > before + 50, || "none".into())).await;
        let leader = cluster.leading_master().await;
        cluster.masters[leader].kill();
        let killed = Instant::now();
        let next = cluster.leading_master().await;
        assert_ne!(next, leader);
        assert!(killed.elapsed() < SERVES_AGAIN, "{:?} until another served", killed.elapsed());
        cluster.masters[leader].restart();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer ends");
    }

    let leader = cluster.master_addresses[cluster.leading_master().await].clone();
    let kept = acknowledged.lock().expect("not poisoned").clone();
    for key in &kept {
        let answer =
            cluster.http.post(format!("http://{leader}/api/v1/state")).json(&state::get("kills", key)).send();
        let body: Value = answer.await.expect("an answer").json().await.expect("JSON");
        assert!(state::found(&body), "{key} was acknowledged and is lost: {body}");
    }
}

/// Writes keys one after the other at whichever master takes them, and notes those that were acknowledged.
async fn write(
    writer: usize,
    addresses: Vec<String>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
) {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(2))
        .build()
        .expect("a client");
    let mut at = 0;
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("w{writer}-{number}");
        let call = state::put("kills", &key, key.as_bytes());
        let answer = http.post(format!("http://{}/api/v1/state", addresses[at])).json(&call).send().await;
        if answer.is_ok_and(|answer| answer.status() == 200) {
            acknowledged.lock().expect("not poisoned").insert(key);
        } else {
            // Not the leader, or dying: the next key goes to the next master. The outcome of this one is unknown.
            at = (at + 1) % addresses.len();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
