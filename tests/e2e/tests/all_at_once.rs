//! Every process of a kind killed at once, and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::load::Load;
use e2e::wait::{check, until};
use e2e::{ports, site, state, tasks};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// The rest of an upgrade, one instance after the other, after a new leader was found.
const LONG: Duration = Duration::from_secs(90);
/// Old and new instances of the upgraded app.
const INSTANCES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_goes_on_after_the_death_of_every_supervisor() {
    let mut cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 2, haproxy: false }).await;
    let gate = cluster.folder().join("gate");
    for (id, instances) in [("/steady", 2), ("/rolling", INSTANCES)] {
        let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&app(id, instances, "true"))).await;
        assert_eq!(status, 201, "{answer}");
        cluster.wait_healthy(id, instances, SOON).await;
    }
    let first = tasks::by_task(cluster.folder());

    // The new version is healthy when the gate is open; until then the upgrade stays where it is.
    let check_gate = format!("test -e {}", gate.display());
    let (status, answer) =
        cluster.ask(Method::PUT, "/v2/apps/rolling", Some(&app("/rolling", INSTANCES, &check_gate))).await;
    assert_eq!(status, 200, "{answer}");
    let deployment = answer["deploymentId"].as_str().expect("a deployment").to_owned();
    let midway = until("the first new instance runs", SOON, async || {
        let now = tasks::by_task(cluster.folder());
        check(now.len() == first.len() + 1, || format!("{now:?}"))?;
        Ok(now)
    })
    .await;
    kill_supervisors(&mut cluster).await;
    let listed = cluster.get("/v2/deployments").await;
    assert_eq!(listed[0]["id"], deployment, "the deployment is not in the list: {listed}");
    assert_eq!(tasks::by_task(cluster.folder()), midway, "the death of the supervisors touched tasks");

    // And once more while instances come and go.
    std::fs::write(&gate, "open").expect("the gate");
    until("an old instance is gone", SOON, async || {
        let now = tasks::by_task(cluster.folder());
        let gone = first.keys().filter(|task| !now.contains_key(*task)).count();
        check(gone >= 1, || format!("{now:?}\n{}", cluster.logs()))
    })
    .await;
    kill_supervisors(&mut cluster).await;
    cluster.wait_healthy("/rolling", INSTANCES, LONG).await;

    let after = tasks::by_task(cluster.folder());
    assert_eq!(after.len(), INSTANCES + 2, "{after:?}");
    for (task, pids) in &first {
        if task.starts_with("steady.") {
            assert_eq!(after.get(task), Some(pids), "{task} has no part in the upgrade");
        } else {
            assert!(!after.contains_key(task), "{task} is of the old version");
        }
    }
    for (task, pids) in midway.iter().filter(|(task, _)| !first.contains_key(*task)) {
        assert_eq!(
            after.get(task),
            Some(pids),
            "{task} was launched before the deaths and is of the new version"
        );
    }
    assert_eq!(cluster.get("/v2/deployments").await, json!([]));
}

/// Kills all at the same time and starts them again; returns when one leads.
async fn kill_supervisors(cluster: &mut Cluster) {
    for supervisor in &cluster.marathons {
        supervisor.signal(libc::SIGKILL);
    }
    for supervisor in &mut cluster.marathons {
        supervisor.wait_exit(SOON);
        supervisor.restart();
    }
    cluster.leading_marathon().await;
}

fn app(id: &str, instances: usize, check: &str) -> Value {
    json!({
        "id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": instances, "portDefinitions": [],
        "healthChecks": [{
            "protocol": "COMMAND", "command": { "value": check },
            "gracePeriodSeconds": 300, "delaySeconds": 0, "intervalSeconds": 1, "timeoutSeconds": 5
        }],
        "backoffSeconds": 0.2,
        "upgradeStrategy": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 0.25 }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_are_served_and_nothing_is_lost_when_every_master_dies() {
    let files = site::serve().await;
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 1, marathons: 1, haproxy: true }).await;
    let service_port = ports::free();
    let mut body = site::app(&format!("http://{files}/site-1.zip"), service_port);
    body["instances"] = json!(2);
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&body)).await;
    assert_eq!(status, 201, "{answer}");
    cluster.wait_healthy("/site", 2, SOON).await;
    let url = format!("http://127.0.0.1:{service_port}/");
    until("the app answers through HAProxy", SOON, async || {
        let answer = cluster.http.get(&url).send().await;
        check(answer.as_ref().is_ok_and(|answer| answer.status() == 200), || format!("{answer:?}"))
    })
    .await;
    let before = tasks::by_task(cluster.folder());
    let load = Load::start(&url, 2);

    // Acknowledged in the last moment, by the masters and by the supervisor.
    for number in 0..50 {
        cluster.state(&state::put("deaths", &format!("k{number}"), b"kept")).await;
    }
    let last = json!({ "id": "/last", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0 });
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&last)).await;
    assert_eq!(status, 201, "{answer}");
    for master in &cluster.masters {
        master.signal(libc::SIGKILL);
    }
    for master in &mut cluster.masters {
        master.wait_exit(SOON);
    }
    let sent = load.sent();
    until("requests are served while there is no master", SOON, async || {
        check(load.sent() > sent + 300, || load.sent().to_string())
    })
    .await;
    assert_eq!(tasks::by_task(cluster.folder()), before, "the death of every master touched tasks");
    for master in &mut cluster.masters {
        master.restart();
    }
    cluster.leading_master().await;
    cluster.leading_marathon().await;
    for number in 0..50 {
        let found = cluster.state(&state::get("deaths", &format!("k{number}"))).await;
        assert!(state::found(&found), "write {number} was acknowledged and is lost");
    }
    let (status, found) = cluster.ask(Method::GET, "/v2/apps/last", None).await;
    assert_eq!(status, 200, "{found}");
    cluster.wait_healthy("/site", 2, SOON).await;
    assert_eq!(tasks::by_task(cluster.folder()), before, "the masters' return touched tasks");

    // It is not only shown, it works.
    let (status, answer) =
        cluster.ask(Method::PATCH, "/v2/apps/site", Some(&json!({ "instances": 3 }))).await;
    assert_eq!(status, 200, "{answer}");
    cluster.wait_healthy("/site", 3, SOON).await;
    assert_kept(&before, cluster.folder());
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "of {}: {:#?}", outcome.sent, outcome.failures);
}

fn assert_kept(before: &BTreeMap<String, Vec<i32>>, folder: &Path) {
    let after = tasks::by_task(folder);
    for (task, pids) in before {
        assert_eq!(after.get(task), Some(pids), "{task} was touched");
    }
}
