//! The writing half: it cannot fail, since a bag holds nothing the wire has no words for.

use std::sync::Arc;

use wire::v1;
use wire::v1::resource::disk_info::source::Type as WireSource;
use wire::v1::resource::reservation_info::Type as WireReservation;
use wire::v1::value::Type as WireType;

use super::super::bag::Item;
use super::super::key::{Disk, Labels, Reservation, Source, SourceKind};
use super::super::value::Value;
use super::Form;
use crate::ranges::Range;

pub(super) fn item(item: &Item, form: Form) -> v1::Resource {
    let mut out = v1::Resource { name: item.name().as_str().to_owned(), ..Default::default() };
    match item.value() {
        Value::Scalar(size) | Value::Whole { size, .. } => {
            out.r#type = WireType::Scalar.into();
            out.scalar = Some(v1::value::Scalar { value: size.as_f64() });
        }
        Value::Ranges(ranges) => {
            let range = |range: &Range| v1::value::Range { begin: range.first, end: range.last };
            out.r#type = WireType::Ranges.into();
            out.ranges = Some(v1::value::Ranges { range: ranges.as_slice().iter().map(range).collect() });
        }
        Value::Set(set) => {
            out.r#type = WireType::Set.into();
            out.set = Some(v1::value::Set { item: set.iter().map(|item| item.to_string()).collect() });
        }
    }
    let stack = item.tag().map(|tag| tag.reservations.as_slice()).unwrap_or_default();
    write_reservations(stack, form, &mut out);
    if let Some(tag) = item.tag() {
        out.provider_id = tag.provider.as_ref().map(Into::into);
        out.disk = tag.disk.as_ref().map(write_disk);
        out.revocable = tag.revocable.then(Default::default);
        out.shared = tag.shared.then(Default::default);
        out.allocation_info =
            tag.allocated.as_ref().map(|role| v1::resource::AllocationInfo { role: Some(role.to_string()) });
    }
    out
}

fn write_reservations(stack: &[Reservation], form: Form, out: &mut v1::Resource) {
    match (stack, form) {
        ([], Form::Stack) => {}
        ([], Form::Before | Form::Both) => out.role = Some("*".to_owned()),
        ([layer], Form::Before | Form::Both) => {
            out.role = Some(layer.role.to_string());
            out.reservation = layer.dynamic.then(|| v1::resource::ReservationInfo {
                principal: layer.principal.as_deref().map(str::to_owned),
                labels: write_labels(&layer.labels),
                ..Default::default()
            });
        }
        _ => {}
    }
    if form != Form::Before || stack.len() > 1 {
        out.reservations = stack.iter().map(write_layer).collect();
    }
}

fn write_layer(layer: &Reservation) -> v1::resource::ReservationInfo {
    let kind = if layer.dynamic { WireReservation::Dynamic } else { WireReservation::Static };
    v1::resource::ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(layer.role.to_string()),
        principal: layer.principal.as_deref().map(str::to_owned),
        labels: write_labels(&layer.labels),
    }
}

fn write_disk(disk: &Disk) -> v1::resource::DiskInfo {
    v1::resource::DiskInfo {
        persistence: disk.persistence.as_ref().map(|persistence| v1::resource::disk_info::Persistence {
            id: persistence.id.to_string(),
            principal: persistence.principal.as_deref().map(str::to_owned),
        }),
        volume: disk.container_path.as_ref().map(|path| v1::Volume {
            mode: v1::volume::Mode::Rw.into(),
            container_path: path.to_string(),
            ..Default::default()
        }),
        source: disk.source.as_ref().map(write_source),
    }
}

fn write_source(source: &Source) -> v1::resource::disk_info::Source {
    use v1::resource::disk_info::source::{Mount, Path};
    let root = source.root.as_deref().map(str::to_owned);
    let (kind, path, mount) = match source.kind {
        SourceKind::Path => (WireSource::Path, root.map(|root| Path { root: Some(root) }), None),
        SourceKind::Mount => (WireSource::Mount, None, root.map(|root| Mount { root: Some(root) })),
        SourceKind::Block => (WireSource::Block, None, None),
        SourceKind::Raw => (WireSource::Raw, None, None),
    };
    v1::resource::disk_info::Source {
        r#type: kind.into(),
        path,
        mount,
        id: source.id.as_deref().map(str::to_owned),
        metadata: write_labels(&source.metadata),
        profile: source.profile.as_deref().map(str::to_owned),
        vendor: source.vendor.as_deref().map(str::to_owned),
    }
}

fn write_labels(labels: &Labels) -> Option<v1::Labels> {
    let write = |(key, value): &(Arc<str>, Option<Arc<str>>)| v1::Label {
        key: key.to_string(),
        value: value.as_deref().map(str::to_owned),
    };
    (!labels.is_empty()).then(|| v1::Labels { labels: labels.iter().map(write).collect() })
}
