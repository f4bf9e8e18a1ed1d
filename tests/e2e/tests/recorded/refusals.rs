//! Requests that are wrong, one by one in each rung of the ladder of checks.

use e2e::cluster::Cluster;
use e2e::scheduler::Scheduler;
use serde_json::{Value, json};

use crate::book::Book;
use crate::http::{Answer, JSON, ask};
use crate::master;

const SCHEDULER: &str = "POST /api/v1/scheduler HTTP/1.1";
const OPERATOR: &str = "POST /api/v1 HTTP/1.1";
const FOR_TEXT: &str = "Content-Type: application/json\r\nAccept: text/html\r\n";

pub(crate) async fn walk(cluster: &Cluster, book: &mut Book, known: &Scheduler) {
    let at = master(cluster);
    heads(at, book, known).await;
    bodies(at, book, known).await;
    operator(at, book).await;
    subscriptions(at, book).await;
}

fn subscribe() -> Value {
    json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": {
        "user": "root", "name": "bad", "roles": ["*"], "capabilities": [{ "type": "MULTI_ROLE" }] } } })
}

/// What is seen before the body is.
async fn heads(at: &str, book: &mut Book, known: &Scheduler) {
    let revive = json!({ "type": "REVIVE", "framework_id": { "value": known.framework } }).to_string();
    let subscribe = subscribe().to_string();
    let own = format!("{JSON}Mesos-Stream-Id: {}\r\n", known.stream);
    let other = format!("{JSON}Mesos-Stream-Id: 4e5d6599-58cf-4101-808d-14b070ba10b8\r\n");
    let charset =
        format!("Content-Type: application/json; charset=utf-8\r\nMesos-Stream-Id: {}\r\n", known.stream);
    let records = "Content-Type: application/json\r\nAccept: application/recordio\r\n";
    for (name, headers, body) in [
        ("no type of the body", "", revive.as_str()),
        ("body that is text", "Content-Type: text/plain\r\n", &revive),
        ("type of the body with a parameter", &charset, &revive),
        ("SUBSCRIBE for text", FOR_TEXT, &subscribe),
        ("SUBSCRIBE for RecordIO", records, &subscribe),
        ("SUBSCRIBE with a stream", &own, &subscribe),
        ("REVIVE without a stream", JSON, &revive),
        ("REVIVE with another stream", &other, &revive),
    ] {
        book.answer(name, &ask(at, SCHEDULER, headers, body.as_bytes()).await);
    }
    book.answer("GET of the scheduler API", &ask(at, "GET /api/v1/scheduler HTTP/1.1", "", b"").await);
    let garbage = "Content-Type: application/x-protobuf\r\nAccept: application/json\r\n";
    book.answer("protobuf that is none", &ask(at, SCHEDULER, garbage, b"\xff\xff\xff").await);
}

async fn bodies(at: &str, book: &mut Book, known: &Scheduler) {
    let own = json!({ "value": known.framework });
    let acknowledge = |uuid: &str| {
        json!({ "type": "ACKNOWLEDGE", "framework_id": own, "acknowledge": {
            "agent_id": { "value": "a" }, "task_id": { "value": "t" }, "uuid": uuid } })
        .to_string()
    };
    let mut nobody = subscribe();
    nobody["subscribe"]["framework_info"].as_object_mut().expect("an object").remove("user");
    let mut number = subscribe();
    number["subscribe"]["framework_info"]["capabilities"] = json!([{ "type": 1 }]);
    let mut two = subscribe();
    two["framework_id"] = json!({ "value": "one" });
    two["subscribe"]["framework_info"]["id"] = json!({ "value": "other" });
    let headers = format!("{JSON}Mesos-Stream-Id: {}\r\n", known.stream);
    for (name, body) in [
        ("body that is cut", "{".to_owned()),
        ("body that is empty", String::new()),
        ("body that is a list", "[]".to_owned()),
        ("call that is unknown", r#"{"type":"NOSUCH"}"#.to_owned()),
        ("no call", "{}".to_owned()),
        ("REVIVE of nobody", r#"{"type":"REVIVE"}"#.to_owned()),
        ("REVIVE of somebody unknown", r#"{"type":"REVIVE","framework_id":{"value":"nosuch"}}"#.to_owned()),
        ("KILL with a text for an id", r#"{"type":"KILL","framework_id":"x","kill":{}}"#.to_owned()),
        ("ACCEPT of nothing", json!({ "type": "ACCEPT", "framework_id": own }).to_string()),
        ("ACKNOWLEDGE of five bytes", acknowledge("aGVsbG8=")),
        ("ACKNOWLEDGE of sixteen bytes that are no UUID", acknowledge("AAAAAAAAAAAAAAAAAAAAAA==")),
        ("ACKNOWLEDGE that is no base64", acknowledge("***")),
    ] {
        book.answer(name, &ask(at, SCHEDULER, &headers, body.as_bytes()).await);
    }
    for (name, body) in [
        ("SUBSCRIBE without a framework", json!({ "type": "SUBSCRIBE" })),
        ("SUBSCRIBE without a user", nobody),
        ("SUBSCRIBE with a number for a word", number),
        ("SUBSCRIBE with two ids", two),
    ] {
        book.answer(name, &ask(at, SCHEDULER, JSON, body.to_string().as_bytes()).await);
    }
}

async fn operator(at: &str, book: &mut Book) {
    let health = br#"{"type":"GET_HEALTH"}"#.as_slice();
    for (name, line, headers, body) in [
        ("operator body that is cut", OPERATOR, JSON, b"{".as_slice()),
        ("operator body that goes on", OPERATOR, JSON, br#"{"type":"GET_HEALTH"}xxxxx"#),
        ("operator call that is unknown", OPERATOR, JSON, br#"{"type":"NOSUCH"}"#),
        ("scheduler call to the operator API", "POST /api/v1/nosuch HTTP/1.1", JSON, br#"{"type":"REVIVE"}"#),
        ("no type of the operator body", OPERATOR, "", health),
        ("operator call for text", OPERATOR, FOR_TEXT, health),
        ("READ_FILE without a file", OPERATOR, JSON, br#"{"type":"READ_FILE"}"#),
        ("GET of the operator API", "GET /api/v1 HTTP/1.1", "", b""),
    ] {
        book.answer(name, &ask(at, line, headers, body).await);
    }
}

/// Subscriptions that are a stream of one error.
async fn subscriptions(at: &str, book: &mut Book) {
    let multi = json!([{ "type": "MULTI_ROLE" }]);
    for (name, role, roles, capabilities) in [
        ("role with two dots", Value::Null, json!(["a/../b"]), multi.clone()),
        ("role without a name", Value::Null, json!([""]), multi.clone()),
        ("role and roles", json!("a"), json!(["a"]), multi.clone()),
        ("role twice", Value::Null, json!(["a", "a"]), multi),
        ("roles without MULTI_ROLE", Value::Null, json!(["a"]), json!([])),
    ] {
        let mut call = subscribe();
        let info = &mut call["subscribe"]["framework_info"];
        info["roles"] = roles;
        info["capabilities"] = capabilities;
        if role.is_string() {
            info["role"] = role;
        }
        book.error(name, &record(&ask(at, SCHEDULER, JSON, call.to_string().as_bytes()).await));
    }
}

/// The first record of a stream.
pub(crate) fn record(answer: &Answer) -> Value {
    let text = answer.text();
    let (length, rest) = text.split_once('\n').unwrap_or_default();
    let record = length.parse().ok().and_then(|length: usize| rest.get(..length)).unwrap_or_default();
    serde_json::from_str(record).unwrap_or_else(|error| panic!("{error} in {} {text}", answer.status))
}
