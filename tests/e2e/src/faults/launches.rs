//! What a plain framework launched, and what it was told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::nodes::Nodes;
use crate::tasks;

/// What the ids of its tasks begin with.
const PREFIX: &str = "plain-";
/// The kernel notes the time of a file by a clock that stands still between two ticks.
const TICK: Duration = Duration::from_millis(50);

/// Whether a task is one of the plain framework's.
pub(super) fn is_own(task: &str) -> bool {
    task.starts_with(PREFIX)
}

/// All launches.
#[derive(Default)]
pub struct Launches(Mutex<Book>);

/// The tasks, and what was wrong with what was told of them.
#[derive(Default)]
pub(super) struct Book {
    tasks: BTreeMap<String, Task>,
    repeated: usize,
    wrong: Option<String>,
}

struct Task {
    agent: String,
    /// Its agent never loses its disk or its power.
    lasting: bool,
    /// Updates that want an acknowledgement, in the order in which they came: their uuids and states.
    updates: Vec<(String, String)>,
    /// The last state that was told, by whomever.
    state: Option<String>,
    /// When it was first told to be over.
    ended: Option<SystemTime>,
    /// When it was launched, or last spoken of.
    news: SystemTime,
}

impl Task {
    fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// The agent itself has said that it ended.
    fn ended_by_agent(&self) -> bool {
        self.updates.last().is_some_and(|(_, state)| rank(state) == LAST)
    }
}

const LAST: usize = 4;

/// States follow each other by rank. What a master says of an agent it has not heard of for a while has none.
fn rank(state: &str) -> usize {
    match state {
        "TASK_STAGING" => 0,
        "TASK_STARTING" => 1,
        "TASK_RUNNING" => 2,
        "TASK_KILLING" => 3,
        _ => LAST,
    }
}

fn is_end(state: &str) -> bool {
    rank(state) == LAST && !["TASK_UNREACHABLE", "TASK_UNKNOWN"].contains(&state)
}

impl Book {
    /// A new task, on an agent. Its id.
    pub(super) fn launch(&mut self, agent: &str, lasting: bool, now: SystemTime) -> String {
        let id = format!("{PREFIX}{}", self.tasks.len());
        let agent = agent.to_owned();
        let task = Task { agent, lasting, updates: Vec::new(), state: None, ended: None, news: now };
        self.tasks.insert(id.clone(), task);
        id
    }

    /// A status came. Whether it is the first that says that the task runs.
    pub(super) fn told(&mut self, status: &Value, now: SystemTime) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, state) = (text(&status["task_id"]["value"]), text(&status["state"]));
        let Some(task) = self.tasks.get_mut(&id) else {
            self.wrong.get_or_insert(format!("{id} is {state} and was never launched"));
            return false;
        };
        task.news = now;
        task.state = Some(state.clone());
        if is_end(&state) {
            task.ended.get_or_insert(now);
        }
        let Some(uuid) = status["uuid"].as_str() else { return false };
        if task.updates.iter().any(|(known, _)| known == uuid) {
            self.repeated += 1;
            return false;
        }
        if let Some((_, before)) = task.updates.last()
            && rank(before) >= rank(&state)
        {
            self.wrong.get_or_insert(format!("{id} is {state} after it was {before}"));
        }
        task.updates.push((uuid.to_owned(), state.clone()));
        state == "TASK_RUNNING"
    }

    /// Tasks that are not over and of which nothing was heard for so long, with their agents.
    pub(super) fn open(&self, silent: Duration, now: SystemTime) -> Vec<(String, String)> {
        let quiet = |task: &Task| now.duration_since(task.news).is_ok_and(|since| since >= silent);
        let open = self.tasks.iter().filter(|(_, task)| task.is_open() && quiet(task));
        open.map(|(id, task)| (id.clone(), task.agent.clone())).collect()
    }

    /// Whether everything is over that ran where nothing is lost.
    pub(super) fn at_rest(&self) -> bool {
        self.tasks.values().all(|task| !task.is_open() || !task.lasting)
    }

    pub(super) fn is_wrong(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    /// Compares what was told with which tasks noted their start, when, and which run.
    fn updates(&self, started: &BTreeMap<String, SystemTime>) -> Result<String, String> {
        if let Some(why) = &self.wrong {
            return Err(why.clone());
        }
        for (id, task) in self.tasks.iter().filter(|(_, task)| task.lasting) {
            let last = task.state.as_deref().unwrap_or("nothing");
            if task.is_open() && (started.contains_key(id) || last != "TASK_UNKNOWN") {
                return Err(format!("of {id} the last that was told is {last}"));
            }
            if started.contains_key(id) && !task.ended_by_agent() {
                return Err(format!("{id} ran, and of its end its agent never told: {:?}", task.updates));
            }
        }
        let arrived: usize = self.tasks.values().map(|task| task.updates.len()).sum();
        if arrived == 0 {
            return Err("no update ever came".to_owned());
        }
        Ok(format!("{arrived} updates of {} tasks, {} repeated", self.tasks.len(), self.repeated))
    }

    fn ends(
        &self,
        started: &BTreeMap<String, SystemTime>,
        present: &BTreeSet<String>,
    ) -> Result<String, String> {
        let mut never = 0;
        for (id, task) in &self.tasks {
            let Some(ended) = task.ended else { continue };
            let state = task.state.as_deref().unwrap_or_default();
            match started.get(id) {
                Some(start) if *start > ended + TICK => {
                    let late = start.duration_since(ended).unwrap_or_default();
                    return Err(format!("{id} was told to be {state}, and began {late:?} later"));
                }
                None => never += 1,
                Some(_) => {}
            }
            if present.contains(id) {
                return Err(format!("{id} was told to be {state}, and runs"));
            }
        }
        let ended = self.tasks.values().filter(|task| !task.is_open()).count();
        if ended == 0 {
            return Err("no end was ever told".to_owned());
        }
        Ok(format!("{ended} ends, {never} of tasks that never began"))
    }
}

impl Launches {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every update has come, and in its turn.
    ///
    /// # Errors
    /// The task, and what is wrong with what was told of it.
    pub(super) fn check_updates(&self, nodes: &Nodes) -> Result<String, String> {
        self.book().updates(&started(nodes)?)
    }

    /// Whether what was told to be over began before and runs no more: an order of a leader of the past may not come true
    /// after its successor has answered for it.
    ///
    /// # Errors
    /// The task that began afterwards, or runs.
    pub(super) fn check_ends(&self, nodes: &Nodes) -> Result<String, String> {
        let present = tasks::by_task(nodes.folder()).into_keys().collect();
        self.book().ends(&started(nodes)?, &present)
    }
}

/// When each of its tasks noted its start.
fn started(nodes: &Nodes) -> Result<BTreeMap<String, SystemTime>, String> {
    let mut started = BTreeMap::new();
    for entry in std::fs::read_dir(nodes.runs()).map_err(|error| error.to_string())?.flatten() {
        let task = entry.file_name().to_string_lossy().into_owned();
        let about = entry.metadata().map_err(|error| error.to_string())?;
        // One that was killed between making its file and writing to it has left an empty one.
        if is_own(&task) && about.len() > 0 {
            started.insert(task, about.modified().map_err(|error| error.to_string())?);
        }
    }
    Ok(started)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A task launched at 10, of which this is told, a second for each: its uuid, if it has one, and its state.
    fn told(statuses: &[(&str, &str)]) -> Book {
        let mut book = Book::default();
        let task = book.launch("a1", true, at(10));
        for (after, (uuid, state)) in (11..).zip(statuses) {
            let mut status = json!({ "task_id": { "value": task }, "state": state });
            if !uuid.is_empty() {
                status["uuid"] = json!(uuid);
            }
            book.told(&status, at(after));
        }
        book
    }

    fn begun(at: SystemTime) -> BTreeMap<String, SystemTime> {
        BTreeMap::from([("plain-0".to_owned(), at)])
    }

    const WHOLE: [(&str, &str); 2] = [("u1", "TASK_RUNNING"), ("u2", "TASK_FINISHED")];

    #[test]
    fn updates_that_are_missing_or_out_of_order_are_found() {
        let verdict = |statuses: &[_]| told(statuses).updates(&begun(at(10)));
        assert!(verdict(&WHOLE).is_ok());
        assert!(verdict(&[WHOLE[0], WHOLE[0], ("", "TASK_UNREACHABLE"), WHOLE[1]]).is_ok());
        assert!(verdict(&[WHOLE[1], WHOLE[0]]).is_err(), "in the wrong order");
        assert!(verdict(&WHOLE[..1]).is_err(), "the end is missing");
        assert!(verdict(&[WHOLE[0], ("", "TASK_GONE")]).is_err(), "a master's word is not the agent's");
        assert!(verdict(&[("u1", "TASK_FINISHED"), ("u2", "TASK_FAILED")]).is_err(), "two ends");
    }

    #[test]
    fn a_task_that_begins_after_its_end_was_told_is_found() {
        let nothing = BTreeSet::new();
        let lost = || told(&[("", "TASK_GONE")]);
        assert!(lost().ends(&BTreeMap::new(), &nothing).is_ok());
        assert!(lost().ends(&begun(at(10)), &nothing).is_ok());
        assert!(lost().ends(&begun(at(12)), &nothing).is_err());
        let present = BTreeSet::from(["plain-0".to_owned()]);
        assert!(told(&WHOLE).ends(&begun(at(10)), &present).is_err(), "it runs on");
        assert!(told(&WHOLE[..1]).ends(&begun(at(10)), &nothing).is_err(), "no end was told");
    }
}
