//! What operators change, and what they hear of it.

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use e2e::wait::{check, until};
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::ask;
use crate::listener::Listener;
use crate::{PATIENCE, call, caught_up, frameworks, large, master, operate, status, task};

/// An operator who listens to all that happens.
pub(crate) async fn listen(cluster: &Cluster) -> Listener {
    let url = format!("http://{}/api/v1", master(cluster));
    Listener::open(&url, &json!({ "type": "SUBSCRIBE" })).await.expect("the stream is opened")
}

/// All that was heard, once the last thing that happened was.
pub(crate) async fn heard(listener: Listener) -> Vec<Value> {
    listener.wait("FRAMEWORK_REMOVED", 4).await;
    listener.end().await
}

/// Weights, quota and reservations.
pub(crate) async fn changes(cluster: &Cluster, book: &mut Book, plain: &mut Scheduler) {
    let at = master(cluster);
    let weights = |weight: f64| {
        json!({ "type": "UPDATE_WEIGHTS", "update_weights": {
            "weight_infos": [{ "role": "ra", "weight": weight }] } })
    };
    let quota = |cpus: f64| {
        json!({ "type": "UPDATE_QUOTA", "update_quota": { "quota_configs": [{ "role": "rq",
            "guarantees": { "cpus": { "value": cpus } },
            "limits": { "cpus": { "value": cpus * 2.0 }, "mem": { "value": 1024.0 } } }] } })
    };
    let unknown = json!({ "value": "nosuch" });
    let volume = json!({ "name": "disk", "type": "SCALAR", "scalar": { "value": 1.0 } });
    for (name, call) in [
        ("UPDATE_WEIGHTS", weights(2.5)),
        ("UPDATE_WEIGHTS below zero", weights(-1.0)),
        ("GET_WEIGHTS", json!({ "type": "GET_WEIGHTS" })),
        ("UPDATE_QUOTA", quota(1.0)),
        ("UPDATE_QUOTA of too much", quota(100_000.0)),
        ("GET_QUOTA", json!({ "type": "GET_QUOTA" })),
        ("GET_ROLES", json!({ "type": "GET_ROLES" })),
        (
            "SET_LOGGING_LEVEL",
            json!({ "type": "SET_LOGGING_LEVEL", "set_logging_level": {
            "level": 0, "duration": { "nanoseconds": 1_000_000_000 } } }),
        ),
        (
            "MARK_AGENT_GONE of nobody",
            json!({ "type": "MARK_AGENT_GONE", "mark_agent_gone": { "agent_id": unknown } }),
        ),
        ("DRAIN_AGENT of nobody", json!({ "type": "DRAIN_AGENT", "drain_agent": { "agent_id": unknown } })),
        ("TEARDOWN of nobody", json!({ "type": "TEARDOWN", "teardown": { "framework_id": unknown } })),
        (
            "GROW_VOLUME",
            json!({ "type": "GROW_VOLUME", "grow_volume": { "volume": volume, "addition": volume } }),
        ),
    ] {
        book.answer(name, &operate(at, &call).await);
    }
    for path in ["/weights", "/quota", "/roles"] {
        book.answer(&format!("GET {path}"), &ask(at, &format!("GET {path} HTTP/1.1"), "", b"").await);
    }
    let mut clear = quota(0.0);
    clear["update_quota"]["quota_configs"] = json!([{ "role": "rq" }]);
    book.answer("UPDATE_QUOTA", &operate(at, &clear).await);

    let agent = agent(cluster).await["agent_info"]["id"].clone();
    let reserve = |kind: &str, cpus: f64| {
        json!({ "type": kind.to_uppercase(), kind: { "agent_id": agent, "resources": [{ "name": "cpus",
            "type": "SCALAR", "scalar": { "value": cpus }, "reservations": [{ "type": "DYNAMIC", "role": "ra" }] }] } })
    };
    book.answer("RESERVE_RESOURCES of too much", &operate(at, &reserve("reserve_resources", 1e6)).await);
    // Somebody holds everything, and loses it to the reservation.
    plain.call(json!({ "type": "REVIVE" })).await;
    book.answer("RESERVE_RESOURCES", &operate(at, &reserve("reserve_resources", 1.0)).await);
    plain.wait("RESCIND").await;
    book.answer("UNRESERVE_RESOURCES", &operate(at, &reserve("unreserve_resources", 1.0)).await);
}

async fn agent(cluster: &Cluster) -> Value {
    operate(master(cluster), &json!({ "type": "GET_AGENTS" })).await.json()["get_agents"]["agents"][0].clone()
}

/// Maintenance, draining, and an agent that is gone.
pub(crate) async fn nodes(cluster: &Cluster, book: &mut Book) {
    let mut own = frameworks::aware(cluster, "nodes").await;
    maintenance(cluster, book, &mut own).await;
    let id = agent(cluster).await["agent_info"]["id"].clone();
    let about = |kind: &str| json!({ "type": kind.to_uppercase(), kind: { "agent_id": id } });

    caught_up(&mut own).await;
    let offer = own.offer_that(large).await;
    own.launch(&offer, &[task(&offer, "drained", "sleep 1000")]).await;
    status(&mut own, "drained", |status| status["state"] == "TASK_RUNNING").await;
    let mut drain = about("drain_agent");
    drain["drain_agent"]["max_grace_period"] = json!({ "seconds": 5 });
    book.answer("DRAIN_AGENT", &operate(master(cluster), &drain).await);
    book.answer("GET_AGENTS", &operate(master(cluster), &json!({ "type": "GET_AGENTS" })).await);
    status(&mut own, "drained", |status| status["state"] == "TASK_KILLED").await;
    until("the agent is drained", PATIENCE, async || {
        let agent = agent(cluster).await;
        check(agent["drain_info"]["state"] == "DRAINED", || agent.to_string())
    })
    .await;
    book.answer("GET_AGENTS", &operate(master(cluster), &json!({ "type": "GET_AGENTS" })).await);
    for kind in ["reactivate_agent", "deactivate_agent", "reactivate_agent"] {
        book.answer(&kind.to_uppercase(), &operate(master(cluster), &about(kind)).await);
    }

    caught_up(&mut own).await;
    let offer = own.offer_that(large).await;
    own.launch(&offer, &[task(&offer, "gone", "sleep 1000")]).await;
    status(&mut own, "gone", |status| status["state"] == "TASK_RUNNING").await;
    book.answer("MARK_AGENT_GONE", &operate(master(cluster), &about("mark_agent_gone")).await);
    book.status("gone by the operator", &status(&mut own, "gone", |_| true).await);
    let task = json!([{ "task_id": { "value": "gone" }, "agent_id": id }]);
    own.call(json!({ "type": "RECONCILE", "reconcile": { "tasks": task } })).await;
    book.status("reconciled: gone by the operator", &status(&mut own, "gone", |_| true).await);
    book.answer("GET_TASKS", &operate(master(cluster), &json!({ "type": "GET_TASKS" })).await);
    book.events(&own.heard.take().unwrap_or_default());
    own.call(json!({ "type": "TEARDOWN" })).await;
}

async fn maintenance(cluster: &Cluster, book: &mut Book, own: &mut Scheduler) {
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 3_600;
    let agent = agent(cluster).await;
    let machine = json!({ "hostname": agent["agent_info"]["hostname"], "ip": "127.0.0.1" });
    let window = json!({ "machine_ids": [machine], "unavailability": {
        "start": { "nanoseconds": soon * 1_000_000_000 }, "duration": { "nanoseconds": 3_600_000_000_000_u64 } } });
    let schedule = |windows: Value| {
        json!({ "type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {
            "schedule": { "windows": windows } } })
    };
    let offer = own.offer().await;
    own.launch(&offer, &[task(&offer, "moves", "sleep 1000")]).await;
    status(own, "moves", |status| status["state"] == "TASK_RUNNING").await;
    let change = "UPDATE_MAINTENANCE_SCHEDULE";
    book.answer(change, &operate(master(cluster), &schedule(json!([window]))).await);
    let asked = own.wait("INVERSE_OFFERS").await;
    let id = asked["inverse_offers"]["inverse_offers"][0]["id"].clone();
    let accept =
        json!({ "type": "ACCEPT_INVERSE_OFFERS", "accept_inverse_offers": { "inverse_offer_ids": [id] } });
    book.answer("ACCEPT_INVERSE_OFFERS", &call(cluster, own, accept).await);
    for kind in ["GET_MAINTENANCE_SCHEDULE", "GET_MAINTENANCE_STATUS"] {
        book.answer(kind, &operate(master(cluster), &json!({ "type": kind })).await);
    }
    let offer = own.offer_that(|offer| offer["unavailability"].is_object()).await;
    own.decline(&offer).await;
    book.answer(change, &operate(master(cluster), &schedule(json!([]))).await);
    own.call(json!({ "type": "KILL", "kill": { "task_id": { "value": "moves" } } })).await;
    status(own, "moves", |status| status["state"] == "TASK_KILLED").await;
}
