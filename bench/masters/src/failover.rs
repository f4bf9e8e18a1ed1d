//! `kill -9` of the leader under writes: how long until the next write is durable, and whether any was lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::client::{Client, Written};
use crate::group::Group;
use crate::{Options, floor, percentile};

/// Clients that write all the time, each its own keys, to whoever takes them.
const WRITERS: usize = 16;

/// Between two writes of one client.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Shared {
    acknowledged: Mutex<Vec<(String, Instant)>>,
    tried: AtomicUsize,
    stop: AtomicBool,
}

pub(crate) async fn measure(options: &Options) -> Result<(), String> {
    let mut group = Group::start(&options.stoa).await?;
    let result = kill_and_count(&mut group, options).await;
    if result.is_err() {
        group.keep();
    }
    result
}

async fn kill_and_count(group: &mut Group, options: &Options) -> Result<(), String> {
    let dir = group.dir().to_owned();
    let (floor_rate, _) = tokio::task::spawn_blocking(move || floor::fdatasync(&dir))
        .await
        .map_err(|error| error.to_string())??;
    let shared = Arc::new(Shared::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(number, group.addresses.clone(), shared.clone())))
        .collect();
    let mut gaps = Vec::new();
    for _ in 0..options.kills {
        sleep(Duration::from_secs(1)).await;
        let leader = group.leader().await?;
        let killed = group.kill(leader)?;
        gaps.push(first_after(&shared, killed).await?);
        group.restart(leader)?;
        // All three again, or the next kill would take the majority away.
        sleep(Duration::from_millis(500)).await;
        group.leader().await?;
    }
    shared.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.map_err(|error| error.to_string())?;
    }
    let lost = lost(group, &shared).await?;
    gaps.sort_unstable();
    let acknowledged = lock(&shared.acknowledged).len();
    println!(
        "{}",
        json!({
            "name": "failover", "masters": 3, "kills": gaps.len(), "writers": WRITERS,
            "min_ms": percentile(&gaps, 0), "p50_ms": percentile(&gaps, 50), "p90_ms": percentile(&gaps, 90),
            "max_ms": percentile(&gaps, 100),
            "tried": shared.tried.load(Ordering::Relaxed), "acknowledged": acknowledged, "lost": lost,
            "floor_fdatasync_per_second": floor_rate,
        })
    );
    if lost > 0 {
        return Err(format!("{lost} acknowledged writes were lost"));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(writer: usize, addresses: Vec<String>, shared: Arc<Shared>) {
    let mut number = 0;
    let mut next = writer;
    while !shared.stop.load(Ordering::Relaxed) {
        // A follower says where the leader is; a dead one says nothing, and the next is asked.
        next += 1;
        let Some(leader) = Client::leader_of(&addresses[next % addresses.len()]).await else {
            sleep(Duration::from_millis(2)).await;
            continue;
        };
        let Some(mut client) = Client::open(&leader).await else {
            sleep(Duration::from_millis(2)).await;
            continue;
        };
        while !shared.stop.load(Ordering::Relaxed) {
            let key = format!("failover/{writer}/{number}");
            number += 1;
            shared.tried.fetch_add(1, Ordering::Relaxed);
            match client.put(&key, "eA==").await {
                Some(Written::Acknowledged) => lock(&shared.acknowledged).push((key, Instant::now())),
                Some(Written::Not) | None => break,
            }
            // Enough that some are always under way; more would only fill the namespace.
            sleep(PAUSE).await;
        }
    }
}

/// From the kill to the first write acknowledged after it. What was on its way out of the dead leader does not count: it
/// arrives within a moment, and nothing else can within an election.
async fn first_after(shared: &Shared, killed: Instant) -> Result<Duration, String> {
    const ON_ITS_WAY: Duration = Duration::from_millis(50);
    while killed.elapsed() < Duration::from_secs(30) {
        let newest = lock(&shared.acknowledged).last().map(|(_, at)| *at);
        if newest.is_some_and(|at| at > killed + ON_ITS_WAY) {
            let all = lock(&shared.acknowledged);
            let first =
                all.iter().rev().map_while(|(_, at)| (*at > killed + ON_ITS_WAY).then_some(*at)).last();
            return Ok(first.map_or(Duration::MAX, |at| at - killed));
        }
        sleep(Duration::from_millis(1)).await;
    }
    Err("no write was acknowledged within 30 s after a kill".to_owned())
}

/// Acknowledged writes that cannot be read any more.
async fn lost(group: &Group, shared: &Shared) -> Result<usize, String> {
    let leader = group.leader().await?;
    let mut client = Client::open(&group.addresses[leader]).await.ok_or("the leader is gone")?;
    let there: std::collections::BTreeSet<String> = client.keys("failover/").await?.into_iter().collect();
    Ok(lock(&shared.acknowledged).iter().filter(|(key, _)| !there.contains(key)).count())
}
