//! What operators do with machines: an agent is emptied and given up; a machine goes down for maintenance, and is back.

use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::tasks;
use e2e::wait::{check, until};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const INSTANCES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_are_emptied_taken_down_and_brought_back() {
    let mut cluster = Cluster::start(Shape { masters: 1, agents: 2, marathons: 1, haproxy: false }).await;
    let app = json!({
        "id": "/web", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": INSTANCES,
        "portDefinitions": [], "backoffSeconds": 0.2
    });
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&app)).await;
    assert_eq!(status, 201, "{answer}");
    let homes = running(&cluster).await;
    let drained = homes[0].clone();
    let index = place_of(&cluster, &drained).await;

    // Emptied: its instances run elsewhere, and it ends.
    let drain = json!({"type": "DRAIN_AGENT", "drain_agent": {
        "agent_id": {"value": drained}, "max_grace_period": {"seconds": 1}, "mark_gone": true}});
    assert_eq!(ask(&cluster, "/api/v1", &drain).await.0, 200);
    let ended = cluster.agents[index].wait_exit(SOON);
    let homes = running(&cluster).await;
    assert!(!homes.contains(&drained), "{drained} ended with {ended}, and yet {homes:?}");
    assert_eq!(agents(&cluster).await.len(), 1, "{drained} is given up");
    let again = ask(&cluster, "/api/v1", &drain).await;
    assert_eq!(again, (400, "Unknown agent".to_owned()));

    // Down: every agent there ends with its tasks, and is sent away when it comes.
    let machine = json!([{"ip": "127.0.0.1"}]);
    let schedule = json!({"windows": [{
        "machine_ids": machine, "unavailability": {"start": {"nanoseconds": 1}}}]});
    assert_eq!(ask(&cluster, "/maintenance/schedule", &schedule).await.0, 200);
    assert_eq!(ask(&cluster, "/machine/down", &machine).await.0, 200);
    let other = 1 - index;
    cluster.agents[other].wait_exit(SOON);
    until("no instance has a process", SOON, async || {
        let left = tasks::by_task(cluster.folder());
        check(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    assert_eq!(agents(&cluster).await, Vec::<Value>::new());
    cluster.agents[other].restart();
    cluster.agents[other].wait_exit(SOON);

    // Up again.
    assert_eq!(ask(&cluster, "/machine/up", &machine).await.0, 200);
    cluster.agents[other].restart();
    running(&cluster).await;
}

/// Waits until every instance runs, and tells on which agents.
async fn running(cluster: &Cluster) -> Vec<String> {
    until("every instance runs", SOON, async || {
        let body = cluster.get("/v2/tasks").await;
        let tasks = body["tasks"].as_array().cloned().unwrap_or_default();
        let up = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
        let homes: Vec<String> =
            up.map(|task| task["slaveId"].as_str().unwrap_or_default().to_owned()).collect();
        let processes = tasks::by_task(cluster.folder()).len();
        check(homes.len() == INSTANCES && processes == INSTANCES, || {
            format!("{processes} processes, {body}\n{}", cluster.logs())
        })?;
        Ok(homes)
    })
    .await
}

async fn agents(cluster: &Cluster) -> Vec<Value> {
    let answer = ask(cluster, "/api/v1", &json!({"type": "GET_AGENTS"})).await.1;
    let body: Value = serde_json::from_str(&answer).expect("JSON");
    body["get_agents"]["agents"].as_array().cloned().unwrap_or_default()
}

/// Which of our agents has this id.
async fn place_of(cluster: &Cluster, id: &str) -> usize {
    let all = agents(cluster).await;
    let agent = all.iter().find(|agent| agent["agent_info"]["id"]["value"] == id).expect("it is registered");
    let port = agent["agent_info"]["port"].as_u64().expect("a port");
    let ending = format!(":{port}");
    cluster.agent_addresses.iter().position(|address| address.ends_with(&ending)).expect("one of ours")
}

/// Asks the master.
async fn ask(cluster: &Cluster, path: &str, body: &Value) -> (u16, String) {
    let url = format!("http://{}{path}", cluster.master_addresses[0]);
    let answer = cluster.http.post(&url).json(body).send().await.expect("the master answers");
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a body"))
}
