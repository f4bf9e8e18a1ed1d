//! Tasks, executors and frameworks as the v1 API shows them.

use agent_core::{CommandSpec, Phase, Task, View};
use model::task::TaskState;
use wire::v1;

/// A task as readers of the state see it.
pub(super) fn task(view: &View, task: &Task) -> v1::Task {
    let info = &task.info;
    let forwarded = task.forwarded.as_ref();
    v1::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: (&task.key.framework).into(),
        agent_id: v1::AgentId { value: agent(view) },
        executor_id: task.executor.as_ref().map(|id| v1::ExecutorId { value: id.to_string() }),
        state: wire_state(task.state) as i32,
        resources: info.resources.clone(),
        limits: info.limits.clone(),
        statuses: task.statuses.iter().map(|update| without_data(&update.status)).collect(),
        status_update_state: forwarded.map(|update| update.status.state),
        status_update_uuid: forwarded.and_then(|update| update.status.uuid.clone()),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        user: task.spec.as_ref().and_then(|spec| spec.command.user.clone()),
    }
}

fn without_data(status: &v1::TaskStatus) -> v1::TaskStatus {
    v1::TaskStatus { data: None, ..status.clone() }
}

pub(super) fn wire_state(state: TaskState) -> v1::TaskState {
    v1::TaskState::from_str_name(state.name()).unwrap_or(v1::TaskState::TaskUnknown)
}

pub(super) fn agent(view: &View) -> String {
    view.agent.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The name under which the agent plays the executor of a command task.
pub(super) fn executor_name(task: &Task) -> String {
    let command = task.spec.as_ref().map(|spec| short(&spec.command)).unwrap_or_default();
    format!("Command Executor (Task: {}) (Command: {command})", task.key.task)
}

/// `sh -c 'echo hello; ...'` or `[/bin/echo, hello]`, cut so that tables stay readable.
fn short(command: &CommandSpec) -> String {
    if !command.shell {
        let words = if command.arguments.is_empty() { &command.value } else { &command.arguments.join(", ") };
        return format!("[{words}]");
    }
    if command.value.chars().count() <= 15 {
        return format!("sh -c '{}'", command.value);
    }
    let begin: String = command.value.chars().take(12).collect();
    format!("sh -c '{begin}...'")
}

/// The executor that the agent plays for a task.
pub(super) fn executor(task: &Task) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: task.key.task.to_string() },
        framework_id: Some((&task.key.framework).into()),
        command: task.info.command.clone(),
        resources: task.info.resources.clone(),
        name: Some(executor_name(task)),
        source: Some(task.key.task.to_string()),
        labels: task.info.labels.clone(),
        discovery: task.info.discovery.clone(),
        ..Default::default()
    }
}

/// Whether something of the task may be running.
pub(super) fn is_live(task: &Task) -> bool {
    task.phase != Phase::Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(shell: bool, value: &str, arguments: &[&str]) -> CommandSpec {
        CommandSpec {
            shell,
            value: value.into(),
            arguments: arguments.iter().map(|word| (*word).into()).collect(),
            environment: Vec::new(),
            user: None,
            uris: Vec::new(),
        }
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(short(&command(true, "env; sleep 30", &[])), "sh -c 'env; sleep 30'");
        assert_eq!(short(&command(true, "echo hello; sleep 1", &[])), "sh -c 'echo hello; ...'");
        assert_eq!(short(&command(true, "äöüäöüäöüäöüäöüäöü", &[])), "sh -c 'äöüäöüäöüäöü...'");
        assert_eq!(short(&command(false, "/no/such", &["/no/such", "x"])), "[/no/such, x]");
    }
}
