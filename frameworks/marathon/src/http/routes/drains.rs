//! `/v2/drains`: load balancers that want to let go of instances before they are killed.

use http::{Method, StatusCode};
use model::id::TaskId;
use wire::marathon::{DrainAcknowledgement, DrainingTask, DrainsResponse};

use super::wrong_method;
use crate::core::version::stamp;
use crate::http::respond::{Answered, Problem, ok};
use crate::http::{Api, Call};
use crate::limits;
use crate::supervisor::message::Command;

pub(super) async fn route(api: &Api, call: &Call) -> Answered {
    match *call.method() {
        Method::GET => list(api).await,
        Method::POST => acknowledge(api, call).await,
        _ => Err(wrong_method()),
    }
}

async fn list(api: &Api) -> Answered {
    let state = api.view().await?;
    let draining = state.instances.values().filter_map(|instance| {
        let task = instance.task.as_ref()?;
        Some(DrainingTask {
            app_id: instance.app.to_string(),
            instance_id: instance.id.to_string(),
            task_id: task.id.to_string(),
            host: task.host.clone(),
            ports: task.ports.clone(),
            deadline: stamp(task.kill_by?),
            waiting_for: state.drains.waited_for(&task.id).map(str::to_owned).collect(),
        })
    });
    ok(&DrainsResponse {
        drainers: state.drains.names().map(str::to_owned).collect(),
        draining: draining.collect(),
    })
}

async fn acknowledge(api: &Api, call: &Call) -> Answered {
    let DrainAcknowledgement { drainer, task_ids } = call.document()?;
    if task_ids.len() > limits::TASKS_PER_KILL {
        let text = format!("taskIds must not name more than {} tasks", limits::TASKS_PER_KILL);
        return Err(Problem::BadRequest(text));
    }
    let tasks = task_ids.into_iter().map(TaskId::from).collect();
    api.command(call, Command::Drained { drainer, tasks }).await?;
    Ok(super::status(StatusCode::NO_CONTENT))
}
