//! Instances that load balancers are asked to let go of.

use wire::marathon::{DrainingTask, DrainsResponse};

use crate::core::version::stamp;
use crate::supervisor::state::State;

pub(in crate::http) fn drains(state: &State) -> DrainsResponse {
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
    DrainsResponse { drainers: state.drains.names().map(str::to_owned).collect(), draining: draining.collect() }
}
