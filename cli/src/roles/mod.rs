//! A role's flags, and the way from flags to the crate that plays it: one file a role.

pub(crate) mod agent;
pub(crate) mod chronos;
pub(crate) mod haproxy;
pub(crate) mod marathon;
pub(crate) mod master;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use front::credential::Credential;
use front::guard::{self, Guard};

use crate::logs::{self, LogFormat};

/// Flags that every role has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// A TOML file with keys named like these flags; a flag or its variable beats the file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines on standard error look; their level comes from STOA_LOG, as `info` or `info,replica=debug`
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// A file that log lines go to as well; at 64 MiB it is renamed to FILE.1 and begun anew
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

/// Who a role says it is to the servers it asks, and whom its own API serves.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub(crate) struct Identity {
    /// A file with one line, PRINCIPAL:SECRET: what this process calls itself to the masters, or supervisors, it asks
    #[arg(long, env = "STOA_CREDENTIAL_FILE", value_name = "FILE")]
    credential_file: Option<PathBuf>,
}

impl Identity {
    /// # Errors
    /// A file that cannot be read or that others can read, in a sentence.
    pub(crate) fn credential(&self) -> Result<Option<Credential>, String> {
        let file = self.credential_file.as_deref();
        file.map(guard::credential).transpose().map_err(|error| format!("--credential-file: {error}"))
    }
}

/// Whom the API of a role serves.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Authentication")]
pub(crate) struct Door {
    /// The one principal that its API serves, and the secret; absent: everybody. Other users of the machine can read flags of
    /// processes, but not their environment
    #[arg(long, env = "STOA_HTTP_CREDENTIALS", value_name = "PRINCIPAL:SECRET", hide_env_values = true)]
    http_credentials: Option<Credential>,
}

impl Door {
    pub(crate) fn guard(&self) -> Option<Guard> {
        self.http_credentials.clone().map(Guard::of_one)
    }
}

/// A value of a flag, or what the file says that it names as `file:///path`.
pub(crate) fn text_or_file(value: &str) -> Result<String, String> {
    let Some(path) = value.strip_prefix("file://") else { return Ok(value.to_owned()) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Ok(text.trim().to_owned())
}

/// How a role ended.
pub(crate) enum Ending {
    /// In order.
    Done,
    /// Flags or configuration are wrong, or the data directory is not ours: nothing was started.
    Refused(String),
    /// Something failed while running.
    Failed(String),
}

/// Runs a role to its end on a runtime of its own and turns the ending into the process's exit code.
pub(crate) fn play(common: &Common, role: impl Future<Output = Ending>) -> ExitCode {
    if let Err(problem) = logs::start(common.log_format, common.log_file.as_deref()) {
        return crate::usage(&problem);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    let ending = runtime.block_on(role);
    // A blocking thread that hangs (a dead network file system, say) must not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ending {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Refused(problem) => crate::usage(&problem),
        Ending::Failed(problem) => failed(&problem),
    }
}

pub(crate) fn failed(problem: &str) -> ExitCode {
    logs::say(format_args!("stoa: {problem}"));
    ExitCode::from(1)
}

/// An error with the reasons below it, as one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_value_is_given_or_read_from_a_file() {
        assert_eq!(text_or_file("cpus:1").as_deref(), Ok("cpus:1"));
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"cpus:2\n").expect("written");
        let named = format!("file://{}", file.path().display());
        assert_eq!(text_or_file(&named).as_deref(), Ok("cpus:2"));
        let error = text_or_file("file:///nowhere/at/all").expect_err("there is none");
        assert!(error.starts_with("/nowhere/at/all cannot be read"), "{error}");
    }
}
