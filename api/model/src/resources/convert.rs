//! From and to the wire, in the form before stacks of reservations (`role`, `reservation`) and in the one since
//! (`reservations`).

mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::v1;
use wire::v1::resource::disk_info::source::Type as WireSource;
use wire::v1::resource::reservation_info::Type as WireReservation;
use wire::v1::value::Type as WireType;

use super::bag::{Bag, Item};
use super::key::{Disk, Labels, Name, Persistence, Reservation, Source, SourceKind, Tag};
use super::value::Value;
use crate::id::{IdError, VolumeId};
use crate::limits;
use crate::quantity::{Quantity, QuantityError};
use crate::ranges::{Ranges, RangesError};
use crate::role::{Role, RoleError};

/// A resource of a message, and the rule it breaks. Schedulers see the text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("Resource '{resource}' is invalid: {rule}")]
pub struct ResourceError {
    pub resource: String,
    pub rule: Rule,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rule {
    #[error("'name' must not be empty")]
    Unnamed,
    // The first words of these two are those of the original, which schedulers' logs are searched for.
    #[error("Invalid scalar resource: value <= 0")]
    NotPositive,
    #[error("Invalid scalar resource: value {0}")]
    Quantity(#[from] QuantityError),
    #[error("Invalid ranges resource: {0}")]
    Ranges(#[from] RangesError),
    #[error("Invalid set resource: item '{0}' is there twice")]
    TwiceInSet(String),
    #[error("'{name}' must be {kind}")]
    WrongKind { name: Name, kind: &'static str },
    #[error("'type' must be SCALAR, RANGES or SET")]
    Type,
    #[error("'type' is {kind}, so '{field}' must be set and no other value may be")]
    WrongValue { kind: &'static str, field: &'static str },
    #[error("'gpus' must be a whole number")]
    Fraction,
    #[error("some of it is counted twice, or the sum is too large")]
    Overlap,
    #[error("'{field}' must not have more than {max} entries")]
    TooMany { field: &'static str, max: usize },
    #[error("'{field}': {source}")]
    Role { field: &'static str, source: RoleError },
    #[error("'role' or 'reservation' must not be set together with 'reservations'")]
    BothForms,
    #[error("'reservation' must not be set on a resource of role '*'")]
    ReservedToAny,
    #[error("'reservation.{0}' must not be set")]
    LayerField(&'static str),
    #[error("'reservations' must have a 'type' of STATIC or DYNAMIC in each entry")]
    LayerType,
    #[error("'reservations' must have a 'role' other than '*' in each entry")]
    LayerRole,
    #[error("'reservations' may be STATIC only in the first entry")]
    LayerStatic,
    #[error("'reservations' must go down the tree: '{inner}' is not a child of '{outer}'")]
    LayerOrder { outer: Role, inner: Role },
    #[error("'disk' must only be set on resource 'disk'")]
    DiskElsewhere,
    #[error("'disk.persistence.id': {0}")]
    VolumeId(IdError),
    #[error("'disk.persistence' must only be set on reserved resources")]
    VolumeUnreserved,
    #[error("'disk.volume' must only be set together with 'disk.persistence'")]
    VolumeAlone,
    #[error("'disk.volume' must have mode RW, no host path, no image and no source")]
    VolumeShape,
    #[error("'disk.source.type' must be PATH, MOUNT, BLOCK or RAW")]
    SourceType,
    #[error("'shared' must only be set on persistent volumes")]
    SharedElsewhere,
    #[error("'revocable' must not be set on {0} resources")]
    Revocable(&'static str),
}

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `role` and `reservation`, for frameworks that know no stacks. A refined reservation cannot be said so and is
    /// written as a stack; such frameworks are never offered one.
    Before,
    /// `reservations`.
    Stack,
    /// Both where both can be said: what operators' lists of totals show.
    Both,
}

impl Bag {
    /// Reads a message's resources. They are refused as a whole for one that is wrong, negative, or counted twice.
    pub fn from_wire(resources: &[v1::Resource]) -> Result<Self, ResourceError> {
        if resources.len() > limits::RESOURCES {
            let rule = Rule::TooMany { field: "resources", max: limits::RESOURCES };
            return Err(ResourceError { resource: "resources".into(), rule });
        }
        let mut bag = Self::new();
        for resource in resources {
            let fail = |rule| ResourceError { resource: describe(resource), rule };
            bag.try_insert(read(resource).map_err(fail)?).map_err(|_| fail(Rule::Overlap))?;
        }
        Ok(bag)
    }

    pub fn to_wire(&self, form: Form) -> Vec<v1::Resource> {
        let mut out = Vec::with_capacity(self.iter().len());
        for item in self {
            let copies = match item.value() {
                Value::Whole { copies, .. } => *copies,
                _ => 1,
            };
            out.extend(std::iter::repeat_n(write::item(item, form), copies as usize));
        }
        out
    }
}

/// What a resource is called in an error about it: as much as can be said without believing it.
fn describe(resource: &v1::Resource) -> String {
    let allocated = resource.allocation_info.as_ref().and_then(|info| info.role.as_deref());
    let allocated = allocated.map(|role| format!("(allocated: {role})")).unwrap_or_default();
    let value = match (&resource.scalar, &resource.ranges, &resource.set) {
        (Some(scalar), ..) => scalar.value.to_string(),
        (None, Some(ranges), _) => {
            let shown: Vec<String> =
                ranges.range.iter().take(8).map(|range| format!("{}-{}", range.begin, range.end)).collect();
            let more = if ranges.range.len() > 8 { ", ..." } else { "" };
            format!("[{}{more}]", shown.join(", "))
        }
        (None, None, Some(set)) => format!("{{{} items}}", set.item.len()),
        (None, None, None) => String::new(),
    };
    format!("{}{allocated}:{value}", resource.name)
}

/// Whether the value is of the kind the usual names have.
pub(super) fn check_kind(name: &Name, value: &Value) -> Result<(), Rule> {
    let wrong = |kind| Err(Rule::WrongKind { name: name.clone(), kind });
    match (name, value) {
        (Name::Gpus, Value::Scalar(quantity)) if !quantity.is_whole() => Err(Rule::Fraction),
        (Name::Cpus | Name::Mem | Name::Disk | Name::Gpus, Value::Ranges(_) | Value::Set(_)) => {
            wrong("SCALAR")
        }
        (Name::Ports, Value::Scalar(_) | Value::Whole { .. } | Value::Set(_)) => wrong("RANGES"),
        _ => Ok(()),
    }
}

fn read(resource: &v1::Resource) -> Result<Item, Rule> {
    if resource.name.is_empty() {
        return Err(Rule::Unnamed);
    }
    let name = Name::from(resource.name.as_str());
    let value = read_value(resource)?;
    check_kind(&name, &value)?;
    let tag = Tag {
        reservations: read_reservations(resource)?,
        disk: resource.disk.as_ref().map(read_disk).transpose()?.filter(|disk| *disk != Disk::default()),
        provider: resource.provider_id.as_ref().map(|id| id.value.as_str().into()),
        revocable: resource.revocable.is_some(),
        shared: resource.shared.is_some(),
        allocated: match resource.allocation_info.as_ref().and_then(|info| info.role.as_deref()) {
            Some(role) => Some(parse_role("allocation_info.role", role)?),
            None => None,
        },
    };
    check_tag(&name, &tag)?;
    Ok(Item::new(name, tag, value))
}

fn check_tag(name: &Name, tag: &Tag) -> Result<(), Rule> {
    if tag.disk.is_some() && *name != Name::Disk {
        return Err(Rule::DiskElsewhere);
    }
    if tag.is_volume() && tag.reservations.is_empty() {
        return Err(Rule::VolumeUnreserved);
    }
    if tag.shared && !tag.is_volume() {
        return Err(Rule::SharedElsewhere);
    }
    if tag.revocable && tag.is_volume() {
        return Err(Rule::Revocable("volume"));
    }
    if tag.revocable && tag.reservations.iter().any(|layer| layer.dynamic) {
        return Err(Rule::Revocable("dynamically reserved"));
    }
    Ok(())
}

fn read_value(resource: &v1::Resource) -> Result<Value, Rule> {
    let (scalar, ranges, set) = (&resource.scalar, &resource.ranges, &resource.set);
    match (WireType::try_from(resource.r#type), scalar, ranges, set) {
        (Ok(WireType::Scalar), Some(scalar), None, None) => {
            if scalar.value <= 0.0 {
                return Err(Rule::NotPositive);
            }
            Ok(Value::Scalar(Quantity::from_f64(scalar.value)?))
        }
        (Ok(WireType::Ranges), None, Some(ranges), None) => {
            if ranges.range.len() > limits::RANGES {
                return Err(Rule::TooMany { field: "ranges", max: limits::RANGES });
            }
            let pairs = ranges.range.iter().map(|range| (range.begin, range.end));
            Ok(Value::Ranges(Ranges::distinct(pairs)?))
        }
        (Ok(WireType::Set), None, None, Some(set)) => read_set(&set.item),
        (Ok(WireType::Scalar), ..) => Err(Rule::WrongValue { kind: "SCALAR", field: "scalar" }),
        (Ok(WireType::Ranges), ..) => Err(Rule::WrongValue { kind: "RANGES", field: "ranges" }),
        (Ok(WireType::Set), ..) => Err(Rule::WrongValue { kind: "SET", field: "set" }),
        (Ok(WireType::Text) | Err(_), ..) => Err(Rule::Type),
    }
}

fn read_set(items: &[String]) -> Result<Value, Rule> {
    if items.len() > limits::SET_ITEMS {
        return Err(Rule::TooMany { field: "set", max: limits::SET_ITEMS });
    }
    let mut set = BTreeSet::new();
    for item in items {
        if !set.insert(Arc::from(item.as_str())) {
            return Err(Rule::TwiceInSet(item.clone()));
        }
    }
    Ok(Value::Set(set.into()))
}

fn parse_role(field: &'static str, text: &str) -> Result<Role, Rule> {
    text.parse().map_err(|source| Rule::Role { field, source })
}

fn read_reservations(resource: &v1::Resource) -> Result<Vec<Reservation>, Rule> {
    if !resource.reservations.is_empty() {
        if resource.role.is_some() || resource.reservation.is_some() {
            return Err(Rule::BothForms);
        }
        return read_stack(&resource.reservations);
    }
    let role = parse_role("role", resource.role.as_deref().unwrap_or("*"))?;
    match &resource.reservation {
        None if role.is_any() => Ok(Vec::new()),
        None => Ok(vec![Reservation::fixed(role)]),
        Some(_) if role.is_any() => Err(Rule::ReservedToAny),
        Some(info) if info.role.is_some() => Err(Rule::LayerField("role")),
        Some(info) if info.r#type.is_some() => Err(Rule::LayerField("type")),
        Some(info) => Ok(vec![read_layer(role, true, info)]),
    }
}

fn read_stack(layers: &[v1::resource::ReservationInfo]) -> Result<Vec<Reservation>, Rule> {
    if layers.len() > limits::RESERVATIONS {
        return Err(Rule::TooMany { field: "reservations", max: limits::RESERVATIONS });
    }
    let mut stack: Vec<Reservation> = Vec::with_capacity(layers.len());
    for layer in layers {
        let dynamic = match layer.r#type.map(WireReservation::try_from) {
            Some(Ok(WireReservation::Dynamic)) => true,
            Some(Ok(WireReservation::Static)) => false,
            _ => return Err(Rule::LayerType),
        };
        if !dynamic && !stack.is_empty() {
            return Err(Rule::LayerStatic);
        }
        let role = parse_role("reservations.role", layer.role.as_deref().unwrap_or("*"))?;
        if role.is_any() {
            return Err(Rule::LayerRole);
        }
        if let Some(outer) = stack.last()
            && !outer.role.is_ancestor_of(&role)
        {
            return Err(Rule::LayerOrder { outer: outer.role.clone(), inner: role });
        }
        stack.push(read_layer(role, dynamic, layer));
    }
    Ok(stack)
}

fn read_layer(role: Role, dynamic: bool, info: &v1::resource::ReservationInfo) -> Reservation {
    Reservation {
        role,
        dynamic,
        principal: info.principal.as_deref().map(Arc::from),
        labels: read_labels(info.labels.as_ref()),
    }
}

fn read_labels(labels: Option<&v1::Labels>) -> Labels {
    let labels = labels.map(|labels| labels.labels.as_slice()).unwrap_or_default();
    labels.iter().map(|label| (label.key.as_str().into(), label.value.as_deref().map(Arc::from))).collect()
}

fn read_disk(info: &v1::resource::DiskInfo) -> Result<Disk, Rule> {
    let persistence = match &info.persistence {
        None => None,
        Some(persistence) => Some(Persistence {
            id: VolumeId::parse(&persistence.id).map_err(Rule::VolumeId)?,
            principal: persistence.principal.as_deref().map(Arc::from),
        }),
    };
    let container_path = match &info.volume {
        None => None,
        Some(_) if persistence.is_none() => return Err(Rule::VolumeAlone),
        Some(volume) => {
            let writable = v1::volume::Mode::try_from(volume.mode) == Ok(v1::volume::Mode::Rw);
            if !writable || volume.host_path.is_some() || volume.image.is_some() || volume.source.is_some() {
                return Err(Rule::VolumeShape);
            }
            Some(Arc::from(volume.container_path.as_str()))
        }
    };
    Ok(Disk { persistence, container_path, source: info.source.as_ref().map(read_source).transpose()? })
}

fn read_source(source: &v1::resource::disk_info::Source) -> Result<Source, Rule> {
    let (kind, root) = match WireSource::try_from(source.r#type) {
        Ok(WireSource::Path) => {
            (SourceKind::Path, source.path.as_ref().and_then(|path| path.root.as_deref()))
        }
        Ok(WireSource::Mount) => {
            (SourceKind::Mount, source.mount.as_ref().and_then(|mount| mount.root.as_deref()))
        }
        Ok(WireSource::Block) => (SourceKind::Block, None),
        Ok(WireSource::Raw) => (SourceKind::Raw, None),
        Ok(WireSource::Unknown) | Err(_) => return Err(Rule::SourceType),
    };
    Ok(Source {
        kind,
        root: root.map(Arc::from),
        id: source.id.as_deref().map(Arc::from),
        metadata: read_labels(source.metadata.as_ref()),
        profile: source.profile.as_deref().map(Arc::from),
        vendor: source.vendor.as_deref().map(Arc::from),
    })
}

#[cfg(test)]
mod tests;
