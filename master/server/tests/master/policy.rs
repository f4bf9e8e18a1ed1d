//! Weights, quotas and why there are no more offers: what operators set and read.

use serde_json::json;

use crate::client::{TestMaster, framework, get, post, raw, subscribe};

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_read_and_taken_away() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    assert_eq!(get(at, "/quota").await.text(), "{}");
    let config = json!({
        "role": "rq",
        "guarantees": {"cpus": {"value": 1}},
        "limits": {"cpus": {"value": 4}, "mem": {"value": 1024}},
    });
    let update = |force: bool, config: &serde_json::Value| json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": [config]}});
    let refused = post(at, "/api/v1", &update(false, &config)).await;
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (
            400,
            "Invalid QuotaConfig: total quota guarantees 'cpus:1' exceed cluster capacity '' (use 'force' flag to bypass this check)"
        )
    );
    let set = post(at, "/api/v1", &update(true, &config)).await;
    assert_eq!((set.status, set.text().as_str()), (200, ""));
    let status = r#"{"infos":[{"role":"rq","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}}]}],"configs":[{"role":"rq","guarantees":{"cpus":{"value":1.0}},"limits":{"cpus":{"value":4.0},"mem":{"value":1024.0}}}]}"#;
    assert_eq!(get(at, "/quota").await.text(), status);
    let read = post(at, "/api/v1", &json!({"type": "GET_QUOTA"})).await;
    assert_eq!(read.text(), format!(r#"{{"type":"GET_QUOTA","get_quota":{{"status":{status}}}}}"#));
    let roles = get(at, "/roles").await.json();
    assert_eq!(
        roles["roles"][0]["quota"],
        json!({"role": "rq", "guarantee": {"cpus": 1.0}, "limit": {"cpus": 4.0, "mem": 1024.0}, "consumed": {}})
    );
    let nested = post(at, "/api/v1", &update(true, &json!({"role": "rq/x"}))).await;
    assert_eq!(nested.status, 400);
    post(at, "/api/v1", &update(false, &json!({"role": "rq"}))).await;
    let read = post(at, "/api/v1", &json!({"type": "GET_QUOTA"})).await;
    assert_eq!(read.text(), r#"{"type":"GET_QUOTA","get_quota":{"status":{}}}"#);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_put_and_read() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let put = async |body: &str| {
        let request =
            format!("PUT /weights HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        raw(at, request.as_bytes()).await
    };
    assert_eq!(get(at, "/weights").await.text(), "[]");
    assert_eq!(put(r#"[{"role":"r","weight":2.5}]"#).await.status, 200);
    assert_eq!(get(at, "/weights").await.json(), json!([{"role": "r", "weight": 2.5}]));
    let bad = put(r#"[{"role":"r","weight":-1}]"#).await;
    assert_eq!(
        (bad.status, bad.text().as_str()),
        (
            400,
            "Failed to validate update weights request JSON for role 'r': Invalid weight '-1': Weights must be positive"
        )
    );
    assert_eq!(put("{").await.status, 400);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_reads_why_it_is_not_offered_more() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    assert_eq!(get(at, "/allocation").await.json()["frameworks"], json!([]));
    let (_stream, id, _) = subscribe(at, &framework("f")).await;
    let all = get(at, "/allocation").await.json();
    assert_eq!(all["frameworks"][0]["framework_id"], json!(id));
    let one = get(at, &format!("/allocation?framework_id={id}&role=*")).await.json();
    let role = &one["frameworks"][0]["roles"][0];
    assert_eq!((&role["role"], &role["why"]), (&json!("*"), &json!("there is no agent")));
    assert_eq!(role["offers"], json!({"made": 0, "used": 0, "refused": 0, "lapsed": 0, "withdrawn": 0}));
    assert_eq!(role["standing"], json!("newcomer"));
    for (query, status) in [
        ("framework_id=nobody".to_owned(), 404),
        (format!("framework_id={id}&role=other"), 404),
        (format!("framework_id={id}&agent_id=none"), 404),
        (format!("framework_id={id}&role=-x"), 400),
        ("role=*".to_owned(), 400),
    ] {
        assert_eq!(get(at, &format!("/allocation?{query}")).await.status, status, "{query}");
    }
    master.stop().await;
}
