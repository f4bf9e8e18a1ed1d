//! Health checks and their results.

use serde::{Deserialize, Deserializer, Serialize};

use super::Number;

/// How the health of an instance is probed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_index: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    pub grace_period_seconds: Option<Number>,
    pub interval_seconds: Option<Number>,
    pub timeout_seconds: Option<Number>,
    pub max_consecutive_failures: Option<i64>,
    pub delay_seconds: Option<Number>,
    #[serde(rename = "ignoreHttp1xx", skip_serializing_if = "Option::is_none")]
    pub ignore_http_1xx: Option<bool>,
    pub ip_protocol: Option<String>,
}

/// The command of a COMMAND check. Written as `{"value": "..."}`; a bare string is read too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Command {
    pub value: String,
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string, or an object with the string `value`")]
        enum Either {
            Text(String),
            Object { value: String },
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(value) | Either::Object { value } => Self { value },
        })
    }
}

/// The last results of one check of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthCheckResult {
    pub alive: bool,
    pub consecutive_failures: u32,
    pub first_success: Option<String>,
    pub last_success: Option<String>,
    pub last_failure: Option<String>,
    pub last_failure_cause: Option<String>,
    pub instance_id: String,
    pub task_id: String,
}
