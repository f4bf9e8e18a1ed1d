//! Deployments under way, and the answer to a change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Answer to every accepted change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentResult {
    pub version: String,
    pub deployment_id: String,
}

/// One thing done to one app, by the name clients know: `StartApplication`, `ScaleApplication`,
/// `RestartApplication`, `StopApplication`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub action: String,
    pub app: String,
}

/// Actions that run in parallel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub actions: Vec<Action>,
}

/// An action of the step that runs now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    pub action: String,
    pub app: String,
    #[serde(default)]
    pub readiness_check_results: Vec<Value>,
    /// What keeps the action from its aim; only when asked for with `embed=waits`, as the key is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Vec<Wait>>,
}

/// Why an action is not done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// One word: `WaitingForOffers`, `NotHealthy` and so on.
    pub reason: String,
    /// How many instances it concerns.
    pub instances: usize,
    /// A sentence for people.
    pub message: String,
}

/// A running deployment, as `GET /v2/deployments` lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub id: String,
    pub version: String,
    pub affected_apps: Vec<String>,
    #[serde(default)]
    pub affected_pods: Vec<String>,
    pub steps: Vec<Step>,
    pub current_actions: Vec<CurrentAction>,
    /// Counted from 1; 0 before the first step starts.
    pub current_step: usize,
    pub total_steps: usize,
}
