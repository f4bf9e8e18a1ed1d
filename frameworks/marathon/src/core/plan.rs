//! From a change of definitions to the steps of a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::app::AppDefinition;
use super::errors::Errors;
use super::id::AppId;

/// One thing done to one app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    pub kind: ActionKind,
    pub app: AppId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActionKind {
    /// A formality: the app exists now, with no instances.
    Start,
    Scale,
    Restart,
    Stop,
}

impl ActionKind {
    const NAMES: [(&'static str, Self); 4] = [
        ("StartApplication", Self::Start),
        ("ScaleApplication", Self::Scale),
        ("RestartApplication", Self::Restart),
        ("StopApplication", Self::Stop),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// Actions that run side by side.
pub type Step = Vec<Action>;

/// How one app changes: absent before means new, absent after means gone.
#[derive(Debug, Clone)]
pub struct Change {
    pub from: Option<Arc<AppDefinition>>,
    pub to: Option<Arc<AppDefinition>>,
}

/// The steps that make `changes`. Apps that others depend on come first; `target` holds every app as it will be.
/// Instances of those in `outdated` are partly of a configuration older than the one before the change: an upgrade was
/// overridden half way, and what follows has to finish it.
///
/// # Errors
/// Apps that depend on each other in a circle.
pub fn plan(
    changes: &BTreeMap<AppId, Change>,
    target: &BTreeMap<AppId, Arc<AppDefinition>>,
    outdated: &BTreeSet<AppId>,
) -> Result<Vec<Step>, Errors> {
    let depths = depths(changes.keys(), target)?;
    let action = |kind, app: &AppId| Action { kind, app: app.clone() };
    let gone = changes.iter().filter(|(_, change)| change.to.is_none());
    let new = changes.iter().filter(|(_, change)| change.from.is_none() && change.to.is_some());
    let mut steps: Vec<Step> = vec![
        gone.map(|(id, _)| action(ActionKind::Stop, id)).collect(),
        new.map(|(id, _)| action(ActionKind::Start, id)).collect(),
    ];
    let mut layers: BTreeMap<usize, Step> = BTreeMap::new();
    for (id, change) in changes {
        if let Some(kind) = kind(change, outdated.contains(id)) {
            layers.entry(depths.get(id).copied().unwrap_or(0)).or_default().push(action(kind, id));
        }
    }
    steps.extend(layers.into_values());
    steps.retain(|step| !step.is_empty());
    Ok(steps)
}

fn kind(change: &Change, outdated: bool) -> Option<ActionKind> {
    let to = change.to.as_ref()?;
    match &change.from {
        None => Some(ActionKind::Scale),
        Some(from) if to.instances == 0 => (!to.same_content(from)).then_some(ActionKind::Scale),
        // A restart asked for by name changes nothing but the version.
        Some(from)
            if outdated || from.needs_restart(to) || from.last_config_change != to.last_config_change =>
        {
            Some(ActionKind::Restart)
        }
        Some(from) => (from.instances != to.instances).then_some(ActionKind::Scale),
    }
}

/// The longest chain of dependencies below each of `ids` and of all they depend on.
fn depths<'a>(
    ids: impl Iterator<Item = &'a AppId>,
    target: &BTreeMap<AppId, Arc<AppDefinition>>,
) -> Result<BTreeMap<AppId, usize>, Errors> {
    let mut depths = BTreeMap::new();
    for id in ids {
        // An explicit stack: a chain may be as long as there are apps.
        let mut stack = vec![(id.clone(), direct(id, target).into_iter())];
        let mut on_stack = BTreeSet::from([id.clone()]);
        let mut below = vec![0_usize];
        while let Some((at, dependencies)) = stack.last_mut() {
            let Some(next) = dependencies.next() else {
                let (depth, at) = (below.pop().unwrap_or(0), at.clone());
                on_stack.remove(&at);
                depths.insert(at, depth);
                stack.pop();
                if let Some(parent) = below.last_mut() {
                    *parent = (*parent).max(depth + 1);
                }
                continue;
            };
            if on_stack.contains(&next) {
                return Err(Errors::one(
                    "/dependencies",
                    format!("'{at}' and '{next}' must not depend on each other"),
                ));
            }
            match depths.get(&next) {
                Some(known) => {
                    if let Some(parent) = below.last_mut() {
                        *parent = (*parent).max(known + 1);
                    }
                }
                None => {
                    on_stack.insert(next.clone());
                    below.push(0);
                    let dependencies = direct(&next, target).into_iter();
                    stack.push((next, dependencies));
                }
            }
        }
    }
    Ok(depths)
}

/// The apps `id` depends on; a dependency on a group means every app in it.
fn direct(id: &AppId, target: &BTreeMap<AppId, Arc<AppDefinition>>) -> BTreeSet<AppId> {
    let Some(app) = target.get(id) else { return BTreeSet::new() };
    let mut all = BTreeSet::new();
    for dependency in &app.dependencies {
        if target.contains_key(dependency) {
            all.insert(dependency.clone());
        } else {
            all.extend(target.keys().filter(|other| dependency.contains(other) && *other != id).cloned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use model::time::Time;

    use super::super::version::Version;
    use super::*;

    fn id(text: &str) -> AppId {
        AppId::parse_group(text, &AppId::root()).unwrap()
    }

    fn app(name: &str, dependencies: &[&str]) -> Arc<AppDefinition> {
        let mut app = AppDefinition::with_defaults(id(name), "*");
        app.dependencies = dependencies.iter().map(|name| id(name)).collect();
        Arc::new(app.stamped(None, Version(Time::from_secs(1))))
    }

    type Definition = Option<Arc<AppDefinition>>;

    fn show(apps: &[(Definition, Definition)]) -> String {
        let mut changes = BTreeMap::new();
        let mut target = BTreeMap::new();
        for (from, to) in apps {
            let id = from.as_ref().or(to.as_ref()).unwrap().id.clone();
            if let Some(to) = to {
                target.insert(id.clone(), to.clone());
            }
            changes.insert(id, Change { from: from.clone(), to: to.clone() });
        }
        match plan(&changes, &target, &BTreeSet::new()) {
            Err(errors) => errors.to_string(),
            Ok(steps) => {
                let step = |step: &Step| {
                    step.iter().map(|a| format!("{:?} {}", a.kind, a.app)).collect::<Vec<_>>().join(", ")
                };
                steps.iter().map(step).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn a_new_app_is_started_then_scaled() {
        assert_eq!(show(&[(None, Some(app("/a", &[])))]), "Start /a; Scale /a");
    }

    #[test]
    fn dependencies_come_first() {
        let apps = ["/a", "/b", "/g/c"].map(|name| {
            let dependencies: &[&str] = if name == "/a" {
                &["/b", "/g"]
            } else if name == "/b" {
                &["/g"]
            } else {
                &[]
            };
            (None, Some(app(name, dependencies)))
        });
        assert_eq!(show(&apps), "Start /a, Start /b, Start /g/c; Scale /g/c; Scale /b; Scale /a");
    }

    #[test]
    fn circles_are_refused() {
        let apps = [(None, Some(app("/a", &["/b"]))), (None, Some(app("/b", &["/a"])))];
        assert!(show(&apps).contains("must not depend on each other"), "{}", show(&apps));
    }

    #[test]
    fn the_kind_of_change_decides() {
        let old = app("/a", &[]);
        let change = |edit: fn(&mut AppDefinition)| {
            let mut new = (*old).clone();
            edit(&mut new);
            let new = new.stamped(Some(&old), Version(Time::from_secs(9)));
            show(&[(Some(old.clone()), Some(Arc::new(new)))])
        };
        assert_eq!(change(|_| {}), "");
        assert_eq!(change(|app| app.instances = 5), "Scale /a");
        assert_eq!(change(|app| app.cmd = Some("x".into())), "Restart /a");
        assert_eq!(change(|app| app.labels = [("a".to_owned(), "b".to_owned())].into()), "Restart /a");
        assert_eq!(change(|app| (app.instances, app.cmd) = (0, Some("x".into()))), "Scale /a");
        assert_eq!(change(|app| app.dependencies = vec![id("/z")]), "");
        assert_eq!(show(&[(Some(old.clone()), None)]), "Stop /a");
        let mut restarted = (*old).clone();
        restarted.last_config_change = Version(Time::from_secs(9));
        assert_eq!(show(&[(Some(old.clone()), Some(Arc::new(restarted)))]), "Restart /a");
    }
}
