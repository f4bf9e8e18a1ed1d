//! From the passive scheduler to a running process: the kit for schedulers carries it, the API stands beside it.

mod batch;
mod task;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use front::credential::Credential;
use front::guard::Guard;
use model::time::{Span, Time};
use sdk::scheduler::{Runner, Settings};
use sdk::{Credentials, Masters};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::batch::Batch;
use crate::core::scheduler;
use crate::http::Api;
use crate::limits;
use crate::notify::{self, Channels};

/// What an operator chooses.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of masters; any will do.
    pub masters: Vec<String>,
    /// Where the API listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` by which clients and other instances reach the API. Empty: what it listens on.
    pub advertise: String,
    /// The role whose share of the cluster jobs use.
    pub role: String,
    /// The user that jobs run as which name none. Empty: the agent's choice.
    pub user: String,
    /// The pause before a failed attempt is repeated, for jobs that say nothing themselves.
    pub failure_retry: Span,
    /// Failed runs in a row after which a job is disabled; 0: never.
    pub disable_after_failures: u64,
    /// Where owners of jobs are told what went wrong.
    pub channels: Channels,
    /// Who the scheduler says it is to masters that ask: the namespace then is the principal's name, or begins with it and
    /// a slash.
    pub credential: Option<Credential>,
    /// Whom the API serves; absent: everybody.
    pub guard: Option<Guard>,
    /// The key-value namespace that holds the state; instances of one scheduler share it.
    pub namespace: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            masters: vec!["127.0.0.1:5050".to_owned()],
            listen: SocketAddr::from(([127, 0, 0, 1], 4400)),
            advertise: String::new(),
            role: "*".to_owned(),
            user: String::new(),
            failure_retry: limits::FAILURE_RETRY,
            disable_after_failures: 0,
            channels: Channels::default(),
            credential: None,
            guard: None,
            namespace: "chronos".to_owned(),
        }
    }
}

/// Why a scheduler cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing was started.
    #[error("{0}")]
    Config(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("what it listens on cannot be told: {0}")]
    Address(std::io::Error),
    #[error(transparent)]
    Scheduler(sdk::scheduler::RunError),
}

/// Runs until `shutdown` resolves. Running tasks are none of its business: they stay.
///
/// # Errors
/// See [`RunError`]. An unreachable master is no error: it is waited for.
pub async fn run(
    mut config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| RunError::Listen { address: config.listen, source })?;
    if config.advertise.is_empty() {
        config.advertise = listener.local_addr().map_err(RunError::Address)?.to_string();
    }
    let core = scheduler::Settings {
        failure_retry: config.failure_retry,
        disable_after_failures: config.disable_after_failures,
    };
    let batch = Batch::new(core, &config.user, config.channels.clone());
    let bell = batch.bell();
    let runner = Runner::new(settings(&config), batch).map_err(|error| match error {
        sdk::scheduler::RunError::Settings(text) => RunError::Config(text),
        other => RunError::Scheduler(other),
    })?;
    // They end with this function.
    let _couriers = notify::start(&config.channels, &runner.handle(), &bell).map_err(RunError::Config)?;
    let masters = (Masters::new(&config.masters), config.credential.as_ref());
    let api = Api::new(&config.advertise, config.guard.clone(), masters, runner.handle());
    let (stop, mut stopped) = watch::channel(false);
    let server = api.serve(listener, async move {
        // The sender lives until the end of this function.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
    tokio::pin!(server);
    let ended = tokio::select! {
        () = &mut server => return Ok(()),
        ended = runner.run(shutdown) => ended,
    };
    stop.send_replace(true);
    server.await;
    ended.map(drop).map_err(RunError::Scheduler)
}

fn settings(config: &Config) -> Settings {
    let mut settings = Settings::new("chronos", &config.masters);
    settings.credentials =
        config.credential.as_ref().map(|own| Credentials::new(own.principal(), own.secret()));
    settings.namespace.clone_from(&config.namespace);
    settings.instance.clone_from(&config.advertise);
    settings.info.roles = vec![config.role.clone()];
    let host = config.advertise.rsplit_once(':').map_or(config.advertise.as_str(), |(host, _)| host);
    settings.info.hostname = Some(host.to_owned());
    settings.info.webui_url = Some(format!("http://{}", config.advertise));
    settings
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}
