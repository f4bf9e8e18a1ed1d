//! The lists of the state's answers, each record made when its turn comes.

use wire::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, get_agents, get_executors, get_frameworks,
};
use wire::v1;

use super::state::{agent_record, framework_record};
use crate::snapshot::Snapshot;

/// Completed tasks in the snapshot that opens an event stream. One Go client gives up on records over 4 MiB, which
/// the whole history of a busy cluster exceeds by far; the whole is what `GET_TASKS` is for.
pub(super) const STREAM_COMPLETED_TASKS: usize = 1_000;

/// Records in one part of an answer. Each part is made and sent before the next is begun.
const PART: usize = 256;

/// The records of one snapshot.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    snapshot: &'a Snapshot,
    /// At most so many completed tasks, the newest of each framework.
    completed: usize,
}

impl<'a> Lists<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, completed: usize) -> Self {
        Self { snapshot, completed }
    }

    pub(super) fn all(snapshot: &'a Snapshot) -> Self {
        Self::new(snapshot, usize::MAX)
    }

    /// About how many records there are; counted from the tables' sizes.
    pub(super) fn len(self) -> usize {
        let tables = &self.snapshot.tables;
        let of_frameworks = tables.frameworks.values().chain(&tables.completed).map(|framework| {
            framework.tasks.len()
                + framework.unreachable.len()
                + framework.completed.len()
                + framework.offers.len()
                + framework.executors.len()
                + 1
        });
        of_frameworks.sum::<usize>() + tables.agents.len() + tables.recovered.len()
    }

    pub(super) fn tasks(self) -> impl Iterator<Item = v1::Task> + 'a {
        let live = self.snapshot.tables.frameworks.values();
        live.flat_map(|framework| framework.tasks.values()).map(|task| super::task(task))
    }

    pub(super) fn unreachable_tasks(self) -> impl Iterator<Item = v1::Task> + 'a {
        let live = self.snapshot.tables.frameworks.values();
        live.flat_map(|framework| framework.unreachable.values()).map(|task| super::task(task))
    }

    pub(super) fn completed_tasks(self) -> impl Iterator<Item = v1::Task> + 'a {
        let tables = &self.snapshot.tables;
        let all = tables.frameworks.values().chain(&tables.completed);
        let ended = all.flat_map(|framework| framework.completed.iter().rev());
        ended.take(self.completed).map(|task| super::task(task))
    }

    pub(super) fn executors(self) -> impl Iterator<Item = get_executors::Executor> + 'a {
        let live = self.snapshot.tables.frameworks.values();
        live.flat_map(|framework| framework.executors.values()).map(|executor| get_executors::Executor {
            executor_info: (*executor.info).clone(),
            agent_id: (&executor.agent).into(),
        })
    }

    pub(super) fn frameworks(self) -> impl Iterator<Item = get_frameworks::Framework> + 'a {
        self.snapshot.tables.frameworks.values().map(|framework| framework_record(framework))
    }

    pub(super) fn completed_frameworks(self) -> impl Iterator<Item = get_frameworks::Framework> + 'a {
        self.snapshot.tables.completed.iter().map(|framework| framework_record(framework))
    }

    pub(super) fn agents(self) -> impl Iterator<Item = get_agents::Agent> + 'a {
        let tables = &self.snapshot.tables;
        tables.agents.values().map(|agent| {
            agent_record(agent, &super::agent_usage(tables, agent), &super::agent_offered(tables, agent))
        })
    }

    pub(super) fn recovered_agents(self) -> impl Iterator<Item = v1::AgentInfo> + 'a {
        let registry = &self.snapshot.registry;
        let recovered = self.snapshot.tables.recovered.iter();
        recovered.filter_map(|id| registry.agent(id)).map(|fact| (*fact.info).clone())
    }

    pub(super) fn task_parts(self) -> impl Iterator<Item = GetTasks> + 'a {
        let tasks = batches(self.tasks()).map(|tasks| GetTasks { tasks, ..GetTasks::default() });
        let unreachable = batches(self.unreachable_tasks())
            .map(|unreachable_tasks| GetTasks { unreachable_tasks, ..GetTasks::default() });
        let completed = batches(self.completed_tasks())
            .map(|completed_tasks| GetTasks { completed_tasks, ..GetTasks::default() });
        tasks.chain(unreachable).chain(completed)
    }

    pub(super) fn executor_parts(self) -> impl Iterator<Item = GetExecutors> + 'a {
        batches(self.executors()).map(|executors| GetExecutors { executors, ..GetExecutors::default() })
    }

    pub(super) fn framework_parts(self) -> impl Iterator<Item = GetFrameworks> + 'a {
        let live = batches(self.frameworks())
            .map(|frameworks| GetFrameworks { frameworks, ..GetFrameworks::default() });
        let ended = batches(self.completed_frameworks())
            .map(|completed_frameworks| GetFrameworks { completed_frameworks, ..GetFrameworks::default() });
        live.chain(ended)
    }

    pub(super) fn agent_parts(self) -> impl Iterator<Item = GetAgents> + 'a {
        let agents = batches(self.agents()).map(|agents| GetAgents { agents, ..GetAgents::default() });
        let recovered = batches(self.recovered_agents())
            .map(|recovered_agents| GetAgents { recovered_agents, ..GetAgents::default() });
        agents.chain(recovered)
    }

    pub(super) fn state_parts(self) -> impl Iterator<Item = GetState> + 'a {
        let tasks = self.task_parts().map(|part| GetState { get_tasks: Some(part), ..GetState::default() });
        let executors =
            self.executor_parts().map(|part| GetState { get_executors: Some(part), ..GetState::default() });
        let frameworks =
            self.framework_parts().map(|part| GetState { get_frameworks: Some(part), ..GetState::default() });
        let agents =
            self.agent_parts().map(|part| GetState { get_agents: Some(part), ..GetState::default() });
        tasks.chain(executors).chain(frameworks).chain(agents)
    }
}

/// Every list there, and nothing in it.
pub(super) fn empty_state() -> GetState {
    GetState {
        get_tasks: Some(GetTasks::default()),
        get_executors: Some(GetExecutors::default()),
        get_frameworks: Some(GetFrameworks::default()),
        get_agents: Some(GetAgents::default()),
    }
}

/// The items, so many at a time, none made before its batch is asked for.
fn batches<M>(mut items: impl Iterator<Item = M>) -> impl Iterator<Item = Vec<M>> {
    std::iter::from_fn(move || {
        let batch: Vec<M> = items.by_ref().take(PART).collect();
        (!batch.is_empty()).then_some(batch)
    })
}
