//! `stoa logs`: what a task has written, read from the agent that ran it.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::http::Api;

/// Asked of an agent at once; it gives no more in one answer.
const CHUNK: u64 = 64 << 10;

/// Between looks at a file that is followed.
const PAUSE: Duration = Duration::from_millis(500);

/// Tasks looked through, the newest first.
const TASKS: usize = 10_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct What {
    /// A task's id, or the name of an app: then its newest task
    task: String,
    /// Its standard error instead of its standard output
    #[arg(long)]
    stderr: bool,
    /// Go on as it writes more
    #[arg(short, long)]
    follow: bool,
    /// Only about so many bytes of the end
    #[arg(long, value_name = "BYTES")]
    tail: Option<u64>,
}

pub(crate) async fn show(master: &Api, what: &What) -> Result<(), String> {
    let tasks = master.get(&format!("/tasks?limit={TASKS}&order=des")).await?;
    let task = find(&tasks["tasks"], &what.task)
        .ok_or_else(|| format!("no task `{}` is known; `stoa task list` names those of apps", what.task))?;
    let agents = master.get("/slaves").await?;
    let agent = address(&agents["slaves"], &task["slave_id"])
        .ok_or_else(|| format!("the agent that ran {} is gone, and what it wrote with it", task["id"]))?;
    let file = File { agent: master.at(&agent), path: path(task, what.stderr) };
    let size = file.size().await?;
    let mut offset = what.tail.map_or(0, |bytes| size.saturating_sub(bytes));
    loop {
        let data = file.read(offset).await?;
        if data.is_empty() {
            if !what.follow {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        offset += data.len() as u64;
        let mut out = std::io::stdout().lock();
        // A reader that has gone, `head` for one, has seen enough.
        if out.write_all(data.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}

/// By id, or the newest whose name is that of the app.
fn find<'a>(tasks: &'a Value, wanted: &str) -> Option<&'a Value> {
    let all = tasks.as_array()?;
    // An app `/a/b` calls its tasks `b.a`.
    let name: Vec<&str> = wanted.trim_matches('/').split('/').rev().collect();
    let name = name.join(".");
    all.iter()
        .find(|task| task["id"] == wanted)
        .or_else(|| all.iter().find(|task| task["name"] == name.as_str()))
}

fn address(agents: &Value, id: &Value) -> Option<String> {
    let agent = agents.as_array()?.iter().find(|agent| agent["id"] == *id)?;
    Some(format!("{}:{}", agent["hostname"].as_str()?, agent["port"].as_u64()?))
}

/// A task without an executor of its own has a sandbox of its own name.
fn path(task: &Value, stderr: bool) -> String {
    let text = |name: &str| task[name].as_str().unwrap_or_default();
    let sandbox = if text("executor_id").is_empty() { text("id") } else { text("executor_id") };
    let file = if stderr { "stderr" } else { "stdout" };
    format!("/sandboxes/{}/{sandbox}/{file}", text("framework_id"))
}

struct File {
    agent: Api,
    path: String,
}

impl File {
    async fn size(&self) -> Result<u64, String> {
        Ok(self.ask(&[]).await?["offset"].as_u64().unwrap_or_default())
    }

    async fn read(&self, offset: u64) -> Result<String, String> {
        let answer = self.ask(&[("offset", offset), ("length", CHUNK)]).await?;
        Ok(answer["data"].as_str().unwrap_or_default().to_owned())
    }

    /// Without an offset an agent says only how long the file is.
    async fn ask(&self, numbers: &[(&str, u64)]) -> Result<Value, String> {
        let request = self.agent.request(reqwest::Method::GET, "/files/read").query(&[("path", &self.path)]);
        self.agent.ask(request.query(numbers)).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_found_by_its_id_or_as_the_newest_of_an_app() {
        let tasks = json!([{ "id": "b.a.2", "name": "b.a" }, { "id": "b.a.1", "name": "b.a" }, { "id": "x", "name": "x" }]);
        for (wanted, found) in [("b.a.1", "b.a.1"), ("/a/b", "b.a.2"), ("a/b", "b.a.2"), ("x", "x")] {
            assert_eq!(find(&tasks, wanted).expect(wanted)["id"], found);
        }
        assert_eq!(find(&tasks, "/b"), None);
    }

    #[test]
    fn the_sandbox_is_the_executors_where_there_is_one() {
        let task = json!({ "id": "t", "framework_id": "f", "executor_id": "" });
        assert_eq!(path(&task, false), "/sandboxes/f/t/stdout");
        let task = json!({ "id": "t", "framework_id": "f", "executor_id": "e" });
        assert_eq!(path(&task, true), "/sandboxes/f/e/stderr");
    }
}
