//! An agent that is stopped for longer than the masters wait and then goes on: each app as its strategy says, and in the
//! end every instance exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::tasks;
use e2e::wait::{check, until};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// The masters' patience with an agent, one app's own patience, and a relaunch.
const LOST: Duration = Duration::from_secs(90);

/// Replaced at once when its agent is lost; replaced after a while; never.
const APPS: [&str; 3] = ["/quick", "/patient", "/loyal"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_comes_back_leaves_every_instance_once() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 2, marathons: 1, haproxy: false }).await;
    // While the other is not there, every instance comes to the first.
    cluster.agents[1].signal(libc::SIGSTOP);
    wait_active(&cluster, 1).await;
    deploy(&cluster).await;
    cluster.agents[1].signal(libc::SIGCONT);
    wait_active(&cluster, 2).await;
    let before = tasks::by_task(cluster.folder());
    assert_eq!(before.len(), 6, "{before:?}");

    cluster.agents[0].signal(libc::SIGSTOP);
    until("the lost instances are replaced as each app says", LOST, async || {
        let seen = states(&cluster).await;
        // One that is given up may still be listed: it has not ended for sure.
        let running = |app: &str| seen[app].iter().filter(|state| *state == "TASK_RUNNING").count();
        let replaced = running("/quick") == 2 && running("/patient") == 2;
        let awaited = seen["/loyal"] == ["TASK_UNREACHABLE", "TASK_UNREACHABLE"];
        check(replaced && awaited, || format!("{seen:?}\n{}", cluster.logs()))
    })
    .await;
    let meanwhile = tasks::by_task(cluster.folder());
    for (task, pids) in &before {
        assert_eq!(
            meanwhile.get(task),
            Some(pids),
            "{task} was touched while its agent could not be reached"
        );
    }
    assert_eq!(count(&meanwhile, "/loyal"), 2, "{meanwhile:?}");

    cluster.agents[0].signal(libc::SIGCONT);
    until("every app has two instances again, to the kernel and to the API", LOST, async || {
        let processes = tasks::by_task(cluster.folder());
        let seen = states(&cluster).await;
        let twice = APPS
            .iter()
            .all(|app| count(&processes, app) == 2 && seen[*app] == ["TASK_RUNNING", "TASK_RUNNING"]);
        check(twice, || format!("{processes:?}\n{seen:?}\n{}", cluster.logs()))
    })
    .await;
    let after = tasks::by_task(cluster.folder());
    for (task, pids) in before.iter().filter(|(task, _)| task.starts_with("loyal.")) {
        assert_eq!(after.get(task), Some(pids), "{task} should have been waited for and left alone");
    }
    // What the kernel runs is what the supervisor lists, task by task.
    let mut listed: Vec<String> = Vec::new();
    for task in cluster.get("/v2/tasks").await["tasks"].as_array().expect("tasks") {
        listed.push(task["id"].as_str().expect("an id").to_owned());
    }
    listed.sort_unstable();
    assert_eq!(after.keys().cloned().collect::<Vec<_>>(), listed);
    wait_active(&cluster, 2).await;
}

/// Waits until the master counts so many agents that it can reach.
async fn wait_active(cluster: &Cluster, count: usize) {
    until(&format!("{count} agents can be reached"), SOON, async || {
        let url = format!("http://{}/slaves", cluster.master_addresses[0]);
        let answer = cluster.http.get(&url).send().await.map_err(|error| error.to_string())?;
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let active = body["slaves"].as_array().into_iter().flatten().filter(|agent| agent["active"] == true);
        check(active.count() == count, || body.to_string())
    })
    .await;
}

async fn deploy(cluster: &Cluster) {
    for (app, strategy) in APPS.iter().zip([
        json!({ "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }),
        json!({ "inactiveAfterSeconds": 2, "expungeAfterSeconds": 600 }),
        json!("disabled"),
    ]) {
        let body = json!({
            "id": app, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 2, "portDefinitions": [],
            "unreachableStrategy": strategy, "backoffSeconds": 0.2
        });
        let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&body)).await;
        assert_eq!(status, 201, "{answer}");
    }
    until("every instance runs", SOON, async || {
        let seen = states(cluster).await;
        let running = seen.values().all(|states| *states == ["TASK_RUNNING", "TASK_RUNNING"]);
        check(running, || format!("{seen:?}\n{}", cluster.logs()))
    })
    .await;
}

/// The states of each app's tasks, sorted.
async fn states(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let tasks = cluster.get("/v2/tasks").await;
    let mut found: BTreeMap<String, Vec<String>> =
        APPS.iter().map(|app| ((*app).to_owned(), Vec::new())).collect();
    for task in tasks["tasks"].as_array().into_iter().flatten() {
        let app = task["appId"].as_str().unwrap_or_default().to_owned();
        found.entry(app).or_default().push(task["state"].as_str().unwrap_or_default().to_owned());
    }
    for states in found.values_mut() {
        states.sort_unstable();
    }
    found
}

/// How many tasks of an app have processes.
fn count(processes: &BTreeMap<String, Vec<i32>>, app: &str) -> usize {
    let prefix = format!("{}.", app.trim_start_matches('/'));
    processes.keys().filter(|task| task.starts_with(&prefix)).count()
}
