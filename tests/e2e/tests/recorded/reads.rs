//! What the master shows, by its API and by the reads of old.

use e2e::cluster::Cluster;
use serde_json::json;

use crate::book::Book;
use crate::http::ask;
use crate::{master, operate};

/// Calls without anything beside their type.
const CALLS: [&str; 15] = [
    "GET_HEALTH",
    "GET_VERSION",
    "GET_FLAGS",
    "GET_LOGGING_LEVEL",
    "GET_MASTER",
    "GET_STATE",
    "GET_AGENTS",
    "GET_FRAMEWORKS",
    "GET_TASKS",
    "GET_EXECUTORS",
    "GET_OPERATIONS",
    "GET_METRICS",
    "GET_ROLES",
    "LIST_FILES of nothing",
    "READ_FILE of nothing",
];

const PATHS: [&str; 27] = [
    "/version",
    "/flags",
    "/state",
    "/state-summary",
    "/slaves",
    "/frameworks",
    "/tasks",
    "/roles",
    "/maintenance/schedule",
    "/maintenance/status",
    "/metrics/snapshot",
    "/files/read",
    "/files/debug",
    "/files/browse of nothing",
    "/system/stats.json",
    "/system/stats",
    "/logging/toggle",
    "/health",
    "/health/",
    "//health",
    "/redirect",
    "/no/such",
    "/master%2Fhealth",
    "/master/state.json",
    "/",
    "/help",
    "/registrar(1)/registry",
];

pub(crate) async fn walk(cluster: &Cluster, book: &mut Book) {
    let at = master(cluster);
    for name in CALLS {
        let call = match name.split_once(" of ") {
            Some(("LIST_FILES", _)) => json!({ "type": "LIST_FILES", "list_files": { "path": "/no/such" } }),
            Some(_) => json!({ "type": "READ_FILE", "read_file": { "path": "/no/such", "offset": 0 } }),
            None => json!({ "type": name }),
        };
        book.answer(name, &operate(at, &call).await);
    }
    let log =
        json!({ "type": "READ_FILE", "read_file": { "path": "/master/log", "offset": 0, "length": 10 } });
    book.answer("READ_FILE", &operate(at, &log).await);
    for path in PATHS {
        let target = match path {
            "/files/read" => "/files/read?path=/master/log&offset=0&length=10",
            "/files/browse of nothing" => "/files/browse?path=/no/such",
            path => path,
        };
        let answer = ask(at, &format!("GET {target} HTTP/1.1"), "", b"").await;
        book.answer(&format!("GET {path}"), &answer);
    }
    book.answer("PUT /state", &ask(at, "PUT /state HTTP/1.1", "", b"").await);
}
