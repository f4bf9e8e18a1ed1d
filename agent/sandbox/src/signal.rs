//! Signals by number and name.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A signal number that Linux knows: 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("signal numbers are 1 to 64, not {0}")]
pub struct BadSignal(pub i32);

impl Signal {
    pub const HUP: Self = Self(libc::SIGHUP);
    pub const INT: Self = Self(libc::SIGINT);
    pub const KILL: Self = Self(libc::SIGKILL);
    pub const TERM: Self = Self(libc::SIGTERM);
    pub const USR1: Self = Self(libc::SIGUSR1);

    pub fn new(number: i32) -> Result<Self, BadSignal> {
        if (1..=64).contains(&number) { Ok(Self(number)) } else { Err(BadSignal(number)) }
    }

    pub fn number(self) -> i32 {
        self.0
    }

    /// What `strsignal` says, as status messages quote it: "Terminated", "Killed", "Segmentation fault".
    pub fn description(self) -> &'static str {
        match self.0 {
            libc::SIGHUP => "Hangup",
            libc::SIGINT => "Interrupt",
            libc::SIGQUIT => "Quit",
            libc::SIGILL => "Illegal instruction",
            libc::SIGTRAP => "Trace/breakpoint trap",
            libc::SIGABRT => "Aborted",
            libc::SIGBUS => "Bus error",
            libc::SIGFPE => "Floating point exception",
            libc::SIGKILL => "Killed",
            libc::SIGUSR1 => "User defined signal 1",
            libc::SIGSEGV => "Segmentation fault",
            libc::SIGUSR2 => "User defined signal 2",
            libc::SIGPIPE => "Broken pipe",
            libc::SIGALRM => "Alarm clock",
            libc::SIGTERM => "Terminated",
            libc::SIGXCPU => "CPU time limit exceeded",
            libc::SIGXFSZ => "File size limit exceeded",
            libc::SIGSYS => "Bad system call",
            _ => "Unknown signal",
        }
    }
}

impl TryFrom<i32> for Signal {
    type Error = BadSignal;

    fn try_from(number: i32) -> Result<Self, BadSignal> {
        Self::new(number)
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (signal {})", self.description(), self.0)
    }
}
