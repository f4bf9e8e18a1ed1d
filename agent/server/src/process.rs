//! Putting an agent process together.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use agent_core::{Agent, Sandbox};
use front::door::Tally;
use front::logging::Logging;
use model::time::Time;
use sandbox::Launcher;
use sandbox::check::Checker;
use sandbox::docker::Docker;
use sandbox::fetch::{FetchLimits, Fetcher};
use sandbox::native::{Native, NativeConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::Config;
use crate::containers::Surroundings;
use crate::driver::{Driver, Hands, Inboxes};
use crate::error::Error;
use crate::janitor::{self, Janitor};
use crate::store::{DataDir, Writer};
use crate::volumes::Volumes;
use crate::{http, limits, settings};

/// How containers are run.
pub enum Containers {
    /// As processes of this machine, held by helpers: this program with the argument `shim`.
    Native,
    /// Likewise, with another program in the place of this one.
    Program { program: PathBuf, arguments: Vec<OsString> },
    /// By a launcher of the caller's, for tests and simulations.
    Given(Box<dyn Launcher>),
}

/// An agent that has its data directory and its address, but does nothing yet.
pub struct Process {
    driver: Driver,
    inboxes: Inboxes,
    leftovers: Vec<(Sandbox, Time)>,
    server: http::Server,
    kill_tasks: bool,
    /// Released last of all.
    directory: DataDir,
}

/// Runs an agent on this machine until `shutdown` resolves or it has to end.
///
/// # Errors
/// See [`Error`]; [`Error::is_refusal`] tells whether anything was begun.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Process::prepare(config, Containers::Native).await?.run(shutdown).await
}

impl Process {
    /// Checks the configuration, takes the data directory, reads its records and binds the address.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn prepare(config: Config, containers: Containers) -> Result<Self, Error> {
        settings::check(&config)?;
        let directory = DataDir::lock(&config.data_dir)?;
        let (log, records) = directory.open()?;
        let bind = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        let bound = listener.local_addr().map_err(bind)?;
        let address = settings::address(&config, bound)?;
        let clock = Clock::start();
        let settings = settings::core(&config, &address, seed(), clock.now())?;
        let info = settings.info.clone();
        let agent = Agent::recover(settings, records)?;
        let launcher = launcher(containers, directory.containers()).await?;
        let (told, tells) = unbounded_channel();
        let (done, does) = unbounded_channel();
        let (link, links) = channel(limits::FRAMES_IN);
        let (ask, questions) = channel(limits::QUESTIONS);
        let sandboxes = directory.sandboxes();
        let janitor = Janitor::start(sandboxes.clone(), done.clone())?;
        let (volumes, left) = Volumes::open(&directory.volumes())?;
        left.into_iter().for_each(|path| janitor.empty(path));
        let registry = prometheus::Registry::new();
        let connections = Tally::register(&registry, "stoa_agent")?;
        let server = http::Server::new(
            listener,
            bound,
            http::Site {
                ask,
                address: address.clone(),
                info,
                flags: settings::flags(&config, &config.data_dir),
                sandboxes: sandboxes.clone(),
                removals: janitor.removals.clone(),
                clock,
                started: clock.now(),
                logging: Arc::new(Logging::new(config.logs.clone())),
                inputs: done.clone(),
                next_stream: 1.into(),
                connections,
                registry,
                guard: config.guard.clone(),
            },
        );
        let hands = Hands {
            launcher,
            fetcher: Fetcher::new(FetchLimits::default(), Some(directory.fetch_cache()))
                .map_err(|e| Error::Containers(e.to_string()))?,
            checker: Checker::new().map_err(|e| Error::Containers(e.to_string()))?,
            writer: Writer::start(log, told)?,
            janitor,
            volumes,
            sandboxes: sandboxes.clone(),
            done,
            link,
            own: config.credential.as_ref().map(front::guard::authorization),
            surroundings: Surroundings::new(address),
        };
        Ok(Self {
            driver: Driver::new(agent, clock, hands),
            inboxes: Inboxes { told: tells, done: does, link: links, questions },
            leftovers: janitor::found(&sandboxes, 2 * agent_core::limits::SANDBOXES),
            server,
            kill_tasks: config.kill_tasks_on_exit,
            directory,
        })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Runs until `shutdown` resolves or the agent has to end.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tracing::info!(address = %self.address(), "the agent's API listens");
        let (ended, ending) = oneshot::channel::<()>();
        let serving = tokio::spawn(self.server.run(async move {
            // Its sender says nothing, and is gone when the driver has ended.
            let _ = ending.await;
        }));
        let result = self.driver.run(self.inboxes, self.leftovers, shutdown, self.kill_tasks).await;
        drop(ended);
        if let Err(error) = serving.await {
            tracing::error!(%error, "the accept loop failed");
        }
        drop(self.directory);
        result
    }
}

async fn launcher(containers: Containers, runtime: PathBuf) -> Result<Box<dyn Launcher>, Error> {
    let owner = runtime.display().to_string();
    let config = match containers {
        Containers::Given(launcher) => return Ok(launcher),
        Containers::Native => NativeConfig::new(runtime),
        Containers::Program { program, arguments } => {
            NativeConfig { program, arguments, ..NativeConfig::new(runtime) }
        }
    };
    let native = Native::start(config).await.map_err(|e| Error::Containers(e.to_string()))?;
    let features = native.features();
    tracing::info!(
        cpu_limits = %features.cpu_limits,
        memory_limits = %features.memory_limits,
        pid_namespace = %features.pid_namespace,
        mount_namespace = %features.mount_namespace,
        other_users = %features.other_users,
        "containers on this machine"
    );
    Ok(Box::new(Docker::new(Box::new(native), owner)))
}

fn seed() -> [u64; 2] {
    // Random but for the six bits that say so.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    [high, low]
}
