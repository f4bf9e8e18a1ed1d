//! The processes that `stoa up` started: their log lines, their deaths, their end.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::plan::RolePlan;
use crate::logs;

/// How long a role may take to end in order before it is killed: the promise is 10 s, and an agent ends tasks first.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// A role that died is started again after this long, so that one that cannot live does not keep a core busy.
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// How often the children are looked at.
const LOOK: Duration = Duration::from_millis(100);

struct Running {
    role: RolePlan,
    /// Absent between its death and its next start.
    process: Option<Child>,
    restart_at: Instant,
}

/// All of them, in the order of starting.
#[derive(Default)]
pub(crate) struct Children {
    running: Vec<Running>,
}

impl Children {
    pub(crate) fn start(&mut self, role: &RolePlan) -> Result<(), String> {
        let process = spawn(role)?;
        self.running.push(Running { role: role.clone(), process: Some(process), restart_at: Instant::now() });
        Ok(())
    }

    /// Resolves with a sentence when a role ends, which before everything serves means that the start failed.
    pub(crate) async fn first_failure(&mut self) -> String {
        loop {
            for child in &mut self.running {
                if let Some(how) = child.ended() {
                    return format!("{} ended while starting ({how}); its log is above", child.role.name);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Starts again what dies. Resolves with a sentence only when that is impossible.
    pub(crate) async fn keep_alive(&mut self) -> String {
        loop {
            for child in &mut self.running {
                if let Some(how) = child.ended() {
                    tracing::warn!(role = child.role.name, %how, "ended: starting it again in {RESTART_DELAY:?}");
                    child.restart_at = Instant::now() + RESTART_DELAY;
                }
                if child.process.is_none() && Instant::now() >= child.restart_at {
                    match spawn(&child.role) {
                        Ok(process) => child.process = Some(process),
                        Err(problem) => return problem,
                    }
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Asks each to end, the last started first, and kills what does not.
    pub(crate) async fn end(&mut self) {
        for child in self.running.iter_mut().rev() {
            let Some(process) = &mut child.process else { continue };
            if let Some(pid) = process.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
                // SAFETY: `kill` takes plain integers; the pid is of a child not yet waited for, so it cannot be reused.
                unsafe { libc::kill(pid, libc::SIGTERM) };
            }
            if timeout(END_DEADLINE, process.wait()).await.is_err() {
                tracing::warn!(role = child.role.name, "did not end within {END_DEADLINE:?}: killing it");
                // It fails only where the process ended this moment.
                let _ = process.kill().await;
            }
        }
    }
}

impl Running {
    /// How it ended, told once.
    fn ended(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        self.process = None;
        Some(status.to_string())
    }
}

fn spawn(role: &RolePlan) -> Result<Child, String> {
    let mut command = Command::new(&role.program);
    command.args(&role.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A terminal sends Ctrl-C to its whole foreground group: in a group of their own the roles end when `up` says so.
    command.process_group(0);
    // SAFETY: `prctl` with integers only is async-signal-safe, which is all that may run between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // When `up` itself is killed its roles must not stay behind.
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let mut process = command
        .spawn()
        .map_err(|error| format!("cannot start {} ({}): {error}", role.name, role.program.display()))?;
    if let Some(lines) = process.stderr.take() {
        let name = role.name.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(lines).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                logs::say(format_args!("{name:<11}| {line}"));
            }
        });
    }
    Ok(process)
}
