//! `stoa framework`, `stoa role`: what the leading master knows.

use serde_json::Value;

use super::http::Api;
use super::table::{cell, print};

pub(crate) async fn frameworks(api: &Api) -> Result<(), String> {
    let answer = api.get("/frameworks").await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = each(&answer["frameworks"], |framework| {
        vec![
            cell(&framework["id"]),
            cell(&framework["name"]),
            cell(&framework["roles"]),
            if framework["active"] == true { "active" } else { "inactive" }.to_owned(),
            framework["tasks"].as_array().map_or(0, Vec::len).to_string(),
            cell(&framework["used_resources"]["cpus"]),
            cell(&framework["used_resources"]["mem"]),
        ]
    });
    print(&["framework", "name", "role", "state", "tasks", "cpus", "mem"], &rows);
    Ok(())
}

pub(crate) async fn roles(api: &Api) -> Result<(), String> {
    let answer = api.get("/roles").await?;
    if api.raw(&answer) {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = each(&answer["roles"], |role| {
        vec![
            cell(&role["name"]),
            cell(&role["weight"]),
            role["frameworks"].as_array().map_or(0, Vec::len).to_string(),
            cell(&role["resources"]["cpus"]),
            cell(&role["resources"]["mem"]),
        ]
    });
    print(&["role", "weight", "frameworks", "cpus", "mem"], &rows);
    Ok(())
}

fn each(list: &Value, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    list.as_array().into_iter().flatten().map(row).collect()
}
