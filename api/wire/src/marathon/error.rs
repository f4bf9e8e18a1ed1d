//! Bodies of refusals.

use serde::{Deserialize, Serialize};

use super::DeploymentRef;

/// Body of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorResponse {
    pub message: String,
    /// Text of the parser, or a list of [`FieldErrors`]: clients tell the two apart by type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// The deployments that hold the lock; a client tells "locked" from "exists already" by this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<DeploymentRef>>,
}

/// What is wrong at one place of a document. A path names each step as `/name` and each position as `(0)`; the whole
/// document is `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldErrors {
    pub path: String,
    pub errors: Vec<String>,
}
