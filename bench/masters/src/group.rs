//! Three masters on this machine.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::client::Client;

pub(crate) struct Group {
    stoa: PathBuf,
    dir: TempDir,
    pub(crate) addresses: Vec<String>,
    processes: Vec<Option<Child>>,
}

impl Group {
    pub(crate) async fn start(stoa: &Path) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut addresses = Vec::new();
        // Held until all are chosen, so that no two are the same.
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            addresses.push(listener.local_addr().map_err(|error| error.to_string())?.to_string());
            listeners.push(listener);
        }
        drop(listeners);
        let mut group = Self { stoa: stoa.to_owned(), dir, addresses, processes: vec![] };
        for index in 0..3 {
            let child = group.spawn(index)?;
            group.processes.push(Some(child));
        }
        group.leader().await?;
        Ok(group)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(&self, index: usize) -> Result<Child, String> {
        let failed = |error: std::io::Error| format!("cannot start {}: {error}", self.stoa.display());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("master{index}.log")))
            .map_err(failed)?;
        Command::new(&self.stoa)
            .args(["master", "--listen", &self.addresses[index], "--advertise", &self.addresses[index]])
            .args(["--peers", &self.addresses.join(",")])
            .arg("--data-dir")
            .arg(self.dir.path().join(format!("master{index}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed)
    }

    /// Logs and data outlive the measurement, for whoever asks why it failed.
    pub(crate) fn keep(&mut self) {
        self.dir.disable_cleanup(true);
        eprintln!("logs and data are kept in {}", self.dir.path().display());
    }

    pub(crate) fn restart(&mut self, index: usize) -> Result<(), String> {
        self.processes[index] = Some(self.spawn(index)?);
        Ok(())
    }

    /// `kill -9`, at once.
    pub(crate) fn kill(&mut self, index: usize) -> Result<Instant, String> {
        let mut child = self.processes[index].take().ok_or("killed twice")?;
        child.kill().map_err(|error| error.to_string())?;
        let at = Instant::now();
        child.wait().map_err(|error| error.to_string())?;
        Ok(at)
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..3).filter(|index| self.processes[*index].is_some())
    }

    /// Who leads, as all that run agree.
    pub(crate) async fn leader(&self) -> Result<usize, String> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            let mut named = Vec::new();
            for index in self.running() {
                named.push(Client::leader_of(&self.addresses[index]).await);
            }
            if let Some(Some(first)) = named.first().cloned() {
                let known = self.running().find(|index| self.addresses[*index] == first);
                if let (Some(index), true) = (known, named.iter().all(|one| one.as_ref() == Some(&first))) {
                    return Ok(index);
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("no leader within 30 s; see {}", self.dir.path().display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // Ours, and of no use any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
