//! Changes of what the agent's resources are: reservations and volumes (spec mesos-v1, 9.4).

use model::id::VolumeId;
use model::resources::{Bag, Disk, Item, Lacking, Name, ReserveError, Tag};
use model::role::Role;
use wire::v1;
use wire::v1::offer::operation::Type;

use crate::spec::Invalid;

/// A change ordered by the master, read once.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) resources: Bag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reserve,
    Unreserve,
    Create,
    Destroy,
}

/// A persistent volume. Ids are chosen by frameworks and unique only in their role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    pub role: Role,
    pub id: VolumeId,
}

/// A directory that a task sees in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, below the sandbox.
    pub path: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Others may use a shared one at the same time.
    Volume { volume: Volume, shared: bool },
    /// A path in the sandbox of the task's executor, which the tasks of a group share.
    Executor(String),
}

impl Change {
    pub(crate) fn read(operation: &v1::offer::Operation) -> Result<Self, Invalid> {
        let (kind, resources) = match operation.r#type() {
            Type::Reserve => (Kind::Reserve, operation.reserve.as_ref().map(|asked| &asked.resources)),
            Type::Unreserve => (Kind::Unreserve, operation.unreserve.as_ref().map(|asked| &asked.resources)),
            Type::Create => (Kind::Create, operation.create.as_ref().map(|asked| &asked.volumes)),
            Type::Destroy => (Kind::Destroy, operation.destroy.as_ref().map(|asked| &asked.volumes)),
            other => return Err(Invalid(format!("This agent does not perform {}", other.as_str_name()))),
        };
        let resources = resources.ok_or_else(|| Invalid("The operation names no resources".into()))?;
        let resources = Bag::from_wire(resources).map_err(|error| Invalid(error.to_string()))?.unallocate();
        if kind == Kind::Create {
            mounts(&resources)?;
        }
        Ok(Self { kind, resources })
    }

    /// What `have` becomes.
    pub(crate) fn apply(&self, have: &Bag) -> Result<Bag, ReserveError> {
        match self.kind {
            Kind::Reserve => have.reserve_as(&self.resources),
            Kind::Unreserve => have.unreserve(&self.resources),
            Kind::Create => have.create(&self.resources),
            Kind::Destroy => have.destroy(&self.resources),
        }
    }
}

/// The volumes among resources.
pub(crate) fn volumes(bag: &Bag) -> impl Iterator<Item = Volume> {
    bag.iter().filter_map(volume)
}

/// The volumes that an operation destroys, if that is what it does.
pub(crate) fn destroyed(asked: &v1::offer::Operation) -> Vec<Volume> {
    let change = Change::read(asked).ok().filter(|change| change.kind == Kind::Destroy);
    change.iter().flat_map(|change| volumes(&change.resources)).collect()
}

fn volume(item: &Item) -> Option<Volume> {
    let id = item.tag()?.disk.as_ref()?.persistence.as_ref()?.id.clone();
    Some(Volume { role: item.reserved_to()?.clone(), id })
}

/// Where the volumes among resources are seen.
pub(crate) fn mounts(bag: &Bag) -> Result<Vec<Mount>, Invalid> {
    let mut found = Vec::new();
    for item in bag {
        let Some(volume) = volume(item) else { continue };
        let path = item.tag().and_then(|tag| tag.disk.as_ref()?.container_path.clone());
        let path = path.ok_or_else(|| Invalid(format!("'disk.volume' of '{item}' must be present")))?;
        inside("disk.volume.container_path", &path)?;
        let source = Source::Volume { volume, shared: item.is_shared() };
        found.push(Mount { path: path.to_string(), source });
    }
    Ok(found)
}

/// A path must lead to a place of its own below the sandbox.
pub(crate) fn inside(field: &str, path: &str) -> Result<(), Invalid> {
    let refuse = |rule: &str| Err(Invalid(format!("'{field}' {rule}, is '{path}'")));
    if path.starts_with('/') {
        return refuse("must be relative to the sandbox");
    }
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return refuse("must not contain '..' or a NUL character");
    }
    if path.split('/').all(|part| part.is_empty() || part == ".") {
        return refuse("must name a directory of its own");
    }
    Ok(())
}

/// What is not shared with others, and so counted once for each who has it.
pub(crate) fn exclusive(bag: &Bag) -> Bag {
    if bag.is_plain() { bag.clone() } else { bag.filter(|item| !item.is_shared()) }
}

/// The part of an agent's resources that its configuration does not say.
pub(crate) fn changed(total: &Bag) -> Bag {
    total.filter(|item| {
        let dynamic = |tag: &Tag| tag.reservations.iter().any(|layer| layer.dynamic);
        item.is_volume() || item.tag().is_some_and(dynamic)
    })
}

/// What the agent has when `changed` was made of a part of what is configured.
pub(crate) fn total(configured: &Bag, changed: &Bag) -> Result<Bag, Lacking> {
    let origin: Bag = changed.iter().map(origin).collect();
    Ok(configured.checked_sub(&origin)? + changed)
}

/// What a changed resource was by configuration.
fn origin(item: &Item) -> Item {
    let mut tag = item.tag().cloned().unwrap_or_default();
    tag.reservations.retain(|layer| !layer.dynamic);
    if *item.name() == Name::Disk {
        let source = tag.disk.take().and_then(|disk| disk.source);
        tag.disk = source.map(|source| Disk { source: Some(source), ..Disk::default() });
    }
    tag.shared = false;
    Item::new(item.name().clone(), tag, item.value().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bag(text: &str) -> Bag {
        Bag::parse(text).unwrap()
    }

    #[test]
    fn what_was_changed_goes_on_top_of_what_is_configured() {
        let configured = bag("cpus:4;disk:100;disk(eng):10;ports:[1-9]");
        let layer = model::resources::Reservation::dynamic("eng/web".parse().unwrap());
        let part = bag("cpus:1;disk(eng):5;ports:[2-3]");
        let now = configured.reserve(&part, &layer).unwrap();
        let kept = changed(&now);
        assert_eq!(total(&configured, &kept).unwrap(), now);
        let more = bag("cpus:8;disk:100;disk(eng):10;ports:[1-9]");
        assert_eq!(total(&more, &kept).unwrap().cpus(), more.cpus());
        assert!(total(&bag("cpus:4;disk:100;ports:[1-9]"), &kept).is_err(), "its disk is gone");
        assert_eq!(changed(&configured), Bag::new());
    }

    #[test]
    fn paths_stay_inside_and_are_of_their_own() {
        for good in ["data", "a/b", "./data", "..."] {
            inside("path", good).unwrap();
        }
        for bad in ["/data", "..", "a/../b", "", ".", "./", "a\0"] {
            assert!(inside("path", bad).is_err(), "{bad:?}");
        }
    }
}
