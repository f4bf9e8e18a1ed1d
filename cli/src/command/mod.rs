//! Commands of a person at a prompt: the same public APIs that everybody else uses, shown as tables.

#[macro_use]
mod out;

mod allocation;
mod app;
mod events;
mod explain;
mod http;
mod job;
mod job_logs;
mod logs;
mod maintenance;
mod master;
mod member;
mod node;
mod quota;
mod table;
mod task;
mod turns;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use front::credential::Credential;

use http::Api;

/// Where the cluster is, and how answers look.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// A master
    #[arg(
        long,
        global = true,
        env = "STOA_MASTER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:5050"
    )]
    master: String,
    /// A supervisor
    #[arg(
        long,
        global = true,
        env = "STOA_MARATHON",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    marathon: String,
    /// A batch scheduler
    #[arg(
        long,
        global = true,
        env = "STOA_CHRONOS",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:4400"
    )]
    chronos: String,
    /// Who you are to servers that ask; `PRINCIPAL:SECRET@` before an address does it as well. Other users of the machine can
    /// read flags of processes, but not their environment
    #[arg(
        long,
        global = true,
        env = "STOA_CREDENTIAL",
        value_name = "PRINCIPAL:SECRET",
        hide_env_values = true
    )]
    credential: Option<Credential>,
    /// Print what the API said instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Apps: list, show, deploy, scale, restart, remove
    App {
        #[command(subcommand)]
        action: app::Action,
        #[command(flatten)]
        target: Target,
    },
    /// Batch jobs: list, run, trigger, kill, and the history of their runs
    Job {
        #[command(subcommand)]
        action: job::Action,
        #[command(flatten)]
        target: Target,
    },
    /// Tasks: list, kill
    Task {
        #[command(subcommand)]
        action: task::Action,
        #[command(flatten)]
        target: Target,
    },
    /// Machines with an agent: list (also without a word), drain, deactivate, reactivate, gone
    Node {
        #[command(subcommand)]
        action: Option<node::Action>,
        #[command(flatten)]
        target: Target,
    },
    /// Machines that are to be away: show, plan, cancel, down, up
    Maintenance {
        #[command(subcommand)]
        action: maintenance::Action,
        #[command(flatten)]
        target: Target,
    },
    /// The masters of the group: list, remove
    Member {
        #[command(subcommand)]
        action: member::Action,
        #[command(flatten)]
        target: Target,
    },
    /// What a task has written
    Logs {
        #[command(flatten)]
        what: logs::What,
        #[command(flatten)]
        target: Target,
    },
    /// Frameworks that are subscribed or known
    Framework {
        #[command(flatten)]
        target: Target,
    },
    /// Roles, their weights and what they use
    Role {
        #[command(flatten)]
        target: Target,
    },
    /// Quotas of roles: list, set, remove
    Quota {
        #[command(subcommand)]
        action: quota::Action,
        #[command(flatten)]
        target: Target,
    },
    /// The supervisor's event stream, a line an event
    Events {
        /// Only events of this type; may be repeated
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Why an app is not running as asked, or why a framework is not offered more
    Explain {
        /// The app's id
        #[arg(required_unless_present = "framework", conflicts_with = "framework")]
        app: Option<String>,
        /// The framework's id
        #[arg(long, value_name = "ID")]
        framework: Option<String>,
        /// Only in this role of the framework
        #[arg(long, requires = "framework")]
        role: Option<String>,
        /// Why it is not offered this agent
        #[arg(long, value_name = "ID", requires = "framework")]
        agent: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// A script that completes these commands in a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

pub(crate) fn main(command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return crate::roles::failed(&format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => crate::roles::failed(&problem),
    }
}

async fn run(command: Command) -> Result<(), String> {
    match command {
        Command::App { action, target } => app::run(&Api::marathon(&target), action).await,
        Command::Job { action, target } => job::run(&Api::chronos(&target), action).await,
        Command::Task { action, target } => task::run(&Api::marathon(&target), action).await,
        Command::Node { action, target } => {
            node::run(&Api::master(&target), action.unwrap_or(node::Action::List)).await
        }
        Command::Maintenance { action, target } => maintenance::run(&Api::master(&target), action).await,
        Command::Member { action, target } => member::run(&Api::master(&target), action).await,
        Command::Logs { what, target } => logs::show(&Api::master(&target), &what).await,
        Command::Framework { target } => master::frameworks(&Api::master(&target)).await,
        Command::Role { target } => master::roles(&Api::master(&target)).await,
        Command::Quota { action, target } => quota::run(&Api::master(&target), action).await,
        Command::Events { types, target } => events::follow(&Api::marathon(&target), &types).await,
        Command::Explain { app: Some(app), target, .. } => {
            explain::explain(&Api::marathon(&target), &app).await
        }
        Command::Explain { app: None, framework, role, agent, target } => {
            let query = [("framework_id", framework), ("role", role), ("agent_id", agent)];
            allocation::explain(&Api::master(&target), &query).await
        }
        Command::Completion { shell } => {
            let mut program = <crate::Cli as clap::CommandFactory>::command();
            // Into memory: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program, "stoa", &mut script);
            out::write(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(())
        }
    }
}
