//! From the feed to what is to be routed.

use std::collections::BTreeSet;

use expect_test::expect;
use model::time::{Span, Time};

use super::*;
use crate::limits::UNKNOWN_HEALTH;
use crate::view::{Need, View};

const NOW: Time = Time::from_secs(1_000);

fn list(view: &mut View, now: Time, apps: &[Value]) {
    let apps: Vec<AppInfo> = apps.iter().cloned().map(info).collect();
    view.replace(now, &apps, &BTreeSet::new());
}

fn view(apps: &[Value]) -> View {
    let mut view = View::new(settings(), Desired::new());
    list(&mut view, NOW, apps);
    view
}

#[test]
fn only_healthy_running_instances_are_routed() {
    let mut shop = app(
        "/shop",
        10_001,
        &[("a", 1, &[true]), ("b", 2, &[true, false]), ("c", 3, &[]), ("d", 4, &[true]), ("e", 5, &[true])],
    );
    shop["tasks"][3]["state"] = json!("TASK_KILLING");
    shop["tasks"][4]["state"] = json!("TASK_UNREACHABLE");
    let mut free = app("/free", 10_002, &[("f", 6, &[])]);
    free["healthChecks"] = json!([]);
    let mut nameless = app("/none", 0, &[("g", 7, &[true])]);
    nameless["portDefinitions"] = json!([]);
    expect![[r#"
        free_10002 [f=10.0.0.1:6]
        shop_10001 [a=10.0.0.1:1, e=10.0.0.1:5]
    "#]]
    .assert_eq(&show(view(&[shop, free, nameless]).desired()));
}

#[test]
fn events_change_one_task_at_once() {
    let mut view = view(&[app("/shop", 10_001, &[("a", 1, &[true])])]);
    let mut transcript = String::new();
    for event in [
        status("/shop", "b", 2, "TASK_STAGING"),
        status("/shop", "b", 2, "TASK_RUNNING"),
        health("/shop", "b", true),
        draining("/shop", "a"),
        health("/shop", "b", false),
        status("/shop", "a", 1, "TASK_KILLED"),
        health("/shop", "unheard-of", true),
        status("/new", "n", 3, "TASK_RUNNING"),
        event("app_terminated_event", json!({ "appId": "/shop" })),
        event("deployment_success", json!({ "id": "d", "plan": {"id": "d", "steps": [], "version": ""} })),
        event("event_stream_attached", json!({ "remoteAddress": "" })),
    ] {
        let need = view.event(NOW, &event);
        let kind = format!("{event:?}");
        let kind = kind.split([' ', '{']).next().unwrap_or_default();
        transcript += &format!("{kind}: {need:?}\n  {}", show(view.desired()));
    }
    expect![[r#"
        StatusUpdateEvent: Nothing
          shop_10001 [a=10.0.0.1:1]
        StatusUpdateEvent: Nothing
          shop_10001 [a=10.0.0.1:1]
        HealthStatusChangedEvent: Nothing
          shop_10001 [a=10.0.0.1:1, b=10.0.0.1:2]
        InstanceDrainingEvent: Nothing
          shop_10001 [a=10.0.0.1:1 draining, b=10.0.0.1:2]
        HealthStatusChangedEvent: Nothing
          shop_10001 [a=10.0.0.1:1 draining]
        StatusUpdateEvent: Nothing
          shop_10001 []
        HealthStatusChangedEvent: App("/shop")
          shop_10001 []
        StatusUpdateEvent: App("/new")
          shop_10001 []
        AppTerminatedEvent: App("/shop")
          shop_10001 []
        DeploymentSuccess: Everything
          shop_10001 []
        EventStreamAttached: Nothing
          shop_10001 []
    "#]]
    .assert_eq(&transcript);
}

#[test]
fn a_verdict_outlives_the_supervisors_memory_for_a_while() {
    let shop = |results: &[bool]| app("/shop", 10_001, &[("a", 1, results), ("b", 2, &[true])]);
    let mut view = view(&[shop(&[true])]);
    list(&mut view, NOW, &[shop(&[])]);
    assert_eq!(view.next_deadline(), Some(NOW + UNKNOWN_HEALTH));
    assert_eq!(show(view.desired()), "shop_10001 [a=10.0.0.1:1, b=10.0.0.1:2]\n");
    // Hearing nothing again does not start the time anew.
    list(&mut view, NOW + Span::from_mins(4), &[shop(&[])]);
    view.expire(NOW + UNKNOWN_HEALTH);
    assert_eq!(show(view.desired()), "shop_10001 [b=10.0.0.1:2]\n");
    assert_eq!(view.next_deadline(), None);
}

#[test]
fn a_backend_is_not_emptied_by_ignorance() {
    let shop = |results: &[bool]| app("/shop", 10_001, &[("a", 1, results), ("b", 2, results)]);
    let mut view = view(&[shop(&[true])]);
    list(&mut view, NOW, &[shop(&[])]);
    view.expire(NOW + UNKNOWN_HEALTH);
    assert_eq!(show(view.desired()), "shop_10001 [a=10.0.0.1:1, b=10.0.0.1:2]\n");
    // A check that says no is no ignorance.
    view.event(NOW, &health("/shop", "a", false));
    assert_eq!(show(view.desired()), "shop_10001 [b=10.0.0.1:2]\n");
}

#[test]
fn the_verdicts_of_before_a_restart_count() {
    let before = view(&[app("/shop", 10_001, &[("a", 1, &[true]), ("b", 2, &[true])])]).desired().clone();
    let mut after = View::new(settings(), before.clone());
    assert_eq!(after.desired(), &before);
    list(&mut after, NOW, &[app("/shop", 10_001, &[("a", 1, &[]), ("b", 2, &[false]), ("c", 3, &[])])]);
    assert_eq!(show(after.desired()), "shop_10001 [a=10.0.0.1:1]\n");
}

#[test]
fn the_first_to_come_keeps_a_port() {
    let tasks: &[(&str, u16, &[bool])] = &[("t", 1, &[true])];
    let mut view = view(&[app("/b", 10_001, tasks)]);
    list(&mut view, NOW, &[app("/a", 10_001, tasks), app("/b", 10_001, tasks)]);
    assert_eq!(show(view.desired()), "b_10001 [t=10.0.0.1:1]\n");
    assert_eq!(view.problems()["/a"][0].to_string(), "ports[0]: service port 10001 is routed to /b");
    view.update(NOW, "/b", None);
    assert_eq!(show(view.desired()), "a_10001 [t=10.0.0.1:1]\n");
    assert!(view.problems().is_empty());
}

#[test]
fn host_names_are_resolved_before_they_are_routed() {
    let mut shop = app("/shop", 10_001, &[("a", 1, &[true])]);
    shop["tasks"][0]["host"] = json!("node-1");
    let mut view = view(&[shop]);
    assert_eq!(show(view.desired()), "shop_10001 []\n");
    assert_eq!(view.take_unresolved(), ["node-1"]);
    assert!(view.take_unresolved().is_empty());
    view.resolved(NOW, "node-1", None);
    assert_eq!(show(view.desired()), "shop_10001 []\n");
    view.resolved(NOW, "node-1", Some(IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7))));
    assert_eq!(show(view.desired()), "shop_10001 [a=10.9.8.7:1]\n");
    // Once known, an address is kept through failures.
    view.resolved(NOW, "node-1", None);
    assert_eq!(show(view.desired()), "shop_10001 [a=10.9.8.7:1]\n");
}

#[test]
fn containers_are_reached_where_they_listen() {
    let mut bridged = app("/bridge", 0, &[("a", 31_000, &[true])]);
    bridged["portDefinitions"] = json!([]);
    bridged["networks"] = json!([{"mode": "container/bridge"}]);
    bridged["container"] =
        json!({"portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10_001}]});
    let mut own = app("/own", 0, &[("b", 31_001, &[true])]);
    own["portDefinitions"] = json!([]);
    own["networks"] = json!([{"mode": "container"}]);
    own["container"] = json!({"docker": {"portMappings": [{"containerPort": 80}, {"containerPort": 81, "servicePort": 10_002}]}});
    own["tasks"][0]["ipAddresses"] = json!([{"ipAddress": "172.16.0.9", "protocol": "IPv4"}]);
    expect![[r#"
        bridge_10001 [a=10.0.0.1:31000]
        own_10002 [b=172.16.0.9:81]
    "#]]
    .assert_eq(&show(view(&[bridged, own]).desired()));
}

#[test]
fn instances_not_yet_ready_wait_during_a_deployment() {
    let mut shop = app("/shop", 10_001, &[("old", 1, &[true]), ("new", 2, &[true]), ("sure", 3, &[true])]);
    shop["readinessChecks"] = json!([{"name": "ready"}]);
    shop["tasks"][0]["version"] = json!("v0");
    shop["readinessCheckResults"] =
        json!([{"taskId": "sure", "ready": true}, {"taskId": "new", "ready": false}]);
    let idle = view(&[shop.clone()]);
    assert_eq!(idle.unready().count(), 0, "no deployment, no question");
    shop["deployments"] = json!([{"id": "d"}]);
    let mut view = view(&[shop]);
    assert_eq!(show(view.desired()), "shop_10001 [old=10.0.0.1:1, sure=10.0.0.1:3]\n");
    assert_eq!(view.unready().collect::<Vec<_>>(), ["/shop"]);
    // One that starts now is not ready either, however healthy.
    view.event(NOW, &status("/shop", "late", 4, "TASK_RUNNING"));
    view.event(NOW, &health("/shop", "late", true));
    assert_eq!(show(view.desired()), "shop_10001 [old=10.0.0.1:1, sure=10.0.0.1:3]\n");
}

#[test]
fn an_app_that_cannot_be_read_stays_as_it_was() {
    let mut view = view(&[app("/a", 10_001, &[("a", 1, &[true])]), app("/b", 10_002, &[("b", 2, &[true])])]);
    view.replace(NOW, &[], &BTreeSet::from(["/a".to_owned()]));
    assert_eq!(show(view.desired()), "a_10001 [a=10.0.0.1:1]\n");
}

#[test]
fn groups_and_switches_select() {
    let tasks: &[(&str, u16, &[bool])] = &[("t", 1, &[true])];
    let mut inside = app("/in", 10_001, tasks);
    inside["labels"] = json!({"HAPROXY_GROUP": "edge"});
    let mut off = app("/off", 10_002, tasks);
    off["labels"] = json!({"HAPROXY_GROUP": "edge", "HAPROXY_0_ENABLED": "false"});
    let mut moved = app("/moved", 10_003, tasks);
    moved["labels"] =
        json!({"HAPROXY_0_GROUP": "edge", "HAPROXY_0_PORT": "8443", "HAPROXY_0_BIND_ADDR": "*"});
    let outside = app("/out", 10_004, tasks);
    let mut view = View::new(Settings { groups: vec!["edge".into()], ..settings() }, Desired::new());
    list(&mut view, NOW, &[inside, off, moved, outside]);
    assert_eq!(show(view.desired()), "in_10001 [t=10.0.0.1:1]\nmoved_8443 [t=10.0.0.1:1]\n");
    assert_eq!(view.desired()["/moved"][0].service.bind.to_string(), "0.0.0.0");
}

#[test]
fn draining_tasks_are_known_with_and_without_a_server() {
    let mut view = view(&[app("/shop", 10_001, &[("a", 1, &[true]), ("b", 2, &[false])])]);
    assert_eq!(view.event(NOW, &draining("/shop", "a")), Need::Nothing);
    assert_eq!(view.event(NOW, &draining("/shop", "b")), Need::Nothing);
    assert_eq!(view.draining().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(view.draining_unrouted(), ["b"]);
    view.event(NOW, &status("/shop", "a", 1, "TASK_KILLED"));
    assert_eq!(view.draining().collect::<Vec<_>>(), ["b"]);
}
