//! The sidecar and HAProxy, killed in turn: traffic goes on without the one and comes back after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::load::Load;
use e2e::wait::{check, until};
use e2e::{ports, site};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_outlives_the_sidecar_and_comes_back_after_haproxy() {
    let files = site::serve().await;
    let mut cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: true }).await;
    let service_port = ports::free();
    let mut body = site::app(&format!("http://{files}/site-1.zip"), service_port);
    body["instances"] = json!(2);
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&body)).await;
    assert_eq!(status, 201, "{answer}");
    let url = format!("http://127.0.0.1:{service_port}/");
    routed(&cluster, &url, 2).await;
    let pids = haproxy_pids(&cluster);

    let load = Load::start(&url, 4);
    let sidecar = cluster.haproxy.as_mut().expect("a sidecar");
    sidecar.kill();
    let sent = load.sent();
    until("requests go on without the sidecar", SOON, async || {
        check(load.sent() > sent + 300, || load.sent().to_string())
    })
    .await;
    scale(&cluster, 3).await;
    cluster.haproxy.as_mut().expect("a sidecar").restart();
    routed(&cluster, &url, 3).await;
    assert_eq!(haproxy_pids(&cluster), pids, "the new sidecar goes on with the HAProxy it finds");
    scale(&cluster, 2).await;
    routed(&cluster, &url, 2).await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "of {}: {:#?}", outcome.sent, outcome.failures);

    for pid in &pids {
        // SAFETY: plain integers; the pids were those of this cluster's HAProxy a moment ago.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    until("another HAProxy serves", SOON, async || {
        let now = haproxy_pids(&cluster);
        check(!now.is_empty() && now.is_disjoint(&pids), || format!("{now:?}\n{}", cluster.logs()))
    })
    .await;
    routed(&cluster, &url, 2).await;
    scale(&cluster, 3).await;
    routed(&cluster, &url, 3).await;
}

async fn scale(cluster: &Cluster, instances: usize) {
    let change = json!({ "instances": instances });
    let (status, answer) = cluster.ask(Method::PATCH, "/v2/apps/site", Some(&change)).await;
    assert_eq!(status, 200, "{answer}");
}

/// Waits until the app has so many healthy instances and exactly they answer through HAProxy.
async fn routed(cluster: &Cluster, url: &str, count: usize) {
    let tasks = cluster.wait_healthy("/site", count, SOON).await;
    let wanted: BTreeSet<String> =
        tasks.iter().map(|task| format!("one {}", task["id"].as_str().expect("an id"))).collect();
    until(&format!("{count} instances answer through HAProxy"), SOON, async || {
        let mut seen = BTreeSet::new();
        for _ in 0..count * 6 {
            let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
            let answer =
                http.get(url).send().await.map_err(|error| format!("{error:?}\n{}", cluster.logs()))?;
            let status = answer.status();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Err(status.to_string());
            }
            seen.insert(text.trim().to_owned());
        }
        check(seen == wanted, || format!("{seen:?}, not {wanted:?}"))
    })
    .await;
}

/// HAProxy's processes, known by the configuration of this cluster on their command line.
fn haproxy_pids(cluster: &Cluster) -> BTreeSet<i32> {
    let folder = cluster.dir("haproxy").display().to_string();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(command) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
        let mut words = command.split('\0');
        let program = words.next().unwrap_or_default();
        if program.ends_with("haproxy") && words.any(|word| word.starts_with(&folder)) {
            found.insert(pid);
        }
    }
    found
}
