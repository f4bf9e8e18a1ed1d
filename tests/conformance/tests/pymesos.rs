//! Python: `pymesos`.

use std::process::Command;

use conformance::client::{Client, PATIENCE};
use conformance::{install, scenario};
use e2e::cluster::Cluster;
use e2e::wait::{check, until};
use serde_json::{Value, json};

async fn adapter(name: &'static str, master: &str) -> Command {
    let mut program = tokio::task::spawn_blocking(|| install::pymesos(name)).await.expect("installed");
    // It knows one address and no list.
    program.arg(master);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_schedules() {
    let program = tokio::task::spawn_blocking(|| install::pymesos("scheduler.py")).await.expect("installed");
    scenario::schedule(|masters| {
        let mut program = program;
        program.args(&masters[..1]);
        program
    })
    .await;
}

/// Asks by the driver's method and checks that the answer is of the call's type.
fn ask(operator: &mut Client, method: &str, call: &str, arguments: Value) -> Value {
    operator.give("ask", json!({"method": method, "arguments": arguments}));
    let answer = operator.wait(method, |seen| seen["saw"] == "answer" && seen["method"] == method);
    if call.is_empty() {
        assert!(answer["answer"].is_null(), "{method} has nothing to say: {answer}");
        return Value::Null;
    }
    assert_eq!(answer["answer"]["type"], call, "{answer}");
    answer["answer"][call.to_lowercase()].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_operates() {
    let (cluster, leader) = scenario::cluster().await;
    let elsewhere = cluster.master_addresses[(leader + 1) % 3].clone();
    let mut operator = Client::start(adapter("operation.py", &elsewhere).await);
    let subscribed = operator.wait("subscribed", |seen| seen["saw"] == "subscribed");
    assert_eq!(subscribed["agents"].as_array().map(Vec::len), Some(1), "{subscribed}");

    let mut scheduler = Client::start(adapter("scheduler.py", &elsewhere).await);
    let framework = scheduler.wait("subscribed", |seen| seen["saw"] == "subscribed")["framework"].clone();
    operator.wait("the framework", |seen| seen["saw"] == "framework_added" && seen["framework"] == framework);
    scheduler.order("launch", json!({"task": "short", "command": "true"}));
    operator.wait("the task", |seen| seen["saw"] == "task_added" && seen["task"] == "short");
    operator.wait("its end", |seen| seen["saw"] == "task_updated" && seen["state"] == "TASK_FINISHED");
    scheduler.order("launch", json!({"task": "long", "command": "exec sleep 1000"}));
    scheduler.wait_update("long", "TASK_RUNNING");

    let state = ask(&mut operator, "getState", "GET_STATE", json!([]));
    assert_eq!(state["get_tasks"]["tasks"][0]["task_id"]["value"], "long", "{state}");
    let tasks = ask(&mut operator, "getTasks", "GET_TASKS", json!([]));
    assert_eq!(tasks["tasks"][0]["state"], "TASK_RUNNING", "{tasks}");
    let frameworks = ask(&mut operator, "getFrameworks", "GET_FRAMEWORKS", json!([]));
    assert_eq!(frameworks["frameworks"][0]["framework_info"]["id"]["value"], framework, "{frameworks}");
    let agents = ask(&mut operator, "getAgents", "GET_AGENTS", json!([]));
    assert_eq!(agents["agents"][0]["active"], true, "{agents}");
    assert_eq!(ask(&mut operator, "getHealth", "GET_HEALTH", json!([]))["healthy"], true);
    let version = ask(&mut operator, "getVersion", "GET_VERSION", json!([]));
    assert_eq!(version["version_info"]["version"], "1.11.0", "{version}");
    assert!(ask(&mut operator, "getFlags", "GET_FLAGS", json!([]))["flags"].is_array());
    let metrics = ask(&mut operator, "getMetrics", "GET_METRICS", json!([5_000_000_000_u64]));
    assert!(
        metrics["metrics"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["name"] == "master/elected" && one["value"] == 1.0)
        })
    );
    assert!(ask(&mut operator, "getExecutors", "GET_EXECUTORS", json!([]))["executors"].is_array());
    let master = ask(&mut operator, "getMaster", "GET_MASTER", json!([]));
    assert_eq!(master["master_info"]["pid"], format!("master@{}", cluster.master_addresses[leader]));
    ask(&mut operator, "updateWeights", "", json!([[{"role": "batch", "weight": 2.5}]]));
    let weights = ask(&mut operator, "getWeights", "GET_WEIGHTS", json!([]));
    assert_eq!(weights["weight_infos"], json!([{"weight": 2.5, "role": "batch"}]));
    let roles = ask(&mut operator, "getRoles", "GET_ROLES", json!([]));
    assert!(roles["roles"].as_array().is_some_and(|all| all.iter().any(|role| role["name"] == "batch")));

    scheduler.order("teardown", json!({}));
    operator.wait("its removal", |seen| seen["saw"] == "framework_removed" && seen["framework"] == framework);
}

/// The executors the leading master knows of.
async fn executors(cluster: &Cluster, leader: usize) -> Vec<Value> {
    let url = format!("http://{}/api/v1", cluster.master_addresses[leader]);
    let answer = cluster.http.post(url).json(&json!({"type": "GET_EXECUTORS"})).send().await;
    let body: Value = answer.expect("an answer").json().await.expect("JSON");
    body["get_executors"]["executors"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_executes() {
    let (mut cluster, leader) = scenario::cluster().await;
    let mut scheduler = Client::start(adapter("scheduler.py", &cluster.master_addresses[leader]).await);
    scheduler.wait("subscribed", |seen| seen["saw"] == "subscribed");
    let python = tokio::task::spawn_blocking(install::pymesos_python).await.expect("installed");
    let program = format!("exec {} -u executor.py", python.display());
    let source = install::pymesos_source("executor.py").display().to_string();
    let executor = json!({"id": "worker", "uri": source});
    let launch = |task: &str| json!({"task": task, "command": program, "executor": executor});
    let message = |task: &str, text: &str| json!({"executor": "worker", "task": task, "text": text});
    let heard = |text: &'static str| move |seen: &Value| seen["saw"] == "message" && seen["text"] == text;

    // Two tasks share one process, which is accounted once beside them.
    scheduler.order("launch", launch("first"));
    let first = scheduler.wait_update("first", "TASK_RUNNING");
    scheduler.order("launch", launch("second"));
    let second = scheduler.wait_update("second", "TASK_RUNNING");
    assert_eq!(first["message"], second["message"], "one executor for both");
    let known = executors(&cluster, leader).await;
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(known[0]["executor_info"]["executor_id"]["value"], "worker", "{known:?}");

    scheduler.order("message", message("first", "how are you"));
    scheduler.wait("the executor's word", heard("heard how are you"));
    scheduler.order("message", message("first", "finish first"));
    scheduler.wait_update("first", "TASK_FINISHED");
    scheduler.order("kill", json!({"task": "second"}));
    scheduler.wait_update("second", "TASK_KILLED");

    // The agent dies and comes back: the executor subscribes again and goes on.
    scheduler.order("launch", launch("third"));
    let third = scheduler.wait_update("third", "TASK_RUNNING");
    assert_eq!(third["message"], first["message"]);
    scheduler.forget();
    cluster.agents[0].kill();
    cluster.agents[0].restart();
    scheduler.wait("the executor subscribed again", heard("back 2"));
    scheduler.order("message", message("third", "fail third"));
    scheduler.wait_update("third", "TASK_FAILED");

    // It is told to end, and what it leaves behind is settled.
    scheduler.order("launch", launch("fourth"));
    let fourth = scheduler.wait_update("fourth", "TASK_RUNNING");
    assert_eq!(fourth["message"], first["message"], "still the same process");
    scheduler.order("shutdown", json!({"executor": "worker", "task": "fourth"}));
    scheduler.wait("the end of its task", |seen| {
        seen["saw"] == "update" && seen["task"] == "fourth" && seen["state"] != "TASK_RUNNING"
    });
    until("the executor is gone", PATIENCE, async || {
        let known = executors(&cluster, leader).await;
        check(known.is_empty(), || format!("{known:?}"))
    })
    .await;
    scheduler.order("teardown", json!({}));
}
