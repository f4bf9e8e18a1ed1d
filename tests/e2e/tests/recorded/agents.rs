//! What an agent shows, by its API and by the reads of old.

use e2e::cluster::Cluster;
use serde_json::json;

use crate::book::Book;
use crate::http::{JSON, ask};
use crate::operate;

const CALLS: [&str; 12] = [
    "GET_HEALTH",
    "GET_VERSION",
    "GET_FLAGS",
    "GET_LOGGING_LEVEL",
    "GET_METRICS",
    "GET_AGENT",
    "GET_FRAMEWORKS",
    "GET_EXECUTORS",
    "GET_TASKS",
    "GET_CONTAINERS",
    "GET_OPERATIONS",
    "GET_RESOURCE_PROVIDERS",
];

const PATHS: [&str; 9] = [
    "/containers",
    "/monitor/statistics",
    "/version",
    "/flags",
    "/health",
    "/metrics/snapshot",
    "/state",
    "/no/such",
    "/recordio",
];

pub(crate) async fn walk(cluster: &Cluster, book: &mut Book) {
    let at = &cluster.agent_addresses[0];
    for name in CALLS {
        book.answer(&format!("agent {name}"), &operate(at, &json!({ "type": name })).await);
    }
    for path in PATHS {
        book.answer(&format!("agent GET {path}"), &ask(at, &format!("GET {path} HTTP/1.1"), "", b"").await);
    }
    let state = ask(at, "GET /state HTTP/1.1", "", b"").await.json();
    let folder = state["frameworks"][0]["executors"][0]["directory"].as_str().expect("a sandbox").to_owned();
    let nobody = json!({ "container_id": { "value": "nosuch" } });
    for (name, call) in [
        ("LIST_FILES", json!({ "type": "LIST_FILES", "list_files": { "path": folder } })),
        ("LIST_FILES of nothing", json!({ "type": "LIST_FILES", "list_files": { "path": "/no/such" } })),
        (
            "READ_FILE",
            json!({ "type": "READ_FILE", "read_file": {
            "path": format!("{folder}/stdout"), "offset": 0, "length": 10 } }),
        ),
        ("WAIT_CONTAINER of nobody", json!({ "type": "WAIT_CONTAINER", "wait_container": nobody })),
        ("KILL_CONTAINER of nobody", json!({ "type": "KILL_CONTAINER", "kill_container": nobody })),
    ] {
        book.answer(&format!("agent {name}"), &operate(at, &call).await);
    }
    for (name, body) in [
        (
            "executor that is unknown",
            json!({ "type": "SUBSCRIBE", "framework_id": { "value": "nosuch" },
            "executor_id": { "value": "nosuch" }, "subscribe": {} }),
        ),
        ("executor without ids", json!({ "type": "SUBSCRIBE", "subscribe": {} })),
    ] {
        let body = body.to_string();
        book.answer(name, &ask(at, "POST /api/v1/executor HTTP/1.1", JSON, body.as_bytes()).await);
    }
}
