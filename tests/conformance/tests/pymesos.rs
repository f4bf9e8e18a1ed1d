//! Python: `pymesos`.

use std::process::Command;

use conformance::client::Client;
use conformance::{install, scenario};
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
