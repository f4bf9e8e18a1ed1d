//! `stoa maintenance`: which machines are to be away, and which are.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::table::print;

const NANOSECONDS: i64 = 1_000_000_000;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Machines that are to be away or are, and what frameworks have answered
    Show,
    /// Plan machines to be away, beside what is planned already: their agents' offers tell of it
    Plan {
        /// Hostnames or addresses
        #[arg(required = true)]
        machines: Vec<String>,
        /// When, from now
        #[arg(long = "in", value_name = "SECONDS", default_value_t = 0)]
        after: u32,
        /// For how long; without it, for good
        #[arg(long = "for", value_name = "SECONDS")]
        length: Option<u32>,
    },
    /// Take machines off the plan
    Cancel {
        /// As they were planned
        #[arg(required = true)]
        machines: Vec<String>,
    },
    /// Take planned machines down: their agents end with all tasks, and may not come back
    Down {
        /// As they were planned
        #[arg(required = true)]
        machines: Vec<String>,
    },
    /// Machines that are down are back, and off the plan
    Up {
        /// As they were planned
        #[arg(required = true)]
        machines: Vec<String>,
    },
}

pub(crate) async fn run(api: &Api, action: Action) -> Result<(), String> {
    match action {
        Action::Show => show(api).await,
        Action::Plan { machines, after, length } => {
            let start = now()?.saturating_add(i64::from(after) * NANOSECONDS);
            let mut away = json!({"start": {"nanoseconds": start}});
            if let Some(length) = length {
                away["duration"] = json!({"nanoseconds": i64::from(length) * NANOSECONDS});
            }
            let schedule = api.get("/maintenance/schedule").await?;
            let ids = ids(&machines);
            let mut windows = without(&schedule, &ids);
            windows.push(json!({"machine_ids": ids, "unavailability": away}));
            change(api, "/maintenance/schedule", &json!({ "windows": windows })).await
        }
        Action::Cancel { machines } => {
            let schedule = api.get("/maintenance/schedule").await?;
            let windows = without(&schedule, &ids(&machines));
            change(api, "/maintenance/schedule", &json!({ "windows": windows })).await
        }
        Action::Down { machines } => change(api, "/machine/down", &json!(ids(&machines))).await,
        Action::Up { machines } => change(api, "/machine/up", &json!(ids(&machines))).await,
    }
}

async fn change(api: &Api, path: &str, body: &Value) -> Result<(), String> {
    api.send(api.request(Method::POST, path).json(body)).await.map(drop)
}

fn now() -> Result<i64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let nanoseconds = since.and_then(|since| i64::try_from(since.as_nanos()).ok());
    nanoseconds.ok_or_else(|| "the clock of this machine is set to a time that cannot be told".to_owned())
}

fn ids(machines: &[String]) -> Vec<Value> {
    machines.iter().map(|text| id(text)).collect()
}

/// `host`, an address, or `host/address`.
fn id(text: &str) -> Value {
    match text.split_once('/') {
        Some((host, ip)) => json!({"hostname": host.to_lowercase(), "ip": ip}),
        None if text.parse::<IpAddr>().is_ok() => json!({ "ip": text }),
        None => json!({"hostname": text.to_lowercase()}),
    }
}

/// The windows of a schedule without some machines.
fn without(schedule: &Value, ids: &[Value]) -> Vec<Value> {
    let windows = schedule["windows"].as_array().into_iter().flatten();
    windows
        .filter_map(|window| {
            let kept = window["machine_ids"].as_array().into_iter().flatten();
            let kept: Vec<&Value> = kept.filter(|id| !ids.contains(id)).collect();
            let mut window = window.clone();
            window["machine_ids"] = json!(kept);
            (!kept.is_empty()).then_some(window)
        })
        .collect()
}

async fn show(api: &Api) -> Result<(), String> {
    let (schedule, status) = (api.get("/maintenance/schedule").await?, api.get("/maintenance/status").await?);
    if api.raw(&json!({"schedule": schedule, "status": status})) {
        return Ok(());
    }
    print(&["machine", "state", "from", "for", "accepted", "declined"], &rows(&schedule, &status, now()?));
    Ok(())
}

fn rows(schedule: &Value, status: &Value, now: i64) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for window in schedule["windows"].as_array().into_iter().flatten() {
        let away = &window["unavailability"];
        let start = away["start"]["nanoseconds"].as_i64().unwrap_or_default();
        let from = start.saturating_sub(now) / NANOSECONDS;
        let from = if from < 0 { format!("{} s ago", -from) } else { format!("in {from} s") };
        let length = away["duration"]["nanoseconds"].as_i64();
        let length = length.map_or("good".to_owned(), |length| format!("{} s", length / NANOSECONDS));
        for id in window["machine_ids"].as_array().into_iter().flatten() {
            let draining = status["draining_machines"].as_array().into_iter().flatten();
            let draining = draining.into_iter().find(|machine| machine["id"] == *id);
            let said = |word: &str| {
                let all = draining.and_then(|machine| machine["statuses"].as_array()).into_iter().flatten();
                all.filter(|answer| answer["status"] == word).count().to_string()
            };
            let state = if draining.is_some() { "to leave" } else { "down" };
            let row =
                [name(id), state.to_owned(), from.clone(), length.clone(), said("ACCEPT"), said("DECLINE")];
            rows.push(row.to_vec());
        }
    }
    rows
}

fn name(id: &Value) -> String {
    let parts = [&id["hostname"], &id["ip"]];
    parts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_taken_off_the_plan_by_name() {
        let schedule = json!({"windows": [
            {"machine_ids": [{"hostname": "a"}, {"ip": "10.0.0.1"}], "unavailability": {"start": {"nanoseconds": 5}}},
            {"machine_ids": [{"hostname": "b", "ip": "10.0.0.2"}], "unavailability": {"start": {"nanoseconds": 6}}},
        ]});
        let gone = ids(&["10.0.0.1".to_owned(), "B/10.0.0.2".to_owned()]);
        let kept = without(&schedule, &gone);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0]["machine_ids"], json!([{"hostname": "a"}]));
        assert_eq!(without(&json!({}), &gone), Vec::<Value>::new());
    }

    #[test]
    fn a_machine_is_shown_with_what_was_answered() {
        let away = json!({"start": {"nanoseconds": 90 * NANOSECONDS}, "duration": {"nanoseconds": 60 * NANOSECONDS}});
        let schedule = json!({"windows": [
            {"machine_ids": [{"hostname": "a"}, {"ip": "10.0.0.1"}], "unavailability": away}]});
        let status = json!({
            "draining_machines": [{"id": {"hostname": "a"}, "statuses": [{"status": "ACCEPT"}, {"status": "DECLINE"}, {"status": "ACCEPT"}]}],
            "down_machines": [{"ip": "10.0.0.1"}],
        });
        let rows = rows(&schedule, &status, 60 * NANOSECONDS);
        assert_eq!(
            rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>(),
            ["a | to leave | in 30 s | 60 s | 2 | 1", "10.0.0.1 | down | in 30 s | 60 s | 0 | 0"]
        );
    }
}
