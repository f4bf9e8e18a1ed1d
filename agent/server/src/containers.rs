//! From tasks to containers: what a launcher, a fetcher and a checker are asked, and what their answers mean.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::docker::{self, DockerSpec};
use agent_core::health::{Finding, Target};
use agent_core::{CommandSpec, Exit, ExitStatus, Input, Job, Limit, RlimitKind, TaskSpec};
use model::quantity::Quantity;
use model::resources::Bag;
use model::time::Span;
use sandbox::check::{CommandProbe, HttpProbe, Passed, Probe, ProbeError, TcpProbe};
use sandbox::fetch::{FetchItem, FetchRequest};
use sandbox::{Command, ContainerEvent, ContainerId, ContainerSpec, Limitation, Limits, Lost, Step};
use wire::v1;

use crate::settings::Address;

/// The least memory limit of a task (spec mesos-v1, 10.6): less does not hold a shell and its command.
const LEAST_MEMORY: u64 = 32 << 20;
/// What tasks find programs in when the agent itself was started without one.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every task of this agent is told of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) address: Address,
    pub(crate) agent: String,
    pub(crate) path: String,
}

impl Surroundings {
    pub(crate) fn new(address: Address) -> Self {
        let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        Self { address, agent: String::new(), path: path.unwrap_or_else(|| PATH.into()) }
    }

    /// The environment of a task or of an executor (spec mesos-v1, 10.2). What its description says goes before what
    /// is said here.
    pub(crate) fn environment(&self, job: &Job, sandbox: &Path) -> Vec<(String, String)> {
        let (task, framework) = (&*job.task, &*job.framework);
        let directory = sandbox.display().to_string();
        let image = task.docker.is_some();
        let sandbox = if image { sandbox::docker::SANDBOX.to_owned() } else { directory.clone() };
        let checkpoint = framework.checkpoint();
        let role = task.info.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.clone());
        let mut all: Vec<(&str, String)> = vec![
            ("MESOS_FRAMEWORK_ID", task.key.framework.to_string()),
            ("MESOS_EXECUTOR_ID", job.executor.to_string()),
            ("MESOS_SLAVE_ID", self.agent.clone()),
            ("MESOS_SLAVE_PID", self.address.pid()),
            ("MESOS_AGENT_ENDPOINT", self.address.endpoint()),
            ("MESOS_DIRECTORY", directory),
            ("MESOS_SANDBOX", sandbox),
            ("MESOS_CHECKPOINT", u8::from(checkpoint).to_string()),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", shutdown_grace(job)),
            ("MESOS_HTTP_COMMAND_EXECUTOR", "0".into()),
            ("LIBPROCESS_IP", self.address.ip.to_string()),
            ("LIBPROCESS_PORT", "0".into()),
        ];
        // An image says itself where its programs are.
        if !image {
            all.push(("PATH", self.path.clone()));
        }
        if checkpoint {
            all.push(("MESOS_RECOVERY_TIMEOUT", "15mins".into()));
            all.push(("MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs".into()));
        }
        // What the executor of a command task would add. A framework's own executor does so itself, or not.
        if !job.is_executor {
            all.push(("MESOS_TASK_ID", task.key.task.to_string()));
            all.push(("MESOS_CONTAINER_IP", self.address.ip.to_string()));
            all.extend(role.map(|role| ("MESOS_ALLOCATION_ROLE", role)));
        }
        let all = all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        override_with(all, &task.command.environment)
    }
}

/// How long an executor has after SHUTDOWN, as executors read it; command tasks have no executor that would.
fn shutdown_grace(job: &Job) -> String {
    let own = job.task.kill_grace.filter(|_| job.is_executor);
    duration_text(own.unwrap_or(agent_core::limits::SHUTDOWN_GRACE))
}

/// A number and the largest unit of which it is a whole one: `5secs`, `15mins`, `90secs`.
fn duration_text(span: Span) -> String {
    const UNITS: [(u64, &str); 5] =
        [(604_800_000, "weeks"), (86_400_000, "days"), (3_600_000, "hrs"), (60_000, "mins"), (1000, "secs")];
    let millis = span.as_millis();
    let whole = UNITS.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

/// `base` with the variables of `more`, each name once: the kernel takes duplicates, programs disagree on which counts.
fn override_with(mut base: Vec<(String, String)>, more: &[(String, String)]) -> Vec<(String, String)> {
    for (name, value) in more {
        match base.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => base.push((name.clone(), value.clone())),
        }
    }
    base
}

/// The user a task runs as; `None` is the agent's own.
pub(crate) fn user(task: &TaskSpec, framework: &v1::FrameworkInfo) -> Option<String> {
    task.command.user.clone().or_else(|| Some(framework.user.clone()).filter(|user| !user.is_empty()))
}

pub(crate) fn spec(
    id: ContainerId,
    job: &Job,
    sandbox: PathBuf,
    surroundings: &Surroundings,
) -> ContainerSpec {
    let environment = surroundings.environment(job, &sandbox);
    ContainerSpec {
        docker: job.task.docker.as_deref().map(|docker| Box::new(image(docker))),
        command: command(&job.task.command),
        environment,
        user: user(&job.task, &job.framework),
        limits: limits(&job.task),
        rlimits: job.task.rlimits.iter().filter_map(rlimit).collect(),
        ..ContainerSpec::shell(id, "", sandbox)
    }
}

/// A limit as the launcher sets it; `None` for no kind, which is refused before.
fn rlimit(limit: &agent_core::Rlimit) -> Option<sandbox::Rlimit> {
    use sandbox::Resource;
    let resource = match limit.kind {
        RlimitKind::Unknown => return None,
        RlimitKind::RlmtAs => Resource::AddressSpace,
        RlimitKind::RlmtCore => Resource::Core,
        RlimitKind::RlmtCpu => Resource::Cpu,
        RlimitKind::RlmtData => Resource::Data,
        RlimitKind::RlmtFsize => Resource::FileSize,
        RlimitKind::RlmtLocks => Resource::Locks,
        RlimitKind::RlmtMemlock => Resource::LockedMemory,
        RlimitKind::RlmtMsgqueue => Resource::MessageQueue,
        RlimitKind::RlmtNice => Resource::Nice,
        RlimitKind::RlmtNofile => Resource::OpenFiles,
        RlimitKind::RlmtNproc => Resource::Processes,
        RlimitKind::RlmtRss => Resource::ResidentSet,
        RlimitKind::RlmtRtprio => Resource::RealtimePriority,
        RlimitKind::RlmtRttime => Resource::RealtimeTime,
        RlimitKind::RlmtSigpending => Resource::PendingSignals,
        RlimitKind::RlmtStack => Resource::Stack,
    };
    let (soft, hard) = limit.bounds.unzip();
    Some(sandbox::Rlimit { resource, soft, hard })
}

fn command(command: &CommandSpec) -> Command {
    if command.shell {
        return Command::Shell(command.value.clone());
    }
    Command::Argv { program: command.value.clone(), arguments: command.arguments.clone() }
}

/// A container of Docker's as its launcher reads it.
fn image(docker: &DockerSpec) -> sandbox::docker::DockerSpec {
    let mount = |mount: &docker::Mount| sandbox::docker::Mount {
        source: match &mount.source {
            docker::MountSource::Path(path) => sandbox::docker::MountSource::Path(path.into()),
            docker::MountSource::Volume(name) => sandbox::docker::MountSource::Volume(name.clone()),
        },
        target: mount.target.clone(),
        read_only: mount.read_only,
    };
    let port = |port: &docker::PortMapping| sandbox::docker::PortMapping {
        host: port.host,
        container: port.container,
        udp: port.udp,
    };
    sandbox::docker::DockerSpec {
        image: docker.image.clone(),
        entrypoint: docker.entrypoint.clone(),
        arguments: docker.arguments.clone(),
        network: match &docker.network {
            docker::Network::Host => sandbox::docker::Network::Host,
            docker::Network::Bridge => sandbox::docker::Network::Bridge,
            docker::Network::None => sandbox::docker::Network::None,
            docker::Network::User(name) => sandbox::docker::Network::User(name.clone()),
        },
        ports: docker.ports.iter().map(port).collect(),
        mounts: docker.mounts.iter().map(mount).collect(),
        volume_driver: docker.volume_driver.clone(),
        hostname: docker.hostname.clone(),
        privileged: docker.privileged,
        parameters: docker.parameters.clone(),
    }
}

fn millis(cpus: Quantity) -> Option<u64> {
    u64::try_from(cpus.thousandths()).ok().filter(|millis| *millis > 0)
}

fn bytes(mem: Quantity) -> Option<u64> {
    let thousandths = u64::try_from(mem.thousandths()).ok().filter(|thousandths| *thousandths > 0)?;
    Some((thousandths.saturating_mul(1 << 20) / 1000).max(LEAST_MEMORY))
}

/// The limits of a container that may use `resources` and no more.
pub(crate) fn share(resources: &Bag) -> Limits {
    Limits {
        cpu_share_millis: millis(resources.cpus()),
        cpu_quota_millis: None,
        memory_bytes: bytes(resources.mem()),
    }
}

fn limits(task: &TaskSpec) -> Limits {
    Limits {
        cpu_share_millis: millis(task.resources.cpus()),
        cpu_quota_millis: match task.cpu_limit {
            Limit::Most(cpus) => millis(cpus),
            Limit::Request | Limit::Unlimited => None,
        },
        memory_bytes: match task.memory_limit {
            Limit::Request => bytes(task.resources.mem()),
            Limit::Most(mem) => bytes(mem),
            Limit::Unlimited => None,
        },
    }
}

pub(crate) fn fetch(task: &TaskSpec, framework: &v1::FrameworkInfo, sandbox: PathBuf) -> FetchRequest {
    let item = |uri: &agent_core::Uri| FetchItem {
        uri: uri.value.clone(),
        executable: uri.executable,
        extract: uri.extract,
        cache: uri.cache,
        output_file: uri.output_file.clone(),
    };
    FetchRequest { items: task.command.uris.iter().map(item).collect(), sandbox, user: user(task, framework) }
}

/// A probe of a running task. Commands get the environment of the task with their own variables on top.
///
/// `address` is that of the container where it has its own.
pub(crate) fn probe(
    id: ContainerId,
    target: &Target,
    address: Option<IpAddr>,
    environment: Vec<(String, String)>,
) -> Probe {
    let host = address.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string();
    match target {
        Target::Http { tls, port, path } => {
            Probe::Http(HttpProbe { tls: *tls, host, port: *port, path: path.clone(), statuses: Vec::new() })
        }
        Target::Tcp { port } => Probe::Tcp(TcpProbe { host, port: *port }),
        Target::Command(asked) => Probe::Command(CommandProbe {
            container: id,
            command: command(asked),
            environment: override_with(environment, &asked.environment),
        }),
    }
}

pub(crate) fn finding(result: Result<Passed, ProbeError>) -> Finding {
    match result {
        Ok(Passed::Http(status)) | Err(ProbeError::Status(status)) => Finding::Status(status),
        Ok(Passed::Tcp) => Finding::Connected,
        Ok(Passed::Command) => Finding::Exit(0),
        Err(ProbeError::Exit(sandbox::ExitStatus::Code(code))) => Finding::Exit(code),
        Err(ProbeError::Timeout(_)) => Finding::TimedOut,
        Err(error) => Finding::Failed(error.to_string()),
    }
}

/// What a launcher tells, as the core hears it.
pub(crate) fn input(event: ContainerEvent) -> Input {
    match event {
        ContainerEvent::Running { id, pid, .. } => Input::Started { container: ours(&id), pid },
        ContainerEvent::Failed { id, error } => Input::LaunchFailed {
            container: ours(&id),
            missing_program: error.step == Step::Execute,
            message: error.message,
        },
        ContainerEvent::Exited { id, exit } => Input::Exited { container: ours(&id), exit: ended(&exit) },
        ContainerEvent::Lost { id, why } => Input::ContainerLost {
            container: ours(&id),
            never_started: why == Lost::NeverStarted,
            message: why.to_string(),
        },
        ContainerEvent::Recovered => Input::Recovered,
    }
}

fn ended(exit: &sandbox::Exit) -> Exit {
    let status = match exit.status {
        sandbox::ExitStatus::Code(code) => ExitStatus::Code(code),
        sandbox::ExitStatus::Signal(signal) => ExitStatus::Signal(signal.number(), signal.description()),
    };
    let out_of_memory = exit.limitation.map(|Limitation::Memory { limit_bytes }| limit_bytes);
    Exit { status, out_of_memory }
}

fn ours(id: &ContainerId) -> model::id::ContainerId {
    id.as_str().into()
}

/// The launcher's name of a container. The core makes uuids, which are good names.
pub(crate) fn theirs(id: &model::id::ContainerId) -> ContainerId {
    ContainerId::new(&*id.value).expect("the core names containers by uuids")
}

/// The time a probe may take.
pub(crate) fn patience(timeout: Option<Span>) -> Duration {
    timeout.map_or(crate::limits::PROBE_FOREVER, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn task(change: impl FnOnce(&mut v1::TaskInfo)) -> TaskSpec {
        let scalar = |name: &str, value| v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        };
        let mut info = v1::TaskInfo {
            task_id: v1::TaskId { value: "t".into() },
            resources: vec![scalar("cpus", 0.5), scalar("mem", 64.0)],
            command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
            ..Default::default()
        };
        change(&mut info);
        TaskSpec::read(&"f".into(), &Arc::new(info)).unwrap()
    }

    fn surroundings() -> Surroundings {
        let ip = [10, 0, 0, 1].into();
        let address = Address { hostname: "node".into(), ip, port: 5051 };
        Surroundings { address, agent: "S1".into(), path: "/bin".into() }
    }

    fn job(task: TaskSpec, checkpoint: bool, is_executor: bool) -> Job {
        Job {
            container: "c".into(),
            sandbox: agent_core::Sandbox::new("f".into(), "t"),
            task: Arc::new(task),
            framework: Arc::new(framework(checkpoint)),
            executor: "t".into(),
            is_executor,
        }
    }

    fn framework(checkpoint: bool) -> v1::FrameworkInfo {
        v1::FrameworkInfo { user: "nobody".into(), checkpoint: Some(checkpoint), ..Default::default() }
    }

    #[test]
    fn limits_follow_resources_and_limits() {
        assert_eq!(
            limits(&task(|_| {})),
            Limits { cpu_share_millis: Some(500), cpu_quota_millis: None, memory_bytes: Some(64 << 20) }
        );
        let small = task(|info| info.resources[1].scalar = Some(v1::value::Scalar { value: 1.0 }));
        assert_eq!(limits(&small).memory_bytes, Some(LEAST_MEMORY));
        let limited = task(|info| {
            info.limits.insert("cpus".into(), v1::value::Scalar { value: 2.0 });
            info.limits.insert("mem".into(), v1::value::Scalar { value: f64::INFINITY });
        });
        assert_eq!(
            limits(&limited),
            Limits { cpu_share_millis: Some(500), cpu_quota_millis: Some(2000), memory_bytes: None }
        );
    }

    #[test]
    fn limits_of_processes_reach_the_launcher() {
        let limit = v1::r_limit_info::RLimit {
            r#type: Some(RlimitKind::RlmtNofile.into()),
            soft: Some(64),
            hard: Some(128),
        };
        let limited = task(|info| {
            info.container = Some(v1::ContainerInfo {
                r#type: v1::container_info::Type::Mesos.into(),
                rlimit_info: Some(v1::RLimitInfo { rlimits: vec![limit] }),
                ..Default::default()
            });
        });
        let spec =
            spec(ContainerId::new("c").unwrap(), &job(limited, false, false), "/s".into(), &surroundings());
        let files =
            sandbox::Rlimit { resource: sandbox::Resource::OpenFiles, soft: Some(64), hard: Some(128) };
        assert_eq!(spec.rlimits, [files]);
    }

    #[test]
    fn the_description_goes_before_the_surroundings_and_each_name_comes_once() {
        let variable = |name: &str, value: &str| v1::environment::Variable {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let task = task(|info| {
            let command = info.command.as_mut().unwrap();
            let variables = vec![variable("PATH", "/mine"), variable("A", "1"), variable("A", "2")];
            command.environment = Some(v1::Environment { variables });
        });
        let environment = surroundings().environment(&job(task, true, false), Path::new("/s/f/t"));
        let get = |name: &str| {
            let mut values =
                environment.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let value = values.next();
            assert_eq!(values.next(), None, "{name} comes once");
            value
        };
        assert_eq!((get("PATH"), get("A")), (Some("/mine"), Some("2")));
        assert_eq!((get("MESOS_SANDBOX"), get("MESOS_CHECKPOINT")), (Some("/s/f/t"), Some("1")));
        assert_eq!(get("MESOS_AGENT_ENDPOINT"), Some("10.0.0.1:5051"));
        assert_eq!(get("MESOS_RECOVERY_TIMEOUT"), Some("15mins"));
    }

    #[test]
    fn an_executor_is_told_what_it_needs_and_nothing_of_tasks() {
        let mut executor = task(|_| {});
        executor.kill_grace = Some(Span::from_secs(90));
        let environment = surroundings().environment(&job(executor, false, true), Path::new("/s"));
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        let of_executors = [
            "LIBPROCESS_IP",
            "LIBPROCESS_PORT",
            "MESOS_AGENT_ENDPOINT",
            "MESOS_CHECKPOINT",
            "MESOS_DIRECTORY",
            "MESOS_EXECUTOR_ID",
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
            "MESOS_FRAMEWORK_ID",
            "MESOS_HTTP_COMMAND_EXECUTOR",
            "MESOS_SANDBOX",
            "MESOS_SLAVE_ID",
            "MESOS_SLAVE_PID",
            "PATH",
        ];
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, of_executors);
        let grace = environment.iter().find(|(name, _)| name.ends_with("GRACE_PERIOD"));
        assert_eq!(grace.map(|(_, value)| value.as_str()), Some("90secs"));
    }

    #[test]
    fn durations_have_the_largest_whole_unit() {
        let text = |millis| duration_text(Span::from_millis(millis));
        let texts = [0, 1, 1500, 5000, 60_000, 90_000, 3_600_000, 86_400_000, 604_800_000].map(text);
        assert_eq!(texts, ["0ms", "1ms", "1500ms", "5secs", "1mins", "90secs", "1hrs", "1days", "1weeks"]);
    }

    #[test]
    fn the_user_is_the_commands_or_the_frameworks_or_the_agents() {
        let root = task(|info| info.command.as_mut().unwrap().user = Some("root".into()));
        assert_eq!(user(&root, &framework(false)), Some("root".into()));
        assert_eq!(user(&task(|_| {}), &framework(false)), Some("nobody".into()));
        assert_eq!(user(&task(|_| {}), &v1::FrameworkInfo::default()), None);
    }
}
