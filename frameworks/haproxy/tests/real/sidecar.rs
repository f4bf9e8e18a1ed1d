//! A sidecar with its own directory and HAProxy, and eyes for what they do.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use haproxy::Config;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::supervisor::Supervisor;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Sidecar {
    directory: Directory,
    admin: SocketAddr,
    http: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), haproxy::Error>>,
}

/// A data directory. With it goes the HAProxy a failed test left behind.
struct Directory(TempDir);

impl Drop for Directory {
    fn drop(&mut self) {
        let Ok(mut master) = UnixStream::connect(self.0.path().join("master.sock")) else { return };
        let mut answer = String::new();
        let asked = master.write_all(b"show proc\n").and_then(|()| master.shutdown(Shutdown::Write));
        let _ = asked.and_then(|()| master.read_to_string(&mut answer));
        let master = answer.lines().find(|line| line.contains(" master "));
        if let Some(pid) = master.and_then(|line| line.split_whitespace().next()) {
            let _ = std::process::Command::new("kill").arg(pid).status();
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Looks until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !look().await {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Sidecar {
    pub(crate) async fn start(supervisor: &Supervisor) -> Self {
        let directory = Directory(tempfile::Builder::new().prefix("lb").tempdir().unwrap());
        Self::start_in(directory, supervisor, local(ports::free())).await
    }

    async fn start_in(directory: Directory, supervisor: &Supervisor, http: SocketAddr) -> Self {
        let admin = local(ports::free());
        let config = Config {
            // The first is nobody: the second has to do.
            marathon: vec![format!("http://127.0.0.1:{}", ports::free()), supervisor.url()],
            credential: None,
            groups: vec!["*".into()],
            bind: Ipv4Addr::LOCALHOST.into(),
            haproxy: PathBuf::from("haproxy"),
            data_dir: directory.0.path().to_owned(),
            listen: admin,
            http: Some(http),
            template: None,
            name: "lb-1".into(),
            stop_haproxy_on_exit: true,
        };
        let (shutdown, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(haproxy::run(config, async { drop(stopped.await) }));
        let sidecar = Self { directory, admin, http, shutdown, task };
        eventually("HAProxy runs", || async {
            assert!(!sidecar.task.is_finished(), "the sidecar ended");
            sidecar.get("/health").await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        sidecar
    }

    /// Ends the sidecar with its HAProxy.
    pub(crate) async fn stop(self) {
        drop(self.shutdown);
        self.task.await.unwrap().unwrap();
        eventually("HAProxy is gone", || async {
            UnixStream::connect(self.directory.0.path().join("stats.sock")).is_err()
        })
        .await;
    }

    /// Ends the sidecar without its HAProxy, and starts another in its place.
    pub(crate) async fn restart(self, supervisor: &Supervisor) -> Self {
        // As a crash would: nothing is handed over but the directory.
        self.task.abort();
        let _ = self.task.await;
        // Tasks of the one before may hold the directory for another moment; a process would not.
        let lock = std::fs::File::open(self.directory.0.path().join("lock")).unwrap();
        eventually("the directory is free", || async { lock.try_lock().is_ok() }).await;
        drop(lock);
        Self::start_in(self.directory, supervisor, self.http).await
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = reqwest::get(format!("http://{}{path}", self.admin)).await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    pub(crate) async fn health(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/health").await.unwrap().1).unwrap()
    }

    pub(crate) async fn refresh(&self) {
        assert_eq!(self.get("/_mlb_signal/hup").await.unwrap().0, 200);
    }

    /// The process ids of HAProxy's workers, when there is one: a reload is over when the old one is gone.
    pub(crate) async fn workers(&self) -> String {
        let one = || async {
            let (status, pids) = self.get("/_haproxy_getpids").await?;
            (status == 200 && !pids.contains(' ')).then_some(pids)
        };
        let seen = Cell::new(None);
        eventually("one worker", || async {
            let now = one().await;
            let there = now.is_some();
            seen.set(now);
            there
        })
        .await;
        seen.take().unwrap()
    }

    pub(crate) async fn until_rejected(&self, service: &str, reason: &str) {
        eventually(reason, || async {
            self.health().await["rejected"][service].as_str().is_some_and(|text| text.contains(reason))
        })
        .await;
    }

    pub(crate) async fn kill_haproxy(&self) {
        let workers = self.workers().await;
        for pid in workers.split(' ') {
            assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
        }
        eventually("another HAProxy", || async {
            self.get("/_haproxy_getpids").await.is_some_and(|(code, pids)| code == 200 && pids != workers)
        })
        .await;
    }

    /// A figure's value.
    pub(crate) async fn metric(&self, name: &str) -> String {
        let text = self.get("/metrics").await.unwrap().1;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().to_owned()
    }

    pub(crate) async fn until_metric(&self, name: &str, value: u64) {
        let line = format!("{name} {value}");
        eventually(&line, || async {
            self.get("/metrics").await.unwrap().1.lines().any(|found| found == line)
        })
        .await;
    }

    pub(crate) async fn until_feed(&self, connected: bool) {
        eventually("the feed", || async { self.health().await["feed"].is_string() == connected }).await;
    }

    /// Until this instance answers.
    pub(crate) async fn until_routed(&self, port: u16, name: &str) {
        eventually(name, || async { answer(port).await.is_some_and(|(_, body)| body == name) }).await;
    }

    /// Until only these instances answer.
    pub(crate) async fn until_only(&self, port: u16, names: &[&str]) {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        eventually("only these answer", || async {
            let mut seen = BTreeSet::new();
            for _ in 0..8 {
                seen.extend(answer(port).await.map(|(_, body)| body));
            }
            seen == wanted
        })
        .await;
    }

    pub(crate) async fn until_status(&self, port: u16, status: u16) {
        eventually("the status", || async { answer(port).await.is_some_and(|(found, _)| found == status) })
            .await;
    }

    pub(crate) async fn until_refused(&self, port: u16) {
        eventually("refusal", || async { answer(port).await.is_none() }).await;
    }

    /// Until the shared frontend answers a request for this URL so.
    pub(crate) async fn until_answer(&self, url: &str, wanted: &str) {
        let url = reqwest::Url::parse(url).unwrap();
        let host = format!("{}:80", url.host_str().unwrap());
        eventually(wanted, || async {
            let request = reqwest::Client::new().get(format!("http://{}{}", self.http, url.path()));
            let Ok(response) = request.header("host", &host).send().await else { return false };
            response.text().await.is_ok_and(|body| body == wanted)
        })
        .await;
    }
}

/// What a new connection to the port is answered.
async fn answer(port: u16) -> Option<(u16, String)> {
    let response = reqwest::get(format!("http://127.0.0.1:{port}/")).await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}
