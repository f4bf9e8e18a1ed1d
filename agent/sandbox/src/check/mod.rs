//! Probes: is what runs in a container all right?
//!
//! Each probe is one future with a time-out; nothing of it is left when the future is done or dropped.

mod command;
mod http;
mod tcp;

use std::time::Duration;

use thiserror::Error;

pub use command::{CommandProbe, CommandRunner};
pub use http::HttpProbe;
pub use tcp::TcpProbe;

use crate::ExitStatus;

/// One question to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Command(CommandProbe),
}

/// How a probe was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// With this response status.
    Http(u16),
    Tcp,
    /// The command exited with 0.
    Command,
}

/// Why a probe was not passed, as a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("cannot ask: {0}")]
    Invalid(String),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("unexpected HTTP status {0}")]
    Status(u16),
    #[error("more than {0} redirections")]
    Redirects(usize),
    #[error("the command {0}")]
    Exit(ExitStatus),
    #[error("the command could not be run: {0}")]
    Launch(String),
}

/// Runs probes. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Checker {
    client: reqwest::Client,
}

impl Checker {
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new() -> Result<Self, ProbeError> {
        Ok(Self { client: http::client()? })
    }

    /// Asks once. `timeout` bounds the whole probe; a command still running then is killed with all it started. `runner` runs
    /// the commands ([`crate::Launcher::runner`]).
    ///
    /// # Errors
    /// The reason why the probe was not passed.
    pub async fn run(
        &self,
        probe: &Probe,
        timeout: Duration,
        runner: &dyn CommandRunner,
    ) -> Result<Passed, ProbeError> {
        match probe {
            Probe::Http(probe) => http::run(&self.client, probe, timeout).await.map(Passed::Http),
            Probe::Tcp(probe) => tcp::run(probe, timeout).await.map(|()| Passed::Tcp),
            Probe::Command(probe) => match runner.run(probe.clone(), timeout).await? {
                ExitStatus::Code(0) => Ok(Passed::Command),
                status => Err(ProbeError::Exit(status)),
            },
        }
    }
}
