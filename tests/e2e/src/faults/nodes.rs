//! The processes on the nodes, and what can go wrong with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::network::Network;
use super::preload::Preload;
use super::roles::{self, BALANCER, MASTERS, MORTAL_AGENT, NODES, Role, SLOTS};
use super::starve::{self, Childless};
use crate::process::Process;

/// A disk of each master: small, so that it can be filled.
const DISK: &str = "size=160m";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The cluster; dropping it ends its processes and tasks and unmounts its disks. The network goes last: tasks live in it.
pub struct Nodes {
    pub processes: Vec<Process>,
    pub addresses: Vec<String>,
    /// Another version of the program, which nodes go over to and back from.
    other: Option<PathBuf>,
    /// By node: whether it runs the other version.
    over: Vec<bool>,
    /// By master: the member through which it came into the group, if it is none of the founders.
    joined: BTreeMap<usize, String>,
    /// How often the mortal agent has lost its power.
    boots: usize,
    childless: BTreeMap<usize, Childless>,
    preload: Preload,
    folder: TempDir,
    pub network: Network,
}

impl Nodes {
    /// Starts everything; nothing is waited for.
    ///
    /// # Errors
    /// A sentence; nothing is left behind.
    pub fn start(other: Option<PathBuf>) -> Result<Self, String> {
        let network = Network::create(NODES)?;
        let folder = tempfile::Builder::new().prefix("stoa-faults-").tempdir().map_err(|e| e.to_string())?;
        let address = |node| format!("{}:{}", network.address(node), Role::of(node).port());
        let mut nodes = Self {
            processes: Vec::new(),
            addresses: (0..NODES).map(address).collect(),
            other,
            over: vec![false; NODES],
            joined: BTreeMap::new(),
            boots: 0,
            childless: BTreeMap::new(),
            preload: Preload::find(folder.path())?,
            folder,
            network,
        };
        std::fs::create_dir_all(nodes.runs()).map_err(|error| error.to_string())?;
        for node in Role::Master.nodes() {
            nodes.mount(node)?;
        }
        nodes.boot()?;
        for node in 0..NODES {
            if nodes.preload.sets_clocks() {
                nodes.preload.set_clock(&roles::name(node), 0)?;
            }
            let mut words = nodes.words(node);
            let program = words.remove(0);
            let process =
                Process::start_program(nodes.folder.path(), &roles::name(node), program.into(), words);
            nodes.processes.push(process);
        }
        Ok(nodes)
    }

    /// What a node runs: the way onto it, what is between it and the kernel, the program and its flags.
    fn words(&self, node: usize) -> Vec<String> {
        let mut words = self.network.on(node);
        if node == MORTAL_AGENT {
            // As after a boot of its own, of which this machine knows nothing.
            let script = format!("mount --bind {} {BOOT_ID} && exec \"$@\"", self.boot_id().display());
            words.extend(["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned));
        }
        words.extend(self.preload.words(&roles::name(node), Role::of(node) == Role::Master));
        let program = self.other.clone().filter(|_| self.over[node]).unwrap_or_else(crate::process::stoa);
        words.push(program.display().to_string());
        words.push(Role::of(node).command().to_owned());
        words.push(format!("--listen={}", self.addresses[node]));
        words.extend(self.flags(node));
        words
    }

    fn flags(&self, node: usize) -> Vec<String> {
        let masters = self.masters().join(",");
        let data = format!("--data-dir={}", self.data(node).display());
        let number = node - Role::of(node).nodes().start;
        match Role::of(node) {
            Role::Master => {
                let founder = || format!("--peers={masters}");
                vec![data, self.joined.get(&node).map_or_else(founder, |through| format!("--join={through}"))]
            }
            Role::Agent => {
                let lasting = if node == MORTAL_AGENT { "no" } else { "yes" };
                vec![
                    data,
                    format!("--master={masters}"),
                    format!("--resources=cpus:8;mem:8192;disk:10000;ports:[31000-31500];slots:{SLOTS}"),
                    format!("--attributes=lasting:{lasting};rack:r{number}"),
                    "--kill-tasks-on-exit".to_owned(),
                ]
            }
            Role::Supervisor | Role::Scheduler => vec![format!("--master={masters}")],
            Role::Balancer => {
                let supervisors: Vec<String> =
                    self.supervisors().iter().map(|address| format!("http://{address}")).collect();
                vec![
                    data,
                    format!("--marathon={}", supervisors.join(",")),
                    format!("--bind={}", self.network.address(node)),
                ]
            }
        }
    }

    pub fn masters(&self) -> &[String] {
        &self.addresses[Role::Master.nodes()]
    }

    pub fn supervisors(&self) -> &[String] {
        &self.addresses[Role::Supervisor.nodes()]
    }

    pub fn schedulers(&self) -> &[String] {
        &self.addresses[Role::Scheduler.nodes()]
    }

    /// Where HAProxy takes requests for a service port.
    pub fn service(&self, port: u16) -> String {
        format!("http://{}:{port}/", self.network.address(BALANCER))
    }

    /// Where HAProxy itself can be asked.
    pub(super) fn haproxy_socket(&self) -> PathBuf {
        self.data(BALANCER).join("stats.sock")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where each task notes that it was started.
    pub fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.folder.path().join(roles::name(node))
    }

    pub(super) fn data(&self, node: usize) -> PathBuf {
        self.dir(node).join("data")
    }

    fn boot_id(&self) -> PathBuf {
        self.folder.path().join("boot_id")
    }

    /// The mortal agent's machine has booted.
    fn boot(&mut self) -> Result<(), String> {
        self.boots += 1;
        let id = format!("00000000-0000-4000-8000-{:012}\n", self.boots);
        std::fs::write(self.boot_id(), id).map_err(|error| error.to_string())
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
    pub(super) fn fill_disk(&self, node: usize) {
        let block = vec![1_u8; 1 << 20];
        if let Ok(mut file) = std::fs::File::create(self.dir(node).join("filler")) {
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        }
    }

    pub(super) fn free_disk(&self, node: usize) {
        // It is only there while the disk is full.
        let _ = std::fs::remove_file(self.dir(node).join("filler"));
    }

    /// Empties a node's disk. Its process must have ended.
    pub(super) fn wipe(&self, node: usize) {
        // It may have had nothing on it.
        let _ = std::fs::remove_dir_all(self.data(node));
    }

    /// A master that is to come in through another one when it starts next, as a new member.
    pub(super) fn joins(&mut self, node: usize, through: String) {
        self.joined.insert(node, through);
    }

    pub(super) fn can_fail_syncs(&self) -> bool {
        self.preload.fails_syncs()
    }

    pub(super) fn can_set_clocks(&self) -> bool {
        self.preload.sets_clocks()
    }

    #[expect(clippy::unused_self, reason = "asked like what else a machine may lack")]
    pub(super) fn can_refuse_forks(&self) -> bool {
        starve::can_refuse_forks()
    }

    pub(super) fn fail_sync(&self, node: usize) -> Result<(), String> {
        self.preload.fail_sync(&roles::name(node), self.processes[node].pid())
    }

    pub(super) fn set_clock(&self, node: usize, seconds: i64) -> Result<(), String> {
        self.preload.set_clock(&roles::name(node), seconds)
    }

    pub(super) fn refuse_forks(&mut self, node: usize) -> Result<(), String> {
        let group = Childless::begin(self.processes[node].pid(), &roles::name(node))?;
        self.childless.insert(node, group);
        Ok(())
    }

    pub(super) fn allow_forks(&self, node: usize) {
        self.childless.get(&node).iter().for_each(|group| group.end());
    }

    pub(super) fn no_more_files(&self, node: usize) {
        starve::no_more_files(self.processes[node].pid());
    }

    pub(super) fn files_again(&self, node: usize) {
        starve::files_again(self.processes[node].pid());
    }

    /// The mortal agent's machine loses its power: everything that ran on it is gone at once.
    pub(super) fn power_off(&mut self) -> Result<(), String> {
        self.processes[MORTAL_AGENT].kill();
        let data = self.data(MORTAL_AGENT);
        kill_all(&processes_naming(&data));
        for pid in crate::tasks::by_task(&data).values().flatten() {
            kill_all(&[*pid]);
        }
        self.boot()
    }

    /// Ends HAProxy itself, old workers included.
    pub(super) fn kill_haproxy(&self) {
        let pids = processes_naming(&self.data(BALANCER));
        let own = self.processes[BALANCER].pid();
        kill_all(&pids.into_iter().filter(|pid| *pid != own).collect::<Vec<i32>>());
    }

    /// Ends a process as an upgrade does, to come back as the other version if there is one.
    pub(super) fn change_version(&mut self, node: usize) {
        self.over[node] = !self.over[node];
        if Role::of(node) == Role::Agent {
            // Asked to end, it would end its tasks too: here it is told so for the sake of the end of all.
            self.processes[node].kill();
        } else {
            self.processes[node].signal(libc::SIGTERM);
        }
    }

    /// Starts again whatever has died.
    pub fn revive(&mut self, node: usize) {
        if self.processes[node].exited().is_some() {
            let words = self.words(node).split_off(1);
            self.processes[node].restart_as(words);
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

/// Processes whose words name something in a folder.
fn processes_naming(folder: &Path) -> Vec<i32> {
    let wanted = folder.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let names = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| String::from_utf8_lossy(&words).contains(&wanted))
    };
    pids.filter(names).collect()
}

fn kill_all(pids: &[i32]) {
    for pid in pids {
        // SAFETY: plain integers; the pids are of this cluster's own, seen a moment ago.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let started = self.processes.len();
        let agents: Vec<usize> = Role::Agent.nodes().filter(|node| *node < started).collect();
        for node in &agents {
            self.network.mend(*node);
            self.allow_forks(*node);
            self.processes[*node].signal(libc::SIGCONT);
            if self.processes[*node].exited().is_none() {
                self.processes[*node].signal(libc::SIGTERM);
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        for node in agents {
            while self.processes[node].exited().is_none() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        // An agent that died, or did not end in time, has left its tasks.
        for pids in crate::tasks::by_task(self.folder.path()).values() {
            kill_all(pids);
        }
        self.processes.clear();
        kill_all(&processes_naming(&self.data(BALANCER)));
        self.childless.clear();
        for node in 0..MASTERS {
            // What was not mounted cannot be unmounted.
            let _ = Command::new("umount").arg("--lazy").arg(self.dir(node)).status();
        }
    }
}
