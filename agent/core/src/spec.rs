//! A task's description, read once: behind this nobody asks whether a field is there.

use std::sync::Arc;

use model::id::{self, FrameworkId, TaskId};
use model::quantity::Quantity;
use model::resources::Bag;
use model::time::Span;
use wire::v1;

use crate::change::{self, Mount, Source};
use crate::docker::{self, DockerSpec};
use crate::executor::is_played;
use crate::health::{HealthSpec, Schedule, Target};
use crate::limits;
use crate::rlimit::Rlimit;

/// A task by framework and id: ids are chosen by frameworks and unique only among their own tasks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskKey {
    pub framework: FrameworkId,
    pub task: TaskId,
}

impl std::fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

impl std::fmt::Display for TaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

/// Why a description is refused; becomes the message of a TASK_ERROR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// What a limit of a task may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As much as was asked for.
    Request,
    Most(Quantity),
    Unlimited,
}

/// A command to execute. Empty for a task whose framework brings its own executor, which knows what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSpec {
    /// Run `value` with `/bin/sh -c`; otherwise execute the program `value` with `arguments` as its `argv`.
    pub shell: bool,
    pub value: String,
    pub arguments: Vec<String>,
    /// In the order given; a later one of the same name wins.
    pub environment: Vec<(String, String)>,
    /// Overrides the framework's user.
    pub user: Option<String>,
    pub uris: Vec<Uri>,
}

/// A file to fetch into the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    pub value: String,
    pub executable: bool,
    pub extract: bool,
    pub cache: bool,
    /// Where to put it, relative to the sandbox; the last part of the URI when absent.
    pub output_file: Option<String>,
}

/// A task as the agent runs it; also the process of a framework's own executor, by the executor's id.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    pub key: TaskKey,
    pub name: String,
    pub command: CommandSpec,
    /// The container Docker is to make for it.
    pub docker: Option<Arc<DockerSpec>>,
    pub resources: Bag,
    pub cpu_limit: Limit,
    pub memory_limit: Limit,
    pub health: Option<HealthSpec>,
    pub check: Option<Schedule>,
    pub kill_grace: Option<Span>,
    pub max_completion: Option<Span>,
    /// Directories to be shown in its sandbox.
    pub mounts: Vec<Mount>,
    /// What the kernel holds each of its processes to.
    pub rlimits: Vec<Rlimit>,
    pub info: Arc<v1::TaskInfo>,
}

impl TaskSpec {
    /// Reads a description. The master has validated it by the protocol's rules; what is checked here is what
    /// this agent would turn into paths, environments and timers, and what it cannot run.
    pub fn read(framework: &FrameworkId, info: &Arc<v1::TaskInfo>) -> Result<Self, Invalid> {
        id::check(framework.as_str()).map_err(|e| Invalid(format!("'framework_id': {e}")))?;
        let task = TaskId::parse(&info.task_id.value).map_err(|e| Invalid(format!("'task_id': {e}")))?;
        let grouped = info.executor.as_ref().is_some_and(is_played);
        if info.executor.is_some() && !grouped {
            supported(info.container.as_ref(), false)?;
            return Self::of_executor(framework, task, info);
        }
        let command = info.command.as_ref().ok_or_else(|| Invalid("'command' must be present".into()))?;
        // Tasks of a group share their executor's container.
        let container = info.container.as_ref().filter(|_| info.executor.is_none());
        let docker = docker(container, command)?;
        let resources = resources(&info.resources)?;
        let mut mounts = change::mounts(&resources)?;
        let rlimits = rlimits(info.container.as_ref())?;
        if docker.is_none() {
            mounts.extend(supported(info.container.as_ref(), grouped)?);
        }
        Ok(Self {
            key: TaskKey { framework: framework.clone(), task },
            name: info.name.clone(),
            command: CommandSpec::read(command, docker.is_some())
                .map_err(|e| Invalid(format!("'command.{e}")))?,
            docker,
            mounts,
            rlimits,
            resources,
            cpu_limit: limit(info, "cpus")?,
            memory_limit: limit(info, "mem")?,
            health: info.health_check.as_ref().map(health).transpose()?,
            check: info.check.as_ref().map(check).transpose()?,
            kill_grace: grace(info.kill_policy.as_ref()),
            max_completion: info.max_completion_time.as_ref().map(|d| duration(d.nanoseconds)),
            info: Arc::clone(info),
        })
    }

    /// A task that its framework's executor runs. Checks, limits and time are the executor's business.
    fn of_executor(framework: &FrameworkId, task: TaskId, info: &Arc<v1::TaskInfo>) -> Result<Self, Invalid> {
        let resources = resources(&info.resources)?;
        Ok(Self {
            mounts: change::mounts(&resources)?,
            rlimits: Vec::new(),
            key: TaskKey { framework: framework.clone(), task },
            name: info.name.clone(),
            command: CommandSpec::default(),
            docker: None,
            resources,
            cpu_limit: Limit::Request,
            memory_limit: Limit::Request,
            health: None,
            check: None,
            kill_grace: grace(info.kill_policy.as_ref()),
            max_completion: None,
            info: Arc::clone(info),
        })
    }

    /// The process of a framework's own executor.
    pub(crate) fn executor(framework: &FrameworkId, info: &v1::ExecutorInfo) -> Result<Self, Invalid> {
        let id = TaskId::parse(&info.executor_id.value)
            .map_err(|e| Invalid(format!("'executor.executor_id': {e}")))?;
        supported(info.container.as_ref(), false)?;
        let resources = resources(&info.resources)?;
        let command = match &info.command {
            Some(command) => {
                CommandSpec::read(command, false).map_err(|e| Invalid(format!("'executor.command.{e}")))?
            }
            None if is_played(info) => CommandSpec::default(),
            None => return Err(Invalid("'executor.command' must be present".into())),
        };
        let grace = info.shutdown_grace_period.as_ref().map(|grace| duration(grace.nanoseconds));
        Ok(Self {
            key: TaskKey { framework: framework.clone(), task: id },
            name: info.name.clone().unwrap_or_default(),
            command,
            docker: None,
            mounts: change::mounts(&resources)?,
            rlimits: rlimits(info.container.as_ref())?,
            resources,
            cpu_limit: Limit::Request,
            memory_limit: Limit::Request,
            health: None,
            check: None,
            kill_grace: grace.map(|grace| grace.min(limits::KILL_GRACE_MAX)),
            max_completion: None,
            info: Arc::default(),
        })
    }
}

impl TaskSpec {
    /// Whether something must be fetched before it can be launched: files, or an image.
    pub fn fetches(&self) -> bool {
        !self.command.uris.is_empty() || self.docker.is_some()
    }
}

/// The grace period of a kill policy, within reason.
pub(crate) fn grace(policy: Option<&v1::KillPolicy>) -> Option<Span> {
    let grace = policy?.grace_period.as_ref()?;
    Some(duration(grace.nanoseconds).min(limits::KILL_GRACE_MAX))
}

/// Rounded up to a whole millisecond, so that a tiny wait never becomes none; negative counts as none.
fn duration(nanoseconds: i64) -> Span {
    Span::from_millis(u64::try_from(nanoseconds).unwrap_or(0).div_ceil(1_000_000))
}

fn resources(resources: &[v1::Resource]) -> Result<Bag, Invalid> {
    let bag = Bag::from_wire(resources).map_err(|e| Invalid(format!("'resources': {e}")))?;
    // Whom they are allocated to matters to the master; the agent compares them with what it has.
    Ok(bag.unallocate())
}

fn docker(
    container: Option<&v1::ContainerInfo>,
    command: &v1::CommandInfo,
) -> Result<Option<Arc<DockerSpec>>, Invalid> {
    let wanted = container.filter(|container| docker::wanted(container));
    wanted.map(|container| DockerSpec::read(container, command).map(Arc::new)).transpose()
}

/// What of a container's description this agent can do: directories that the tasks of a group share, and nothing else.
fn supported(container: Option<&v1::ContainerInfo>, grouped: bool) -> Result<Vec<Mount>, Invalid> {
    let refuse = |what: &str| {
        Err(Invalid(format!("This agent cannot run {what}: describe the task with 'command' alone")))
    };
    let Some(container) = container else { return Ok(Vec::new()) };
    if docker::wanted(container) {
        return refuse("executors and task groups in containers made from images");
    }
    if !container.network_infos.is_empty() {
        return refuse("containers with a network of their own");
    }
    if container.hostname.as_ref().is_some_and(|name| !name.is_empty()) {
        return refuse("containers with a host name of their own, unless they are made from an image");
    }
    plain(container)?;
    let shared: Option<Vec<_>> =
        container.volumes.iter().map(|volume| shared(volume).filter(|_| grouped)).collect();
    match shared {
        Some(mounts) => mounts.into_iter().collect(),
        None => refuse("containers with volumes other than persistent ones and those that a group shares"),
    }
}

/// Refuses what would be taken for done and is not: a task that gives up a privilege must not run with it.
pub(crate) fn plain(container: &v1::ContainerInfo) -> Result<(), Invalid> {
    use v1::linux_info::IpcMode;
    let refuse =
        |field: &str| Err(Invalid(format!("This agent does not have 'container.{field}': leave it out")));
    if container.tty_info.is_some() {
        return refuse("tty_info");
    }
    let Some(linux) = &container.linux_info else { return Ok(()) };
    let asked = [
        ("capability_info", linux.capability_info.is_some()),
        ("bounding_capabilities", linux.bounding_capabilities.is_some()),
        ("effective_capabilities", linux.effective_capabilities.is_some()),
        ("seccomp", linux.seccomp.is_some()),
        ("share_pid_namespace", linux.share_pid_namespace()),
        ("ipc_mode", linux.ipc_mode() == IpcMode::Private),
        ("shm_size", linux.shm_size.is_some()),
    ];
    if let Some((field, _)) = asked.into_iter().find(|(_, asked)| *asked) {
        return refuse(&format!("linux_info.{field}"));
    }
    Ok(())
}

fn rlimits(container: Option<&v1::ContainerInfo>) -> Result<Vec<Rlimit>, Invalid> {
    container.and_then(|container| container.rlimit_info.as_ref()).map_or(Ok(Vec::new()), Rlimit::read_all)
}

/// A directory in the sandbox of the executor, which the tasks of a group share; `None` for any other kind of volume.
fn shared(volume: &v1::Volume) -> Option<Result<Mount, Invalid>> {
    use v1::volume::source::{Type, sandbox_path};
    let source = volume.source.as_ref().filter(|source| source.r#type() == Type::SandboxPath)?;
    let path = source.sandbox_path.as_ref().filter(|path| path.r#type() == sandbox_path::Type::Parent)?;
    if volume.mode() != v1::volume::Mode::Rw {
        return None;
    }
    let checked = change::inside("container.volumes.container_path", &volume.container_path)
        .and_then(|()| change::inside("container.volumes.source.sandbox_path.path", &path.path));
    let source = Source::Executor(path.path.clone());
    Some(checked.map(|()| Mount { path: volume.container_path.clone(), source }))
}

fn limit(info: &v1::TaskInfo, name: &str) -> Result<Limit, Invalid> {
    match info.limits.get(name) {
        None => Ok(Limit::Request),
        Some(scalar) if scalar.value == f64::INFINITY => Ok(Limit::Unlimited),
        Some(scalar) => match Quantity::from_f64(scalar.value) {
            Ok(most) => Ok(Limit::Most(most)),
            Err(e) => Err(Invalid(format!("'limits.{name}' {e}"))),
        },
    }
}

impl CommandSpec {
    /// Reads a command. Errors continue a path: `value' must be present`. An image knows what to do without one.
    fn read(command: &v1::CommandInfo, with_image: bool) -> Result<Self, String> {
        let value = command.value.clone().unwrap_or_default();
        if value.is_empty() && !with_image && (command.shell() || command.arguments.is_empty()) {
            return Err("value' must be present".into());
        }
        let texts = std::iter::once(&value).chain(&command.arguments).chain(&command.user);
        if texts.clone().any(|text| text.contains('\0')) {
            return Err("value', its arguments and its user must not contain a NUL character".into());
        }
        let variables = command.environment.as_ref().map_or(&[][..], |e| &e.variables);
        Ok(Self {
            shell: command.shell(),
            value: if value.is_empty() {
                command.arguments.first().cloned().unwrap_or_default()
            } else {
                value
            },
            arguments: command.arguments.clone(),
            environment: variables.iter().map(variable).collect::<Result<_, _>>()?,
            user: command.user.clone().filter(|user| !user.is_empty()),
            uris: command.uris.iter().map(Uri::read).collect(),
        })
    }
}

fn variable(variable: &v1::environment::Variable) -> Result<(String, String), String> {
    let name = &variable.name;
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!(
            "environment' has a variable named {name:?}: names must not be empty or contain '=' or NUL"
        ));
    }
    let value = match variable.r#type() {
        v1::environment::variable::Type::Secret => secret(variable)?,
        _ => variable
            .value
            .clone()
            .ok_or_else(|| format!("environment' variable '{name}' must have a value"))?,
    };
    if value.contains('\0') {
        return Err(format!("environment' variable '{name}' must not contain a NUL character"));
    }
    Ok((name.clone(), value))
}

fn secret(variable: &v1::environment::Variable) -> Result<String, String> {
    let data = variable.secret.as_ref().and_then(|secret| secret.value.as_ref()).ok_or_else(|| {
        format!(
            "environment' variable '{}' refers to a secret store, which this agent does not have",
            variable.name
        )
    })?;
    String::from_utf8(data.data.to_vec())
        .map_err(|_| format!("environment' variable '{}' must be UTF-8 text", variable.name))
}

impl Uri {
    fn read(uri: &v1::command_info::Uri) -> Self {
        Self {
            value: uri.value.clone(),
            executable: uri.executable.unwrap_or(false),
            extract: uri.extract(),
            cache: uri.cache.unwrap_or(false),
            output_file: uri.output_file.clone(),
        }
    }
}

fn health(check: &v1::HealthCheck) -> Result<HealthSpec, Invalid> {
    use v1::health_check::Type as Kind;
    let path = "health_check";
    // By what it says it is: which other members are set does not matter.
    let target = match check.r#type() {
        Kind::Http => {
            let http = check.http.as_ref().ok_or_else(|| without(path, "http"))?;
            let tls = http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
            Target::Http {
                tls,
                port: port(http.port, "health_check.http")?,
                path: http.path.clone().unwrap_or_else(|| "/".into()),
            }
        }
        Kind::Tcp => {
            let tcp = check.tcp.as_ref().ok_or_else(|| without(path, "tcp"))?;
            Target::Tcp { port: port(tcp.port, "health_check.tcp")? }
        }
        Kind::Command => {
            let command = check.command.as_ref().ok_or_else(|| without(path, "command"))?;
            Target::Command(check_command(command, path)?)
        }
        Kind::Unknown => return Err(without_type(path)),
    };
    Ok(HealthSpec {
        schedule: schedule(
            path,
            target,
            check.delay_seconds(),
            check.interval_seconds(),
            check.timeout_seconds(),
        )?,
        grace: seconds(path, "grace_period_seconds", check.grace_period_seconds())?,
        failures: check.consecutive_failures(),
    })
}

fn check(check: &v1::CheckInfo) -> Result<Schedule, Invalid> {
    use v1::check_info::Type as Kind;
    let path = "check";
    let target = match check.r#type() {
        Kind::Http => {
            let http = check.http.as_ref().ok_or_else(|| without(path, "http"))?;
            Target::Http {
                tls: false,
                port: port(http.port, "check.http")?,
                path: http.path.clone().unwrap_or_else(|| "/".into()),
            }
        }
        Kind::Tcp => {
            let tcp = check.tcp.as_ref().ok_or_else(|| without(path, "tcp"))?;
            Target::Tcp { port: port(tcp.port, "check.tcp")? }
        }
        Kind::Command => {
            let command = check.command.as_ref().ok_or_else(|| without(path, "command"))?;
            Target::Command(check_command(&command.command, path)?)
        }
        Kind::Unknown => return Err(without_type(path)),
    };
    schedule(path, target, check.delay_seconds(), check.interval_seconds(), check.timeout_seconds())
}

fn without(path: &str, member: &str) -> Invalid {
    Invalid(format!("'{path}.{member}' must be present, as '{path}.type' says"))
}

fn without_type(path: &str) -> Invalid {
    Invalid(format!("'{path}.type' must be one of COMMAND, HTTP and TCP"))
}

fn check_command(command: &v1::CommandInfo, path: &str) -> Result<Arc<CommandSpec>, Invalid> {
    CommandSpec::read(command, false).map(Arc::new).map_err(|e| Invalid(format!("'{path}.command.{e}")))
}

fn port(port: u32, path: &str) -> Result<u16, Invalid> {
    match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Invalid(format!("'{path}.port' must be 1 to 65535, is {port}"))),
    }
}

fn schedule(
    path: &str,
    target: Target,
    delay: f64,
    interval: f64,
    timeout: f64,
) -> Result<Schedule, Invalid> {
    let timeout = seconds(path, "timeout_seconds", timeout)?;
    Ok(Schedule {
        target,
        delay: seconds(path, "delay_seconds", delay)?,
        interval: seconds(path, "interval_seconds", interval)?.max(limits::CHECK_INTERVAL_MIN),
        timeout: (!timeout.is_zero()).then_some(timeout),
    })
}

fn seconds(path: &str, field: &str, value: f64) -> Result<Span, Invalid> {
    Span::from_secs_f64(value).map_err(|e| Invalid(format!("'{path}.{field}' {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The refusal of a task whose container is described so.
    fn refused(describe: impl FnOnce(&mut v1::ContainerInfo)) -> Option<String> {
        let mut container =
            v1::ContainerInfo { r#type: v1::container_info::Type::Mesos.into(), ..Default::default() };
        describe(&mut container);
        let info = v1::TaskInfo {
            task_id: v1::TaskId { value: "t".into() },
            command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
            container: Some(container),
            ..Default::default()
        };
        TaskSpec::read(&"f".into(), &Arc::new(info)).err().map(|Invalid(text)| text)
    }

    #[test]
    fn a_probe_is_what_its_type_says_whatever_else_is_set() {
        use v1::{check_info, health_check};
        let command = v1::CommandInfo { value: Some("true".into()), ..Default::default() };
        let both = |kind: health_check::Type| v1::HealthCheck {
            r#type: Some(kind.into()),
            command: Some(command.clone()),
            http: Some(health_check::HttpCheckInfo { port: 80, ..Default::default() }),
            tcp: Some(health_check::TcpCheckInfo { port: 81, ..Default::default() }),
            ..Default::default()
        };
        let target = |kind| health(&both(kind)).expect("lawful").schedule.target;
        assert!(matches!(target(health_check::Type::Command), Target::Command(_)));
        assert!(matches!(target(health_check::Type::Http), Target::Http { port: 80, .. }));
        assert!(matches!(target(health_check::Type::Tcp), Target::Tcp { port: 81 }));
        let lacking = v1::HealthCheck { tcp: None, ..both(health_check::Type::Tcp) };
        let Invalid(said) = health(&lacking).expect_err("there is nothing to connect to");
        assert_eq!(said, "'health_check.tcp' must be present, as 'health_check.type' says");

        let both = |kind: check_info::Type| v1::CheckInfo {
            r#type: Some(kind.into()),
            command: Some(check_info::Command { command: command.clone() }),
            http: Some(check_info::Http { port: 80, ..Default::default() }),
            tcp: Some(check_info::Tcp { port: 81 }),
            ..Default::default()
        };
        let target = |kind| check(&both(kind)).expect("lawful").target;
        assert!(matches!(target(check_info::Type::Command), Target::Command(_)));
        assert!(matches!(target(check_info::Type::Http), Target::Http { port: 80, .. }));
        assert!(matches!(target(check_info::Type::Tcp), Target::Tcp { port: 81 }));
    }

    #[test]
    fn what_would_be_taken_for_done_is_refused() {
        assert_eq!(refused(|_| {}), None);
        let linux = |change: fn(&mut v1::LinuxInfo)| {
            refused(|container| {
                let mut linux = v1::LinuxInfo::default();
                change(&mut linux);
                container.linux_info = Some(linux);
            })
        };
        assert_eq!(linux(|_| {}), None, "nothing is asked for");
        let said = |field: &str| Some(format!("This agent does not have 'container.{field}': leave it out"));
        assert_eq!(
            linux(|linux| linux.bounding_capabilities = Some(Default::default())),
            said("linux_info.bounding_capabilities")
        );
        assert_eq!(linux(|linux| linux.seccomp = Some(Default::default())), said("linux_info.seccomp"));
        assert_eq!(
            linux(|linux| linux.share_pid_namespace = Some(true)),
            said("linux_info.share_pid_namespace")
        );
        assert_eq!(refused(|container| container.tty_info = Some(Default::default())), said("tty_info"));
        assert!(refused(|container| container.hostname = Some("h".into())).is_some());
    }
}
