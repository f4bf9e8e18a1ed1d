//! Clients that write while things break, and the history of what they were told.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::books::{self, Books};
use super::events::{self, Followed};
use super::fingerprints::Fingerprints;
use super::framework;
use super::launches::Launches;
use super::locks::{self, Locks};
use super::nodes::Nodes;
use super::registers::{self, Registers};
use super::roles::Role;
use super::routes::{self, Routes};
use super::servers::{self, Servers};
use super::terms::{self, Terms};
use super::watches::{self, Watches};
use crate::state;

/// Writers of keys, each its own.
const KEY_WRITERS: usize = 4;
/// Apps, each changed by a client of its own.
pub const APPS: usize = 3;
/// Between two changes of an app: each is an upgrade.
const APP_PAUSE: Duration = Duration::from_millis(1500);
/// The site's upgrades take longer: its servers must be healthy, and drained.
const SITE_PAUSE: Duration = Duration::from_secs(12);
const KEY_PAUSE: Duration = Duration::from_millis(10);
pub(super) const NAMESPACE: &str = "faults";

/// What was sent and what came back, in memory for the checks and in a file for people.
pub struct History {
    file: Mutex<std::fs::File>,
    began: Instant,
    told: Mutex<Told>,
}

/// What the clients were promised.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Keys whose write was acknowledged.
    pub keys: Vec<String>,
    /// By app: the last change that was acknowledged, and the last that was sent.
    pub apps: BTreeMap<String, (u64, u64)>,
    pub unanswered: usize,
}

impl History {
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> Result<Arc<Self>, String> {
        let file = std::fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Arc::new(Self { file: Mutex::new(file), began: Instant::now(), told: Mutex::default() }))
    }

    /// A line for people: when, who, what.
    pub fn note(&self, event: &Value) {
        let mut line = event.clone();
        line["ms"] = json!(self.began.elapsed().as_millis());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The checks do not read it; a full disk of this machine must not stop them.
        let _ = writeln!(file, "{line}");
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The running clients.
pub struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<Seen>,
}

/// What clients saw that look at one thing together.
#[derive(Default)]
pub struct Seen {
    pub registers: Registers,
    pub locks: Locks,
    pub events: Followed,
    pub routes: Routes,
    pub servers: Servers,
    pub terms: Terms,
    pub fingerprints: Fingerprints,
    pub books: Books,
    pub launches: Launches,
    pub watches: Watches,
}

impl Clients {
    /// # Errors
    /// No HTTP client can be made.
    pub fn start(nodes: &Nodes, history: &Arc<History>) -> Result<Self, String> {
        let runs = nodes.runs().display().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..KEY_WRITERS {
            let asker = Asker::new(nodes.masters(), history, &stop)?;
            tasks.push(tokio::spawn(async move { asker.write_keys(writer).await }));
        }
        for app in 0..APPS {
            let asker = Asker::new(nodes.supervisors(), history, &stop)?;
            let (id, runs) = (format!("/app-{app}"), runs.clone());
            let shape = move |round| document(&id, round, 1 + round % 3, &runs);
            tasks.push(tokio::spawn(async move { asker.change_app(app, APP_PAUSE, shape).await }));
        }
        let site = routes::document(nodes, routes::CHANGING, 0, 2);
        let shape = move |round: u64| {
            let mut next = site.clone();
            next["env"]["ROUND"] = round.to_string().into();
            next
        };
        let asker = Asker::new(nodes.supervisors(), history, &stop)?;
        tasks.push(tokio::spawn(async move { asker.change_app(APPS, SITE_PAUSE, shape).await }));
        let seen = Arc::new(Seen::default());
        for client in 0..registers::CLIENTS {
            let asker = Asker::new(nodes.masters(), history, &stop)?;
            tasks.push(tokio::spawn(registers::run(asker, client, seen.clone())));
        }
        for client in 0..locks::CLIENTS {
            let asker = Asker::new(nodes.masters(), history, &stop)?;
            tasks.push(tokio::spawn(locks::run(asker, client, seen.clone())));
        }
        for master in 0..nodes.masters().len() {
            let asker = Asker::new(nodes.masters(), history, &stop)?;
            tasks.push(tokio::spawn(terms::watch(asker, master, seen.clone())));
        }
        let asker = Asker::patient(nodes.masters(), history, &stop)?;
        tasks.push(tokio::spawn(framework::run(asker, runs, seen.clone())));
        let asker = Asker::new(nodes.masters(), history, &stop)?;
        tasks.push(tokio::spawn(books::read(asker, seen.clone())));
        let asker = Asker::new(nodes.masters(), history, &stop)?;
        let agents = Role::Agent.nodes().map(|node| nodes.data(node)).collect();
        tasks.push(tokio::spawn(books::count(asker, agents, seen.clone())));
        let asker = Asker::patient(nodes.masters(), history, &stop)?;
        tasks.push(tokio::spawn(watches::follow(asker, seen.clone())));
        let asker = Asker::new(nodes.supervisors(), history, &stop)?;
        tasks.push(tokio::spawn(events::follow(asker, seen.clone())));
        tasks.extend(routes::start(nodes, history, &stop, &seen));
        let asker = Asker::new(nodes.supervisors(), history, &stop)?;
        tasks.push(tokio::spawn(servers::watch(nodes.haproxy_socket(), asker, seen.clone())));
        Ok(Self { stop, tasks, seen })
    }

    /// Ends them, and says what they saw.
    pub async fn stop(self) -> Arc<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a client ends");
        }
        self.seen
    }
}

/// A client with several addresses, of which it uses the one that answers.
pub(super) struct Asker {
    http: reqwest::Client,
    addresses: Vec<String>,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
}

impl Asker {
    fn new(addresses: &[String], history: &Arc<History>, stop: &Arc<AtomicBool>) -> Result<Self, String> {
        Ok(Self { http: client()?, ..Self::patient(addresses, history, stop)? })
    }

    /// One whose answers may go on for ever.
    fn patient(addresses: &[String], history: &Arc<History>, stop: &Arc<AtomicBool>) -> Result<Self, String> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self {
            http: http.map_err(|error| error.to_string())?,
            addresses: addresses.to_vec(),
            history: history.clone(),
            stop: stop.clone(),
        })
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One call of the key-value API, to one of the masters: its status and what it says.
    pub(super) async fn ask_master(&self, at: usize, call: &Value) -> reqwest::Result<(u16, Value)> {
        let answer = self.open(at, call).await?;
        let status = answer.status().as_u16();
        let body = if status == 200 { answer.json().await? } else { Value::Null };
        Ok((status, body))
    }

    pub(super) fn address(&self, at: usize) -> &str {
        &self.addresses[at % self.addresses.len()]
    }

    /// A request to one of them, to be filled in.
    pub(super) fn post(&self, at: usize, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("http://{}{path}", self.address(at)))
    }

    /// What one of them shows under a path.
    pub(super) async fn get(&self, at: usize, path: &str) -> reqwest::Result<Value> {
        self.http.get(format!("http://{}{path}", self.address(at))).send().await?.json().await
    }

    pub(super) fn note(&self, event: &Value) {
        self.history.note(event);
    }

    /// The answer to a call of the key-value API, of one of the masters, before it is read.
    pub(super) async fn open(&self, at: usize, call: &Value) -> reqwest::Result<reqwest::Response> {
        self.post(at, "/api/v1/state").json(call).send().await
    }

    async fn write_keys(&self, writer: usize) {
        let mut at = writer;
        for number in 0_u64.. {
            if self.stopped() {
                return;
            }
            let key = format!("w{writer}-{number}");
            let call = state::put(NAMESPACE, &key, key.as_bytes());
            let url = format!("http://{}/api/v1/state", self.address(at));
            let status = self.http.post(&url).json(&call).send().await.map(|answer| answer.status().as_u16());
            let said = status.map_err(|error| error.to_string());
            self.history.note(&json!({ "write": key, "to": url, "answer": said }));
            match said {
                Ok(200) => self.history.tell(|told| told.keys.push(key)),
                // Not the leader, or in trouble: the next key goes elsewhere, what became of this one is unknown.
                other => {
                    at += 1;
                    if other.is_err() {
                        self.history.tell(|told| told.unanswered += 1);
                    }
                }
            }
            tokio::time::sleep(KEY_PAUSE).await;
        }
    }

    /// Posts an app in ever new shapes. `first` says which supervisor is asked first.
    async fn change_app(&self, first: usize, pause: Duration, shape: impl Fn(u64) -> Value) {
        let mut at = first;
        for round in 1_u64.. {
            if self.stopped() {
                return;
            }
            let body = shape(round);
            let id = body["id"].as_str().unwrap_or_default().to_owned();
            self.history.tell(|told| told.apps.entry(id.clone()).or_default().1 = round);
            let url = format!("http://{}/v2/apps{id}?force=true", self.address(at));
            let status = self.http.put(&url).json(&body).send().await.map(|answer| answer.status().as_u16());
            let said = status.map_err(|error| error.to_string());
            self.history.note(&json!({ "change": id, "round": round, "to": url, "answer": said }));
            match said {
                Ok(200 | 201) => self.history.tell(|told| told.apps.entry(id.clone()).or_default().0 = round),
                other => {
                    at += 1;
                    if other.is_err() {
                        self.history.tell(|told| told.unanswered += 1);
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// # Errors
/// Only a broken machine has none.
pub fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(5))
        .build()
        .map_err(|error| error.to_string())
}

/// A key as it is asked for.
pub fn read(key: &str) -> Value {
    state::get(NAMESPACE, key)
}

/// An app whose tasks note their start in the folder `runs`. It is replaced at once when its agent cannot be reached.
pub fn document(id: &str, round: u64, instances: u64, runs: &str) -> Value {
    json!({
        "id": id, "cmd": "echo $$ >> $RUNS/$MESOS_TASK_ID; exec sleep 100000", "instances": instances,
        "cpus": 0.1, "mem": 32, "portDefinitions": [], "backoffSeconds": 0.5, "maxLaunchDelaySeconds": 2,
        "env": { "ROUND": round.to_string(), "RUNS": runs },
        "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }
    })
}
