//! What every scheduler library must be able to do, whichever language it is written in.

use std::path::Path;
use std::process::Command;

use e2e::cluster::{Cluster, START, Shape};
use e2e::wait::{check, until};
use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};
use crate::install;

const SHAPE: Shape = Shape { masters: 3, agents: 1, marathons: 0, haproxy: false };
/// Runs until it is killed.
const LONG: &str = "exec sleep 1000";

/// Three masters and an agent, and the leader's index.
pub async fn cluster() -> (Cluster, usize) {
    let cluster = Cluster::start(SHAPE).await;
    let leader = cluster.leading_master().await;
    (cluster, leader)
}

/// Subscribes by way of a master that does not lead, runs, kills and reconciles tasks, declines with filters, lives
/// through `kill -9` of the leader and takes itself down.
///
/// `start` makes the adapter's command out of the masters' addresses, in the order in which a user would name them.
pub async fn schedule(start: impl FnOnce(&[String]) -> Command) {
    let (mut cluster, leader) = cluster().await;
    let mut addresses = cluster.master_addresses.clone();
    addresses.rotate_left((leader + 1) % 3);
    let mut client = Client::start(start(&addresses));
    let subscribed = client.wait("subscribed", |seen| seen["saw"] == "subscribed");
    let framework = subscribed["framework"].as_str().expect("an id").to_owned();

    decline(&mut client);
    run(&mut client);
    client.order("launch", json!({"task": "survivor", "command": LONG}));
    client.wait_update("survivor", "TASK_RUNNING");
    reconcile(&mut client);

    client.forget();
    // Another one may have been elected meanwhile.
    let leader = cluster.leading_master().await;
    cluster.masters[leader].kill();
    client.wait("the loss of the master", |seen| seen["saw"] == "lost");
    // As whatever watches over the masters would; libraries that know one address come back to it.
    cluster.masters[leader].restart();
    let again = client.wait("subscribed again", |seen| seen["saw"] == "subscribed");
    assert_eq!(again["framework"], json!(framework), "the same framework");
    // The agent is back when its resources are offered.
    client.wait("an offer of the new leader", |seen| seen["saw"] == "offer");
    reconcile(&mut client);
    client.order("launch", json!({"task": "after", "command": "true"}));
    client.wait_update("after", "TASK_FINISHED");
    client.order("kill", json!({"task": "survivor"}));
    client.wait_update("survivor", "TASK_KILLED");
    client.order("teardown", json!({}));
    gone(&cluster, &framework).await;
}

/// A long refusal holds until it is taken back; a framework that wants nothing is offered nothing.
fn decline(client: &mut Client) {
    client.wait("an offer", |seen| seen["saw"] == "offer");
    client.order("decline", json!({"seconds": 3600}));
    nothing_is_offered(client, "a refusal for an hour");
    client.order("revive", json!({}));
    client.wait("an offer", |seen| seen["saw"] == "offer");
    client.order("decline", json!({"seconds": 0}));
    client.order("suppress", json!({}));
    nothing_is_offered(client, "suppressed offers");
    client.order("revive", json!({}));
}

/// Between two heartbeats there are several rounds of offers. The first heartbeat is for what was on its way.
fn nothing_is_offered(client: &mut Client, why: &str) {
    client.forget();
    client.wait("a heartbeat", |seen| seen["saw"] == "heartbeat");
    let from = client.position();
    client.wait("a heartbeat", |seen| seen["saw"] == "heartbeat");
    let offers = client.seen()[from..client.position()].iter().filter(|seen| seen["saw"] == "offer").count();
    assert_eq!(offers, 0, "offers in spite of {why}\n{}", client.tail());
}

fn run(client: &mut Client) {
    client.order("launch", json!({"task": "short", "command": "true"}));
    client.wait_update("short", "TASK_FINISHED");
    client.order("launch", json!({"task": "wrong", "command": "exit 3"}));
    client.wait_update("wrong", "TASK_FAILED");
    client.order("launch", json!({"task": "long", "command": LONG}));
    client.wait_update("long", "TASK_RUNNING");
    client.order("kill", json!({"task": "long"}));
    client.wait_update("long", "TASK_KILLED");
}

/// One task by name, then all of them.
fn reconcile(client: &mut Client) {
    for tasks in [json!(["survivor"]), json!([])] {
        client.order("reconcile", json!({"tasks": tasks}));
        client.wait("the reconciled state", |seen| {
            seen["saw"] == "update"
                && seen["task"] == "survivor"
                && seen["state"] == "TASK_RUNNING"
                && seen["reason"] == "REASON_RECONCILIATION"
        });
    }
}

/// The masters list the framework among those that ended, and none of its tasks is left.
async fn gone(cluster: &Cluster, framework: &str) {
    until("the framework has ended", START, async || {
        let leader = &cluster.master_addresses[cluster.leading_master().await];
        let answer = cluster.http.get(format!("http://{leader}/frameworks")).send().await;
        let body: Value = match answer {
            Ok(answer) => answer.json().await.map_err(|error| error.to_string())?,
            Err(error) => return Err(error.to_string()),
        };
        let has = |list: &str| {
            body[list].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == framework))
        };
        if has("completed_frameworks") && !has("frameworks") { Ok(()) } else { Err(body.to_string()) }
    })
    .await;
}

/// The executors the leading master knows of.
async fn executors(cluster: &Cluster) -> Vec<Value> {
    let leader = cluster.leading_master().await;
    let url = format!("http://{}/api/v1", cluster.master_addresses[leader]);
    let answer = cluster.http.post(url).json(&json!({"type": "GET_EXECUTORS"})).send().await;
    let body: Value = answer.expect("an answer").json().await.expect("JSON");
    body["get_executors"]["executors"].as_array().expect("a list").clone()
}

/// An executor is fetched and started by the agent, runs tasks in one process, hears messages and kills, comes back to an
/// agent that died, and is shut down.
///
/// `source` is a file that the agent fetches into the sandbox, where `program` starts it. The tasks say the executor's pid
/// when they begin. The messages `finish TASK` and `fail TASK` end a task; any other is answered with `heard` before it. The
/// second and every later subscription is told with `back` and its number.
pub async fn execute(source: &Path, program: &str) {
    let (mut cluster, leader) = cluster().await;
    let mut scheduler =
        tokio::task::spawn_blocking(|| install::pymesos("scheduler.py")).await.expect("installed");
    scheduler.arg(&cluster.master_addresses[leader]);
    let mut scheduler = Client::start(scheduler);
    scheduler.wait("subscribed", |seen| seen["saw"] == "subscribed");
    let executor = json!({"id": "worker", "uri": source.display().to_string()});
    let launch = |task: &str| json!({"task": task, "command": program, "executor": executor});
    let message = |task: &str, text: &str| json!({"executor": "worker", "task": task, "text": text});
    let heard = |text: &'static str| move |seen: &Value| seen["saw"] == "message" && seen["text"] == text;

    // Two tasks share one process, which is accounted once beside them.
    scheduler.order("launch", launch("first"));
    let first = scheduler.wait_update("first", "TASK_RUNNING");
    scheduler.order("launch", launch("second"));
    let second = scheduler.wait_update("second", "TASK_RUNNING");
    assert_eq!(first["message"], second["message"], "one executor for both");
    let known = executors(&cluster).await;
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
    // It says how often it has, and may have to try more than once while the agent starts.
    scheduler.wait("the executor subscribed again", |seen| {
        seen["saw"] == "message" && seen["text"].as_str().is_some_and(|text| text.starts_with("back "))
    });
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
        let known = executors(&cluster).await;
        check(known.is_empty(), || format!("{known:?}"))
    })
    .await;
    scheduler.order("teardown", json!({}));
}
