//! `/api/v1/scheduler`: the ladder of checks, and streams.

use serde_json::{Value, json};

use crate::client::{Conversation, JSON, TestMaster, framework, get, post, raw, request, subscribe, until};

const PATH: &str = "/api/v1/scheduler";

#[tokio::test(flavor = "multi_thread")]
async fn each_rung_of_the_ladder_answers_as_clients_expect() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let get = get(at, PATH).await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(get.text(), "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.");
    let subscribe_html = framework("f").to_string();
    for (headers, body, status, text) in [
        ("", "{}", 400, "Expecting 'Content-Type' to be present"),
        (
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        ),
        (JSON, "{", 400, "Failed to parse body into JSON: syntax error at line 1 near: "),
        (JSON, "[]", 400, "Failed to convert JSON into Call protobuf: Expecting a JSON object"),
        (JSON, "{}", 400, "Failed to validate scheduler::Call: Expecting 'type' to be present"),
        (
            JSON,
            r#"{"type":"KILL"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
        ),
        (JSON, r#"{"type":"TEARDOWN","framework_id":{"value":"nobody"}}"#, 400, "Framework cannot be found"),
        (
            "Content-Type: application/json; charset=utf-8\r\nAccept: text/html\r\n",
            &subscribe_html,
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        ),
        (
            "Content-Type: application/json\r\nMesos-Stream-Id: x\r\n",
            &subscribe_html,
            400,
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ),
        (
            "Content-Type: application/x-protobuf\r\n",
            "\u{1}\u{2}",
            400,
            "Failed to parse body into Call protobuf",
        ),
    ] {
        let answer = raw(at, &request(PATH, headers, body.as_bytes())).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().starts_with(text), "{body}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_needs_the_stream_of_its_framework() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let (stream, id, token) = subscribe(at, &framework("f")).await;
    let revive = json!({"type": "REVIVE", "framework_id": {"value": id}}).to_string();
    let with = |header: &str| request(PATH, &format!("{JSON}{header}"), revive.as_bytes());
    let missing = raw(at, &with("")).await;
    assert_eq!((missing.status, missing.text().contains("Mesos-Stream-Id")), (400, true));
    assert_eq!(raw(at, &with("Mesos-Stream-Id: other\r\n")).await.status, 400);
    let good = raw(at, &with(&format!("mesos-stream-id: {token}\r\n"))).await;
    assert_eq!(
        (good.status, good.header("content-length"), good.header("content-type")),
        (202, Some("0"), None)
    );
    // Hanging up disconnects the framework; its id stays known.
    drop(stream);
    until("the framework is disconnected", async || {
        raw(at, &with(&format!("Mesos-Stream-Id: {token}\r\n"))).await.status == 403
    })
    .await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_subscription_takes_over_and_the_first_ends_in_order() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let (mut first, id, old) = subscribe(at, &framework("f")).await;
    let mut again = framework("f");
    again["framework_id"] = json!({"value": id});
    again["subscribe"]["framework_info"]["id"] = json!({"value": id});
    let (_second, same, new) = subscribe(at, &again).await;
    assert_eq!(same, id);
    assert_ne!(new, old);
    let error = first.record().await.expect("a last record");
    assert_eq!(error, json!({"type": "ERROR", "error": {"message": "Framework failed over"}}));
    assert_eq!(first.record().await, None::<Value>, "and a clean end");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_chunked_whatever_the_client_says_of_its_connection() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let body = framework("f").to_string();
    let mut stream = Conversation::open(master.address).await;
    let headers = format!("{JSON}Connection: close\r\nAccept: */*\r\n");
    stream.send(&request(PATH, &headers, body.as_bytes())).await;
    let head = stream.head().await;
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(head.header("content-length"), None);
    assert_eq!(stream.record().await.expect("a record")["type"], "SUBSCRIBED");
    // Protobuf where it is the only thing accepted.
    let mut binary = Conversation::open(master.address).await;
    let headers = format!("{JSON}Accept: application/x-protobuf\r\n");
    binary.send(&request(PATH, &headers, framework("g").to_string().as_bytes())).await;
    assert_eq!(binary.head().await.header("content-type"), Some("application/x-protobuf"));
    let chunk = binary.chunk().await.expect("a record");
    let line = chunk.iter().position(|byte| *byte == b'\n').expect("a length line");
    let event: wire::scheduler::Event = wire::protobuf::decode(&chunk[line + 1..]).expect("an event");
    assert!(event.subscribed.is_some());
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscription_is_a_stream_of_one_error() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let mut body = framework("f");
    body["subscribe"]["framework_info"]["roles"] = json!(["a", "a"]);
    let answer = post(master.address, PATH, &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("contains duplicate items: { a }"), "{}", answer.text());
    master.stop().await;
}
