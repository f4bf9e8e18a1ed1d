//! What a new user does, from the first deployment to the last process gone, with everything killed once on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::load::Load;
use e2e::wait::{check, until};
use e2e::{ports, site, tasks};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
/// After a machine's process died: detection, registration, relaunch.
const CONVERGE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_deployed_scaled_upgraded_and_survives_every_death() {
    let files = site::serve().await;
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 2, marathons: 2, haproxy: true }).await;
    let service_port = ports::free();
    let app = site::app(&format!("http://{files}/site-1.zip"), service_port);

    let (status, created) = cluster.ask(Method::POST, "/v2/apps", Some(&app)).await;
    assert_eq!(status, 201, "{created}");
    cluster.wait_healthy("/site", 1, SOON).await;
    let url = format!("http://127.0.0.1:{service_port}/");
    site::wait_routed(&cluster, &url, "one", 1).await;

    scale(&cluster, 4).await;
    site::wait_routed(&cluster, &url, "one", 4).await;
    let load = Load::start(&url, 4);
    scale(&cluster, 2).await;
    site::wait_routed(&cluster, &url, "one", 2).await;
    upgrade(&cluster, &format!("http://{files}/site-2.zip")).await;
    site::wait_routed(&cluster, &url, "two", 2).await;
    let sent = load.sent();
    until("some more requests are sent", SOON, async || check(load.sent() > sent + 50, || "few".into()))
        .await;
    let outcome = load.stop().await;
    assert!(
        outcome.failures.is_empty(),
        "{} of {} failed: {:#?}",
        outcome.failures.len(),
        outcome.sent,
        outcome.failures
    );
    assert!(outcome.sent > 200, "only {} requests were sent", outcome.sent);

    scale(&cluster, 4).await;
    let before = pids(&cluster).await;
    kill_leading_master(&mut cluster).await;
    assert_eq!(pids(&cluster).await, before, "a master's death touched tasks");
    kill_leading_marathon(&mut cluster).await;
    assert_eq!(pids(&cluster).await, before, "a supervisor's death touched tasks");
    kill_agent(&mut cluster).await;
    assert_eq!(pids(&cluster).await, before, "an agent's death touched tasks");
    kill_instance(&cluster, &before).await;
    site::wait_routed(&cluster, &url, "two", 4).await;

    let (status, body) = cluster.ask(Method::DELETE, "/v2/apps/site", None).await;
    assert_eq!(status, 200, "{body}");
    until("no process of the app is left", SOON, async || {
        let left = running(&cluster);
        check(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    let (status, _) = cluster.ask(Method::GET, "/v2/apps/site", None).await;
    assert_eq!(status, 404);
}

async fn scale(cluster: &Cluster, instances: usize) {
    let (status, body) =
        cluster.ask(Method::PATCH, "/v2/apps/site", Some(&json!({ "instances": instances }))).await;
    assert_eq!(status, 200, "{body}");
    cluster.wait_healthy("/site", instances, SOON).await;
}

async fn upgrade(cluster: &Cluster, uri: &str) {
    let change = json!({ "fetch": [{ "uri": uri }] });
    let (status, body) = cluster.ask(Method::PATCH, "/v2/apps/site", Some(&change)).await;
    assert_eq!(status, 200, "{body}");
    cluster.wait_healthy("/site", 2, CONVERGE).await;
}

/// The kernel's view: each running task with its pids.
fn running(cluster: &Cluster) -> BTreeMap<String, Vec<i32>> {
    tasks::by_task(cluster.folder())
}

/// The pids of all four tasks, once all are healthy.
async fn pids(cluster: &Cluster) -> BTreeMap<String, Vec<i32>> {
    cluster.wait_healthy("/site", 4, CONVERGE).await;
    let found = running(cluster);
    assert_eq!(found.len(), 4, "{found:?}");
    found
}

async fn kill_leading_master(cluster: &mut Cluster) {
    let leader = cluster.leading_master().await;
    cluster.masters[leader].kill();
    let next = cluster.leading_master().await;
    assert_ne!(next, leader);
    cluster.masters[leader].restart();
}

async fn kill_leading_marathon(cluster: &mut Cluster) {
    let leader = cluster.leading_marathon().await;
    cluster.marathons[leader].kill();
    let next = cluster.leading_marathon().await;
    assert_ne!(next, leader);
    cluster.marathons[leader].restart();
}

/// Kills an agent's process and starts it again: its tasks never notice.
async fn kill_agent(cluster: &mut Cluster) {
    cluster.agents[0].kill();
    cluster.agents[0].restart();
    let address = cluster.agent_addresses[0].clone();
    until("the agent serves again", SOON, async || {
        let answer = cluster.http.get(format!("http://{address}/health")).send().await;
        check(answer.as_ref().is_ok_and(|answer| answer.status() == 200), || format!("{answer:?}"))
    })
    .await;
}

/// Kills one instance: another takes its place, the rest stay.
async fn kill_instance(cluster: &Cluster, before: &BTreeMap<String, Vec<i32>>) {
    let (victim, pids) = before.iter().next().expect("a task");
    for pid in pids {
        // SAFETY: plain integers; the pids are of a task of this cluster, seen a moment ago.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    until("another instance took its place", CONVERGE, async || {
        let now = running(cluster);
        check(!now.contains_key(victim) && now.len() == 4, || format!("{now:?}"))
    })
    .await;
    let now = self::pids(cluster).await;
    for (task, pids) in before.iter().filter(|(task, _)| *task != victim) {
        assert_eq!(now.get(task), Some(pids), "{task} was touched");
    }
}
