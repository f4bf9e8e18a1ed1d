//! `stoa app`: what a developer does with a service.

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::table::{cell, print};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// All apps
    List,
    /// One app with its tasks
    Show {
        /// The app's id
        id: String,
    },
    /// Create or change the app that a JSON file describes
    Deploy {
        /// The file
        file: PathBuf,
    },
    /// Run this many instances
    Scale {
        /// The app's id
        id: String,
        /// How many
        instances: u32,
    },
    /// Replace every instance, as the app's upgrade strategy says
    Restart {
        /// The app's id
        id: String,
    },
    /// Stop all instances and forget the app
    Remove {
        /// The app's id
        id: String,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::List => list(api).await,
        Action::Show { id } => show(api, &id).await,
        Action::Deploy { file } => deploy(api, &file).await,
        Action::Scale { id, instances } => {
            let request = api.request(Method::PATCH, &path(&id)).json(&json!({ "instances": instances }));
            started(api, api.ask(request).await?)
        }
        Action::Restart { id } => {
            started(api, api.ask(api.request(Method::POST, &format!("{}/restart", path(&id)))).await?)
        }
        Action::Remove { id } => started(api, api.ask(api.request(Method::DELETE, &path(&id))).await?),
    }
}

/// The path of an app, whether or not its id was typed with the leading slash.
pub(crate) fn path(id: &str) -> String {
    format!("/v2/apps/{}", id.trim_start_matches('/'))
}

fn started(api: &Api, answer: Value) -> Result<(), String> {
    if !api.raw(&answer) {
        outln!("deployment {} started", cell(&answer["deploymentId"]));
    }
    Ok(())
}

async fn list(api: &Api) -> Result<(), String> {
    let answer = api.get("/v2/apps").await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer["apps"].as_array().into_iter().flatten().map(row).collect();
    print(&["id", "instances", "running", "healthy", "cpus", "mem", "ports", "state"], &rows);
    Ok(())
}

fn row(app: &Value) -> Vec<String> {
    let deploying = app["deployments"].as_array().is_some_and(|list| !list.is_empty());
    let ports: Vec<Value> =
        app["portDefinitions"].as_array().into_iter().flatten().map(|p| p["port"].clone()).collect();
    vec![
        cell(&app["id"]),
        cell(&app["instances"]),
        cell(&app["tasksRunning"]),
        cell(&app["tasksHealthy"]),
        cell(&app["cpus"]),
        cell(&app["mem"]),
        cell(&Value::Array(ports)),
        if deploying { "deploying" } else { "" }.to_owned(),
    ]
}

async fn show(api: &Api, id: &str) -> Result<(), String> {
    let answer = api.get(&path(id)).await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let app = &answer["app"];
    print(&["id", "instances", "running", "healthy", "cpus", "mem", "ports", "state"], &[row(app)]);
    outln!("\ncommand  {}\nversion  {}\n", cell(&app["cmd"]), cell(&app["version"]));
    super::task::print_tasks(&app["tasks"]);
    Ok(())
}

async fn deploy(api: &Api, file: &PathBuf) -> Result<(), String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let app: Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", file.display()))?;
    let id = app["id"].as_str().ok_or_else(|| format!("{} has no `id`", file.display()))?.to_owned();
    started(api, api.ask(api.request(Method::PUT, &path(&id)).json(&app)).await?)
}
