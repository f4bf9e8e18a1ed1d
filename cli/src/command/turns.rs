//! Queues of batch jobs, and what became of their due times.

use reqwest::Method;
use serde_json::{Value, json};

use super::http::Api;
use super::table::{cell, print};

const BASE: &str = "/v1/scheduler";

/// What became of each due time of a date, or of one time; where there was none, why.
pub(crate) async fn account(api: &Api, job: &str, on: &str) -> Result<(), String> {
    let request = api.request(Method::GET, &format!("{BASE}/job/{job}/history")).query(&[("on", on)]);
    let account = api.ask(request).await?;
    if api.raw(&account) {
        return Ok(());
    }
    let answers: Vec<&Value> = account["answers"].as_array().into_iter().flatten().collect();
    if !answers.is_empty() {
        let rows: Vec<Vec<String>> = answers.into_iter().map(row).collect();
        print(&["due", "state", "reason", "run"], &rows);
    }
    let note = cell(&account["note"]);
    if !note.is_empty() {
        outln!("{note}");
    }
    Ok(())
}

fn row(answer: &Value) -> Vec<String> {
    let due = match cell(&answer["upTo"]) {
        last if last.is_empty() => cell(&answer["due"]),
        last => format!("{} to {last}", cell(&answer["due"])),
    };
    vec![due, cell(&answer["state"]), cell(&answer["reason"]), cell(&answer["run"])]
}

pub(crate) async fn queues(api: &Api) -> Result<(), String> {
    let queues = api.get(&format!("{BASE}/queues")).await?;
    if api.raw(&queues) {
        return Ok(());
    }
    let columns = ["name", "weight", "maxPriority", "running"];
    let row = |queue: &Value| columns.iter().map(|column| cell(&queue[*column])).collect();
    let rows: Vec<Vec<String>> = queues.as_array().into_iter().flatten().map(row).collect();
    print(&["queue", "weight", "max priority", "running"], &rows);
    Ok(())
}

pub(crate) async fn weigh(
    api: &Api,
    queue: &str,
    weight: u32,
    max_priority: Option<i32>,
) -> Result<(), String> {
    let rule = json!({"weight": weight, "maxPriority": max_priority});
    let path = format!("{BASE}/queues{}", step(queue));
    api.send(api.request(Method::PUT, &path).json(&rule)).await?;
    outln!("{queue} weighs {weight}");
    Ok(())
}

/// A name as a step of a path: whatever users are called.
fn step(name: &str) -> String {
    // Only the path of it is used.
    let Ok(mut url) = reqwest::Url::parse("http://localhost") else { return String::new() };
    if let Ok(mut steps) = url.path_segments_mut() {
        steps.push(name);
    }
    url.path().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_step_of_a_path() {
        assert_eq!(step("ann@x.org"), "/ann@x.org");
        assert_eq!(step("a b/c?"), "/a%20b%2Fc%3F");
    }

    #[test]
    fn what_was_skipped_in_one_go_is_one_line() {
        let one = json!({"due": "a", "state": "succeeded", "reason": "", "run": "j@1"});
        assert_eq!(row(&one), ["a", "succeeded", "", "j@1"]);
        let many = json!({"due": "a", "upTo": "b", "state": "skipped", "reason": "late", "run": "j@1"});
        assert_eq!(row(&many)[0], "a to b");
    }
}
