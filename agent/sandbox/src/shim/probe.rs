//! Commands run beside a container's own, inside its namespaces and control groups.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use super::launcher::Shared;
use super::order::wait;
use super::protocol::{ProbeResult, Report};
use super::record::{Record, Summary};
use super::setup::{close, leave_launcher};
use super::supervise::decode;
use super::task::{Identity, Plan, spawn};
use super::tree;
use crate::ExitStatus;
use crate::cgroup::{Entry, empty_tree, remove_tree};
use crate::check::CommandProbe;

/// How long the processes of a probe may take to vanish after SIGKILL.
const VANISHING: Duration = Duration::from_secs(5);

/// The whole life of the process that runs one probe: outside the container, so that it outlives what it started.
pub(super) fn run(shared: &Shared, serial: u64, probe: &CommandProbe, timeout_millis: u64) -> i32 {
    leave_launcher(shared);
    close(&shared.lock);
    let result = attempt(shared, serial, probe, Duration::from_millis(timeout_millis));
    let result = result.unwrap_or_else(ProbeResult::Failed);
    shared.report(Report::Probed { serial, result });
    0
}

pub(super) fn refuse(shared: &Shared, serial: u64, error: &io::Error) {
    let result = ProbeResult::Failed(format!("cannot make a process: {error}"));
    shared.report(Report::Probed { serial, result });
}

fn attempt(
    shared: &Shared,
    serial: u64,
    probe: &CommandProbe,
    timeout: Duration,
) -> Result<ProbeResult, String> {
    let deadline = Instant::now() + timeout;
    let not_running = || format!("container {} does not run", probe.container);
    let said = |error: io::Error| error.to_string();
    let record =
        Record::open(&shared.setup.runtime, &probe.container).map_err(said)?.ok_or_else(not_running)?;
    let (shim, pidfd) = record.holder().map_err(said)?.ok_or_else(not_running)?;
    let Summary { about, started, exited, .. } = record.summary().map_err(said)?;
    if started.is_none() || exited.is_some() {
        return Err(not_running());
    }
    let identity = Identity::find(about.user.as_deref()).map_err(|error| error.message)?;
    let null = || shared.null.try_clone().map(OwnedFd::from).map_err(said);
    let stdio = [null()?, null()?, null()?];
    let (entry, group) = match about.cgroup.make_probe(serial).map_err(said)? {
        Some((entry, group)) => (entry, Some(group)),
        None => (Entry::Write(Vec::new()), None),
    };
    let family = Family { group };
    let mut plan = Plan::new(&probe.command, &probe.environment, about.working_dir, entry, stdio)
        .map_err(|error| error.message)?;
    plan.identity = identity;
    if differs(shim, "pid") {
        // For the children only; this process stays outside, where it sees them all.
        setns(pidfd.as_fd(), CloneFlags::CLONE_NEWPID)
            .map_err(|error| format!("cannot enter the container: {error}"))?;
    }
    plan.mounts_of = differs(shim, "mnt").then_some(pidfd);
    let spawned = spawn(&plan, &shared.host_proc).map_err(|error| error.message)?;
    let result = wait_until(spawned.pid, deadline).map_or(ProbeResult::TimedOut, ProbeResult::Ended);
    drop(family);
    Ok(result)
}

/// Whether the shim has a namespace of this kind that is not ours.
fn differs(shim: i32, kind: &str) -> bool {
    let inode = |process: &str| {
        std::fs::metadata(format!("/proc/{process}/ns/{kind}")).map(|status| status.ino()).ok()
    };
    inode("self") != inode(&shim.to_string())
}

/// `None` when time is over. Children other than the command are orphans of it.
fn wait_until(command: i32, deadline: Instant) -> Option<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            pid if pid == command => return Some(decode(status)),
            pid if pid > 0 => continue,
            _ => {}
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        wait(Some(left));
    }
}

/// What a probe has started. Dropping it kills that all.
struct Family {
    /// The control group that it and its descendants are in; without one, those that made themselves daemons in a PID namespace
    /// stay until the container ends.
    group: Option<PathBuf>,
}

impl Drop for Family {
    fn drop(&mut self) {
        match &self.group {
            Some(group) => {
                let deadline = Instant::now() + VANISHING;
                // Old kernels count a process in its group until it is reaped.
                while !empty_tree(group, Duration::from_millis(20)) && Instant::now() < deadline {
                    reap();
                }
                let _ = remove_tree(group);
            }
            None => {
                let deadline = Instant::now() + VANISHING;
                while !reap() && Instant::now() < deadline {
                    for pid in tree::descendants(std::process::id() as i32) {
                        // SAFETY: takes numbers; the process was just seen to descend from this one.
                        unsafe { libc::kill(pid, libc::SIGKILL) };
                    }
                    wait(Some(Duration::from_millis(5)));
                }
            }
        }
    }
}

/// Takes in ended children; `true` when there are no others.
fn reap() -> bool {
    loop {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } {
            0 => return false,
            -1 => return true,
            _ => {}
        }
    }
}
