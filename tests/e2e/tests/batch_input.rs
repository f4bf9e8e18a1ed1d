//! Bad jobs on the scheduler's public edge: each is refused with the field and the rule, and what was there stays.

use std::sync::Arc;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::wait::until;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SHAPE: Shape = Shape { masters: 1, agents: 0, marathons: 0, haproxy: false };
/// Runs of one job that may be open at once.
const ACTIVE_RUNS: usize = 1000;

struct World {
    cluster: Cluster,
    schedulers: Schedulers,
}

impl World {
    async fn start() -> Arc<Self> {
        let cluster = Cluster::start(SHAPE).await;
        let schedulers = Schedulers::start(&cluster, 1, &[]);
        schedulers.leader(&cluster).await;
        until("it has read what is stored", START, async || {
            schedulers.get(&cluster, "/v1/scheduler/jobs").await.map(drop)
        })
        .await;
        Arc::new(Self { cluster, schedulers })
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> (u16, String) {
        let url = format!("http://{}{path}", self.schedulers.addresses[0]);
        let answer = self.cluster.http.request(method, url).body(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    async fn post(&self, path: &str, document: &Value) -> (u16, String) {
        self.send(Method::POST, &format!("/v1/scheduler/{path}"), document.to_string().into_bytes()).await
    }

    async fn accepted(&self, path: &str, document: Value) {
        let (status, text) = self.post(path, &document).await;
        assert_eq!((status, text.as_str()), (204, ""), "{document}");
    }

    /// 400 in the form that clients of Chronos read, with this beginning.
    async fn refused(&self, path: &str, document: Value, rule: &str) {
        let (status, text) = self.post(path, &document).await;
        let shown: String = document.to_string().chars().take(300).collect();
        assert_eq!(status, 400, "{shown}: {text}");
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(error["status"], "Bad Request", "{shown}");
        assert!(
            error["message"].as_str().is_some_and(|said| said.starts_with(rule)),
            "{shown}: {rule}: {text}"
        );
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/v1/scheduler/{path}");
        self.schedulers.get(&self.cluster, &path).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn names(&self) -> Vec<String> {
        let jobs = self.get("jobs/summary").await;
        let names = jobs["jobs"].as_array().expect("jobs").iter();
        names.map(|job| job["name"].as_str().expect("a name").to_owned()).collect()
    }
}

fn job(field: &str, value: Value) -> Value {
    let mut job = json!({"name": "a", "command": "true", "schedule": "R/2090-01-01T00:00:00Z/P1D"});
    job[field] = value;
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_job_is_refused_by_field() {
    let world = World::start().await;
    world.accepted("iso8601", job("description", json!("stays"))).await;
    let before = world.get("job/a").await;

    for (text, rule) in [
        ("R/2026-01-01T00:00:00Z/PT0S", "schedule has a period of zero"),
        ("R/2026-01-01T00:00:00Z/PT0.9S", "schedule has a period that must be at least 1s"),
        ("R/2026-01-01T00:00:00Z/P-1D", "schedule has a period that is wrong: 'P-1D' must not be negative"),
        ("R/0000-01-01T00:00:00Z/P1D", "schedule has a start that must not be before 1970"),
        ("R/9999-01-01T00:00:00Z/P1D", "schedule has a start in the year 9999"),
        ("R/2026-06-30T23:59:60Z/P1D", "schedule has a start at '23:59:60': a leap second"),
        ("R/2026-02-30T00:00:00Z/P1D", "schedule has a start '2026-02-30T00:00:00Z'"),
        ("60 * * * *", "schedule"),
        ("0 0 30 2 *", "schedule"),
        ("", "schedule '' must be"),
    ] {
        world.refused("iso8601", job("schedule", json!(text)), rule).await;
    }
    world.refused("iso8601", job("scheduleTimeZone", json!("Atlantis/Capital")), "scheduleTimeZone").await;

    for (field, value, rule) in [
        ("name", json!(""), "name '' must be letters"),
        ("name", json!("a/../b"), "name 'a/../b' must be letters"),
        ("name", json!("ä"), "name 'ä' must be letters"),
        ("name", json!("a".repeat(151)), "name must have at most 150 bytes"),
        ("name", json!(7), "name "),
        ("cpus", json!("many"), "cpus "),
        ("mem", json!(-1), "mem "),
        ("disk", json!(1e30), "disk "),
        ("retries", json!(-1), "retries "),
        ("retries", json!(1_000_000), "retries must be at most"),
        ("arguments", json!("one"), "arguments "),
        ("epsilon", json!("soon"), "epsilon "),
        ("constraints", json!([["rack", "NEAR", "r1"]]), "constraints[0] "),
        ("constraints", json!([["rack", "LIKE", "("]]), "constraints[0] "),
        ("environmentVariables", json!([{"name": "A=B", "value": ""}]), "environmentVariables[0].name "),
        ("container", json!({"type": "ROCKET", "image": "i"}), "container.type must be"),
        ("uris", json!([1]), "uris[0] "),
        ("concurrencyPolicy", json!("Sometimes"), "concurrencyPolicy "),
        ("description", json!("x".repeat(300 << 10)), "body must have at most"),
        ("parents", json!(["a"]), "parents "),
    ] {
        world.refused("iso8601", job(field, value), rule).await;
    }
    assert_eq!(world.get("job/a").await, before, "what was refused changed nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_job_at_all_is_refused() {
    let world = World::start().await;
    let mut nested = "{\"a\":".repeat(100_000).into_bytes();
    nested.push(b'1');
    nested.extend(std::iter::repeat_n(b'}', 100_000));
    for body in [b"".to_vec(), b"{".to_vec(), b"[]".to_vec(), b"nul".to_vec(), b"\xff".to_vec(), nested] {
        for path in ["iso8601", "dependency"] {
            let (status, text) = world.send(Method::POST, &format!("/scheduler/{path}"), body.clone()).await;
            assert_eq!(status, 400, "{text}");
            assert!(text.contains("body "), "{text}");
        }
    }
    let far = "x".repeat(40 << 10);
    for (method, path, wanted) in [
        (Method::GET, "/v1/scheduler/job/nobody".to_owned(), 400),
        (Method::PUT, "/v1/scheduler/job/nobody".to_owned(), 400),
        (Method::DELETE, "/v1/scheduler/job/nobody".to_owned(), 400),
        (Method::DELETE, "/v1/scheduler/task/kill/nobody".to_owned(), 400),
        (Method::GET, "/v1/scheduler/job/stat/nobody".to_owned(), 400),
        (Method::GET, "/v1/scheduler/runs/nobody@1".to_owned(), 400),
        (Method::GET, "/v1/scheduler/jobs/search?limit=-1".to_owned(), 400),
        (Method::GET, "/v1/scheduler/job/%ff".to_owned(), 400),
        (Method::GET, "/v1/scheduler/nothing".to_owned(), 404),
        (Method::GET, "/v1/scheduler/stats/12thPercentile".to_owned(), 200),
        (Method::GET, format!("/v1/scheduler/job/{far}"), 414),
    ] {
        let (status, text) = world.send(method.clone(), &path, Vec::new()).await;
        assert_eq!(status, wanted, "{method} {path:.60}: {text}");
    }
    assert_eq!(world.names().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_graph_of_dependencies_is_whole_whatever_is_posted_and_deleted() {
    let world = World::start().await;
    world.accepted("iso8601", job("name", json!("top"))).await;
    world.accepted("dependency", json!({"name": "middle", "command": "true", "parents": ["top"]})).await;
    world.accepted("dependency", json!({"name": "end", "command": "true", "parents": ["middle"]})).await;

    let dependent = |name: &str, parents: Value| json!({"name": name, "command": "true", "parents": parents});
    for (document, rule) in [
        (dependent("new", json!([])), "parents must name at least one job"),
        (dependent("new", json!(["nobody"])), "parents name 'nobody', which is no job"),
        (dependent("new", json!(["new"])), "parents would make a cycle: new -> new"),
        (dependent("top", json!(["end"])), "parents would make a cycle: top -> middle -> end -> top"),
        (json!({"name": "new", "command": "true"}), "parents must name at least one job"),
    ] {
        world.refused("dependency", document, rule).await;
    }
    let many: Vec<String> = (0..1001).map(|i| format!("p{i}")).collect();
    world.refused("dependency", dependent("new", json!(many)), "parents must be at most 1000").await;

    let (status, _) = world.send(Method::DELETE, "/v1/scheduler/job/middle?orphans=burn", Vec::new()).await;
    assert_eq!(status, 400);
    world.send(Method::DELETE, "/v1/scheduler/job/middle", Vec::new()).await;
    assert_eq!(world.get("job/end").await["parents"], json!(["top"]), "a child inherits its grandparents");
    let (status, text) = world.send(Method::DELETE, "/v1/scheduler/job/top?orphans=refuse", Vec::new()).await;
    assert_eq!(status, 400, "{text}");
    world.send(Method::DELETE, "/v1/scheduler/job/top", Vec::new()).await;
    let end = world.get("job/end").await;
    assert_eq!((&end["parents"], &end["schedule"]), (&Value::Null, &json!("R/2090-01-01T00:00:00.000Z/P1D")));
    assert_eq!(world.names().await, ["end"]);
}

/// Nothing can be launched, so every run stays open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_triggers_ends_at_a_limit() {
    let world = World::start().await;
    world.accepted("iso8601", job("concurrent", json!(true))).await;
    let mut flood = JoinSet::new();
    for _ in 0..30 {
        let world = Arc::clone(&world);
        flood.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..50 {
                answers.push(world.send(Method::PUT, "/v1/scheduler/job/a", Vec::new()).await.0);
            }
            answers
        });
    }
    let answers = flood.join_all().await.concat();
    assert!(answers.iter().all(|status| [204, 503].contains(status)), "{answers:?}");
    let runs = world.get("job/a/runs?limit=10000").await;
    let count =
        |state: &str| runs.as_array().expect("runs").iter().filter(|run| run["state"] == state).count();
    let taken = answers.iter().filter(|status| **status == 204).count();
    assert_eq!(count("waiting"), taken.min(ACTIVE_RUNS));
    assert!(count("skipped") <= 100, "only so many that are over are kept");
    let (status, _) = world.send(Method::DELETE, "/v1/scheduler/task/kill/a", Vec::new()).await;
    assert_eq!(status, 204);
    assert_eq!(world.get("job/a").await["state"], "idle");
}

/// A thousand jobs one below the other, added by many at once; the graph stays readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chain_of_jobs_is_taken_and_shown() {
    const LENGTH: usize = 1000;
    let world = World::start().await;
    world.accepted("iso8601", job("name", json!("j0000"))).await;
    for i in 1..LENGTH {
        let (name, parent) = (format!("j{i:04}"), format!("j{:04}", i - 1));
        world.accepted("dependency", json!({"name": name, "command": "true", "parents": [parent]})).await;
    }
    let last = format!("j{:04}", LENGTH - 1);
    let cycle = json!({"name": "j0000", "command": "true", "parents": [last]});
    world.refused("dependency", cycle, "parents would make a cycle: j0000 -> j0001").await;
    let (_, graph) = world.send(Method::GET, "/v1/scheduler/graph/csv", Vec::new()).await;
    assert_eq!(graph.lines().filter(|line| line.starts_with("link,")).count(), LENGTH - 1);
    let (_, graph) = world.send(Method::GET, "/v1/scheduler/graph/dot", Vec::new()).await;
    assert!(graph.contains("  999 -> 1000;"), "{graph:.200}");
    let path = "/v1/scheduler/job/j0000?orphans=delete";
    let (status, text) = world.send(Method::DELETE, path, Vec::new()).await;
    assert_eq!(status, 204, "{text}");
    assert_eq!(world.names().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_twice_with_a_token_is_one_run_and_a_suspended_job_rests() {
    let world = World::start().await;
    world.accepted("iso8601", job("concurrent", json!(true))).await;
    let wanted = json!({"parameters": {"DATE": "2026-11-21"}, "idempotencyToken": "t1", "arguments": "-v"});
    let (status, first) = world.post("job/a/dispatch", &wanted).await;
    let (_, second) = world.post("job/a/dispatch", &wanted).await;
    let run: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((status, &run["parameters"]["DATE"]), (200, &json!("2026-11-21")), "{first}");
    let again: Value = serde_json::from_str(&second).expect("JSON");
    assert_eq!(again["id"], run["id"]);
    let shown = world.get(&format!("runs/{}", run["id"].as_str().expect("an id"))).await;
    assert_eq!((&shown["state"], &shown["trigger"]), (&json!("waiting"), &json!("manual")));

    world.refused("job/a/dispatch", json!({"parameters": {"A=B": ""}}), "parameters").await;
    world.refused("job/a/dispatch", json!({"parameters": ["A"]}), "parameters").await;
    world.refused("job/a/dispatch", json!("A"), "body").await;
    world.refused("job/nobody/dispatch", json!({}), "job 'nobody' does not exist").await;

    let (status, _) = world.send(Method::PUT, "/v1/scheduler/job/a/suspend", Vec::new()).await;
    assert_eq!((status, &world.get("job/a").await["suspend"]), (204, &json!(true)));
    let (status, _) = world.send(Method::PUT, "/v1/scheduler/job/a/resume", Vec::new()).await;
    assert_eq!((status, &world.get("job/a").await["suspend"]), (204, &Value::Null));
    assert_eq!(world.get("job/a").await["state"], "queued", "what waited still waits");
}
