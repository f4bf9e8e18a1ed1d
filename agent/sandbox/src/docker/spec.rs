//! What a Docker container shall be, beside what every container has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container made by Docker from an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerSpec {
    pub image: String,
    /// Executed in the place of the image's own entry point.
    pub entrypoint: Option<String>,
    /// After the image's name: arguments of its entry point.
    pub arguments: Vec<String>,
    pub network: Network,
    /// Ports of the machine that lead into the container; only where it has an address of its own.
    pub ports: Vec<PortMapping>,
    pub mounts: Vec<Mount>,
    pub volume_driver: Option<String>,
    pub hostname: Option<String>,
    pub privileged: bool,
    /// Further flags of `docker create`, as `--key=value`.
    pub parameters: Vec<(String, String)>,
}

/// What a container sees of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The machine's own.
    Host,
    /// An address behind Docker's bridge.
    Bridge,
    None,
    /// A network that somebody made with `docker network create`.
    User(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    pub host: u16,
    pub container: u16,
    pub udp: bool,
}

/// Something of the machine, or one of Docker's volumes, in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute.
    pub target: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// Absolute, or relative to the sandbox. Made when it is missing.
    Path(PathBuf),
    /// By name; made when it is missing.
    Volume(String),
}
