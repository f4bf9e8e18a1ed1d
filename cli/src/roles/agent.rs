//! `stoa agent`: its flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{Common, Door, Ending, Identity, play, sentence, text_or_file};
use crate::{logs, signals};

/// An agent: runs tasks on this machine
#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    door: Door,
    /// The masters; any of them will do, the agent finds the leader
    #[arg(
        long,
        env = "STOA_AGENT_MASTER",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:5050"
    )]
    master: Vec<String>,
    /// The address of its own API
    #[arg(long, env = "STOA_AGENT_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5051")]
    listen: SocketAddr,
    /// The address others reach its API by; absent: the one it listens on
    #[arg(long, env = "STOA_AGENT_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Where checkpoints, sandboxes and the fetch cache live
    #[arg(long, env = "STOA_AGENT_DATA_DIR", value_name = "DIR", default_value = "stoa-agent")]
    data_dir: PathBuf,
    /// What it offers, as `cpus:4;mem:4096;disk:10000;ports:[31000-32000]` or as a JSON array of Resource objects, inline
    /// or in a file (`file:///path`); absent: what the machine has
    #[arg(long, env = "STOA_AGENT_RESOURCES", value_name = "RESOURCES", value_parser = text_or_file)]
    resources: Option<String>,
    /// What distinguishes it, as `rack:a;zone:b`
    #[arg(long, env = "STOA_AGENT_ATTRIBUTES", value_name = "ATTRIBUTES", default_value = "")]
    attributes: String,
    /// The region and zone it stands in, as `{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}`, inline or
    /// in a file (`file:///path`)
    #[arg(long, env = "STOA_AGENT_DOMAIN", value_name = "JSON", value_parser = text_or_file)]
    domain: Option<String>,
    /// The name in offers and in tasks' HOST; absent: the host of its advertised address
    #[arg(long, env = "STOA_AGENT_HOSTNAME", value_name = "NAME")]
    hostname: Option<String>,
    /// Kill all tasks when asked to end; without it they go on and the next start finds them
    #[arg(long, env = "STOA_AGENT_KILL_TASKS_ON_EXIT")]
    kill_tasks_on_exit: bool,
}

pub(crate) fn main(args: AgentArgs) -> ExitCode {
    let credential = match args.identity.credential() {
        Ok(credential) => credential,
        Err(problem) => return crate::usage(&problem),
    };
    let config = agent::Config {
        credential,
        guard: args.door.guard(),
        masters: args.master,
        listen: args.listen,
        advertise: args.advertise,
        data_dir: args.data_dir,
        resources: args.resources,
        attributes: args.attributes,
        domain: args.domain,
        hostname: args.hostname,
        kill_tasks_on_exit: args.kill_tasks_on_exit,
        logs: None,
    };
    let file = args.common.log_file.clone();
    play(&args.common, async {
        let logs = agent::Logs { file, set_level: Arc::new(logs::set_level) };
        let config = agent::Config { logs: Some(logs), ..config };
        match agent::run(config, signals::shutdown()).await {
            Ok(()) => Ending::Done,
            Err(error) if error.is_refusal() => Ending::Refused(sentence(&error)),
            Err(error) => Ending::Failed(sentence(&error)),
        }
    })
}
