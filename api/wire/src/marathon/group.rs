//! The tree that the ids of apps form.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AppInfo;

/// A group with its direct apps and groups. Every key is always present: clients walk the lists at each level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    pub id: String,
    pub apps: Vec<AppInfo>,
    pub groups: Vec<Self>,
    pub pods: Vec<Value>,
    pub dependencies: Vec<String>,
    pub version: String,
}
