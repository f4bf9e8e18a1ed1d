//! The processes on the nodes, and what can go wrong with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::network::Network;
use crate::process::Process;

pub const MASTERS: usize = 3;
pub const AGENTS: usize = 3;
pub const SUPERVISORS: usize = 2;
/// Batch schedulers.
pub const SCHEDULERS: usize = 2;
/// One process each.
pub const NODES: usize = MASTERS + AGENTS + SUPERVISORS + SCHEDULERS;

/// A disk of each master: small, so that it can be filled.
const DISK: &str = "size=160m";

/// The cluster; dropping it ends its processes and tasks and unmounts its disks. The network goes last: tasks live in it.
pub struct Nodes {
    pub processes: Vec<Process>,
    pub addresses: Vec<String>,
    folder: TempDir,
    pub network: Network,
}

impl Nodes {
    /// Starts everything; nothing is waited for.
    ///
    /// # Errors
    /// A sentence; nothing is left behind.
    pub fn start() -> Result<Self, String> {
        let network = Network::create(NODES)?;
        let folder = tempfile::Builder::new().prefix("stoa-faults-").tempdir().map_err(|e| e.to_string())?;
        let port = |node: usize| {
            if node < MASTERS {
                5050
            } else if node < MASTERS + AGENTS {
                5051
            } else if node < MASTERS + AGENTS + SUPERVISORS {
                8080
            } else {
                4400
            }
        };
        let addresses = (0..NODES).map(|node| format!("{}:{}", network.address(node), port(node))).collect();
        let mut nodes = Self { processes: Vec::new(), addresses, folder, network };
        std::fs::create_dir_all(nodes.runs()).map_err(|error| error.to_string())?;
        for node in 0..MASTERS {
            nodes.mount(node)?;
        }
        for node in 0..NODES {
            let mut words = nodes.network.on(node);
            words.push(crate::process::stoa().display().to_string());
            words.extend(nodes.flags(node));
            let program = words.remove(0);
            let process =
                Process::start_program(nodes.folder.path(), &Self::name(node), program.into(), words);
            nodes.processes.push(process);
        }
        Ok(nodes)
    }

    fn flags(&self, node: usize) -> Vec<String> {
        let masters = self.addresses[..MASTERS].join(",");
        let listen = format!("--listen={}", self.addresses[node]);
        let data = format!("--data-dir={}", self.dir(node).join("data").display());
        if node < MASTERS {
            return vec!["master".to_owned(), listen, format!("--peers={masters}"), data];
        }
        let to = format!("--master={masters}");
        if node < MASTERS + AGENTS {
            let resources = "--resources=cpus:8;mem:8192;disk:10000;ports:[31000-31500]".to_owned();
            return vec!["agent".to_owned(), listen, to, data, resources, "--kill-tasks-on-exit".to_owned()];
        }
        let role = if node < MASTERS + AGENTS + SUPERVISORS { "marathon" } else { "chronos" };
        vec![role.to_owned(), listen, to]
    }

    /// `master-0` for example.
    pub fn name(node: usize) -> String {
        if node < MASTERS {
            return format!("master-{node}");
        }
        let agent = node - MASTERS;
        if agent < AGENTS {
            return format!("agent-{agent}");
        }
        let supervisor = agent - AGENTS;
        if supervisor < SUPERVISORS {
            format!("supervisor-{supervisor}")
        } else {
            format!("scheduler-{}", supervisor - SUPERVISORS)
        }
    }

    pub fn masters(&self) -> &[String] {
        &self.addresses[..MASTERS]
    }

    pub fn supervisors(&self) -> &[String] {
        &self.addresses[MASTERS + AGENTS..MASTERS + AGENTS + SUPERVISORS]
    }

    pub fn schedulers(&self) -> &[String] {
        &self.addresses[MASTERS + AGENTS + SUPERVISORS..]
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where each task notes that it was started.
    pub fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.folder.path().join(Self::name(node))
    }

    fn mount(&self, node: usize) -> Result<(), String> {
        let dir = self.dir(node);
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "stoa-faults"]).arg(&dir).status();
        if status.is_ok_and(|status| status.success()) {
            Ok(())
        } else {
            Err(format!("cannot mount {}", dir.display()))
        }
    }

    /// Leaves a master's disk without a free byte.
    pub fn fill_disk(&self, node: usize) {
        let block = vec![1_u8; 1 << 20];
        if let Ok(mut file) = std::fs::File::create(self.dir(node).join("filler")) {
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        }
    }

    pub fn free_disk(&self, node: usize) {
        // It is only there while the disk is full.
        let _ = std::fs::remove_file(self.dir(node).join("filler"));
    }

    /// Starts again whatever has died.
    pub fn revive(&mut self, node: usize) {
        if self.processes[node].exited().is_some() {
            self.processes[node].restart();
        }
    }

    /// The ends of all logs, for a broken promise.
    pub fn logs(&self) -> String {
        self.processes
            .iter()
            .map(|process| format!("--- {}\n{}\n", process.name, process.log_tail()))
            .collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let agents = MASTERS..(MASTERS + AGENTS).min(self.processes.len());
        for node in agents.clone() {
            self.network.mend(node);
            self.processes[node].signal(libc::SIGCONT);
            if self.processes[node].exited().is_none() {
                self.processes[node].signal(libc::SIGTERM);
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        for node in agents {
            while self.processes[node].exited().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        // An agent that died, or did not end in time, has left its tasks.
        for pid in crate::tasks::by_task(self.folder.path()).values().flatten() {
            // SAFETY: plain integers; the pids are of tasks of this cluster, seen a moment ago.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        self.processes.clear();
        for node in 0..MASTERS {
            // What was not mounted cannot be unmounted.
            let _ = Command::new("umount").arg("--lazy").arg(self.dir(node)).status();
        }
    }
}
