//! The event stream as its readers see it.

use serde_json::json;

use super::world::Server;

#[tokio::test]
async fn events_are_framed_numbered_and_filtered() {
    let server = Server::start().await;
    let mut all = server.events("", &[]).await;
    let first = all.next().await;
    assert_eq!((first.kind.as_str(), first.id), ("event_stream_attached", None));
    assert_eq!(first.data["eventType"], "event_stream_attached");
    let mut some = server.events("?event_type=status_update_event&event_type=api_post_event", &[]).await;
    server.call("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let mut last = 0;
    loop {
        let event = all.next().await;
        let id = event.id.unwrap();
        assert_eq!(event.data["eventType"], event.kind.as_str());
        assert!(event.data["timestamp"].is_string());
        assert!(event.frame.contains("\ndata: {"), "{}", event.frame);
        assert!(id > last);
        last = id;
        if event.kind.starts_with("deployment_") {
            for tree in ["original", "target"] {
                let tree = &event.data["plan"][tree];
                let keys: Vec<&String> = tree.as_object().unwrap().keys().collect();
                assert_eq!(keys, ["id", "apps", "groups", "pods", "dependencies", "version"]);
            }
        }
        if event.kind == "deployment_success" {
            break;
        }
        assert!(!event.kind.starts_with("scheduler_"), "one client stops at these");
    }
    let kinds = [some.next().await, some.next().await, some.next().await].map(|event| event.kind);
    assert_eq!(kinds, ["api_post_event", "status_update_event", "status_update_event"]);
}

#[tokio::test]
async fn a_reader_comes_back_where_it_was() {
    let server = Server::start().await;
    let mut events = server.events("", &[]).await;
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, kind)| kind != "deployment_success") {
        let event = events.next().await;
        seen.extend(event.id.map(|id| (id, event.kind)));
    }
    let from = seen[1].0.to_string();
    let mut again = server.events("", &[("last-event-id", &from)]).await;
    assert_eq!(again.next().await.kind, "event_stream_attached");
    for expected in &seen[2..] {
        let event = again.next().await;
        assert_eq!((event.id.unwrap(), event.kind), *expected);
    }
    let bad = server.send("GET", "/v2/events", None, &[("last-event-id", "x")]).await;
    assert_eq!(bad.status(), 400);
}

#[tokio::test]
async fn light_plans_are_light() {
    let server = Server::start().await;
    let mut events = server.events("?plan-format=light&event_type=deployment_info", &[]).await;
    server.call("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let event = events.next().await;
    assert_eq!(event.data["plan"].get("original"), None);
    assert_eq!(event.data["currentStep"], json!({"actions": [{"action": "StartApplication", "app": "/a"}]}));
}

#[tokio::test]
async fn a_drainer_is_waited_for() {
    let server = Server::start().await;
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x", "instances": 2})), 201).await;
    let mut drainer = server.events("?drainer=edge&event_type=instance_draining_event", &[]).await;
    // Whatever is sent after the greeting finds the drainer known: both go through one queue.
    server.call("PUT", "/v2/apps/a", Some(json!({"instances": 1})), 200).await;
    let event = drainer.until("instance_draining_event").await;
    let task = event.data["taskId"].as_str().unwrap();
    assert!(event.data["ports"][0].is_u64() && event.data["deadline"].is_string());
    let drains = server.get("/v2/drains").await;
    assert_eq!(drains["drainers"], json!(["edge"]));
    assert_eq!(drains["draining"][0]["taskId"], task);
    assert_eq!(drains["draining"][0]["waitingFor"], json!(["edge"]));
    // Only who asks is told: to strict clients a task with this key is no task.
    let unasked = server.get("/v2/tasks").await;
    assert!(unasked["tasks"].as_array().unwrap().iter().all(|task| task.get("draining").is_none()));
    let unasked = server.get("/v2/apps/a").await;
    assert!(unasked["app"]["tasks"].as_array().unwrap().iter().all(|task| task.get("draining").is_none()));
    let app = server.get("/v2/apps/a?embed=app.tasks&embed=app.draining").await;
    let draining = |task: &&serde_json::Value| task["draining"] == true;
    assert_eq!(app["app"]["tasks"].as_array().unwrap().iter().filter(draining).count(), 1);
    let mut ends = server.events("?event_type=deployment_success", &[]).await;
    server.call("POST", "/v2/drains", Some(json!({"drainer": "edge", "taskIds": [task]})), 204).await;
    ends.next().await;
    assert_eq!(server.get("/v2/drains").await["draining"], json!([]));
    let nameless = server.send("GET", "/v2/events?drainer=", None, &[]).await;
    assert_eq!(nameless.status(), 400);
}
