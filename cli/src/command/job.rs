//! `stoa job`: batch jobs and their runs.

use std::collections::BTreeMap;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::job_logs;
use super::table::{cell, print};
use super::turns;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// All jobs: their state, how their last run ended, when they run next
    List,
    /// One job, as the API has it
    Show {
        /// The job's name
        job: String,
    },
    /// Create or replace the job that a file describes, in JSON or YAML; without a schedule it runs once, at once
    Run {
        /// The file; `-` reads standard input
        file: String,
        /// Say when it would run, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Run a job now; its schedule does not notice
    Trigger {
        /// The job's name
        job: String,
        /// In place of the job's own arguments
        #[arg(long)]
        arguments: Option<String>,
        /// A variable of its environment; may be repeated
        #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
        parameters: Vec<(String, String)>,
        /// Asked for again with it, it is the same run
        #[arg(long, default_value = "")]
        token: String,
    },
    /// Try a run once more that has failed or was killed; of many tasks, those that have not succeeded
    Retry {
        /// The run's id, as `JOB@1767225600000`; `stoa job --json history JOB` shows it
        run: String,
    },
    /// Launch nothing more of a job; what waits keeps its place
    Suspend {
        /// The job's name
        job: String,
    },
    /// End a suspension
    Resume {
        /// The job's name
        job: String,
    },
    /// What became of each due time, and why
    History {
        /// The job's name
        job: String,
        /// The newest so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// What became of this date, as `2026-11-21` where the job lives, or of this time; and if nothing, why
        #[arg(long, value_name = "DATE")]
        on: Option<String>,
    },
    /// What a run has written, or the latest run of a job
    Logs(job_logs::What),
    /// Kill every run of a job
    Kill {
        /// The job's name
        job: String,
    },
    /// Delete a job and kill its runs
    Remove {
        /// The job's name
        job: String,
    },
    /// Queues that are named or have something running, with their weights
    Queues,
    /// Say how much of the cluster a user's queue gets, beside others
    Weigh {
        /// The queue: what jobs name, or their owner
        queue: String,
        /// Twice the weight of another, twice the room; a queue that nobody named has 1
        weight: u32,
        /// The highest priority that its jobs have, whatever they say
        #[arg(long, allow_negative_numbers = true)]
        max_priority: Option<i32>,
    },
}

const BASE: &str = "/v1/scheduler";

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::Queues => turns::queues(api).await,
        Action::Weigh { queue, weight, max_priority } => {
            turns::weigh(api, &queue, weight, max_priority).await
        }
        Action::List => list(api).await,
        Action::Show { job } => {
            outln!("{:#}", api.get(&format!("{BASE}/job/{job}")).await?);
            Ok(())
        }
        Action::Run { file, dry_run } => put(api, &file, dry_run).await,
        Action::Trigger { job, arguments, parameters, token } => {
            let parameters: BTreeMap<String, String> = parameters.into_iter().collect();
            let document =
                json!({"arguments": arguments, "parameters": parameters, "idempotencyToken": token});
            trigger(api, &job, &document).await
        }
        Action::Retry { run } => {
            let request = api.request(Method::POST, &format!("{BASE}/runs/{run}/retry"));
            show_run(api, &api.ask(request).await?);
            Ok(())
        }
        Action::Suspend { job } => {
            let path = format!("job/{job}/suspend");
            change(api, Method::PUT, &path, &format!("{job} is suspended")).await
        }
        Action::Resume { job } => {
            change(api, Method::PUT, &format!("job/{job}/resume"), &format!("{job} goes on")).await
        }
        Action::History { job, limit, on } => history(api, &job, limit, on.as_deref()).await,
        Action::Logs(what) => job_logs::show(api, &what).await,
        Action::Kill { job } => {
            let said = format!("killing the runs of {job}");
            change(api, Method::DELETE, &format!("task/kill/{job}"), &said).await
        }
        Action::Remove { job } => {
            change(api, Method::DELETE, &format!("job/{job}"), &format!("{job} is gone")).await
        }
    }
}

/// `NAME=VALUE`.
fn parameter(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "must be NAME=VALUE".to_owned())
}

async fn change(api: &Api, method: Method, path: &str, said: &str) -> Result<(), String> {
    api.send(api.request(method, &format!("{BASE}/{path}"))).await?;
    outln!("{said}");
    Ok(())
}

async fn list(api: &Api) -> Result<(), String> {
    let jobs = api.get(&format!("{BASE}/jobs")).await?;
    if api.raw(&jobs) {
        return Ok(());
    }
    let row = |job: &Value| {
        let (success, error) = (cell(&job["lastSuccess"]), cell(&job["lastError"]));
        let last = if success.is_empty() && error.is_empty() {
            ""
        } else if success > error {
            "success"
        } else {
            "failure"
        };
        let state = if job["disabled"] == true {
            "disabled".to_owned()
        } else if job["suspend"] == true {
            "suspended".to_owned()
        } else {
            cell(&job["state"])
        };
        let due = if job["parents"].is_array() {
            format!("after {}", cell(&job["parents"]))
        } else {
            cell(&job["nextRun"])
        };
        vec![
            cell(&job["name"]),
            state,
            last.to_owned(),
            cell(&job["successCount"]),
            cell(&job["errorCount"]),
            due,
        ]
    };
    let rows: Vec<Vec<String>> = jobs.as_array().into_iter().flatten().map(row).collect();
    print(&["job", "state", "last", "ok", "failed", "next"], &rows);
    Ok(())
}

async fn put(api: &Api, file: &str, dry_run: bool) -> Result<(), String> {
    let text =
        if file == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| format!("{file}: {error}"))?;
    let document = read(&text).map_err(|error| format!("{file}: {error}"))?;
    let kind = if document["parents"].is_array() { "dependency" } else { "iso8601" };
    let path = format!("{BASE}/{kind}?dryRun={dry_run}");
    let answer = api.ask(api.request(Method::POST, &path).json(&document)).await?;
    if !dry_run {
        outln!("{} is accepted", cell(&document["name"]));
    } else if !api.raw(&answer) {
        outln!("{} would run at", cell(&answer["name"]));
        for time in answer["next"].as_array().into_iter().flatten() {
            outln!("  {}", cell(time));
        }
    }
    Ok(())
}

/// An object is JSON; anything else is YAML, of which JSON's other forms are a part.
fn read(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

async fn trigger(api: &Api, job: &str, document: &Value) -> Result<(), String> {
    let request = api.request(Method::POST, &format!("{BASE}/job/{job}/dispatch")).json(document);
    show_run(api, &api.ask(request).await?);
    Ok(())
}

fn show_run(api: &Api, run: &Value) {
    if !api.raw(run) {
        let line = format!("{} is {} {}", cell(&run["id"]), cell(&run["state"]), cell(&run["reason"]));
        outln!("{}", line.trim_end());
    }
}

async fn history(api: &Api, job: &str, limit: usize, on: Option<&str>) -> Result<(), String> {
    if let Some(on) = on {
        return turns::account(api, job, on).await;
    }
    let runs = api.get(&format!("{BASE}/job/{job}/runs")).await?;
    let chosen: Vec<&Value> = runs.as_array().into_iter().flatten().take(limit).collect();
    if api.json {
        outln!("{:#}", Value::from(chosen.into_iter().cloned().collect::<Vec<_>>()));
        return Ok(());
    }
    let row = |run: &&Value| {
        let due = match cell(&run["count"]).as_str() {
            "" => cell(&run["due"]),
            count => format!("{} and {} more", cell(&run["due"]), count.parse::<u64>().unwrap_or(2) - 1),
        };
        let fields = ["state", "trigger", "attempt", "started", "finished", "exitCode"];
        let fields = fields.map(|field| cell(&run[field]));
        // Of a run that waits: what for. It may have a reason besides, of its attempt before.
        let why = ["waitsFor", "reason"].map(|field| cell(&run[field]));
        let why = why.into_iter().find(|why| !why.is_empty()).unwrap_or_default();
        [cell(&run["id"]), due].into_iter().chain(fields).chain([why]).collect()
    };
    let rows: Vec<Vec<String>> = chosen.iter().map(row).collect();
    print(&["run", "due", "state", "trigger", "attempt", "started", "finished", "exit", "reason"], &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_from_json_and_from_yaml() {
        let yaml = "name: nightly\nschedule: 0 2 * * *\ncpus: 0.5\nsteps:\n- name: load\n  needs: {extract: failure}\n";
        let json = r#" {"name": "nightly", "schedule": "0 2 * * *", "cpus": 0.5,
            "steps": [{"name": "load", "needs": {"extract": "failure"}}]}"#;
        assert_eq!(read(yaml), read(json));
        assert!(read(json).is_ok_and(|job| job["steps"][0]["needs"]["extract"] == "failure"));
        assert!(read("{\"name\": }").is_err());
        assert!(read("name: [").is_err());
    }

    #[test]
    fn a_parameter_has_a_name_and_a_value() {
        assert_eq!(parameter("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(parameter("A"), Err("must be NAME=VALUE".to_owned()));
    }
}
