//! Masters, agents, supervisors and a sidecar, each a process, on ports of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::ports;
use crate::process::Process;
use crate::wait::{check, until};

/// Enough for a cold start on a busy machine.
pub const START: Duration = Duration::from_secs(30);
/// How many ports an agent offers.
const TASK_PORTS: u16 = 100;

/// How many of each role.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub masters: usize,
    pub agents: usize,
    pub marathons: usize,
    pub haproxy: bool,
}

/// A cluster; dropping it ends every process it started, and their tasks.
pub struct Cluster {
    pub masters: Vec<Process>,
    pub agents: Vec<Process>,
    pub marathons: Vec<Process>,
    pub haproxy: Option<Process>,
    pub master_addresses: Vec<String>,
    pub agent_addresses: Vec<String>,
    pub marathon_addresses: Vec<String>,
    pub http: reqwest::Client,
    folder: TempDir,
}

impl Cluster {
    /// Starts it and waits until a supervisor leads and every agent is registered.
    pub async fn start(shape: Shape) -> Self {
        Self::start_as(shape, &[], &[]).await
    }

    /// One master with flags of its own, so many agents and nothing else.
    pub async fn start_with(agents: usize, master: &[&str]) -> Self {
        Self::start_as(Shape { masters: 1, agents, marathons: 0, haproxy: false }, master, &[]).await
    }

    /// One master and agents, all with flags of their own; an agent's take the place of the usual ones.
    pub async fn start_flagged(master: &[&str], agents: &[&[&str]]) -> Self {
        let shape = Shape { masters: 1, agents: agents.len(), marathons: 0, haproxy: false };
        Self::start_as(shape, master, agents).await
    }

    async fn start_as(shape: Shape, master: &[&str], agents: &[&[&str]]) -> Self {
        let folder = tempfile::Builder::new().prefix("stoa-e2e-").tempdir().expect("a folder");
        let addresses = |count: usize| -> Vec<String> {
            (0..count).map(|_| format!("127.0.0.1:{}", ports::free())).collect()
        };
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client");
        let mut cluster = Self {
            masters: Vec::new(),
            agents: Vec::new(),
            marathons: Vec::new(),
            haproxy: None,
            master_addresses: addresses(shape.masters),
            agent_addresses: addresses(shape.agents),
            marathon_addresses: addresses(shape.marathons),
            http,
            folder,
        };
        cluster.start_roles(shape, master, agents);
        cluster.leading_master().await;
        cluster.wait_agents(shape.agents).await;
        if shape.marathons > 0 {
            cluster.leading_marathon().await;
        }
        cluster
    }

    fn start_roles(&mut self, shape: Shape, master: &[&str], agents: &[&[&str]]) {
        let masters = self.master_addresses.join(",");
        for i in 0..shape.masters {
            let mut flags = vec!["master".to_owned(), format!("--listen={}", self.master_addresses[i])];
            flags.push(format!("--data-dir={}", self.dir(&format!("master-{i}")).display()));
            flags.extend(master.iter().map(|flag| (*flag).to_owned()));
            if shape.masters > 1 {
                flags.push(format!("--peers={masters}"));
            }
            self.masters.push(Process::start(self.folder.path(), &format!("master-{i}"), flags));
        }
        for i in 0..shape.agents {
            let first = ports::free_range(TASK_PORTS);
            let mut flags = vec![
                "agent".to_owned(),
                format!("--listen={}", self.agent_addresses[i]),
                format!("--master={masters}"),
                format!("--data-dir={}", self.dir(&format!("agent-{i}")).display()),
                format!("--resources=cpus:4;mem:4096;disk:10000;ports:[{first}-{}]", first + TASK_PORTS - 1),
                format!("--attributes=rack:r{i}"),
                "--kill-tasks-on-exit".to_owned(),
            ];
            let own = agents.get(i).copied().unwrap_or_default();
            let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
            flags.retain(|usual| own.iter().all(|flag| name(flag) != name(usual)));
            flags.extend(own.iter().map(|flag| (*flag).to_owned()));
            self.agents.push(Process::start(self.folder.path(), &format!("agent-{i}"), flags));
        }
        for i in 0..shape.marathons {
            let flags = vec![
                "marathon".to_owned(),
                format!("--listen={}", self.marathon_addresses[i]),
                format!("--master={masters}"),
            ];
            self.marathons.push(Process::start(self.folder.path(), &format!("marathon-{i}"), flags));
        }
        if shape.haproxy {
            let urls: Vec<String> = self.marathon_addresses.iter().map(|a| format!("http://{a}")).collect();
            let flags = vec![
                "haproxy".to_owned(),
                format!("--listen=127.0.0.1:{}", ports::free()),
                format!("--marathon={}", urls.join(",")),
                format!("--data-dir={}", self.dir("haproxy").display()),
                "--stop-haproxy-on-exit".to_owned(),
            ];
            self.haproxy = Some(Process::start(self.folder.path(), "haproxy", flags));
        }
    }

    /// The folder of a role, `master-0` for example.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Which master leads, asked from all of them until one knows.
    pub async fn leading_master(&self) -> usize {
        until("a master leads", START, async || {
            for address in &self.master_addresses {
                let url = format!("http://{address}/redirect");
                let Ok(answer) = self.http.get(&url).send().await else { continue };
                let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
                let Some(leader) = location.and_then(|text| text.strip_prefix("//")) else { continue };
                let Some(index) = self.master_addresses.iter().position(|a| a == leader) else { continue };
                // A follower may name one that has just died: only the leader itself answers this with 200.
                let state = self.http.get(format!("http://{leader}/slaves")).send().await;
                if state.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                    return Ok(index);
                }
            }
            Err(self.logs())
        })
        .await
    }

    /// Which supervisor leads.
    pub async fn leading_marathon(&self) -> usize {
        until("a supervisor leads", START, async || {
            for address in &self.marathon_addresses {
                let url = format!("http://{address}/v2/leader");
                let Ok(answer) = self.http.get(&url).send().await else { continue };
                let Ok(body) = answer.json::<Value>().await else { continue };
                let leader = body["leader"].as_str().unwrap_or_default();
                if let Some(index) = self.marathon_addresses.iter().position(|a| a == leader)
                    && self.ask_at(index, Method::GET, "/v2/apps", None).await.is_ok_and(|(s, _)| s == 200)
                {
                    return Ok(index);
                }
            }
            Err(self.logs())
        })
        .await
    }

    async fn wait_agents(&self, count: usize) {
        let leader = self.leading_master().await;
        until("every agent is registered", START, async || {
            let url = format!("http://{}/slaves", self.master_addresses[leader]);
            let answer = self.http.get(&url).send().await.map_err(|error| error.to_string())?;
            let body: Value = answer.json().await.map_err(|error| error.to_string())?;
            let active =
                body["slaves"].as_array().into_iter().flatten().filter(|a| a["active"] == true).count();
            if active == count { Ok(()) } else { Err(format!("{active} of {count}\n{}", self.logs())) }
        })
        .await;
    }

    /// Asks one supervisor; the body is `null` where it is not JSON.
    /// Makes a call of the key-value API at whichever master leads until it is answered with 200. A write may be made
    /// twice.
    pub async fn state(&self, call: &Value) -> Value {
        until("the leader answers", START, async || {
            let leader = &self.master_addresses[self.leading_master().await];
            let answer = self.http.post(format!("http://{leader}/api/v1/state")).json(call).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            check(answer.status() == StatusCode::OK, || answer.status().to_string())?;
            answer.json().await.map_err(|error| error.to_string())
        })
        .await
    }

    pub async fn ask_at(
        &self,
        index: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let url = format!("http://{}{path}", self.marathon_addresses[index]);
        let mut request = self.http.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| format!("{url}: {error:?}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| format!("{url}: {error:?}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Asks whichever supervisor answers, trying again while none does, as a client with several addresses would.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        until(&format!("{method} {path} is answered"), START, async || {
            let mut last = String::from("no supervisor");
            for index in 0..self.marathon_addresses.len() {
                match self.ask_at(index, method.clone(), path, body).await {
                    Ok((status, _)) if status == 503 || status == 502 => last = format!("status {status}"),
                    Ok(answer) => return Ok(answer),
                    Err(why) => last = why,
                }
            }
            Err(last)
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert!(status == 200, "GET {path}: {status} {body}");
        body
    }

    /// Waits until the app has exactly `count` healthy tasks, no other, and no deployment runs; returns the tasks.
    pub async fn wait_healthy(&self, id: &str, count: usize, deadline: Duration) -> Vec<Value> {
        until(&format!("{id} has {count} healthy tasks"), deadline, async || {
            let (status, body) = self.ask(Method::GET, &format!("/v2/apps{id}"), None).await;
            let app = &body["app"];
            let tasks: Vec<Value> = app["tasks"].as_array().into_iter().flatten().cloned().collect();
            let settled = app["deployments"].as_array().is_some_and(Vec::is_empty);
            let healthy = app["tasksHealthy"].as_u64() == Some(count as u64);
            if status == 200 && healthy && settled && tasks.len() == count {
                return Ok(tasks);
            }
            let queue = self.ask(Method::GET, "/v2/queue", None).await.1;
            Err(format!(
                "{status} healthy {} running {} tasks {} deployments {}\nqueue {queue}\n{}",
                app["tasksHealthy"],
                app["tasksRunning"],
                tasks.len(),
                app["deployments"],
                self.logs()
            ))
        })
        .await
    }

    /// The ends of all logs, for a failing test.
    pub fn logs(&self) -> String {
        let all = self.masters.iter().chain(&self.agents).chain(&self.marathons).chain(&self.haproxy);
        all.map(|process| format!("--- {}\n{}\n", process.name, process.log_tail())).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // The sidecar and the agents first and in order: they take HAProxy and the tasks with them.
        for process in self.haproxy.iter_mut().chain(&mut self.agents) {
            if process.exited().is_none() {
                process.signal(libc::SIGTERM);
            }
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        for process in self.haproxy.iter_mut().chain(&mut self.agents) {
            while process.exited().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
