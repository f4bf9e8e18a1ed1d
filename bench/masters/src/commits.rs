//! Durable writes a second, acknowledged to clients after a majority has synced them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Written};
use crate::group::Group;
use crate::{Options, floor, percentile};

/// 256 bytes, in base64.
const VALUE_BYTES: usize = 256;

pub(crate) async fn measure(options: &Options) -> Result<(), String> {
    let group = Group::start(&options.stoa).await?;
    let leader = group.leader().await?;
    for clients in [1, options.clients] {
        let dir = group.dir().to_owned();
        let (floor_rate, floor_ms) = tokio::task::spawn_blocking(move || floor::fdatasync(&dir))
            .await
            .map_err(|error| error.to_string())??;
        // Warm up, so that connections and caches are there.
        run(&group.addresses[leader], clients, Duration::from_secs(1)).await?;
        let syncs = syncs(&group, leader).await;
        let begun = Instant::now();
        let mut samples = run(&group.addresses[leader], clients, options.duration).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let synced = syncs_since(&group, leader, syncs).await;
        samples.sort_unstable();
        let rate = samples.len() as f64 / seconds;
        println!(
            "{}",
            json!({
                "name": "commits", "masters": 3, "clients": clients, "value_bytes": VALUE_BYTES,
                "commits_per_second": rate.round(),
                "p50_ms": percentile(&samples, 50), "p99_ms": percentile(&samples, 99),
                "leader_syncs_per_second": synced.map(|count| (count / seconds).round()),
                "floor_fdatasync_per_second": floor_rate, "floor_fdatasync_p50_ms": floor_ms,
                "ratio_to_floor": (rate / floor_rate * 100.0).round() / 100.0,
            })
        );
    }
    Ok(())
}

async fn run(address: &str, clients: usize, duration: Duration) -> Result<Vec<Duration>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let value = "QUJD".repeat(VALUE_BYTES / 3);
    let mut tasks = Vec::new();
    for number in 0..clients {
        let mut client = Client::open(address).await.ok_or("the leader does not take connections")?;
        let (stop, value) = (stop.clone(), value.clone());
        tasks.push(tokio::spawn(async move {
            let mut samples = Vec::new();
            let key = format!("commits/{number}");
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match client.put(&key, &value).await {
                    Some(Written::Acknowledged) => samples.push(begun.elapsed()),
                    _ => return Err("a write was not acknowledged".to_owned()),
                }
            }
            Ok(samples)
        }));
    }
    tokio::time::sleep(duration).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.map_err(|error| error.to_string())??);
    }
    Ok(all)
}

/// Synced writes of the leader's log so far, by its own count.
async fn syncs(group: &Group, leader: usize) -> Option<f64> {
    let text = Client::open(&group.addresses[leader]).await?.text("/metrics").await?;
    let line = text.lines().find(|line| line.starts_with("stoa_master_log_sync_seconds_count"))?;
    line.split(' ').nth(1)?.parse().ok()
}

async fn syncs_since(group: &Group, leader: usize, before: Option<f64>) -> Option<f64> {
    Some(syncs(group, leader).await? - before?)
}
