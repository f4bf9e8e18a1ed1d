//! Flag beats environment beats file: the file's keys become flags in front of the ones that were typed.
//!
//! Clap already puts a flag before its environment variable. A file named by `--config` is read here, each key checked
//! against the role's flags, and those that neither flag nor variable set are put into the argument list. So a value
//! from the file passes the same parser and gets the same error messages as one that was typed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, Command};
use thiserror::Error;

/// Why a configuration file was refused.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is not TOML: {message}")]
    NotToml { path: PathBuf, message: String },
    #[error("the configuration file {path} has the key `{key}`, which `stoa {role}` does not know{hint}")]
    UnknownKey { path: PathBuf, key: String, role: String, hint: String },
    #[error(
        "the key `{key}` in the configuration file {path} must be a string, a number, a boolean or a list of them"
    )]
    WrongType { path: PathBuf, key: String },
}

/// The arguments with the file's values put in where neither flag nor variable gave one.
///
/// Wrong flags are left for the real parse to complain about: this pass only looks for `--config`.
pub(crate) fn layered(command: Command, arguments: Vec<OsString>) -> Result<Vec<OsString>, ConfigError> {
    let Ok(matches) = command.clone().try_get_matches_from(&arguments) else { return Ok(arguments) };
    let Some((role, given)) = matches.subcommand() else { return Ok(arguments) };
    let Ok(Some(path)) = given.try_get_one::<PathBuf>("config") else { return Ok(arguments) };
    let Some(known) = command.find_subcommand(role) else { return Ok(arguments) };

    let mut flags: Vec<OsString> = Vec::new();
    for (key, value) in read(path)? {
        let Some(arg) = known.get_arguments().find(|a| a.get_long() == Some(&key) && key != "config") else {
            let hint = suggestion(known, &key);
            return Err(ConfigError::UnknownKey { path: path.clone(), key, role: role.to_owned(), hint });
        };
        let set = matches!(
            given.value_source(arg.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        if set {
            continue;
        }
        let text =
            text(&value).ok_or_else(|| ConfigError::WrongType { path: path.clone(), key: key.clone() })?;
        match (arg.get_action(), text.as_str()) {
            (ArgAction::SetTrue, "true") => flags.push(format!("--{key}").into()),
            (ArgAction::SetTrue, "false") => {}
            _ => flags.push(format!("--{key}={text}").into()),
        }
    }
    let position = arguments.iter().position(|a| a == role).map_or(arguments.len(), |at| at + 1);
    let mut all = arguments;
    all.splice(position..position, flags);
    Ok(all)
}

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    text.parse::<toml::Table>()
        .map_err(|error| ConfigError::NotToml { path: path.to_owned(), message: error.to_string() })
}

/// A list becomes the comma-separated form that the flag takes.
fn text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => Some(items.iter().map(text).collect::<Option<Vec<String>>>()?.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn suggestion(command: &Command, key: &str) -> String {
    let spelled = key.replace('_', "-");
    match command.get_arguments().find_map(|a| a.get_long().filter(|long| **long == *spelled)) {
        Some(long) => format!("; did you mean `{long}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::{Arg, value_parser};

    use super::*;

    fn program() -> Command {
        Command::new("stoa").subcommand(
            Command::new("agent")
                .arg(Arg::new("config").long("config").value_parser(value_parser!(PathBuf)))
                .arg(Arg::new("listen").long("listen").default_value("127.0.0.1:5051"))
                .arg(Arg::new("master").long("master"))
                .arg(Arg::new("kill").long("kill-tasks-on-exit").action(ArgAction::SetTrue)),
        )
    }

    fn run(file: &str, typed: &[&str]) -> Result<Vec<String>, ConfigError> {
        let mut on_disk = tempfile::NamedTempFile::new().expect("a temporary file");
        on_disk.write_all(file.as_bytes()).expect("written");
        let mut arguments: Vec<OsString> =
            vec!["stoa".into(), "agent".into(), "--config".into(), on_disk.path().into()];
        arguments.extend(typed.iter().map(OsString::from));
        let all = layered(program(), arguments)?;
        Ok(all.into_iter().map(|a| a.into_string().expect("text")).filter(|a| !a.starts_with('/')).collect())
    }

    #[test]
    fn a_key_of_the_file_becomes_a_flag() {
        let all = run("master = ['a:1', 'b:2']\nkill-tasks-on-exit = true", &[]).expect("accepted");
        assert!(all.contains(&"--master=a:1,b:2".to_owned()), "{all:?}");
        assert!(all.contains(&"--kill-tasks-on-exit".to_owned()), "{all:?}");
    }

    #[test]
    fn a_typed_flag_beats_the_file() {
        let all = run("listen = '0.0.0.0:1'", &["--listen", "0.0.0.0:2"]).expect("accepted");
        assert!(!all.contains(&"--listen=0.0.0.0:1".to_owned()), "{all:?}");
    }

    #[test]
    fn an_unknown_key_is_named_with_what_was_meant() {
        let error = run("kill_tasks_on_exit = true", &[]).expect_err("refused").to_string();
        assert!(error.contains("`kill_tasks_on_exit`"), "{error}");
        assert!(error.contains("did you mean `kill-tasks-on-exit`?"), "{error}");
    }

    #[test]
    fn a_table_is_refused_by_its_key() {
        let error = run("[listen]\nport = 1", &[]).expect_err("refused").to_string();
        assert!(error.contains("`listen`"), "{error}");
    }
}
