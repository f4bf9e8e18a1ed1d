//! Changing what resources are: reservations and volumes (spec mesos-v1, section 9.4). Each change keeps amounts.

use super::bag::{Bag, Item, Lacking};
use super::key::{Disk, Name, Reservation, Tag};
use super::value::Value;

/// Why resources cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    #[error("{0}")]
    Lacking(#[from] Lacking),
    #[error("'{0}' is revocable and cannot be reserved")]
    Revocable(Item),
    #[error("'{item}' cannot be reserved to '{role}': it is not a child of the role it is reserved to")]
    NotAChild { item: Item, role: String },
    #[error("'{0}' cannot be reserved to '*'")]
    Any(Item),
    #[error("'{0}' cannot be reserved statically: only the agent's configuration does so")]
    Static(Item),
    #[error("'{0}' does not say to whom it is to be reserved")]
    NoLayer(Item),
    #[error("'{0}' has no dynamic reservation to undo")]
    NotReserved(Item),
    #[error("'{0}' is a volume, which has to be destroyed first")]
    Volume(Item),
    #[error("'{0}' is not a volume")]
    NotAVolume(Item),
    #[error("'{0}' is not disk space")]
    NotDisk(Item),
    #[error("volume '{0}' cannot be made of unreserved disk space")]
    Unreserved(Item),
}

impl Bag {
    /// `part` of this bag with one more reservation on top; the rest as it was.
    pub fn reserve(&self, part: &Self, layer: &Reservation) -> Result<Self, ReserveError> {
        for item in part {
            if item.is_revocable() {
                return Err(ReserveError::Revocable(item.clone()));
            }
            if item.is_volume() {
                return Err(ReserveError::Volume(item.clone()));
            }
            if layer.role.is_any() {
                return Err(ReserveError::Any(item.clone()));
            }
            if !layer.dynamic {
                return Err(ReserveError::Static(item.clone()));
            }
            if item.reserved_to().is_some_and(|owner| !owner.is_ancestor_of(&layer.role)) {
                return Err(ReserveError::NotAChild { item: item.clone(), role: layer.role.to_string() });
            }
        }
        self.exchange(part, &part.retag(|tag| tag.reservations.push(layer.clone())))
    }

    /// As [`Self::reserve`], told what is to become of a part: each item with its new reservation on top.
    pub fn reserve_as(&self, target: &Self) -> Result<Self, ReserveError> {
        let mut bag = self.clone();
        for item in target {
            let mut tag = item.tag_or_default();
            let layer = tag.reservations.pop().ok_or_else(|| ReserveError::NoLayer(item.clone()))?;
            let part = Item::new(item.name().clone(), tag, item.value().clone());
            bag = bag.reserve(&std::iter::once(part).collect(), &layer)?;
        }
        Ok(bag)
    }

    /// `part` of this bag without its innermost reservation, which must be dynamic.
    pub fn unreserve(&self, part: &Self) -> Result<Self, ReserveError> {
        for item in part {
            if item.is_volume() {
                return Err(ReserveError::Volume(item.clone()));
            }
            let innermost = item.tag().and_then(|tag| tag.reservations.last());
            if !innermost.is_some_and(|layer| layer.dynamic) {
                return Err(ReserveError::NotReserved(item.clone()));
            }
        }
        self.exchange(
            part,
            &part.retag(|tag| {
                tag.reservations.pop();
            }),
        )
    }

    /// The volumes named in full, made of the reserved disk space each of them describes.
    pub fn create(&self, volumes: &Self) -> Result<Self, ReserveError> {
        let mut space = Self::new();
        for volume in volumes {
            let emptied = without_volume(volume)?;
            if volume.reserved_to().is_none() {
                return Err(ReserveError::Unreserved(volume.clone()));
            }
            space.insert(emptied);
        }
        self.exchange(&space, volumes)
    }

    /// The volumes turned back into the disk space they were made of.
    pub fn destroy(&self, volumes: &Self) -> Result<Self, ReserveError> {
        let space = volumes.iter().map(without_volume).collect::<Result<Self, _>>()?;
        self.exchange(volumes, &space)
    }

    fn exchange(&self, given: &Self, taken: &Self) -> Result<Self, ReserveError> {
        Ok(self.checked_sub(given)? + taken)
    }
}

/// The disk space a volume stands on.
fn without_volume(volume: &Item) -> Result<Item, ReserveError> {
    if *volume.name() != Name::Disk {
        return Err(ReserveError::NotDisk(volume.clone()));
    }
    if !volume.is_volume() {
        return Err(ReserveError::NotAVolume(volume.clone()));
    }
    let mut tag: Tag = volume.tag_or_default();
    let source = tag.disk.take().and_then(|disk| disk.source);
    tag.disk = source.map(|source| Disk { source: Some(source), ..Disk::default() });
    tag.shared = false;
    Ok(Item::new(Name::Disk, tag, Value::Scalar(volume.value().quantity())))
}

#[cfg(test)]
mod tests {
    use super::super::key::Persistence;
    use super::*;
    use crate::quantity::Quantity;
    use crate::role::Role;

    fn role(text: &str) -> Role {
        text.parse().unwrap()
    }

    fn bag(text: &str) -> Bag {
        Bag::parse(text).unwrap()
    }

    fn layer(text: &str) -> Reservation {
        Reservation::dynamic(role(text))
    }

    fn volume(id: &str, megabytes: u32, shared: bool) -> Bag {
        let disk = Disk {
            persistence: Some(Persistence { id: id.into(), principal: None }),
            container_path: Some("data".into()),
            source: None,
        };
        let tag = Tag { reservations: vec![layer("eng")], disk: Some(disk), shared, ..Tag::default() };
        [Item::new(Name::Disk, tag, Value::Scalar(Quantity::from_units(megabytes)))].into_iter().collect()
    }

    #[test]
    fn reserving_and_back() {
        let have = bag("cpus:4;mem:100");
        let reserved = have.reserve(&bag("cpus:3"), &layer("eng")).unwrap();
        assert_eq!(reserved.to_string(), "cpus:1; cpus(reservations: [(DYNAMIC,eng)]):3; mem:100");
        let refined = reserved.reserve(&reserved.reserved(), &layer("eng/web")).unwrap();
        assert_eq!(refined.reserved_to(&role("eng/web")).cpus(), Quantity::from_units(3));
        assert_eq!(refined.unreserve(&refined.reserved()).unwrap(), reserved);
        assert_eq!(reserved.unreserve(&reserved.reserved()).unwrap(), have);
    }

    #[test]
    fn a_target_says_what_is_reserved_and_how() {
        let have = bag("cpus:4;cpus(eng):2");
        let target = bag("cpus(eng):1").reserve(&bag("cpus(eng):1"), &layer("eng/web")).unwrap();
        let both = target + &bag("cpus:3").reserve(&bag("cpus:3"), &layer("ops")).unwrap();
        let reserved = have.reserve_as(&both).unwrap();
        assert_eq!(reserved.reserved_to(&role("eng/web")).cpus(), Quantity::from_units(1));
        assert_eq!(reserved.reserved_to(&role("ops")).cpus(), Quantity::from_units(3));
        assert_eq!(reserved.unreserve(&both).unwrap(), have);
        assert!(matches!(have.reserve_as(&bag("cpus:1")), Err(ReserveError::NoLayer(_))));
        assert!(matches!(have.reserve_as(&bag("cpus(eng):1")), Err(ReserveError::Static(_))));
    }

    #[test]
    fn refused_reservations() {
        let have = bag("cpus:4;cpus(eng):2");
        let part = bag("cpus(eng):1");
        assert!(matches!(have.reserve(&bag("cpus:5"), &layer("eng")), Err(ReserveError::Lacking(_))));
        assert!(matches!(have.reserve(&part, &layer("ops")), Err(ReserveError::NotAChild { .. })));
        assert!(matches!(have.reserve(&part, &layer("eng")), Err(ReserveError::NotAChild { .. })));
        assert!(matches!(have.reserve(&part, &layer("*")), Err(ReserveError::Any(_))));
        assert!(matches!(
            have.reserve(&part, &Reservation::fixed(role("eng/a"))),
            Err(ReserveError::Static(_))
        ));
        assert!(matches!(have.unreserve(&part), Err(ReserveError::NotReserved(_))));
        assert!(matches!(have.unreserve(&bag("cpus:1")), Err(ReserveError::NotReserved(_))));
    }

    #[test]
    fn volumes_come_and_go() {
        let have = bag("disk:100").reserve(&bag("disk:100"), &layer("eng")).unwrap();
        let with = have.create(&(volume("a", 30, false) + &volume("b", 30, false))).unwrap();
        assert_eq!(with.iter().count(), 3);
        assert_eq!(with.disk(), Quantity::from_units(100));
        assert!(!with.contains(&volume("a", 20, false)), "a volume is not divisible");
        assert!(matches!(with.create(&volume("c", 50, false)), Err(ReserveError::Lacking(_))));
        assert!(matches!(with.unreserve(&volume("a", 30, false)), Err(ReserveError::Volume(_))));
        let back = with.destroy(&volume("a", 30, false)).unwrap().destroy(&volume("b", 30, false)).unwrap();
        assert_eq!(back, have);
        assert_eq!(
            have.create(&volume("s", 10, true)).unwrap().destroy(&volume("s", 10, true)).unwrap(),
            have
        );
        assert!(matches!(have.create(&have), Err(ReserveError::NotAVolume(_))));
    }
}
