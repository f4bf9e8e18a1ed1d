//! Whether a task may be launched (spec mesos-v1, section 11.3), and the sentence that says why not. The sentences
//! are those of the original where tools may match them.

use std::sync::Arc;

use model::id::{self, AgentId, ExecutorId, FrameworkId, IdError};
use model::resources::{Bag, ResourceError};
use model::role::Role;
use wire::v1::{self, CheckInfo, CommandInfo, ContainerInfo, ExecutorInfo, HealthCheck, TaskInfo};

use crate::call::{ExecutorSpec, TaskSpec};
use crate::snapshot::Framework;

/// Where a task wants to go.
pub(crate) struct Site<'a> {
    pub(crate) framework: &'a Framework,
    pub(crate) agent: &'a AgentId,
    pub(crate) role: &'a Role,
    /// What is left of the offers.
    pub(crate) rest: &'a Bag,
}

/// What a lawful task takes. Bags carry no marks of allocation.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) task: Bag,
    /// Its executor, when the agent has not got it yet.
    pub(crate) executor: Option<(ExecutorId, Arc<ExecutorInfo>, Bag)>,
    /// Both together.
    pub(crate) all: Bag,
}

/// Fills in what a scheduler may leave out: the role of its resources, the framework of its executor and that it is one of
/// its own making. The task is not shared yet, so that nothing is copied.
pub(crate) fn fill(spec: &mut TaskSpec, framework: &FrameworkId, role: &Role) {
    let info = Arc::make_mut(&mut spec.info);
    allocate(&mut info.resources, role);
    if let Some(executor) = &mut info.executor {
        allocate(&mut executor.resources, role);
        executor.framework_id.get_or_insert_with(|| v1::FrameworkId::from(framework));
        executor.r#type.get_or_insert(v1::executor_info::Type::Custom.into());
    }
    if let Some(executor) = &mut spec.executor {
        fill_executor(executor, framework, role);
        let info = Arc::make_mut(&mut executor.info);
        info.r#type.get_or_insert(v1::executor_info::Type::Custom.into());
    }
}

/// As [`fill`], for the executor of a group.
pub(crate) fn fill_executor(executor: &mut ExecutorSpec, framework: &FrameworkId, role: &Role) {
    let info = Arc::make_mut(&mut executor.info);
    allocate(&mut info.resources, role);
    info.framework_id.get_or_insert_with(|| v1::FrameworkId::from(framework));
}

fn allocate(resources: &mut [v1::Resource], role: &Role) {
    for resource in resources {
        let info = resource.allocation_info.get_or_insert_default();
        info.role.get_or_insert_with(|| role.to_string());
    }
}

pub(super) type Verdict = Result<(), String>;

pub(super) fn demand(holds: bool, fault: &str) -> Verdict {
    if holds { Ok(()) } else { Err(fault.to_owned()) }
}

impl Site<'_> {
    /// Judges a task whose left-outs are filled in.
    pub(crate) fn check(&self, spec: &TaskSpec) -> Result<Launch, String> {
        let task = self.task(spec)?;
        self.limits(&spec.info, &task)?;
        demand(
            spec.info.command.is_some() != spec.info.executor.is_some(),
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
        )?;
        let executor = match &spec.executor {
            Some(executor) => self.executor(executor, &task)?,
            None => None,
        };
        let all = self.fit(&task, executor.as_ref().map(|(_, _, resources)| resources))?;
        Ok(Launch { task, executor, all })
    }

    /// What is to be said of every task, however it is launched; what it takes.
    pub(super) fn task(&self, spec: &TaskSpec) -> Result<Bag, String> {
        id::check(spec.id.as_str()).map_err(|error| id_text(spec.id.as_str(), &error))?;
        let taken =
            self.framework.tasks.contains_key(&spec.id) || self.framework.unreachable.contains_key(&spec.id);
        if taken {
            return Err(format!("Task has duplicate ID: {}", spec.id));
        }
        if spec.agent != *self.agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                spec.agent, self.agent
            ));
        }
        times(&spec.info)?;
        if let Some(check) = &spec.info.check {
            check_of(check)?;
        }
        if let Some(check) = &spec.info.health_check {
            health_check(check)?;
        }
        let task = self.resources(&spec.info.resources, &spec.resources, "Task uses no resources")?;
        if let Some(command) = &spec.info.command {
            command_info(command)?;
        }
        if let Some(container) = &spec.info.container {
            container_info(container)?;
        }
        Ok(task)
    }

    /// Reads resources that must all be of the offer's role.
    pub(super) fn resources(
        &self,
        wire: &[v1::Resource],
        read: &Result<Bag, ResourceError>,
        none: &str,
    ) -> Result<Bag, String> {
        // The text of an error names the role, which is only known now.
        let bag = read.as_ref().map_err(|early| match Bag::from_wire(wire) {
            Err(error) => error.to_string(),
            Ok(_) => early.to_string(),
        })?;
        if bag.is_empty() && !none.is_empty() {
            return Err(none.to_owned());
        }
        for item in bag {
            if let Some(role) = item.allocated_to().filter(|role| *role != self.role) {
                return Err(format!(
                    "Resources are allocated to role '{role}' while the offers are allocated to role '{}'",
                    self.role
                ));
            }
            let torn = |other: &model::resources::Item| {
                other.name() == item.name() && other.is_revocable() != item.is_revocable()
            };
            if bag.iter().any(torn) {
                return Err(format!(
                    "Task (with its executor) uses both revocable and non-revocable '{}'",
                    item.name().as_str()
                ));
            }
        }
        Ok(bag.unallocate())
    }

    /// Only cpus and memory may burst, and only upwards.
    pub(super) fn limits(&self, info: &TaskInfo, task: &Bag) -> Verdict {
        for (name, limit) in &info.limits {
            let requested = match name.as_str() {
                "cpus" => task.cpus(),
                "mem" => task.mem(),
                _ => return Err(format!("Task limits may only be set on 'cpus' and 'mem', not on '{name}'")),
            };
            // Infinity is allowed and is more than anything; NaN is not.
            if limit.value.is_nan() || limit.value < requested.as_f64() {
                return Err(format!(
                    "Task's limit of '{name}' is {} and must not be less than its request of {requested}",
                    limit.value
                ));
            }
        }
        Ok(())
    }

    /// Judges the executor of a LAUNCH; returns what it takes if the agent has not got it yet.
    fn executor(
        &self,
        executor: &ExecutorSpec,
        task: &Bag,
    ) -> Result<Option<(ExecutorId, Arc<ExecutorInfo>, Bag)>, String> {
        use v1::executor_info::Type as Kind;
        let info = &executor.info;
        match info.r#type.and_then(|kind| Kind::try_from(kind).ok()) {
            None | Some(Kind::Unknown | Kind::Custom) => {
                demand(info.command.is_some(), "'ExecutorInfo.command' must be set for 'CUSTOM' executor")?;
            }
            Some(Kind::Default) => {
                return Err("'ExecutorInfo.type' must be 'CUSTOM' in a LAUNCH operation".to_owned());
            }
        }
        self.any_executor(executor, task)
    }

    /// What is to be said of every executor, and of it together with what its tasks take.
    pub(super) fn any_executor(
        &self,
        executor: &ExecutorSpec,
        task: &Bag,
    ) -> Result<Option<(ExecutorId, Arc<ExecutorInfo>, Bag)>, String> {
        let info = &executor.info;
        id::check(executor.id.as_str()).map_err(|error| id_text(executor.id.as_str(), &error))?;
        if let Some(owner) =
            info.framework_id.as_ref().filter(|owner| owner.value != self.framework.id.as_str())
        {
            return Err(format!(
                "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {})",
                owner.value, self.framework.id
            ));
        }
        let grace = info.shutdown_grace_period.as_ref().map_or(0, |grace| grace.nanoseconds);
        demand(grace >= 0, "ExecutorInfo's 'shutdown_grace_period' must be non-negative")?;
        if let Some(command) = &info.command {
            command_info(command)?;
        }
        if let Some(container) = &info.container {
            container_info(container)?;
        }
        let key = (self.agent.clone(), executor.id.clone());
        if let Some(live) = self.framework.executors.get(&key) {
            demand(
                live.info == *info,
                "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID",
            )?;
            return Ok(None);
        }
        let resources = self.resources(&info.resources, &executor.resources, "")?;
        let shared = |one: &model::resources::Item| {
            one.is_revocable() != task.iter().any(model::resources::Item::is_revocable)
                && task.iter().any(|other| other.name() == one.name())
        };
        if let Some(torn) = resources.iter().find(|item| shared(item)) {
            return Err(format!(
                "Task (with its executor) uses both revocable and non-revocable '{}'",
                torn.name().as_str()
            ));
        }
        Ok(Some((executor.id.clone(), Arc::clone(info), resources)))
    }

    /// What task and executor take together, if there is so much.
    pub(super) fn fit(&self, task: &Bag, executor: Option<&Bag>) -> Result<Bag, String> {
        let mut wanted = task.clone();
        for item in executor.into_iter().flatten() {
            wanted.try_insert(item.clone()).map_err(|item| {
                format!("Task and its executor both use some of '{}'", item.name().as_str())
            })?;
        }
        if self.rest.contains(&wanted) {
            return Ok(wanted);
        }
        Err(format!(
            "Total resources {} required by task and its executor is more than available {}",
            wanted.allocate(self.role),
            self.rest.allocate(self.role)
        ))
    }
}

/// The sentence about an id that schedulers know for the most common fault.
fn id_text(id: &str, error: &IdError) -> String {
    match error {
        IdError::Character(_) => format!("'{}' contains invalid characters", id.escape_debug()),
        other => other.to_string(),
    }
}

fn times(info: &TaskInfo) -> Verdict {
    let grace = info.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    demand(
        grace.is_none_or(|grace| grace.nanoseconds >= 0),
        "Task's 'kill_policy.grace_period' must be non-negative",
    )?;
    let longest = info.max_completion_time.as_ref();
    demand(
        longest.is_none_or(|time| time.nanoseconds >= 0),
        "Task's 'max_completion_time' must be non-negative",
    )
}

/// Delays of probes: absent, or a number that is not negative.
fn delays(subject: &str, delays: &[(&str, Option<f64>)]) -> Verdict {
    for (field, seconds) in delays {
        if seconds.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) {
            return Err(format!("{subject}: Expecting '{field}' to be non-negative"));
        }
    }
    Ok(())
}

fn check_of(check: &CheckInfo) -> Verdict {
    use v1::check_info::Type as Kind;
    let subject = "Task uses invalid check";
    let fault = |text: &str| Err(format!("{subject}: {text}"));
    match check.r#type.and_then(|kind| Kind::try_from(kind).ok()) {
        None => return fault("CheckInfo must specify 'type'"),
        Some(Kind::Unknown) => return fault("'UNKNOWN' is not a valid check type"),
        Some(Kind::Command) => match &check.command {
            None => return fault("Expecting 'command' to be set for COMMAND check"),
            Some(command) => probe_command(subject, &command.command)?,
        },
        Some(Kind::Http) => match &check.http {
            None => return fault("Expecting 'http' to be set for HTTP check"),
            Some(http) if http.path.as_ref().is_some_and(|path| !path.starts_with('/')) => {
                return fault("The path of HTTP check must start with '/'");
            }
            Some(_) => {}
        },
        Some(Kind::Tcp) if check.tcp.is_none() => return fault("Expecting 'tcp' to be set for TCP check"),
        Some(Kind::Tcp) => {}
    }
    let times = [
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
    ];
    delays(subject, &times)
}

fn health_check(check: &HealthCheck) -> Verdict {
    use v1::health_check::Type as Kind;
    let subject = "Task uses invalid health check";
    let fault = |text: &str| Err(format!("{subject}: {text}"));
    match check.r#type.and_then(|kind| Kind::try_from(kind).ok()) {
        None => return fault("HealthCheck must specify 'type'"),
        Some(Kind::Unknown) => return fault("'UNKNOWN' is not a valid health check type"),
        Some(Kind::Command) => match &check.command {
            None => return fault("Expecting 'command' to be set for COMMAND health check"),
            Some(command) => probe_command(subject, command)?,
        },
        Some(Kind::Http) => match &check.http {
            None => return fault("Expecting 'http' to be set for HTTP health check"),
            Some(http) => {
                if !matches!(http.scheme.as_deref(), None | Some("http" | "https")) {
                    let scheme = http.scheme.as_deref().unwrap_or_default();
                    return fault(&format!("Unsupported HTTP health check scheme: '{scheme}'"));
                }
                if http.path.as_ref().is_some_and(|path| !path.starts_with('/')) {
                    return fault("The path of HTTP health check must start with '/'");
                }
            }
        },
        Some(Kind::Tcp) if check.tcp.is_none() => {
            return fault("Expecting 'tcp' to be set for TCP health check");
        }
        Some(Kind::Tcp) => {}
    }
    let times = [
        ("delay_seconds", check.delay_seconds),
        ("interval_seconds", check.interval_seconds),
        ("timeout_seconds", check.timeout_seconds),
        ("grace_period_seconds", check.grace_period_seconds),
    ];
    delays(subject, &times)
}

fn probe_command(subject: &str, command: &CommandInfo) -> Verdict {
    if command.value.as_ref().is_none_or(String::is_empty) {
        return Err(format!("{subject}: Command must specify 'value'"));
    }
    command_info(command).map_err(|fault| format!("{subject}: {fault}"))
}

fn command_info(command: &CommandInfo) -> Verdict {
    use v1::environment::variable::Type as Kind;
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let name = &variable.name;
        let kind = variable.r#type.and_then(|kind| Kind::try_from(kind).ok()).unwrap_or(Kind::Value);
        let fault = match (kind, &variable.value, &variable.secret) {
            (Kind::Value, Some(_), None) | (Kind::Secret, None, Some(_)) => continue,
            (Kind::Value, None, _) => "of type 'VALUE' must have a value set",
            (Kind::Value, Some(_), Some(_)) => "of type 'VALUE' must not have a secret set",
            (Kind::Secret, _, None) => "of type 'SECRET' must have a secret set",
            (Kind::Secret, Some(_), Some(_)) => "of type 'SECRET' must not have a value set",
            (Kind::Unknown, ..) => "of type 'UNKNOWN' is not allowed",
        };
        return Err(format!("Environment variable '{name}' {fault}"));
    }
    Ok(())
}

fn container_info(container: &ContainerInfo) -> Verdict {
    use v1::container_info::Type as Kind;
    for volume in &container.volumes {
        let sources = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        if sources.into_iter().filter(|set| *set).count() != 1 {
            return Err(format!(
                "Volume '{}' must have exactly one of 'host_path', 'image' and 'source' set",
                volume.container_path
            ));
        }
    }
    if Kind::try_from(container.r#type) == Ok(Kind::Docker) {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
        };
        demand(
            docker.parameters.iter().all(|parameter| parameter.key != "name"),
            "Parameter in DockerInfo must not be 'name'",
        )?;
    }
    Ok(())
}
