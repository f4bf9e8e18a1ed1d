//! The calls of the scheduler API, made from the nouns of the model.

use model::id::{AgentId, OfferId, TaskId};
use model::time::Span;
use wire::scheduler::{Call, call};
use wire::v1;
use wire::v1::offer::{Operation, operation};

fn typed(kind: call::Type, call: Call) -> Call {
    Call { r#type: Some(kind.into()), ..call }
}

fn filters(refuse: Span) -> Option<v1::Filters> {
    Some(v1::Filters { refuse_seconds: Some(refuse.as_secs_f64()) })
}

/// Does `operations` with the resources of `offers`, all of one agent, and refuses what is left for `refuse`.
pub fn accept(offers: Vec<OfferId>, operations: Vec<Operation>, refuse: Span) -> Call {
    let offer_ids = offers.into_iter().map(Into::into).collect();
    let accept = call::Accept { offer_ids, operations, filters: filters(refuse) };
    typed(call::Type::Accept, Call { accept: Some(accept), ..Call::default() })
}

/// The operation that launches tasks.
pub fn launch(task_infos: Vec<v1::TaskInfo>) -> Operation {
    Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos }),
        ..Default::default()
    }
}

/// The tasks that a call launches.
pub fn launched(call: &Call) -> Vec<TaskId> {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    let single = operations.clone().filter_map(|operation| operation.launch.as_ref());
    let groups = operations.filter_map(|operation| operation.launch_group.as_ref());
    let infos = single.flat_map(|launch| &launch.task_infos);
    let infos = infos.chain(groups.flat_map(|group| &group.task_group.tasks));
    infos.map(|info| TaskId::from(info.task_id.value.as_str())).collect()
}

/// Gives offers back and does not want these resources for `refuse`.
pub fn decline(offers: Vec<OfferId>, refuse: Span) -> Call {
    let offer_ids = offers.into_iter().map(Into::into).collect();
    let decline = call::Decline { offer_ids, filters: filters(refuse) };
    typed(call::Type::Decline, Call { decline: Some(decline), ..Call::default() })
}

/// Asks for offers again, for every role, and forgets all refusals.
pub fn revive() -> Call {
    typed(call::Type::Revive, Call { revive: Some(Default::default()), ..Call::default() })
}

/// Asks for no more offers, for every role.
pub fn suppress() -> Call {
    typed(call::Type::Suppress, Call { suppress: Some(Default::default()), ..Call::default() })
}

/// Ends a task. `grace` overrides what the task came with.
pub fn kill(task: TaskId, agent: Option<AgentId>, grace: Option<Span>) -> Call {
    let kill_policy = grace.map(|grace| v1::KillPolicy { grace_period: Some(grace.into()) });
    let kill = call::Kill { task_id: task.into(), agent_id: agent.map(Into::into), kill_policy };
    typed(call::Type::Kill, Call { kill: Some(kill), ..Call::default() })
}

/// Confirms an update, so that the agent goes on to the next and stops repeating this one.
pub fn acknowledge(agent: AgentId, task: TaskId, uuid: Vec<u8>) -> Call {
    let acknowledge = call::Acknowledge { agent_id: agent.into(), task_id: task.into(), uuid: uuid.into() };
    typed(call::Type::Acknowledge, Call { acknowledge: Some(acknowledge), ..Call::default() })
}

/// Asks how tasks stand; with none named, how all that the master knows of the framework do.
pub fn reconcile(tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Call {
    let tasks = tasks
        .into_iter()
        .map(|(task, agent)| call::reconcile::Task { task_id: task.into(), agent_id: agent.map(Into::into) })
        .collect();
    let reconcile = call::Reconcile { tasks };
    typed(call::Type::Reconcile, Call { reconcile: Some(reconcile), ..Call::default() })
}

/// Ends the framework and all its tasks, for ever.
pub fn teardown() -> Call {
    typed(call::Type::Teardown, Call::default())
}
