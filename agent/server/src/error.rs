//! Why an agent does not start, or ends.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why [`crate::run`] ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{field}' {problem}")]
    Config { field: &'static str, problem: String },
    #[error("the data directory {path:?} cannot be used: cannot {what} it: {source}")]
    Directory { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the data directory {path:?} is in use by another agent")]
    Locked { path: PathBuf },
    #[error(
        "the data directory {path:?} has format {found:?}, but this version reads {expected:?}: it is another program's, or a newer agent's"
    )]
    Format { path: PathBuf, found: String, expected: String },
    #[error(
        "{path:?} cannot be used: {why}. This is no torn write at its end. Move the data directory away to start as a new agent"
    )]
    Damaged { path: PathBuf, why: agent_core::journal::Unusable },
    #[error("{path:?} cannot be read: {reason}")]
    Records { path: PathBuf, reason: agent_core::checkpoint::Unreadable },
    #[error(transparent)]
    Recover(#[from] agent_core::RecoverError),
    #[error("cannot {what} {path:?}: {source}")]
    Disk { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the figures of the API cannot be kept: {0}")]
    Figures(#[from] prometheus::Error),
    #[error("cannot run containers: {0}")]
    Containers(String),
    #[error(
        "the master has given this agent up for good: {0}. Start with another data directory to join as a new agent"
    )]
    Gone(String),
    #[error("the master refuses this agent: {0}")]
    Refused(String),
}

impl Error {
    /// Whether the process ended before it started anything, for wrong usage, or a data directory or an address that is not
    /// its to use.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Config { .. }
                | Self::Directory { .. }
                | Self::Listen { .. }
                | Self::Locked { .. }
                | Self::Format { .. }
                | Self::Damaged { .. }
                | Self::Records { .. }
                | Self::Recover(_)
        )
    }

    pub(crate) fn disk(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { what, path, source }
    }
}
