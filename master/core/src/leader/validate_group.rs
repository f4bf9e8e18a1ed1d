//! Whether a group of tasks may be launched (spec mesos-v1, section 11.3): all of it, or none.

use std::collections::BTreeSet;

use model::quantity::Quantity;
use model::resources::Bag;
use wire::v1::{self, NetworkInfo};

use super::validate::{Launch, Site, Verdict, demand};
use crate::call::{ExecutorSpec, TaskSpec};

/// What the executor of a group needs at least, in thousandths of a processor.
const EXECUTOR_CPUS: i64 = 10;

/// As [`EXECUTOR_CPUS`], in megabytes.
const EXECUTOR_MEM: u32 = 32;

impl Site<'_> {
    /// Judges a group whose left-outs are filled in. The executor, if it is new, is charged to the first task.
    pub(crate) fn check_group(
        &self,
        executor: &ExecutorSpec,
        tasks: &[TaskSpec],
    ) -> Result<Vec<Launch>, String> {
        kind(executor)?;
        let mut ids = BTreeSet::new();
        let mut sum = Bag::new();
        let mut parts = Vec::with_capacity(tasks.len());
        for spec in tasks {
            if !ids.insert(&spec.id) {
                return Err(format!("Task has duplicate ID: {}", spec.id));
            }
            let invalid = |fault| format!("Task '{}' is invalid: {fault}", spec.id);
            let part = self.task(spec).map_err(invalid)?;
            self.limits(&spec.info, &part).map_err(invalid)?;
            member(spec, executor)?;
            for item in &part {
                sum.try_insert(item.clone()).map_err(|item| {
                    format!("Two tasks of the group both use some of '{}'", item.name().as_str())
                })?;
            }
            parts.push(part);
        }
        let mut fresh = self.any_executor(executor, &sum)?;
        // What it takes is a matter of the executor alone, whether or not the agent has it already.
        let takes = self.resources(&executor.info.resources, &executor.resources, "")?;
        enough(executor, &takes)?;
        self.fit(&sum, fresh.as_ref().map(|(_, _, resources)| resources))?;
        let launches = parts.into_iter().map(|task| {
            let executor = fresh.take();
            let all = executor.as_ref().map_or_else(|| task.clone(), |(_, _, more)| &task + more);
            Launch { task, executor, all }
        });
        Ok(launches.collect())
    }
}

fn kind(executor: &ExecutorSpec) -> Verdict {
    use v1::executor_info::Type as Kind;
    let info = &executor.info;
    match info.r#type.and_then(|kind| Kind::try_from(kind).ok()) {
        None => return Err("'ExecutorInfo.type' must be set in a LAUNCH_GROUP operation".to_owned()),
        Some(Kind::Unknown) => return Err("Unknown executor type".to_owned()),
        Some(Kind::Custom) => {
            demand(info.command.is_some(), "'ExecutorInfo.command' must be set for 'CUSTOM' executor")?;
        }
        Some(Kind::Default) => {
            demand(info.command.is_none(), "'ExecutorInfo.command' must not be set for 'DEFAULT' executor")?;
        }
    }
    let docker = info.container.as_ref().is_some_and(is_docker);
    demand(!docker, "Docker ContainerInfo is not supported on the executor of a task group")
}

/// What a task of a group may not have, because its executor has it.
fn member(spec: &TaskSpec, executor: &ExecutorSpec) -> Verdict {
    let info = &spec.info;
    if spec.executor.as_ref().is_none_or(|own| own.info != executor.info) {
        return Err(format!("The ExecutorInfo of task '{}' is different from that of its group", spec.id));
    }
    if info.container.as_ref().is_some_and(is_docker) {
        return Err(format!("Docker ContainerInfo is not supported on task '{}' of a task group", spec.id));
    }
    let networks: &[NetworkInfo] =
        info.container.as_ref().map(|container| &*container.network_infos).unwrap_or_default();
    if !networks.is_empty() && probes_network(info) {
        return Err(format!(
            "HTTP and TCP checks of task '{}' need 'network_infos' to be set on the executor, not on the task",
            spec.id
        ));
    }
    if !info.limits.is_empty() {
        let shared = info
            .container
            .as_ref()
            .and_then(|container| container.linux_info.as_ref())
            .is_none_or(|linux| linux.share_cgroups.unwrap_or(true));
        if shared {
            return Err(format!(
                "Task '{}' of a group may only set 'limits' with 'linux_info.share_cgroups' false",
                spec.id
            ));
        }
    }
    Ok(())
}

fn is_docker(container: &v1::ContainerInfo) -> bool {
    use v1::container_info::Type as Kind;
    Kind::try_from(container.r#type) == Ok(Kind::Docker)
}

fn probes_network(info: &v1::TaskInfo) -> bool {
    use v1::{check_info, health_check};
    let health = info
        .health_check
        .as_ref()
        .is_some_and(|check| matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp));
    let check = info
        .check
        .as_ref()
        .is_some_and(|check| matches!(check.r#type(), check_info::Type::Http | check_info::Type::Tcp));
    health || check
}

/// Groups are new enough that an executor without resources of its own is a mistake; in a LAUNCH it is old custom.
fn enough(executor: &ExecutorSpec, takes: &Bag) -> Verdict {
    let id = &executor.id;
    if takes.cpus().thousandths() < EXECUTOR_CPUS {
        return Err(format!(
            "Executor '{id}' uses less CPUs ({}) than the minimum required (0.01)",
            takes.cpus()
        ));
    }
    if takes.mem() < Quantity::from_units(EXECUTOR_MEM) {
        return Err(format!(
            "Executor '{id}' uses less memory ({} MB) than the minimum required ({EXECUTOR_MEM} MB)",
            takes.mem()
        ));
    }
    if takes.disk().is_zero() {
        return Err(format!("Executor '{id}' uses no disk"));
    }
    Ok(())
}
