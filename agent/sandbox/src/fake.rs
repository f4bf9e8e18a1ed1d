//! A launcher without processes, for simulations and tests: deterministic, no clock, no IO.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::check::{CommandProbe, CommandRunner, ProbeError};
use crate::{
    ContainerEvent, ContainerId, ContainerSpec, Exit, ExitStatus, Features, LaunchError, Launcher, Limits,
    Lost, Signal, Step, Support, Usage,
};

/// What a fake container does by itself when it is launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Runs until something ends it.
    Runs,
    /// Runs until SIGKILL: `kill` with a grace has no effect until [`Fake::grace_over`].
    Stubborn,
    /// Runs and ends at once like this.
    Ends(ExitStatus),
    /// Is never executed.
    Fails(LaunchError),
}

#[derive(Debug)]
struct Container {
    spec: ContainerSpec,
    script: Script,
    /// SIGTERM was sent and the grace is running.
    dying: bool,
    ended: Option<ContainerEvent>,
    pid: u32,
}

/// Containers as entries of a table.
pub struct Fake {
    features: Features,
    script: Box<dyn FnMut(&ContainerSpec) -> Script + Send>,
    containers: BTreeMap<ContainerId, Container>,
    events: VecDeque<ContainerEvent>,
    waker: Option<Waker>,
    next_pid: u32,
    probe: ExitStatus,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new(|_| Script::Runs)
    }
}

impl Fake {
    /// `script` is asked at each launch.
    pub fn new(script: impl FnMut(&ContainerSpec) -> Script + Send + 'static) -> Self {
        let yes = || Support::Yes("simulated".into());
        Self {
            features: Features {
                cpu_limits: yes(),
                memory_limits: yes(),
                pid_namespace: yes(),
                mount_namespace: yes(),
                other_users: yes(),
            },
            script: Box::new(script),
            containers: BTreeMap::new(),
            events: VecDeque::new(),
            waker: None,
            next_pid: 1000,
            probe: ExitStatus::Code(0),
        }
    }

    /// What the running containers were asked to be, by id.
    pub fn running(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.containers
            .values()
            .filter(|container| container.ended.is_none())
            .map(|container| &container.spec)
    }

    /// A running container's command ends by itself.
    pub fn end(&mut self, id: &ContainerId, status: ExitStatus) {
        self.finish(id, status, false);
    }

    /// The grace of every pending `kill` passes.
    pub fn grace_over(&mut self) {
        let dying: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, c)| c.dying && c.ended.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in dying {
            self.finish(&id, ExitStatus::Signal(Signal::KILL), true);
        }
    }

    /// How commands run inside containers end from now on.
    pub fn probes_end(&mut self, status: ExitStatus) {
        self.probe = status;
    }

    /// The agent process dies and another one takes over: the containers stay, undelivered events are gone.
    pub fn restart_agent(&mut self) {
        self.events.clear();
        self.waker = None;
    }

    /// The machine is restarted: nothing runs any more and nothing is known.
    pub fn restart_machine(&mut self) {
        self.restart_agent();
        self.containers.clear();
    }

    fn finish(&mut self, id: &ContainerId, status: ExitStatus, killed: bool) {
        let Some(container) = self.containers.get_mut(id).filter(|container| container.ended.is_none())
        else {
            return;
        };
        let exit = Exit {
            status,
            killed: killed || container.dying,
            limitation: None,
            cpu: Duration::ZERO,
            max_rss_bytes: 0,
        };
        let event = ContainerEvent::Exited { id: id.clone(), exit };
        container.ended = Some(event.clone());
        self.push(event);
    }

    fn push(&mut self, event: ContainerEvent) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Launcher for Fake {
    fn features(&self) -> &Features {
        &self.features
    }

    fn recover(&mut self, known: &[ContainerId]) {
        let unknown: Vec<_> = self.containers.keys().filter(|id| !known.contains(id)).cloned().collect();
        for id in unknown {
            self.containers.remove(&id);
        }
        for id in known {
            let event = match self.containers.get(id) {
                None => ContainerEvent::Lost { id: id.clone(), why: Lost::NeverStarted },
                Some(Container { ended: Some(event), .. }) => event.clone(),
                Some(Container { pid, .. }) => {
                    ContainerEvent::Running { id: id.clone(), pid: *pid, recovered: true }
                }
            };
            self.push(event);
        }
        self.push(ContainerEvent::Recovered);
    }

    fn launch(&mut self, spec: ContainerSpec) {
        let id = spec.id.clone();
        if self.containers.contains_key(&id) {
            let message = format!("container id {id} is in use");
            return self.push(ContainerEvent::Failed {
                id,
                error: LaunchError { step: Step::Request, errno: 0, message },
            });
        }
        let script = (self.script)(&spec);
        let pid = self.next_pid;
        self.next_pid += 1;
        let mut container = Container { spec, script: script.clone(), dying: false, ended: None, pid };
        if let Script::Fails(error) = script {
            let event = ContainerEvent::Failed { id: id.clone(), error };
            container.ended = Some(event.clone());
            self.containers.insert(id, container);
            return self.push(event);
        }
        self.containers.insert(id.clone(), container);
        self.push(ContainerEvent::Running { id: id.clone(), pid, recovered: false });
        if let Script::Ends(status) = script {
            self.finish(&id, status, false);
        }
    }

    fn signal(&mut self, id: &ContainerId, signal: Signal) {
        if signal == Signal::KILL
            || self.containers.get(id).is_some_and(|container| container.script != Script::Stubborn)
        {
            self.finish(id, ExitStatus::Signal(signal), false);
        }
    }

    fn kill(&mut self, id: &ContainerId, grace: Duration) {
        let Some(container) = self.containers.get_mut(id).filter(|container| container.ended.is_none())
        else {
            return;
        };
        container.dying = true;
        if container.script != Script::Stubborn {
            self.finish(id, ExitStatus::Signal(Signal::TERM), true);
        } else if grace.is_zero() {
            self.finish(id, ExitStatus::Signal(Signal::KILL), true);
        }
    }

    fn update(&mut self, id: &ContainerId, limits: Limits) {
        if let Some(container) = self.containers.get_mut(id) {
            container.spec.limits = limits;
        }
    }

    fn destroy(&mut self, id: &ContainerId) {
        self.finish(id, ExitStatus::Signal(Signal::KILL), true);
    }

    fn forget(&mut self, id: &ContainerId) {
        if self.containers.get(id).is_some_and(|container| container.ended.is_some()) {
            self.containers.remove(id);
        }
    }

    fn usage(&self, id: &ContainerId) -> Option<Usage> {
        let container = self.containers.get(id).filter(|container| container.ended.is_none())?;
        Some(Usage {
            processes: 1,
            memory_limit_bytes: container.spec.limits.memory_bytes,
            ..Usage::default()
        })
    }

    fn runner(&self) -> Arc<dyn CommandRunner> {
        Arc::new(Answer(self.probe))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ContainerEvent> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Says the same about every command.
struct Answer(ExitStatus);

impl CommandRunner for Answer {
    fn run(&self, _: CommandProbe, _: Duration) -> BoxFuture<'static, Result<ExitStatus, ProbeError>> {
        let status = self.0;
        Box::pin(async move { Ok(status) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    fn spec(name: &str) -> ContainerSpec {
        ContainerSpec::shell(id(name), "true", "/sandbox")
    }

    fn drain(fake: &mut Fake) -> Vec<ContainerEvent> {
        let mut context = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match fake.poll(&mut context) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        })
        .collect()
    }

    #[test]
    fn a_life_has_one_beginning_and_one_end() {
        let mut fake = Fake::default();
        fake.launch(spec("a"));
        fake.kill(&id("a"), Duration::from_secs(3));
        fake.destroy(&id("a"));
        let events = drain(&mut fake);
        assert!(matches!(events[0], ContainerEvent::Running { recovered: false, .. }), "{events:?}");
        let ContainerEvent::Exited { exit, .. } = &events[1] else { panic!("{events:?}") };
        assert_eq!((exit.status, exit.killed), (ExitStatus::Signal(Signal::TERM), true));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_stubborn_one_waits_for_the_grace() {
        let mut fake = Fake::new(|_| Script::Stubborn);
        fake.launch(spec("a"));
        fake.kill(&id("a"), Duration::from_secs(3));
        assert_eq!(drain(&mut fake).len(), 1);
        fake.grace_over();
        let events = drain(&mut fake);
        let [ContainerEvent::Exited { exit, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(exit.status, ExitStatus::Signal(Signal::KILL));
    }

    #[test]
    fn recovery_repeats_ends_until_they_are_forgotten() {
        let mut fake = Fake::new(|spec| {
            if spec.id.as_str() == "short" { Script::Ends(ExitStatus::Code(3)) } else { Script::Runs }
        });
        for name in ["short", "long", "orphan"] {
            fake.launch(spec(name));
        }
        fake.restart_agent();
        fake.recover(&[id("short"), id("long"), id("never")]);
        let events = drain(&mut fake);
        assert!(
            matches!(&events[0], ContainerEvent::Exited { exit, .. } if exit.status == ExitStatus::Code(3))
        );
        assert!(matches!(&events[1], ContainerEvent::Running { recovered: true, .. }));
        assert!(matches!(&events[2], ContainerEvent::Lost { why: Lost::NeverStarted, .. }));
        assert_eq!(events[3..], [ContainerEvent::Recovered]);
        assert_eq!(fake.running().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ["long"]);
        fake.forget(&id("short"));
        fake.recover(&[id("short")]);
        assert!(matches!(drain(&mut fake)[0], ContainerEvent::Lost { .. }));
    }
}
