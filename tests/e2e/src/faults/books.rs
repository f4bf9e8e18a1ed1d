//! What is offered and used of each agent, by the books of whoever leads and by what the kernel runs there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::clients::{Asker, Seen};
use super::launches;
use super::roles::SLOTS;
use crate::tasks;

/// Between two looks into books.
const READ: Duration = Duration::from_millis(500);
/// Between two looks at machines, each of which reads what the kernel knows of all processes.
const COUNT: Duration = Duration::from_secs(1);
/// Sums of decimal fractions need not be exact in binary.
const SLACK: f64 = 1e-6;

/// What was seen of them.
#[derive(Default)]
pub struct Books(Mutex<Looks>);

#[derive(Default)]
struct Looks {
    /// Agents in books.
    books: usize,
    /// Agents' machines.
    machines: usize,
    /// The most tasks that ran on one machine.
    most: usize,
    wrong: Option<String>,
}

impl Looks {
    /// All that a leader shows.
    fn book(&mut self, state: &Value) {
        for agent in state["slaves"].as_array().into_iter().flatten() {
            self.books += 1;
            if let Some(name) = exceeded(agent) {
                self.wrong.get_or_insert(format!(
                    "of {} {} has {}, {} are used and {} offered",
                    name,
                    agent["id"],
                    agent["resources"],
                    agent["used_resources"],
                    agent["offered_resources"]
                ));
            }
        }
    }

    /// So many tasks of one slot each ran on a machine at one time.
    fn machine(&mut self, agent: &str, tasks: &BTreeSet<String>) {
        self.machines += 1;
        self.most = self.most.max(tasks.len());
        if tasks.len() > SLOTS {
            self.wrong.get_or_insert(format!("{agent} has {SLOTS} slots and runs {tasks:?}"));
        }
    }
}

/// A resource of which more is used and offered than there is.
fn exceeded(agent: &Value) -> Option<&str> {
    let amount = |of: &str, name: &str| agent[of][name].as_f64().unwrap_or_default();
    let scalars = agent["resources"].as_object()?.iter().filter(|(_, amount)| amount.is_number());
    let mut names = scalars.map(|(name, _)| name.as_str());
    names.find(|name| {
        amount("used_resources", name) + amount("offered_resources", name) > amount("resources", name) + SLACK
    })
}

impl Books {
    /// Whether no agent was offered or used above what it has, and whether any was ever full.
    ///
    /// # Errors
    /// The agent, and what was too much.
    pub(super) fn check(&self) -> Result<String, String> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &looks.wrong {
            return Err(why.clone());
        }
        if looks.books == 0 || looks.most < SLOTS {
            return Err(format!(
                "{} looks into books, and at most {} of {SLOTS} slots in use: that shows nothing",
                looks.books, looks.most
            ));
        }
        Ok(format!(
            "{} looks at agents in books, {} at their machines, of which some were full",
            looks.books, looks.machines
        ))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks every master for its books; those that do not lead show none.
pub(super) async fn read(asker: Asker, seen: Arc<Seen>) {
    for at in 0.. {
        if asker.stopped() {
            return;
        }
        if let Ok(state) = asker.get(at, "/state").await {
            seen.books.locked().book(&state);
        }
        tokio::time::sleep(READ).await;
    }
}

/// Looks at what runs on the agents, whose data are in these folders.
pub(super) async fn count(asker: Asker, agents: Vec<PathBuf>, seen: Arc<Seen>) {
    while !asker.stopped() {
        for folder in &agents {
            let of = folder.clone();
            let Ok(present) = tokio::task::spawn_blocking(move || running(&of)).await else { return };
            seen.books.locked().machine(&folder.display().to_string(), &present);
        }
        tokio::time::sleep(COUNT).await;
    }
}

/// The plain framework's tasks that ran at one time between two looks: a single look takes a while, in which one may end
/// and another begin.
fn running(folder: &std::path::Path) -> BTreeSet<String> {
    let first = tasks::by_task(folder);
    let mut second = tasks::by_task(folder);
    second.retain(|task, pids| launches::is_own(task) && first.get(task) == Some(pids));
    second.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> Looks {
        let mut looks = Looks::default();
        looks.machine("a", &(0..SLOTS).map(|number| number.to_string()).collect());
        looks
    }

    fn verdict(mut looks: Looks, used: f64, offered: f64) -> Result<String, String> {
        let agent = json!({
            "id": "a", "resources": { "cpus": 8.0, "ports": "[1-2]" },
            "used_resources": { "cpus": used }, "offered_resources": { "cpus": offered }
        });
        looks.book(&json!({ "slaves": [agent] }));
        Books(Mutex::new(looks)).check()
    }

    #[test]
    fn too_much_in_books_or_in_truth_is_found() {
        assert!(verdict(full(), 5.1, 2.9).is_ok());
        assert!(verdict(full(), 5.1, 3.0).is_err(), "offered twice");
        assert!(verdict(Looks::default(), 1.0, 0.0).is_err(), "nothing ever ran");
        let mut crowded = full();
        crowded.machine("a", &(0..=SLOTS).map(|number| number.to_string()).collect());
        assert!(verdict(crowded, 1.0, 0.0).is_err(), "one too many runs");
    }
}
