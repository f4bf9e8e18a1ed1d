//! Two agents with one id: the data directory of a running agent is copied and a second agent is started with it, as when
//! the image of a machine is cloned. The second ends and says why, whenever it comes; the first and its tasks go on.

use std::process::Command;
use std::time::Duration;

use e2e::cluster::{Cluster, Shape};
use e2e::process::Process;
use e2e::wait::{check, until};
use e2e::{ports, tasks};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// What the second is told while the first answers.
const ANSWERED: &str = "has just answered from there: this data directory is a copy of its";
/// And what it is told for ever, once the first was started again.
const GONE_ON: &str = "has gone on without this process";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_an_agent_ends_and_the_agent_goes_on() {
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 1, marathons: 1, haproxy: false }).await;
    let app = json!({
        "id": "/app", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 2, "portDefinitions": []
    });
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&app)).await;
    assert_eq!(status, 201, "{answer}");
    let before = until("the tasks run", SOON, async || {
        let running = tasks::by_task(cluster.folder());
        check(running.len() == 2, || format!("{running:?}\n{}", cluster.logs()))?;
        Ok(running)
    })
    .await;

    let (from, to) = (cluster.dir("agent-0"), cluster.dir("copy"));
    let copied = Command::new("cp").arg("-a").args([&from, &to]).status().expect("cp runs");
    assert!(copied.success());
    let flags = vec![
        "agent".to_owned(),
        format!("--listen=127.0.0.1:{}", ports::free()),
        format!("--master={}", cluster.master_addresses.join(",")),
        format!("--data-dir={}", to.display()),
        "--resources=cpus:4;mem:4096;disk:10000".to_owned(),
    ];
    let mut copy = Process::start(cluster.folder(), "copy", flags);
    ends_saying(&mut copy, ANSWERED, 1);
    is_untouched(&cluster, &before).await;

    // Nobody knows the first one better than the second when a new leader comes into office.
    let leader = cluster.leading_master().await;
    cluster.masters[leader].kill();
    copy.restart();
    ends_saying(&mut copy, ANSWERED, 2);
    is_untouched(&cluster, &before).await;
    cluster.masters[leader].restart();

    cluster.agents[0].kill();
    cluster.agents[0].restart();
    is_untouched(&cluster, &before).await;
    copy.restart();
    ends_saying(&mut copy, GONE_ON, 1);
    is_untouched(&cluster, &before).await;
}

/// The process ends by itself, has failed, and has said so for so many times in all.
fn ends_saying(process: &mut Process, why: &str, times: usize) {
    let status = process.wait_exit(SOON);
    let log = process.log_text();
    assert!(!status.success(), "{log}");
    let errors = log.lines().filter(|line| line.starts_with("stoa: ") && line.contains(why)).count();
    assert_eq!(errors, times, "{log}");
}

/// The cluster has the one agent, in reach at its own address, and its tasks are the processes they were.
async fn is_untouched(cluster: &Cluster, before: &std::collections::BTreeMap<String, Vec<i32>>) {
    let port = cluster.agent_addresses[0].rsplit_once(':').expect("a port").1;
    let port: u64 = port.parse().expect("a number");
    until("the first agent is the only one, and active", SOON, async || {
        let leader = cluster.leading_master().await;
        let url = format!("http://{}/slaves", cluster.master_addresses[leader]);
        let answer = cluster.http.get(&url).send().await.map_err(|error| error.to_string())?;
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let agents = body["slaves"].as_array().cloned().unwrap_or_default();
        let right = agents.len() == 1 && agents[0]["active"] == true && agents[0]["port"] == port;
        check(right, || format!("{body}\n{}", cluster.logs()))
    })
    .await;
    assert_eq!(&tasks::by_task(cluster.folder()), before, "{}", cluster.logs());
    until("the supervisor lists both instances as running", SOON, async || {
        let listed = cluster.get("/v2/tasks").await;
        let running = listed["tasks"].as_array().into_iter().flatten();
        let count = running.filter(|task| task["state"] == "TASK_RUNNING").count();
        check(count == before.len(), || listed.to_string())
    })
    .await;
}
