//! From the passive supervisor to a running process: leadership, store, subscription and API around it.

pub(crate) mod engine;
mod leader;
pub mod scheduler;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use front::credential::Credential;
use front::guard::Guard;
use model::time::Span;
use sdk::leadership::Standing;
use sdk::terms::Terms;
use sdk::{Credentials, Masters, State as KeyValues};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

use self::engine::{Engine, Request, Windows};
use self::leader::Office;
pub(crate) use self::leader::now;
pub(crate) use self::scheduler::FAILOVER_TIMEOUT;
use crate::http::{Api, Surroundings};
use crate::limits;
use crate::supervisor::{Settings, Supervisor};

/// What an operator chooses.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of masters; any will do.
    pub masters: Vec<String>,
    /// Where the API listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` by which clients and other instances reach the API. Empty: what it listens on.
    pub advertise: String,
    /// The role whose share of the cluster apps use.
    pub role: String,
    /// Service ports for apps that ask for none, first and last.
    pub service_ports: (u16, u16),
    /// How long load balancers may take to let go of an instance before it is killed.
    pub drain_timeout: Span,
    /// Who the supervisor says it is to masters that ask: the namespace then is the principal's name, or begins with it and
    /// a slash.
    pub credential: Option<Credential>,
    /// Whom the API serves; absent: everybody.
    pub guard: Option<Guard>,
    /// The key-value namespace that holds the state; instances of one supervisor share it.
    pub namespace: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            masters: vec!["127.0.0.1:5050".to_owned()],
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            advertise: String::new(),
            role: "*".to_owned(),
            service_ports: (10_000, 20_000),
            drain_timeout: Span::from_secs(10),
            credential: None,
            guard: None,
            namespace: "marathon".to_owned(),
        }
    }
}

/// Why a supervisor cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing was started.
    #[error("{0}")]
    Config(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the socket of the API has no address: {0}")]
    Address(std::io::Error),
}

/// The key whose holder leads.
const LEADER: &str = "leader";

/// Runs until `shutdown` resolves. Running tasks are none of its business: they stay.
///
/// # Errors
/// See [`RunError`]. An unreachable master is no error: it is waited for.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| RunError::Listen { address: config.listen, source })?;
    serve(config, listener, shutdown).await
}

/// As [`run`], on a socket that is already open.
///
/// # Errors
/// See [`RunError`].
pub async fn serve(
    mut config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    check(&config)?;
    if config.advertise.is_empty() {
        config.advertise = listener.local_addr().map_err(RunError::Address)?.to_string();
    }
    let config = Arc::new(config);
    let (standing, standing_seen) = watch::channel(Standing::Following { leader: None });
    let (view, view_seen) = watch::channel(None);
    let (hub, hub_seen) = watch::channel(None);
    let (requests, next) = mpsc::channel(limits::REQUEST_QUEUE);
    let abdicate = Arc::new(Notify::new());
    let api = Api::new(Surroundings {
        config: Arc::clone(&config),
        standing: standing_seen,
        view: view_seen,
        hub: hub_seen,
        requests,
        abdicate: Arc::clone(&abdicate),
    });
    let (stop, mut stopped) = watch::channel(false);
    let server = api.serve(listener, async move {
        // The sender lives until the end of this function.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    tokio::pin!(server);
    tokio::select! {
        // It ends only after it was told to.
        () = &mut server => return Ok(()),
        () = conduct(&config, standing, Windows { view, hub }, next, &abdicate, shutdown) => {}
    }
    // With leadership every event stream has ended. What goes on for too long is cut off.
    stop.send_replace(true);
    server.await;
    Ok(())
}

fn check(config: &Config) -> Result<(), RunError> {
    let (first, last) = config.service_ports;
    if first == 0 || first > last {
        return Err(RunError::Config(format!("service ports {first} to {last} must be a range above 0")));
    }
    if let Err(error) = config.role.parse::<model::role::Role>() {
        return Err(RunError::Config(format!("role '{}': {error}", config.role)));
    }
    if config.namespace.is_empty() {
        return Err(RunError::Config("namespace must not be empty".to_owned()));
    }
    Ok(())
}

/// Runs for leadership and leads, in turns, until the shutdown.
async fn conduct(
    config: &Config,
    standing: watch::Sender<Standing>,
    windows: Windows,
    requests: mpsc::Receiver<Request>,
    abdicate: &Notify,
    shutdown: impl Future<Output = ()>,
) {
    let credentials = config.credential.as_ref().map(|own| Credentials::new(own.principal(), own.secret()));
    let masters = Masters::new(&config.masters).with_credentials(credentials);
    let state = KeyValues::new(masters.clone(), &config.namespace);
    let settings = Settings {
        role: config.role.clone(),
        service_ports: config.service_ports.0..=config.service_ports.1,
        drain_timeout: config.drain_timeout,
    };
    let engine = Engine::new(Supervisor::new(settings), windows);
    let terms = Terms { state: state.clone(), key: LEADER.to_owned(), name: config.advertise.clone() };
    let mut office = Office { config, masters: &masters, state: &state, engine, requests };
    terms.run(&mut office, &standing, abdicate, shutdown).await;
}
