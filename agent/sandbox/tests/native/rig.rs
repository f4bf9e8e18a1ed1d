//! A launcher in a directory of its own, and questions to it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sandbox::native::{Native, NativeConfig};
use sandbox::{ContainerEvent, ContainerId, ContainerSpec, Exit, LaunchError, Launcher, Lost};

/// Nothing here takes long; whoever waits longer waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test of this or another run uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) struct Rig {
    pub(crate) launcher: Box<dyn Launcher>,
    pub(crate) home: PathBuf,
    cgroup: PathBuf,
    /// Events of other containers than the one being waited for.
    others: VecDeque<ContainerEvent>,
    /// Removed at the end.
    owned: Option<tempfile::TempDir>,
}

impl Rig {
    /// With all that the machine allows.
    pub(crate) async fn new() -> Self {
        Self::with_cgroup(PathBuf::from(unique("stoa-test"))).await
    }

    /// Without control groups, as where none are mounted.
    pub(crate) async fn without_cgroups() -> Self {
        Self::with_cgroup(PathBuf::from("/dev/null/none")).await
    }

    async fn with_cgroup(cgroup: PathBuf) -> Self {
        let home = tempfile::tempdir().unwrap();
        // Containers run as other users too.
        fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut rig = Self::at(home.path(), &cgroup).await;
        rig.owned = Some(home);
        rig.recover(&[]).await;
        rig
    }

    /// On the directory of an earlier one.
    pub(crate) async fn at(home: &Path, cgroup: &Path) -> Self {
        let mut config = NativeConfig::new(home.join("runtime"));
        config.cgroup = cgroup.to_owned();
        config.program = env!("CARGO_BIN_EXE_spawn-rate").into();
        let launcher = Box::new(Native::start(config).await.unwrap());
        Self {
            launcher,
            home: home.to_owned(),
            cgroup: cgroup.to_owned(),
            others: VecDeque::new(),
            owned: None,
        }
    }

    /// The agent ends, its containers do not.
    pub(crate) fn leave(mut self) -> (tempfile::TempDir, PathBuf) {
        (self.owned.take().unwrap(), std::mem::take(&mut self.cgroup))
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

    pub(crate) async fn next(&mut self) -> ContainerEvent {
        tokio::time::timeout(PATIENCE, self.launcher.next()).await.expect("an event")
    }

    /// A shell command with a path and a sandbox.
    pub(crate) fn spec(&self, command: &str) -> ContainerSpec {
        let id = ContainerId::new(unique("c")).unwrap();
        let sandbox = self.home.join("sandboxes").join(id.as_str());
        ContainerSpec {
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            ..ContainerSpec::shell(id, command, sandbox)
        }
    }

    /// The next event of this container.
    pub(crate) async fn event(&mut self, id: &ContainerId) -> ContainerEvent {
        if let Some(at) = self.others.iter().position(|event| about(event) == *id) {
            return self.others.remove(at).unwrap();
        }
        loop {
            let event = self.next().await;
            if about(&event) == *id {
                return event;
            }
            self.others.push_back(event);
        }
    }

    /// Launches and waits until it runs; gives the process id.
    pub(crate) async fn run(&mut self, spec: &ContainerSpec) -> u32 {
        self.launcher.launch(spec.clone());
        match self.event(&spec.id).await {
            ContainerEvent::Running { pid, recovered: false, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn exit(&mut self, id: &ContainerId) -> Exit {
        match self.event(id).await {
            ContainerEvent::Exited { exit, .. } => exit,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn lost(&mut self, id: &ContainerId) -> Lost {
        match self.event(id).await {
            ContainerEvent::Lost { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    /// Launches, waits for the end.
    pub(crate) async fn finish(&mut self, spec: &ContainerSpec) -> Exit {
        self.run(spec).await;
        self.exit(&spec.id).await
    }

    /// Launches what cannot be launched.
    pub(crate) async fn fail(&mut self, spec: &ContainerSpec) -> LaunchError {
        self.launcher.launch(spec.clone());
        match self.event(&spec.id).await {
            ContainerEvent::Failed { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    /// Runs a command to its end and gives its output.
    pub(crate) async fn output(&mut self, spec: &ContainerSpec) -> String {
        let exit = self.finish(spec).await;
        let text = stdout(spec);
        assert!(exit.success(), "{exit:?}: {text} {}", stderr(spec));
        text
    }

    pub(crate) fn record(&self, id: &ContainerId) -> PathBuf {
        self.home.join("runtime").join(id.as_str())
    }

    /// The directories of a container's control groups that exist.
    pub(crate) fn groups(&self, id: &ContainerId) -> Vec<PathBuf> {
        let hierarchies =
            fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        let both = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        both.map(|mount| mount.join(&self.cgroup).join(id.as_str())).filter(|group| group.is_dir()).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // After a failure there may be containers left, which would live on as they should.
        for record in
            self.owned.iter().flat_map(|home| fs::read_dir(home.path().join("runtime"))).flatten().flatten()
        {
            let text = fs::read_to_string(record.path()).unwrap_or_default();
            let started = text.split("{\"Started\":{\"pid\":").nth(1).filter(|_| !text.contains("Exited"));
            let pid = started.and_then(|rest| rest.split('}').next()?.parse().ok());
            if let Some(shim) = pid
                .and_then(parent)
                .filter(|shim| status_field(*shim, "Name").as_deref() == Some("stoa-shim"))
            {
                kill(shim, libc::SIGKILL);
            }
        }
        // Handed over to another one.
        if !self.cgroup.as_os_str().is_empty() {
            let hierarchies =
                fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
            for mount in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
                let _ = fs::remove_dir(mount.join(&self.cgroup));
            }
        }
    }
}

/// Whom an event is about.
pub(crate) fn about(event: &ContainerEvent) -> ContainerId {
    match event {
        ContainerEvent::Running { id, .. }
        | ContainerEvent::Failed { id, .. }
        | ContainerEvent::Exited { id, .. }
        | ContainerEvent::Lost { id, .. } => id.clone(),
        ContainerEvent::Recovered => unreachable!("only asked for once, and taken then"),
    }
}

pub(crate) fn stdout(spec: &ContainerSpec) -> String {
    fs::read_to_string(spec.sandbox.join("stdout")).unwrap()
}

pub(crate) fn stderr(spec: &ContainerSpec) -> String {
    fs::read_to_string(spec.sandbox.join("stderr")).unwrap()
}

/// Looks again and again until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The processes of this machine with this word among their arguments.
pub(crate) fn processes_with(argument: &str) -> Vec<u32> {
    let all =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
    .collect()
}

/// A number of seconds that nobody else sleeps.
pub(crate) fn sleep_time() -> String {
    format!("{}.{:06}", 3000 + std::process::id() % 1000, COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// The number after `key` in `/proc/<pid>/status`.
pub(crate) fn status_field(pid: u32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    status_field(pid, "PPid")?.parse().ok()
}

/// The launcher process of a rig: the parent of a container's shim.
pub(crate) fn launcher_of(pid: u32) -> u32 {
    let launcher = parent(parent(pid).unwrap()).unwrap();
    assert_eq!(status_field(launcher, "Name").unwrap(), "stoa-launcher");
    launcher
}

pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root");
    }
    root
}

pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: takes numbers; the callers name processes that they started.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0, "kill {pid}");
}
