//! One master: what it says about itself, and the spellings of its paths.

use serde_json::json;

use crate::client::{Conversation, JSON, TestMaster, get, post, raw, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_master_alone_leads_and_tells_who_it_is() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;

    let health = get(at, "/health").await;
    assert_eq!((health.header("content-length"), health.header("content-type")), (Some("0"), None));
    assert!(health.header("date").is_some());
    let version = get(at, "/version").await.json();
    assert!(version["version"].as_str().expect("text").split('.').all(|part| part.parse::<u32>().is_ok()));
    let redirect = get(at, "/redirect").await;
    assert_eq!((redirect.status, redirect.header("location")), (307, Some(&*format!("//{at}"))));
    let page = get(at, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("/ui/cluster.js"));
    assert_eq!(
        get(at, "/ui/cluster.js").await.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(get(at, "/ui/nothing").await.status, 404);
    let state = get(at, "/state").await.json();
    assert_eq!(state["leader_info"]["port"], at.port());
    assert_eq!(state["frameworks"], json!([]));
    assert_eq!(state["activated_slaves"], json!(0.0));
    let metrics = get(at, "/metrics").await.text();
    for name in
        ["stoa_master_handle_seconds_count", "stoa_master_log_sync_seconds_count", "stoa_master_raft_term"]
    {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    let snapshot = get(at, "/metrics/snapshot").await.json();
    assert_eq!(snapshot["master/elected"], json!(1.0));
    for zero in ["master/tasks_failed", "master/messages_kill_task", "master/cpus_revocable_total"] {
        assert_eq!(snapshot[zero], json!(0.0), "{zero}");
    }
    assert!(snapshot["system/mem_total_bytes"].as_f64().is_some_and(|bytes| bytes > 0.0), "{snapshot}");
    let system = get(at, "/system/stats.json").await.json();
    for name in ["avg_load_1min", "avg_load_5min", "avg_load_15min", "cpus_total", "mem_free_bytes"] {
        assert!(system[name].is_number(), "{name} in {system}");
    }
    for path in ["/slaves", "/frameworks", "/tasks", "/roles", "/state-summary", "/flags"] {
        assert_eq!(get(at, path).await.status, 200, "{path}");
        get(at, path).await.json();
    }
    assert!(master.stop().await.as_secs() < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_found_in_every_spelling_clients_use() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    for target in ["//health", "/health/", "/master/health", &format!("http://{at}/health")] {
        assert_eq!(get(at, target).await.status, 200, "{target}");
    }
    for target in ["/master%2Fhealth", "/nosuch", "/redirect/x"] {
        let missing = get(at, target).await;
        assert_eq!((missing.status, missing.text().as_str()), (404, "404 Not Found."), "{target}");
        assert_eq!(missing.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    for path in ["/api/v1", "/api/v1/operator", "/master/api/v1/", "/api/v1/nosuch"] {
        let health = post(at, path, &json!({"type": "GET_HEALTH"})).await;
        assert_eq!(health.json(), json!({"type": "GET_HEALTH", "get_health": {"healthy": true}}), "{path}");
    }
    let put = raw(at, b"PUT /state HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST")));
    // A missing Host is accepted, and answers to pipelined requests come in order.
    let mut both = Conversation::open(at).await;
    both.send(b"GET /version HTTP/1.1\r\n\r\nGET /flags HTTP/1.1\r\n\r\n").await;
    assert!(both.answer().await.json()["version"].is_string());
    assert!(both.answer().await.json()["flags"]["data_dir"].is_string());
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_and_follows() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    for (kind, member) in [
        ("GET_STATE", "get_state"),
        ("GET_AGENTS", "get_agents"),
        ("GET_FRAMEWORKS", "get_frameworks"),
        ("GET_TASKS", "get_tasks"),
        ("GET_ROLES", "get_roles"),
        ("GET_MASTER", "get_master"),
        ("GET_VERSION", "get_version"),
        ("GET_FLAGS", "get_flags"),
    ] {
        let answer = post(at, "/api/v1", &json!({"type": kind})).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{kind}");
        let body = answer.json();
        assert_eq!(body["type"], kind);
        assert!(body[member].is_object(), "{body}");
    }
    let metrics = post(at, "/api/v1", &json!({"type": "GET_METRICS", "get_metrics": {}})).await.json();
    assert!(metrics["get_metrics"]["metrics"].as_array().expect("a list").len() > 3);
    let unknown = post(
        at,
        "/api/v1",
        &json!({"type": "GROW_VOLUME", "grow_volume": {
        "volume": {"name": "disk", "type": "SCALAR", "scalar": {"value": 1}},
        "addition": {"name": "disk", "type": "SCALAR", "scalar": {"value": 1}}}}),
    )
    .await;
    assert_eq!(unknown.status, 501, "{}", unknown.text());

    let mut events = Conversation::open(at).await;
    events.send(&request("/api/v1", JSON, br#"{"type":"SUBSCRIBE"}"#)).await;
    assert_eq!(events.head().await.status, 200);
    let first = events.record().await.expect("the snapshot");
    assert_eq!(first["type"], "SUBSCRIBED");
    assert!(first["subscribed"]["get_state"].is_object());
    assert_eq!(events.record().await.expect("a heartbeat")["type"], "HEARTBEAT");
    let (_stream, id, _) = crate::client::subscribe(at, &crate::client::framework("seen")).await;
    let added = events.record().await.expect("the framework");
    assert_eq!(added["type"], "FRAMEWORK_ADDED");
    assert_eq!(added["framework_added"]["framework"]["framework_info"]["id"]["value"], id);
    // Ending the master ends the stream in order.
    master.stop().await;
    while let Some(record) = events.record().await {
        assert_ne!(record["type"], "SUBSCRIBED");
    }
}
