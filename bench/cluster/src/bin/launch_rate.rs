//! 1,000 command tasks launched on one agent through the scheduler API, against a bare `posix_spawn` loop.
//!
//! The clock starts with the ACCEPT and stops when the last TASK_FINISHED has arrived; every update is acknowledged on the
//! way, so that a task's three updates (STARTING, RUNNING, FINISHED) all pass through agent, master and scheduler.

use std::collections::BTreeSet;
use std::time::Instant;

use bench_cluster::floor;
use bench_cluster::scheduler::Scheduler;
use e2e::cluster::{Cluster, Shape};
use serde_json::{Value, json};

const TASKS: usize = 1000;

#[tokio::main]
async fn main() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let mut scheduler = Scheduler::subscribe(&cluster.master_addresses[0]).await;
    let before = floor::spawns(1000);
    let offers = scheduler.next("OFFERS").await;
    let offer = &offers["offers"]["offers"][0];
    let tasks: Vec<Value> = (0..TASKS).map(|i| task(i, &offer["agent_id"])).collect();

    let started = Instant::now();
    let launch = json!({ "type": "LAUNCH", "launch": { "task_infos": tasks } });
    let accept = json!({ "offer_ids": [offer["id"]], "operations": [launch], "filters": { "refuse_seconds": 3600.0 } });
    scheduler.call(json!({ "type": "ACCEPT", "accept": accept })).await;
    let mut finished = BTreeSet::new();
    while finished.len() < TASKS {
        let event = scheduler.next("UPDATE").await;
        let status = &event["update"]["status"];
        scheduler.acknowledge(status).await;
        match status["state"].as_str() {
            Some("TASK_FINISHED") => {
                finished.insert(status["task_id"]["value"].as_str().expect("an id").to_owned());
            }
            Some("TASK_STARTING" | "TASK_RUNNING") => {}
            other => panic!("{other:?}: {status}"),
        }
    }
    let took = started.elapsed();
    let after = floor::spawns(1000);
    let rate = TASKS as f64 / took.as_secs_f64();
    let bare = 2000.0 / (before + after).as_secs_f64();
    println!(
        "{}",
        json!({ "bench": "launch_rate", "tasks": TASKS, "per_second": rate.round(), "floor_spawns_per_second": bare.round(), "ratio": (rate / bare * 1000.0).round() / 1000.0 })
    );
}

fn task(number: usize, agent_id: &Value) -> Value {
    json!({
        "name": "true",
        "task_id": { "value": format!("true-{number}") },
        "agent_id": agent_id,
        "command": { "shell": false, "value": "/bin/true", "arguments": ["true"] },
        "resources": [
            { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.001 } },
            { "name": "mem", "type": "SCALAR", "scalar": { "value": 1.0 } }
        ]
    })
}
