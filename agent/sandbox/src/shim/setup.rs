//! The beginning of a shim: from the fork to the running command.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::launcher::Shared;
use super::protocol::Report;
use super::record::{About, Fact, Held};
use super::supervise::{Ending, Supervisor};
use super::task::{Identity, Plan, Spawned, spawn};
use crate::cgroup::ContainerCgroup;
use crate::{ContainerSpec, LaunchError, Step, directory};

/// What a shim was given at its birth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// It is the first process of a new PID namespace.
    pub(super) pid_namespace: bool,
    /// It shall make itself a mount namespace.
    pub(super) mount_namespace: bool,
}

/// The whole life of a shim process; the result is its exit code, which nobody looks at.
pub(super) fn run(shared: &Shared, spec: &ContainerSpec, birth: Birth) -> i32 {
    leave_launcher(shared);
    let mut held = match Held::create(&shared.setup.runtime, &spec.id) {
        Ok(held) => held,
        Err(error) => {
            let message = if error.kind() == io::ErrorKind::AlreadyExists {
                format!("container id {} is in use", spec.id)
            } else {
                format!("cannot make the record of container {}: {error}", spec.id)
            };
            let error =
                LaunchError { step: Step::Request, errno: error.raw_os_error().unwrap_or(0), message };
            shared.report(Report::Failed { id: spec.id.clone(), error });
            return 1;
        }
    };
    // From here on this process is known by its record; until here the next launcher had to wait for it.
    close(&shared.lock);
    let cgroup = shared.setup.cgroups.container(&spec.id);
    let about = About {
        user: spec.user.clone(),
        working_dir: working_dir(spec),
        cgroup: cgroup.clone(),
        inode: held.inode().unwrap_or_default(),
    };
    match start(shared, spec, birth, &cgroup) {
        Ok(Spawned { pid, host_pid }) => {
            // Without its line in the record the container would be lost to a later agent; it runs all the same.
            let _ = held.write(&[Fact::About(about), Fact::Started { pid: host_pid }]);
            shared.report(Report::Started { id: spec.id.clone(), pid: host_pid });
            close(&shared.reports);
            Supervisor { main: pid, held, cgroup, ending: Ending::default() }.run();
            0
        }
        Err(error) => {
            let _ = cgroup.remove();
            let _ = held.write(&[Fact::About(about), Fact::Failed(error.clone())]);
            shared.report(Report::Failed { id: spec.id.clone(), error });
            1
        }
    }
}

/// Drops what belongs to the launcher process: its end of the agent's socket above all, which must close when it dies.
pub(super) fn leave_launcher(shared: &Shared) {
    close(&shared.requests);
    close(&shared.children);
    // SAFETY: these calls take numbers and a static text.
    unsafe {
        libc::dup2(shared.null.as_raw_fd(), 2);
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"stoa-shim".as_ptr());
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    }
}

/// Closes a descriptor of the parent's that this copy of it still has.
pub(super) fn close(file: &impl AsRawFd) {
    // SAFETY: the owner's destructor never runs in this process, which leaves through `_exit`, and nothing uses it after this.
    unsafe { libc::close(file.as_raw_fd()) };
}

fn working_dir(spec: &ContainerSpec) -> PathBuf {
    spec.working_dir.as_ref().map_or_else(|| spec.sandbox.clone(), |dir| spec.sandbox.join(dir))
}

fn failure(step: Step, what: &str, error: &io::Error) -> LaunchError {
    LaunchError { step, errno: error.raw_os_error().unwrap_or(0), message: format!("cannot {what}: {error}") }
}

fn start(
    shared: &Shared,
    spec: &ContainerSpec,
    birth: Birth,
    cgroup: &ContainerCgroup,
) -> Result<Spawned, LaunchError> {
    let identity = Identity::find(spec.user.as_deref())?;
    directory::prepare(&spec.sandbox, spec.user.as_deref()).map_err(|error| LaunchError {
        step: Step::Sandbox,
        errno: 0,
        message: error.to_string(),
    })?;
    let null = shared.null.try_clone().map_err(|error| failure(Step::Sandbox, "open /dev/null", &error))?;
    let stdout = open_output(&spec.sandbox, "stdout", identity.as_ref())?;
    let stderr = open_output(&spec.sandbox, "stderr", identity.as_ref())?;
    let mut complaint = stderr.try_clone().ok();
    let result = (|| {
        cgroup.make(&spec.limits).map_err(|error| failure(Step::Cgroup, "make the control group", &error))?;
        let entry =
            cgroup.entry().map_err(|error| failure(Step::Cgroup, "open the control group", &error))?;
        if birth.mount_namespace {
            own_mounts(birth.pid_namespace)
                .map_err(|error| failure(Step::Namespaces, "make the mount namespace", &error))?;
        }
        let stdio: [OwnedFd; 3] = [null.into(), stdout.into(), stderr.into()];
        let mut plan = Plan::new(&spec.command, &spec.environment, working_dir(spec), entry, stdio)?;
        plan.identity = identity;
        plan.rlimits.clone_from(&spec.rlimits);
        plan.no_new_privs = !spec.may_gain_privileges;
        spawn(&plan, &shared.host_proc)
    })();
    if let (Err(error), Some(stderr)) = (&result, &mut complaint) {
        // Whoever looks why nothing ran looks here first.
        let _ = writeln!(stderr, "stoa: {error}");
    }
    result
}

/// Opens a file for output, to be appended to. What was fetched before may have put something else in its place: a link, a
/// named pipe, or a second name of a file elsewhere are refused.
fn open_output(sandbox: &Path, name: &str, identity: Option<&Identity>) -> Result<File, LaunchError> {
    let path = sandbox.join(name);
    let refuse = |error: io::Error| failure(Step::Sandbox, &format!("open {}", path.display()), &error);
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(flags)
        .open(&path)
        .map_err(refuse)?;
    let status = file.metadata().map_err(refuse)?;
    if !status.is_file() || status.nlink() != 1 {
        return Err(refuse(io::Error::other("it is not an ordinary file of its own")));
    }
    if let Some(identity) = identity
        && (status.uid(), status.gid()) != (identity.uid, identity.gid)
    {
        std::os::unix::fs::fchown(&file, Some(identity.uid), Some(identity.gid)).map_err(refuse)?;
    }
    Ok(file)
}

/// A mount namespace of its own. Mounts made on the machine later still appear in it and, above all, disappear from it.
pub(super) fn own_mounts(pid_namespace: bool) -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
    if pid_namespace {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, NONE)?;
    }
    Ok(())
}
