//! Control groups: limits, accounting and a hold on every process of a container. Versions 1 and 2, whichever is mounted.

mod container;
mod detect;
mod files;
mod usage;

pub use container::ContainerCgroup;
pub(crate) use container::{Entry, empty_tree, remove_tree};
pub(crate) use detect::of_process;
pub use detect::{Detected, detect};
pub(crate) use usage::usage;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ContainerId;

/// Where containers get their groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// Nothing usable: containers run without.
    #[default]
    None,
    /// One directory per controller; a controller that is not there limits nothing.
    V1 { cpu: Option<PathBuf>, memory: Option<PathBuf> },
    /// One directory for all controllers, and which of them work in it.
    V2 { root: PathBuf, cpu: bool, memory: bool },
}

impl Cgroups {
    /// The group of one container; nothing is made yet.
    pub fn container(&self, id: &ContainerId) -> ContainerCgroup {
        ContainerCgroup::new(match self {
            Self::None => Self::None,
            Self::V1 { cpu, memory } => {
                let below = |root: &Option<PathBuf>| root.as_ref().map(|root| root.join(id.as_str()));
                Self::V1 { cpu: below(cpu), memory: below(memory) }
            }
            Self::V2 { root, cpu, memory } => {
                Self::V2 { root: root.join(id.as_str()), cpu: *cpu, memory: *memory }
            }
        })
    }
}
