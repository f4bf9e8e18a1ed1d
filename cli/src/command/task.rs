//! `stoa task`: the instances of apps.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::table::{cell, print};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// All tasks of all apps
    List,
    /// Kill tasks; they are replaced unless `--scale` lowers the app's instances
    Kill {
        /// The tasks' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Lower the number of instances by as many
        #[arg(long)]
        scale: bool,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::List => {
            let answer = api.get("/v2/tasks").await?;
            if !api.raw(&answer) {
                print_tasks(&answer["tasks"]);
            }
        }
        Action::Kill { ids, scale } => {
            let request = api
                .request(Method::POST, &format!("/v2/tasks/delete?scale={scale}"))
                .json(&json!({ "ids": ids }));
            let answer = api.ask(request).await?;
            if !api.raw(&answer) {
                outln!("killing {}", ids.join(", "));
            }
        }
    }
    Ok(())
}

pub(crate) fn print_tasks(tasks: &Value) {
    let rows: Vec<Vec<String>> = tasks.as_array().into_iter().flatten().map(row).collect();
    print(&["task", "state", "health", "host", "ports", "started"], &rows);
}

fn row(task: &Value) -> Vec<String> {
    let results: Vec<&Value> = task["healthCheckResults"].as_array().into_iter().flatten().collect();
    let health = match results.as_slice() {
        [] => "",
        all if all.iter().all(|result| result["alive"] == true) => "healthy",
        _ => "unhealthy",
    };
    vec![
        cell(&task["id"]),
        cell(&task["state"]),
        health.to_owned(),
        cell(&task["host"]),
        cell(&task["ports"]),
        cell(&task["startedAt"]),
    ]
}
