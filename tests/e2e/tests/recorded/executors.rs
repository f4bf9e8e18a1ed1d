//! A framework's own executor: what its agent tells it, and what it answers to it.
//!
//! Its process only sleeps. This test speaks for it: executors are known by their ids alone.

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use e2e::wait::until;
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::{Answer, JSON, ask};
use crate::listener::Listener;
use crate::{PATIENCE, amount, frameworks, large, status, task};

const NAME: &str = "own";
const TASK: &str = "hosted";

/// The executor, by the address of its agent.
struct Executor<'a> {
    at: &'a str,
    framework: String,
}

impl Executor<'_> {
    fn signed(&self, mut call: Value) -> Value {
        call["framework_id"] = json!({ "value": self.framework });
        call["executor_id"] = json!({ "value": NAME });
        call
    }

    async fn call(&self, call: Value) -> Answer {
        let body = self.signed(call).to_string();
        ask(self.at, "POST /api/v1/executor HTTP/1.1", JSON, body.as_bytes()).await
    }

    /// An update with members of a status changed, or left out where they are null.
    async fn update(&self, state: &str, uuid: &str, change: Value) -> Answer {
        let mut status = json!({
            "task_id": { "value": TASK }, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid,
            "executor_id": { "value": NAME },
        });
        let status = status.as_object_mut().expect("an object");
        status.extend(change.as_object().cloned().unwrap_or_default());
        status.retain(|_, value| !value.is_null());
        self.call(json!({ "type": "UPDATE", "update": { "status": status } })).await
    }

    /// Subscribes as soon as the agent knows it.
    async fn subscribe(&self) -> Listener {
        let call = self.signed(json!({ "type": "SUBSCRIBE", "subscribe": {} }));
        let url = format!("http://{}/api/v1/executor", self.at);
        until("the agent knows the executor", PATIENCE, async || {
            Listener::open(&url, &call).await.map_err(|status| status.to_string())
        })
        .await
    }
}

pub(crate) async fn walk(cluster: &Cluster, book: &mut Book) {
    let mut own = frameworks::aware(cluster, "hosts").await;
    let offer = own.offer_that(large).await;
    own.launch(&offer, &[hosted(&own, &offer)]).await;
    let executor = Executor { at: &cluster.agent_addresses[0], framework: own.framework.clone() };
    let heard = executor.subscribe().await;
    heard.wait("LAUNCH", 1).await;

    let uuid = ["L+2m6SBrSqaYY4C44uzflA==", "Ypul9WlnTza+OGzEEZxCOw==", "OJ02Ee3BQ5WGaiqwiMpT3Q=="];
    book.answer("executor UPDATE", &executor.update("TASK_STARTING", uuid[0], json!({})).await);
    book.answer("executor UPDATE", &executor.update("TASK_RUNNING", uuid[1], json!({})).await);
    for (name, change) in [
        ("executor UPDATE without a uuid", json!({ "uuid": null })),
        ("executor UPDATE in the name of the master", json!({ "source": "SOURCE_MASTER" })),
    ] {
        book.answer(name, &executor.update("TASK_RUNNING", uuid[1], change).await);
    }
    status(&mut own, TASK, |status| status["state"] == "TASK_RUNNING").await;
    heard.wait("ACKNOWLEDGED", 2).await;
    let message = json!({ "type": "MESSAGE", "message": { "data": "dG8gc2NoZWR1bGVy" } });
    book.answer("executor MESSAGE", &executor.call(message).await);
    book.events(&[own.wait("MESSAGE").await]);

    let agent = &offer["agent_id"];
    let to_executor =
        json!({ "executor_id": { "value": NAME }, "agent_id": agent, "data": "dG8gZXhlY3V0b3I=" });
    own.call(json!({ "type": "MESSAGE", "message": to_executor })).await;
    heard.wait("MESSAGE", 1).await;
    own.call(json!({ "type": "KILL", "kill": { "task_id": { "value": TASK } } })).await;
    heard.wait("KILL", 1).await;
    book.answer("executor UPDATE", &executor.update("TASK_KILLED", uuid[2], json!({})).await);
    status(&mut own, TASK, |status| status["state"] == "TASK_KILLED").await;
    heard.wait("ACKNOWLEDGED", 3).await;
    let shutdown = json!({ "executor_id": { "value": NAME }, "agent_id": agent });
    own.call(json!({ "type": "SHUTDOWN", "shutdown": shutdown })).await;
    heard.wait("SHUTDOWN", 1).await;
    for event in heard.end().await {
        let kind = event["type"].as_str().unwrap_or_default();
        // When it comes is a matter of how long all this takes.
        if kind != "HEARTBEAT" {
            book.json(&format!("executor event {kind}"), 200, &event);
        }
    }
    own.call(json!({ "type": "TEARDOWN" })).await;
}

/// A task for an executor of the framework's own.
fn hosted(own: &Scheduler, offer: &Value) -> Value {
    let mut task = task(offer, TASK, "");
    task.as_object_mut().expect("an object").remove("command");
    task["executor"] = json!({
        "type": "CUSTOM", "executor_id": { "value": NAME }, "framework_id": { "value": own.framework },
        "command": { "shell": true, "value": "exec sleep 1000" },
        "resources": [amount("cpus", 0.1, "web"), amount("mem", 32.0, "web")],
    });
    task
}
