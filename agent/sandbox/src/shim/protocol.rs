//! What the agent and its launcher process say to each other.
//!
//! Requests go over a stream socket as a length (u32, little endian) and JSON; reports come back over a pipe, one line of
//! JSON each, short enough that the kernel never mixes those of different shims. Both ends are the same program, so this
//! may change with any version; the record files and the orders may not, since shims outlive upgrades.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::check::CommandProbe;
use crate::limits::{MAX_REPORT_BYTES, MAX_REQUEST_BYTES};
use crate::{ContainerId, ContainerSpec, ExitStatus, LaunchError, Support};

/// From the agent to the launcher process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first one.
    Setup(Setup),
    Launch(ContainerSpec),
    Probe {
        serial: u64,
        probe: CommandProbe,
        timeout_millis: u64,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Where the record files are.
    pub(crate) runtime: PathBuf,
    pub(crate) cgroups: Cgroups,
}

/// From the launcher process and the shims to the agent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The answer to `Setup`: no other launcher serves this directory any more, and this is what the kernel allows.
    Ready {
        pid_namespace: Support,
        mount_namespace: Support,
    },
    /// The command executes.
    Started {
        id: ContainerId,
        pid: u32,
    },
    /// It will not.
    Failed {
        id: ContainerId,
        error: LaunchError,
    },
    /// The shim process is gone.
    Ended {
        id: ContainerId,
    },
    Probed {
        serial: u64,
        result: ProbeResult,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProbeResult {
    Ended(ExitStatus),
    TimedOut,
    Failed(String),
}

impl Request {
    /// With its length in front.
    ///
    /// # Errors
    /// A sentence, when a path is not UTF-8 or the whole is too long.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, self).map_err(|error| error.to_string())?;
        let length = bytes.len() - 4;
        if length > MAX_REQUEST_BYTES {
            return Err(format!(
                "command and environment take {length} bytes, the limit is {MAX_REQUEST_BYTES}"
            ));
        }
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(bytes)
    }
}

impl Report {
    /// One line. A text too long for the pipe's promise is cut.
    pub(crate) fn encode(mut self) -> Vec<u8> {
        loop {
            let mut line =
                serde_json::to_vec(&self).expect("reports have text keys and no failing serializer");
            line.push(b'\n');
            if line.len() <= MAX_REPORT_BYTES {
                return line;
            }
            match &mut self {
                Self::Failed { error: LaunchError { message: text, .. }, .. }
                | Self::Probed { result: ProbeResult::Failed(text), .. } => halve(text),
                Self::Ready { pid_namespace, mount_namespace } => {
                    for support in [pid_namespace, mount_namespace] {
                        let (Support::No(text) | Support::Yes(text)) = support;
                        halve(text);
                    }
                }
                // Ids and numbers alone cannot reach the bound.
                Self::Started { .. } | Self::Ended { .. } | Self::Probed { .. } => return line,
            }
        }
    }

    pub(crate) fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

fn halve(text: &mut String) {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(middle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;

    #[test]
    fn long_reports_are_cut_to_what_a_pipe_keeps_whole() {
        let id = ContainerId::new("a".repeat(200)).unwrap();
        let error = LaunchError { step: Step::Execute, errno: 2, message: "\u{1}é".repeat(10_000) };
        let line = Report::Failed { id: id.clone(), error }.encode();
        assert!(line.len() <= MAX_REPORT_BYTES);
        let Some(Report::Failed { id: back, error }) = Report::decode(&line) else { panic!() };
        assert_eq!(back, id);
        assert!(error.message.starts_with("\u{1}é"));
    }

    #[test]
    fn requests_carry_their_length() {
        let spec = ContainerSpec::shell(ContainerId::new("a").unwrap(), "true", "/tmp");
        let bytes = Request::Launch(spec.clone()).encode().unwrap();
        assert_eq!(u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let Request::Launch(back) = serde_json::from_slice(&bytes[4..]).unwrap() else { panic!() };
        assert_eq!(back, spec);
        let long = ContainerSpec::shell(spec.id, "x".repeat(MAX_REQUEST_BYTES), "/tmp");
        assert!(Request::Launch(long).encode().unwrap_err().ends_with("the limit is 4194304"));
    }
}
