//! `stoa job logs`: what a run has written, as the batch scheduler finds it on the agent that ran it.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::http::Api;

/// Between looks at a file that is followed.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// A run's id, as `JOB@1767225600000`, with `.NUMBER` for one task of many; or a job: then its latest run
    run: String,
    /// Its standard error instead of its standard output
    #[arg(long)]
    stderr: bool,
    /// This attempt of it, from 0, instead of the last
    #[arg(long)]
    attempt: Option<u32>,
    /// Go on as it writes more, until the run is over
    #[arg(short, long)]
    follow: bool,
    /// Only so many bytes of the end
    #[arg(long, value_name = "BYTES")]
    tail: Option<u64>,
}

pub(crate) async fn show(api: &Api, what: &What) -> Result<(), String> {
    let run = if what.run.contains('@') { what.run.clone() } else { latest(api, &what.run).await? };
    let mut from = what.tail.map_or(("offset", 0), |bytes| ("tail", bytes));
    loop {
        // What it writes last is written before it is over.
        let over = !what.follow || is_over(api, &run).await?;
        loop {
            let piece = piece(api, &run, what, from).await?;
            let data = piece["data"].as_str().unwrap_or_default();
            from = ("offset", piece["next"].as_u64().unwrap_or_default());
            if data.is_empty() {
                break;
            }
            let mut out = std::io::stdout().lock();
            // A reader that has gone, `head` for one, has seen enough.
            if out.write_all(data.as_bytes()).and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
        }
        if over {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn piece(api: &Api, run: &str, what: &What, from: (&str, u64)) -> Result<Value, String> {
    let file = if what.stderr { "stderr" } else { "stdout" };
    let request = api.request(Method::GET, &format!("/v1/scheduler/runs/{run}/logs"));
    let request = request.query(&[("file", file)]).query(&[from]);
    let attempt: Vec<(&str, u32)> = what.attempt.iter().map(|attempt| ("attempt", *attempt)).collect();
    api.ask(request.query(&attempt)).await
}

async fn latest(api: &Api, job: &str) -> Result<String, String> {
    let runs = api.get(&format!("/v1/scheduler/job/{job}/runs")).await?;
    let mut runs = runs.as_array().into_iter().flatten();
    let ran = runs.find(|run| run["taskId"].is_string() || run["parts"].is_object());
    let id = ran.and_then(|run| run["id"].as_str());
    id.map(str::to_owned).ok_or_else(|| format!("no run of job '{job}' has had a task"))
}

async fn is_over(api: &Api, run: &str) -> Result<bool, String> {
    let run = api.get(&format!("/v1/scheduler/runs/{run}")).await?;
    let state = run["state"].as_str().unwrap_or_default();
    Ok(["succeeded", "failed", "killed", "skipped"].contains(&state))
}
