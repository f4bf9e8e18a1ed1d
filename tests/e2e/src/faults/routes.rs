//! Requests through HAProxy while things break: who answered each, and whether anybody did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{self, Seen};
use super::fault::{Fault, What};
use super::nodes::Nodes;
use super::promises::eventually;
use super::roles::{BALANCER, Role};

/// The site nobody changes, and the one that is replaced again and again, with their service ports.
pub const STEADY: (&str, u16) = ("/web", 10_001);
pub const CHANGING: (&str, u16) = ("/site", 10_002);
/// Clients of each site that ask at a time: one may wait for a server that is cut off.
const CLIENTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(50);
/// HAProxy tries servers for up to a dozen seconds.
const PATIENCE: Duration = Duration::from_secs(25);
/// Once the feed has told of a task's end, nobody is led to it after so long.
const DELAY: Duration = Duration::from_secs(3);
/// After a fault of those who tell the balancer, it may take so long until it hears again.
const SETTLE: Duration = Duration::from_secs(15);
/// After a fault of the balancer's own network it may take so long until requests get through.
const REPAIR: Duration = Duration::from_secs(5);
/// Requests in which each server of a site is asked at least once, when all is well.
const ROUND: usize = 24;

/// The system's own: one that is found by its name may be a script that looks for it first.
const PYTHON: &str = "/usr/bin/python3";
/// The server: it answers with the id of its task.
const PROGRAM: &str = r#"
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["MESOS_TASK_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("", int(sys.argv[1])), Page).serve_forever()
"#;

/// One request.
struct Asked {
    sent: Instant,
    done: Instant,
    /// The task that answered, or what was said instead.
    said: Result<String, String>,
}

/// What was asked of both sites.
#[derive(Default)]
pub struct Routes(Mutex<BTreeMap<u16, Vec<Asked>>>);

/// A fault, from when until when.
pub struct Trouble {
    pub fault: Fault,
    pub from: Instant,
    pub until: Instant,
}

impl Trouble {
    /// Whether it, or what it leaves for a while, falls into a time.
    fn touches(&self, from: Instant, until: Instant, after: Duration) -> bool {
        self.from <= until && from <= self.until + after
    }

    /// Whether the way from the balancer to its servers, or HAProxy itself, is affected.
    fn breaks_the_way(&self) -> bool {
        let network = matches!(self.fault.what, What::Cut(_) | What::Part(_) | What::Flap | What::BadLink);
        let own = self.fault.node == BALANCER || self.fault.what == What::Part(BALANCER);
        own && (network || matches!(self.fault.what, What::KillHaproxy))
    }

    /// Whether a server cannot be reached, or not well, by anybody but its own machine.
    fn hides_an_agent(&self) -> Option<usize> {
        match self.fault.what {
            What::Cut(_) | What::Flap | What::BadLink => Some(self.fault.node),
            What::Part(BALANCER) => Some(self.fault.node),
            What::Part(other) if self.fault.node == BALANCER => Some(other),
            _ => None,
        }
        .filter(|node| Role::of(*node) == Role::Agent)
    }

    /// Whether those between an event and the balancer are affected.
    fn hides_events(&self) -> bool {
        let teller = |node| matches!(Role::of(node), Role::Balancer | Role::Supervisor | Role::Master);
        teller(self.fault.node) || matches!(self.fault.what, What::Part(other) if teller(other))
    }
}

/// The program of the sites, for their commands.
///
/// # Errors
/// It cannot be written.
pub fn write_program(nodes: &Nodes) -> Result<(), String> {
    std::fs::write(program(nodes), PROGRAM).map_err(|error| error.to_string())
}

fn program(nodes: &Nodes) -> std::path::PathBuf {
    nodes.folder().join("site.py")
}

/// A site, as an app.
pub fn document(nodes: &Nodes, (id, port): (&str, u16), round: u64, instances: u64) -> Value {
    let mut app = clients::document(id, round, instances, &nodes.runs().display().to_string());
    let program = program(nodes).display().to_string();
    app["cmd"] = format!("echo $$ >> $RUNS/$MESOS_TASK_ID; exec {PYTHON} {program} $PORT0").into();
    app["portDefinitions"] = json!([{ "port": port, "protocol": "tcp", "name": "http" }]);
    // The servers are not to be killed for being slow: how long that takes is a matter of the machine.
    app["healthChecks"] = json!([{ "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 60,
        "intervalSeconds": 1, "timeoutSeconds": 10, "maxConsecutiveFailures": 0 }]);
    app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 });
    app
}

/// Starts those who ask.
pub(super) fn start(
    nodes: &Nodes,
    stop: &Arc<AtomicBool>,
    seen: &Arc<Seen>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let both = [STEADY.1, CHANGING.1];
    let clients = both.into_iter().flat_map(|port| std::iter::repeat_n(port, CLIENTS));
    let ask = |port| tokio::spawn(ask(nodes.service(port), port, stop.clone(), seen.clone()));
    clients.map(ask).collect()
}

async fn ask(url: String, port: u16, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let said = get(&url).await;
        let asked = Asked { sent, done: Instant::now(), said };
        seen.routes.0.lock().unwrap_or_else(PoisonError::into_inner).entry(port).or_default().push(asked);
        tokio::time::sleep(PAUSE).await;
    }
}

/// One request, on a connection of its own: HAProxy leads each connection to the next server.
async fn get(url: &str) -> Result<String, String> {
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    let answer = http.get(url).send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    if status == 200 { Ok(text) } else { Err(status.to_string()) }
}

impl Routes {
    /// Whether the site nobody changes answered whenever HAProxy could reach one of its servers: a server that cannot be
    /// reached must cost its callers time at most.
    ///
    /// # Errors
    /// The first request that was refused.
    pub(super) fn check_answers(&self, troubles: &[Trouble], began: Instant) -> Result<String, String> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut answered, mut excused) = (0, 0);
        for Asked { sent, done, said } in asked.get(&STEADY.1).into_iter().flatten() {
            let near = |trouble: &&Trouble| trouble.touches(*sent, *done, REPAIR);
            let hidden: BTreeSet<usize> =
                troubles.iter().filter(near).filter_map(Trouble::hides_an_agent).collect();
            match said {
                Ok(_) => answered += 1,
                Err(_) if hidden.len() > 1 || troubles.iter().filter(near).any(Trouble::breaks_the_way) => {
                    excused += 1;
                }
                Err(why) => {
                    return Err(format!(
                        "a request {:?} after the beginning was answered {why} after {:?}",
                        *sent - began,
                        *done - *sent
                    ));
                }
            }
        }
        if answered == 0 {
            return Err("no request was answered".to_owned());
        }
        Ok(format!("{answered} answers, {excused} requests lost while HAProxy itself was cut off or dead"))
    }

    /// Whether nobody was led to a task whose end the feed had told of.
    ///
    /// # Errors
    /// The first who was.
    pub(super) fn check_ends(
        &self,
        ended: &BTreeMap<String, Instant>,
        troubles: &[Trouble],
    ) -> Result<String, String> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut judged, mut excused) = (0, 0);
        for Asked { sent, said, .. } in asked.values().flatten() {
            let Ok(task) = said else { continue };
            let hidden = |from: Instant| {
                troubles.iter().any(|trouble| trouble.hides_events() && trouble.touches(from, *sent, SETTLE))
            };
            let late = ended.get(task).and_then(|end| Some((end, sent.checked_duration_since(*end)?)));
            match late.filter(|(_, after)| *after > DELAY) {
                Some((end, after)) if !hidden(*end) => {
                    return Err(format!("{task} was asked {after:?} after its end was told"));
                }
                _ if hidden(*sent) => excused += 1,
                _ => judged += 1,
            }
        }
        let of = |port| asked.get(port).into_iter().flatten().filter(|asked| asked.said.is_ok()).count();
        if of(&CHANGING.1) == 0 {
            return Err(format!("nobody was led to {} at all", CHANGING.0));
        }
        if judged == 0 {
            return Err("no answer was given while all was well with those who tell of ends".to_owned());
        }
        Ok(format!(
            "{judged} answers, {excused} while news may have been late; {} of all by {}, {} ends",
            of(&CHANGING.1),
            CHANGING.0,
            ended.len()
        ))
    }
}

/// Waits until each of so many servers of the site nobody changes has answered.
///
/// # Errors
/// They have not, in time.
pub async fn answered(nodes: &Nodes, servers: usize) -> Result<(), String> {
    eventually(async || {
        let mut answers = BTreeSet::new();
        for _ in 0..ROUND {
            answers.insert(get(&nodes.service(STEADY.1)).await?);
        }
        if answers.len() == servers { Ok(()) } else { Err(format!("{answers:?} answer")) }
    })
    .await
}

/// At rest each site is answered by all of its instances, and by nobody else.
pub(super) async fn check_rest(nodes: &Nodes, http: &reqwest::Client) -> Result<String, String> {
    let mut count = 0;
    for (id, port) in [STEADY, CHANGING] {
        count += eventually(async || {
            let found = super::promises::ask_marathon(http, nodes, &format!("/v2/apps{id}/tasks")).await?;
            let tasks = found["tasks"].as_array().into_iter().flatten();
            let wanted: BTreeSet<String> =
                tasks.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect();
            let mut answers = BTreeSet::new();
            for _ in 0..ROUND {
                answers.insert(get(&nodes.service(port)).await?);
            }
            if answers == wanted && !wanted.is_empty() {
                Ok(wanted.len())
            } else {
                Err(format!("{id} runs as {wanted:?} and is answered by {answers:?}"))
            }
        })
        .await?;
    }
    Ok(format!("{count} servers of two sites"))
}
