//! A scheduler of real processes with 100,000 jobs: filling it, adding one more, and starting it again.
//!
//! One master, so the floor of a change is two `fdatasync`: its log and the engine's. `start` is from the start of the
//! process to its answer about the last of all jobs; the one before it was asked to end and has given leadership back.
//! `start_cpu` is the processor time of that process until then: what is left of a start when nobody else uses the machine.

use std::time::{Duration, Instant};

use bench_batch::{job, processor_time};
use bench_cluster::floor;
use bench_cluster::series::Series;
use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, Shape};
use serde_json::json;
use tokio::task::JoinSet;

/// Clients that fill it side by side.
const FILLERS: usize = 32;
/// Jobs added one after the other, and how many a second.
const ADDED: usize = 1000;
const PACE: Duration = Duration::from_millis(20);
const STARTS: usize = 5;

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number of jobs"));
    let cluster = Cluster::start(Shape { masters: 1, agents: 0, marathons: 0, haproxy: false }).await;
    let mut schedulers = Schedulers::start(&cluster, 1, &[]);
    schedulers.leader(&cluster).await;
    let url = format!("http://{}/v1/scheduler/iso8601", schedulers.addresses[0]);
    let before = floor::fdatasync(cluster.folder()) * 2;

    let filled = Instant::now();
    let mut fillers = JoinSet::new();
    for filler in 0..FILLERS {
        let (http, url) = (cluster.http.clone(), url.clone());
        fillers.spawn(async move {
            for i in (filler..count).step_by(FILLERS) {
                add(&http, &url, &format!("job-{i:06}")).await;
            }
        });
    }
    fillers.join_all().await;
    let filled = filled.elapsed();

    let mut added = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    for i in 0..ADDED {
        pace.tick().await;
        let started = Instant::now();
        add(&cluster.http, &url, &format!("added-{i:04}")).await;
        added.push(started.elapsed());
    }
    let floor = (before + floor::fdatasync(cluster.folder()) * 2) / 2;

    let (mut starts, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        schedulers.processes[0].signal(libc::SIGTERM);
        schedulers.processes[0].wait_exit(Duration::from_secs(30));
        let started = Instant::now();
        schedulers.processes[0].restart();
        while !tells_of(&schedulers, &cluster, count + ADDED).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        starts.push(started.elapsed());
        processor.push(processor_time(schedulers.processes[0].pid()));
    }

    let (added, starts, processor) = (Series::new(added), Series::new(starts), Series::new(processor));
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let floor = floor.as_secs_f64() * 1000.0;
    println!(
        "{}",
        json!({ "bench": "batch_jobs", "jobs": count, "filled_per_s": round(count as f64 / filled.as_secs_f64()),
            "add_p50_ms": round(added.percentile(50)), "add_p99_ms": round(added.percentile(99)), "floor_ms": round(floor),
            "start_p50_ms": round(starts.percentile(50)), "start_max_ms": round(starts.percentile(100)),
            "start_cpu_p50_ms": round(processor.percentile(50)) })
    );
}

async fn add(http: &reqwest::Client, url: &str, name: &str) {
    let document = job(name, "R/2090-01-01T00:00:00Z/P1D");
    let answer = http.post(url).json(&document).send().await.expect("an answer");
    assert_eq!(answer.status(), 204, "{name}");
}

/// Whether it tells of the last of so many jobs; not while it is not up.
async fn tells_of(schedulers: &Schedulers, cluster: &Cluster, count: usize) -> bool {
    let last = schedulers.get(cluster, &format!("/v1/scheduler/jobs?offset={}", count - 1)).await;
    last.is_ok_and(|jobs| jobs.as_array().is_some_and(|jobs| jobs.len() == 1))
}
