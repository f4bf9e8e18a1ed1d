//! Commands run inside Docker's containers, to see whether they are well.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::process::Command as Process;
use tokio::sync::Semaphore;

use super::create;
use crate::check::{CommandProbe, CommandRunner, ProbeError};
use crate::limits::MAX_COMMAND_PROBES;
use crate::{Command, ContainerId, ExitStatus};

/// Runs commands in Docker's containers, and leaves others to the runner below.
pub(super) struct Runner<F> {
    below: Arc<dyn CommandRunner>,
    /// Whether a container is Docker's.
    ours: F,
    permits: Arc<Semaphore>,
}

impl<F> Runner<F> {
    pub(super) fn new(below: Arc<dyn CommandRunner>, ours: F) -> Self {
        Self { below, ours, permits: Arc::new(Semaphore::new(MAX_COMMAND_PROBES)) }
    }
}

impl<F: Fn(&ContainerId) -> bool + Send + Sync> CommandRunner for Runner<F> {
    fn run(
        &self,
        probe: CommandProbe,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ExitStatus, ProbeError>> {
        if !(self.ours)(&probe.container) {
            return self.below.run(probe, timeout);
        }
        let permits = Arc::clone(&self.permits);
        Box::pin(async move {
            let _permit = permits.acquire_owned().await.map_err(|e| ProbeError::Launch(e.to_string()))?;
            // The program inside is not ended with the one that asks for it; `timeout` inside would need the image to
            // have it. Docker ends it with the container.
            let mut asked = Process::new("docker");
            asked.args(arguments(&probe)).stdin(std::process::Stdio::null());
            asked.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true);
            let ended = tokio::time::timeout(timeout, asked.status())
                .await
                .map_err(|_| ProbeError::Timeout(timeout))?
                .map_err(|error| ProbeError::Launch(format!("cannot run 'docker': {error}")))?;
            Ok(ExitStatus::Code(ended.code().unwrap_or(-1)))
        })
    }
}

/// Everything after the word `docker`. The container's own environment is there already; what the check adds is given.
fn arguments(probe: &CommandProbe) -> Vec<String> {
    let mut all = vec!["exec".to_owned()];
    all.extend(probe.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    all.push(create::name(&probe.container));
    match &probe.command {
        Command::Shell(text) => all.extend(["/bin/sh", "-c", text].map(str::to_owned)),
        Command::Argv { program, arguments } => {
            all.push(program.clone());
            // The first is the name the program is called by, which Docker does not let one choose.
            all.extend(arguments.iter().skip(1).cloned());
        }
    }
    all
}
