//! Forking from a process that is known to have one thread, so that the child may do anything.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Exit code of a child whose code panicked.
const PANICKED: i32 = 70;

/// Of `clone3` only; the C library's constant is too narrow.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// `clone_args` of `clone3(2)`, up to the field for control groups.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Runs `child` in a new process with these `CLONE_NEW*` flags, born into a (version 2) control group if one is given; its
/// result is the exit code. The C library's `fork` takes no flags, and `unshare` could give a process only one PID namespace for its
/// children ever.
pub(super) fn fork(flags: i32, cgroup: Option<&File>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    debug_assert!(single_threaded());
    let result = match cgroup {
        None => {
            let all = flags | libc::SIGCHLD;
            // SAFETY: no new stack and no shared memory: the child continues here on its copy of everything, like after fork(). The
            // process has one thread, so no lock can be held by a thread that the copy lacks.
            unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(all), 0, 0, 0, 0) }
        }
        Some(group) => {
            let args = CloneArgs {
                flags: flags as u64 | CLONE_INTO_CGROUP,
                exit_signal: libc::SIGCHLD as u64,
                cgroup: group.as_raw_fd() as u64,
                ..CloneArgs::default()
            };
            // SAFETY: as above; `args` is a whole structure of the size given.
            unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) }
        }
    };
    match result {
        0 => {
            // Unwinding further would continue the parent's work in the child.
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
            // SAFETY: ends the process without running the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid as i32),
    }
}

/// Whether this process has no thread but this one.
pub(super) fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1)
}
