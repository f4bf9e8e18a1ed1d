//! Requests through HAProxy while things break: who answered each, and whether anybody did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{self, History, Seen};
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
/// After a fault of the balancer's own network it may take so long until requests get through.
const REPAIR: Duration = Duration::from_secs(5);
/// After a fault of an agent it may take so long until what was given up is replaced.
const RECOVERY: Duration = Duration::from_secs(20);
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

    /// Whether those between an event and the balancer are affected in a time, or have been until shortly before it.
    pub(super) fn hides_events(&self, from: Instant, until: Instant, after: Duration) -> bool {
        // Of masters it takes several at once, or what it does to a supervisor's lease: the event itself has been told.
        let teller = |node| match Role::of(node) {
            Role::Balancer | Role::Supervisor => true,
            Role::Master => self.fault.what == What::KillAll,
            Role::Agent | Role::Scheduler => false,
        };
        let tells = teller(self.fault.node) || matches!(self.fault.what, What::Part(other) if teller(other));
        tells && self.touches(from, until, after)
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
        "delaySeconds": 1, "intervalSeconds": 1, "timeoutSeconds": 10, "maxConsecutiveFailures": 0 }]);
    app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 });
    app
}

/// Starts those who ask.
pub(super) fn start(
    nodes: &Nodes,
    history: &Arc<History>,
    stop: &Arc<AtomicBool>,
    seen: &Arc<Seen>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let both = [STEADY.1, CHANGING.1];
    let clients = both.into_iter().flat_map(|port| std::iter::repeat_n(port, CLIENTS));
    let ask =
        |port| tokio::spawn(ask(nodes.service(port), port, history.clone(), stop.clone(), seen.clone()));
    clients.map(ask).collect()
}

async fn ask(url: String, port: u16, history: Arc<History>, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let said = get(&url).await;
        history.note(&json!({ "request": url, "answer": said }));
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
    /// Whether the sites answered whenever HAProxy could reach one of their servers: a server that cannot be reached, one
    /// that is replaced, and one that dies must cost its callers time at most.
    ///
    /// # Errors
    /// The first request that was refused.
    pub(super) fn check_answers(&self, troubles: &[Trouble], began: Instant) -> Result<String, String> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut answered, mut excused) = (0, 0);
        for (site, port) in [STEADY, CHANGING] {
            // The one that changes is deployed while it is asked already.
            let there = |asked: &&Asked| asked.said.is_err();
            for Asked { sent, done, said } in asked.get(&port).into_iter().flatten().skip_while(there) {
                match said {
                    Ok(_) => answered += 1,
                    Err(_) if is_excused(port, troubles, *sent, *done) => excused += 1,
                    Err(why) => {
                        return Err(format!(
                            "a request to {site} {:?} after the beginning was answered {why} after {:?}",
                            *sent - began,
                            *done - *sent
                        ));
                    }
                }
            }
        }
        let of = |port| asked.get(&port).into_iter().flatten().filter(|asked| asked.said.is_ok()).count();
        if of(STEADY.1) == 0 || of(CHANGING.1) == 0 {
            return Err("a site has never answered".to_owned());
        }
        Ok(format!(
            "{answered} answers, {} of them by {}, and {excused} requests lost that had nobody to go to",
            of(CHANGING.1),
            CHANGING.0
        ))
    }
}

/// Whether a request had nobody to go to: HAProxy itself was cut off or dead, or all servers of the site may have been.
fn is_excused(port: u16, troubles: &[Trouble], sent: Instant, done: Instant) -> bool {
    let near = |trouble: &&Trouble| trouble.touches(sent, done, REPAIR);
    let hidden: BTreeSet<usize> = troubles.iter().filter(near).filter_map(Trouble::hides_an_agent).collect();
    // The site that changes may have both of its servers on one agent, and its definition gives up at once whatever nobody
    // can say anything about.
    let agents = |trouble: &Trouble| {
        Role::of(trouble.fault.node) == Role::Agent && trouble.touches(sent, done, RECOVERY)
    };
    hidden.len() > 1
        || port == CHANGING.1 && (!hidden.is_empty() || troubles.iter().any(agents))
        || troubles.iter().filter(near).any(Trouble::breaks_the_way)
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
