//! The HAProxy process: found, started, reloaded, stopped.
//!
//! HAProxy outlives the sidecar. A sidecar that starts looks for a running one and goes on with it, since to start it
//! anew would cut every connection; it has a process group of its own so that a Ctrl-C meant for the sidecar does not
//! reach it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::files::Files;
use crate::limits::{LOG_BYTES, RELOAD_TIMEOUT, START_TIMEOUT, VALIDATE_TIMEOUT};
use crate::runtime::{Processes, Unexpected, pid, processes};
use crate::socket::{Socket, SocketError, ask};

/// How often a state that has no event is looked at while it is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a graceful stop may take before it is made a plain one.
const STOP_AFTER: Duration = Duration::from_secs(3);
/// Of HAProxy's messages, how much goes into an error.
const TAIL_BYTES: usize = 2_000;

/// Why HAProxy does not do as told.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("cannot run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("the configuration is refused: {0}")]
    Invalid(String),
    #[error("HAProxy did not start: {0}")]
    NotStarted(String),
    #[error("HAProxy did not take the new configuration over: {0}")]
    NotReloaded(String),
    #[error("checking the configuration takes too long")]
    SlowCheck,
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
}

/// The running HAProxy of a data directory.
#[derive(Debug)]
pub(crate) struct Haproxy {
    program: PathBuf,
    configuration: PathBuf,
    stats: PathBuf,
    master: PathBuf,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
enum Running {
    /// Ours to wait for.
    Child(Child),
    /// Found running; a descriptor that becomes readable when it ends.
    Adopted { pid: u32, ended: AsyncFd<OwnedFd> },
}

impl Haproxy {
    pub(crate) fn new(program: &Path, files: &Files) -> Self {
        Self {
            program: program.to_owned(),
            configuration: files.configuration(),
            stats: files.stats_socket(),
            master: files.master_socket(),
            log: files.log(),
            running: None,
        }
    }

    /// Whether one runs, as far as we know.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Goes on with a running HAProxy; false when there is none.
    pub(crate) async fn adopt(&mut self) -> bool {
        let Ok(found) = self.processes().await else { return false };
        let Some(pid) = i32::try_from(found.master).ok().and_then(Pid::from_raw) else { return false };
        if ask(&self.stats, "show info").await.is_err() {
            return false;
        }
        let Ok(ended) = pidfd_open(pid, PidfdFlags::NONBLOCK) else { return false };
        // SAFETY: the descriptor is owned, so it stays open and the same as long as the registration lives.
        let Ok(ended) = (unsafe { AsyncFd::register(ended) }) else { return false };
        self.running = Some(Running::Adopted { pid: found.master, ended });
        true
    }

    /// Starts HAProxy with the configuration in force and waits until it serves.
    ///
    /// # Errors
    /// It cannot be run or ends at once; its last messages tell why.
    pub(crate) async fn start(&mut self) -> Result<(), ProcessError> {
        self.shorten_log();
        let spawn = |source| ProcessError::Spawn { program: self.program.display().to_string(), source };
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(spawn)?;
        let errors = log.try_clone().map_err(spawn)?;
        let mut child = Command::new(&self.program)
            .arg("-W")
            .args(["-S".as_ref(), self.master.as_os_str()])
            .args(["-f".as_ref(), self.configuration.as_os_str()])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()
            .map_err(spawn)?;
        let deadline = Instant::now() + Duration::from(START_TIMEOUT);
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ProcessError::NotStarted(format!("{status}; {}", self.tail())));
            }
            if ask(&self.stats, "show info").await.is_ok() && self.processes().await.is_ok() {
                self.running = Some(Running::Child(child));
                return Ok(());
            }
            if Instant::now() > deadline {
                // Whatever it is doing, nobody is to be left behind.
                let _ = child.start_kill();
                return Err(ProcessError::NotStarted(format!("it does not answer; {}", self.tail())));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when the running HAProxy has ended; never when there is none.
    pub(crate) async fn ended(&mut self) {
        match &mut self.running {
            Some(Running::Child(child)) => {
                let _ = child.wait().await;
            }
            Some(Running::Adopted { ended, .. }) => {
                let _ = ended.readable().await;
            }
            None => std::future::pending().await,
        }
        self.running = None;
    }

    /// The processes, by the master's own account.
    ///
    /// # Errors
    /// The master does not answer, as for some milliseconds of each reload.
    pub(crate) async fn processes(&self) -> Result<Processes, ProcessError> {
        Ok(processes(&ask(&self.master, "show proc").await?)?)
    }

    /// Asks an old worker by way of the master.
    ///
    /// # Errors
    /// The worker has ended, or the master does not answer.
    pub(crate) async fn ask_worker(&self, worker: u32, command: &str) -> Result<String, ProcessError> {
        Ok(ask(&self.master, &format!("@!{worker} {command}")).await?)
    }

    /// Checks a configuration file.
    ///
    /// # Errors
    /// What HAProxy says is wrong with it.
    pub(crate) async fn validate(&self, path: &Path) -> Result<(), ProcessError> {
        let check = Command::new(&self.program)
            .args(["-c", "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match timeout(VALIDATE_TIMEOUT.into(), check).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => {
                return Err(ProcessError::Spawn { program: self.program.display().to_string(), source });
            }
            Err(_) => return Err(ProcessError::SlowCheck),
        };
        if output.status.success() {
            return Ok(());
        }
        Err(ProcessError::Invalid(alerts(&String::from_utf8_lossy(&output.stderr))))
    }

    /// Makes the master load the configuration in force, and waits until its worker serves. The master answers
    /// nothing and its socket refuses connections meanwhile, so its counters and the worker's process id decide.
    ///
    /// # Errors
    /// The master kept the old worker; its messages tell why.
    pub(crate) async fn reload(&mut self) -> Result<(), ProcessError> {
        self.shorten_log();
        let before = self.processes().await?;
        Socket::open(&self.master).await?.write("reload").await?;
        let deadline = Instant::now() + Duration::from(RELOAD_TIMEOUT);
        loop {
            sleep(LOOK_EVERY).await;
            if Instant::now() > deadline {
                return Err(ProcessError::NotReloaded(format!("it takes too long; {}", self.tail())));
            }
            let Ok(after) = self.processes().await else { continue };
            if after.reloads == before.reloads {
                continue;
            }
            let fresh = after.workers.iter().copied().find(|pid| !before.workers.contains(pid));
            let Some(fresh) = fresh.filter(|_| after.failed == 0) else {
                return Err(ProcessError::NotReloaded(self.tail()));
            };
            // For a moment the socket still leads to the old worker, and a command sent there would be lost.
            if ask(&self.stats, "show info").await.is_ok_and(|info| pid(&info) == Some(fresh)) {
                return Ok(());
            }
        }
    }

    /// Ends HAProxy: asks it to finish its connections, then not to.
    pub(crate) async fn stop(&mut self) {
        let pid = match &self.running {
            Some(Running::Child(child)) => child.id(),
            Some(Running::Adopted { pid, .. }) => Some(*pid),
            None => None,
        };
        let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) else { return };
        for signal in [Signal::USR1, Signal::TERM] {
            if kill_process(pid, signal).is_err() || timeout(STOP_AFTER, self.ended()).await.is_ok() {
                return;
            }
        }
    }

    /// HAProxy says something for every server that comes and goes; nobody rotates that for it.
    fn shorten_log(&self) {
        if std::fs::metadata(&self.log).is_ok_and(|file| file.len() > LOG_BYTES) {
            // It appends, so the file may be emptied under it. A log that cannot be emptied is no reason to stop.
            let _ = OpenOptions::new().write(true).open(&self.log).and_then(|file| file.set_len(0));
        }
    }

    /// The newest alerts of the log.
    fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(TAIL_BYTES);
        alerts(&String::from_utf8_lossy(&text[from..]))
    }
}

/// The alerts among HAProxy's messages, on one line.
fn alerts(messages: &str) -> String {
    let alerts = messages.lines().filter(|line| line.starts_with("[ALERT]"));
    let alerts: Vec<&str> =
        alerts.map(|line| line.split_once(" : ").map_or(line, |(_, rest)| rest)).collect();
    if alerts.is_empty() { messages.trim().replace('\n', "; ") } else { alerts.join("; ") }
}
