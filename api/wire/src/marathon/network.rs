//! Networks and ports of an app.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A port of an app in host mode: the service port it is known by, and its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PortDefinition {
    pub port: Option<i64>,
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
}

/// How an app is attached to the network; an app without one is in host mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}
