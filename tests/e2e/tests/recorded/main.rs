//! Asks real processes what the first implementation of the v1 API was asked when it was recorded, and compares what is
//! answered: statuses, types, sentences, members. What differs must be listed with a reason; what is listed must differ.

mod agents;
mod book;
mod executors;
mod frameworks;
mod groups;
mod guarded;
mod http;
mod listener;
mod operators;
mod reads;
mod refusals;
mod table;
mod tree;

use std::time::Duration;

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::{Answer, JSON, ask};

/// Longer than any one thing here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than all of it takes on a busy machine.
const WHOLE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_what_was_recorded_or_differ_on_purpose() {
    let book = tokio::time::timeout(WHOLE, walk()).await;
    book.expect("all of it in time").close();
}

async fn walk() -> Book {
    let logs = tempfile::tempdir().expect("a folder");
    let log = |name: &str| format!("--log-file={}", logs.path().join(name).display());
    let resources = "--resources=cpus:4;mem:4096;disk:10000;ports:[31000-31009]";
    let (master_log, agent_log) = (log("master"), log("agent"));
    let agent: &[&str] = &[resources, "--attributes=", &agent_log];
    let cluster = Cluster::start_flagged(&[&master_log], &[agent]).await;
    let mut book = Book::new();
    let listener = operators::listen(&cluster).await;
    let mut plain = frameworks::plain(&cluster, &mut book).await;
    groups::walk(&cluster, &mut book).await;
    // Somebody holds an offer and runs a task while the reads are tried.
    plain.call(json!({ "type": "REVIVE" })).await;
    plain.offer_that(large).await;
    reads::walk(&cluster, &mut book).await;
    agents::walk(&cluster, &mut book).await;
    refusals::walk(&cluster, &mut book, &plain).await;
    operators::changes(&cluster, &mut book, &mut plain).await;
    frameworks::elsewhere(&cluster, &mut book, plain).await;
    executors::walk(&cluster, &mut book).await;
    operators::nodes(&cluster, &mut book).await;
    book.operator_events(&operators::heard(listener).await);
    guarded::walk(&mut book).await;
    book
}

/// A call to the operator API of a master or an agent.
async fn operate(address: &str, call: &Value) -> Answer {
    ask(address, "POST /api/v1 HTTP/1.1", JSON, call.to_string().as_bytes()).await
}

/// The address of the one master.
fn master(cluster: &Cluster) -> &str {
    &cluster.master_addresses[0]
}

/// A call of a scheduler on its stream, as it is recorded: JSON, and the framework's id filled in.
async fn call(cluster: &Cluster, of: &Scheduler, mut call: Value) -> Answer {
    call["framework_id"] = json!({ "value": of.framework });
    let headers = format!("{JSON}Mesos-Stream-Id: {}\r\n", of.stream);
    let body = call.to_string();
    ask(master(cluster), "POST /api/v1/scheduler HTTP/1.1", &headers, body.as_bytes()).await
}

/// The next status of a task that `wanted` likes, acknowledged as all before it.
async fn status(of: &mut Scheduler, task: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (kind, status) = of.news().await;
        if kind != "UPDATE" || status["task_id"]["value"] != task {
            continue;
        }
        if wanted(&status) {
            return status;
        }
        let state = status["state"].as_str().unwrap_or_default();
        let goes_on = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"].contains(&state);
        assert!(goes_on || status["reason"] == "REASON_RECONCILIATION", "another end: {status}");
    }
}

/// Reads what was said before this call: offers that were taken back are held no more.
async fn caught_up(of: &mut Scheduler) {
    let about = json!([{ "task_id": { "value": "nosuch" } }]);
    of.call(json!({ "type": "RECONCILE", "reconcile": { "tasks": about } })).await;
    status(of, "nosuch", |_| true).await;
}

/// Not one of the small rests that others leave.
fn large(offer: &Value) -> bool {
    let resources = offer["resources"].as_array().into_iter().flatten();
    let cpus =
        resources.filter(|one| one["name"] == "cpus").filter_map(|one| one["scalar"]["value"].as_f64());
    cpus.sum::<f64>() >= 1.0 && offer["resources"].to_string().contains(r#""disk""#)
}

/// So much of something, of a role.
fn amount(name: &str, value: f64, role: &str) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value }, "allocation_info": { "role": role } })
}

/// A command as a task on an offer's agent, out of the offer's role.
fn task(offer: &Value, id: &str, command: &str) -> Value {
    let role = offer["allocation_info"]["role"].as_str().unwrap_or("*");
    json!({
        "name": id, "task_id": { "value": id }, "agent_id": offer["agent_id"],
        "resources": [amount("cpus", 0.1, role), amount("mem", 32.0, role)], "command": { "value": command },
    })
}
