//! What docs/api/key-value.md promises, sentence by sentence, over HTTP.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use master_core::registry::Limits;
use serde_json::{Value, json};

use crate::client::{Answer, Conversation, JSON, TestMaster, post, raw, request, until};
use crate::group::Group;

const PATH: &str = "/api/v1/state";

/// One call of namespace `n`, which must be taken.
async fn call(at: SocketAddr, kind: &str, fields: Value) -> Value {
    let answer = ask(at, kind, fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["type"], kind, "an answer repeats the type");
    body
}

async fn ask(at: SocketAddr, kind: &str, fields: Value) -> Answer {
    let mut body = json!({"type": kind, "namespace": "n"});
    let given = fields.as_object().expect("fields").clone();
    body.as_object_mut().expect("an object").extend(given);
    post(at, PATH, &body).await
}

/// The status and the field of a refusal, whose sentence must not be empty.
async fn refused(at: SocketAddr, kind: &str, fields: Value) -> (u16, String) {
    let answer = ask(at, kind, fields).await;
    let failure = answer.json();
    assert!(failure["error"].as_str().is_some_and(|error| error.len() > 10), "{failure}");
    (answer.status, failure["field"].as_str().unwrap_or_default().to_owned())
}

fn put(key: &str, value: &str) -> Value {
    json!({"put": {"key": key, "value": value}})
}

async fn write(at: SocketAddr, key: &str) -> u64 {
    call(at, "TXN", json!({"then": [put(key, "AA==")]})).await["revision"].as_u64().expect("a revision")
}

async fn value(at: SocketAddr, key: &str) -> Value {
    call(at, "GET", json!({"key": key})).await["entry"]["value"].clone()
}

async fn watch(at: SocketAddr, fields: Value) -> Conversation {
    try_watch(at, fields).await.expect("a stream of changes")
}

/// Nothing where this master does not lead, or not any more.
async fn try_watch(at: SocketAddr, fields: Value) -> Option<Conversation> {
    let mut body = json!({"type": "WATCH", "namespace": "n"});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    let mut stream = Conversation::open(at).await;
    stream.send(&request(PATH, JSON, body.to_string().as_bytes())).await;
    if stream.head().await.status != 200 {
        return None;
    }
    assert_eq!(stream.record().await?["type"], "STARTED");
    Some(stream)
}

async fn events(stream: &mut Conversation) -> Vec<(String, u64)> {
    try_events(stream).await.expect("more records")
}

/// The keys of the next events, each with its revision; goes past PROGRESS. Nothing when the stream has ended.
async fn try_events(stream: &mut Conversation) -> Option<Vec<(String, u64)>> {
    loop {
        let record = stream.record().await?;
        if record["type"] == "PROGRESS" {
            continue;
        }
        assert_eq!(record["type"], "EVENTS", "{record}");
        let read = |event: &Value| {
            let entry = &event["entry"];
            let key = event["key"].as_str().or(entry["key"].as_str()).expect("a key");
            let revision = event["revision"].as_u64().or(entry["modRevision"].as_u64());
            (key.to_owned(), revision.expect("a revision"))
        };
        return Some(record["events"].as_array().expect("events").iter().map(read).collect());
    }
}

/// Watches at whichever leads until so many events are seen. Where a stream ends, the next one goes on after the last.
async fn see(group: &Group, seen: &mut Vec<(String, u64)>, count: usize) {
    until("the events are seen", async || {
        let from = seen.last().map_or(1, |(_, revision)| revision + 1);
        let at = group.at(group.leader().await);
        let Some(mut stream) = try_watch(at, json!({"prefix": "a/", "from": from})).await else {
            return false;
        };
        while seen.len() < count {
            let Some(next) = try_events(&mut stream).await else { return false };
            seen.extend(next);
        }
        true
    })
    .await;
}

struct Alone {
    master: TestMaster,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

async fn alone() -> Alone {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(folder.path()).await;
    Alone { at: master.address, master, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_revisions_tell_of_each_key() {
    let here = alone().await;
    let first = write(here.at, "a").await;
    let second = write(here.at, "a").await;
    assert!(second > first);
    let read = call(here.at, "GET", json!({"key": "a"})).await;
    assert!(read["revision"].as_u64() >= Some(second));
    let entry = &read["entry"];
    assert_eq!(entry["version"], 2);
    assert_eq!((&entry["createRevision"], &entry["modRevision"]), (&json!(first), &json!(second)));
    assert_eq!(call(here.at, "GET", json!({"key": "b"})).await["entry"], Value::Null);
    call(here.at, "TXN", json!({"then": [{"delete": {"key": "a"}}]})).await;
    write(here.at, "a").await;
    assert_eq!(call(here.at, "GET", json!({"key": "a"})).await["entry"]["version"], 1, "it began anew");
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_comes_in_pages_and_in_order() {
    let here = alone().await;
    for key in ["b/2", "a", "b/1", "b/3", "c"] {
        write(here.at, key).await;
    }
    let page = call(here.at, "RANGE", json!({"prefix": "b/", "limit": 2})).await;
    let keys = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().expect("entries");
        entries.iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect()
    };
    assert_eq!((keys(&page), &page["next"]), (vec!["b/1".to_owned(), "b/2".to_owned()], &json!("b/2")));
    let rest = call(here.at, "RANGE", json!({"prefix": "b/", "limit": 2, "after": "b/2"})).await;
    assert_eq!((keys(&rest), &rest["next"]), (vec!["b/3".to_owned()], &Value::Null));
    let all = call(here.at, "RANGE", json!({})).await;
    assert_eq!(keys(&all), ["a", "b/1", "b/2", "b/3", "c"]);
    for limit in [0, 1001] {
        assert_eq!(refused(here.at, "RANGE", json!({"limit": limit})).await, (400, "limit".to_owned()));
    }
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_does_one_branch_whole() {
    let here = alone().await;
    let revision = write(here.at, "a").await;
    let txn = |compare: Value| {
        let then = json!([put("x", "AQ=="), {"delete": {"key": "a"}}, {"get": {"key": "a"}}, {"range": {"prefix": "x"}}]);
        json!({"compare": [compare], "then": then, "else": [{"get": {"key": "a"}}]})
    };
    // Each holds not; the last one does.
    for compare in [
        json!({"key": "a", "exists": false}),
        json!({"key": "a", "value": "AQ=="}),
        json!({"key": "a", "version": 2}),
        json!({"key": "a", "is": "GREATER", "modRevision": revision}),
        json!({"key": "a", "is": "NOT_EQUAL", "createRevision": revision}),
        json!({"key": "none", "is": "LESS", "version": 0}),
        json!({"key": "none", "value": ""}),
    ] {
        let answer = call(here.at, "TXN", txn(compare.clone())).await;
        assert_eq!(answer["succeeded"], false, "{compare}");
        assert_eq!(answer["results"][0]["get"]["entry"]["key"], "a");
    }
    let answer = call(here.at, "TXN", txn(json!({"key": "a", "modRevision": revision}))).await;
    assert_eq!(answer["succeeded"], true);
    let results = &answer["results"];
    assert_eq!((&results[0], &results[1]), (&json!({"put": {}}), &json!({"delete": {"existed": true}})));
    assert_eq!(results[2]["get"]["entry"], Value::Null, "a branch sees what it did");
    assert_eq!(results[3]["range"]["entries"][0]["key"], "x");
    assert_eq!(value(here.at, "x").await, "AQ==");

    let twice = json!({"then": [put("y", ""), {"delete": {"key": "y"}}]});
    assert_eq!(refused(here.at, "TXN", twice).await, (400, "then[1].delete.key".to_owned()));
    let both = json!({"compare": [{"key": "a", "exists": true, "version": 1}]});
    assert_eq!(refused(here.at, "TXN", both).await.0, 400);
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_makes_a_repetition_harmless() {
    let here = alone().await;
    let txn =
        json!({"request": "r-1", "compare": [{"key": "a", "exists": false}], "then": [put("a", "AA==")]});
    let first = call(here.at, "TXN", txn.clone()).await;
    assert_eq!((&first["succeeded"], &first["replayed"]), (&json!(true), &json!(false)));
    call(here.at, "TXN", json!({"then": [{"delete": {"key": "a"}}]})).await;
    let again = call(here.at, "TXN", txn).await;
    assert_eq!((&again["succeeded"], &again["replayed"]), (&json!(true), &json!(true)));
    assert_eq!((&again["revision"], &again["results"]), (&first["revision"], &json!([])));
    assert_eq!(value(here.at, "a").await, Value::Null, "nothing was done this time");
    let other = json!({"request": "r-1", "then": [put("b", "AA==")]});
    assert_eq!(refused(here.at, "TXN", other).await.0, 409);
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_takes_its_keys_along() {
    let here = alone().await;
    let granted = call(here.at, "LEASE_GRANT", json!({"lease": "l", "ttlMillis": 60_000})).await;
    assert_eq!((&granted["ttlMillis"], &granted["renewals"]), (&json!(60_000), &json!(0)));
    let again = call(here.at, "LEASE_GRANT", json!({"lease": "l", "ttlMillis": 60_000})).await;
    assert_eq!(again["token"], granted["token"], "the lease as it stands");
    let kept = call(here.at, "LEASE_KEEPALIVE", json!({"lease": "l"})).await;
    assert_eq!((&kept["renewals"], &kept["token"]), (&json!(1), &granted["token"]));
    let other = json!({"lease": "l", "ttlMillis": 1_000});
    assert_eq!(refused(here.at, "LEASE_GRANT", other).await.0, 409);
    for ttl in [499, 86_400_001] {
        let field = refused(here.at, "LEASE_GRANT", json!({"lease": "m", "ttlMillis": ttl})).await;
        assert_eq!(field, (400, "ttlMillis".to_owned()));
    }

    let under = |key: &str| json!({"put": {"key": key, "value": "", "lease": "l"}});
    call(here.at, "TXN", json!({"then": [under("a"), under("b")]})).await;
    // Put anew without the lease, a key stays.
    write(here.at, "b").await;
    assert_eq!(call(here.at, "LEASE_REVOKE", json!({"lease": "l"})).await["existed"], true);
    assert_eq!((value(here.at, "a").await, value(here.at, "b").await), (Value::Null, json!("AA==")));
    assert_eq!(call(here.at, "LEASE_REVOKE", json!({"lease": "l"})).await["existed"], false);
    assert_eq!(refused(here.at, "LEASE_KEEPALIVE", json!({"lease": "l"})).await, (404, "lease".to_owned()));
    let dead = refused(here.at, "TXN", json!({"then": [under("c")]})).await;
    assert_eq!(dead, (404, "then[0].put.lease".to_owned()));

    // One that nobody keeps alive ends by itself, and a later holder has a higher token.
    let short = call(here.at, "LEASE_GRANT", json!({"lease": "s", "ttlMillis": 5_000})).await;
    let put = json!({"put": {"key": "held", "value": "", "lease": "s"}});
    let written =
        call(here.at, "TXN", json!({"then": [put]})).await["revision"].as_u64().expect("a revision");
    let mut stream = watch(here.at, json!({"prefix": "held", "from": written + 1})).await;
    let gone = events(&mut stream).await;
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].0, "held");
    let next = call(here.at, "LEASE_GRANT", json!({"lease": "s", "ttlMillis": 5_000})).await;
    assert!(next["token"].as_u64() > short["token"].as_u64());
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_where_it_is_told_and_shows_its_prefix_alone() {
    let here = alone().await;
    let first = write(here.at, "a/1").await;
    write(here.at, "b/1").await;
    let third = write(here.at, "a/2").await;
    let mut past = watch(here.at, json!({"prefix": "a/", "from": first})).await;
    assert_eq!(events(&mut past).await, [("a/1".to_owned(), first), ("a/2".to_owned(), third)]);
    let mut ahead = watch(here.at, json!({"prefix": "a/"})).await;
    let both = json!({"then": [put("a/3", ""), {"delete": {"key": "a/1"}}, put("b/2", "")]});
    let fourth = call(here.at, "TXN", both).await["revision"].as_u64().expect("a revision");
    let expected = [("a/3".to_owned(), fourth), ("a/1".to_owned(), fourth)];
    assert_eq!(events(&mut ahead).await, expected, "a revision comes whole");
    // With nothing to tell it says how far it is.
    let elsewhere = write(here.at, "b/3").await;
    let progress = ahead.record().await.expect("a heartbeat");
    assert_eq!(progress["type"], "PROGRESS");
    assert!(progress["revision"].as_u64() >= Some(elsewhere), "{progress}");
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_comes_too_late_is_told_so_and_a_read_brings_it_back() {
    let here = alone().await;
    let begin = write(here.at, "a").await;
    // More than is kept, by bytes.
    let large = "A".repeat(1 << 20);
    let kept = Limits::default().history_bytes;
    let each = large.len() as u64 / 4 * 3;
    for number in 0..=kept / (4 * each) {
        let then: Vec<Value> = (0..4).map(|n| put(&format!("k/{}", (number * 4 + n) % 8), &large)).collect();
        call(here.at, "TXN", json!({"then": then})).await;
    }
    let mut stream = watch(here.at, json!({"from": begin + 1})).await;
    let last = stream.record().await.expect("a last record");
    assert_eq!(last["type"], "COMPACTED");
    assert!(last["revision"].as_u64() > Some(begin));
    assert_eq!(stream.chunk().await, None, "the stream ends in order");

    let read = call(here.at, "RANGE", json!({"prefix": "a"})).await;
    let from = read["revision"].as_u64().expect("a revision") + 1;
    let mut stream = watch(here.at, json!({"prefix": "a", "from": from})).await;
    let next = write(here.at, "a").await;
    assert_eq!(events(&mut stream).await, [("a".to_owned(), next)]);
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_at_the_next_leader_without_a_gap() {
    let mut group = Group::three().await;
    // Sent again to the next leader, it is the same write.
    let write = async |group: &Group, key: &str| {
        let txn = json!({"type": "TXN", "namespace": "n", "request": key, "then": [put(key, "AA==")]});
        (key.to_owned(), group.write(&txn).await["revision"].as_u64().expect("a revision"))
    };
    let mut written = Vec::new();
    for number in 0..5 {
        written.push(write(&group, &format!("a/{number}")).await);
    }
    // Two are read, three are not: the master goes.
    let mut seen = Vec::new();
    see(&group, &mut seen, 2).await;
    seen.truncate(2);
    let leader = group.leader().await;
    group.end(leader).await;
    written.push(write(&group, "a/5").await);
    see(&group, &mut seen, written.len()).await;
    assert_eq!(seen, written, "each once, in order");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_answers_and_others_lead_there() {
    let group = Group::three().await;
    let leader = group.leader().await;
    let at = group.at(leader);
    for follower in (0..3).filter(|index| *index != leader) {
        write(at, "a").await;
        let answer = ask(group.at(follower), "GET", json!({"key": "a"})).await;
        assert_eq!(answer.status, 307, "a follower may be behind: it never answers a read");
        assert_eq!(answer.header("location"), Some(format!("//{at}{PATH}").as_str()));
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_reaches_its_own_namespaces() {
    let here = alone().await;
    // alice:secret
    let alice = async |namespace: &str| {
        let headers = format!("{JSON}Authorization: Basic YWxpY2U6c2VjcmV0\r\n");
        let body = json!({"type": "GET", "namespace": namespace, "key": "a"}).to_string();
        raw(here.at, &request(PATH, &headers, body.as_bytes())).await
    };
    for own in ["alice", "alice/jobs", "alice/a/b"] {
        assert_eq!(alice(own).await.status, 200, "{own}");
    }
    for foreign in ["bob", "alice2", "alic", "bob/alice"] {
        let answer = alice(foreign).await;
        assert_eq!((answer.status, &answer.json()["field"]), (403, &json!("namespace")), "{foreign}");
    }
    let refusal = alice("bob").await.json()["error"].clone();
    assert_eq!(
        refusal,
        "namespace 'bob' is not one of principal 'alice': these are 'alice' and what begins with 'alice/'"
    );
    for garbled in ["Bearer x", "Basic", "Basic ***", "Basic Og=="] {
        let headers = format!("{JSON}Authorization: {garbled}\r\n");
        let answer =
            raw(here.at, &request(PATH, &headers, br#"{"type":"GET","namespace":"n","key":"a"}"#)).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic realm=\"stoa\"")));
    }
    here.master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_is_the_documented_one_and_is_refused_by_name() {
    let here = alone().await;
    let at = here.at;
    let long = |bytes: usize| "k".repeat(bytes);
    assert_eq!(
        refused(at, "GET", json!({"namespace": long(129), "key": "a"})).await,
        (400, "namespace".into())
    );
    let key = |bytes: usize| json!({"then": [put(&long(bytes), "")]});
    call(at, "TXN", key(1024)).await;
    assert_eq!(refused(at, "TXN", key(1025)).await, (400, "then[0].put.key".to_owned()));
    let value = |bytes: usize| json!({"then": [put("v", &STANDARD.encode(vec![0; bytes]))]});
    call(at, "TXN", value(1 << 20)).await;
    let refusal = refused(at, "TXN", value((1 << 20) + 1)).await;
    assert_eq!(refusal, (400, "then[0].put.value".to_owned()));
    let many = |count: usize| -> Vec<Value> { (0..count).map(|n| put(&format!("m/{n}"), "")).collect() };
    call(at, "TXN", json!({"then": many(128)})).await;
    assert_eq!(refused(at, "TXN", json!({"then": many(129)})).await, (400, "then".to_owned()));
    let mib = "A".repeat((1 << 20) / 3 * 4);
    let much: Vec<Value> = (0..5).map(|n| put(&format!("b/{n}"), &mib)).collect();
    assert_eq!(refused(at, "TXN", json!({"then": much})).await, (400, "txn".to_owned()));
    assert_eq!(refused(at, "LEASE_GRANT", json!({"lease": long(129), "ttlMillis": 500})).await.0, 400);
    assert_eq!(refused(at, "TXN", json!({"request": long(129)})).await, (400, "request".to_owned()));

    // Keys under one lease are counted when they are put.
    call(at, "LEASE_GRANT", json!({"lease": "l", "ttlMillis": 60_000})).await;
    let under = |from: usize, to: usize| -> Vec<Value> {
        (from..to).map(|n| json!({"put": {"key": format!("l/{n}"), "value": "", "lease": "l"}})).collect()
    };
    for part in 0..8 {
        call(at, "TXN", json!({"then": under(part * 128, (part + 1) * 128)})).await;
    }
    assert_eq!(refused(at, "TXN", json!({"then": under(1024, 1025)})).await.0, 507);

    let huge = vec![b' '; (16 << 20) + 1];
    assert_eq!(raw(at, &request(PATH, JSON, &huge)).await.status, 413);
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(raw(at, &request(PATH, text, b"{}")).await.status, 415);
    here.master.stop().await;
}

#[test]
fn the_page_names_the_limits_in_force() {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo names the crate's folder");
    let page = Path::new(&here).join("../../docs/api/key-value.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let Limits {
        namespaces,
        namespace_bytes,
        key_bytes,
        value_bytes,
        txn_operations,
        txn_bytes,
        answer_bytes,
        leases,
        lease_keys,
        requests,
        history_events,
        history_bytes,
        ..
    } = Limits::default();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    for (what, limit) in [
        ("namespaces", thousands(namespaces)),
        ("keys and values of a namespace", mib(namespace_bytes)),
        ("a key", format!("{} bytes", thousands(key_bytes))),
        ("a value", mib(value_bytes)),
        ("comparisons, and operations of each branch", thousands(txn_operations)),
        ("keys and values of a transaction", mib(txn_bytes)),
        ("keys and values of an answer", mib(answer_bytes)),
        ("leases of a namespace", thousands(leases)),
        ("keys under one lease", thousands(lease_keys)),
        ("transactions remembered by their `request`", thousands(requests)),
        ("changes kept for watches", thousands(history_events)),
        ("keys and values of the changes kept", mib(history_bytes)),
        ("entries of a page", thousands(u64::from(wire::state::RANGE_LIMIT))),
        ("watches at a time", thousands(master_core::limits::WATCHES as u64)),
    ] {
        let row = format!("| {what} | {limit} |");
        assert!(page.contains(&row), "the page lacks the row: {row}");
    }
}

fn thousands(number: u64) -> String {
    let text = number.to_string();
    let parts: Vec<&str> =
        text.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).expect("digits")).collect();
    parts.join(",")
}
