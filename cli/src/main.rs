//! The one program: a sub-command per role, and the commands of a person at a prompt.
//!
//! It parses flags, environment and file into each role's `Config`, starts the crates that do the work, and holds no
//! logic of its own. Exit codes: 0 fine, 1 failure while running, 2 wrong usage or configuration.

mod command;
mod config;
mod logs;
mod roles;
mod signals;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// What a person typed.
#[derive(Parser)]
#[command(name = "stoa", version, about = "A data centre used like one computer", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// A whole cluster on this machine, in the foreground
    Up(up::UpArgs),
    /// A master: replicated facts, offers, the scheduler, operator and key-value APIs
    Master(roles::master::MasterArgs),
    /// An agent: runs tasks on this machine
    Agent(roles::agent::AgentArgs),
    /// The app supervisor: the Marathon v2 REST API
    Marathon(roles::marathon::MarathonArgs),
    /// The batch scheduler: the Chronos v1 REST API
    Chronos(Box<roles::chronos::ChronosArgs>),
    /// The HAProxy sidecar: routes service ports to healthy instances
    Haproxy(roles::haproxy::HaproxyArgs),
    /// The helper that parents containers; started by an agent, never by hand
    #[command(hide = true)]
    Shim,
    #[command(flatten)]
    Command(command::Command),
}

fn main() -> ExitCode {
    let arguments = match config::layered(Cli::command(), std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(problem) => return usage(&problem.to_string()),
    };
    let matches = Cli::command().get_matches_from(arguments);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.role {
        Role::Shim => sandbox::shim::main(),
        Role::Up(args) => up::main(args),
        Role::Master(args) => roles::master::main(args),
        Role::Agent(args) => roles::agent::main(args),
        Role::Marathon(args) => roles::marathon::main(args),
        Role::Chronos(args) => roles::chronos::main(*args),
        Role::Haproxy(args) => roles::haproxy::main(args),
        Role::Command(command) => command::main(command),
    }
}

/// Says what is wrong with flags or configuration. Nothing was started or written.
fn usage(problem: &str) -> ExitCode {
    logs::say(format_args!("stoa: {problem}"));
    ExitCode::from(2)
}
