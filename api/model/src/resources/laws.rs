//! The laws of the algebra, over bags of every kind of resource.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::quantity::Quantity;
use crate::ranges::Ranges;
use crate::role::Role;

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn stack() -> impl Strategy<Value = Vec<Reservation>> {
    let labelled =
        Reservation { labels: vec![("k".into(), Some("v".into()))], ..Reservation::dynamic(role("eng")) };
    let principal = Reservation { principal: Some("ops".into()), ..Reservation::dynamic(role("eng")) };
    prop_oneof![
        4 => Just(vec![]),
        1 => Just(vec![Reservation::fixed(role("eng"))]),
        1 => Just(vec![Reservation::dynamic(role("ops"))]),
        1 => Just(vec![principal]),
        1 => Just(vec![labelled]),
        1 => Just(vec![Reservation::fixed(role("eng")), Reservation::dynamic(role("eng/web"))]),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    (1i64..5_000).prop_map(|n| Value::Scalar(Quantity::from_thousandths(n).unwrap()))
}

fn ports() -> impl Strategy<Value = Value> {
    proptest::collection::vec((0u64..100, 0u64..10), 1..4).prop_map(|pairs| {
        Value::Ranges(Ranges::covering(pairs.into_iter().map(|(first, n)| (first, first + n))).unwrap())
    })
}

fn set() -> impl Strategy<Value = Value> {
    proptest::collection::btree_set("[a-d]", 1..3)
        .prop_map(|names| Value::Set(Arc::new(names.iter().map(|name| name.as_str().into()).collect())))
}

fn disk() -> impl Strategy<Value = Item> {
    let source = |kind, root: &str| Source {
        kind,
        root: Some(root.into()),
        id: None,
        metadata: vec![],
        profile: None,
        vendor: None,
    };
    let reserved = vec![Reservation::dynamic(role("eng"))];
    let volume = |id: &str, shared| Tag {
        reservations: vec![Reservation::dynamic(role("eng"))],
        disk: Some(Disk {
            persistence: Some(Persistence { id: id.into(), principal: None }),
            container_path: Some("data".into()),
            source: None,
        }),
        shared,
        ..Tag::default()
    };
    let mount = Tag {
        disk: Some(Disk { source: Some(source(SourceKind::Mount, "/m")), ..Disk::default() }),
        ..Tag::default()
    };
    let path = Tag {
        reservations: reserved,
        disk: Some(Disk { source: Some(source(SourceKind::Path, "/p")), ..Disk::default() }),
        ..Tag::default()
    };
    let tag = prop_oneof![Just(volume("a", false)), Just(volume("s", true)), Just(mount), Just(path)];
    (tag, scalar()).prop_map(|(tag, value)| Item::new(Name::Disk, tag, value))
}

fn item() -> impl Strategy<Value = Item> {
    let amount = prop_oneof![
        (Just("cpus"), scalar()),
        (Just("mem"), scalar()),
        (Just("bandwidth"), scalar()),
        (Just("ports"), ports()),
        (Just("zones"), set()),
    ];
    let allocated = prop_oneof![Just(None), Just(Some(role("eng")))];
    let usual = (amount, stack(), allocated).prop_map(|((name, value), reservations, allocated)| {
        Item::new(Name::from(name), Tag { reservations, allocated, ..Tag::default() }, value)
    });
    let revocable =
        scalar().prop_map(|value| Item::new(Name::Cpus, Tag { revocable: true, ..Tag::default() }, value));
    prop_oneof![6 => usual, 2 => disk(), 1 => revocable]
}

fn bag() -> impl Strategy<Value = Bag> {
    proptest::collection::vec(item(), 0..8).prop_map(|items| items.into_iter().collect())
}

/// What of `b` can be added to `a` without counting anything twice.
fn apart(a: &Bag, b: &Bag) -> Bag {
    b.iter().filter(|item| a.clone().try_insert((*item).clone()).is_ok()).cloned().collect()
}

proptest! {
    #[test]
    fn subtraction_undoes_addition(a in bag(), b in bag()) {
        let b = apart(&a, &b);
        prop_assert_eq!((&a + &b).checked_sub(&b).unwrap(), a);
    }

    #[test]
    fn by_name_is_the_sum_of_what_has_a_name(a in bag()) {
        let shown = a.by_name();
        prop_assert!(shown.is_plain());
        for item in &a {
            prop_assert_eq!(shown.scalar(item.name()), a.scalar(item.name()));
            prop_assert_eq!(shown.ranges(item.name()), a.ranges(item.name()));
        }
    }

    #[test]
    fn addition_commutes_and_associates(a in bag(), b in bag(), c in bag()) {
        prop_assert_eq!(&a + &b, &b + &a);
        prop_assert_eq!(&(&a + &b) + &c, &a + &(&b + &c));
        prop_assert_eq!(&a + &Bag::new(), a);
    }

    #[test]
    fn containment_is_an_order(a in bag(), b in bag()) {
        prop_assert!(a.contains(&a));
        prop_assert!(a.contains(&Bag::new()));
        prop_assert!((&a + &b).contains(&a));
        prop_assert_eq!(a.contains(&b) && b.contains(&a), a == b);
        prop_assert_eq!(a.contains(&b), a.checked_sub(&b).is_ok());
    }

    #[test]
    fn without_leaves_what_the_other_lacks(a in bag(), b in bag()) {
        let rest = a.without(&b);
        prop_assert!(a.contains(&rest));
        // Taking the common part away again leaves the same: nothing else was touched.
        let common = a.checked_sub(&rest);
        prop_assert!(common.is_ok());
        prop_assert_eq!(a.without(&common.unwrap()), rest);
    }

    #[test]
    fn normal_form_does_not_depend_on_order(items in proptest::collection::vec(item(), 0..8)) {
        let forward: Bag = items.iter().cloned().collect();
        let backward: Bag = items.into_iter().rev().collect();
        prop_assert_eq!(forward, backward);
    }

    #[test]
    fn splitting_loses_nothing(a in bag()) {
        let (yes, no) = a.clone().split(|item| *item.name() == Name::Cpus);
        prop_assert_eq!(&(&yes + &no), &a);
        prop_assert_eq!(&a.reserved() + &a.unreserved(), a);
    }

    #[test]
    fn allocation_marks_keep_amounts(a in bag()) {
        let bare = a.unallocate();
        let marked = bare.allocate(&role("x"));
        for name in [Name::Cpus, Name::Mem, Name::Disk] {
            prop_assert_eq!(bare.scalar(&name), marked.scalar(&name));
        }
        prop_assert_eq!(marked.unallocate(), bare);
    }

    #[test]
    fn reserving_keeps_amounts_and_can_be_undone(a in bag()) {
        let bare = a.unallocate();
        let part = bare.filter(|item| item.reserved_to().is_none() && !item.is_revocable() && !item.is_volume());
        let reserved = bare.reserve(&part, &Reservation::dynamic(role("new"))).unwrap();
        for name in [Name::Cpus, Name::Mem, Name::Disk] {
            prop_assert_eq!(bare.scalar(&name), reserved.scalar(&name));
        }
        prop_assert_eq!(bare.ports(), reserved.ports());
        prop_assert_eq!(reserved.unreserve(&reserved.reserved_to(&role("new"))).unwrap(), bare);
    }

    #[test]
    fn found_is_there_and_enough(a in bag(), cpus in 1i64..9_000, mem in 1i64..9_000) {
        let wish: Bag = [("cpus", cpus), ("mem", mem)]
            .map(|(name, n)| Item::plain(name.into(), Value::Scalar(Quantity::from_thousandths(n).unwrap())))
            .into_iter()
            .collect();
        let web = role("eng/web");
        if let Some(found) = a.find(&wish, &web) {
            prop_assert!(a.contains(&found));
            prop_assert!(found.iter().all(|item| item.is_allocatable_to(&web)));
            prop_assert_eq!(found.cpus(), wish.cpus());
            prop_assert_eq!(found.mem(), wish.mem());
        } else {
            let usable = a.allocatable_to(&web).filter(|item| !item.is_revocable());
            prop_assert!(usable.cpus() < wish.cpus() || usable.mem() < wish.mem());
        }
    }

    #[test]
    fn survives_the_wire(a in bag()) {
        prop_assert_eq!(&Bag::from_wire(&a.to_wire(Form::Stack)).unwrap(), &a);
        let plain = a.filter(|item| !item.is_refined());
        prop_assert_eq!(Bag::from_wire(&plain.to_wire(Form::Before)).unwrap(), plain);
    }
}
