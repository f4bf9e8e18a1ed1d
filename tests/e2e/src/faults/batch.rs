//! Batch jobs that come due every other second while things break; afterwards each due time is compared with what was
//! started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::clients;
use super::nodes::Nodes;
use super::promises::{eventually, first_answer};

/// Between two due times of a job.
const PERIOD: i64 = 2000;
/// What each job does about due times that nobody was there for.
const POLICIES: [&str; 3] = ["all", "latest", "none"];
/// Until the first due time.
const AHEAD: Duration = Duration::from_secs(5);
/// A due time so short a while before the end may have its outcome yet to come.
const LAST: i64 = 4000;
const BASE: &str = "/v1/scheduler";

/// The jobs' schedules.
pub struct Jobs {
    /// The first due time of all, in milliseconds since 1970.
    first: i64,
}

/// What is on record of one due time, or of several that were skipped in one go.
struct Record {
    due: i64,
    up_to: i64,
    state: String,
    attempts: u64,
}

impl Jobs {
    /// Posts the jobs.
    ///
    /// # Errors
    /// No scheduler takes them in time.
    pub async fn post(nodes: &Nodes) -> Result<Self, String> {
        let http = clients::client()?;
        let first = (Timestamp::now() + AHEAD).as_second() * 1000;
        let start = Timestamp::from_millisecond(first).map_err(|error| error.to_string())?;
        for policy in POLICIES {
            let job = json!({
                "name": policy, "command": "echo $$ >> $RUNS/$MESOS_TASK_ID", "schedule": format!("R/{start}/PT2S"),
                "catchup": policy, "concurrencyPolicy": "Allow", "retries": 5, "historyLimit": 1000,
                "retryPolicy": { "kind": "fixed", "delay": 1 }, "cpus": 0.1, "mem": 32,
                "environmentVariables": [{ "name": "RUNS", "value": nodes.runs().display().to_string() }],
            });
            eventually(async || {
                let url = format!("http://{}{BASE}/iso8601", nodes.schedulers()[0]);
                let answer = http.post(url).json(&job).send().await.map_err(|error| error.to_string())?;
                if answer.status() == 204 { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
            })
            .await?;
        }
        Ok(Self { first })
    }

    /// Ends the jobs, waits for their last runs, and compares.
    ///
    /// # Errors
    /// The due time whose outcome is not one, or not what happened.
    pub async fn check(&self, nodes: &Nodes) -> Result<String, String> {
        let http = clients::client()?;
        let (mut outcomes, mut tasks) = (0, 0);
        for policy in POLICIES {
            // Whoever leads now has caught up: what comes next is on time.
            eventually(async || {
                let records = records(&http, nodes, policy).await?;
                let newest = records.iter().map(|record| record.up_to).max().unwrap_or_default();
                let behind = Timestamp::now().as_millisecond() - newest;
                if behind < LAST { Ok(()) } else { Err(format!("{policy} is {behind} ms behind")) }
            })
            .await?;
            let end = Timestamp::now().as_millisecond();
            eventually(async || {
                ask(&http, nodes, reqwest::Method::PUT, &format!("job/{policy}/suspend")).await
            })
            .await?;
            let records = eventually(async || {
                let records = records(&http, nodes, policy).await?;
                let open = |record: &&Record| {
                    !["succeeded", "failed", "killed", "skipped"].contains(&record.state.as_str())
                };
                // Those that were due while it was being suspended wait for its resumption.
                match records.iter().filter(open).find(|record| record.due < end - LAST) {
                    Some(record) => Err(format!("{policy}@{} is {}", record.due, record.state)),
                    None => Ok(records),
                }
            })
            .await?;
            let starts = starts(nodes, policy)?;
            outcomes += self.compare(policy, &records, &starts, end - LAST)?;
            tasks += starts.values().map(BTreeSet::len).sum::<usize>();
        }
        Ok(format!("{outcomes} due times, {tasks} tasks"))
    }

    /// How many due times before `end` have the one outcome that happened.
    fn compare(
        &self,
        job: &str,
        records: &[Record],
        starts: &BTreeMap<i64, BTreeSet<u64>>,
        end: i64,
    ) -> Result<usize, String> {
        let mut count = 0;
        for due in (self.first..end).step_by(usize::try_from(PERIOD).unwrap_or(1)) {
            let of: Vec<&Record> =
                records.iter().filter(|record| record.due <= due && due <= record.up_to).collect();
            let [record] = of[..] else { return Err(format!("{job}@{due} has {} outcomes", of.len())) };
            let started = starts.get(&due).map_or(0, BTreeSet::len) as u64;
            let right = match record.state.as_str() {
                "skipped" => started == 0,
                "succeeded" => (1..=record.attempts).contains(&started),
                _ => started <= record.attempts,
            };
            if !right {
                return Err(format!("{job}@{due} is {} and was started {started} times", record.state));
            }
            count += 1;
        }
        let unknown = starts.keys().find(|due| (**due - self.first) % PERIOD != 0 || **due < self.first);
        match unknown {
            Some(due) => Err(format!("{job} was started for {due}, when it was not due")),
            None if count == 0 => Err(format!("{job} never came due")),
            None => Ok(count),
        }
    }
}

async fn records(http: &reqwest::Client, nodes: &Nodes, job: &str) -> Result<Vec<Record>, String> {
    let runs = ask(http, nodes, reqwest::Method::GET, &format!("job/{job}/runs?limit=1000")).await?;
    let time = |text: &Value| -> Result<i64, String> {
        let text = text.as_str().unwrap_or_default();
        text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|error| format!("{text}: {error}"))
    };
    let record = |run: &Value| {
        let due = time(&run["due"])?;
        Ok(Record {
            due,
            up_to: if run["upTo"].is_string() { time(&run["upTo"])? } else { due },
            state: run["state"].as_str().unwrap_or_default().to_owned(),
            attempts: run["attempt"].as_u64().unwrap_or_default() + 1,
        })
    };
    runs.as_array().into_iter().flatten().map(record).collect()
}

/// By due time: the attempts that noted their start.
fn starts(nodes: &Nodes, job: &str) -> Result<BTreeMap<i64, BTreeSet<u64>>, String> {
    let mut starts: BTreeMap<i64, BTreeSet<u64>> = BTreeMap::new();
    for entry in std::fs::read_dir(nodes.runs()).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split(':').collect();
        if let ["ct", due, attempt, of, _] = parts[..]
            && of == job
            && let (Ok(due), Ok(attempt)) = (due.parse(), attempt.parse())
        {
            starts.entry(due).or_default().insert(attempt);
        }
    }
    Ok(starts)
}

/// The answer of whichever scheduler gives one; nothing for one without a body.
async fn ask(
    http: &reqwest::Client,
    nodes: &Nodes,
    method: reqwest::Method,
    path: &str,
) -> Result<Value, String> {
    let url = |scheduler: &String| format!("http://{scheduler}{BASE}/{path}");
    first_answer(nodes.schedulers().iter().map(|scheduler| http.request(method.clone(), url(scheduler))))
        .await
}
