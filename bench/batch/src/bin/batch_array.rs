//! An array of 10,000 short tasks on one agent: how fast it is drained beside the launch rate of the cluster, and what of a
//! processor the scheduler needs for it.
//!
//! The launch rate is what `launch_rate` measures, the program beside this one, right before and right after: 1,000 tasks of
//! a client that does nothing else. The agent has room for 1,000 tasks of the array at a time.

use std::process::Command;
use std::time::{Duration, Instant};

use bench_batch::processor_time;
use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, Shape};
use e2e::wait::{check, until};
use serde_json::{Value, json};

const LONGEST: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() {
    let tasks = std::env::args().nth(1).map_or(10_000, |text| text.parse().expect("a number of tasks"));
    let before = launch_rate();
    let (took, processor) = drain(tasks).await;
    let launches = (before + launch_rate()) / 2.0;
    let rate = tasks as f64 / took.as_secs_f64();
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    println!(
        "{}",
        json!({ "bench": "batch_array", "tasks": tasks, "per_second": rate.round(), "launch_rate_per_second": launches.round(),
            "ratio": round(rate / launches), "scheduler_cpu_s": round(processor.as_secs_f64()),
            "scheduler_cores": round(processor.as_secs_f64() / took.as_secs_f64()) })
    );
}

/// From posting the array to its success: the time, and the processor time of the scheduler's process.
async fn drain(tasks: u32) -> (Duration, Duration) {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let schedulers = Schedulers::start(&cluster, 1, &[]);
    schedulers.leader(&cluster).await;
    until("it answers", LONGEST, async || schedulers.get(&cluster, "/v1/scheduler/jobs").await.map(drop))
        .await;
    let document = json!({
        "name": "array", "command": "/bin/true", "shell": false, "completions": tasks,
        "cpus": 0.004, "mem": 1, "disk": 1, "retries": 0,
    });
    let pid = schedulers.processes[0].pid();
    let (started, used) = (Instant::now(), processor_time(pid));
    let url = format!("http://{}/v1/scheduler/iso8601", schedulers.addresses[0]);
    let answer = cluster.http.post(url).json(&document).send().await.expect("an answer");
    assert_eq!(answer.status(), 204);
    until("every index has succeeded", LONGEST, async || {
        let runs = schedulers.get(&cluster, "/v1/scheduler/job/array/runs").await?;
        assert_ne!(runs[0]["state"], "failed", "{runs:#}");
        check(runs[0]["state"] == "succeeded", || runs.to_string())
    })
    .await;
    (started.elapsed(), processor_time(pid) - used)
}

/// Launches a second, as the program beside this one measures them.
fn launch_rate() -> f64 {
    let beside = std::env::current_exe().expect("a program knows where it is").with_file_name("launch_rate");
    let output =
        Command::new(&beside).output().unwrap_or_else(|error| panic!("{}: {error}", beside.display()));
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    line["per_second"].as_f64().expect("a rate")
}
