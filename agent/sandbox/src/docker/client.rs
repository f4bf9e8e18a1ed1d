//! Docker, asked through its command line.
//!
//! The command line and not the daemon's socket, because users give flags of `docker run` with their tasks, and only the
//! command line knows what they mean.

use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

use super::create::OWNER_LABEL;
use crate::ContainerId;
use crate::limits::{DOCKER_PATIENCE, DOCKER_PULL_PATIENCE, DOCKER_TEXT_BYTES};

/// Why Docker did not do what it was asked, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DockerError {
    #[error("cannot run 'docker': {0}")]
    Run(String),
    #[error("'docker {0}' does not come back within {1:?}")]
    Timeout(String, Duration),
    /// In its own words.
    #[error("{0}")]
    Refused(String),
}

/// What Docker says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inspected {
    pub(super) pid: u32,
    /// Its program was executed.
    pub(super) began: bool,
    pub(super) out_of_memory: bool,
    /// In bytes; 0 is none.
    pub(super) memory_limit: u64,
    /// Its address, where it has one of its own.
    pub(super) address: String,
    /// Why it could not be started.
    pub(super) error: String,
}

const INSPECT: &str = "{{.State.Pid}}|{{.State.StartedAt}}|{{.State.OOMKilled}}|{{.HostConfig.Memory}}|\
                       {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}|{{.State.Error}}";

/// Runs `docker ARGUMENTS` to its end and gives what it prints.
///
/// # Errors
/// See [`DockerError`].
pub(super) async fn docker(arguments: &[String], patience: Duration) -> Result<String, DockerError> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let asked = || arguments.first().cloned().unwrap_or_default();
    let output = tokio::time::timeout(patience, command.output())
        .await
        .map_err(|_| DockerError::Timeout(asked(), patience))?
        .map_err(|error| DockerError::Run(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(DockerError::Refused(complaint(&output.stderr)))
}

/// The first line of what Docker complains about: the rest repeats the flags.
fn complaint(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(DOCKER_TEXT_BYTES)]).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    line.trim().trim_start_matches("Error response from daemon: ").to_owned()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Has the image of a container on this machine: as it is here already, or fetched, and fetched anew with `force`.
///
/// # Errors
/// Docker cannot get it, in its own words.
pub async fn pull(image: &str, force: bool) -> Result<(), DockerError> {
    if !force && docker(&words(&["image", "inspect", "--format=ok", image]), DOCKER_PATIENCE).await.is_ok() {
        return Ok(());
    }
    docker(&words(&["pull", "--quiet", "--", image]), DOCKER_PULL_PATIENCE).await.map(drop)
}

pub(super) async fn inspect(name: &str) -> Result<Inspected, DockerError> {
    let answer =
        docker(&words(&["container", "inspect", &format!("--format={INSPECT}"), name]), DOCKER_PATIENCE)
            .await?;
    Ok(read(&answer))
}

fn read(answer: &str) -> Inspected {
    let mut parts = answer.splitn(6, '|').map(str::trim);
    let mut next = || parts.next().unwrap_or_default();
    Inspected {
        pid: next().parse().unwrap_or(0),
        began: !next().starts_with("0001-"),
        out_of_memory: next() == "true",
        memory_limit: next().parse().unwrap_or(0),
        address: next().split_whitespace().next().unwrap_or_default().to_owned(),
        error: next().to_owned(),
    }
}

/// SIGTERM now and SIGKILL after `grace`, which Docker counts in whole seconds; SIGKILL at once without grace.
pub(super) async fn stop(name: &str, grace: Duration, patience: Duration) -> Result<(), DockerError> {
    let seconds = grace.as_millis().div_ceil(1000).to_string();
    let ended = match grace.is_zero() {
        true => docker(&words(&["kill", name]), patience).await,
        false => docker(&words(&["stop", "--time", &seconds, name]), patience).await,
    };
    match ended {
        // It has just ended by itself.
        Err(DockerError::Refused(why))
            if why.contains("is not running") || why.contains("No such container") =>
        {
            Ok(())
        }
        ended => ended.map(drop),
    }
}

/// Ends a container, if it runs, and drops what Docker keeps of it. One that is not there is as good as removed.
pub(super) async fn remove(name: &str) -> Result<(), DockerError> {
    docker(&words(&["rm", "--force", "--volumes", name]), DOCKER_PATIENCE).await.map(drop)
}

/// The containers of an agent, ended ones too.
pub(super) async fn list(owner: &str) -> Result<Vec<ContainerId>, DockerError> {
    let filter = format!("--filter=label={OWNER_LABEL}={owner}");
    let answer =
        docker(&words(&["ps", "--all", "--no-trunc", &filter, "--format={{.Names}}"]), DOCKER_PATIENCE)
            .await?;
    let ids = answer.lines().filter_map(|name| name.trim().strip_prefix("mesos-"));
    Ok(ids.filter_map(|id| ContainerId::new(id).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_says_is_read() {
        assert_eq!(
            read("42|2026-01-02T03:04:05.6Z|false|9|172.17.0.2 |"),
            Inspected {
                pid: 42,
                began: true,
                out_of_memory: false,
                memory_limit: 9,
                address: "172.17.0.2".into(),
                error: String::new()
            }
        );
        let never = read("0|0001-01-01T00:00:00Z|true|0||driver failed | port is taken");
        assert_eq!((never.began, never.out_of_memory, &*never.address), (false, true, ""));
        assert_eq!(never.error, "driver failed | port is taken");
    }

    #[test]
    fn complaints_are_one_line_without_the_daemons_name() {
        assert_eq!(
            complaint(b"\nError response from daemon: No such image: x:1\nSee 'docker help'"),
            "No such image: x:1"
        );
        assert_eq!(complaint(b""), "it does not say why");
    }
}
