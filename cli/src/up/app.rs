//! The first app: submitted, waited for, and shown with the addresses where it answers.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::plan::Plan;

/// How long the app may take to become healthy before `up` says what it waits for.
const HEALTHY_DEADLINE: Duration = Duration::from_secs(60);

/// What is to be submitted.
pub(crate) struct App {
    id: String,
    document: Value,
}

impl App {
    /// Reads it before anything is started.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let named = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("--app {named}: {error}"))?;
        let document: Value =
            serde_json::from_str(&text).map_err(|error| format!("--app {named}: it is not JSON: {error}"))?;
        let id = document["id"].as_str().ok_or_else(|| format!("--app {named}: it has no `id`"))?.to_owned();
        Ok(Self { id, document })
    }
}

/// Submits the app and returns the text for a person.
pub(crate) async fn submit(http: &reqwest::Client, plan: &Plan, app: &App) -> Result<String, String> {
    let App { id, document } = app;
    let base = format!("http://{}/v2/apps", plan.marathon);
    let path = format!("{base}/{}", id.trim_start_matches('/'));
    let started = Instant::now();
    // PUT, because a cluster with its data still there may know the app already.
    let answer =
        http.put(&path).json(document).send().await.map_err(|error| format!("PUT {path}: {error}"))?;
    if !answer.status().is_success() {
        let status = answer.status();
        let why = answer.text().await.unwrap_or_default();
        return Err(format!("{id} was refused with {status}: {why}"));
    }
    let healthy = wait_healthy(http, &path).await?;
    Ok(describe(plan, id, &healthy, started.elapsed()))
}

async fn wait_healthy(http: &reqwest::Client, path: &str) -> Result<Value, String> {
    let started = Instant::now();
    loop {
        let app = http.get(path).send().await.map_err(|error| format!("GET {path}: {error}"))?;
        let app: Value = app.json().await.map_err(|error| format!("GET {path}: {error}"))?;
        let app = &app["app"];
        let wanted = app["instances"].as_u64().unwrap_or(1);
        let checked = app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty());
        let counter = if checked { "tasksHealthy" } else { "tasksRunning" };
        if app[counter].as_u64() == Some(wanted) && app["deployments"].as_array().is_some_and(Vec::is_empty) {
            return Ok(app.clone());
        }
        if started.elapsed() > HEALTHY_DEADLINE {
            return Err(format!(
                "after {HEALTHY_DEADLINE:?} {path} has {} of {wanted} instances {counter}; `stoa explain` tells why",
                app[counter]
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn describe(plan: &Plan, id: &str, app: &Value, took: Duration) -> String {
    let mut text =
        format!("{id} is running and healthy, {:.1} s after it was submitted:\n\n", took.as_secs_f64());
    let empty = Vec::new();
    let tasks = app["tasks"].as_array().unwrap_or(&empty);
    if plan.routed {
        for port in app["portDefinitions"].as_array().unwrap_or(&empty) {
            text.push_str(&format!("  through HAProxy  http://127.0.0.1:{}/\n", port["port"]));
        }
    }
    for task in tasks {
        let host = task["host"].as_str().unwrap_or("?");
        for port in task["ports"].as_array().unwrap_or(&empty) {
            text.push_str(&format!("  an instance      http://{host}:{port}/\n"));
        }
    }
    text.push_str(&format!("  the app's API    http://{}/v2/apps{id}\n", plan.marathon));
    text.push_str(&format!("  the web page     http://{}/\n", plan.master));
    text.push_str(&format!(
        "\nTry: curl -X PATCH http://{}/v2/apps{id} -H 'Content-Type: application/json' -d '{{\"instances\": 3}}'\n",
        plan.marathon
    ));
    text
}
