//! Batch jobs on real processes: the leading scheduler and the leading master are killed, and no due time is run twice or
//! forgotten.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use e2e::chronos::Schedulers;
use e2e::cluster::{Cluster, START, Shape};
use e2e::wait::{check, until};
use serde_json::json;

/// Due times, two seconds apart.
const DUE: u64 = 12;
const ALL_DONE: Duration = Duration::from_secs(90);

/// How often the command was run for each due time.
fn executions(file: &Path) -> BTreeMap<u64, usize> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut counts = BTreeMap::new();
    for due in text.lines().filter_map(|line| line.parse().ok()) {
        *counts.entry(due).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_due_time_is_run_twice_or_forgotten() {
    let mut cluster = Cluster::start(Shape { masters: 3, agents: 1, marathons: 0, haproxy: false }).await;
    let mut schedulers = Schedulers::start(&cluster, 2, &[]);
    schedulers.leader(&cluster).await;
    let file = cluster.folder().join("executions");
    let job = json!({
        "name": "tick",
        "command": format!("echo $CHRONOS_JOB_RUN_TIME >> {}", file.display()),
        "schedule": format!("R{DUE}//PT2S"),
        "catchup": "all",
        "concurrent": true,
        "cpus": 0.1, "mem": 16, "disk": 1,
    });
    // Any instance takes it: a standby hands it on.
    until("the job is accepted", START, async || {
        let url = format!("http://{}/v1/scheduler/iso8601", schedulers.addresses[1]);
        let answer = cluster.http.post(url).json(&job).send().await.map_err(|error| error.to_string())?;
        check(answer.status() == 204, || answer.status().to_string())
    })
    .await;

    until("the first runs are done", START, async || {
        check(executions(&file).len() >= 2, || format!("{:?}", executions(&file)))
    })
    .await;
    let (scheduler, master) = (schedulers.leader(&cluster).await, cluster.leading_master().await);
    schedulers.processes[scheduler].kill();
    cluster.masters[master].kill();
    cluster.masters[master].restart();
    schedulers.processes[scheduler].restart();

    let runs = until("every due time has its outcome", ALL_DONE, async || {
        let runs = schedulers.get(&cluster, "/v1/scheduler/job/tick/runs").await?;
        let over = runs.as_array().into_iter().flatten().filter(|run| run["state"] == "succeeded").count();
        if over as u64 == DUE { Ok(runs) } else { Err(format!("{over} of {DUE} succeeded: {runs}")) }
    })
    .await;
    let executed = executions(&file);
    assert_eq!(executed.len() as u64, DUE, "{executed:?}\n{runs:#}");
    assert!(executed.values().all(|count| *count == 1), "a due time was run twice: {executed:?}\n{runs:#}");
    let due: Vec<u64> = executed.keys().copied().collect();
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 2000), "{due:?}");
}
