//! Tasks to launch.

use model::id::{AgentId, TaskId};
use model::resources::Form;
use model::time::Span;
use wire::v1;

use crate::offer::{Offer, Share};

/// A description of a task. [`Task::command`] makes the common kind; [`Task::info`] reaches whatever else the protocol
/// has: executors, containers, checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    info: v1::TaskInfo,
}

impl Task {
    /// A command for the agent's shell. `id` is the framework's own and is never used twice: make it of what the task is
    /// for and of the attempt. The ports of the share are told to the task as `PORT0`, `PORT1` and so on, the first also
    /// as `PORT`.
    pub fn command(id: impl Into<TaskId>, share: Share, command: impl Into<String>) -> Self {
        let id = id.into();
        let ports = share.ports.iter().enumerate();
        let mut variables: Vec<_> =
            ports.map(|(at, port)| variable(&format!("PORT{at}"), &port.to_string())).collect();
        variables.extend(share.ports.first().map(|port| variable("PORT", &port.to_string())));
        let command = v1::CommandInfo {
            shell: Some(true),
            value: Some(command.into()),
            environment: Some(v1::Environment { variables }),
            ..Default::default()
        };
        Self {
            info: v1::TaskInfo {
                name: id.to_string(),
                task_id: id.into(),
                agent_id: share.agent.into(),
                resources: share.resources.to_wire(Form::Stack),
                command: Some(command),
                ..Default::default()
            },
        }
    }

    /// Its name for people; without one, the id.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.info.name = name.into();
        self
    }

    /// Adds a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let command = self.info.command.get_or_insert_default();
        command.environment.get_or_insert_default().variables.push(variable(name, value));
        self
    }

    /// Adds a label, which the operators' APIs show.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        let label = v1::Label { key: key.to_owned(), value: Some(value.to_owned()) };
        self.info.labels.get_or_insert_default().labels.push(label);
        self
    }

    /// Has the agent fetch a file into the sandbox first, unpacked if it is an archive.
    #[must_use]
    pub fn fetch(mut self, uri: &str) -> Self {
        let uri = v1::command_info::Uri { value: uri.to_owned(), extract: Some(true), ..Default::default() };
        self.info.command.get_or_insert_default().uris.push(uri);
        self
    }

    /// How long it may take to end between the signal and the kill.
    #[must_use]
    pub fn kill_grace(mut self, grace: Span) -> Self {
        self.info.kill_policy = Some(v1::KillPolicy { grace_period: Some(grace.into()) });
        self
    }

    /// The whole description, to be changed as wanted.
    pub fn info(&mut self) -> &mut v1::TaskInfo {
        &mut self.info
    }

    /// Its id.
    pub fn id(&self) -> TaskId {
        TaskId::from(self.info.task_id.value.as_str())
    }

    /// The agent it is for.
    pub fn agent(&self) -> AgentId {
        AgentId::from(self.info.agent_id.value.as_str())
    }

    /// As it goes to the master.
    pub(crate) fn into_wire(mut self, offer: &Offer) -> v1::TaskInfo {
        self.info.agent_id = offer.agent.clone().into();
        self.info
    }
}

impl From<v1::TaskInfo> for Task {
    fn from(info: v1::TaskInfo) -> Self {
        Self { info }
    }
}

fn variable(name: &str, value: &str) -> v1::environment::Variable {
    v1::environment::Variable { name: name.to_owned(), value: Some(value.to_owned()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use model::resources::Bag;

    use super::*;

    #[test]
    fn a_command_is_told_its_ports() {
        let share = Share {
            agent: "S".into(),
            resources: Bag::parse("cpus:1;ports:[31000-31001]").unwrap(),
            ports: vec![31001, 31000],
        };
        let mut task = Task::command("t.1", share, "serve").env("COLOUR", "red").named("t");
        let info = task.info();
        let variables = &info.command.as_ref().unwrap().environment.as_ref().unwrap().variables;
        let told: Vec<String> = variables
            .iter()
            .map(|variable| format!("{}={}", variable.name, variable.value.as_deref().unwrap()))
            .collect();
        assert_eq!(told, ["PORT0=31001", "PORT1=31000", "PORT=31001", "COLOUR=red"]);
        assert_eq!((info.name.as_str(), info.task_id.value.as_str()), ("t", "t.1"));
    }
}
