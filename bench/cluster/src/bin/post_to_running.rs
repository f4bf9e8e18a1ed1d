//! From `POST /v2/apps` with one instance to RUNNING as the event stream tells it, on an idle cluster of one machine.
//!
//! Five posts a second, so that each meets an idle cluster. The clock starts before the request is sent and stops when the `status_update_event` with
//! TASK_RUNNING arrives at a client of `/v2/events`. The floor is one spawn and two `fdatasync`, measured before and after.

use std::time::{Duration, Instant};

use bench_cluster::events::Events;
use bench_cluster::floor;
use bench_cluster::series::Series;
use e2e::cluster::{Cluster, Shape};
use reqwest::Method;
use serde_json::json;

#[tokio::main]
async fn main() {
    let masters = std::env::args().nth(1).map_or(1, |text| text.parse().expect("a number of masters"));
    let count = std::env::args().nth(2).map_or(200, |text| text.parse().expect("a number of posts"));
    let cluster = Cluster::start(Shape { masters, agents: 1, marathons: 1, haproxy: false }).await;
    let mut events = Events::open(&cluster.marathon_addresses[0]).await;
    let before = floor_of(&cluster);
    let mut each = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    for i in 0..count {
        pace.tick().await;
        let app = json!({ "id": format!("/bench-{i}"), "cmd": "exec sleep 1000", "cpus": 0.001, "mem": 4, "instances": 1 });
        let started = Instant::now();
        let (status, body) = cluster.ask(Method::POST, "/v2/apps", Some(&app)).await;
        assert_eq!(status, 201, "{body}");
        events.status(&format!("/bench-{i}"), &["TASK_RUNNING"]).await;
        each.push(started.elapsed());
        // The next one starts on an idle cluster: its app is gone before the clock runs again.
        cluster.ask(Method::DELETE, &format!("/v2/apps/bench-{i}"), None).await;
        events.status(&format!("/bench-{i}"), &["TASK_KILLED", "TASK_FAILED", "TASK_FINISHED"]).await;
    }
    let floor = (before + floor_of(&cluster)) / 2;
    let series = Series::new(each);
    let round = |value: f64| (value * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({ "bench": "post_to_running", "masters": masters, "posts": series.len(), "p50_ms": round(series.percentile(50)),
            "p99_ms": round(series.percentile(99)), "floor_ms": round(floor.as_secs_f64() * 1000.0),
            "p50_to_floor": round(series.percentile(50) / (floor.as_secs_f64() * 1000.0)) })
    );
}

fn floor_of(cluster: &Cluster) -> Duration {
    floor::spawns(200) / 200 + 2 * floor::fdatasync(cluster.folder())
}
