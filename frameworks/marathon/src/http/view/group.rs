//! Groups: the tree that the ids of apps form.

use std::collections::BTreeSet;

use model::time::Time;
use wire::marathon::Group;

use super::app::{self, Embed};
use crate::core::id::AppId;
use crate::core::version::Version;
use crate::supervisor::state::State;

/// The group `id` with everything below it; `None` when no app is below it. The root always exists.
pub(in crate::http) fn group(state: &State, id: &AppId, embed: Embed, now: Time) -> Option<Group> {
    let below: Vec<_> = state.definitions().filter(|app| id.contains(&app.id)).collect();
    if below.is_empty() && !id.is_root() {
        return None;
    }
    let version = below.iter().map(|app| app.version).max().unwrap_or(Version::default());
    let own = below.iter().filter(|app| app.id.parent() == *id);
    let children: BTreeSet<AppId> = below.iter().filter_map(|app| child(id, &app.id)).collect();
    Some(Group {
        id: id.to_string(),
        apps: own.map(|definition| app::info(state, definition, embed, now)).collect(),
        groups: children.iter().filter_map(|child| group(state, child, embed, now)).collect(),
        pods: Vec::new(),
        dependencies: Vec::new(),
        version: version.to_string(),
    })
}

/// The group directly below `id` that `app` is in, if it is not in `id` itself.
fn child(id: &AppId, app: &AppId) -> Option<AppId> {
    let mut group = app.parent();
    if group == *id {
        return None;
    }
    while group.parent() != *id {
        group = group.parent();
    }
    Some(group)
}
