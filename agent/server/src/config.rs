//! What an agent is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use front::credential::Credential;
use front::guard::Guard;
use front::logging::Logs;

/// The configuration of one agent process. Texts are checked by [`crate::run`] before anything is started or written.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of masters; any will do, the agent finds the leader.
    pub masters: Vec<String>,
    /// Where its own API listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` by which others reach its API; absent: what it listens on.
    pub advertise: Option<String>,
    /// Checkpoints, sandboxes and the fetch cache live here.
    pub data_dir: PathBuf,
    /// `cpus:4;mem:4096;disk:10000;ports:[31000-32000]`, or a JSON array of `Resource` objects; absent: what the
    /// machine has.
    pub resources: Option<String>,
    /// `rack:a;zone:b`; may be empty.
    pub attributes: String,
    /// Its fault domain, as `DomainInfo` in JSON; absent: it has none.
    pub domain: Option<String>,
    /// The name in offers; absent: the host of the advertised address.
    pub hostname: Option<String>,
    /// Who the agent says it is to masters that ask.
    pub credential: Option<Credential>,
    /// Whom its own API serves; absent: everybody. Executors have no credentials and are not asked.
    pub guard: Option<Guard>,
    /// End all tasks when the agent is asked to end.
    pub kill_tasks_on_exit: bool,
    /// What the process logs, where operators may read it and ask for more of it.
    pub logs: Option<Logs>,
}
