//! `stoa explain APP`: why it is not running as asked.

use serde_json::Value;

use super::app::path;
use super::http::Api;
use super::table::{cell, print};

pub(crate) async fn explain(api: &Api, id: &str) -> Result<(), String> {
    let app = api.get(&path(id)).await?;
    let queue = api.get("/v2/queue?embed=lastUnusedOffers").await?;
    let full = format!("/{}", id.trim_start_matches('/'));
    let entry = queue["queue"].as_array().into_iter().flatten().find(|item| item["app"]["id"] == *full);
    let deployments = api.get("/v2/deployments?embed=waits").await?;
    if api.json {
        outln!("{:#}", entry.unwrap_or(&Value::Null));
        return Ok(());
    }
    let app = &app["app"];
    outln!(
        "{full}: {} of {} instances run, {} healthy, {} unhealthy, {} staged",
        cell(&app["tasksRunning"]),
        cell(&app["instances"]),
        cell(&app["tasksHealthy"]),
        cell(&app["tasksUnhealthy"]),
        cell(&app["tasksStaged"]),
    );
    match entry {
        Some(entry) => waiting(entry),
        None => outln!("nothing waits to be launched"),
    }
    deploying(&deployments, &full);
    failure(&app["lastTaskFailure"]);
    Ok(())
}

/// The deployment that has the app, and what it waits for: with this app or, before its turn, with others.
fn deploying(deployments: &Value, app: &str) {
    let has = |deployment: &&Value| {
        deployment["affectedApps"].as_array().is_some_and(|apps| apps.iter().any(|one| one == app))
    };
    let Some(deployment) = deployments.as_array().into_iter().flatten().find(has) else { return };
    outln!(
        "\ndeployment {} is at step {} of {}; it waits as long as it takes, `DELETE /v2/deployments/ID` undoes it",
        cell(&deployment["id"]),
        cell(&deployment["currentStep"]),
        cell(&deployment["totalSteps"]),
    );
    for action in deployment["currentActions"].as_array().into_iter().flatten() {
        for wait in action["waitsFor"].as_array().into_iter().flatten() {
            outln!("  {} of {}: {}", cell(&action["action"]), cell(&action["app"]), cell(&wait["message"]));
        }
    }
}

fn waiting(entry: &Value) {
    outln!("{} instances wait since {}", cell(&entry["count"]), cell(&entry["since"]));
    let left = entry["delay"]["timeLeftSeconds"].as_u64().unwrap_or(0);
    if left > 0 {
        outln!(
            "launching is delayed for {left} s after failures (`DELETE /v2/queue/APP/delay` ends the delay)"
        );
    }
    let summary = &entry["processedOffersSummary"];
    outln!(
        "{} offers seen, {} of them did not fit:\n",
        cell(&summary["processedOffersCount"]),
        cell(&summary["unusedOffersCount"])
    );
    let reasons: Vec<Vec<String>> = summary["rejectSummaryLastOffers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|reason| reason["declined"].as_u64().unwrap_or(0) > 0)
        .map(|reason| vec![cell(&reason["reason"]), cell(&reason["declined"]), cell(&reason["processed"])])
        .collect();
    if !reasons.is_empty() {
        print(&["reason", "declined", "of"], &reasons);
    }
}

fn failure(last: &Value) {
    if let Some(state) = last["state"].as_str() {
        outln!(
            "\nthe last failure: {state} on {} at {}: {}",
            cell(&last["host"]),
            cell(&last["timestamp"]),
            cell(&last["message"])
        );
    }
}
