//! From the passive supervisor to a running process: the kit for schedulers carries it, the API stands beside it.

mod framework;
pub mod scheduler;
pub(crate) mod windows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use front::credential::Credential;
use front::guard::Guard;
use model::time::{Span, Time};
use sdk::Credentials;
use sdk::scheduler::{Runner, Settings};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::framework::{Framework, Windows};
pub(crate) use self::scheduler::FAILOVER_TIMEOUT;
use self::windows::Channels;
use crate::http::{Api, Surroundings};
use crate::{limits, supervisor};

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
    #[error(transparent)]
    Scheduler(sdk::scheduler::RunError),
}

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
    let (view, view_seen) = watch::channel(None);
    let (hub, hub_seen) = watch::channel(None);
    let own = supervisor::Settings {
        role: config.role.clone(),
        service_ports: config.service_ports.0..=config.service_ports.1,
        drain_timeout: config.drain_timeout,
    };
    let seeds = || uuid::Uuid::new_v4().as_u64_pair().into();
    let framework = Framework::new(own, Arc::new(Channels { view, hub }), seeds);
    let runner = Runner::new(settings(&config), framework).map_err(|error| match error {
        sdk::scheduler::RunError::Settings(text) => RunError::Config(text),
        other => RunError::Scheduler(other),
    })?;
    let api = Api::new(Surroundings {
        config: Arc::new(config),
        handle: runner.handle(),
        view: view_seen,
        hub: hub_seen,
    });
    let (stop, mut stopped) = watch::channel(false);
    let server = api.serve(listener, async move {
        // The sender lives until the end of this function.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    tokio::pin!(server);
    let ended = tokio::select! {
        // It ends only after it was told to.
        () = &mut server => return Ok(()),
        ended = runner.run(shutdown) => ended,
    };
    // With leadership every event stream has ended. What goes on for too long is cut off.
    stop.send_replace(true);
    server.await;
    ended.map(drop).map_err(RunError::Scheduler)
}

fn check(config: &Config) -> Result<(), RunError> {
    let (first, last) = config.service_ports;
    if first == 0 || first > last {
        return Err(RunError::Config(format!("service ports {first} to {last} must be a range above 0")));
    }
    Ok(())
}

fn settings(config: &Config) -> Settings {
    let mut settings = Settings::new("marathon", &config.masters);
    settings.credentials =
        config.credential.as_ref().map(|own| Credentials::new(own.principal(), own.secret()));
    settings.namespace.clone_from(&config.namespace);
    // Its records are older than the kit's way to name them.
    settings.records = "";
    settings.instance.clone_from(&config.advertise);
    settings.refuse = limits::REFUSE;
    settings.info = scheduler::framework_info(&config.role, &config.advertise);
    settings
}

/// Milliseconds since the Unix epoch: versions and timestamps are made of it.
pub(crate) fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
