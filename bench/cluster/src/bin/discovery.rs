//! From "instance healthy" to "HAProxy sends it traffic".
//!
//! An app is scaled up by one instance at a time. The first clock mark is the arrival of the instance's
//! `health_status_changed_event` at a client of `/v2/events`; the second is the first answer of that very instance through
//! HAProxy, asked for without pause over new connections. Requests are balanced over all instances, so with n instances the
//! new one answers one request in n: the app is removed after every few steps to keep n small.

use std::time::{Duration, Instant};

use bench_cluster::events::Events;
use bench_cluster::series::Series;
use e2e::cluster::{Cluster, Shape};
use e2e::{ports, site};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 25;
const STEPS: usize = 4;

#[tokio::main]
async fn main() {
    let files = site::serve().await;
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: true }).await;
    let mut events = Events::open(&cluster.marathon_addresses[0]).await;
    let mut each = Vec::new();
    for round in 0..ROUNDS {
        let port = ports::free();
        let id = format!("/site-{round}");
        let path = format!("/v2/apps{id}");
        let (status, body) =
            cluster.ask(Method::POST, "/v2/apps", Some(&app(&id, &files.to_string(), port))).await;
        assert_eq!(status, 201, "{body}");
        let first = events.healthy(&id).await;
        // The first instance brings a new frontend, which takes a reload: that is another figure.
        answered_by(port, &first).await;
        for instances in 2..=STEPS + 1 {
            cluster.wait_healthy(&id, instances - 1, Duration::from_secs(30)).await;
            let (status, body) =
                cluster.ask(Method::PATCH, &path, Some(&json!({ "instances": instances }))).await;
            assert_eq!(status, 200, "{body}");
            let task = events.healthy(&id).await;
            let healthy = Instant::now();
            answered_by(port, &task).await;
            each.push(healthy.elapsed());
        }
        cluster.ask(Method::DELETE, &format!("{path}?force=true"), None).await;
    }
    let series = Series::new(each);
    let round = |value: f64| (value * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({ "bench": "discovery", "instances": series.len(), "p50_ms": round(series.percentile(50)), "p99_ms": round(series.percentile(99)) })
    );
}

fn app(id: &str, files: &str, port: u16) -> Value {
    json!({
        "id": id, "cmd": "cd site && exec python3 server.py $PORT", "cpus": 0.1, "mem": 32, "instances": 1,
        "fetch": [{ "uri": format!("http://{files}/site-1.zip") }],
        "portDefinitions": [{ "port": port, "protocol": "tcp" }],
        "healthChecks": [{ "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 20, "delaySeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 5 }]
    })
}

/// Returns when the task with this id has answered a request through HAProxy.
async fn answered_by(port: u16, task: &str) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(30), "{task} is not routed on {port}");
        if ask(port).await.is_ok_and(|text| text.contains(task)) {
            return;
        }
    }
}

async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
