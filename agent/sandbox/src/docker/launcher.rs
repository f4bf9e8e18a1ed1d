//! A launcher that leaves to Docker what asks for an image, and everything else to the launcher below it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use super::client::{self, Inspected, docker};
use super::create;
use super::runner::Runner;
use super::spec::DockerSpec;
use crate::cgroup;
use crate::check::CommandRunner;
use crate::directory;
use crate::limits::{DOCKER_LOOK, DOCKER_PATIENCE};
use crate::{
    Command, ContainerEvent, ContainerId, ContainerSpec, Exit, Features, LaunchError, Launcher, Limitation,
    Limits, Signal, Step, Usage,
};

/// What becomes known of containers without being asked of the launcher below.
enum News {
    /// Docker has made it; it is to be started so.
    Made(ContainerSpec),
    /// Docker refuses to make it.
    Refused(ContainerId, LaunchError),
    /// Its program is executing, as this process.
    Began(ContainerId, Inspected),
    /// It was to end long ago.
    Overdue(ContainerId),
    /// It is removed; this is what is told of its end.
    Ended(ContainerEvent),
    /// These are ours, from an earlier agent process.
    Found(Vec<ContainerId>, Vec<ContainerId>),
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Docker is making it.
    Making,
    /// `docker start` was asked for; its program is not seen yet.
    Starting,
    /// It runs, as this process where that is known.
    Running { pid: Option<u32> },
    /// It is being removed.
    Ending,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    phase: Phase,
    /// Where it has an address of its own.
    address: Option<IpAddr>,
    /// Its end was asked for, with this grace.
    kill: Option<Duration>,
}

impl Held {
    fn learn(&mut self, seen: &Inspected) {
        self.phase = Phase::Running { pid: Some(seen.pid) };
        self.address = seen.address.parse().ok();
    }

    fn new(phase: Phase) -> Self {
        Self { phase, address: None, kill: None }
    }
}

type Containers = Arc<Mutex<BTreeMap<ContainerId, Held>>>;

/// See the [module](super). Must be used inside a Tokio runtime with IO and time.
pub struct Docker {
    below: Box<dyn Launcher>,
    /// Names the agent, on each container it makes: another agent of this machine leaves them alone.
    owner: String,
    containers: Containers,
    tell: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
    /// The launcher below has found everything, but what ended meanwhile is still being removed.
    recovered: bool,
}

impl Docker {
    /// Docker's containers of the agent `owner`, started through the launcher `below`.
    pub fn new(below: Box<dyn Launcher>, owner: String) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        Self { below, owner, containers: Arc::default(), tell, news, recovered: false }
    }

    fn phase(&self, id: &ContainerId) -> Option<Phase> {
        self.lock().get(id).map(|held| held.phase)
    }

    /// Notes that the end of a container was asked for; how far it is, if it is Docker's.
    fn condemn(&self, id: &ContainerId, grace: Duration) -> Option<Phase> {
        let mut containers = self.lock();
        let held = containers.get_mut(id)?;
        held.kill = Some(held.kill.map_or(grace, |earlier| earlier.min(grace)));
        Some(held.phase)
    }

    fn set(&self, id: &ContainerId, phase: Phase) {
        if let Some(held) = self.lock().get_mut(id) {
            held.phase = phase;
        }
    }

    /// Notes what is known of a container that runs. With what grace it is to end, if that was asked for before.
    fn learn(&self, id: &ContainerId, seen: &Inspected) -> Option<Duration> {
        let mut containers = self.lock();
        let held = containers.get_mut(id)?;
        held.learn(seen);
        held.kill
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, Held>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows from news; perhaps something to tell.
    fn take(&mut self, news: News) -> Option<ContainerEvent> {
        match news {
            News::Made(spec) => {
                if self.phase(&spec.id) == Some(Phase::Making) {
                    self.set(&spec.id, Phase::Starting);
                    self.below.launch(spec);
                }
                None
            }
            News::Overdue(id) => {
                if self.phase(&id).is_some() {
                    // Docker does not end it. What it leaves behind is removed when it comes to itself.
                    self.below.destroy(&id);
                }
                None
            }
            News::Refused(id, error) => {
                self.lock().remove(&id);
                Some(ContainerEvent::Failed { id, error })
            }
            News::Began(id, seen) => {
                if self.phase(&id) != Some(Phase::Starting) {
                    return None;
                }
                let pid = seen.pid;
                if let Some(grace) = self.learn(&id, &seen) {
                    self.kill(&id, grace);
                }
                Some(ContainerEvent::Running { id, pid, recovered: false })
            }
            News::Ended(event) => {
                self.lock().remove(subject(&event)?);
                Some(event)
            }
            News::Found(ours, known) => {
                for id in ours {
                    self.lock().insert(id, Held::new(Phase::Running { pid: None }));
                }
                self.below.recover(&known);
                None
            }
        }
    }

    /// What the launcher below tells, if it may be passed on now.
    fn pass(&mut self, event: ContainerEvent) -> Option<ContainerEvent> {
        let Some(id) = subject(&event) else {
            self.recovered = true;
            return None;
        };
        let Some(held) = self.lock().get(id).copied() else { return Some(event) };
        match &event {
            ContainerEvent::Running { recovered: false, .. } => {
                tokio::spawn(watch_start(id.clone(), Arc::clone(&self.containers), self.tell.clone()));
                None
            }
            ContainerEvent::Running { .. } => {
                tokio::spawn(find(id.clone(), Arc::clone(&self.containers)));
                Some(event)
            }
            ContainerEvent::Exited { .. } | ContainerEvent::Failed { .. } | ContainerEvent::Lost { .. } => {
                self.set(id, Phase::Ending);
                tokio::spawn(end(event, held.kill.is_some(), self.tell.clone()));
                None
            }
            ContainerEvent::Recovered => None,
        }
    }
}

/// Whom an event is about.
fn subject(event: &ContainerEvent) -> Option<&ContainerId> {
    match event {
        ContainerEvent::Running { id, .. }
        | ContainerEvent::Failed { id, .. }
        | ContainerEvent::Exited { id, .. }
        | ContainerEvent::Lost { id, .. } => Some(id),
        ContainerEvent::Recovered => None,
    }
}

/// Has Docker make the container.
async fn make(spec: ContainerSpec, asked: DockerSpec, owner: String, tell: mpsc::UnboundedSender<News>) {
    let refuse = |step, message| LaunchError { step, errno: 0, message };
    let sandbox = directory::prepare(&spec.sandbox, spec.user.as_deref());
    let made = match sandbox {
        Ok(()) => docker(&create::arguments(&spec, &asked, &owner), DOCKER_PATIENCE)
            .await
            .map_err(|error| refuse(Step::Request, format!("Docker cannot make the container: {error}"))),
        Err(error) => Err(refuse(Step::Sandbox, error.to_string())),
    };
    let news = match made {
        Ok(_) => News::Made(start(spec)),
        Err(error) => {
            // It may exist all the same, if Docker was only slow to say so.
            let _ = client::remove(&create::name(&spec.id)).await;
            News::Refused(spec.id, error)
        }
    };
    // The launcher may be gone; the next one finds what is left.
    let _ = tell.send(news);
}

/// The process that starts the container and stays as long as it runs. Docker keeps to the limits; this process is ours.
fn start(spec: ContainerSpec) -> ContainerSpec {
    let name = create::name(&spec.id);
    let inherited = ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"];
    let environment =
        inherited.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect();
    let arguments = ["docker", "start", "--attach", &name].map(str::to_owned).to_vec();
    ContainerSpec {
        command: Command::Argv { program: "docker".to_owned(), arguments },
        environment,
        user: None,
        limits: Limits::default(),
        docker: None,
        ..ContainerSpec::shell(spec.id, "", spec.sandbox)
    }
}

/// Tells when the program of a container executes, unless it ends before.
async fn watch_start(id: ContainerId, containers: Containers, tell: mpsc::UnboundedSender<News>) {
    let name = create::name(&id);
    let starting = || {
        let held = containers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        held.is_some_and(|held| held.phase == Phase::Starting)
    };
    while starting() {
        match client::inspect(&name).await {
            Ok(seen) if seen.began => {
                // The launcher may be gone; the next one finds it running.
                let _ = tell.send(News::Began(id, seen));
                return;
            }
            _ => tokio::time::sleep(DOCKER_LOOK).await,
        }
    }
}

/// Finds the process of a container that an earlier agent has started, so that it can be measured.
async fn find(id: ContainerId, containers: Containers) {
    let Ok(seen) = client::inspect(&create::name(&id)).await else { return };
    if let Some(held) = containers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&id)
        && held.phase == (Phase::Running { pid: None })
    {
        held.learn(&seen);
    }
}

/// Has Docker end a container. The process that holds it is not signalled: some versions of `docker start` end on a
/// signal before the container does.
async fn stop(id: ContainerId, grace: Duration, tell: mpsc::UnboundedSender<News>) {
    let patience = grace.saturating_add(DOCKER_PATIENCE);
    let overdue = tokio::time::Instant::now() + patience;
    if let Err(error) = client::stop(&create::name(&id), grace, patience).await {
        tracing::warn!(container = %id, %error, "Docker does not end a container");
    }
    tokio::time::sleep_until(overdue).await;
    let _ = tell.send(News::Overdue(id));
}

/// Removes the container whose starting process has ended, and tells of its end.
async fn end(event: ContainerEvent, killed: bool, tell: mpsc::UnboundedSender<News>) {
    let Some(id) = subject(&event).cloned() else { return };
    let name = create::name(&id);
    let seen = client::inspect(&name).await.ok();
    // A daemon that hangs or is away does not remove it; what is known of the end is told all the same, and the next
    // start of the agent removes what is left.
    if let Err(error) = client::remove(&name).await {
        tracing::warn!(container = name, %error, "Docker does not remove a container");
    }
    let event = match (event, seen) {
        (ContainerEvent::Exited { .. }, Some(seen)) if !seen.began && !killed => {
            let why = if seen.error.is_empty() { "it does not say why" } else { &seen.error };
            let message = format!("Docker cannot start the container: {why}");
            ContainerEvent::Failed { id, error: LaunchError { step: Step::Execute, errno: 0, message } }
        }
        (ContainerEvent::Exited { exit, .. }, Some(seen)) if seen.out_of_memory => {
            let limitation = Some(Limitation::Memory { limit_bytes: seen.memory_limit });
            ContainerEvent::Exited { id, exit: Exit { limitation, killed, ..exit } }
        }
        (ContainerEvent::Exited { exit, .. }, _) => {
            ContainerEvent::Exited { id, exit: Exit { killed: killed || exit.killed, ..exit } }
        }
        (event, _) => event,
    };
    // As in `make`.
    let _ = tell.send(News::Ended(event));
}

/// Finds the containers of an earlier process of this agent, and removes those that nobody knows any more.
async fn recover(owner: String, known: Vec<ContainerId>, tell: mpsc::UnboundedSender<News>) {
    // Where there is no Docker there is nothing of its to find.
    let found = client::list(&owner).await.unwrap_or_default();
    let (ours, strays): (Vec<ContainerId>, Vec<ContainerId>) =
        found.into_iter().partition(|id| known.contains(id));
    for stray in strays {
        if let Err(error) = client::remove(&create::name(&stray)).await {
            tracing::warn!(container = %stray, %error, "Docker does not remove a container nobody knows");
        }
    }
    let _ = tell.send(News::Found(ours, known));
}

impl Launcher for Docker {
    fn features(&self) -> &Features {
        self.below.features()
    }

    fn recover(&mut self, known: &[ContainerId]) {
        tokio::spawn(recover(self.owner.clone(), known.to_vec(), self.tell.clone()));
    }

    fn launch(&mut self, mut spec: ContainerSpec) {
        let Some(asked) = spec.docker.take() else { return self.below.launch(spec) };
        self.lock().insert(spec.id.clone(), Held::new(Phase::Making));
        tokio::spawn(make(spec, *asked, self.owner.clone(), self.tell.clone()));
    }

    fn signal(&mut self, id: &ContainerId, signal: Signal) {
        self.below.signal(id, signal);
    }

    fn kill(&mut self, id: &ContainerId, grace: Duration) {
        match self.condemn(id, grace) {
            None => self.below.kill(id, grace),
            // Docker does not end what it has not begun.
            Some(Phase::Making | Phase::Starting | Phase::Ending) => {}
            Some(Phase::Running { .. }) => {
                tokio::spawn(stop(id.clone(), grace, self.tell.clone()));
            }
        }
    }

    fn update(&mut self, id: &ContainerId, limits: Limits) {
        if self.phase(id).is_none() {
            return self.below.update(id, limits);
        }
        let mut words = vec!["update".to_owned()];
        words.extend(create::limits(&limits));
        words.push(create::name(id));
        tokio::spawn(async move {
            if let Err(error) = docker(&words, DOCKER_PATIENCE).await {
                tracing::warn!(%error, "Docker does not change the limits of a container");
            }
        });
    }

    fn destroy(&mut self, id: &ContainerId) {
        self.kill(id, Duration::ZERO);
    }

    fn forget(&mut self, id: &ContainerId) {
        self.below.forget(id);
    }

    fn usage(&self, id: &ContainerId) -> Option<Usage> {
        match self.phase(id) {
            None => self.below.usage(id),
            Some(Phase::Running { pid: Some(pid) }) => {
                let pid = i32::try_from(pid).ok()?;
                Some(cgroup::usage(&cgroup::of_process(pid), pid))
            }
            Some(_) => None,
        }
    }

    fn address(&self, id: &ContainerId) -> Option<IpAddr> {
        self.lock().get(id)?.address
    }

    fn runner(&self) -> Arc<dyn CommandRunner> {
        let containers = Arc::clone(&self.containers);
        let ours = move |id: &ContainerId| {
            containers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
        };
        Arc::new(Runner::new(self.below.runner(), ours))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ContainerEvent> {
        while let Poll::Ready(Some(news)) = self.news.poll_recv(cx) {
            if let Some(event) = self.take(news) {
                return Poll::Ready(event);
            }
        }
        while let Poll::Ready(event) = self.below.poll(cx) {
            if let Some(event) = self.pass(event) {
                return Poll::Ready(event);
            }
        }
        let ending = self.lock().values().any(|held| held.phase == Phase::Ending);
        if self.recovered && !ending {
            self.recovered = false;
            return Poll::Ready(ContainerEvent::Recovered);
        }
        Poll::Pending
    }
}
