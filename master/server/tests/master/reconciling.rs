//! A framework with more tasks than its stream's queue holds asks for all of them, and reads slowly.

use std::collections::BTreeSet;

use serde_json::json;
use wire::link::TaskRecord;
use wire::v1::{FrameworkId, TaskInfo, TaskState};

use crate::agent::{TestAgent, hello, scalar};
use crate::client::{JSON, TestMaster, framework, post, raw, request, subscribe, until};

const TASKS: usize = 50_000;

const AGENTS: usize = 25;

fn task(framework: &str, id: &str) -> TaskRecord {
    TaskRecord {
        framework_id: FrameworkId { value: framework.to_owned() },
        info: TaskInfo {
            name: "t".to_owned(),
            task_id: wire::v1::TaskId { value: id.to_owned() },
            resources: vec![scalar("cpus", 1.0)],
            ..TaskInfo::default()
        },
        latest_state: TaskState::TaskRunning.into(),
        ..TaskRecord::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_tasks_are_reconciled_on_one_stream() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let (mut stream, id, token) = subscribe(at, &framework("large")).await;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let mut machine = hello(&format!("box{number}"), vec![scalar("cpus", 1e6)]);
        machine.tasks = (0..TASKS / AGENTS).map(|n| task(&id, &format!("t{number}-{n}"))).collect();
        agents.push(TestAgent::start(at, machine).await);
    }
    let call = async |body: serde_json::Value| {
        let headers = format!("{JSON}Mesos-Stream-Id: {token}\r\n");
        raw(at, &request("/api/v1/scheduler", &headers, body.to_string().as_bytes())).await
    };
    let all = json!({"type": "RECONCILE", "framework_id": {"value": id}, "reconcile": {"tasks": []}});
    assert_eq!(call(all).await.status, 202);
    until("the framework is still connected", async || {
        let frameworks = post(at, "/api/v1", &json!({"type": "GET_FRAMEWORKS"})).await.json();
        frameworks["get_frameworks"]["frameworks"][0]["connected"] == true
    })
    .await;
    let mut told = BTreeSet::new();
    while told.len() < TASKS {
        let record = stream.record().await.expect("the stream goes on");
        if record["type"] == "UPDATE" {
            let status = &record["update"]["status"];
            assert_eq!(
                (&status["state"], &status["reason"]),
                (&json!("TASK_RUNNING"), &json!("REASON_RECONCILIATION"))
            );
            told.insert(status["task_id"]["value"].as_str().expect("an id").to_owned());
        }
    }
    // By name, in many calls in a row.
    let names: Vec<String> = told.into_iter().collect();
    for chunk in names.chunks(1_000) {
        let tasks: Vec<_> = chunk.iter().map(|name| json!({"task_id": {"value": name}})).collect();
        let some = json!({"type": "RECONCILE", "framework_id": {"value": id}, "reconcile": {"tasks": tasks}});
        assert_eq!(call(some).await.status, 202);
    }
    let mut updates = 0;
    while updates < TASKS {
        let record = stream.record().await.expect("the stream goes on");
        updates += usize::from(record["type"] == "UPDATE");
    }
    master.stop().await;
}
