//! `stoa member`: the group of masters.

use std::time::Duration;

use clap::Subcommand;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::http::Api;
use super::table::{cell, print};

/// How often a removal is asked for again while leadership moves.
const ATTEMPTS: usize = 20;

const PAUSE: Duration = Duration::from_millis(250);

#[derive(Subcommand)]
pub(crate) enum Action {
    /// All masters of the group, and how far each has come
    List,
    /// Remove a master for ever; another one joins with `stoa master --join HOST:PORT` and an empty data directory
    Remove {
        /// Its address or its id
        member: String,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::List => list(api).await,
        Action::Remove { member } => remove(api, &member).await,
    }
}

async fn list(api: &Api) -> Result<(), String> {
    let group = from_leader(api).await?;
    if api.raw(&group) {
        return Ok(());
    }
    let applied = group["applied"].as_u64().unwrap_or_default();
    let rows: Vec<Vec<String>> = group["members"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|member| {
            let state = match (member["address"] == group["leader"], member["standing"].as_str()) {
                (true, _) => "leads",
                (false, Some("LEARNER")) => "catching up",
                (false, _) => "follows",
            };
            let behind = member["held"].as_u64().map(|held| applied.saturating_sub(held).to_string());
            vec![cell(&member["id"]), cell(&member["address"]), state.to_owned(), behind.unwrap_or_default()]
        })
        .collect();
    print(&["member", "address", "state", "entries behind"], &rows);
    Ok(())
}

/// The leader knows most; without one, whoever is asked says what it knows.
async fn from_leader(api: &Api) -> Result<Value, String> {
    let group = api.get("/members").await?;
    match group["leader"].as_str().filter(|_| group["leading"] != true) {
        Some(leader) => Ok(api.at(leader).get("/members").await.unwrap_or(group)),
        None => Ok(group),
    }
}

async fn remove(api: &Api, wanted: &str) -> Result<(), String> {
    let group = api.get("/members").await?;
    let members = group["members"].as_array().cloned().unwrap_or_default();
    let found = members.iter().find(|member| member["id"] == wanted || member["address"] == wanted);
    let id = found
        .and_then(|member| member["id"].as_str())
        .ok_or_else(|| format!("{wanted} is not a member; `stoa member list` names them"))?;
    let path = format!("/members/{id}");
    for _ in 0..ATTEMPTS {
        match api.outcome(api.request(Method::DELETE, &path)).await? {
            (StatusCode::OK, _) => {
                outln!("{wanted} was removed.");
                return Ok(());
            }
            // It led and passes leadership on, or nobody leads just now.
            (StatusCode::SERVICE_UNAVAILABLE, _) => tokio::time::sleep(PAUSE).await,
            (_, problem) => return Err(problem),
        }
    }
    Err(format!("{wanted} could not be removed: the masters find no leader"))
}
