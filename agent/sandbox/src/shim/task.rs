//! The last steps of a process before it becomes the command.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr;

use super::fork::fork;
use crate::cgroup::Entry;
use crate::{Command, LaunchError, Resource, Rlimit, Step};

/// Where a program without a slash is looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit code of a process that could not become its command; nobody but its parent sees it.
const NOT_EXECUTED: i32 = 127;

/// Who the command runs as, when it is not who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

impl Identity {
    /// `None`: no change of user is needed.
    pub(super) fn find(user: Option<&str>) -> Result<Option<Self>, LaunchError> {
        let Some(user) = user else { return Ok(None) };
        let refuse = |errno, message| LaunchError { step: Step::User, errno, message };
        let owner = crate::directory::owner(user).map_err(|error| refuse(0, error.to_string()))?;
        let own = nix::unistd::geteuid();
        if owner.uid == own.as_raw() {
            return Ok(None);
        }
        if !own.is_root() {
            let message = format!("only root can run a container as another user ({user:?})");
            return Err(refuse(libc::EPERM, message));
        }
        let listed =
            CString::new(user).ok().and_then(|name| nix::unistd::getgrouplist(&name, owner.gid.into()).ok());
        let groups = listed
            .map_or(vec![owner.gid], |groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect());
        Ok(Some(Self { uid: owner.uid, gid: owner.gid, groups }))
    }
}

/// Everything a new process needs to become its command, made before the fork.
pub(super) struct Plan {
    /// What to try to execute, in this order.
    programs: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    shown: String,
    pub(super) identity: Option<Identity>,
    pub(super) working_dir: PathBuf,
    pub(super) rlimits: Vec<Rlimit>,
    pub(super) no_new_privs: bool,
    /// Enter the mount namespace of this process (a pidfd).
    pub(super) mounts_of: Option<OwnedFd>,
    pub(super) entry: Entry,
    /// Become standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
}

impl Plan {
    pub(super) fn new(
        command: &Command,
        environment: &[(String, String)],
        working_dir: PathBuf,
        entry: Entry,
        stdio: [OwnedFd; 3],
    ) -> Result<Self, LaunchError> {
        let (program, arguments) = match command {
            Command::Shell(text) => ("/bin/sh", vec!["sh", "-c", text]),
            Command::Argv { program, arguments } if arguments.is_empty() => {
                (program.as_str(), vec![program.as_str()])
            }
            Command::Argv { program, arguments } => {
                (program.as_str(), arguments.iter().map(String::as_str).collect())
            }
        };
        let path =
            environment.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
        Ok(Self {
            programs: candidates(program, path)
                .into_iter()
                .map(|path| text(path, "the program"))
                .collect::<Result<_, _>>()?,
            arguments: arguments
                .into_iter()
                .map(|argument| text(argument, "an argument"))
                .collect::<Result<_, _>>()?,
            environment: environment.iter().map(variable).collect::<Result<_, _>>()?,
            shown: program.to_owned(),
            identity: None,
            working_dir,
            rlimits: Vec::new(),
            no_new_privs: true,
            mounts_of: None,
            entry,
            stdio,
        })
    }
}

fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') || program.is_empty() {
        return vec![program.to_owned()];
    }
    // An empty part of PATH means the working directory.
    path.split(':')
        .map(|part| if part.is_empty() { format!("./{program}") } else { format!("{part}/{program}") })
        .collect()
}

fn text(value: impl Into<Vec<u8>>, what: &str) -> Result<CString, LaunchError> {
    CString::new(value).map_err(|_| request_error(format!("{what} of the command contains a NUL character")))
}

fn variable((name, value): &(String, String)) -> Result<CString, LaunchError> {
    if name.is_empty() || name.contains('=') {
        return Err(request_error(format!("{name:?} is not a name for an environment variable")));
    }
    CString::new(format!("{name}={value}"))
        .map_err(|_| request_error(format!("the environment variable {name:?} contains a NUL character")))
}

fn request_error(message: String) -> LaunchError {
    LaunchError { step: Step::Request, errno: libc::EINVAL, message }
}

/// A process that has become its command.
#[derive(Debug)]
pub(super) struct Spawned {
    /// Its id for us, and for the machine.
    pub(super) pid: i32,
    pub(super) host_pid: u32,
}

/// Forks and executes; returns when the command executes or has failed to. `host_proc` is the `/proc` of the machine.
pub(super) fn spawn(plan: &Plan, host_proc: &File) -> Result<Spawned, LaunchError> {
    let failed = |step: Step, error: &io::Error| explain(plan, step, error);
    let (mut reader, writer) = io::pipe().map_err(|error| failed(Step::Fork, &error))?;
    let group = match &plan.entry {
        Entry::Born(group) => Some(group),
        Entry::Write(_) => None,
    };
    let pid = fork(0, group, || {
        let mut writer = &writer;
        // The link has the id that the machine knows this process by, whatever namespace it is in.
        let own: u32 = own_pid(host_proc).unwrap_or(0);
        let _ = writer.write_all(&own.to_ne_bytes());
        let (step, error) = become_command(plan);
        let mut failure = vec![step_number(step)];
        failure.extend(error.raw_os_error().unwrap_or(0).to_ne_bytes());
        let _ = writer.write_all(&failure);
        NOT_EXECUTED
    })
    .map_err(|error| failed(Step::Fork, &error))?;
    drop(writer);
    // The pipe closes when the command is executed.
    let mut answer = Vec::new();
    let read = reader.read_to_end(&mut answer);
    if read.is_ok() && answer.len() == 4 {
        let host_pid = u32::from_ne_bytes([answer[0], answer[1], answer[2], answer[3]]);
        return Ok(Spawned { pid, host_pid });
    }
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
    match answer.get(4..9) {
        Some([step, errno @ ..]) => {
            let errno = i32::from_ne_bytes(errno.try_into().unwrap_or_default());
            Err(failed(numbered_step(*step), &io::Error::from_raw_os_error(errno)))
        }
        // Killed between the fork and the execution, by the kernel for lack of memory or by hand.
        _ => Err(failed(Step::Execute, &io::Error::other("the new process was killed"))),
    }
}

/// The id of this process in the PID namespace that `proc` was mounted in.
fn own_pid(proc: &File) -> Option<u32> {
    let link = rustix::fs::readlinkat(proc, "self", Vec::new()).ok()?;
    link.to_str().ok()?.parse().ok()
}

const STEPS: [Step; 7] =
    [Step::Fork, Step::Cgroup, Step::Namespaces, Step::Rlimits, Step::User, Step::WorkingDir, Step::Execute];

fn step_number(step: Step) -> u8 {
    STEPS.iter().position(|known| *known == step).unwrap_or(0) as u8
}

fn numbered_step(number: u8) -> Step {
    STEPS.get(usize::from(number)).copied().unwrap_or(Step::Fork)
}

fn explain(plan: &Plan, step: Step, error: &io::Error) -> LaunchError {
    let attempt = match step {
        Step::Cgroup => "put the new process into its control group".to_owned(),
        Step::Namespaces => "enter the mount namespace".to_owned(),
        Step::Rlimits => "set the resource limits".to_owned(),
        Step::User => "become the container's user".to_owned(),
        Step::WorkingDir => format!("change to the working directory {}", plan.working_dir.display()),
        Step::Execute => format!("execute {:?}", plan.shown),
        _ => "make a process".to_owned(),
    };
    LaunchError {
        step,
        errno: error.raw_os_error().unwrap_or(0),
        message: format!("cannot {attempt}: {error}"),
    }
}

/// Returns only when it fails.
fn become_command(plan: &Plan) -> (Step, io::Error) {
    let fail = |step| (step, io::Error::last_os_error());
    // SAFETY: all calls take numbers, or pointers into `plan` and locals that outlive them.
    unsafe {
        if libc::setsid() < 0 {
            return fail(Step::Fork);
        }
        if let Entry::Write(files) = &plan.entry
            && let Err(error) = files.iter().try_for_each(|file| enter(file))
        {
            return (Step::Cgroup, error);
        }
        for limit in &plan.rlimits {
            let value = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
            let limits = libc::rlimit { rlim_cur: value(limit.soft), rlim_max: value(limit.hard) };
            if libc::setrlimit(resource(limit.resource), &raw const limits) < 0 {
                return fail(Step::Rlimits);
            }
        }
        for (target, source) in (0..).zip(&plan.stdio) {
            if libc::dup2(source.as_raw_fd(), target) < 0 {
                return fail(Step::Fork);
            }
        }
        if let Some(process) = &plan.mounts_of
            && libc::setns(process.as_raw_fd(), libc::CLONE_NEWNS) < 0
        {
            return fail(Step::Namespaces);
        }
        if let Some(identity) = &plan.identity
            && (libc::setgroups(identity.groups.len(), identity.groups.as_ptr()) < 0
                || libc::setgid(identity.gid) < 0
                || libc::setuid(identity.uid) < 0)
        {
            return fail(Step::User);
        }
        if let Err(error) = std::env::set_current_dir(&plan.working_dir) {
            return (Step::WorkingDir, error);
        }
        // Should the shim be killed where no PID namespace ends with it, at least the command does. Set after the change of user,
        // which clears it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if plan.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return fail(Step::User);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
    (Step::Execute, execute(plan))
}

/// Like `execvpe`: tries each place, remembers that one was forbidden, and hands a text without `#!` to the shell.
fn execute(plan: &Plan) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(&plan.arguments), pointers(&plan.environment));
    let mut forbidden = None;
    for program in &plan.programs {
        // SAFETY: the vectors end with a null pointer and point at texts owned by `plan`.
        unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => forbidden = Some(error),
            Some(libc::ENOEXEC) => {
                let mut shell = vec![c"sh".as_ptr(), program.as_ptr()];
                shell.extend(arguments.iter().skip(1));
                // SAFETY: as above.
                unsafe { libc::execve(c"/bin/sh".as_ptr(), shell.as_ptr(), environment.as_ptr()) };
                return io::Error::last_os_error();
            }
            _ => return error,
        }
    }
    forbidden.unwrap_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

fn enter(file: &Path) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(b"0")
}

fn resource(resource: Resource) -> libc::__rlimit_resource_t {
    match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::MessageQueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::ResidentSet => libc::RLIMIT_RSS,
        Resource::RealtimePriority => libc::RLIMIT_RTPRIO,
        Resource::RealtimeTime => libc::RLIMIT_RTTIME,
        Resource::PendingSignals => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_like_a_shell_does() {
        assert_eq!(candidates("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(candidates("ls", ":/b"), ["./ls", "/b/ls"]);
        assert_eq!(candidates("./ls", "/a"), ["./ls"]);
        assert_eq!(candidates("", "/a"), [""]);
    }

    #[test]
    fn what_the_system_cannot_take_is_refused_by_name() {
        let variable =
            |name: &str, value: &str| variable(&(name.to_owned(), value.to_owned())).unwrap_err().message;
        assert_eq!(variable("A=B", ""), "\"A=B\" is not a name for an environment variable");
        assert_eq!(variable("A", "x\0"), "the environment variable \"A\" contains a NUL character");
    }

    #[test]
    fn every_step_survives_the_pipe() {
        for step in STEPS {
            assert_eq!(numbered_step(step_number(step)), step);
        }
    }
}
