//! `stoa explain --framework ID`: what it was offered, what it declined, and why it is not offered more.

use reqwest::Method;
use serde_json::Value;

use super::http::Api;
use super::table::{cell, print};

/// `query` is what the master's `/allocation` is asked for.
pub(crate) async fn explain(api: &Api, query: &[(&str, Option<String>)]) -> Result<(), String> {
    let given: Vec<(&str, &str)> =
        query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let answer = api.ask(api.request(Method::GET, "/allocation").query(&given)).await?;
    if api.raw(&answer) {
        return Ok(());
    }
    for framework in answer["frameworks"].as_array().into_iter().flatten() {
        let connected = if framework["connected"] == true { "" } else { ", not connected" };
        outln!("{} ({}{connected})\n", cell(&framework["framework_id"]), cell(&framework["name"]));
        let roles: Vec<&Value> = framework["roles"].as_array().into_iter().flatten().collect();
        let rows: Vec<Vec<String>> = roles.iter().map(|role| row(role)).collect();
        print(
            &["role", "weight", "share", "ahead", "offers", "used", "refused", "lapsed", "withdrawn"],
            &rows,
        );
        outln!();
        for role in roles {
            reasons(role);
        }
    }
    Ok(())
}

fn row(role: &Value) -> Vec<String> {
    let offers = &role["offers"];
    let share = role["share"].as_f64().unwrap_or(0.0) * 100.0;
    let kind = cell(&role["dominant_resource"]);
    vec![
        cell(&role["role"]),
        cell(&role["weight"]),
        format!("{share:.1}% {kind}").trim_end().to_owned(),
        cell(&role["ahead"]),
        cell(&offers["made"]),
        cell(&offers["used"]),
        cell(&offers["refused"]),
        cell(&offers["lapsed"]),
        cell(&offers["withdrawn"]),
    ]
}

fn reasons(role: &Value) {
    outln!("{}: {}", cell(&role["role"]), cell(&role["why"]));
    match role["standing"].as_str() {
        Some("behind") => outln!(
            "  it let offers lapse: it comes after all who did not, until it answers one or {}",
            cell(&role["behind_until"])
        ),
        Some("newcomer") => {
            outln!("  it has used no offer yet: all such frameworks of its role compete as one");
        }
        _ => {}
    }
    let last = &role["offers"]["last_refusal"];
    if last.is_object() {
        outln!("  last refused: {} on {}", cell(&last["resources"]), cell(&last["agent_id"]));
    }
    let quota = &role["quota"];
    if quota.is_object() {
        outln!(
            "  quota of role {}: guarantee {}, limit {}",
            cell(&quota["role"]),
            quota["guarantee"],
            quota["limit"]
        );
    }
    if let Some(why) = role["agent"]["why"].as_str() {
        outln!("  the agent asked about: {}", why.replace('_', " "));
    }
}
