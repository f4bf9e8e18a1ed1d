//! `stoa haproxy`: its flags.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Common, Ending, Identity, play, sentence};
use crate::signals;

/// The HAProxy sidecar: routes service ports to healthy instances
#[derive(Args, Clone, Debug)]
pub(crate) struct HaproxyArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    identity: Identity,
    /// The supervisors; any of them will do
    #[arg(
        long,
        env = "STOA_HAPROXY_MARATHON",
        value_name = "URL,...",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8080"
    )]
    marathon: Vec<String>,
    /// Route the apps whose label HAPROXY_GROUP is one of these; `*` routes all
    #[arg(
        long,
        env = "STOA_HAPROXY_GROUP",
        value_name = "GROUP,...",
        value_delimiter = ',',
        default_value = "*"
    )]
    group: Vec<String>,
    /// The address service ports are bound on
    #[arg(long, env = "STOA_HAPROXY_BIND", value_name = "ADDR", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// The HAProxy program
    #[arg(long, env = "STOA_HAPROXY_HAPROXY", value_name = "PATH", default_value = "haproxy")]
    haproxy: PathBuf,
    /// Where the generated configuration, its older versions and the last good state live
    #[arg(long, env = "STOA_HAPROXY_DATA_DIR", value_name = "DIR", default_value = "stoa-haproxy")]
    data_dir: PathBuf,
    /// The sidecar's own address: health, metrics, the configuration in force
    #[arg(long, env = "STOA_HAPROXY_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Where apps with host names (label HAPROXY_n_VHOST) share a frontend; absent: nowhere
    #[arg(long, env = "STOA_HAPROXY_HTTP", value_name = "HOST:PORT")]
    http: Option<SocketAddr>,
    /// A template of the configuration in place of the built-in one
    #[arg(long, env = "STOA_HAPROXY_TEMPLATE", value_name = "FILE")]
    template: Option<PathBuf>,
    /// The name under which the supervisor waits for this sidecar before it kills an instance; absent: its own address
    #[arg(long, env = "STOA_HAPROXY_NAME", value_name = "NAME")]
    name: Option<String>,
    /// End HAProxy together with the sidecar; without it HAProxy goes on and the next start finds it
    #[arg(long, env = "STOA_HAPROXY_STOP_HAPROXY_ON_EXIT")]
    stop_haproxy_on_exit: bool,
}

pub(crate) fn main(args: HaproxyArgs) -> ExitCode {
    let Some(program) = find_program(&args.haproxy) else {
        return crate::usage(&format!("--haproxy: there is no program `{}`", args.haproxy.display()));
    };
    let credential = match args.identity.credential() {
        Ok(credential) => credential,
        Err(problem) => return crate::usage(&problem),
    };
    let config = haproxy::Config {
        credential,
        marathon: args.marathon,
        groups: args.group,
        bind: args.bind,
        haproxy: program,
        data_dir: args.data_dir,
        listen: args.listen,
        http: args.http,
        template: args.template,
        name: args.name.unwrap_or_else(|| format!("haproxy-{}", args.listen)),
        stop_haproxy_on_exit: args.stop_haproxy_on_exit,
    };
    play(&args.common, async {
        match haproxy::run(config, signals::shutdown()).await {
            Ok(()) => Ending::Done,
            Err(error) if error.is_refusal() => Ending::Refused(sentence(&error)),
            Err(error) => Ending::Failed(sentence(&error)),
        }
    })
}

/// Where the shell would find it; `/usr/sbin` besides, which is on no ordinary user's path.
pub(crate) fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
