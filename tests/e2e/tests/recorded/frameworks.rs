//! A framework of the plainest kind, from its subscription to its teardown, and one that is aware of partitions.

use std::path::Path;

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use e2e::wait::{check, until};
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::{JSON, ask};
use crate::{PATIENCE, call, caught_up, master, status, task};

fn info(name: &str, role: &str, capabilities: &[&str]) -> Value {
    let all: Vec<Value> = capabilities.iter().map(|kind| json!({ "type": kind })).collect();
    json!({ "user": "root", "name": name, "roles": [role], "failover_timeout": 600.0, "capabilities": all })
}

const PLAIN: [&str; 2] = ["MULTI_ROLE", "RESERVATION_REFINEMENT"];
const AWARE: [&str; 4] = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "TASK_KILLING_STATE"];

/// A framework that knows nothing of partitions. A task of it runs when it is given back.
pub(crate) async fn plain(cluster: &Cluster, book: &mut Book) -> Scheduler {
    let mut own = Scheduler::listening(master(cluster), &info("plain", "*", &PLAIN)).await;
    launches(book, &mut own, &cluster.folder().join("seen")).await;
    refused(book, &mut own).await;
    reconciles(book, &mut own).await;
    calls(cluster, book, &own).await;
    // Others are offered all of the agent while it is silent.
    own.call(json!({ "type": "SUPPRESS" })).await;
    caught_up(&mut own).await;
    for offer in std::mem::take(&mut own.offers) {
        own.decline(&offer).await;
    }
    own
}

/// The one that ends well does so when the file `seen` is there: its health must be told before.
async fn launches(book: &mut Book, own: &mut Scheduler, seen: &Path) {
    let offer = own.offer().await;
    let mut well = task(&offer, "well", &format!("until test -e {}; do sleep 0.1; done", seen.display()));
    well["labels"] = json!({ "labels": [{ "key": "k", "value": "v" }] });
    let ports = json!({ "ports": [{ "number": 80, "name": "http", "protocol": "tcp" }] });
    well["discovery"] = json!({ "visibility": "CLUSTER", "name": "svc", "ports": ports });
    well["health_check"] = json!({
        "type": "COMMAND", "delay_seconds": 0.0, "interval_seconds": 1.0, "grace_period_seconds": 1.0,
        "command": { "value": "true" },
    });
    let mut uri = task(&offer, "uri", "true");
    uri["command"]["uris"] = json!([{ "value": "file:///no/such/file" }]);
    let others = [task(&offer, "fails", "exit 3"), task(&offer, "killed", "sleep 1000"), uri];
    own.launch(&offer, &[&[well][..], &others].concat()).await;
    let mut left = 4;
    while left > 0 {
        let (_, news) = own.news().await;
        let name = match (news["task_id"]["value"].as_str(), news["state"].as_str()) {
            (Some("well"), Some("TASK_FINISHED")) => "task that ends well",
            (Some("well"), Some("TASK_RUNNING")) if news["healthy"] == true => {
                std::fs::write(seen, "").expect("written");
                continue;
            }
            (Some("fails"), Some("TASK_FAILED")) => "task that fails",
            (Some("uri"), Some("TASK_FAILED")) => "task that cannot be fetched",
            (Some("killed"), Some("TASK_KILLED")) => "task that is killed",
            (Some("killed"), Some("TASK_RUNNING")) => {
                own.call(json!({ "type": "KILL", "kill": { "task_id": { "value": "killed" } } })).await;
                continue;
            }
            _ => continue,
        };
        book.status(name, &news);
        left -= 1;
    }
    let offer = own.offer().await;
    own.launch(&offer, &[task(&offer, "runs", "sleep 1000")]).await;
    status(own, "runs", |status| status["state"] == "TASK_RUNNING").await;
}

/// Tasks that the master refuses, each with its sentence.
async fn refused(book: &mut Book, own: &mut Scheduler) {
    let offer = own.offer().await;
    let mut stale = offer.clone();
    stale["id"]["value"] = json!("no-such-offer");
    own.launch(&stale, &[task(&offer, "stale", "true")]).await;
    book.status("task of an unknown offer", &status(own, "stale", |_| true).await);

    let amounts = |id: &str, cpus: f64| {
        let mut task = task(&offer, id, "true");
        task["resources"][0]["scalar"]["value"] = json!(cpus);
        task
    };
    let mut nothing = task(&offer, "nothing", "true");
    nothing["resources"] = json!([]);
    let mut idle = task(&offer, "idle", "");
    idle.as_object_mut().expect("an object").remove("command");
    let all = [
        ("task that needs too much", amounts("much", 100_000.0)),
        ("task that needs nothing", nothing),
        ("task that needs less than nothing", amounts("less", -1.0)),
        ("task with a slash in its id", task(&offer, "a/b", "true")),
        ("task without a command", idle),
        ("task that is there already", task(&offer, "runs", "true")),
    ];
    let tasks: Vec<Value> = all.iter().map(|(_, task)| task.clone()).collect();
    own.launch(&offer, &tasks).await;
    for (name, task) in &all {
        let id = task["task_id"]["value"].as_str().expect("an id");
        book.status(name, &status(own, id, |status| status["state"] == "TASK_ERROR").await);
    }
}

async fn reconciles(book: &mut Book, own: &mut Scheduler) {
    let agent = own.offer_that(|_| true).await;
    own.decline(&agent).await;
    let agent = agent["agent_id"].clone();
    let nobody = json!({ "value": "no-such-agent" });
    for (name, task, agent) in [
        ("reconciled: known", "runs", &agent),
        ("reconciled: known without its agent", "runs", &Value::Null),
        ("reconciled: unknown", "unknown", &agent),
        ("reconciled: unknown and its agent", "unknown", &nobody),
        ("reconciled: ended", "well", &agent),
    ] {
        let mut about = json!({ "task_id": { "value": task } });
        if agent.is_object() {
            about["agent_id"] = agent.clone();
        }
        own.call(json!({ "type": "RECONCILE", "reconcile": { "tasks": [about] } })).await;
        book.status(name, &status(own, task, reconciled).await);
    }
    own.call(json!({ "type": "RECONCILE", "reconcile": { "tasks": [] } })).await;
    book.status("reconciled: all", &status(own, "runs", reconciled).await);
}

fn reconciled(status: &Value) -> bool {
    status["reason"] == "REASON_RECONCILIATION"
}

/// All calls once more, for what HTTP says to them.
async fn calls(cluster: &Cluster, book: &mut Book, own: &Scheduler) {
    let (id, agent) = (|id: &str| json!({ "value": id }), json!({ "value": "no-such-agent" }));
    let uuid = "UVcITEWXQcKZWJ3cQv3rHA==";
    for (name, sent) in [
        ("ACCEPT", json!({ "type": "ACCEPT", "accept": { "offer_ids": [id("gone")], "operations": [] } })),
        ("DECLINE", json!({ "type": "DECLINE", "decline": { "offer_ids": [id("gone")] } })),
        ("SUPPRESS", json!({ "type": "SUPPRESS" })),
        ("REVIVE", json!({ "type": "REVIVE" })),
        ("REVIVE of a role", json!({ "type": "REVIVE", "revive": { "roles": ["*"] } })),
        ("KILL of an unknown task", json!({ "type": "KILL", "kill": { "task_id": id("unknown") } })),
        (
            "MESSAGE",
            json!({ "type": "MESSAGE", "message": {
            "agent_id": agent, "executor_id": id("nobody"), "data": "aGk=" } }),
        ),
        ("RECONCILE", json!({ "type": "RECONCILE", "reconcile": { "tasks": [] } })),
        ("REQUEST", json!({ "type": "REQUEST", "request": { "requests": [] } })),
        (
            "SHUTDOWN",
            json!({ "type": "SHUTDOWN", "shutdown": {
            "executor_id": id("nobody"), "agent_id": agent } }),
        ),
        (
            "ACKNOWLEDGE of an unknown task",
            json!({ "type": "ACKNOWLEDGE", "acknowledge": {
            "agent_id": agent, "task_id": id("unknown"), "uuid": uuid } }),
        ),
        ("member that is unknown", json!({ "type": "REVIVE", "nosuch": 1 })),
    ] {
        book.answer(name, &call(cluster, own, sent).await);
    }
}

/// The framework subscribes again elsewhere, is cut off, comes back and is torn down.
pub(crate) async fn elsewhere(cluster: &Cluster, book: &mut Book, mut first: Scheduler) {
    let mut again = info("plain", "*", &PLAIN);
    again["id"] = json!({ "value": first.framework });
    let second = Scheduler::listening(master(cluster), &again).await;
    let error = loop {
        let event = first.record().await;
        if event["type"] == "ERROR" {
            break event;
        }
    };
    book.error("SUBSCRIBE elsewhere", &error);
    let revive = || json!({ "type": "REVIVE" });
    book.answer("REVIVE with the old stream", &call(cluster, &first, revive()).await);
    let events: Vec<Value> = first.heard.take().unwrap_or_default();
    book.events(&events.into_iter().filter(|event| event["type"] != "ERROR").collect::<Vec<_>>());

    let (framework, stream) = (second.framework.clone(), second.stream.clone());
    drop(second);
    let body = json!({ "type": "REVIVE", "framework_id": { "value": framework } }).to_string();
    let headers = format!("{JSON}Mesos-Stream-Id: {stream}\r\n");
    let revived =
        async || ask(master(cluster), "POST /api/v1/scheduler HTTP/1.1", &headers, body.as_bytes()).await;
    until("the master sees that it is gone", PATIENCE, async || {
        let status = revived().await.status;
        check(status != 202, || format!("{status}"))
    })
    .await;
    book.answer("REVIVE while disconnected", &revived().await);

    let third = Scheduler::listening(master(cluster), &again).await;
    book.answer("TEARDOWN", &call(cluster, &third, json!({ "type": "TEARDOWN" })).await);
    book.answer("REVIVE after TEARDOWN", &call(cluster, &third, revive()).await);
    let subscribe =
        json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": again }, "framework_id": again["id"] });
    let answer =
        ask(master(cluster), "POST /api/v1/scheduler HTTP/1.1", JSON, subscribe.to_string().as_bytes()).await;
    book.error("SUBSCRIBE after TEARDOWN", &crate::refusals::record(&answer));
}

/// A framework that is aware of partitions and of tasks being killed.
pub(crate) async fn aware(cluster: &Cluster, name: &str) -> Scheduler {
    Scheduler::listening(master(cluster), &info(name, "web", &AWARE)).await
}
