//! An agent that is lost in mid-run and returns: each run as its job says, and in the end one task of each.

use std::time::Duration;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::tasks;
use e2e::wait::{check, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// The masters' patience with an agent, the job's own, and a relaunch.
const LOST: Duration = Duration::from_secs(90);

struct World {
    cluster: Cluster,
    schedulers: Schedulers,
}

impl World {
    /// The one run of a job, once it is as wanted.
    async fn run(&self, job: &str, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{job} {what}"), within, async || {
            let runs = self.schedulers.get(&self.cluster, &format!("/v1/scheduler/job/{job}/runs")).await?;
            check(wanted(&runs[0]), || format!("{runs:#}\n{}", self.cluster.logs()))?;
            Ok(runs[0].clone())
        })
        .await
    }

    async fn active_agents(&self, count: usize) {
        until(&format!("{count} agents can be reached"), SOON, async || {
            let url = format!("http://{}/slaves", self.cluster.master_addresses[0]);
            let answer = self.cluster.http.get(&url).send().await.map_err(|error| error.to_string())?;
            let body: Value = answer.json().await.map_err(|error| error.to_string())?;
            let agents = body["slaves"].as_array().into_iter().flatten();
            check(agents.filter(|agent| agent["active"] == true).count() == count, || body.to_string())
        })
        .await;
    }

    /// Tasks of a job that have processes.
    fn tasks(&self, job: &str) -> Vec<String> {
        let all = tasks::by_task(self.cluster.folder()).into_keys();
        all.filter(|task| task.contains(&format!(":{job}:"))).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_a_lost_agent_is_repeated_and_counts_once() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 2, marathons: 0, haproxy: false }).await;
    let schedulers = Schedulers::start(&cluster, 1, &[]);
    schedulers.leader(&cluster).await;
    let mut world = World { cluster, schedulers };
    until("a scheduler answers", START, async || {
        world.schedulers.get(&world.cluster, "/v1/scheduler/jobs").await.map(drop)
    })
    .await;
    // While the other is not there, every run comes to the first.
    world.cluster.agents[1].signal(libc::SIGSTOP);
    world.active_agents(1).await;
    for (job, unreachable) in [("quick", json!({"lostAfterSeconds": 1})), ("loyal", json!("wait"))] {
        let url = format!("http://{}/v1/scheduler/iso8601", world.schedulers.addresses[0]);
        let job = json!({
            "name": job, "command": "exec sleep 1000", "cpus": 0.1, "mem": 16, "disk": 1, "retries": 1,
            "retryPolicy": {"delay": 1}, "unreachable": unreachable,
        });
        let answer = world.cluster.http.post(url).json(&job).send().await.expect("an answer");
        assert_eq!(answer.status(), 204);
    }
    for job in ["quick", "loyal"] {
        world.run(job, "runs", SOON, |run| run["state"] == "running").await;
    }
    world.cluster.agents[1].signal(libc::SIGCONT);
    world.active_agents(2).await;
    let (first, loyal) = (world.tasks("quick"), world.tasks("loyal"));

    world.cluster.agents[0].signal(libc::SIGSTOP);
    let run = world
        .run("quick", "runs elsewhere", LOST, |run| run["state"] == "running" && run["attempt"] == 1)
        .await;
    let lost = &run["earlierAttempts"][0];
    let reason = lost["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("lost: its agent could not be reached for"), "{run:#}");
    assert_eq!((&lost["taskId"], &lost["lost"]["ended"]), (&json!(first[0]), &Value::Null), "{run:#}");
    world.run("loyal", "is waited for", SOON, |run| run["state"] == "unreachable").await;
    until("the lost one goes on, unseen, beside the other", SOON, async || {
        let both = world.tasks("quick");
        check(both.len() == 2, || format!("{both:?}"))
    })
    .await;
    // Whoever leads next knows of it too.
    world.schedulers.processes[0].kill();
    world.schedulers.processes[0].restart();

    world.cluster.agents[0].signal(libc::SIGCONT);
    let run = world
        .run("quick", "has an account of both", LOST, |run| {
            run["earlierAttempts"][0]["lost"]["ended"].is_string()
        })
        .await;
    assert_eq!(run["earlierAttempts"][0]["lost"]["ended"], "TASK_KILLED", "{run:#}");
    assert_eq!((&run["state"], &run["attempt"]), (&json!("running"), &json!(1)), "{run:#}");
    assert_eq!(world.tasks("quick"), [run["taskId"].as_str().expect("a task").to_owned()]);
    world.run("loyal", "runs as before", SOON, |run| run["state"] == "running" && run["attempt"] == 0).await;
    assert_eq!(world.tasks("loyal"), loyal);
}
