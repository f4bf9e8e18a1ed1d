//! App definitions, and apps with what is embedded in them.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{HealthCheck, Network, Number, PortDefinition, Task};

/// An app definition. In a request each field may be absent; in an answer each is present, `null` when unset, except
/// those that break strict clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct App {
    pub id: Option<String>,
    pub cmd: Option<String>,
    pub args: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: Option<BTreeMap<String, EnvValue>>,
    pub instances: Option<i64>,
    pub cpus: Option<Number>,
    pub mem: Option<Number>,
    pub disk: Option<Number>,
    pub gpus: Option<i64>,
    pub executor: Option<String>,
    pub constraints: Option<Vec<Constraint>>,
    pub uris: Option<Vec<String>>,
    pub fetch: Option<Vec<Fetch>>,
    pub store_urls: Option<Vec<String>>,
    pub backoff_seconds: Option<Number>,
    pub backoff_factor: Option<Number>,
    pub max_launch_delay_seconds: Option<Number>,
    /// Kept as it came: this version runs command apps only and refuses containers by name.
    pub container: Option<Value>,
    pub health_checks: Option<Vec<HealthCheck>>,
    pub readiness_checks: Option<Vec<Value>>,
    pub dependencies: Option<Vec<String>>,
    pub upgrade_strategy: Option<UpgradeStrategy>,
    pub labels: Option<BTreeMap<String, String>>,
    pub version: Option<String>,
    pub version_info: Option<VersionInfo>,
    pub networks: Option<Vec<Network>>,
    pub ports: Option<Vec<i64>>,
    pub port_definitions: Option<Vec<PortDefinition>>,
    pub require_ports: Option<bool>,
    pub secrets: Option<BTreeMap<String, SecretSource>>,
    pub task_kill_grace_period_seconds: Option<Number>,
    pub unreachable_strategy: Option<UnreachableStrategy>,
    pub kill_selection: Option<String>,
    pub role: Option<String>,
    pub residency: Option<Residency>,
    pub ip_address: Option<Value>,
    /// The command-line client takes the length of this field, so it is never sent as `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_resource_roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor_resources: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<Value>,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string, or an object with the string `secret`")]
pub enum EnvValue {
    Text(String),
    Secret { secret: String },
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretSource {
    pub source: String,
}

/// `[field, operator]` or `[field, operator, value]`. Reads numbers as values, and the object form of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint(pub Vec<String>);

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Constraint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or a number")]
        enum Word {
            Text(String),
            Number(serde_json::Number),
        }
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected an array of strings: [field, operator] or [field, operator, value]"
        )]
        enum Form {
            Words(Vec<Word>),
            #[serde(rename_all = "camelCase")]
            Object {
                field_name: String,
                operator: String,
                value: Option<Word>,
            },
        }
        let text = |word| match word {
            Word::Text(text) => text,
            Word::Number(number) => number.to_string(),
        };
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Words(words) => words.into_iter().map(text).collect(),
            Form::Object { field_name, operator, value } => {
                [field_name, operator].into_iter().chain(value.map(text)).collect()
            }
        }))
    }
}

/// Something to be fetched into the sandbox before the task starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    pub uri: Option<String>,
    pub extract: Option<bool>,
    pub executable: Option<bool>,
    pub cache: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// Fractions of the wanted instances: kept healthy during an upgrade, and run beyond the wanted number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    pub minimum_health_capacity: Option<Number>,
    pub maximum_over_capacity: Option<Number>,
}

/// What happens to instances whose agent cannot be reached.
#[derive(Clone, Debug, PartialEq)]
pub enum UnreachableStrategy {
    /// Wait for ever.
    Disabled,
    Enabled {
        inactive_after_seconds: Option<i64>,
        expunge_after_seconds: Option<i64>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnabledStrategy {
    // Longer names come from clients of one old release.
    #[serde(alias = "unreachableInactiveAfterSeconds")]
    inactive_after_seconds: Option<i64>,
    #[serde(alias = "unreachableExpungeAfterSeconds")]
    expunge_after_seconds: Option<i64>,
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Disabled => serializer.serialize_str("disabled"),
            Self::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                EnabledStrategy { inactive_after_seconds, expunge_after_seconds }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.as_str() == Some("disabled") {
            return Ok(Self::Disabled);
        }
        if !value.is_object() {
            return Err(D::Error::custom("expected the string `disabled` or an object with seconds"));
        }
        let EnabledStrategy { inactive_after_seconds, expunge_after_seconds } =
            serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self::Enabled { inactive_after_seconds, expunge_after_seconds })
    }
}

/// Settings for apps with persistent volumes; accepted, without effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    pub relaunch_escalation_timeout_seconds: Option<i64>,
    pub task_lost_behavior: Option<String>,
}

/// When an app was last scaled and last changed otherwise, as timestamps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub last_scaling_at: Option<String>,
    pub last_config_change_at: Option<String>,
}

/// A deployment named by its id alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRef {
    pub id: String,
}

/// An app and what is known of it: counts and deployments always, the rest when it was asked to be embedded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppInfo {
    #[serde(flatten)]
    pub app: App,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_staged: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_running: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_healthy: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_unhealthy: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<DeploymentRef>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_check_results: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Task>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_task_failure: Option<TaskFailure>,
    /// Not `tasksStats`, which a later schema wrote and two client libraries miss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_stats: Option<Value>,
}

/// The last failure of any task of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskFailure {
    pub app_id: String,
    pub host: String,
    pub message: String,
    pub state: String,
    pub task_id: String,
    pub timestamp: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
}

/// Answer of `GET /v2/apps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppsResponse {
    pub apps: Vec<AppInfo>,
}

/// Answer of `GET /v2/apps/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppResponse {
    pub app: AppInfo,
}

/// Answer of `GET /v2/apps/{group}/*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StarResponse {
    #[serde(rename = "*")]
    pub apps: Vec<AppInfo>,
}

/// Answer of `GET /v2/apps/{id}/versions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsResponse {
    pub versions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(value: Value) -> Result<App, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn null_is_absent_for_every_field() {
        let default = serde_json::to_value(App::default()).unwrap();
        assert!(default.as_object().unwrap().values().all(Value::is_null));
        assert_eq!(app(default).unwrap(), App::default());
    }

    #[test]
    fn fields_that_break_strict_clients_are_left_out() {
        let default = serde_json::to_value(App::default()).unwrap();
        for field in ["acceptedResourceRoles", "tty", "check", "executorResources", "resourceLimits"] {
            assert_eq!(default.get(field), None, "{field}");
        }
    }

    #[test]
    fn constraints_take_numbers_and_objects() {
        let read = app(json!({"constraints": [
            ["hostname", "UNIQUE"],
            ["rack", "MAX_PER", 2],
            {"fieldName": "zone", "operator": "LIKE", "value": "a.*"},
        ]}))
        .unwrap();
        assert_eq!(
            serde_json::to_value(read.constraints).unwrap(),
            json!([["hostname", "UNIQUE"], ["rack", "MAX_PER", "2"], ["zone", "LIKE", "a.*"]])
        );
        assert!(app(json!({"constraints": ["hostname"]})).is_err());
    }

    #[test]
    fn unreachable_strategy_has_two_forms() {
        for value in [json!("disabled"), json!({"inactiveAfterSeconds": 1, "expungeAfterSeconds": 2})] {
            let read: UnreachableStrategy = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), value);
        }
        for value in [json!("enabled"), json!(3), json!({"inactiveAfterSeconds": "x"})] {
            assert!(serde_json::from_value::<UnreachableStrategy>(value).is_err());
        }
    }

    #[test]
    fn environment_values_are_strings_or_secrets() {
        let read = app(json!({"env": {"A": "1", "B": {"secret": "s"}}})).unwrap();
        assert_eq!(read.env.unwrap()["A"], EnvValue::Text("1".into()));
        assert!(app(json!({"env": {"A": 1}})).is_err());
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert_eq!(app(json!({"tasksRunning": 3, "frobnicate": []})).unwrap(), App::default());
    }
}
