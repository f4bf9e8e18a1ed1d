//! The launcher process: takes requests, forks.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::fork::{fork, single_threaded};
use super::protocol::{Report, Request, Setup};
use super::setup::{self, Birth};
use super::{probe, record};
use crate::limits::MAX_REQUEST_BYTES;
use crate::{ContainerId, ContainerSpec, LaunchError, Step, Support};

/// What a launcher process has and its children inherit.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) requests: UnixStream,
    pub(super) reports: File,
    /// Readable when a child has ended.
    pub(super) children: File,
    /// Locked; a child that closes it is known by its record.
    pub(super) lock: File,
    pub(super) null: File,
    /// `/proc` of the machine, for use where another one is mounted.
    pub(super) host_proc: File,
}

impl Shared {
    /// Errors mean that the agent is gone; then the record is all that counts.
    pub(super) fn report(&self, report: Report) {
        let _ = (&self.reports).write_all(&report.encode());
    }
}

/// The body of the hidden sub-command that an agent starts its own program with (`stoa shim`). Must be called before any
/// thread is made. Standard input is the socket requests come from, standard output the pipe reports go to. Ends with the agent.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may read it; `eprintln!` would then panic.
            let _ = writeln!(io::stderr(), "stoa shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    if !single_threaded() {
        return Err(io::Error::other("must be started before any thread"));
    }
    let (mut requests, reports, null) = take_over_stdio()?;
    settle();
    let children = children_signal()?;
    let host_proc = File::open("/proc")?;
    let setup = match read_request(&mut requests)? {
        Some(Request::Setup(setup)) => setup,
        Some(_) => return Err(io::Error::other("the first request must be the setup")),
        None => return Ok(()),
    };
    let lock = take_lock(&setup)?;
    let shared = Shared { setup, requests, reports, children, lock, null, host_proc };
    let (pid_namespace, mount_namespace) = (support(try_pid_namespace()), support(try_mount_namespace()));
    let possible = Birth { pid_namespace: pid_namespace.works(), mount_namespace: mount_namespace.works() };
    shared.report(Report::Ready { pid_namespace, mount_namespace });
    Launcher { shared, possible, shims: HashMap::new() }.run()
}

/// Takes the two descriptors the agent passed, puts `/dev/null` in their place, and closes everything else, so that no container can
/// inherit what the agent's parent forgot to close.
fn take_over_stdio() -> io::Result<(UnixStream, File, File)> {
    // SAFETY: descriptors 3 and up belong to nobody here: this is the beginning of the program. Where the call does not exist there is
    // an old kernel and the descriptors stay.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let take = |fd: RawFd| -> io::Result<OwnedFd> {
        // SAFETY: duplicates a descriptor; the result is new and nobody else's. Then the standard one, which nothing here
        // owns, is replaced.
        unsafe {
            let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
            if copy < 0 || libc::dup2(null.as_raw_fd(), fd) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(OwnedFd::from_raw_fd(copy))
        }
    };
    let requests = UnixStream::from(take(0)?);
    requests.local_addr().map_err(|_| io::Error::other("standard input is not the socket of an agent"))?;
    Ok((requests, File::from(take(1)?), null))
}

/// Out of the agent's session (Ctrl-C at a terminal is for the agent), with the signals and the mask that commands shall start with.
fn settle() {
    // SAFETY: the calls take numbers, a static text and pointers to locals; `sigfillset` initialises the set.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
        libc::prctl(libc::PR_SET_NAME, c"stoa-launcher".as_ptr());
        // The kernel's own call (handler, flags, restorer, mask), because the C library keeps two signals to itself, and leaves
        // them ignored in what it spawns.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8);
        }
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
    // Loads the name service modules here once instead of in each child.
    let _ = nix::unistd::User::from_name("root");
    let _ = nix::unistd::getgrouplist(c"root", 0.into());
}

fn children_signal() -> io::Result<File> {
    // SAFETY: the set is initialised before use; a non-negative result is a new descriptor.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// Waits until no other launcher, and no shim of one that has no record yet, is left; then names itself by a second lock, of the
/// kind that tells its owner.
fn take_lock(setup: &Setup) -> io::Result<File> {
    let path = setup.runtime.join(super::LOCK);
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    loop {
        // SAFETY: the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    record::lock(&file)?;
    Ok(file)
}

fn try_pid_namespace() -> io::Result<()> {
    wait_for(fork(libc::CLONE_NEWPID, None, || 0)?)
}

fn try_mount_namespace() -> io::Result<()> {
    wait_for(fork(0, None, || match setup::own_mounts(false) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
    })?)
}

/// The exit code of the child is an error number.
fn wait_for(pid: i32) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: waits for our own child, into a local.
    if unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn support(result: io::Result<()>) -> Support {
    match result {
        Ok(()) => Support::Yes("yes".into()),
        Err(error) => Support::No(format!("the kernel refuses it: {error}")),
    }
}

/// `None` at the end of the stream, which is the end of the agent.
fn read_request(stream: &mut UnixStream) -> io::Result<Option<Request>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Ok(None);
        }
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_REQUEST_BYTES {
        return Err(io::Error::other(format!("a request of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    match stream.read_exact(&mut bytes) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            return Ok(None);
        }
        other => other?,
    }
    serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from)
}

struct Launcher {
    shared: Shared,
    /// What the kernel allows.
    possible: Birth,
    /// Children that hold containers, by process id.
    shims: HashMap<i32, ContainerId>,
}

impl Launcher {
    fn run(mut self) -> io::Result<()> {
        loop {
            let (request, child) = self.wait()?;
            if child {
                self.reap();
            }
            if !request {
                continue;
            }
            match read_request(&mut self.shared.requests)? {
                None => return Ok(()),
                Some(Request::Launch(spec)) => self.launch(&spec),
                Some(Request::Probe { serial, probe, timeout_millis }) => {
                    let shared = &self.shared;
                    if let Err(error) = fork(0, None, || probe::run(shared, serial, &probe, timeout_millis)) {
                        probe::refuse(shared, serial, &error);
                    }
                }
                Some(Request::Setup(_)) => return Err(io::Error::other("the setup cannot be repeated")),
            }
        }
    }

    /// Whether there is something to read, and whether a child has ended.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut both = [poll(self.shared.requests.as_raw_fd()), poll(self.shared.children.as_raw_fd())];
        // SAFETY: the array lives through the call and has the length given.
        if unsafe { libc::poll(both.as_mut_ptr(), both.len() as libc::nfds_t, -1) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok((false, false)) } else { Err(error) };
        }
        Ok((both[0].revents != 0, both[1].revents != 0))
    }

    fn reap(&mut self) {
        // One signal may stand for many children, so its content does not matter.
        let mut drained = [0; 1024];
        let _ = (&self.shared.children).read(&mut drained);
        loop {
            // SAFETY: no status is asked for.
            let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if let Some(id) = self.shims.remove(&pid) {
                self.shared.report(Report::Ended { id });
            }
        }
    }

    fn launch(&mut self, spec: &ContainerSpec) {
        let birth = Birth {
            pid_namespace: spec.namespaces.pid && self.possible.pid_namespace,
            mount_namespace: spec.namespaces.mount && self.possible.mount_namespace,
        };
        let flags = if birth.pid_namespace { libc::CLONE_NEWPID } else { 0 };
        let shared = &self.shared;
        match fork(flags, None, || setup::run(shared, spec, birth)) {
            Ok(pid) => {
                self.shims.insert(pid, spec.id.clone());
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                let message = format!("cannot make a process for container {}: {error}", spec.id);
                let error = LaunchError { step: Step::Fork, errno, message };
                self.shared.report(Report::Failed { id: spec.id.clone(), error });
            }
        }
    }
}
