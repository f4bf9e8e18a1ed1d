//! A deployment: a stored value that says how far a change has come, so that any leader can continue it.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{AppId, DeploymentId, InstanceId};
use super::plan::{Action, Step};
use super::version::Version;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub version: Version,
    /// Each touched app with its version before and after; what going back needs.
    pub changes: BTreeMap<AppId, VersionChange>,
    pub steps: Vec<Step>,
    /// Index of the step that runs now.
    pub position: usize,
    /// Apps of the present step that are as wanted.
    pub finished: BTreeSet<AppId>,
    /// Instances that are to go first, by their users' wish.
    pub victims: BTreeSet<InstanceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionChange {
    pub from: Option<Version>,
    pub to: Option<Version>,
}

impl Deployment {
    /// The actions of the step that runs now; empty when all is done.
    pub fn current(&self) -> &[Action] {
        self.steps.get(self.position).map_or(&[], Vec::as_slice)
    }

    /// The action that is now being done to `app`.
    pub fn action_on(&self, app: &AppId) -> Option<&Action> {
        self.current().iter().find(|action| action.app == *app && !self.finished.contains(app))
    }

    /// The apps nobody else may change until this ends.
    pub fn locks(&self) -> impl Iterator<Item = &AppId> {
        self.changes.keys()
    }

    pub fn is_step_done(&self) -> bool {
        self.current().iter().all(|action| self.finished.contains(&action.app))
    }

    /// Whether the version is still needed, to do this deployment or to undo it.
    pub fn mentions(&self, app: &AppId, version: Version) -> bool {
        self.changes.get(app).is_some_and(|change| [change.from, change.to].contains(&Some(version)))
    }
}
