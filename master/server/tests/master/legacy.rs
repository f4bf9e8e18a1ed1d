//! The reads that were before the v1 API, with something to read in them (spec mesos-v1, 7.1 and 7.5), and the metrics.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use wire::v1;

use crate::agent::{TestAgent, hello, scalar};
use crate::client::{Conversation, JSON, TestMaster, get, post, raw, request, subscribe, until};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn has(value: &Value, names: &str) {
    let missing: Vec<&str> = names.split_whitespace().filter(|name| !keys(value).contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}

/// Numbers with a fraction, also where it is zero.
fn doubles(value: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(value[name].is_f64(), "{name} is {}", value[name]);
    }
}

fn integers(value: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(value[name].is_u64(), "{name} is {}", value[name]);
    }
}

const COUNTED: &str = "TASK_STAGING TASK_STARTING TASK_RUNNING TASK_KILLING TASK_FINISHED TASK_KILLED \
    TASK_FAILED TASK_LOST TASK_ERROR TASK_UNREACHABLE";

const FRAMEWORK_HEAD: &str = "id name used_resources offered_resources capabilities hostname webui_url active \
    connected recovered";

struct Scene {
    stream: Conversation,
    agent: TestAgent,
    framework: String,
    /// Of its stream.
    token: String,
}

/// A framework in the role `web` with a task and its executor, a reservation, a quota and a weight.
async fn scene(at: SocketAddr) -> Scene {
    let ports = v1::Resource {
        name: "ports".to_owned(),
        r#type: v1::value::Type::Ranges.into(),
        ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin: 31_000, end: 31_009 }] }),
        ..v1::Resource::default()
    };
    let mut machine =
        hello("box", vec![scalar("cpus", 4.0), scalar("mem", 1024.0), scalar("disk", 100.0), ports]);
    machine.info.attributes = vec![v1::Attribute {
        name: "rack".to_owned(),
        r#type: v1::value::Type::Text.into(),
        text: Some(v1::value::Text { value: "r7".to_owned() }),
        ..v1::Attribute::default()
    }];
    let agent = TestAgent::start(at, machine).await;
    let reserve = json!({"type": "RESERVE_RESOURCES", "reserve_resources": {
        "agent_id": {"value": agent.id},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0},
                "reservations": [{"type": "DYNAMIC", "role": "web"}]},
            // From the middle: readers are shown one interval all the same.
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31_004, "end": 31_005}]},
                "reservations": [{"type": "DYNAMIC", "role": "web"}]},
        ],
    }});
    assert_eq!(post(at, "/api/v1", &reserve).await.status, 202);
    let quota = json!({"type": "UPDATE_QUOTA", "update_quota": {"force": true, "quota_configs": [
        {"role": "web", "guarantees": {"cpus": {"value": 1.0}}, "limits": {"cpus": {"value": 4.0}}},
    ]}});
    assert_eq!(post(at, "/api/v1", &quota).await.status, 200);
    let weight = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [{"role": "web", "weight": 2.0}]}});
    assert_eq!(post(at, "/api/v1", &weight).await.status, 200);
    let framework = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": "root", "name": "shop", "roles": ["web"], "failover_timeout": 60,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}],
        "labels": {"labels": [{"key": "k", "value": "v"}]},
    }}});
    let (mut stream, id, token) = subscribe(at, &framework).await;
    let offer = loop {
        let record = stream.record().await.expect("an offer comes");
        if record["type"] == "OFFERS" {
            break record["offers"]["offers"][0]["id"].clone();
        }
    };
    let cpus = |value: f64| json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": value}}]);
    let accept = json!({"type": "ACCEPT", "framework_id": {"value": id}, "accept": {
        "offer_ids": [offer],
        "filters": {"refuse_seconds": 1000},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [{
            "name": "one", "task_id": {"value": "t"}, "agent_id": {"value": agent.id},
            "resources": cpus(0.5), "limits": {"cpus": {"value": 1.0}},
            "labels": {"labels": [{"key": "k", "value": "v"}]},
            "executor": {"type": "CUSTOM", "executor_id": {"value": "e"}, "name": "mine",
                "command": {"value": "run"}, "resources": cpus(0.25)},
        }]}}],
    }});
    let headers = format!("{JSON}Mesos-Stream-Id: {token}\r\n");
    let answer = raw(at, &request("/api/v1/scheduler", &headers, accept.to_string().as_bytes())).await;
    assert_eq!(answer.status, 202);
    loop {
        let record = stream.record().await.expect("the task runs");
        if record["type"] == "UPDATE" {
            assert_eq!(record["update"]["status"]["state"], "TASK_RUNNING", "{record}");
            break;
        }
    }
    Scene { stream, agent, framework: id, token }
}

fn resources(value: &Value) {
    has(value, "cpus mem disk gpus");
    doubles(value, "cpus mem disk gpus");
}

fn agent_object(agent: &Value) {
    has(
        agent,
        "id hostname port attributes pid registered_time resources used_resources offered_resources \
         reserved_resources unreserved_resources active deactivated version capabilities",
    );
    integers(agent, "port");
    doubles(agent, "registered_time");
    for name in ["resources", "used_resources", "offered_resources", "unreserved_resources"] {
        resources(&agent[name]);
    }
    resources(&agent["reserved_resources"]["web"]);
    assert_eq!(agent["reserved_resources"]["web"]["cpus"], json!(1.0));
    assert_eq!(agent["resources"]["ports"], "[31000-31009]");
    assert_eq!(agent["attributes"], json!({"rack": "r7"}));
}

fn task_object(task: &Value) {
    has(task, "id name framework_id executor_id slave_id state resources limits role statuses labels");
    resources(&task["resources"]);
    assert_eq!(task["limits"], json!({"cpus": 1.0}));
    assert_eq!((&task["executor_id"], &task["role"]), (&json!("e"), &json!("web")));
    assert_eq!(task["labels"], json!([{"key": "k", "value": "v"}]));
    let status = &task["statuses"][0];
    assert_eq!(keys(status), BTreeSet::from(["state", "timestamp"]), "no message, source or uuid");
    doubles(status, "timestamp");
}

fn framework_object(framework: &Value) {
    has(framework, FRAMEWORK_HEAD);
    has(
        framework,
        "user failover_timeout checkpoint registered_time unregistered_time resources roles tasks \
         unreachable_tasks completed_tasks offers executors labels offer_constraints",
    );
    assert!(!keys(framework).contains("role"), "it has several");
    doubles(framework, "failover_timeout registered_time unregistered_time");
    assert_eq!(framework["offer_constraints"], json!({}));
    task_object(&framework["tasks"][0]);
    let executor = &framework["executors"][0];
    has(executor, "executor_id name framework_id command resources type slave_id");
    assert_eq!((&executor["type"], &executor["name"]), (&json!("CUSTOM"), &json!("mine")));
    has(&executor["command"], "shell value argv uris");
    resources(&executor["resources"]);
    assert_eq!(executor["resources"]["cpus"], json!(0.25));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_reads_have_the_members_and_numbers_dashboards_expect() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let scene = scene(at).await;
    let read = async |path: &str| get(at, path).await.json();

    let state = read("/state").await;
    has(
        &state,
        "version build_date build_time build_user start_time elected_time id pid hostname capabilities \
         activated_slaves deactivated_slaves unreachable_slaves leader leader_info flags slaves recovered_slaves \
         frameworks completed_frameworks orphan_tasks unregistered_frameworks",
    );
    doubles(
        &state,
        "build_time start_time elected_time activated_slaves deactivated_slaves unreachable_slaves",
    );
    assert!(state["flags"].as_object().expect("an object").values().all(Value::is_string));
    integers(&state["leader_info"], "port");
    agent_object(&state["slaves"][0]);
    framework_object(&state["frameworks"][0]);

    let slaves = read("/slaves").await;
    assert_eq!(keys(&slaves), BTreeSet::from(["recovered_slaves", "slaves"]));
    let agent = &slaves["slaves"][0];
    agent_object(agent);
    let used = agent["used_resources_full"].as_array().expect("a list");
    assert!(used.iter().all(|one| one["allocation_info"]["role"] == "web"), "{used:?}");
    assert!(
        agent["unreserved_resources_full"].as_array().expect("a list").iter().all(|one| one["role"] == "*")
    );
    assert_eq!(agent["reserved_resources_full"]["web"][0]["scalar"], json!({"value": 1.0}));
    assert!(agent["offered_resources_full"].is_array());

    let frameworks = read("/frameworks").await;
    assert_eq!(
        keys(&frameworks),
        BTreeSet::from(["completed_frameworks", "frameworks", "unregistered_frameworks"])
    );
    framework_object(&frameworks["frameworks"][0]);

    let tasks = read("/tasks").await;
    assert_eq!(keys(&tasks), BTreeSet::from(["tasks"]));
    task_object(&tasks["tasks"][0]);

    let roles = read("/roles").await;
    let web = roles["roles"].as_array().expect("a list").iter().find(|role| role["name"] == "web");
    let web = web.expect("the role is there");
    assert_eq!((&web["weight"], &web["frameworks"]), (&json!(2.0), &json!([scene.framework])));
    assert_eq!(
        web["quota"],
        json!({"role": "web", "guarantee": {"cpus": 1.0}, "limit": {"cpus": 4.0}, "consumed": {"cpus": 1.75}})
    );
    assert_eq!(web["allocated"], json!({"cpus": 0.75}));
    assert_eq!(web["reserved"], json!({"cpus": 1.0, "ports": 2.0}));

    let summary = read("/state-summary").await;
    has(&summary, "hostname slaves frameworks");
    let agent = &summary["slaves"][0];
    agent_object(agent);
    has(agent, COUNTED);
    integers(agent, COUNTED);
    assert_eq!((&agent["TASK_RUNNING"], &agent["framework_ids"]), (&json!(1), &json!([scene.framework])));
    let framework = &summary["frameworks"][0];
    has(framework, FRAMEWORK_HEAD);
    has(framework, COUNTED);
    integers(framework, COUNTED);
    assert_eq!((&framework["TASK_RUNNING"], &framework["slave_ids"][0]), (&json!(1), &agent["id"]));

    let version = read("/version").await;
    has(&version, "version build_date build_time build_user");
    doubles(&version, "build_time");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_is_counted_and_who_is_gone_is_not_missed() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let mut scene = scene(at).await;
    let kill = json!({"type": "KILL", "framework_id": {"value": scene.framework},
        "kill": {"task_id": {"value": "t"}, "agent_id": {"value": scene.agent.id}}});
    let headers = format!("{JSON}Mesos-Stream-Id: {}\r\n", scene.token);
    let answer = raw(at, &request("/api/v1/scheduler", &headers, kill.to_string().as_bytes())).await;
    assert_eq!(answer.status, 202);
    loop {
        let record = scene.stream.record().await.expect("the task ends");
        if record["update"]["status"]["state"] == "TASK_KILLED" {
            break;
        }
    }
    let summary = get(at, "/state-summary").await.json();
    for (who, with) in [("slaves", "framework_ids"), ("frameworks", "slave_ids")] {
        let one = &summary[who][0];
        assert_eq!((&one["TASK_RUNNING"], &one["TASK_KILLED"]), (&json!(0), &json!(1)), "{who}");
        assert_eq!(one[with].as_array().map(Vec::len), Some(1), "{who}: {}", one[with]);
    }

    let gone = json!({"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": scene.agent.id}}});
    assert_eq!(post(at, "/api/v1", &gone).await.status, 200);
    let state = get(at, "/state").await.json();
    assert_eq!((&state["slaves"], &state["unreachable_slaves"]), (&json!([]), &json!(0.0)));
    assert_eq!(get(at, "/metrics/snapshot").await.json()["master/slaves_unreachable"], json!(0.0));
    let form = format!("frameworkId={}", scene.framework.replace('-', "%2D"));
    let torn = raw(at, &request("/teardown", "", form.as_bytes())).await;
    assert_eq!(torn.status, 200);
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_frameworks_roles_and_the_allocator() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let master = TestMaster::alone(temp.path()).await;
    let at = master.address;
    let scene = scene(at).await;
    let metrics = get(at, "/metrics/snapshot").await.json();
    assert!(metrics.as_object().expect("an object").values().all(Value::is_f64), "all are doubles");
    let framework = |name: &str| format!("master/frameworks/shop/{}/{name}", scene.framework);
    for (name, value) in [
        (framework("subscribed"), 1.0),
        (framework("calls"), 2.0),
        (framework("calls/subscribe"), 1.0),
        (framework("calls/accept"), 1.0),
        (framework("calls/kill"), 0.0),
        (framework("events/subscribed"), 1.0),
        (framework("events/update"), 1.0),
        (framework("offers/sent"), 1.0),
        (framework("offers/accepted"), 1.0),
        (framework("operations"), 1.0),
        (framework("operations/launch"), 1.0),
        (framework("roles/web/suppressed"), 0.0),
        (framework("tasks/active/task_running"), 1.0),
        (framework("tasks/terminal/task_finished"), 0.0),
        ("allocator/mesos/resources/cpus/total".to_owned(), 4.0),
        ("allocator/mesos/resources/cpus/offered_or_allocated".to_owned(), 0.75),
        ("allocator/mesos/roles/web/shares/dominant".to_owned(), 0.1875),
        ("allocator/mesos/offer_filters/roles/web/active".to_owned(), 1.0),
        ("allocator/mesos/quota/roles/web/resources/cpus/consumed".to_owned(), 1.75),
        ("master/operations/reserve/total".to_owned(), 1.0),
        ("master/operations/reserve/finished".to_owned(), 1.0),
        ("master/operator_event_stream_subscribers".to_owned(), 0.0),
        ("master/messages_register_slave".to_owned(), 1.0),
        ("master/slave_registrations".to_owned(), 1.0),
        ("master/slave_removals/reason_unhealthy".to_owned(), 0.0),
        ("master/recovery_slave_removals".to_owned(), 0.0),
        ("registrar/log/ensemble_size".to_owned(), 1.0),
        ("registrar/log/recovered".to_owned(), 1.0),
    ] {
        assert_eq!(metrics[&name], json!(value), "{name}");
    }
    for name in ["allocator/mesos/allocation_run_ms", "registrar/state_store_ms"] {
        for part in ["", "/count", "/max", "/min", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999"] {
            assert!(
                metrics[format!("{name}{part}")].as_f64().is_some_and(|value| value > 0.0),
                "{name}{part}"
            );
        }
    }
    // One name, one list: the operator call tells the same.
    let listed = post(at, "/api/v1", &json!({"type": "GET_METRICS", "get_metrics": {}})).await.json();
    let listed = listed["get_metrics"]["metrics"].as_array().expect("a list");
    let names: BTreeSet<&str> = listed.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, keys(&metrics));
    // An operator who listens is counted while he does.
    let mut listener = Conversation::open(at).await;
    listener.send(&request("/api/v1", JSON, br#"{"type":"SUBSCRIBE"}"#)).await;
    assert_eq!(listener.head().await.status, 200);
    let subscribers = async || {
        get(at, "/metrics/snapshot").await.json()["master/operator_event_stream_subscribers"].clone()
    };
    assert_eq!(subscribers().await, json!(1.0));
    drop(listener);
    until("nobody listens", async || subscribers().await == json!(0.0)).await;
    master.stop().await;
}
