//! What is refused and why, and that both forms say the same.

use super::*;

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: WireType::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    }
}

fn ports(pairs: &[(u64, u64)]) -> v1::Resource {
    let range = pairs.iter().map(|(begin, end)| v1::value::Range { begin: *begin, end: *end }).collect();
    v1::Resource {
        name: "ports".into(),
        r#type: WireType::Ranges.into(),
        ranges: Some(v1::value::Ranges { range }),
        ..Default::default()
    }
}

fn layer(kind: Option<WireReservation>, role: &str) -> v1::resource::ReservationInfo {
    v1::resource::ReservationInfo {
        r#type: kind.map(Into::into),
        role: Some(role.into()),
        ..Default::default()
    }
}

fn refused(resource: v1::Resource) -> String {
    Bag::from_wire(&[resource]).unwrap_err().to_string()
}

fn with(mut resource: v1::Resource, change: impl FnOnce(&mut v1::Resource)) -> v1::Resource {
    change(&mut resource);
    resource
}

#[test]
fn recorded_text_of_a_negative_amount() {
    let mut resource = scalar("cpus", -1.0);
    resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some("*".into()) });
    assert_eq!(
        refused(resource),
        "Resource 'cpus(allocated: *):-1' is invalid: Invalid scalar resource: value <= 0"
    );
}

#[test]
fn refuses_wrong_values_naming_the_field() {
    for (resource, part) in [
        (scalar("cpus", 0.0), "value <= 0"),
        (scalar("cpus", f64::NAN), "not NaN"),
        (scalar("cpus", f64::INFINITY), "must be finite"),
        (scalar("cpus", 1e300), "must not exceed"),
        (scalar("", 1.0), "'name' must not be empty"),
        (scalar("gpus", 0.5), "'gpus' must be a whole number"),
        (scalar("ports", 5.0), "'ports' must be RANGES"),
        (ports(&[(5, 4)]), "must not end before it begins"),
        (ports(&[(1, 5), (5, 9)]), "must not overlap"),
        (with(ports(&[(1, 5)]), |r| r.name = "mem".into()), "'mem' must be SCALAR"),
        (
            with(scalar("cpus", 1.0), |r| r.r#type = WireType::Text.into()),
            "'type' must be SCALAR, RANGES or SET",
        ),
        (with(scalar("cpus", 1.0), |r| r.r#type = 77), "'type' must be SCALAR, RANGES or SET"),
        (
            with(scalar("cpus", 1.0), |r| r.r#type = WireType::Set.into()),
            "'type' is SET, so 'set' must be set",
        ),
        (with(scalar("cpus", 1.0), |r| r.scalar = None), "'type' is SCALAR, so 'scalar' must be set"),
        (with(scalar("cpus", 1.0), |r| r.ranges = Some(Default::default())), "no other value may be"),
        (
            with(scalar("cpus", 1.0), |r| {
                r.disk = Some(v1::resource::DiskInfo {
                    source: Some(v1::resource::disk_info::Source { r#type: 1, ..Default::default() }),
                    ..Default::default()
                })
            }),
            "only be set on resource 'disk'",
        ),
        (
            with(scalar("disk", 1.0), |r| r.shared = Some(Default::default())),
            "'shared' must only be set on persistent",
        ),
    ] {
        let text = refused(resource);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn refuses_wrong_reservations() {
    let (fixed, dynamic) = (Some(WireReservation::Static), Some(WireReservation::Dynamic));
    let stack = |layers: &[v1::resource::ReservationInfo]| {
        with(scalar("cpus", 1.0), |r| r.reservations = layers.to_vec())
    };
    for (resource, part) in [
        (
            with(stack(&[layer(dynamic, "eng")]), |r| r.role = Some("eng".into())),
            "together with 'reservations'",
        ),
        (with(scalar("cpus", 1.0), |r| r.reservation = Some(Default::default())), "role '*'"),
        (with(scalar("cpus", 1.0), |r| r.role = Some("a//b".into())), "'role': Role 'a//b'"),
        (
            with(scalar("cpus", 1.0), |r| {
                r.role = Some("eng".into());
                r.reservation = Some(layer(dynamic, "eng"));
            }),
            "'reservation.role' must not be set",
        ),
        (stack(&[layer(None, "eng")]), "STATIC or DYNAMIC"),
        (stack(&[layer(dynamic, "*")]), "other than '*'"),
        (stack(&[layer(dynamic, "eng"), layer(fixed, "eng/a")]), "STATIC only in the first"),
        (stack(&[layer(dynamic, "eng"), layer(dynamic, "ops")]), "'ops' is not a child of 'eng'"),
        (stack(&[layer(dynamic, "eng"), layer(dynamic, "eng")]), "'eng' is not a child of 'eng'"),
    ] {
        let text = refused(resource);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn refuses_what_is_counted_twice() {
    let twice = [ports(&[(1, 5)]), ports(&[(5, 9)])];
    assert!(Bag::from_wire(&twice).unwrap_err().to_string().contains("counted twice"));
    let sum = Bag::from_wire(&[scalar("cpus", 0.1), scalar("cpus", 0.2)]).unwrap();
    assert_eq!(sum, Bag::parse("cpus:0.3").unwrap());
}

#[test]
fn both_forms_say_the_same() {
    let before = [
        with(scalar("cpus", 1.0), |r| r.role = Some("*".into())),
        with(scalar("mem", 2.0), |r| r.role = Some("eng".into())),
        with(scalar("disk", 3.0), |r| {
            r.role = Some("eng".into());
            r.reservation = Some(Default::default());
        }),
    ];
    let stack = [
        scalar("cpus", 1.0),
        with(scalar("mem", 2.0), |r| r.reservations = vec![layer(Some(WireReservation::Static), "eng")]),
        with(scalar("disk", 3.0), |r| r.reservations = vec![layer(Some(WireReservation::Dynamic), "eng")]),
    ];
    let bag = Bag::from_wire(&before).unwrap();
    assert_eq!(bag, Bag::from_wire(&stack).unwrap());
    for form in [Form::Before, Form::Stack] {
        assert_eq!(Bag::from_wire(&bag.to_wire(form)).unwrap(), bag);
    }
    assert!(bag.to_wire(Form::Stack).iter().all(|r| r.role.is_none() && r.reservation.is_none()));
    assert!(bag.to_wire(Form::Before).iter().all(|r| r.role.is_some() && r.reservations.is_empty()));
    assert!(bag.to_wire(Form::Both).iter().all(|r| r.role.is_some()));
}

#[test]
fn tiny_amounts_vanish() {
    assert_eq!(Bag::from_wire(&[scalar("cpus", 0.0004)]).unwrap(), Bag::new());
}
