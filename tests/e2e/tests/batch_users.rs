//! What users of a batch scheduler expect, on real processes and one cluster: arrays, workflows, queues with weights, room
//! made by priority, retries by exit code and by hand, and an answer to "did it run then".

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::ports;
use e2e::process::{Process, stoa};
use e2e::wait::{check, until};
use serde_json::{Value, json};

/// For runs of some seconds, and a scheduler's death on the way.
const DONE: Duration = Duration::from_secs(60);
/// Indexes of the array.
const INDEXES: usize = 60;
/// Of them have run when the scheduler is killed.
const BEFORE_THE_KILL: usize = 10;

struct World {
    cluster: Cluster,
    schedulers: Schedulers,
}

impl World {
    /// `stoa job ARGUMENTS`: whether it went well, and what it said.
    fn job(&self, arguments: &[&str]) -> (bool, String) {
        let address = format!("--chronos={}", self.schedulers.addresses[1]);
        let mut command = Command::new(stoa());
        command.args(["job", &address]).args(arguments);
        let output = tokio::task::block_in_place(|| command.output()).expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn told(&self, arguments: &[&str]) -> String {
        let (well, said) = self.job(arguments);
        assert!(well, "stoa job {arguments:?}: {said}");
        said
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cluster.folder().join(name)
    }

    /// Writes a job to a file and runs it.
    fn run(&self, name: &str, text: &str) {
        let file = self.file(name);
        std::fs::write(&file, text).expect("the file is written");
        let said = self.told(&["run", &file.display().to_string()]);
        assert!(said.contains("is accepted"), "{said}");
    }

    fn run_json(&self, name: &str, mut fields: Value) {
        fields["name"] = json!(name);
        for (field, value) in [("mem", json!(16)), ("disk", json!(1)), ("retries", json!(0))] {
            if fields[field].is_null() {
                fields[field] = value;
            }
        }
        self.run(&format!("{name}.json"), &fields.to_string());
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        self.schedulers.get(&self.cluster, &format!("/v1/scheduler/{path}")).await
    }

    /// The one run of a job, once it is in this state.
    async fn run_in(&self, job: &str, state: &str) -> Value {
        until(&format!("{job} is {state}"), DONE, async || {
            let runs = self.get(&format!("job/{job}/runs")).await?;
            let run = runs[0].clone();
            check(run["state"] == state, || format!("{runs}"))?;
            self.get(&format!("runs/{}", run["id"].as_str().unwrap_or_default())).await
        })
        .await
    }

    /// What each queue has running.
    async fn running(&self) -> Result<Vec<(String, f64)>, String> {
        let queues = self.get("queues").await?;
        let line = |queue: &Value| {
            (queue["name"].as_str().unwrap_or_default().to_owned(), queue["running"].as_f64().unwrap_or(0.0))
        };
        Ok(queues.as_array().into_iter().flatten().map(line).filter(|(_, running)| *running > 0.0).collect())
    }

    async fn until_running(&self, wanted: &[(&str, f64)]) {
        let wanted: Vec<(String, f64)> =
            wanted.iter().map(|(name, running)| ((*name).to_owned(), *running)).collect();
        until(&format!("{wanted:?} runs"), DONE, async || {
            let running = self.running().await?;
            check(running == wanted, || format!("{running:?}"))
        })
        .await;
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_jobs_as_their_users_know_them() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 0, haproxy: false }).await;
    let schedulers = Schedulers::start(&cluster, 2, &[]);
    schedulers.leader(&cluster).await;
    let mut world = World { cluster, schedulers };
    until("a scheduler answers", START, async || world.get("jobs").await.map(drop)).await;

    start_array(&world);
    start_workflow(&world);
    start_failures(&world);
    kill_the_leader(&mut world).await;
    array_is_whole(&world).await;
    workflow_has_its_states(&world).await;
    failures_are_told_apart(&world).await;
    history_answers(&world);
    output_is_read(&world).await;
    weights_and_priorities(&world).await;
    gpus_are_found(&world).await;
    output_of_a_dead_agent_is_missed_by_name(&mut world).await;
}

fn start_array(world: &World) {
    let command = format!(
        "echo $CHRONOS_ARRAY_INDEX/$CHRONOS_ARRAY_SIZE >> {}; sleep 0.2",
        world.file("indexes").display()
    );
    let array = json!({"command": command, "completions": INDEXES, "parallelism": 8, "cpus": 0.2});
    world.run_json("array", array);
}

fn start_workflow(world: &World) {
    world.run(
        "nightly.yaml",
        "name: nightly\ncpus: 0.1\nmem: 16\ndisk: 1\nretries: 0\nsteps:\n\
         - {name: extract, command: \"true\"}\n\
         - {name: load, command: exit 7, needs: [extract]}\n\
         - {name: report, command: \"true\", needs: [load]}\n\
         - {name: alarm, command: \"true\", needs: {load: failure}}\n\
         - {name: clean, command: \"true\", needs: {load: completion}}\n",
    );
}

fn start_failures(world: &World) {
    let policy = json!({"delay": 1, "neverOn": [64]});
    let (mark, fixed) =
        (world.file("tried").display().to_string(), world.file("fixed").display().to_string());
    world.run_json(
        "passing",
        json!({"command": format!("test -e {mark} || {{ touch {mark}; exit 1; }}"), "cpus": 0.1,
            "retries": 3, "retryPolicy": policy}),
    );
    world.run_json(
        "final",
        json!({"command": format!("echo attempt $CHRONOS_JOB_RUN_ATTEMPT; test -e {fixed} || {{ echo broken >&2; exit 64; }}"),
            "cpus": 0.1, "retries": 3, "retryPolicy": policy}),
    );
}

/// In the middle of the array; the other takes over and the dead one comes back as a standby.
async fn kill_the_leader(world: &mut World) {
    until("some indexes have run", DONE, async || {
        let ran = world.lines("indexes").len();
        check(ran >= BEFORE_THE_KILL, || format!("{ran}"))
    })
    .await;
    let leader = world.schedulers.leader(&world.cluster).await;
    world.schedulers.processes[leader].kill();
    world.schedulers.processes[leader].restart();
}

async fn array_is_whole(world: &World) {
    let run = world.run_in("array", "succeeded").await;
    let mut ran = world.lines("indexes");
    ran.sort();
    let mut wanted: Vec<String> = (0..INDEXES).map(|index| format!("{index}/{INDEXES}")).collect();
    wanted.sort();
    assert_eq!(ran, wanted, "every index runs once: {run:#}");
    assert_eq!(run["parts"]["succeeded"], format!("0-{}", INDEXES - 1));
}

async fn workflow_has_its_states(world: &World) {
    let run = world.run_in("nightly", "failed").await;
    let parts = &run["parts"];
    let states = [&parts["succeeded"], &parts["failed"], &parts["skipped"]];
    assert_eq!(states, ["0,3-4", "1", "2"], "{run:#}");
    let reason = run["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("step load failed") && run["exitCode"] == 7, "{run:#}");
}

async fn failures_are_told_apart(world: &World) {
    let passing = world.run_in("passing", "succeeded").await;
    assert_eq!(passing["attempt"], 1, "{passing:#}");
    let last = world.run_in("final", "failed").await;
    assert_eq!((&last["attempt"], &last["exitCode"]), (&json!(0), &json!(64)), "{last:#}");
    // Somebody mends the cause, and tries the run once more.
    std::fs::write(world.file("fixed"), "").expect("written");
    let id = last["id"].as_str().expect("an id");
    // It may be launched already when it is told of.
    assert!(world.told(&["retry", id]).starts_with(id));
    let last = world.run_in("final", "succeeded").await;
    assert_eq!((&last["attempt"], &last["id"]), (&json!(1), &json!(id)), "{last:#}");
    let (well, said) = world.job(&["retry", id]);
    assert!(!well && said.contains("must have failed or been killed, is succeeded"), "{said}");
}

fn history_answers(world: &World) {
    let shown: Value = serde_json::from_str(&world.told(&["show", "final"])).expect("JSON");
    let today = shown["lastSuccess"].as_str().expect("a time")[..10].to_owned();
    let said = world.told(&["history", "array", "--on", &today]);
    // The test may run at midnight: then it was due the day before.
    assert!(said.contains("succeeded") || said.contains("not due then"), "{said}");
    let said = world.told(&["history", "array", "--on", "1999-12-31"]);
    assert!(said.contains("not due then"), "{said}");
    let (well, said) = world.job(&["history", "array", "--on", "yesterday"]);
    assert!(!well && said.contains("must be a date"), "{said}");
}

/// What each attempt has written, over the prompt and over HTTP, in pieces.
async fn output_is_read(world: &World) {
    assert_eq!(world.told(&["logs", "final"]), "attempt 1\n");
    assert_eq!(world.told(&["logs", "final", "--attempt", "0"]), "attempt 0\n");
    assert_eq!(world.told(&["logs", "final", "--attempt", "0", "--stderr"]), "broken\n");
    assert_eq!(world.told(&["logs", "final", "--follow", "--tail", "2"]), "1\n");
    let id = world.run_in("final", "succeeded").await["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.told(&["logs", &id]), "attempt 1\n");
    let piece = world.get(&format!("runs/{id}/logs?offset=3&length=4")).await.expect("a piece");
    assert_eq!(
        (&piece["data"], &piece["next"], &piece["size"]),
        (&json!("empt"), &json!(7), &json!(10)),
        "{piece:#}"
    );

    let array = world.run_in("array", "succeeded").await["id"].as_str().expect("an id").to_owned();
    for (path, status, said) in [
        (format!("{id}/logs?file=secrets"), 400, "file 'secrets' must be stdout or stderr"),
        (format!("{id}/logs?offset=-1"), 400, "offset '-1' must be a whole number"),
        (format!("{id}/logs?attempt=7"), 400, "attempt 7 of run"),
        ("final@1/logs".to_owned(), 400, "run 'final@1'"),
        (format!("{array}/logs"), 400, "is of many tasks: one is"),
    ] {
        assert_refused(world, &path, status, said).await;
    }
}

async fn assert_refused(world: &World, path: &str, status: u16, said: &str) {
    let url = format!("http://{}/v1/scheduler/runs/{path}", world.schedulers.addresses[0]);
    let answer = world.cluster.http.get(url).send().await.expect("an answer");
    let told = (answer.status().as_u16(), answer.text().await.expect("a body"));
    assert!(told.0 == status && told.1.contains(said), "{path}: {told:?}");
}

/// The sandbox goes first, then the agent.
async fn output_of_a_dead_agent_is_missed_by_name(world: &mut World) {
    let run = world.run_in("final", "succeeded").await;
    let id = run["id"].as_str().expect("an id");
    let task = run["taskId"].as_str().expect("a task");
    let sandbox = folder_of(&world.cluster.dir("agent-0"), task).expect("its sandbox");
    std::fs::remove_dir_all(sandbox).expect("removed");
    assert_refused(world, &format!("{id}/logs"), 410, "its sandbox was collected").await;
    world.cluster.agents[0].kill();
    assert_refused(world, &format!("{id}/logs"), 502, "cannot be asked").await;
}

/// The folder of this name below another; links are not followed.
fn folder_of(below: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(below).ok()?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).find_map(|path| {
        if path.file_name().is_some_and(|last| last == name) { Some(path) } else { folder_of(&path, name) }
    })
}

/// Eight places: six to three, two to one. Then a run that may make room takes one of them.
async fn weights_and_priorities(world: &World) {
    world.run_json("filler", json!({"command": "exec sleep 1000", "cpus": 4}));
    world.run_in("filler", "running").await;
    world.told(&["weigh", "ann", "3"]);
    for user in ["ann", "bob"] {
        let array = json!({"command": "exec sleep 1000", "queue": user, "completions": 20, "cpus": 0.5});
        world.run_json(user, array);
        world.run_in(user, "waiting").await;
    }
    world.told(&["kill", "filler"]);
    world.until_running(&[("ann", 3.0), ("bob", 1.0)]).await;

    let urgent = json!({"command": "true", "cpus": 0.5, "priority": 50, "preempts": true});
    world.run_json("urgent", urgent);
    world.run_in("urgent", "succeeded").await;
    world.until_running(&[("ann", 3.0), ("bob", 1.0)]).await;
    for user in ["ann", "bob"] {
        let run = world.get(&format!("job/{user}/runs")).await.expect("an answer")[0].clone();
        assert_eq!((&run["parts"]["failed"], &run["state"]), (&Value::Null, &json!("running")), "{run:#}");
        world.told(&["remove", user]);
    }
    world.until_running(&[]).await;
}

/// Masters keep machines with GPUs from schedulers that do not know what these are.
async fn gpus_are_found(world: &World) {
    world.run_json("train", json!({"command": "true", "cpus": 0.1, "gpus": 1}));
    world.run_in("train", "waiting").await;
    let flags = vec![
        "agent".to_owned(),
        format!("--listen=127.0.0.1:{}", ports::free()),
        format!("--master={}", world.cluster.master_addresses[0]),
        format!("--data-dir={}", world.cluster.dir("agent-gpu").display()),
        "--resources=cpus:1;mem:512;disk:1000;gpus:1".to_owned(),
        "--kill-tasks-on-exit".to_owned(),
    ];
    let _agent = Process::start(world.cluster.folder(), "agent-gpu", flags);
    world.run_in("train", "succeeded").await;
}
