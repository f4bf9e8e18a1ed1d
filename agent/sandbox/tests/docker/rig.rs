//! A launcher in a directory of its own, and questions to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::docker::Docker;
use sandbox::native::{Native, NativeConfig};
use sandbox::{ContainerEvent, ContainerId, ContainerSpec, Exit, LaunchError, Launcher};

use crate::daemon::unique;

/// Docker may take its time on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Rig {
    pub(crate) launcher: Box<dyn Launcher>,
    home: tempfile::TempDir,
    cgroup: Group,
    /// Events of other containers than the one being waited for.
    others: Vec<ContainerEvent>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let cgroup = Group(PathBuf::from(unique("stoa-docker-test")));
        let launcher = launcher(&home, &cgroup.0).await;
        let mut rig = Self { launcher, home, cgroup, others: Vec::new() };
        assert_eq!(rig.recover(&[]).await, []);
        rig
    }

    /// The agent ends, and another begins.
    pub(crate) async fn again(self) -> Self {
        let Self { launcher: old, home, cgroup, .. } = self;
        drop(old);
        let launcher = launcher(&home, &cgroup.0).await;
        Self { launcher, home, cgroup, others: Vec::new() }
    }

    pub(crate) async fn recover(&mut self, known: &[ContainerId]) -> Vec<ContainerEvent> {
        self.launcher.recover(known);
        let mut events = Vec::new();
        loop {
            match self.next().await {
                ContainerEvent::Recovered => return events,
                event => events.push(event),
            }
        }
    }

    async fn next(&mut self) -> ContainerEvent {
        tokio::time::timeout(PATIENCE, self.launcher.next()).await.expect("an event")
    }

    /// A shell command in a container of the test's image.
    pub(crate) fn shell(&self, command: &str) -> ContainerSpec {
        let id = ContainerId::new(unique("c")).unwrap();
        let sandbox = self.home.path().join("sandboxes").join(id.as_str());
        crate::shell(ContainerSpec::shell(id, "", sandbox), command)
    }

    async fn event(&mut self, id: &ContainerId) -> ContainerEvent {
        if let Some(at) = self.others.iter().position(|event| is_about(event, id)) {
            return self.others.remove(at);
        }
        loop {
            let event = self.next().await;
            if is_about(&event, id) {
                return event;
            }
            self.others.push(event);
        }
    }

    /// Launches and waits until it runs; gives its process.
    pub(crate) async fn run(&mut self, spec: &ContainerSpec) -> u32 {
        self.launcher.launch(spec.clone());
        match self.event(&spec.id).await {
            ContainerEvent::Running { pid, recovered: false, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    /// How it ended, whether or not it was seen to run.
    pub(crate) async fn last(&mut self, id: &ContainerId) -> ContainerEvent {
        loop {
            match self.event(id).await {
                ContainerEvent::Running { .. } => {}
                event => return event,
            }
        }
    }

    pub(crate) async fn exit(&mut self, id: &ContainerId) -> Exit {
        match self.last(id).await {
            ContainerEvent::Exited { exit, .. } => exit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn finish(&mut self, spec: &ContainerSpec) -> Exit {
        self.launcher.launch(spec.clone());
        self.exit(&spec.id).await
    }

    /// Launches what cannot be launched.
    pub(crate) async fn fail(&mut self, spec: &ContainerSpec) -> LaunchError {
        self.launcher.launch(spec.clone());
        match self.last(&spec.id).await {
            ContainerEvent::Failed { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn end(&mut self, spec: &ContainerSpec) {
        self.launcher.destroy(&spec.id);
        assert!(self.exit(&spec.id).await.killed);
    }

    pub(crate) fn text(&self, spec: &ContainerSpec, name: &str) -> String {
        fs::read_to_string(spec.sandbox.join(name)).unwrap()
    }
}

async fn launcher(home: &tempfile::TempDir, cgroup: &Path) -> Box<dyn Launcher> {
    let mut config = NativeConfig::new(home.path().join("runtime"));
    config.cgroup = cgroup.to_owned();
    config.program = env!("CARGO_BIN_EXE_spawn-rate").into();
    let native = Native::start(config).await.unwrap();
    Box::new(Docker::new(Box::new(native), home.path().display().to_string()))
}

/// The directory of our control groups in each hierarchy.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let mounts = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for mount in mounts.chain([PathBuf::from("/sys/fs/cgroup")]) {
            // It is not in every hierarchy.
            let _ = fs::remove_dir(mount.join(&self.0));
        }
    }
}

fn is_about(event: &ContainerEvent, wanted: &ContainerId) -> bool {
    match event {
        ContainerEvent::Running { id, .. }
        | ContainerEvent::Failed { id, .. }
        | ContainerEvent::Exited { id, .. }
        | ContainerEvent::Lost { id, .. } => id == wanted,
        ContainerEvent::Recovered => false,
    }
}
