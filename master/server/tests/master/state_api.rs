//! `/api/v1/state`: the key-value API over HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::client::{Conversation, JSON, TestMaster, get, post, request};

const PATH: &str = "/api/v1/state";

pub(crate) fn put(key: &str, value: &str) -> Value {
    json!({"type": "TXN", "namespace": "test", "then": [{"put": {"key": key, "value": value}}]})
}

pub(crate) async fn read(at: SocketAddr, key: &str) -> Option<String> {
    let answer = post(at, PATH, &json!({"type": "GET", "namespace": "test", "key": key})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["entry"]["value"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_watched_and_survives_a_restart() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let mut watch = Conversation::open(at).await;
    watch.send(&request(PATH, JSON, br#"{"type":"WATCH","namespace":"test","prefix":"a/"}"#)).await;
    assert_eq!(watch.head().await.header("content-type"), Some("application/json"));
    let started = watch.record().await.expect("a first record");
    assert_eq!(started["type"], "STARTED");

    let written = post(at, PATH, &put("a/1", "aGk=")).await;
    assert_eq!((written.status, written.header("content-type")), (200, Some("application/json")));
    let revision = written.json()["revision"].as_u64().expect("a revision");
    assert!(revision > started["revision"].as_u64().expect("a revision"));
    assert_eq!(read(at, "a/1").await.as_deref(), Some("aGk="));
    assert_eq!(read(at, "a/2").await, None);
    let events = watch.record().await.expect("the change");
    assert_eq!((&events["type"], &events["events"][0]["entry"]["key"]), (&json!("EVENTS"), &json!("a/1")));
    master.stop().await;

    let again = TestMaster::alone(temp.path()).await;
    assert_eq!(read(again.address, "a/1").await.as_deref(), Some("aGk="));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_field_and_the_rule() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    for (body, field) in [
        (json!({"namespace": "x"}), "type"),
        (json!({"type": "GET", "namespace": "x", "key": "a", "colour": 1}), "colour"),
        (
            json!({"type": "TXN", "namespace": "x", "then": [{"put": {"key": "a", "value": "***"}}]}),
            "then[0].put.value",
        ),
        (
            json!({"type": "TXN", "namespace": "x", "then": [{"put": {"key": "", "value": ""}}]}),
            "then[0].put.key",
        ),
    ] {
        let answer = post(at, PATH, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        let failure = answer.json();
        assert!(!failure["error"].as_str().expect("a sentence").is_empty());
        let named = failure["field"].as_str().unwrap_or_default();
        assert!(named.starts_with(field) || field.starts_with(named), "{body}: {failure}");
    }
    assert_eq!(get(at, PATH).await.status, 405);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_never_reads_loses_its_stream_and_nobody_waits_for_it() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let mut watch = Conversation::open(at).await;
    watch.send(&request(PATH, JSON, br#"{"type":"WATCH","namespace":"test"}"#)).await;
    assert_eq!(watch.head().await.status, 200);
    let streams = async || {
        let metrics = get(at, "/metrics").await.text();
        let line = metrics.lines().find(|line| line.starts_with("stoa_master_streams "));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).expect("the gauge")
    };
    assert_eq!(streams().await, 1);
    // Far more than the socket's buffers and the stream's queue hold together.
    let large = "A".repeat(1 << 20);
    let mut written = 0;
    while streams().await > 0 {
        assert_eq!(post(at, PATH, &put("k", &large)).await.status, 200);
        written += 1;
        assert!(written < 400, "the stream is still there after {written} MiB");
    }
    // What the socket still held may be read; then it is over, in the middle of a record.
    let mut rest = Vec::new();
    let end = watch.stream.read_to_end(&mut rest).await;
    assert!(end.is_err() || !rest.ends_with(b"0\r\n\r\n"), "a cut is not an orderly end");
    master.stop().await;
}
