//! Instances that load balancers are asked to let go of. Ours: the original has no such thing.

use serde::{Deserialize, Serialize};

/// A task that waits for the drainers before it is killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainingTask {
    pub app_id: String,
    pub instance_id: String,
    pub task_id: String,
    pub host: String,
    pub ports: Vec<u16>,
    /// When the task is killed even if nobody has answered.
    pub deadline: String,
    /// Names of the drainers that have not yet let go.
    pub waiting_for: Vec<String>,
}

/// Answer of `GET /v2/drains`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainsResponse {
    /// Connected drainers.
    pub drainers: Vec<String>,
    pub draining: Vec<DrainingTask>,
}

/// Body of `POST /v2/drains`: this drainer no longer sends anything to these tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainAcknowledgement {
    pub drainer: String,
    pub task_ids: Vec<String>,
}
