//! Keys that clients index without asking, and keys that make strict clients fail.

use serde_json::{Value, json};

use super::world::Server;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The keys of an app that every client may count on, with what an unset one is.
const ALWAYS: [(&str, &str); 36] = [
    ("id", ""),
    ("cmd", ""),
    ("args", "null"),
    ("user", "null"),
    ("env", "{}"),
    ("instances", "1"),
    ("cpus", "1"),
    ("mem", "128"),
    ("disk", "0"),
    ("gpus", "0"),
    ("executor", "\"\""),
    ("constraints", "[]"),
    ("uris", "[]"),
    ("fetch", "[]"),
    ("storeUrls", "[]"),
    ("backoffSeconds", "1"),
    ("backoffFactor", "1.15"),
    ("maxLaunchDelaySeconds", "300"),
    ("container", "null"),
    ("healthChecks", "[]"),
    ("readinessChecks", "[]"),
    ("dependencies", "[]"),
    ("upgradeStrategy", r#"{"minimumHealthCapacity":1,"maximumOverCapacity":1}"#),
    ("labels", "{}"),
    ("version", ""),
    ("versionInfo", ""),
    ("networks", r#"[{"mode":"host"}]"#),
    ("ports", "[10000]"),
    ("portDefinitions", r#"[{"port":10000,"protocol":"tcp","name":"default","labels":{}}]"#),
    ("requirePorts", "false"),
    ("secrets", "{}"),
    ("taskKillGracePeriodSeconds", "null"),
    ("unreachableStrategy", r#"{"inactiveAfterSeconds":0,"expungeAfterSeconds":0}"#),
    ("killSelection", "\"YOUNGEST_FIRST\""),
    ("role", "\"*\""),
    ("residency", "null"),
];

#[tokio::test]
async fn an_app_has_every_key_and_no_other() {
    let server = Server::start().await;
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let app = server.get("/v2/apps").await["apps"][0].clone();
    for (key, unset) in ALWAYS {
        let value = app.get(key).unwrap_or_else(|| panic!("{key} is missing"));
        if !unset.is_empty() {
            assert_eq!(value.to_string(), unset, "{key}");
        }
    }
    let mut expected: Vec<&str> = ALWAYS.iter().map(|(key, _)| *key).collect();
    expected.extend([
        "ipAddress",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
    ]);
    expected.sort_unstable();
    assert_eq!(keys(&app), expected);
    let all =
        server.get("/v2/apps?embed=apps.failures&embed=apps.taskStats&embed=apps.readiness").await["apps"][0]
            .clone();
    expected.extend(["tasks", "taskStats", "readinessCheckResults"]);
    expected.sort_unstable();
    assert_eq!(keys(&all), expected, "and no failure where none was");
    assert_eq!(keys(&all["taskStats"]), ["startedAfterLastScaling", "totalSummary", "withLatestConfig"]);
    // What was read may be written back, whole.
    let same = server.deploy("PUT", "/v2/apps/a?partialUpdate=false", Some(app.clone()), 200).await;
    assert_eq!(server.get("/v2/apps/a").await["app"]["version"], app["version"], "{same}");
}

#[tokio::test]
async fn a_health_check_has_the_keys_load_balancers_index() {
    let server = Server::start().await;
    let checks = json!([{"path": "up"}]);
    server.call("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x", "healthChecks": checks})), 201).await;
    let check = server.get("/v2/apps/a").await["app"]["healthChecks"][0].clone();
    let expected = json!({
        "protocol": "HTTP", "path": "/up", "portIndex": 0, "gracePeriodSeconds": 300, "intervalSeconds": 60,
        "timeoutSeconds": 20, "maxConsecutiveFailures": 3, "delaySeconds": 15, "ignoreHttp1xx": false, "ipProtocol": "IPv4"
    });
    assert_eq!(check, expected);
}

#[tokio::test]
async fn tasks_and_queue_and_info_keep_to_the_closed_lists() {
    let server = Server::start().await;
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let task = server.get("/v2/tasks").await["tasks"][0].clone();
    let expected = [
        "appId",
        "healthCheckResults",
        "host",
        "id",
        "ipAddresses",
        "localVolumes",
        "ports",
        "role",
        "servicePorts",
        "slaveId",
        "stagedAt",
        "startedAt",
        "state",
        "version",
    ];
    assert_eq!(keys(&task), expected);
    server.call("POST", "/v2/apps", Some(json!({"id": "/big", "cmd": "x", "cpus": 9})), 201).await;
    let item = server.get("/v2/queue").await["queue"][0].clone();
    assert_eq!(keys(&item), ["app", "count", "delay", "processedOffersSummary", "since"]);
    let info = server.get("/v2/info").await;
    assert_eq!(info["frameworkId"], "F-0000");
    assert_eq!(
        keys(&info),
        [
            "buildref",
            "elected",
            "frameworkId",
            "http_config",
            "leader",
            "marathon_config",
            "name",
            "version",
            "zookeeper_config"
        ]
    );
    assert_eq!(server.get("/v2/leader").await, json!({"leader": server.address}));
    assert_eq!(
        server.call("DELETE", "/v2/leader", None, 200).await,
        json!({"message": "Leadership abdicated"})
    );
    assert_eq!(server.get("/v2/plugins").await, json!({"plugins": []}));
}

#[tokio::test]
async fn ping_has_three_bodies() {
    let server = Server::start().await;
    for (accept, status, body) in [
        ("*/*", 200, "pong"),
        ("text/plain", 200, "pong"),
        ("text/html", 200, "pong"),
        ("application/json", 200, "\"pong\""),
        ("image/png", 204, ""),
    ] {
        let response = server.send("GET", "/ping", None, &[("accept", accept)]).await;
        assert_eq!(response.status(), status, "{accept}");
        assert_eq!(response.text().await.unwrap(), body, "{accept}");
    }
    assert_eq!(server.send("HEAD", "/v2/pods", None, &[]).await.status(), 404);
}
