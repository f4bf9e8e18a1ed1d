//! The identity of a resource: everything but how much of it there is.

use std::fmt;
use std::sync::Arc;

use crate::id::{ProviderId, VolumeId};
use crate::role::Role;

/// Name of a resource. The usual ones are no strings: a bag is compared and copied for every offer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    Cpus,
    /// In megabytes.
    Disk,
    /// Whole numbers only.
    Gpus,
    /// In megabytes.
    Mem,
    Ports,
    /// Never one of the names above, as `From` sees to.
    Other(Arc<str>),
}

impl Name {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
            Self::Mem => "mem",
            Self::Ports => "ports",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        match text {
            "cpus" => Self::Cpus,
            "disk" => Self::Disk,
            "gpus" => Self::Gpus,
            "mem" => Self::Mem,
            "ports" => Self::Ports,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Key and optional value, in the order the author wrote them: order is part of a reservation's identity.
pub type Labels = Vec<(Arc<str>, Option<Arc<str>>)>;

/// One layer of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    pub role: Role,
    /// Made through the API, and can be undone there. One that is not dynamic comes from the agent's configuration
    /// and stands only at the bottom of a stack.
    pub dynamic: bool,
    pub principal: Option<Arc<str>>,
    pub labels: Labels,
}

impl Reservation {
    pub fn dynamic(role: Role) -> Self {
        Self { role, dynamic: true, principal: None, labels: Vec::new() }
    }

    pub fn fixed(role: Role) -> Self {
        Self { role, dynamic: false, principal: None, labels: Vec::new() }
    }
}

/// A volume that outlives tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Persistence {
    pub id: VolumeId,
    pub principal: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A directory on some file system; may be divided.
    Path,
    /// A file system of its own; all or nothing.
    Mount,
    /// A block device; all or nothing.
    Block,
    /// Storage that is not yet a disk; divisible while it has no id.
    Raw,
}

/// Where disk space comes from, when not from the file system of the agent's work directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub kind: SourceKind,
    /// Directory of a path or a mount.
    pub root: Option<Arc<str>>,
    pub id: Option<Arc<str>>,
    pub metadata: Labels,
    pub profile: Option<Arc<str>>,
    pub vendor: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Disk {
    pub persistence: Option<Persistence>,
    /// Where tasks see the volume, always for reading and writing.
    pub container_path: Option<Arc<str>>,
    pub source: Option<Source>,
}

/// What makes a resource other than plain. Most have none of this, so a bag keeps it apart behind a pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag {
    /// The innermost reservation, which holds now, is the last; each role is a child of the one before.
    pub reservations: Vec<Reservation>,
    pub disk: Option<Disk>,
    pub provider: Option<ProviderId>,
    /// May be taken back at any time.
    pub revocable: bool,
    /// Several tasks may use it at once.
    pub shared: bool,
    /// The role it is offered to or used by; absent for what an agent has.
    pub allocated: Option<Role>,
}

impl Tag {
    /// Amounts of this identity can neither be joined nor divided.
    pub fn is_whole(&self) -> bool {
        let disk = self.disk.as_ref();
        let source = disk.and_then(|disk| disk.source.as_ref());
        disk.is_some_and(|disk| disk.persistence.is_some())
            || source.is_some_and(|source| match source.kind {
                SourceKind::Path => false,
                SourceKind::Mount | SourceKind::Block => true,
                SourceKind::Raw => source.id.is_some(),
            })
    }

    pub fn is_volume(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
    }

    /// The pointer a bag stores: none for a plain resource, so that plain ones compare without following it.
    pub(super) fn shelve(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}
