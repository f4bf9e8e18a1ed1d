//! The batch scheduler's API as clients of Chronos and people's dashboards read it, over jobs that really ran.

use std::time::Duration;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::wait::{check, until};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const SHAPE: Shape = Shape { masters: 1, agents: 1, marathons: 0, haproxy: false };
const SOON: Duration = Duration::from_secs(30);

struct World {
    cluster: Cluster,
    schedulers: Schedulers,
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::start(SHAPE).await;
        let schedulers = Schedulers::start(&cluster, 1, &["--disable-after-failures=2".to_owned()]);
        schedulers.leader(&cluster).await;
        until("it has read what is stored", START, async || {
            schedulers.get(&cluster, "/v1/scheduler/jobs").await.map(drop)
        })
        .await;
        Self { cluster, schedulers }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        let url = format!("http://{}{path}", self.schedulers.addresses[0]);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.cluster.http.request(method, url).body(body).send().await.expect("an answer")
    }

    async fn done(&self, method: Method, path: &str, body: Value) {
        let answer = self.send(method, path, &body).await;
        let status = answer.status().as_u16();
        assert_eq!(status, 204, "{path}: {}", answer.text().await.unwrap_or_default());
    }

    async fn text(&self, path: &str) -> String {
        let answer = self.send(Method::GET, path, &Value::Null).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("a body")
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).expect("JSON")
    }

    /// Waits until the newest run of a job is over, in this state.
    async fn ended(&self, job: &str, state: &str) -> Value {
        let path = format!("/v1/scheduler/job/{job}/runs");
        until(&format!("{job} has {state}"), SOON, async || {
            let runs = self.get(&path).await;
            let run = runs[0].clone();
            check(run["state"] == state, || runs.to_string())?;
            Ok(run)
        })
        .await
    }
}

fn later(name: &str, command: &str) -> Value {
    json!({ "name": name, "command": command, "schedule": "R/2090-01-01T00:00:00Z/P1D", "retries": 0, "owner": "eve@example.com" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_is_told_in_every_form_that_clients_read() {
    let world = World::start().await;
    let mut first = later("first", "echo $CHRONOS_JOB_NAME $CHRONOS_JOB_OWNER $CHRONOS_JOB_RUN_ATTEMPT $A");
    first["environmentVariables"] =
        json!([{ "name": "A", "value": "own" }, { "name": "CHRONOS_JOB_NAME", "value": "no" }]);
    first["uris"] = json!([]);
    world.done(Method::POST, "/scheduler/iso8601", first).await;
    let child = json!({ "name": "second", "command": "test \"$CHRONOS_PARENT_RUN_IDS\" = \"$EXPECTED\"", "parents": ["first"], "retries": 0 });
    world.done(Method::POST, "/v1/scheduler/dependency", child.clone()).await;
    assert_eq!(world.text("/ping").await, "pong");
    assert_eq!(world.get("/leader").await["leader"], world.schedulers.addresses[0].as_str());
    fresh(&world).await;
    let run = a_run_by_hand(&world).await;
    its_child(&world, &run).await;
    statistics(&world).await;
    lists(&world).await;
    timeline(&world, &run).await;
    counters_are_kept(&world).await;
    an_editor_overwrites_nobody(&world).await;
    a_job_that_fails_is_disabled(&world).await;
}

/// Nothing has run yet.
async fn fresh(world: &World) {
    let summary = world.get("/v1/scheduler/jobs/summary").await;
    let line = summary["jobs"].as_array().expect("jobs").iter().find(|job| job["name"] == "first");
    let line = line.expect("listed");
    // The two are swapped, as in Chronos, whose pages rely on it.
    assert_eq!((&line["status"], &line["state"]), (&json!("fresh"), &json!("idle")), "{line}");
    let job = world.get("/v1/scheduler/job/first").await;
    assert_eq!(job["nextRuns"].as_array().map(Vec::len), Some(10), "{job}");
    assert_eq!(job["nextRuns"][0], "2090-01-01T00:00:00.000Z");
    assert_eq!((&job["runningTasks"], &job["reason"]), (&json!([]), &json!("")));
}

/// Triggered with arguments, and told of by its header and its body.
async fn a_run_by_hand(world: &World) -> Value {
    let answer =
        world.send(Method::PUT, "/v1/scheduler/job/first?arguments=more&detail=1", &Value::Null).await;
    assert_eq!(answer.status(), 200);
    let named = answer.headers()["x-chronos-run-id"].to_str().expect("text").to_owned();
    let told: Value = answer.json().await.expect("JSON");
    assert_eq!(told["id"], named.as_str());
    let run = world.ended("first", "succeeded").await;
    assert_eq!((&run["id"], &run["trigger"], &run["exitCode"]), (&json!(named), &json!("manual"), &json!(0)));
    let task = run["taskId"].as_str().expect("a task");
    assert!(task.starts_with("ct:") && task.ends_with(":0:first:more"), "{task}");
    let sandboxes = world.cluster.dir("agent-0");
    let written = output(&sandboxes, task);
    assert_eq!(written, "first eve@example.com 0 own more\n", "its own variables are not overridden");
    run
}

/// What a task has written, found by its id below the agent's folder.
fn output(folder: &std::path::Path, task: &str) -> String {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == task) && path.join("stdout").is_file() {
                return std::fs::read_to_string(path.join("stdout")).expect("read");
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    panic!("no sandbox of {task}")
}

/// It is told whose end started it.
async fn its_child(world: &World, parent: &Value) {
    // EXPECTED is not set, so the test in it fails, which is what a failed run looks like.
    let run = world.ended("second", "failed").await;
    assert_eq!(run["parentRuns"], json!([parent["id"]]), "{run}");
    assert_eq!((&run["trigger"], &run["exitCode"]), (&json!("parents"), &json!(1)), "{run}");
    let whole = world.get(&format!("/v1/scheduler/runs/{}", run["id"].as_str().expect("an id"))).await;
    assert_eq!(whole["id"], run["id"]);
}

async fn statistics(world: &World) {
    let stat = world.get("/v1/scheduler/job/stat/first").await;
    assert_eq!(stat["histogram"]["count"], 1, "{stat}");
    assert_eq!((&stat["recent"]["succeeded"], &stat["recent"]["successRate"]), (&json!(1), &json!(1.0)));
    let line = &stat["taskStatHistory"][0];
    assert_eq!((&line["jobName"], &line["status"]), (&json!("first"), &json!("Success")), "{stat}");
    let begun = line["startTime"].as_str().expect("text");
    assert!(begun.len() == 17 && &begun[2..3] == "/" && &begun[11..12] == ":", "{begun}");
    let figures = world.get("/v1/scheduler/stats/median").await;
    assert_eq!(figures.as_array().map(Vec::len), Some(2), "{figures}");
}

async fn lists(world: &World) {
    let jobs = world.get("/scheduler/jobs").await;
    assert_eq!(jobs.as_array().map(Vec::len), Some(2));
    let page = world.get("/scheduler/jobs?limit=1&offset=1").await;
    assert_eq!((page[0]["name"].as_str(), page.as_array().map(Vec::len)), (Some("second"), Some(1)));
    for (query, found) in
        [("name=FIR", 1), ("command=echo", 1), ("any=s", 2), ("any=s&limit=1", 1), ("any=s&offset=1", 1)]
    {
        let path = format!("/v1/scheduler/jobs/search?{query}");
        assert_eq!(world.get(&path).await.as_array().map(Vec::len), Some(found), "{query}");
    }
    let dot = world.text("/v1/scheduler/graph/dot").await;
    let plain = "digraph G {\n  1 [ label=\"first\" ];\n  2 [ label=\"second\" ];\n  1 -> 2;\n}\n";
    assert_eq!(dot, plain);
    let states = world.text("/v1/scheduler/graph/dot?states").await;
    assert!(states.contains("\"second\" [ state=\"idle\" last=\"failure\""), "{states}");
    assert!(states.contains("\"first\" -> \"second\";"), "{states}");
    let csv = world.text("/v1/scheduler/graph/csv").await;
    assert_eq!(csv, "node,first,success,idle\nnode,second,failure,idle\nlink,first,second\n");
}

async fn timeline(world: &World, run: &Value) {
    let told = world.get("/v1/scheduler/runs").await;
    let jobs: Vec<&str> =
        told["runs"].as_array().expect("runs").iter().filter_map(|run| run["job"].as_str()).collect();
    assert_eq!(jobs, ["first", "second"], "{told}");
    let before = world.get(&format!("/v1/scheduler/runs?to={}", run["due"].as_str().expect("a time"))).await;
    assert_eq!((&before["runs"], &before["more"]), (&json!([]), &json!(false)));
    let one = world.get("/v1/scheduler/runs?limit=1").await;
    assert_eq!((one["runs"].as_array().map(Vec::len), &one["more"]), (Some(1), &json!(true)));
    let bad = world.send(Method::GET, "/v1/scheduler/runs?from=yesterday", &Value::Null).await;
    assert_eq!(bad.status(), 400);
    assert!(bad.text().await.expect("a body").contains("from must be a time"));
}

/// A document without counters, or with null, leaves them; a success may be declared.
async fn counters_are_kept(world: &World) {
    let mut again = later("first", "echo again");
    again["successCount"] = Value::Null;
    world.done(Method::PUT, "/v1/scheduler/iso8601", again).await;
    let job = world.get("/v1/scheduler/job/first").await;
    assert_eq!((&job["successCount"], &job["command"]), (&json!(1), &json!("echo again")), "{job}");
    let marked = world.send(Method::PUT, "/v1/scheduler/job/success/first", &Value::Null).await;
    assert_eq!(marked.text().await.expect("a body"), "marked job first as successful: true");
    let unknown = world.send(Method::PUT, "/v1/scheduler/job/success/nobody", &Value::Null).await;
    assert_eq!(unknown.text().await.expect("a body"), "marked job nobody as successful: false");
    assert_eq!(world.get("/v1/scheduler/job/first").await["successCount"], 2);
    let dry = later("third", "true");
    let mut bad = dry.clone();
    bad["parents"] = json!(["nobody"]);
    bad.as_object_mut().expect("an object").remove("schedule");
    let refused = world.send(Method::POST, "/v1/scheduler/dependency?dryRun=true", &bad).await;
    assert_eq!(refused.status(), 400, "what would be refused is refused");
    let told = world.send(Method::POST, "/v1/scheduler/iso8601?dryRun=true", &dry).await;
    let told: Value = told.json().await.expect("JSON");
    assert_eq!(told["next"].as_array().map(Vec::len), Some(10));
    assert_eq!(world.get("/v1/scheduler/jobs").await.as_array().map(Vec::len), Some(2));
}

/// What somebody else has changed meanwhile is neither replaced nor deleted.
async fn an_editor_overwrites_nobody(world: &World) {
    let url = |path: &str| format!("http://{}/v1/scheduler/{path}", world.schedulers.addresses[0]);
    let post = async |condition: &str, tag: &str, command: &str| {
        let request = world.cluster.http.post(url("iso8601")).header(condition, tag);
        request.body(later("first", command).to_string()).send().await.expect("an answer")
    };
    let tag = |answer: &Response| answer.headers()["etag"].to_str().expect("text").to_owned();
    let seen = world.cluster.http.get(url("job/first")).send().await.expect("an answer");
    let before = tag(&seen);
    let changed = post("If-Match", &before, "echo mine").await;
    assert_eq!(changed.status(), 204);
    let after = tag(&changed);
    assert_ne!(after, before);
    let late = post("If-Match", &before, "echo yours").await;
    assert_eq!(late.status(), 412);
    assert!(late.text().await.expect("a body").contains("If-Match does not hold: job 'first' is now"));
    assert_eq!(post("If-None-Match", "*", "echo anew").await.status(), 412);
    let gone = world.cluster.http.delete(url("job/first")).header("If-Match", &before).send().await;
    assert_eq!(gone.expect("an answer").status(), 412);
    assert_eq!(world.get("/v1/scheduler/job/first").await["command"], "echo mine");
}

/// Two runs in a row that failed for good are as many as this scheduler was told to bear.
async fn a_job_that_fails_is_disabled(world: &World) {
    world.done(Method::POST, "/v1/scheduler/iso8601", later("bad", "exit 3")).await;
    for failed in 1..=2 {
        world.done(Method::PUT, "/v1/scheduler/job/bad", Value::Null).await;
        until("it has failed again", SOON, async || {
            let job = world.get("/v1/scheduler/job/bad").await;
            check(job["errorCount"] == failed, || job.to_string())
        })
        .await;
    }
    assert_eq!(world.get("/v1/scheduler/job/bad").await["disabled"], true);
    world.done(Method::DELETE, "/v1/scheduler/job/bad", Value::Null).await;
    world.done(Method::DELETE, "/v1/scheduler/task/all", Value::Null).await;
}
