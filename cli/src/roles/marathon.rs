//! `stoa marathon`: its flags.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use marathon::RunError;
use model::time::Span;

use super::{Common, Door, Ending, Identity, play, sentence};
use crate::signals;

/// The app supervisor: the Marathon v2 REST API
#[derive(Args, Clone, Debug)]
pub(crate) struct MarathonArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    door: Door,
    /// The masters; any of them will do
    #[arg(
        long,
        env = "STOA_MARATHON_MASTER",
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:5050"
    )]
    master: Vec<String>,
    /// The address of its API
    #[arg(long, env = "STOA_MARATHON_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The address others reach its API by; absent: the one it listens on
    #[arg(long, env = "STOA_MARATHON_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The role whose share of the cluster it uses
    #[arg(long, env = "STOA_MARATHON_ROLE", value_name = "ROLE", default_value = "*")]
    role: String,
    /// The first and the last service port given to apps that ask for none
    #[arg(long, env = "STOA_MARATHON_SERVICE_PORTS", value_name = "FIRST-LAST", default_value = "10000-20000", value_parser = ports)]
    service_ports: (u16, u16),
    /// How many seconds load balancers may take to let go of an instance before it is killed
    #[arg(long, env = "STOA_MARATHON_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 10)]
    drain_timeout: u32,
    /// The key-value namespace of its records; instances of one supervisor share it
    #[arg(long, env = "STOA_MARATHON_NAMESPACE", value_name = "NAME", default_value = "marathon")]
    namespace: String,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| part.trim().parse::<u16>().map_err(|error| format!("`{part}`: {error}"));
    let (first, last) = text.split_once('-').ok_or("two ports with a hyphen between them are expected")?;
    Ok((parse(first)?, parse(last)?))
}

pub(crate) fn main(args: MarathonArgs) -> ExitCode {
    let credential = match args.identity.credential() {
        Ok(credential) => credential,
        Err(problem) => return crate::usage(&problem),
    };
    let config = marathon::Config {
        credential,
        guard: args.door.guard(),
        masters: args.master,
        listen: args.listen,
        advertise: args.advertise.unwrap_or_default(),
        role: args.role,
        service_ports: args.service_ports,
        drain_timeout: Span::from_secs(args.drain_timeout.into()),
        namespace: args.namespace,
    };
    play(&args.common, async {
        match marathon::run(config, signals::shutdown()).await {
            Ok(()) => Ending::Done,
            Err(error @ (RunError::Config(_) | RunError::Listen { .. })) => Ending::Refused(sentence(&error)),
            Err(error) => Ending::Failed(sentence(&error)),
        }
    })
}
