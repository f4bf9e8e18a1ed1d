//! Containers as processes of this machine.

mod driver;
mod link;
mod location;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::driver::{Call, Driver};
use self::link::Link;
pub use self::location::runtime_directory;
use crate::cgroup::{self, ContainerCgroup, Detected};
use crate::check::{CommandProbe, CommandRunner, ProbeError};
use crate::limits::{KILL_PATIENCE, MAX_COMMAND_PROBES};
use crate::shim::Order;
use crate::shim::protocol::Setup;
use crate::{
    ContainerEvent, ContainerId, ContainerSpec, ExitStatus, Features, Launcher, Limits, Signal, Support,
    Usage,
};

/// What a native launcher needs to know.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// Directory of the record files, made if missing; see [`runtime_directory`]. One launcher at a time uses it, and the next one recovers from it.
    pub runtime: PathBuf,
    /// Directory of our control groups below the mount of each hierarchy.
    pub cgroup: PathBuf,
    /// The program, with its arguments, that calls [`crate::shim::main`].
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

impl NativeConfig {
    /// This program itself with the argument `shim`. `/proc/self/exe` stays this version of it when the file is replaced.
    pub fn new(runtime: impl Into<PathBuf>) -> Self {
        Self {
            runtime: runtime.into(),
            cgroup: PathBuf::from("stoa"),
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![OsString::from("shim")],
        }
    }
}

/// Why a native launcher cannot be started.
#[derive(Debug, Error)]
pub enum NativeError {
    #[error("cannot use the runtime directory {path:?}: {source}")]
    Runtime { path: PathBuf, source: io::Error },
    #[error("cannot start the launcher process {program:?}: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("the launcher process ended at once; its reason is on standard error")]
    Ended,
    #[error("the launcher process of an earlier agent, or a container it was starting, does not end")]
    Occupied,
    #[error("the runtime directory {0:?} is not UTF-8")]
    Path(PathBuf),
}

/// What is needed to measure a running container.
#[derive(Debug, Clone)]
struct Measured {
    shim: i32,
    cgroup: ContainerCgroup,
}

type Running = Arc<Mutex<BTreeMap<ContainerId, Measured>>>;

/// The native launcher. Must be made and used inside a Tokio runtime with IO and time. Dropping it leaves all containers running.
pub struct Native {
    features: Features,
    calls: mpsc::UnboundedSender<Call>,
    events: mpsc::UnboundedReceiver<ContainerEvent>,
    running: Running,
    probes: Arc<Semaphore>,
}

impl Native {
    /// Starts the launcher process and waits until that of an earlier agent is gone.
    ///
    /// # Errors
    /// When the runtime directory or the process cannot be made. Missing control groups or namespaces are no error, see
    /// [`Launcher::features`].
    pub async fn start(config: NativeConfig) -> Result<Self, NativeError> {
        let NativeConfig { runtime, cgroup, .. } = &config;
        location::make_private(runtime)
            .map_err(|source| NativeError::Runtime { path: runtime.clone(), source })?;
        let Detected { cgroups, cpu, memory } = cgroup::detect(cgroup);
        let setup = Setup { runtime: runtime.clone(), cgroups };
        let (link, ready) = Link::start(&config, &setup).await?;
        let features = Features {
            cpu_limits: cpu,
            memory_limits: memory,
            pid_namespace: ready.pid_namespace,
            mount_namespace: ready.mount_namespace,
            other_users: match nix::unistd::geteuid().is_root() {
                true => Support::Yes("yes".into()),
                false => Support::No("the agent does not run as root".into()),
            },
        };
        let (calls, inbox) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        let running = Running::default();
        let driver = Driver::new(config, setup, link, sender, Arc::clone(&running));
        tokio::spawn(driver.run(inbox));
        Ok(Self { features, calls, events, running, probes: Arc::new(Semaphore::new(MAX_COMMAND_PROBES)) })
    }

    fn call(&self, call: Call) {
        // The driver ends only when this value is dropped.
        let _ = self.calls.send(call);
    }
}

impl Launcher for Native {
    fn features(&self) -> &Features {
        &self.features
    }

    fn recover(&mut self, known: &[ContainerId]) {
        self.call(Call::Recover(known.to_vec()));
    }

    fn launch(&mut self, spec: ContainerSpec) {
        self.call(Call::Launch(Box::new(spec)));
    }

    fn signal(&mut self, id: &ContainerId, signal: Signal) {
        self.call(Call::Order { id: id.clone(), order: Order::Signal(signal), patience: None });
    }

    fn kill(&mut self, id: &ContainerId, grace: Duration) {
        let patience = Some(grace.saturating_add(KILL_PATIENCE));
        self.call(Call::Order { id: id.clone(), order: Order::Kill { grace }, patience });
    }

    fn update(&mut self, id: &ContainerId, limits: Limits) {
        self.call(Call::Update { id: id.clone(), limits });
    }

    fn destroy(&mut self, id: &ContainerId) {
        self.kill(id, Duration::ZERO);
    }

    fn forget(&mut self, id: &ContainerId) {
        self.call(Call::Forget(id.clone()));
    }

    fn usage(&self, id: &ContainerId) -> Option<Usage> {
        let measured = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()?;
        Some(cgroup::usage(&measured.cgroup, measured.shim))
    }

    fn runner(&self) -> Arc<dyn CommandRunner> {
        Arc::new(Runner { calls: self.calls.clone(), permits: Arc::clone(&self.probes) })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ContainerEvent> {
        match self.events.poll_recv(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // The driver is gone with its runtime; nothing will happen any more.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Runs commands in the containers of one native launcher.
struct Runner {
    calls: mpsc::UnboundedSender<Call>,
    permits: Arc<Semaphore>,
}

impl CommandRunner for Runner {
    fn run(
        &self,
        probe: CommandProbe,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ExitStatus, ProbeError>> {
        let (calls, permits) = (self.calls.clone(), Arc::clone(&self.permits));
        Box::pin(async move {
            let gone = || ProbeError::Launch("the launcher has ended".into());
            let _permit = permits.acquire_owned().await.map_err(|_| gone())?;
            let (reply, answer) = oneshot::channel();
            calls.send(Call::Probe { probe, timeout, reply }).map_err(|_| gone())?;
            // The process that runs the command watches the time itself; this is for the case that it is lost.
            match tokio::time::timeout(timeout.saturating_add(2 * KILL_PATIENCE), answer).await {
                Ok(answer) => answer.map_err(|_| gone())?,
                Err(_) => Err(ProbeError::Timeout(timeout)),
            }
        })
    }
}
