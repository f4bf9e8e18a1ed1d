//! Python: `pymesos`.

use std::process::Command;

use conformance::client::{Client, PATIENCE};
use conformance::{install, scenario};
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
        // Some methods drop what comes back, others make an object of an empty body.
        let said = &answer["answer"];
        assert!(said.is_null() || *said == json!({}), "{method} has nothing to say: {answer}");
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
    assert_eq!(
        master["master_info"]["pid"],
        format!("master@{}", cluster.master_addresses[cluster.leading_master().await])
    );
    ask(&mut operator, "updateWeights", "", json!([[{"role": "batch", "weight": 2.5}]]));
    let weights = ask(&mut operator, "getWeights", "GET_WEIGHTS", json!([]));
    assert_eq!(weights["weight_infos"], json!([{"weight": 2.5, "role": "batch"}]));
    let roles = ask(&mut operator, "getRoles", "GET_ROLES", json!([]));
    assert!(roles["roles"].as_array().is_some_and(|all| all.iter().any(|role| role["name"] == "batch")));

    scheduler.order("teardown", json!({}));
    operator.wait("its removal", |seen| seen["saw"] == "framework_removed" && seen["framework"] == framework);
}

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_executes() {
    let python = tokio::task::spawn_blocking(install::pymesos_python).await.expect("installed");
    let program = format!("exec {} -u executor.py", python.display());
    scenario::execute(&install::pymesos_source("executor.py"), &program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pymesos_operates_an_agent() {
    let (cluster, leader) = scenario::cluster().await;
    let mut scheduler = Client::start(adapter("scheduler.py", &cluster.master_addresses[leader]).await);
    let framework = scheduler.wait("subscribed", |seen| seen["saw"] == "subscribed")["framework"].clone();
    scheduler.order("launch", json!({"task": "long", "command": "echo hello; exec sleep 1000"}));
    scheduler.wait_update("long", "TASK_RUNNING");
    let mut program = adapter("operation.py", &cluster.agent_addresses[0]).await;
    program.arg("agent");
    let mut operator = Client::start(program);

    assert_eq!(ask(&mut operator, "getHealth", "GET_HEALTH", json!([]))["healthy"], true);
    let version = ask(&mut operator, "getVersion", "GET_VERSION", json!([]));
    assert_eq!(version["version_info"]["version"], "1.11.0", "{version}");
    assert!(ask(&mut operator, "getFlags", "GET_FLAGS", json!([]))["flags"].is_array());
    let metrics = ask(&mut operator, "getMetrics", "GET_METRICS", json!([5_000_000_000_u64]));
    let metrics = metrics["metrics"].as_array().expect("a list");
    for (name, value) in [("slave/tasks_running", 1.0), ("slave/executors_running", 1.0)] {
        assert!(
            metrics.iter().any(|one| one["name"] == name && one["value"] == value),
            "{name}: {metrics:?}"
        );
    }
    ask(&mut operator, "setLoggingLevel", "", json!([1, 60_000_000_000_u64]));
    assert_eq!(ask(&mut operator, "getLoggingLevel", "GET_LOGGING_LEVEL", json!([]))["level"], 1);

    let frameworks = ask(&mut operator, "getFrameworks", "GET_FRAMEWORKS", json!([]));
    assert_eq!(frameworks["frameworks"][0]["framework_info"]["id"]["value"], framework, "{frameworks}");
    let executors = ask(&mut operator, "getExecutors", "GET_EXECUTORS", json!([]));
    assert_eq!(executors["executors"][0]["executor_info"]["executor_id"]["value"], "long", "{executors}");
    let tasks = ask(&mut operator, "getTasks", "GET_TASKS", json!([]));
    assert_eq!(tasks["launched_tasks"][0]["state"], "TASK_RUNNING", "{tasks}");
    let state = ask(&mut operator, "getState", "GET_STATE", json!([]));
    assert_eq!(state["get_tasks"]["launched_tasks"][0]["task_id"]["value"], "long", "{state}");
    let containers = ask(&mut operator, "getContainers", "GET_CONTAINERS", json!([true, true]));
    assert_eq!(containers["containers"][0]["executor_id"]["value"], "long", "{containers}");

    let framework = framework.as_str().expect("an id");
    let sandbox = format!("/frameworks/{framework}/executors/long/runs/latest");
    let files = ask(&mut operator, "listFiles", "LIST_FILES", json!([sandbox]));
    let output = format!("{sandbox}/stdout");
    let listed = files["file_infos"].as_array().expect("a list");
    assert!(listed.iter().any(|file| file["path"] == *output), "{files}");
    until("the task has said it", PATIENCE, async || {
        let read = ask(&mut operator, "readFile", "READ_FILE", json!([output, 100, 0]));
        check(read["data"] == "aGVsbG8K", || read.to_string())
    })
    .await;
    // What it has no calls for is refused with a status, which the library turns into an exception.
    operator.give("ask", json!({"method": "killNestedContainer", "arguments": ["none"]}));
    let refused = operator.wait("a refusal", |seen| seen["saw"] == "error");
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("code=501")), "{refused}");
    scheduler.order("teardown", json!({}));
}
