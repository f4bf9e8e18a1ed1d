//! `stoa quota`: what roles are promised and what they may have at most.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::http::Api;
use super::table::{cell, print};

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Roles with a quota, and what they use of it
    List,
    /// Set a role's quota, replacing what it had
    Set {
        /// A top-level role; its quota counts for all roles below it too
        role: String,
        /// What it may always have: cpus:4;mem:8192
        #[arg(long, value_name = "RESOURCES", default_value = "")]
        guarantee: String,
        /// What it may have at most; a kind that is not named has no limit
        #[arg(long, value_name = "RESOURCES", default_value = "")]
        limit: String,
        /// Also where the cluster has not got it, or the role uses more already
        #[arg(long)]
        force: bool,
    },
    /// Take a role's quota away
    Remove {
        /// The role
        role: String,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::List => list(api).await,
        Action::Set { role, guarantee, limit, force } => {
            let (guarantees, limits) = (amounts("--guarantee", &guarantee)?, amounts("--limit", &limit)?);
            update(api, json!({"role": role, "guarantees": guarantees, "limits": limits}), force).await
        }
        Action::Remove { role } => update(api, json!({"role": role}), true).await,
    }
}

async fn update(api: &Api, config: Value, force: bool) -> Result<(), String> {
    let call = json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": [config]}});
    api.send(api.request(Method::POST, "/api/v1").json(&call)).await.map(drop)
}

/// `cpus:4;mem:8192` as a map of scalars.
fn amounts(flag: &str, text: &str) -> Result<Value, String> {
    let mut all = Map::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let amount = part.split_once(':').and_then(|(name, value)| Some((name, value.parse::<f64>().ok()?)));
        let (name, value) =
            amount.ok_or_else(|| format!("{flag}: '{part}' is not an amount such as cpus:4"))?;
        all.insert(name.to_owned(), json!({ "value": value }));
    }
    Ok(Value::Object(all))
}

async fn list(api: &Api) -> Result<(), String> {
    let answer = api.get("/roles").await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let is_set = |role: &&Value| {
        ["guarantee", "limit"]
            .iter()
            .any(|part| role["quota"][part].as_object().is_some_and(|all| !all.is_empty()))
    };
    let rows: Vec<Vec<String>> = answer["roles"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(is_set)
        .map(|role| {
            let quota = &role["quota"];
            vec![
                cell(&role["name"]),
                text(&quota["guarantee"]),
                text(&quota["limit"]),
                text(&quota["consumed"]),
            ]
        })
        .collect();
    print(&["role", "guarantee", "limit", "consumed"], &rows);
    Ok(())
}

fn text(amounts: &Value) -> String {
    let all = amounts.as_object().into_iter().flatten();
    all.map(|(name, value)| format!("{name}:{}", cell(value))).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_by_name() {
        let read = amounts("--limit", "cpus:4; mem:8192").unwrap();
        assert_eq!(read, json!({"cpus": {"value": 4.0}, "mem": {"value": 8192.0}}));
        assert_eq!(amounts("--limit", "").unwrap(), json!({}));
        assert_eq!(
            amounts("--limit", "cpus").unwrap_err(),
            "--limit: 'cpus' is not an amount such as cpus:4"
        );
    }
}
