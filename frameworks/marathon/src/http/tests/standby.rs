//! What an instance answers that does not lead.

use serde_json::{Value, json};

use super::world::Server;

#[tokio::test]
async fn a_standby_hands_on_what_it_is_asked() {
    let leader = Server::start().await;
    let standby = Server::standby(Some(&leader.address)).await;
    let mut events = standby.events("?event_type=deployment_success", &[]).await;
    let response = standby.send("POST", "/v2/apps?force=false", Some(r#"{"id":"/a","cmd":"x"}"#), &[]).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-marathon-leader"], format!("http://{}", leader.address));
    assert_eq!(response.headers()["x-marathon-via"], format!("1.1 {}", standby.address));
    events.next().await;
    assert_eq!(standby.get("/v2/apps/a").await["app"]["tasksRunning"], 1);
    standby.call("GET", "/v2/apps/b", None, 404).await;
}

#[tokio::test]
async fn a_standby_answers_for_itself_what_concerns_itself() {
    let alone = Server::standby(None).await;
    assert_eq!(alone.send("GET", "/ping", None, &[]).await.text().await.unwrap(), "pong");
    assert_eq!(alone.call("GET", "/health", None, 503).await["role"], "standby");
    assert_eq!(alone.get("/version").await["name"], "stoa-marathon");
    let text = alone.send("GET", "/metrics", None, &[]).await.text().await.unwrap();
    assert!(text.contains("marathon_leading 0"), "{text}");
    let metrics =
        alone.send("GET", "/metrics", None, &[("accept", "application/json")]).await.text().await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&metrics).unwrap()["gauges"]["marathon_leading"],
        json!({"value": 0.0})
    );
    let error = alone.call("GET", "/v2/apps", None, 502).await;
    assert_eq!(error["message"], "Could not find a leader to forward the request to");
}

#[tokio::test]
async fn loops_and_dead_leaders_are_told() {
    let dead = Server::standby(Some("127.0.0.1:1")).await;
    let error = dead.call("GET", "/v2/apps", None, 502).await;
    assert!(error["message"].as_str().unwrap().contains("127.0.0.1:1"), "{error}");
    // A dead leader is no reason to fail, as long as another follows soon.
    let next = Server::start().await;
    let request = dead.call("GET", "/v2/apps", None, 200);
    let (answer, ()) = tokio::join!(request, async { dead.follow(&next.address) });
    assert_eq!(answer, json!({"apps": []}));
    let leader = Server::start().await;
    let standby = Server::standby(Some(&leader.address)).await;
    let via = format!("1.1 {}", standby.address);
    let response = standby.send("GET", "/v2/apps", None, &[("x-marathon-via", &via)]).await;
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().contains("loop"));
}
