//! The group of masters as its operator keeps it: one that was removed, or refuses its disk, comes back as a new member.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clients;
use super::dice::Dice;
use super::nodes::Nodes;
use super::roles::{self, Role};

/// A master that refuses its disk has ended after so long.
const REFUSED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

/// Flips one bit of what a node has stored; which one follows from `place`.
pub(super) fn flip_a_bit(data: &Path, place: u64) {
    let mut files = Vec::new();
    collect(data, &mut files);
    files.sort();
    let mut dice = Dice::new(place);
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    if total == 0 {
        return;
    }
    let mut at = dice.below(total);
    let hit = files.iter().find(|(_, length)| {
        let here = at < *length;
        if !here {
            at -= length;
        }
        here
    });
    if let Some((path, _)) = hit
        && let Ok(mut bytes) = std::fs::read(path)
    {
        let index = usize::try_from(at).unwrap_or(0);
        bytes[index] ^= 1 << dice.below(8);
        println!("  byte {at} of {}", path.display());
        // What cannot be written is not flipped.
        let _ = std::fs::write(path, bytes);
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(about) if about.is_dir() => collect(&entry.path(), files),
            Ok(about) if about.is_file() => files.push((entry.path(), about.len())),
            _ => {}
        }
    }
}

/// Has the group remove a master, if a leader can be found who does it. Whether it was done shows later.
pub(super) async fn remove(nodes: &Nodes, node: usize) -> bool {
    let Ok(http) = clients::client() else { return false };
    let address = &nodes.addresses[node];
    let Some((leader, members)) = group(&http, nodes, node).await else { return false };
    let Some(id) =
        members.iter().find(|member| member["address"] == **address).and_then(|m| m["id"].as_str())
    else {
        return true;
    };
    let answer = http.delete(format!("http://{leader}/members/{id}")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success() || answer.status() == 404)
}

/// The leader and its members: of those who say that they lead, `node` left out, the one with the highest term, since
/// one who was deposed may not know it yet.
async fn group(http: &reqwest::Client, nodes: &Nodes, node: usize) -> Option<(String, Vec<Value>)> {
    let mut found: Option<(u64, String, Vec<Value>)> = None;
    for other in Role::Master.nodes().filter(|other| *other != node) {
        let address = &nodes.addresses[other];
        let Ok(answer) = http.get(format!("http://{address}/members")).send().await else { continue };
        let Ok(shown) = answer.json::<Value>().await else { continue };
        let term = shown["term"].as_u64().unwrap_or_default();
        if shown["leading"] == true
            && found.as_ref().is_none_or(|(highest, ..)| term > *highest)
            && let Some(members) = shown["members"].as_array()
        {
            found = Some((term, address.clone(), members.clone()));
        }
    }
    found.map(|(_, leader, members)| (leader, members))
}

/// Replaces each master that is no member any more, or that has ended by itself and does so again.
///
/// # Errors
/// Which one could not be replaced by now: nobody leads, or not enough do.
pub async fn restore(nodes: &mut Nodes) -> Result<(), String> {
    for node in Role::Master.nodes() {
        if stays(nodes, node).await && !removed(nodes, node).await {
            continue;
        }
        let name = roles::name(node);
        let log = nodes.processes[node].log_tail();
        let said = log.lines().rev().find(|line| line.starts_with("stoa: ")).unwrap_or_default().to_owned();
        if !remove(nodes, node).await {
            return Err(format!("{name} is not in the group: {said}"));
        }
        let http = clients::client()?;
        let Some((leader, _)) = group(&http, nodes, node).await else {
            return Err(format!("{name} finds nobody who leads"));
        };
        println!("  {name} comes back as a new member: {said}");
        if nodes.processes[node].exited().is_none() {
            nodes.processes[node].kill();
        }
        nodes.wipe(node);
        nodes.joins(node, leader);
        nodes.revive(node);
    }
    Ok(())
}

/// Whether a master goes on once it has started.
async fn stays(nodes: &mut Nodes, node: usize) -> bool {
    if nodes.processes[node].exited().is_none() {
        return true;
    }
    nodes.revive(node);
    let began = Instant::now();
    while began.elapsed() < REFUSED {
        if nodes.processes[node].exited().is_some() {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

/// Whether those who lead have a member less.
async fn removed(nodes: &Nodes, node: usize) -> bool {
    let Ok(http) = clients::client() else { return false };
    match group(&http, nodes, node).await {
        Some((_, members)) => members.iter().all(|member| member["address"] != *nodes.addresses[node]),
        None => false,
    }
}
