//! The task that knows the containers of a native launcher.

mod orders;
mod records;
mod recovery;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::link::Link;
use super::{NativeConfig, Running};
use crate::check::{CommandProbe, ProbeError};
use crate::limits::MAX_CONTAINERS;
use crate::shim::Order;
use crate::shim::protocol::{Report, Request, Setup};
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
            Note::ShimEnded(id) => {
                // Nobody watches it any more; should it live after all, it is watched anew.
                if matches!(self.phase(&id), Some(Phase::Running(_))) {
                    self.set(&id, Phase::Adopting);
                }
                self.look(&id);
            }
            Note::LookAgain(id) => self.look(&id),
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
}
