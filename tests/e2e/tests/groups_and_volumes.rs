//! What a scheduler can do beyond single tasks, with real masters and agents: groups of tasks, reservations, volumes.

use e2e::cluster::{Cluster, Shape};
use e2e::scheduler::{Scheduler, info};
use e2e::wait::{check, until};
use serde_json::{Value, json};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

async fn start() -> (Cluster, Scheduler) {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let scheduler = Scheduler::subscribe(&cluster.master_addresses[0], &about()).await;
    (cluster, scheduler)
}

fn about() -> Value {
    let capabilities = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "TASK_KILLING_STATE"];
    let mut about = info("eng");
    about["capabilities"] = capabilities.iter().map(|kind| json!({ "type": kind })).collect();
    about
}

fn scalar(name: &str, value: f64) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

fn task(id: &str, offer: &Value, command: &str, resources: Value) -> Value {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": offer["agent_id"],
        "resources": resources,
        "command": { "value": command },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_tasks_lives_and_ends_as_one() {
    let (_cluster, mut scheduler) = start().await;
    let offer = scheduler.offer().await;
    let executor = json!({
        "type": "DEFAULT",
        "executor_id": { "value": "pod" },
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0), scalar("disk", 32.0)],
    });
    let small = || json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
    // Each waits for the other by a directory that they share.
    let shared = json!({
        "type": "MESOS",
        "volumes": [{
            "mode": "RW",
            "container_path": "common",
            "source": { "type": "SANDBOX_PATH", "sandbox_path": { "type": "PARENT", "path": "common" } },
        }],
    });
    let meet = |own: &str, other: &str| {
        let rest = if own == "first" { "exit 9" } else { "sleep 1000" };
        format!("touch common/{own}; while [ ! -e common/{other} ]; do sleep 0.01; done; {rest}")
    };
    let mut tasks = [
        task("first", &offer, &meet("first", "second"), small()),
        task("second", &offer, &meet("second", "first"), small()),
    ];
    for task in &mut tasks {
        task["container"] = shared.clone();
    }
    let group = json!({ "executor": executor, "task_group": { "tasks": tasks } });
    scheduler.accept(&[offer], json!([{ "type": "LAUNCH_GROUP", "launch_group": group }])).await;
    let mut ends = Vec::new();
    let failure = loop {
        let (kind, news) = scheduler.news().await;
        match kind {
            "UPDATE" => {
                assert_eq!(news["executor_id"]["value"], "pod", "{news}");
                let parent = &news["container_status"]["container_id"]["parent"]["value"];
                assert!(parent.is_string(), "in the container of its executor: {news}");
                let state = news["state"].as_str().expect("a state").to_owned();
                if !["TASK_STARTING", "TASK_RUNNING"].contains(&state.as_str()) {
                    ends.push((news["task_id"]["value"].as_str().expect("an id").to_owned(), state));
                }
            }
            "FAILURE" => break news,
            _ => {}
        }
    };
    // Each task's updates come in order; which of two tasks' comes first is nobody's promise.
    ends.sort_by(|(a, _), (b, _)| a.cmp(b));
    let ends: Vec<(&str, &str)> = ends.iter().map(|(id, state)| (id.as_str(), state.as_str())).collect();
    assert_eq!(ends, [("first", "TASK_FAILED"), ("second", "TASK_KILLING"), ("second", "TASK_KILLED")]);
    assert_eq!((&failure["executor_id"]["value"], &failure["status"]), (&json!("pod"), &json!(0)));
    // All of it is free again.
    let cpus = |offer: &Value| amount(offer, "cpus", |_| true);
    scheduler.offer_that(|offer| cpus(offer) == 4.0).await;
}

/// How much of a resource an offer has, of that which `wanted` likes.
fn amount(offer: &Value, name: &str, wanted: impl Fn(&Value) -> bool) -> f64 {
    let resources = offer["resources"].as_array().into_iter().flatten();
    let of = resources.filter(|resource| resource["name"] == name && wanted(resource));
    of.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
}

fn is_volume(resource: &Value) -> bool {
    resource["disk"]["persistence"]["id"] == "data"
}

fn reserved(megabytes: f64) -> Value {
    let mut disk = scalar("disk", megabytes);
    disk["reservations"] = json!([{ "type": "DYNAMIC", "role": "eng" }]);
    disk
}

fn volume() -> Value {
    let mut volume = reserved(64.0);
    volume["disk"] = json!({
        "persistence": { "id": "data" },
        "volume": { "mode": "RW", "container_path": "data" },
    });
    volume
}

async fn finished(scheduler: &mut Scheduler, task: &str) {
    let status = scheduler.end_of(task).await;
    assert_eq!(status["state"], "TASK_FINISHED", "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_outlives_its_task_and_its_agent_and_is_destroyed() {
    let (mut cluster, mut scheduler) = start().await;
    let offer = scheduler.offer().await;
    let with = || json!([scalar("cpus", 0.1), scalar("mem", 32.0), volume()]);
    let operation = |id: &str, kind: &str, member: &str, content: Value| {
        let mut operation = json!({ "id": { "value": id }, "type": kind });
        operation[member] = content;
        operation
    };
    let writer = task("writer", &offer, "echo kept > data/file", with());
    let operations = json!([
        operation("reserve", "RESERVE", "reserve", json!({ "resources": [reserved(64.0)] })),
        operation("create", "CREATE", "create", json!({ "volumes": [volume()] })),
        { "type": "LAUNCH", "launch": { "task_infos": [writer] } },
    ]);
    scheduler.accept(&[offer], operations).await;
    for id in ["reserve", "create"] {
        let end = scheduler.operation(id).await;
        assert_eq!(end["state"], "OPERATION_FINISHED", "{end}");
    }
    finished(&mut scheduler, "writer").await;
    let place = cluster.dir("agent-0").join("volumes/roles/eng/data/file");
    assert_eq!(std::fs::read_to_string(&place).expect("written"), "kept\n");

    let with_volume = |offer: &Value| amount(offer, "disk", is_volume) == 64.0;
    scheduler.offer_that(with_volume).await;
    cluster.agents[0].kill();
    // That offer of the dead agent is not to be used.
    scheduler.wait("RESCIND").await;
    cluster.agents[0].restart();
    let offer = scheduler.offer_that(with_volume).await;
    let reader = task("reader", &offer, "grep kept data/file", with());
    let launch = json!([{ "type": "LAUNCH", "launch": { "task_infos": [reader] } }]);
    scheduler.accept(&[offer], launch).await;
    finished(&mut scheduler, "reader").await;

    let offer = scheduler.offer_that(with_volume).await;
    let operations = json!([
        operation("destroy", "DESTROY", "destroy", json!({ "volumes": [volume()] })),
        operation("unreserve", "UNRESERVE", "unreserve", json!({ "resources": [reserved(64.0)] })),
    ]);
    scheduler.accept(&[offer], operations).await;
    for id in ["destroy", "unreserve"] {
        let end = scheduler.operation(id).await;
        assert_eq!(end["state"], "OPERATION_FINISHED", "{end}");
    }
    assert!(!place.exists(), "its data are gone");
    let plain = |resource: &Value| resource["reservations"].as_array().is_none_or(Vec::is_empty);
    scheduler.offer_that(|offer| amount(offer, "disk", plain) == 10_000.0).await;
    // Nor do they come back in what is left for the janitor.
    let left = cluster.dir("agent-0").join("volumes/destroyed");
    until("the data are removed", SOON, async || {
        let count = std::fs::read_dir(&left).map_err(|error| error.to_string())?.count();
        check(count == 0, || format!("{count} directories"))
    })
    .await;
}
