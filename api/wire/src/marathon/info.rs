//! What the supervisor says of itself.

use serde::{Deserialize, Serialize};

/// Answer of `GET /v2/info`. The three configuration objects hold only keys of the closed lists clients accept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    pub name: String,
    /// Looks like a Marathon version: tools branch on it.
    pub version: String,
    pub buildref: String,
    pub elected: bool,
    pub leader: Option<String>,
    #[serde(rename = "frameworkId")]
    pub framework_id: Option<String>,
    pub marathon_config: MarathonConfig,
    pub zookeeper_config: ZookeeperConfig,
    pub http_config: HttpConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MarathonConfig {
    pub master: String,
    pub failover_timeout: u64,
    pub framework_name: String,
    pub ha: bool,
    pub checkpoint: bool,
    pub local_port_min: u16,
    pub local_port_max: u16,
    pub executor: String,
    pub hostname: String,
    pub webui_url: Option<String>,
    pub mesos_role: String,
    pub mesos_user: Option<String>,
    pub task_launch_timeout: u64,
    pub task_reservation_timeout: u64,
    pub reconciliation_initial_delay: u64,
    pub reconciliation_interval: u64,
    pub mesos_leader_ui_url: Option<String>,
    pub leader_proxy_connection_timeout_ms: u64,
    pub leader_proxy_read_timeout_ms: u64,
    pub features: Vec<String>,
}

/// State lives in the masters, not in ZooKeeper; the object stays because clients iterate over it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZookeeperConfig {
    pub zk: String,
    pub zk_timeout: u64,
    pub zk_session_timeout: u64,
    pub zk_max_versions: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    pub http_port: u16,
    pub https_port: Option<u16>,
}

/// Answer of `GET /v2/leader`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    pub leader: String,
}

/// An answer that is only a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub message: String,
}
