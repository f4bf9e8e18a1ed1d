//! What must hold afterwards, one check for each promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::batch::Jobs;
use super::clients::{self, Seen, Told};
use super::nodes::Nodes;
use super::roles::AGENTS;
use super::routes::{self, Trouble};
use super::servers;
use crate::{state, tasks};

/// After the last fault everything has so long to come right.
const CONVERGE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(200);

/// The app nobody changes: its instances are waited for, never replaced.
pub const STEADY: &str = "/steady";

/// A promise and whether it was kept: what was counted, or what broke it.
pub struct Verdict {
    pub promise: &'static str,
    pub kept: Result<String, String>,
}

/// Checks all of them, in an order in which each can be checked.
///
/// # Errors
/// No HTTP client can be made.
pub async fn check(
    nodes: &Nodes,
    told: &Told,
    seen: &Seen,
    jobs: &Jobs,
    steady: &BTreeMap<String, Vec<i32>>,
    troubles: &[Trouble],
    began: Instant,
) -> Result<Vec<Verdict>, String> {
    let http = clients::client()?;
    let news = seen.events.news();
    let verdict = |promise, kept| Verdict { promise, kept };
    Ok(vec![
        verdict("the history of each key is linearizable", seen.registers.check()),
        verdict("a watch of keys has no gap and no repetition", seen.watches.check(&told.keys)),
        verdict("a term has one leader", seen.terms.check()),
        verdict("masters have the same registry at the same index", seen.fingerprints.check()),
        verdict("no agent is offered or used above what it has", seen.books.check()),
        verdict("every update of a task arrives, in order", seen.launches.check_updates(nodes)),
        verdict("nothing begins after its end was told", seen.launches.check_ends(nodes)),
        verdict("a lease has one holder at a time", seen.locks.check()),
        verdict("the event stream has no gap and no repetition", seen.events.check()),
        verdict("each due time of a batch job has one outcome, which happened", jobs.check(nodes).await),
        verdict("no acknowledged key is lost", keys_kept(&http, nodes, told).await),
        verdict("no acknowledged change of an app is lost", apps_kept(&http, nodes, told).await),
        verdict("every app comes to run as asked, each task once", converged(&http, nodes, told).await),
        verdict(
            "requests are answered while a server can be reached",
            seen.routes.check_answers(troubles, began),
        ),
        verdict(
            "HAProxy leads to no instance whose end was told",
            seen.servers.check(&news, troubles, began),
        ),
        verdict(
            "each site is answered by its instances and nobody else",
            routes::check_rest(nodes, &http).await,
        ),
        verdict("HAProxy leads to every instance and nowhere else", servers::check_rest(nodes, &http).await),
        verdict("no task id is run twice", run_once(nodes)),
        verdict("tasks outlive the faults of our processes", untouched(nodes, steady)),
    ])
}

async fn keys_kept(http: &reqwest::Client, nodes: &Nodes, told: &Told) -> Result<String, String> {
    for key in &told.keys {
        let answer = eventually(|| ask_state(http, nodes.masters(), key)).await?;
        if !state::holds(&answer, key.as_bytes()) {
            return Err(format!("{key} was acknowledged and is lost: {answer}"));
        }
    }
    if told.keys.is_empty() {
        Err("no write was acknowledged".to_owned())
    } else {
        Ok(format!("{} keys", told.keys.len()))
    }
}

async fn ask_state(http: &reqwest::Client, masters: &[String], key: &str) -> Result<Value, String> {
    let call = clients::read(key);
    let url = |master: &String| format!("http://{master}/api/v1/state");
    first_answer(masters.iter().map(|master| http.post(url(master)).json(&call))).await
}

/// What each app has come to: the round it shows lies between the last acknowledged and the last sent.
async fn apps_kept(http: &reqwest::Client, nodes: &Nodes, told: &Told) -> Result<String, String> {
    for (app, (acknowledged, sent)) in &told.apps {
        let path = format!("/v2/apps{app}");
        let found = eventually(|| ask_marathon(http, nodes, &path)).await?;
        let round = round(&found["app"]);
        if round < *acknowledged || round > *sent {
            return Err(format!(
                "{app} shows round {round}, but {acknowledged} was acknowledged, and {sent} sent last"
            ));
        }
        if *acknowledged == 0 {
            return Err(format!("no change of {app} was acknowledged"));
        }
    }
    Ok(format!("{} changes", told.apps.values().map(|(acknowledged, _)| acknowledged).sum::<u64>()))
}

fn round(app: &Value) -> u64 {
    app["env"]["ROUND"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) async fn ask_marathon(http: &reqwest::Client, nodes: &Nodes, path: &str) -> Result<Value, String> {
    let url = |supervisor: &String| format!("http://{supervisor}{path}");
    first_answer(nodes.supervisors().iter().map(|supervisor| http.get(url(supervisor)))).await
}

/// What is answered to the first of several requests that is answered well; or why the last was not.
pub(super) async fn first_answer(
    requests: impl IntoIterator<Item = reqwest::RequestBuilder>,
) -> Result<Value, String> {
    let mut last = "there is nobody to ask".to_owned();
    for request in requests {
        match request.send().await {
            Ok(answer) if answer.status() == 204 => return Ok(Value::Null),
            Ok(answer) if answer.status() == 200 => {
                return answer.json().await.map_err(|error| error.to_string());
            }
            Ok(answer) => last = format!("{}: {}", answer.url(), answer.status()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// No deployment is left, each app has its instances, and the kernel runs exactly the tasks that are listed.
async fn converged(http: &reqwest::Client, nodes: &Nodes, told: &Told) -> Result<String, String> {
    let compare = async || {
        let deployments = ask_marathon(http, nodes, "/v2/deployments?embed=waits").await?;
        if deployments.as_array().is_none_or(|list| !list.is_empty()) {
            return Err(format!("deployments are left: {deployments}"));
        }
        let apps = ask_marathon(http, nodes, "/v2/apps?embed=apps.tasks").await?;
        let mut listed = BTreeSet::new();
        for app in apps["apps"].as_array().into_iter().flatten() {
            let tasks = app["tasks"].as_array().map_or(&[][..], Vec::as_slice);
            let running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING").count() as u64;
            if app["instances"].as_u64() != Some(running) || tasks.len() as u64 != running {
                return Err(format!(
                    "{} wants {} instances and runs {running}: {}",
                    app["id"], app["instances"], app["tasks"]
                ));
            }
            listed.extend(tasks.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)));
        }
        let present: BTreeSet<String> = tasks::by_task(nodes.folder()).into_keys().collect();
        if present != listed {
            let odd: Vec<&String> = present.symmetric_difference(&listed).collect();
            return Err(format!("the kernel and the list differ by {odd:?}"));
        }
        Ok(format!("{} tasks of {} apps", listed.len(), told.apps.len() + 2))
    };
    eventually(compare).await
}

/// Each task noted its start; none did so twice.
fn run_once(nodes: &Nodes) -> Result<String, String> {
    let mut count = 0;
    for entry in std::fs::read_dir(nodes.runs()).map_err(|error| error.to_string())?.flatten() {
        let text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        // One that was killed between making its file and writing to it has left an empty one.
        if text.lines().count() > 1 {
            return Err(format!(
                "{} was started {} times",
                entry.file_name().display(),
                text.lines().count()
            ));
        }
        count += 1;
    }
    if count == 0 { Err("no task was ever started".to_owned()) } else { Ok(format!("{count} tasks")) }
}

/// The app nobody changed has the processes it had before the first fault.
fn untouched(nodes: &Nodes, steady: &BTreeMap<String, Vec<i32>>) -> Result<String, String> {
    let now = tasks::by_task(nodes.folder());
    for (task, pids) in steady {
        if now.get(task) != Some(pids) {
            return Err(format!("{task} had the pids {pids:?} and has {:?}", now.get(task)));
        }
    }
    Ok(format!("{} tasks with the pids of the beginning", steady.len()))
}

/// Waits for the app nobody changes to run on so many instances, and returns its processes.
///
/// # Errors
/// It does not come to that in time.
pub async fn steady(nodes: &Nodes, count: usize) -> Result<BTreeMap<String, Vec<i32>>, String> {
    let look = async || {
        let found = tasks::by_task(nodes.folder());
        if found.len() == count { Ok(found) } else { Err(format!("{} of {count} run", found.len())) }
    };
    eventually(look).await
}

/// Deploys the app and the site nobody changes, on agents that last; how many tasks they have together.
///
/// # Errors
/// No supervisor takes them in time.
pub async fn deploy_steady(nodes: &Nodes, count: usize) -> Result<usize, String> {
    let http = clients::client()?;
    routes::write_program(nodes)?;
    let lasting = json!(["lasting", "LIKE", "yes"]);
    let mut app = clients::document(STEADY, 0, count as u64, &nodes.runs().display().to_string());
    app["constraints"] = json!([lasting]);
    let mut site = routes::document(nodes, routes::STEADY, 0, AGENTS as u64 - 1);
    // On one agent each: of those that cannot be reached HAProxy has others to turn to.
    site["constraints"] = json!([lasting, ["rack", "UNIQUE"]]);
    for mut each in [app, site] {
        each["unreachableStrategy"] = "disabled".into();
        let put = async || {
            let url = format!(
                "http://{}/v2/apps{}?force=true",
                nodes.supervisors()[0],
                each["id"].as_str().unwrap_or("")
            );
            let answer = http.put(&url).json(&each).send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            if status.is_success() {
                Ok(())
            } else {
                Err(format!("{status} {}", answer.text().await.unwrap_or_default()))
            }
        };
        eventually(put).await?;
    }
    routes::answered(nodes, AGENTS - 1).await?;
    Ok(count + AGENTS - 1)
}

pub(super) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    mut ask: impl FnMut() -> F,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(why) if began.elapsed() > CONVERGE => return Err(format!("not within {CONVERGE:?}: {why}")),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
