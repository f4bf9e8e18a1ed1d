//! Transcripts of the pure parts: what goes in, and every word that comes out.

mod core;
mod plan;
mod render;
mod view;

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use wire::marathon::{AppInfo, Event};

use crate::service::Desired;
use crate::view::Settings;

fn settings() -> Settings {
    Settings { groups: vec!["*".into()], bind: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// An app with one service port and a health check; `tasks` are lists of id, host port and results.
fn app(id: &str, port: u16, tasks: &[(&str, u16, &[bool])]) -> Value {
    let tasks: Vec<Value> = tasks.iter().map(|(task, port, results)| task_of(task, *port, results)).collect();
    json!({
        "id": id, "version": "v1", "portDefinitions": [{"port": port}], "deployments": [],
        "healthChecks": [{"protocol": "HTTP", "portIndex": 0}], "labels": {}, "tasks": tasks
    })
}

fn task_of(id: &str, port: u16, results: &[bool]) -> Value {
    let results: Vec<Value> = results.iter().map(|alive| json!({ "alive": alive })).collect();
    json!({
        "id": id, "host": "10.0.0.1", "ports": [port], "state": "TASK_RUNNING", "version": "v1",
        "healthCheckResults": results
    })
}

fn info(app: Value) -> AppInfo {
    serde_json::from_value(app).unwrap()
}

fn event(kind: &str, mut payload: Value) -> Event {
    payload["eventType"] = json!(kind);
    serde_json::from_value(payload).unwrap()
}

fn status(app: &str, task: &str, port: u16, status: &str) -> Event {
    let payload = json!({
        "slaveId": "s", "taskId": task, "taskStatus": status, "message": "", "appId": app, "host": "10.0.0.1",
        "ipAddresses": [], "ports": [port], "version": "v1"
    });
    event("status_update_event", payload)
}

fn health(app: &str, task: &str, alive: bool) -> Event {
    let payload =
        json!({ "appId": app, "taskId": task, "instanceId": task, "version": "v1", "alive": alive });
    event("health_status_changed_event", payload)
}

fn draining(app: &str, task: &str) -> Event {
    let payload = json!({
        "appId": app, "taskId": task, "instanceId": task, "host": "10.0.0.1", "ports": [1], "deadline": "soon"
    });
    event("instance_draining_event", payload)
}

/// One line for each service.
fn show(desired: &Desired) -> String {
    let services = desired.values().flat_map(|services| services.iter());
    let lines = services.map(|routed| {
        let servers = routed.servers.values().map(|server| {
            let mark = if server.draining { " draining" } else { "" };
            format!("{}={}:{}{mark}", server.task, server.address, server.port)
        });
        let servers: Vec<String> = servers.collect();
        format!("{} [{}]\n", routed.service.name, servers.join(", "))
    });
    lines.collect()
}
