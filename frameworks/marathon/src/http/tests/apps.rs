//! Apps through the API: documents in, documents out, refusals by field.

use serde_json::{Value, json};

use super::world::Server;

#[tokio::test]
async fn the_life_of_an_app() {
    let server = Server::start().await;
    let response =
        server.send("POST", "/v2/apps", Some(r#"{"id":"/shop/cart","cmd":"x","instances":2}"#), &[]).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["location"], "/v2/apps/shop/cart");
    assert_eq!(response.headers()["cache-control"], "no-cache, no-store, must-revalidate");
    assert_eq!(response.headers()["x-marathon-leader"], format!("http://{}", server.address));
    let deployment = response.headers()["marathon-deployment-id"].to_str().unwrap().to_owned();
    let created: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(created["deployments"], json!([{"id": deployment}]));
    for count in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
        assert_eq!(created[count], 0, "{count}");
    }
    server.deploy("PUT", "/v2/apps/shop/cart", Some(json!({"instances": 3})), 200).await;
    let app = server.get("/v2/apps/shop/cart").await["app"].clone();
    assert_eq!((&app["tasksRunning"], &app["instances"]), (&json!(3), &json!(3)));
    assert_eq!(app["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(app["tasks"][0]["servicePorts"], json!([10000]));
    assert_eq!(app["tasks"][0]["host"], "node-7.example");
    assert_eq!(app["tasks"][0]["ipAddresses"], json!([{"ipAddress": "10.0.0.7", "protocol": "IPv4"}]));
    assert_eq!(app["versionInfo"]["lastConfigChangeAt"], created["version"]);
    assert_eq!(app["versionInfo"]["lastScalingAt"], app["version"]);
    let versions = server.get("/v2/apps/shop/cart/versions").await;
    assert_eq!(versions["versions"], json!([app["version"], created["version"]]), "the newest first");
    let first = created["version"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v2/apps/shop/cart/versions/{first}")).await["instances"], 2);
    server.deploy("POST", "/v2/apps/shop/cart/restart", Some(json!({})), 200).await;
    server.deploy("DELETE", "/v2/apps/shop/cart", None, 200).await;
    server.call("GET", "/v2/apps/shop/cart", None, 404).await;
    assert_eq!(server.get("/v2/apps").await, json!({"apps": []}));
}

#[tokio::test]
async fn paths_are_read_as_clients_write_them() {
    let server = Server::start().await;
    server.deploy("POST", "//v2/apps/", Some(json!({"id": "/a/b", "cmd": "x"})), 201).await;
    for path in ["/v2/apps//a/b", "/v2/apps/a/b/", "/v2/apps/a%2Fb", "/v2/apps//a/b?embed=app.tasks&embed=x"]
    {
        assert_eq!(server.get(path).await["app"]["id"], "/a/b", "{path}");
    }
    assert_eq!(
        server.get("/v2/apps/?embed=apps.tasks").await["apps"][0]["tasks"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        server.get("/v2/apps").await["apps"][0].get("tasks"),
        None,
        "tasks are embedded only when asked for"
    );
    assert_eq!(server.get("/v2/apps/a/*").await["*"][0]["id"], "/a/b");
    assert_eq!(server.get("/v2/apps/*").await["*"][0]["id"], "/a/b");
    server.call("GET", "/v2/apps/z/*", None, 404).await;
    // Python's booleans, explicit nulls.
    let nulls = json!({"id": "/a/b", "instances": 2, "ports": null, "dependencies": null});
    server.deploy("PUT", "/v2/apps//a/b?force=False", Some(nulls), 200).await;
    assert_eq!(server.get("/v2/apps/a/b").await["app"]["instances"], 2);
}

#[tokio::test]
async fn lists_are_filtered() {
    let server = Server::start().await;
    for (id, cmd, labels) in [
        ("/web", "Sleep 10", json!({"tier": "front"})),
        ("/db", "run", json!({"tier": "back", "ssd": "yes"})),
    ] {
        server.deploy("POST", "/v2/apps", Some(json!({"id": id, "cmd": cmd, "labels": labels})), 201).await;
    }
    let ids = async |query: &str| {
        let apps = server.get(&format!("/v2/apps?{query}")).await;
        apps["apps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|app| app["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["/db", "/web"]);
    assert_eq!(ids("cmd=SLEEP").await, ["/web"]);
    assert_eq!(ids("id=D").await, ["/db"]);
    assert_eq!(ids("label=tier%3D%3Dfront").await, ["/web"]);
    assert_eq!(ids("label=tier,ssd").await, ["/db"]);
    assert_eq!(ids("label=tier+in+(front,back)&id=web").await, ["/web"]);
    let error = server.call("GET", "/v2/apps?label=%3D%3D", None, 422).await;
    assert!(error["message"].as_str().unwrap().contains("Invalid label selector"));
}

#[tokio::test]
async fn refusals_have_their_shapes() {
    let server = Server::start().await;
    let body = async |method: &str, path: &str, body: &str, status: u16| {
        let response = server.send(method, path, Some(body), &[]).await;
        assert_eq!(response.status(), status, "{method} {path} {body}");
        serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap()
    };
    assert!(body("POST", "/v2/apps", "{", 400).await["details"].is_string());
    assert_eq!(body("POST", "/v2/apps", "", 400).await["message"], "Please specify data in JSON format");
    assert!(body("POST", "/v2/apps", &"[".repeat(100_000), 400).await["details"].is_string());
    assert_eq!(body("POST", "/v2/apps", r#"{"id":5}"#, 422).await["details"][0]["path"], "/id");
    let invalid = body("POST", "/v2/apps", r#"{"id":"/a","cmd":"x","cpus":-1}"#, 422).await;
    assert_eq!(invalid["message"], "Object is not valid");
    assert_eq!(invalid["details"], json!([{"path": "/cpus", "errors": ["must not be negative, is -1"]}]));
    assert_eq!(
        body("POST", "/v2/apps", &format!(r#"{{"id":"{}"}}"#, "a".repeat(2 << 20)), 413).await["message"],
        "Payload Too Large"
    );
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/a", "cmd": "x"})), 201).await;
    let exists = body("POST", "/v2/apps", r#"{"id":"/a","cmd":"x"}"#, 409).await;
    assert_eq!(
        exists,
        json!({"message": "An app with id [/a] already exists."}),
        "no deployments: it is not a lock"
    );
    assert_eq!(server.call("GET", "/v2/apps/b", None, 404).await["message"], "App '/b' does not exist");
    assert_eq!(
        server.call("PATCH", "/v2/apps/b", Some(json!({"instances": 1})), 404).await["message"],
        "App '/b' does not exist"
    );
    assert_eq!(server.call("GET", "/v2/surprise", None, 404).await["message"], "URI not found");
    assert_eq!(
        server.call("POST", "/v2/apps/a/versions", Some(json!({})), 405).await["message"],
        "Method Not Allowed"
    );
    assert_eq!(server.call("DELETE", "/v2/tasks", None, 405).await["message"], "Method Not Allowed");
    server.call("GET", "/v2/apps/a/versions/yesterday", None, 422).await;
    server.call("GET", "/v2/apps/a/versions/2001-01-01T00:00:00.000Z", None, 404).await;
    server.call("GET", "/v2/apps/a%00b", None, 404).await;
    server.call("GET", "/v2/apps/%ff", None, 400).await;
    let response =
        server.send("POST", "/v2/apps", Some("<a/>"), &[("content-type", "application/xml")]).await;
    assert_eq!(response.status(), 415);
    let long = format!("/v2/apps/{}", "a".repeat(20_000));
    assert_eq!(server.send("GET", &long, None, &[]).await.status(), 414);
    // Nothing fits an app of nine cores, so its deployment goes on and holds the lock.
    server.call("POST", "/v2/apps", Some(json!({"id": "/big", "cmd": "x", "cpus": 9})), 201).await;
    let locked = server.call("PUT", "/v2/apps/big", Some(json!({"cmd": "y"})), 409).await;
    let running = server.get("/v2/deployments").await;
    assert_eq!(locked["deployments"], json!([{"id": running[0]["id"]}]));
    let step = json!({"affectedApps": ["/big"], "currentStep": 2, "totalSteps": 2,
                      "currentActions": [{"action": "ScaleApplication", "app": "/big", "readinessCheckResults": []}]});
    for (key, value) in step.as_object().unwrap() {
        assert_eq!(&running[0][key], value, "{key}");
    }
    // Why it goes on is told to those who ask; the keys above are all that strict clients know.
    let told = server.get("/v2/deployments?embed=waits").await;
    let wait = &told[0]["currentActions"][0]["waitsFor"][0];
    assert_eq!((&wait["reason"], &wait["instances"]), (&json!("WaitingForOffers"), &json!(1)));
    assert!(
        wait["message"].as_str().unwrap().starts_with("1 instance waits for an offer that fits"),
        "{wait}"
    );
    let id = running[0]["id"].as_str().unwrap();
    assert_eq!(
        server.call("DELETE", &format!("/v2/deployments/{id}?force=true"), None, 202).await,
        Value::Null
    );
    server.call("DELETE", &format!("/v2/deployments/{id}"), None, 404).await;
}

#[tokio::test]
async fn what_waits_is_queued_with_its_reasons() {
    let server = Server::start().await;
    let mut offers = server.events("?event_type=deployment_info", &[]).await;
    server.call("POST", "/v2/apps", Some(json!({"id": "/big", "cmd": "x", "cpus": 9})), 201).await;
    offers.until("deployment_info").await;
    // The offer comes with the revival after the change; a second change comes after it.
    server.deploy("POST", "/v2/apps", Some(json!({"id": "/small", "cmd": "x"})), 201).await;
    let queue = server.get("/v2/queue?embed=lastUnusedOffers").await;
    let item = &queue["queue"][0];
    assert_eq!(queue["queue"].as_array().unwrap().len(), 1);
    assert_eq!((&item["app"]["id"], &item["count"]), (&json!("/big"), &json!(1)));
    assert_eq!(item["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    assert_eq!(item["lastUnusedOffers"][0]["reason"], json!(["InsufficientCpus"]));
    assert_eq!(item["lastUnusedOffers"][0]["offer"]["hostname"], "node-7.example");
    let rejects = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    assert_eq!(rejects.len(), 10, "the whole funnel");
    assert_eq!(rejects[4], json!({"reason": "InsufficientCpus", "declined": 1, "processed": 1}));
    server.call("DELETE", "/v2/queue/big/delay", None, 204).await;
    let error = server.call("DELETE", "/v2/queue/small/delay", None, 404).await;
    assert_eq!(error["message"], "Application /small not found in tasks queue.");
}

#[tokio::test]
async fn tasks_are_listed_and_killed() {
    let server = Server::start().await;
    server
        .deploy("POST", "/v2/apps", Some(json!({"id": "/shop/cart", "cmd": "x", "instances": 3})), 201)
        .await;
    server
        .deploy("POST", "/v2/apps", Some(json!({"id": "/batch", "cmd": "x", "portDefinitions": []})), 201)
        .await;
    let tasks = server.get("/v2/tasks?status=running").await["tasks"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 4);
    assert_eq!(server.get("/v2/tasks?status=staging").await["tasks"], json!([]));
    assert_eq!(server.get("/v2/apps/shop/*/tasks").await["tasks"].as_array().unwrap().len(), 3);
    let text = server.send("GET", "/v2/tasks", None, &[("accept", "text/plain")]).await.text().await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "batch\t \tnode-7.example\t");
    let words: Vec<&str> = lines[1].split('\t').collect();
    assert_eq!((words[0], words[1], words.len()), ("shop_cart", "10000", 6));
    assert!(words[2].starts_with("node-7.example:31"), "{text}");
    let both = server.send("GET", "/v2/tasks", None, &[("accept", "text/plain, */*")]).await;
    assert_eq!(both.headers()["content-type"], "application/json");
    let ids: Vec<&str> = tasks
        .as_array()
        .unwrap()
        .iter()
        .filter(|task| task["appId"] == "/shop/cart")
        .map(|task| task["id"].as_str().unwrap())
        .collect();
    let killed = server.call("DELETE", &format!("/v2/apps/shop/cart/tasks/{}", ids[0]), None, 200).await;
    assert_eq!(killed["task"]["id"], ids[0]);
    server
        .deploy(
            "POST",
            "/v2/tasks/delete?scale=True",
            Some(json!({"ids": [ids[1], "a.instance-0._app.1"]})),
            200,
        )
        .await;
    assert_eq!(server.get("/v2/apps/shop/cart").await["app"]["instances"], 2);
    let error = server.call("POST", "/v2/tasks/delete", Some(json!({"ids": ["nonsense"]})), 400).await;
    assert_eq!(error["message"], "Invalid task id 'nonsense'.");
    server.call("POST", "/v2/tasks/delete?scale=true&wipe=true", Some(json!({"ids": []})), 400).await;
    let none = server.call("DELETE", "/v2/apps/shop/cart/tasks?host=elsewhere", None, 200).await;
    assert_eq!(none, json!({"tasks": []}));
    server.call("DELETE", "/v2/apps/shop/cart/tasks/cart.instance-0._app.1", None, 404).await;
}

#[tokio::test]
async fn groups_are_the_paths_of_apps() {
    let server = Server::start().await;
    for id in ["/shop/cart", "/shop/eu/db", "/web"] {
        server.deploy("POST", "/v2/apps", Some(json!({"id": id, "cmd": "x"})), 201).await;
    }
    let root = server.get("/v2/groups").await;
    assert_eq!(root["apps"][0]["id"], "/web");
    assert_eq!(root["groups"][0]["groups"][0]["apps"][0]["id"], "/shop/eu/db");
    assert_eq!(server.get("/v2/groups/shop").await["apps"][0]["id"], "/shop/cart");
    assert_eq!(server.get("/v2/groups/shop/apps").await[0]["id"], "/shop/cart");
    server.call("GET", "/v2/groups/none", None, 404).await;
    server.call("PUT", "/v2/groups", Some(json!({})), 405).await;
}

#[tokio::test]
async fn several_apps_in_one_deployment() {
    let server = Server::start().await;
    let apps = json!([{"id": "/web", "cmd": "x", "dependencies": ["db"]}, {"id": "/db", "cmd": "x"}]);
    server.deploy("PUT", "/v2/apps", Some(apps), 200).await;
    assert_eq!(server.get("/v2/apps").await["apps"].as_array().unwrap().len(), 2);
    let missing = server.call("PATCH", "/v2/apps", Some(json!([{"id": "/none", "instances": 2}])), 404).await;
    assert_eq!(missing["message"], "App '/none' does not exist");
    server.call("PUT", "/v2/apps", Some(json!({"id": "/web"})), 422).await;
    let created = server.deploy("PUT", "/v2/apps/new", Some(json!({"cmd": "x"})), 201).await;
    assert!(created["version"].is_string());
    server.call("PUT", "/v2/apps/New", Some(json!({"cmd": "x"})), 422).await;
}
