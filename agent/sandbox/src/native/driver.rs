//! The task that knows the containers of a native launcher.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::link::Link;
use super::{Measured, NativeConfig, Running};
use crate::check::{CommandProbe, ProbeError};
use crate::limits::{KILL_PATIENCE, MAX_CONTAINERS};
use crate::shim::Order;
use crate::shim::protocol::{ProbeResult, Report, Request, Setup};
use crate::shim::record::{self, Record, Summary};
use crate::{ContainerEvent, ContainerId, ContainerSpec, ExitStatus, LaunchError, Limits, Lost, Step};

/// Pauses between looks at a container whose shim is still starting and cannot tell us.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Pause before a launcher process that cannot be started is tried again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the launcher's methods ask.
pub(super) enum Call {
    Recover(Vec<ContainerId>),
    Launch(Box<ContainerSpec>),
    /// After `patience` a container that is still there is killed from outside.
    Order {
        id: ContainerId,
        order: Order,
        patience: Option<Duration>,
    },
    Update {
        id: ContainerId,
        limits: Limits,
    },
    Forget(ContainerId),
    Probe {
        probe: CommandProbe,
        timeout: Duration,
        reply: oneshot::Sender<Result<ExitStatus, ProbeError>>,
    },
}

/// What the tasks that wait for something say.
enum Note {
    /// The shim process is gone.
    ShimEnded(ContainerId),
    /// The patience with a kill is over.
    OutOfPatience(ContainerId),
    /// A shim that was starting has come further.
    LookAgain(ContainerId),
    /// Whatever was left of a container without shim has been killed.
    Cleaned(ContainerId),
}

#[derive(Debug)]
enum Phase {
    /// Requested; the request is kept in case the launcher process dies.
    Launching(Bytes),
    /// Its shim is starting, but its report goes to an earlier agent or launcher process.
    Adopting,
    Running(Arc<OwnedFd>),
    /// Its shim died; the rest is being killed.
    Cleaning,
    Ended,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    /// Found by recovery.
    recovered: bool,
    /// `Running` has been said.
    told: bool,
    /// Nobody wants to hear of it.
    orphan: bool,
    /// Given while it could not take orders.
    orders: Vec<Order>,
    limits: Option<Limits>,
}

impl Entry {
    fn new(phase: Phase) -> Self {
        Self { phase, recovered: false, told: false, orphan: false, orders: Vec::new(), limits: None }
    }
}

pub(super) struct Driver {
    config: NativeConfig,
    setup: Setup,
    link: Link,
    events: mpsc::UnboundedSender<ContainerEvent>,
    notes: mpsc::UnboundedSender<Note>,
    note_inbox: mpsc::UnboundedReceiver<Note>,
    containers: BTreeMap<ContainerId, Entry>,
    running: Running,
    /// Known containers whose recovery is not finished; `None` when no recovery is going on.
    recovering: Option<BTreeSet<ContainerId>>,
    probes: BTreeMap<u64, (Duration, oneshot::Sender<Result<ExitStatus, ProbeError>>)>,
    next_probe: u64,
}

impl Driver {
    pub(super) fn new(
        config: NativeConfig,
        setup: Setup,
        link: Link,
        events: mpsc::UnboundedSender<ContainerEvent>,
        running: Running,
    ) -> Self {
        let (notes, note_inbox) = mpsc::unbounded_channel();
        Self {
            config,
            setup,
            link,
            events,
            notes,
            note_inbox,
            containers: BTreeMap::new(),
            running,
            recovering: None,
            probes: BTreeMap::new(),
            next_probe: u64::from(std::process::id()) << 32,
        }
    }

    /// Until the launcher value is dropped.
    pub(super) async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        loop {
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => self.call(call),
                    None => return,
                },
                report = self.link.next() => match report {
                    Some(report) => self.report(report),
                    None => self.restart().await,
                },
                Some(note) = self.note_inbox.recv() => self.note(note),
            }
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Recover(known) => self.recover(known),
            Call::Launch(spec) => self.launch(*spec),
            Call::Order { id, order, patience } => self.order(&id, order, patience),
            Call::Update { id, limits } => self.update(&id, limits),
            Call::Forget(id) => self.forget(&id),
            Call::Probe { probe, timeout, reply } => self.probe(probe, timeout, reply),
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Started { id, pid } => self.started(&id, pid),
            Report::Failed { id, error } => self.failed(&id, error),
            Report::Ended { id } => {
                if self.phase(&id).is_some_and(|phase| matches!(phase, Phase::Launching(_))) {
                    self.look(&id);
                }
            }
            Report::Probed { serial, result } => self.probed(serial, result),
            Report::Ready { .. } => {}
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::ShimEnded(id) | Note::LookAgain(id) => self.look(&id),
            Note::OutOfPatience(id) => self.kill_holder(&id),
            Note::Cleaned(id) => {
                self.end(&id, ContainerEvent::Lost { id: id.clone(), why: Lost::HolderDied })
            }
        }
    }

    fn phase(&self, id: &ContainerId) -> Option<&Phase> {
        self.containers.get(id).map(|entry| &entry.phase)
    }

    fn tell(&self, id: &ContainerId, event: ContainerEvent) {
        if self.containers.get(id).is_none_or(|entry| !entry.orphan) {
            // The other end is dropped only together with the calls.
            let _ = self.events.send(event);
        }
    }

    // ---- launching

    fn launch(&mut self, spec: ContainerSpec) {
        let id = spec.id.clone();
        let refusal = if self.containers.contains_key(&id) {
            Some(format!("container id {id} is in use"))
        } else if self.containers.len() >= MAX_CONTAINERS {
            Some(format!("this machine already has {MAX_CONTAINERS} containers, the limit"))
        } else {
            match Request::Launch(spec).encode() {
                Ok(request) => {
                    let request = Bytes::from(request);
                    self.containers.insert(id.clone(), Entry::new(Phase::Launching(request.clone())));
                    self.link.send(request);
                    None
                }
                Err(reason) => Some(format!("container {id} cannot be requested: {reason}")),
            }
        };
        if let Some(message) = refusal {
            let error = LaunchError { step: Step::Request, errno: 0, message };
            let _ = self.events.send(ContainerEvent::Failed { id, error });
        }
    }

    fn started(&mut self, id: &ContainerId, pid: u32) {
        if !matches!(self.phase(id), Some(Phase::Launching(_))) {
            return;
        }
        self.announce(id, pid);
        self.set(id, Phase::Adopting);
        self.take_hold(id);
    }

    fn announce(&mut self, id: &ContainerId, pid: u32) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        let recovered = entry.recovered;
        if !std::mem::replace(&mut entry.told, true) {
            self.tell(id, ContainerEvent::Running { id: id.clone(), pid, recovered });
        }
    }

    fn failed(&mut self, id: &ContainerId, error: LaunchError) {
        if matches!(self.phase(id), Some(Phase::Launching(_))) {
            self.end(id, ContainerEvent::Failed { id: id.clone(), error });
        }
    }

    fn set(&mut self, id: &ContainerId, phase: Phase) {
        if let Some(entry) = self.containers.get_mut(id) {
            entry.phase = phase;
        }
    }

    // ---- looking at records

    /// Something happened to a container's shim, or may have.
    fn look(&mut self, id: &ContainerId) {
        if self.phase(id).is_some_and(|phase| !matches!(phase, Phase::Ended | Phase::Cleaning)) {
            self.take_hold(id);
        }
    }

    /// Brings the entry up to what the record and its lock say.
    fn take_hold(&mut self, id: &ContainerId) {
        let seen = Record::open(&self.setup.runtime, id).and_then(|record| {
            let Some(record) = record else { return Ok(None) };
            // In this order: what an ended shim wrote is complete.
            let holder = record.holder()?;
            Ok(Some((holder, record.summary()?)))
        });
        match seen {
            Ok(None) => self.end_unrecorded(id),
            Ok(Some((None, summary))) => self.end_recorded(id, summary),
            Ok(Some((Some((shim, fd)), summary))) => match summary.started {
                Some(pid) => {
                    self.announce(id, pid);
                    self.watch(id, shim, fd, &summary);
                }
                None => self.look_later(id),
            },
            Err(error) => {
                tracing::error!(container = %id, %error, "cannot look at the container; trying again");
                self.look_later(id);
            }
        }
    }

    fn look_later(&mut self, id: &ContainerId) {
        self.set(id, Phase::Adopting);
        let (notes, id, runtime) = (self.notes.clone(), id.clone(), self.setup.runtime.clone());
        tokio::spawn(async move {
            let (mut pause, longest) = LOOK_AGAIN;
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
                let Ok(Some(record)) = Record::open(&runtime, &id) else { break };
                let starting = matches!(record.holder(), Ok(Some(_)))
                    && matches!(record.summary(), Ok(Summary { started: None, .. }));
                if !starting {
                    break;
                }
            }
            let _ = notes.send(Note::LookAgain(id));
        });
    }

    fn watch(&mut self, id: &ContainerId, shim: i32, fd: OwnedFd, summary: &Summary) {
        let fd = Arc::new(fd);
        let Some(entry) = self.containers.get_mut(id) else { return };
        if matches!(entry.phase, Phase::Running(_)) {
            // Looked at for another reason; it is being watched.
            return;
        }
        entry.phase = Phase::Running(Arc::clone(&fd));
        let (orders, limits) = (std::mem::take(&mut entry.orders), entry.limits.take());
        let measured = Measured { shim, cgroup: summary.about.cgroup.clone() };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), measured);
        for order in orders {
            send(id, order, &fd);
        }
        if let Some(limits) = limits {
            self.update(id, limits);
        }
        let (notes, id) = (self.notes.clone(), id.clone());
        self.recovery_step(&id);
        tokio::spawn(async move {
            // SAFETY: the descriptor is owned by the `Arc` and never replaced, so it stays the same open file while registered.
            match unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) } {
                Ok(fd) => drop(fd.readable().await),
                // Out of descriptors for the poller, say: look from time to time instead.
                Err(error) => {
                    tracing::error!(container = %id, %error, "cannot watch the container's process");
                    sleep(KILL_PATIENCE).await;
                }
            }
            let _ = notes.send(Note::ShimEnded(id));
        });
    }

    // ---- ends

    /// There is no record: the shim did not come so far as to make one.
    fn end_unrecorded(&mut self, id: &ContainerId) {
        let recovered = self.containers.get(id).is_some_and(|entry| entry.recovered);
        let event = if recovered {
            ContainerEvent::Lost { id: id.clone(), why: Lost::NeverStarted }
        } else {
            let message = format!("the process starting container {id} was killed");
            ContainerEvent::Failed {
                id: id.clone(),
                error: LaunchError { step: Step::Fork, errno: 0, message },
            }
        };
        self.end(id, event);
    }

    /// The shim is gone; its record says the rest.
    fn end_recorded(&mut self, id: &ContainerId, summary: Summary) {
        if let Some(exit) = summary.exited {
            self.end(id, ContainerEvent::Exited { id: id.clone(), exit });
        } else if let Some(error) = summary.failed {
            self.end(id, ContainerEvent::Failed { id: id.clone(), error });
        } else {
            self.set(id, Phase::Cleaning);
            let (notes, id) = (self.notes.clone(), id.clone());
            tokio::task::spawn_blocking(move || {
                let group = summary.about.cgroup;
                if !group.kill(KILL_PATIENCE) {
                    tracing::error!(container = %id, "processes of a lost container cannot be killed");
                }
                let _ = group.remove();
                let _ = notes.send(Note::Cleaned(id));
            });
        }
    }

    fn end(&mut self, id: &ContainerId, event: ContainerEvent) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.set(id, Phase::Ended);
        self.tell(id, event);
        self.recovery_step(id);
        if self.containers.get(id).is_some_and(|entry| entry.orphan) {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: &ContainerId) {
        if !matches!(self.phase(id), Some(Phase::Ended)) {
            return;
        }
        self.containers.remove(id);
        // The shim has usually removed the group; then this costs one failing call.
        if let Err(error) = self.setup.cgroups.container(id).remove() {
            tracing::warn!(container = %id, %error, "the control group of an ended container cannot be removed");
        }
        match std::fs::remove_file(record::path(&self.setup.runtime, id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(container = %id, %error, "the record of an ended container cannot be removed");
            }
            _ => {}
        }
    }

    // ---- orders

    fn order(&mut self, id: &ContainerId, order: Order, patience: Option<Duration>) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        match &entry.phase {
            Phase::Running(fd) => send(id, order, fd),
            Phase::Launching(_) | Phase::Adopting => entry.orders.push(order),
            Phase::Cleaning | Phase::Ended => return,
        }
        if let Some(patience) = patience {
            let (notes, id) = (self.notes.clone(), id.clone());
            tokio::spawn(async move {
                sleep(patience).await;
                let _ = notes.send(Note::OutOfPatience(id));
            });
        }
    }

    /// A shim that did not end its container in time (stopped, or never asked again by the kernel) goes itself; in a PID namespace
    /// all the rest goes with it.
    fn kill_holder(&mut self, id: &ContainerId) {
        if let Some(Phase::Running(fd)) = self.phase(id) {
            tracing::warn!(container = %id, "the container does not end in time; killing the process that holds it");
            let result = rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL);
            if let Err(error) = result {
                tracing::error!(container = %id, %error, "cannot kill the process that holds the container");
            }
        }
    }

    fn update(&mut self, id: &ContainerId, limits: Limits) {
        let Some(entry) = self.containers.get_mut(id) else { return };
        let measured = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match measured {
            Some(measured) => {
                if let Err(error) = measured.cgroup.limit(&limits) {
                    tracing::warn!(container = %id, %error, "cannot change the limits of the container");
                }
            }
            None => entry.limits = Some(limits),
        }
    }

    // ---- recovery

    fn recover(&mut self, known: Vec<ContainerId>) {
        let found = record::list(&self.setup.runtime).unwrap_or_else(|error| {
            tracing::error!(%error, runtime = %self.setup.runtime.display(), "cannot list the records of containers");
            Vec::new()
        });
        let known: BTreeSet<ContainerId> = known.into_iter().collect();
        self.recovering =
            Some(known.iter().filter(|id| !self.containers.contains_key(id)).cloned().collect());
        for id in &known {
            if !self.containers.contains_key(id) {
                self.containers.insert(id.clone(), Entry { recovered: true, ..Entry::new(Phase::Adopting) });
                self.take_hold(id);
            }
        }
        for id in found {
            if !self.containers.contains_key(&id) {
                tracing::warn!(container = %id, "destroying a container that the agent does not know");
                self.containers.insert(id.clone(), Entry { orphan: true, ..Entry::new(Phase::Adopting) });
                self.order(&id, Order::Kill { grace: Duration::ZERO }, Some(KILL_PATIENCE));
                self.take_hold(&id);
            }
        }
        self.recovery_done();
    }

    /// A known container has had its first event.
    fn recovery_step(&mut self, id: &ContainerId) {
        if let Some(waiting) = &mut self.recovering
            && waiting.remove(id)
        {
            self.recovery_done();
        }
    }

    fn recovery_done(&mut self) {
        if self.recovering.as_ref().is_some_and(BTreeSet::is_empty) {
            self.recovering = None;
            let _ = self.events.send(ContainerEvent::Recovered);
        }
    }

    /// The launcher process has died: starts another one, and finds out how far the launches in flight had come.
    async fn restart(&mut self) {
        tracing::error!("the launcher process died; starting another one");
        for (_, (_, reply)) in std::mem::take(&mut self.probes) {
            let _ = reply.send(Err(ProbeError::Launch("the launcher process died".into())));
        }
        loop {
            match Link::start(&self.config, &self.setup).await {
                Ok((link, _)) => {
                    self.link = link;
                    break;
                }
                Err(error) => tracing::error!(%error, "no launcher process; trying again"),
            }
            sleep(RESTART_PAUSE).await;
        }
        let launching: Vec<(ContainerId, Bytes)> = self
            .containers
            .iter()
            .filter_map(|(id, entry)| match &entry.phase {
                Phase::Launching(request) => Some((id.clone(), request.clone())),
                _ => None,
            })
            .collect();
        for (id, request) in launching {
            // The new process has waited until every shim of the old one had made its record; so where there is none, there is no shim.
            match Record::open(&self.setup.runtime, &id) {
                Ok(None) => self.link.send(request),
                _ => self.look(&id),
            }
        }
    }

    // ---- probes

    fn probe(
        &mut self,
        probe: CommandProbe,
        timeout: Duration,
        reply: oneshot::Sender<Result<ExitStatus, ProbeError>>,
    ) {
        let serial = self.next_probe;
        self.next_probe += 1;
        let timeout_millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        match (Request::Probe { serial, probe, timeout_millis }).encode() {
            Ok(request) => {
                self.probes.insert(serial, (timeout, reply));
                self.link.send(request.into());
            }
            Err(reason) => drop(reply.send(Err(ProbeError::Launch(reason)))),
        }
    }

    fn probed(&mut self, serial: u64, result: ProbeResult) {
        if let Some((timeout, reply)) = self.probes.remove(&serial) {
            let _ = reply.send(match result {
                ProbeResult::Ended(status) => Ok(status),
                ProbeResult::TimedOut => Err(ProbeError::Timeout(timeout)),
                ProbeResult::Failed(reason) => Err(ProbeError::Launch(reason)),
            });
        }
    }
}

fn send(id: &ContainerId, order: Order, shim: &OwnedFd) {
    use std::os::fd::AsFd;
    match order.send(shim.as_fd()) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            tracing::error!(container = %id, ?order, %error, "cannot give an order to the container");
        }
        // Sent, or there is nobody any more, which is told by its own event.
        _ => {}
    }
}
