//! Laws that hold whatever the commands are.

use proptest::prelude::*;

use super::model::Model;
use super::*;

fn name(prefix: &'static str, count: u8) -> impl Strategy<Value = Text> {
    (0..count).prop_map(move |number| text(&format!("{prefix}{number}")))
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        any::<bool>().prop_map(Target::Exists),
        (0..3_u8).prop_map(|value| Target::Value(vec![value].into())),
        (0..3_u64).prop_map(Target::Version),
        (0..20_u64).prop_map(Target::CreateRevision),
        (0..20_u64).prop_map(Target::ModRevision),
    ];
    let relation = prop_oneof![
        Just(Relation::Equal),
        Just(Relation::NotEqual),
        Just(Relation::Less),
        Just(Relation::Greater)
    ];
    (name("k", 4), relation, target).prop_map(|(key, relation, target)| {
        // The model knows only equality of values, and existence has no order.
        let unordered = matches!(target, Target::Exists(_) | Target::Value(_));
        let ordered = matches!(relation, Relation::Less | Relation::Greater);
        let relation = if unordered && ordered { Relation::NotEqual } else { relation };
        Compare { key, relation, target }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (name("k", 6), 0..3_u8, proptest::option::of(name("l", 3))).prop_map(|(key, value, lease)| {
            Operation::Put { key, value: vec![value].into(), lease }
        }),
        2 => name("k", 6).prop_map(|key| Operation::Delete { key }),
        1 => name("k", 6).prop_map(|key| Operation::Get { key }),
        1 => (1..4_u32).prop_map(|limit| Operation::Range(RangeQuery { prefix: text("k"), after: None, limit })),
    ]
}

/// A branch that writes no key twice.
fn branch() -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(), 0..4).prop_map(|mut operations| {
        let mut written = BTreeSet::new();
        operations.retain(|operation| match operation {
            Operation::Put { key, .. } | Operation::Delete { key } => written.insert(key.clone()),
            _ => true,
        });
        operations
    })
}

fn any_txn() -> impl Strategy<Value = Txn> {
    let compare = proptest::collection::vec(compare(), 0..3);
    (name("n", 2), proptest::option::of(name("r", 40)), compare, branch(), branch()).prop_map(
        |(namespace, request, compare, then, otherwise)| Txn { namespace, request, compare, then, otherwise },
    )
}

pub(super) fn state_command() -> impl Strategy<Value = Command> {
    let ttl = Span::from_secs(5);
    let names = || (name("n", 2), name("l", 3));
    prop_oneof![
        8 => any_txn().prop_map(Command::Txn),
        2 => names().prop_map(move |(namespace, lease)| LeaseCommand::Grant { namespace, lease, ttl }).prop_map(Command::Lease),
        1 => names().prop_map(|(namespace, lease)| LeaseCommand::Renew { namespace, lease }).prop_map(Command::Lease),
        1 => names().prop_map(|(namespace, lease)| LeaseCommand::Revoke { namespace, lease }).prop_map(Command::Lease),
        2 => (names(), 1..30_u64, 0..3_u64).prop_map(|((namespace, lease), granted, renewals_seen)| {
            Command::Lease(LeaseCommand::Expire { namespace, lease, granted, renewals_seen })
        }),
    ]
}

fn maintenance() -> impl Strategy<Value = MaintenanceCommand> {
    let machine = || {
        (name("host", 3), 0..3_u8).prop_map(|(host, ip)| match ip {
            0 => Machine::new(&host, ""),
            1 => Machine::new("", "10.0.0.1"),
            _ => Machine::new(&host, "10.0.0.1"),
        })
    };
    let machines = || proptest::collection::vec(machine(), 0..3);
    let window =
        (machines(), 0..9_i64, proptest::option::of(-1..9_i64)).prop_map(|(machines, start, duration)| {
            Window { machines, unavailability: Unavailability { start, duration } }
        });
    prop_oneof![
        2 => proptest::collection::vec(window, 0..3).prop_map(|windows| MaintenanceCommand::Schedule { windows }),
        1 => machines().prop_map(|machines| MaintenanceCommand::Down { machines }),
        1 => machines().prop_map(|machines| MaintenanceCommand::Up { machines }),
    ]
}

fn other_command() -> impl Strategy<Value = Command> {
    let id = || (0..4_u8).prop_map(|number| number.to_string());
    let at = || (0..100_u64).prop_map(Time::from_millis);
    prop_oneof![
        (id(), proptest::option::of(Just("p")))
            .prop_map(|(id, principal)| Command::Framework(framework(&id, principal))),
        (id(), at()).prop_map(|(id, at)| Command::Framework(FrameworkCommand::Remove { id: id.into(), at })),
        (id(), 0..2_u8, 0..100_u64).prop_map(|(id, host, at)| admit(&id, &host.to_string(), at)),
        (id(), any::<bool>(), 0..100_u64)
            .prop_map(|(id, gone, at)| { mark(&id, if gone { Away::Gone } else { Away::Unreachable }, at) }),
        (id(), any::<bool>()).prop_map(|(id, deactivated)| {
            Command::Agent(AgentCommand::Deactivate { id: id.into(), deactivated })
        }),
        (id(), proptest::option::of(0..9_u64), any::<bool>()).prop_map(|(id, grace, mark_gone)| {
            let since = Time::from_millis(grace.unwrap_or(9));
            let drain = Drain { max_grace: grace.map(Span::from_millis), mark_gone, since };
            Command::Agent(AgentCommand::Drain { id: id.into(), drain })
        }),
        id().prop_map(|id| Command::Agent(AgentCommand::Forget { id: id.into() })),
        maintenance().prop_map(Command::Maintenance),
        (name("role", 3), 0..3_u64).prop_map(|(role, thousandths)| {
            Command::Weight(WeightCommand { set: vec![Weight { role, thousandths }] })
        }),
        (name("role", 3), 0..3_u32, 0..3_u32).prop_map(|(role, promise, limit)| {
            let cpus = |count| {
                let amount = ::model::quantity::Quantity::from_units(count);
                (count > 0).then_some((::model::resources::Name::Cpus, amount)).into_iter().collect()
            };
            let quota = Quota { role, guarantees: cpus(promise), limits: cpus(limit) };
            Command::Quota(QuotaCommand { set: vec![quota] })
        }),
        name("c", 2).prop_map(|cluster| Command::Member(MemberCommand::Form { cluster })),
        (0..4_u64, name("host", 4)).prop_map(|(node, address)| {
            Command::Member(MemberCommand::Announce(Member { node, address }))
        }),
        (0..4_u64).prop_map(|node| Command::Member(MemberCommand::Remove { node })),
        (0..3_u64, 1..20_u64, 1..5_u64).prop_map(|(tombstones, history_events, requests)| set_limits(
            |limits| {
                limits.tombstones = tombstones;
                limits.history_events = history_events;
                limits.requests = requests;
            }
        )),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![state_command(), other_command()]
}

/// What is in the registry's key-value space, as the model has it.
fn agrees(registry: &Registry, model: &Model) -> Result<(), TestCaseError> {
    let mut entries = Vec::new();
    for namespace in ["n0", "n1"] {
        let all = RangeQuery { prefix: text(""), after: None, limit: 1_000 };
        entries.extend(registry.range(namespace, &all).unwrap().entries);
    }
    let found: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
    prop_assert_eq!(found, model.entries.values().collect::<Vec<_>>());
    let leases: Vec<_> = registry
        .leases()
        .map(|lease| ((lease.namespace.clone(), lease.id.clone()), (lease.granted, lease.renewals)))
        .collect();
    prop_assert_eq!(leases, model.leases.clone().into_iter().collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn the_key_value_space_is_the_model(commands in proptest::collection::vec(state_command(), 1..60)) {
        let (mut registry, mut model) = (Registry::default(), Model::default());
        for (at, command) in commands.iter().enumerate() {
            let index = at as Index + 1;
            let done = match registry.apply(index, command.clone()) {
                Outcome::Refused(_) => None,
                Outcome::Txn(outcome) => Some(outcome.succeeded),
                _ => Some(true),
            };
            prop_assert_eq!(done, model.apply(index, command), "{:?}", command);
            agrees(&registry, &model)?;
        }
        let told: Vec<_> = registry.store.history().since(0).flat_map(|revision| {
            revision.events.iter().map(|event| {
                let value = if let Event::Put(entry) = event { Some(entry.value.clone()) } else { None };
                (revision.revision, (event.namespace().clone(), event.key().clone()), value)
            })
        }).collect();
        prop_assert_eq!(told, model.events);
    }

    #[test]
    fn check_tells_what_apply_does(commands in proptest::collection::vec(any_command(), 1..60)) {
        let mut registry = Registry::default();
        for command in commands {
            let before = registry.digest();
            let checked = registry.check(&command);
            prop_assert_eq!(registry.digest(), before);
            match registry.apply(registry.index() + 1, command) {
                Outcome::Refused(refusal) => {
                    prop_assert_eq!(checked, Err(refusal));
                    prop_assert_eq!(registry.digest(), before);
                }
                Outcome::Unchanged => {
                    prop_assert_eq!(checked, Ok(()));
                    prop_assert_eq!(registry.digest(), before);
                }
                Outcome::Changed => {
                    prop_assert_eq!(checked, Ok(()));
                    prop_assert_ne!(registry.digest(), before);
                }
                Outcome::Txn(_) | Outcome::Lease(_) => prop_assert_eq!(checked, Ok(())),
            }
        }
    }

    /// A snapshot taken anywhere is the registry: same digest, same bytes when exported again, and the same for
    /// every command after it, also as those commands come out of the log.
    #[test]
    fn snapshots_go_on_as_the_original(
        before in proptest::collection::vec(any_command(), 0..60),
        after in proptest::collection::vec(any_command(), 0..20),
    ) {
        let mut original = Registry::default();
        apply_all(&mut original, before);
        let chunks: Vec<Vec<u8>> = original.export().collect();
        let mut copy = Registry::import(&chunks).unwrap();
        prop_assert_eq!(copy.digest(), original.digest());
        prop_assert_eq!(copy.export().collect::<Vec<_>>(), chunks);
        for command in after {
            let logged = Command::from_bytes(&command.to_bytes()).unwrap();
            prop_assert_eq!(&logged, &command);
            let index = original.index() + 1;
            prop_assert_eq!(copy.apply(index, logged), original.apply(index, command));
            prop_assert_eq!(copy.digest(), original.digest());
        }
        prop_assert_eq!(copy.export().collect::<Vec<_>>(), original.export().collect::<Vec<_>>());
    }

    /// Damage is an error. Where it is not noticed it changed nothing.
    #[test]
    fn damaged_snapshots_are_refused(
        commands in proptest::collection::vec(any_command(), 0..30),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        cut in any::<bool>(),
    ) {
        let mut registry = Registry::default();
        apply_all(&mut registry, commands);
        let mut bytes: Vec<u8> = registry.export().next().unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        if let Ok(read) = Registry::import([bytes]) {
            prop_assert!(!cut);
            prop_assert_eq!(read.digest(), registry.digest());
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::from_bytes(&bytes);
        prop_assert!(Registry::import([&bytes]).is_err());
    }
}

/// A view is a view: what comes later does not show in it.
#[test]
fn clones_stay_as_they_were() {
    let mut registry = Registry::default();
    apply_all(&mut registry, [Command::Txn(txn(vec![put("a", "1")]))]);
    let view = registry.clone();
    apply_all(&mut registry, [Command::Txn(txn(vec![put("a", "2")]))]);
    assert_eq!(&*view.get("ns", "a").unwrap().value, b"1");
    assert_eq!(&*registry.get("ns", "a").unwrap().value, b"2");
}

/// Many records make many chunks, none much over the target.
#[test]
fn chunks_are_bounded() {
    let mut registry = Registry::default();
    let value = "x".repeat(100_000);
    for number in 0..40 {
        apply_all(&mut registry, [Command::Txn(txn(vec![put(&format!("k{number}"), &value)]))]);
    }
    let chunks: Vec<Vec<u8>> = registry.export().collect();
    assert!(chunks.len() > 10, "{} chunks", chunks.len());
    for chunk in &chunks {
        assert!(chunk.len() < CHUNK_TARGET + 110_000, "{} bytes", chunk.len());
    }
    let copy = Registry::import(&chunks).unwrap();
    assert_eq!(copy.digest(), registry.digest());
    assert_eq!(Registry::import(&chunks[1..]).unwrap_err(), Corrupt::NoHeader);
    assert_eq!(Registry::import(&chunks[..chunks.len() - 1]).unwrap_err(), Corrupt::CutShort);
    let missing = chunks[..3].iter().chain(&chunks[4..]);
    assert!(matches!(Registry::import(missing), Err(Corrupt::Count { .. })));
}
