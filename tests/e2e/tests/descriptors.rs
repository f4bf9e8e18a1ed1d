//! An agent and a master that have no descriptors left: they take no new connections, do not spin, and lose no task; with
//! descriptors again they serve as before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Shape};
use e2e::process::Process;
use e2e::tasks;
use e2e::wait::{check, until};
use reqwest::Method;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
/// The pids of each task.
type Processes = BTreeMap<String, Vec<i32>>;
/// How long a process is watched while it has none.
const WATCHED: Duration = Duration::from_secs(2);
/// The most it may work meanwhile: one that spins works all the time.
const BUSY: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_nothing_spins_and_no_task_dies() {
    let cluster = Cluster::start(Shape { masters: 1, agents: 1, marathons: 1, haproxy: false }).await;
    let app = |instances: usize| {
        json!({
            "id": "/app", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": instances,
            "portDefinitions": [], "backoffSeconds": 0.2
        })
    };
    let (status, answer) = cluster.ask(Method::POST, "/v2/apps", Some(&app(2))).await;
    assert_eq!(status, 201, "{answer}");
    let before = wait_running(&cluster, 2).await;

    let address = &cluster.agent_addresses[0];
    exhaust(&cluster.agents[0], address).await;
    are_untouched(&cluster, &before).await;
    let (status, answer) = cluster.ask(Method::PUT, "/v2/apps//app?force=true", Some(&app(4))).await;
    assert_eq!(status, 200, "{answer}");
    let more = wait_running(&cluster, 4).await;
    are_among(&before, &more);

    exhaust(&cluster.masters[0], &cluster.master_addresses[0]).await;
    are_untouched(&cluster, &more).await;
    let (status, answer) = cluster.ask(Method::PUT, "/v2/apps//app?force=true", Some(&app(5))).await;
    assert_eq!(status, 200, "{answer}");
    are_among(&more, &wait_running(&cluster, 5).await);
}

/// Leaves a process without descriptors for a while, in which nobody new is answered and it hardly works; then somebody is.
async fn exhaust(process: &Process, address: &str) {
    let pid = process.pid();
    let url = format!("http://{address}/version");
    // A new client, whose connections are new as well.
    let ask = async |patience: Duration| {
        let client = reqwest::Client::builder().timeout(patience).build().expect("a client");
        client.get(&url).send().await.map(|answer| answer.status().as_u16())
    };
    until("it answers", SOON, async || {
        let answer = ask(Duration::from_secs(5)).await;
        check(matches!(answer, Ok(200)), || format!("{answer:?}\n{}", process.log_tail()))
    })
    .await;
    let most = bound_descriptors(pid, 3);
    let (worked, began) = (work(pid), Instant::now());
    let answer = ask(WATCHED).await;
    assert!(answer.is_err(), "{answer:?}: a connection was taken without a descriptor");
    let (worked, passed) = (work(pid) - worked, began.elapsed());
    assert!(worked < BUSY, "it worked for {worked:?} of {passed:?}\n{}", process.log_tail());
    until("it says why", SOON, async || {
        check(process.log_text().contains("Too many open files"), || process.log_tail())
    })
    .await;
    bound_descriptors(pid, most);
    until("it answers again", SOON, async || {
        let answer = ask(Duration::from_secs(5)).await;
        check(matches!(answer, Ok(200)), || format!("{answer:?}\n{}", process.log_tail()))
    })
    .await;
}

/// How many descriptors a process may have from now on; what it was before.
fn bound_descriptors(pid: i32, most: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both structures live through the calls; the process is one that this test started.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before), 0);
        let after = libc::rlimit { rlim_cur: most, ..before };
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const after, std::ptr::null_mut()), 0);
    }
    before.rlim_cur
}

/// Processor time that a process has used.
fn work(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = text.rsplit(')').next().expect("a line").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    // The fourteenth and fifteenth fields, in hundredths of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// As many as that, and none that is just becoming what it is to run.
async fn wait_running(cluster: &Cluster, count: usize) -> Processes {
    until(&format!("{count} tasks run"), SOON, async || {
        let running = tasks::by_task(cluster.folder());
        check(running.len() == count, || format!("{running:?}\n{}", cluster.logs()))?;
        Ok(running)
    })
    .await
}

/// There are those tasks, and they are the processes they were.
async fn are_untouched(cluster: &Cluster, before: &Processes) {
    are_among(before, &wait_running(cluster, before.len()).await);
}

fn are_among(before: &Processes, now: &Processes) {
    for (task, pids) in before {
        assert_eq!(now.get(task), Some(pids), "{task} was touched");
    }
}
