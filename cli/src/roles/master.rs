//! `stoa master`: its flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use front::guard::Guard;

use super::{Common, Ending, play, sentence, text_or_file};
use crate::{logs, signals};

/// A master: replicated facts, offers, the scheduler, operator and key-value APIs
#[derive(Args, Clone, Debug)]
pub(crate) struct MasterArgs {
    #[command(flatten)]
    common: Common,
    /// The one address for people, frameworks, agents and other masters
    #[arg(long, env = "STOA_MASTER_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:5050")]
    listen: SocketAddr,
    /// The address others reach this master by; absent: the one it listens on
    #[arg(long, env = "STOA_MASTER_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The first members of the group by their advertised addresses, this one included; absent: one master alone
    #[arg(long, env = "STOA_MASTER_PEERS", value_name = "HOST:PORT,...", value_delimiter = ',')]
    peers: Vec<String>,
    /// A member of a running group that this master shall join; it gets its vote once it has caught up
    #[arg(long, env = "STOA_MASTER_JOIN", value_name = "HOST:PORT")]
    join: Option<String>,
    /// Where the log, snapshots and identity live
    #[arg(long, env = "STOA_MASTER_DATA_DIR", value_name = "DIR", default_value = "stoa-master")]
    data_dir: PathBuf,
    /// A file of who may ask for what, a line each: PRINCIPAL SECRET ROLE,... with the roles operator, framework, agent,
    /// master, reader, and for frameworks in=ROLE,... as=USER,...; absent: everybody for everything
    #[arg(long, env = "STOA_MASTER_CREDENTIALS", value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// The region and zone it stands in, as `{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}`, inline or
    /// in a file (`file:///path`); agents of other regions are offered to frameworks with REGION_AWARE alone
    #[arg(long, env = "STOA_MASTER_DOMAIN", value_name = "JSON", value_parser = text_or_file)]
    domain: Option<String>,
    /// Seconds after which an offer that its framework does not answer is taken back for others; 0: never
    #[arg(long, env = "STOA_MASTER_OFFER_TIMEOUT", value_name = "SECONDS", default_value_t = 60)]
    offer_timeout: u64,
}

pub(crate) fn main(args: MasterArgs) -> ExitCode {
    let guard = match args.credentials.as_deref().map(Guard::read).transpose() {
        Ok(guard) => guard,
        Err(error) => return crate::usage(&format!("--credentials: {error}")),
    };
    let config = master::Config {
        guard,
        listen: args.listen,
        advertise: args.advertise,
        peers: args.peers,
        join: args.join,
        data_dir: args.data_dir,
        domain: args.domain,
        offer_timeout: (args.offer_timeout > 0).then(|| Duration::from_secs(args.offer_timeout)),
        logs: None,
    };
    let file = args.common.log_file.clone();
    play(&args.common, async {
        let set_level = Arc::new(logs::set_level);
        let config = master::Config { logs: Some(master::Logs { file, set_level }), ..config };
        match master::run(config, signals::shutdown()).await {
            Ok(()) => Ending::Done,
            Err(error) if error.is_refusal() => Ending::Refused(sentence(&error)),
            Err(error) => Ending::Failed(sentence(&error)),
        }
    })
}
