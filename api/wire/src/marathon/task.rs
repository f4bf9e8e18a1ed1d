//! Tasks as readers see them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::HealthCheckResult;

/// A task of an app, as listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    pub id: String,
    pub app_id: String,
    pub host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Host ports, in the order of the app's port definitions.
    pub ports: Vec<u16>,
    pub service_ports: Vec<u16>,
    pub ip_addresses: Vec<IpAddress>,
    pub health_check_results: Vec<HealthCheckResult>,
    pub local_volumes: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// About to be killed and waiting for the load balancers to let go of it. Only in apps asked for with
    /// `embed=apps.draining`, and left out when false: the key is ours, and strict clients reject keys they do not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// An address of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    pub ip_address: String,
    pub protocol: String,
}

/// Answer of the calls that list or kill tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TasksResponse {
    pub tasks: Vec<Task>,
}

/// Answer of the call that kills one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskResponse {
    pub task: Task,
}

/// Body of `POST /v2/tasks/delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillTasks {
    pub ids: Vec<String>,
}
