//! `stoa node`: machines with an agent, and what operators do with them.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::table::{cell, print};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Agents, and what is used of each
    List,
    /// Empty an agent: no more offers, its tasks are ended
    Drain {
        /// The agent's id
        agent: String,
        /// What each task has at most to end by itself; without it, what the task asks for
        #[arg(long, value_name = "SECONDS")]
        grace: Option<u64>,
        /// Give the agent up for ever when it is empty
        #[arg(long)]
        mark_gone: bool,
    },
    /// Offer nothing of an agent; its tasks go on
    Deactivate {
        /// The agent's id
        agent: String,
    },
    /// Offer of an agent again that was drained or deactivated
    Reactivate {
        /// The agent's id
        agent: String,
    },
    /// Give an agent up for ever, with its tasks: it may not return under this id
    Gone {
        /// The agent's id
        agent: String,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    let call = match action {
        Action::List => return list(api).await,
        Action::Drain { agent, grace, mark_gone } => drain(&agent, grace, mark_gone),
        Action::Deactivate { agent } => about("DEACTIVATE_AGENT", "deactivate_agent", &agent),
        Action::Reactivate { agent } => about("REACTIVATE_AGENT", "reactivate_agent", &agent),
        Action::Gone { agent } => about("MARK_AGENT_GONE", "mark_agent_gone", &agent),
    };
    api.send(api.request(Method::POST, "/api/v1").json(&call)).await.map(drop)
}

fn about(kind: &str, member: &str, agent: &str) -> Value {
    json!({"type": kind, member: {"agent_id": {"value": agent}}})
}

fn drain(agent: &str, grace: Option<u64>, mark_gone: bool) -> Value {
    let mut call = about("DRAIN_AGENT", "drain_agent", agent);
    call["drain_agent"]["mark_gone"] = mark_gone.into();
    if let Some(seconds) = grace {
        call["drain_agent"]["max_grace_period"] = json!({ "seconds": seconds });
    }
    call
}

async fn list(api: &Api) -> Result<(), String> {
    let answer = api.get("/slaves").await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let row = |agent: &Value| {
        vec![
            cell(&agent["id"]),
            cell(&agent["hostname"]),
            state(agent),
            used(agent, "cpus"),
            used(agent, "mem"),
            used(agent, "disk"),
            attributes(&agent["attributes"]),
        ]
    };
    let rows: Vec<Vec<String>> = answer["slaves"].as_array().into_iter().flatten().map(row).collect();
    print(&["node", "host", "state", "cpus", "mem", "disk", "attributes"], &rows);
    Ok(())
}

/// What the operator made of it goes before whether it is there.
fn state(agent: &Value) -> String {
    if let Some(drain) = agent["drain_info"]["state"].as_str() {
        return drain.to_lowercase();
    }
    match (agent["deactivated"] == true, agent["active"] == true) {
        (true, _) => "deactivated",
        (false, true) => "active",
        (false, false) => "away",
    }
    .to_owned()
}

fn used(agent: &Value, name: &str) -> String {
    format!("{}/{}", cell(&agent["used_resources"][name]), cell(&agent["resources"][name]))
}

fn attributes(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| format!("{name}:{}", cell(value))).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_says_only_what_was_said() {
        assert_eq!(
            drain("S0", None, true),
            json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": "S0"}, "mark_gone": true}})
        );
        assert_eq!(drain("S0", Some(5), false)["drain_agent"]["max_grace_period"], json!({"seconds": 5}));
    }

    #[test]
    fn the_operators_wish_is_shown_first() {
        let draining = json!({"active": false, "deactivated": true, "drain_info": {"state": "DRAINING"}});
        assert_eq!(state(&draining), "draining");
        assert_eq!(state(&json!({"active": false, "deactivated": true})), "deactivated");
        assert_eq!(state(&json!({"active": true, "deactivated": false})), "active");
        assert_eq!(state(&json!({"active": false, "deactivated": false})), "away");
    }
}
