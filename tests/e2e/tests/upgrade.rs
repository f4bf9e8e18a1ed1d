//! A rolling upgrade behind HAProxy while every supervisor dies: requests are answered all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::load::Load;
use e2e::process::Process;
use e2e::wait::until;
use e2e::{ports, site, tasks};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
/// Another leader, its list of instances, and the rest of the upgrade, on a busy machine.
const CONVERGE: Duration = Duration::from_secs(90);
const INSTANCES: usize = 3;

/// The next leader goes on with the upgrade before the sidecar has found it: what it kills must have been let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_every_supervisor_dies_in_the_middle() {
    let files = site::serve().await;
    let mut cluster = Cluster::start(Shape { masters: 1, agents: 2, marathons: 2, haproxy: true }).await;
    let port = ports::free();
    let url = format!("http://127.0.0.1:{port}/");
    let mut app = site::app(&format!("http://{files}/site-1.zip"), port);
    app["instances"] = json!(INSTANCES);
    let (status, created) = cluster.ask(Method::POST, "/v2/apps", Some(&app)).await;
    assert_eq!(status, 201, "{created}");
    cluster.wait_healthy("/site", INSTANCES, SOON).await;
    site::wait_routed(&cluster, &url, "one", INSTANCES).await;
    let load = Load::start(&url, 2);

    let change = json!({ "fetch": [{ "uri": format!("http://{files}/site-2.zip") }] });
    let (status, answer) = cluster.ask(Method::PATCH, "/v2/apps/site", Some(&change)).await;
    assert_eq!(status, 200, "{answer}");
    let version = answer["version"].as_str().expect("a version").to_owned();
    until("a new instance runs", SOON, async || {
        let new = of_version(&cluster, &version).await;
        if new.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    // Signals first and waiting after: at once as far as they are concerned.
    cluster.marathons.iter().for_each(|supervisor| supervisor.signal(libc::SIGKILL));
    cluster.marathons.iter_mut().for_each(Process::kill);
    cluster.marathons.iter_mut().for_each(Process::restart);

    cluster.leading_marathon().await;
    cluster.wait_healthy("/site", INSTANCES, CONVERGE).await;
    assert_eq!(of_version(&cluster, &version).await.len(), INSTANCES);
    assert_eq!(tasks::by_task(cluster.folder()).len(), INSTANCES);
    site::wait_routed(&cluster, &url, "two", INSTANCES).await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "of {} failed: {:#?}", outcome.sent, outcome.failures);
}

async fn of_version(cluster: &Cluster, version: &str) -> BTreeSet<String> {
    let all = cluster.get("/v2/apps/site/tasks").await;
    let all = all["tasks"].as_array().into_iter().flatten();
    all.filter(|task| task["version"] == version && task["state"] == "TASK_RUNNING")
        .map(|task| task["id"].as_str().expect("an id").to_owned())
        .collect()
}
