//! What the registry answers, to be read.

use expect_test::{Expect, expect};

use super::*;

/// One line for each call, as a client of the key-value API would send and see it.
fn state(registry: &mut Registry, calls: &[&str]) -> String {
    let mut lines = String::new();
    for body in calls {
        let answer = answer(registry, body);
        lines += &format!("{body}\n  {answer}\n");
    }
    lines
}

fn answer(registry: &mut Registry, body: &str) -> String {
    let failure = |refusal: Refusal| serde_failure(&refusal);
    let call = match wire::state::Call::from_slice(body.as_bytes()) {
        Ok(call) => call,
        Err(error) => return format!("error: {error}"),
    };
    let answer = match StateCall::from_wire(call) {
        Ok(StateCall::Read(read)) => read.answer(registry),
        Ok(StateCall::Write(write)) => {
            let index = registry.index() + 1;
            let outcome = registry.apply(index, write.command());
            write.answer(index, outcome)
        }
        Ok(StateCall::Watch(watch)) => {
            let (mut watcher, started) = watch.start(registry);
            let next: wire::state::WatchRecord = match watcher.poll(registry) {
                Ok(batch) => batch.into(),
                Err(compacted) => compacted.into(),
            };
            return format!("{started:?}\n  {next:?}");
        }
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(refusal) => failure(refusal),
    }
}

fn serde_failure(refusal: &Refusal) -> String {
    let failure = wire::state::Failure::from(refusal);
    match failure.field {
        Some(field) => format!("refused at {field}: {}", failure.error),
        None => format!("refused: {}", failure.error),
    }
}

#[test]
fn a_leader_is_elected_and_fenced() {
    let mut registry = Registry::default();
    let transcript = state(
        &mut registry,
        &[
            r#"{"type":"LEASE_GRANT","namespace":"m","lease":"one","ttlMillis":5000}"#,
            r#"{"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"leader","exists":false}],"then":[{"put":{"key":"leader","value":"QQ==","lease":"one"}}],"else":[{"get":{"key":"leader"}}]}"#,
            r#"{"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"leader","exists":false}],"then":[{"put":{"key":"leader","value":"QQ==","lease":"one"}}],"else":[{"get":{"key":"leader"}}]}"#,
            r#"{"type":"TXN","namespace":"m","request":"r1","then":[{"delete":{"key":"leader"}}]}"#,
            r#"{"type":"LEASE_KEEPALIVE","namespace":"m","lease":"one"}"#,
            r#"{"type":"TXN","namespace":"m","compare":[{"key":"leader","createRevision":2}],"then":[{"put":{"key":"apps/web","value":"Qg=="}}]}"#,
            r#"{"type":"LEASE_REVOKE","namespace":"m","lease":"one"}"#,
            r#"{"type":"LEASE_REVOKE","namespace":"m","lease":"one"}"#,
            r#"{"type":"LEASE_KEEPALIVE","namespace":"m","lease":"one"}"#,
            r#"{"type":"TXN","namespace":"m","compare":[{"key":"leader","createRevision":2}],"then":[{"put":{"key":"apps/web","value":"Qw=="}}]}"#,
            r#"{"type":"RANGE","namespace":"m"}"#,
            r#"{"type":"WATCH","namespace":"m","from":1}"#,
            r#"{"type":"WATCH","namespace":"m"}"#,
        ],
    );
    expect![[r#"
        {"type":"LEASE_GRANT","namespace":"m","lease":"one","ttlMillis":5000}
          LeaseGrant(LeaseAnswer { revision: 1, lease: "one", ttl_millis: 5000, token: 1, renewals: 0 })
        {"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"leader","exists":false}],"then":[{"put":{"key":"leader","value":"QQ==","lease":"one"}}],"else":[{"get":{"key":"leader"}}]}
          Txn(TxnAnswer { revision: 2, succeeded: true, replayed: false, results: [Put] })
        {"type":"TXN","namespace":"m","request":"r1","compare":[{"key":"leader","exists":false}],"then":[{"put":{"key":"leader","value":"QQ==","lease":"one"}}],"else":[{"get":{"key":"leader"}}]}
          Txn(TxnAnswer { revision: 2, succeeded: true, replayed: true, results: [] })
        {"type":"TXN","namespace":"m","request":"r1","then":[{"delete":{"key":"leader"}}]}
          refused: request 'r1' was used before for a different transaction
        {"type":"LEASE_KEEPALIVE","namespace":"m","lease":"one"}
          LeaseKeepalive(LeaseAnswer { revision: 5, lease: "one", ttl_millis: 5000, token: 1, renewals: 1 })
        {"type":"TXN","namespace":"m","compare":[{"key":"leader","createRevision":2}],"then":[{"put":{"key":"apps/web","value":"Qg=="}}]}
          Txn(TxnAnswer { revision: 6, succeeded: true, replayed: false, results: [Put] })
        {"type":"LEASE_REVOKE","namespace":"m","lease":"one"}
          LeaseRevoke(RevokeAnswer { revision: 7, existed: true })
        {"type":"LEASE_REVOKE","namespace":"m","lease":"one"}
          LeaseRevoke(RevokeAnswer { revision: 8, existed: false })
        {"type":"LEASE_KEEPALIVE","namespace":"m","lease":"one"}
          refused at lease: lease: there is no lease 'one' in namespace 'm': it was never granted, ended or was revoked
        {"type":"TXN","namespace":"m","compare":[{"key":"leader","createRevision":2}],"then":[{"put":{"key":"apps/web","value":"Qw=="}}]}
          Txn(TxnAnswer { revision: 10, succeeded: false, replayed: false, results: [] })
        {"type":"RANGE","namespace":"m"}
          Range(RangeAnswer { revision: 10, entries: [Entry { key: "apps/web", value: Base64(b"B"), version: 1, create_revision: 6, mod_revision: 6, lease: None }], next: None })
        {"type":"WATCH","namespace":"m","from":1}
          Started { revision: 1 }
          Events { revision: 10, events: [Put { entry: Entry { key: "leader", value: Base64(b"A"), version: 1, create_revision: 2, mod_revision: 2, lease: Some("one") } }, Put { entry: Entry { key: "apps/web", value: Base64(b"B"), version: 1, create_revision: 6, mod_revision: 6, lease: None } }, Delete { key: "leader", revision: 7 }] }
        {"type":"WATCH","namespace":"m"}
          Started { revision: 11 }
          Progress { revision: 10 }
    "#]].assert_eq(&transcript);
}

#[test]
fn ranges_go_page_by_page() {
    let mut registry = Registry::default();
    apply_all(
        &mut registry,
        [Command::Txn(txn(vec![put("a", ""), put("p/1", ""), put("p/2", ""), put("p/3", ""), put("q", "")]))],
    );
    let pages = |prefix: &str, after: Option<&str>, limit| {
        let query = RangeQuery { prefix: text(prefix), after: after.map(text), limit };
        let page = registry.range("ns", &query).unwrap();
        let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.to_string()).collect();
        format!("{} | next {:?}\n", keys.join(" "), page.next)
    };
    let mut lines = pages("", None, 1_000);
    lines += &pages("p/", None, 2);
    lines += &pages("p/", Some("p/2"), 2);
    lines += &pages("p/", Some("a"), 3);
    lines += &pages("p/", Some("zzz"), 3);
    lines += &pages("nothing", None, 3);
    expect![[r#"
        a p/1 p/2 p/3 q | next None
        p/1 p/2 | next Some("p/2")
        p/3 | next None
        p/1 p/2 p/3 | next None
         | next None
         | next None
    "#]]
    .assert_eq(&lines);
}

fn refusal(registry: &Registry, command: &Command) -> String {
    let refusal = registry.check(command).unwrap_err();
    let clipped: String = refusal.to_string().chars().take(160).collect();
    format!("{clipped}\n")
}

fn check_refusals(registry: &Registry, commands: &[Command], expected: &Expect) {
    let lines: String = commands.iter().map(|command| refusal(registry, command)).collect();
    expected.assert_eq(&lines);
}

#[test]
fn transactions_are_refused_by_name() {
    let mut registry = Registry::default();
    let limits = set_limits(|limits| {
        limits.namespaces = 1;
        limits.namespace_bytes = 1 << 20;
        limits.answer_bytes = 64 << 10;
        limits.leases = 1;
        limits.lease_keys = 1;
    });
    let fill = |key: &str| Command::Txn(txn(vec![put(key, &"v".repeat(500_000))]));
    apply_all(&mut registry, [limits, grant("l", 5_000), fill("one"), fill("two")]);
    apply_all(&mut registry, [Command::Txn(txn(vec![put_under("held", "", "l")]))]);
    let get = |key: &str| Operation::Get { key: text(key) };
    let elsewhere = Txn { namespace: text("other"), ..txn(vec![put("a", "")]) };
    let exists = Compare { key: text("a"), relation: Relation::Less, target: Target::Exists(true) };
    check_refusals(
        &registry,
        &[
            Command::Txn(txn(vec![put("", "")])),
            Command::Txn(txn(vec![put("a", ""), put(&"k".repeat(2_000), "")])),
            Command::Txn(txn(vec![put("a", &"v".repeat((1 << 20) + 1))])),
            Command::Txn(txn(vec![put("a", ""), Operation::Delete { key: text("a") }])),
            Command::Txn(txn((0..129).map(|key| put(&key.to_string(), "")).collect())),
            Command::Txn(txn((0..5).map(|key| put(&key.to_string(), &"v".repeat(1 << 20))).collect())),
            Command::Txn(Txn { otherwise: vec![put("", "")], ..txn(vec![]) }),
            Command::Txn(Txn { request: Some(text("")), ..txn(vec![]) }),
            Command::Txn(Txn { namespace: text(""), ..txn(vec![]) }),
            Command::Txn(Txn { compare: vec![exists], ..txn(vec![]) }),
            Command::Txn(txn(vec![put_under("a", "", "none")])),
            Command::Txn(txn(vec![put_under("a", "", "l")])),
            Command::Txn(txn(vec![get("one"), get("two")])),
            Command::Txn(txn(vec![Operation::Range(RangeQuery { prefix: text(""), after: None, limit: 0 })])),
            fill("three"),
            Command::Txn(elsewhere),
            grant("second", 5_000),
            grant("l", 6_000),
            grant("short", 1),
        ],
        &expect![[r#"
            then[0].put.key must not be empty
            then[1].put.key has 2000 bytes, at most 1024 are allowed
            then[0].put.value has 1048577 bytes, at most 1048576 are allowed
            then[1].delete.key is written twice in this branch
            then has 129 items, at most 128 are allowed
            txn has 5242885 bytes of keys and values, at most 4194304 are allowed
            else[0].put.key must not be empty
            request must not be empty
            namespace must not be empty
            compare[0].is must be EQUAL or NOT_EQUAL where `exists` is compared
            then[0].put.lease: there is no lease 'none' in namespace 'ns': it was never granted, ended or was revoked
            there may be at most 1 keys under a lease
            then[1]: the answer would be larger than 65536 bytes
            then[0].range.limit must be from 1 to 1000
            namespace 'ns' may hold at most 1048576 bytes of keys and values
            there may be at most 1 namespaces
            there may be at most 1 leases in a namespace
            lease 'l' is alive with another time to live
            ttlMillis must be from 500 to 86400000
        "#]],
    );
    // A namespace that is full may still be emptied, and its entries replaced by no larger ones.
    let shrink = Command::Txn(txn(vec![put("one", "v"), Operation::Delete { key: text("two") }]));
    assert_eq!(registry.check(&shrink), Ok(()));
}

#[test]
fn frameworks_stay_removed() {
    let mut registry = Registry::default();
    let remove =
        |id: &str| Command::Framework(FrameworkCommand::Remove { id: id.into(), at: Time::from_millis(9) });
    let outcomes = apply_all(
        &mut registry,
        [
            set_limits(|limits| limits.tombstones = 2),
            Command::Framework(framework("f1", Some("alice"))),
            Command::Framework(framework("f1", Some("alice"))),
            Command::Framework(framework("f1", Some("bob"))),
            remove("f1"),
            remove("f1"),
            Command::Framework(framework("f1", Some("alice"))),
            remove("f2"),
            Command::Framework(framework("f2", None)),
            remove("f3"),
            Command::Framework(framework("f1", None)),
        ],
    );
    let lines: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    expect![[r#"
        Changed
        Changed
        Unchanged
        Refused(NotOwner { id: "f1", owner: "alice" })
        Changed
        Unchanged
        Refused(FrameworkRemoved("f1"))
        Changed
        Refused(FrameworkRemoved("f2"))
        Changed
        Changed"#]]
    .assert_eq(&lines.join("\n"));
    assert_eq!(registry.tombstones().count(), 2);
    assert_eq!(registry.frameworks().count(), 1);
}

#[test]
fn agents_come_and_go() {
    let mut registry = Registry::default();
    let outcomes = apply_all(
        &mut registry,
        [
            mark("a1", Away::Unreachable, 1),
            admit("a1", "h1", 2),
            admit("a1", "h1", 3),
            mark("a1", Away::Unreachable, 4),
            mark("a1", Away::Unreachable, 5),
            Command::Agent(AgentCommand::Deactivate { id: "a1".into(), deactivated: true }),
            admit("a1", "h2", 6),
            mark("a1", Away::Gone, 7),
            admit("a1", "h2", 8),
            mark("a1", Away::Unreachable, 9),
        ],
    );
    let mut lines: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    let agent = registry.agent(&"a1".into()).unwrap();
    lines.push(format!(
        "{} {:?} since {:?}, admitted {:?}, deactivated {}",
        agent.info.hostname, agent.presence, agent.since, agent.admitted_at, agent.deactivated
    ));
    let forget = Command::Agent(AgentCommand::Forget { id: "a1".into() });
    for outcome in apply_all(&mut registry, [forget.clone(), forget, admit("a1", "h3", 10)]) {
        lines.push(format!("{outcome:?}"));
    }
    expect![[r#"
        Refused(NoSuchAgent("a1"))
        Changed
        Unchanged
        Changed
        Unchanged
        Changed
        Changed
        Changed
        Refused(AgentGone("a1"))
        Refused(AgentGone("a1"))
        h2 Gone since Time(7), admitted Time(2), deactivated true
        Changed
        Unchanged
        Changed"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn members_weights_and_limits() {
    let mut registry = Registry::default();
    let member = |node, address: &str| {
        Command::Member(MemberCommand::Announce(Member { node, address: text(address) }))
    };
    let weight = |role: &str, thousandths| {
        Command::Weight(WeightCommand { set: vec![Weight { role: text(role), thousandths }] })
    };
    let outcomes = apply_all(
        &mut registry,
        [
            Command::Member(MemberCommand::Form { cluster: text("c") }),
            Command::Member(MemberCommand::Form { cluster: text("c") }),
            Command::Member(MemberCommand::Form { cluster: text("d") }),
            member(1, "h1:5050"),
            member(2, "h1:5050"),
            member(1, "h2:5050"),
            Command::Member(MemberCommand::Remove { node: 1 }),
            Command::Member(MemberCommand::Remove { node: 1 }),
            weight("web", 2_500),
            weight("web", 2_500),
            weight("web", 0),
            set_limits(|limits| limits.members = 0),
            set_limits(|_| {}),
            set_limits(|limits| limits.members = 3),
        ],
    );
    let lines: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    expect![[r#"
        Changed
        Unchanged
        Refused(OtherCluster("c"))
        Changed
        Refused(NodeTaken { node: 1, address: "h1:5050" })
        Changed
        Changed
        Unchanged
        Changed
        Unchanged
        Refused(Invalid { field: "set[0].thousandths", rule: "must be from 1 to 1000000000" })
        Refused(Invalid { field: "limits.members", rule: "must be from 1 to 31" })
        Unchanged
        Changed"#]]
    .assert_eq(&lines.join("\n"));
    assert_eq!((registry.weight("web"), registry.weight("else")), (2_500, WEIGHT_ONE));
    assert_eq!(registry.cluster(), Some("c"));
}

/// The leader's timers: a renewal that was committed first voids the end that was proposed.
#[test]
fn leases_end_in_the_order_of_the_log() {
    let mut registry = Registry::default();
    apply_all(&mut registry, [grant("l", 1_000), Command::Txn(txn(vec![put_under("a", "", "l")]))]);
    let mut expiry = Expiry::lead(Time::from_millis(0), &registry);
    assert_eq!(expiry.next_deadline(), Some(Time::from_millis(1_000)));
    assert_eq!(expiry.due(Time::from_millis(999), &registry, 10), []);
    let due = expiry.due(Time::from_millis(1_000), &registry, 10);
    assert_eq!(due.len(), 1);
    // Not again at once, in case the proposal is still under way.
    assert_eq!(expiry.due(Time::from_millis(1_001), &registry, 10), []);

    let renew = Command::Lease(LeaseCommand::Renew { namespace: text("ns"), lease: text("l") });
    let outcomes = apply_all(&mut registry, [renew, due[0].clone()]);
    let Outcome::Lease(lease) = &outcomes[0] else { panic!("{:?}", outcomes[0]) };
    assert_eq!(outcomes[1], Outcome::Unchanged);
    expiry.observe(Time::from_millis(1_002), lease);
    // A repeated grant answers the lease as it stands and does not lengthen it.
    expiry.observe(Time::from_millis(1_500), lease);
    assert_eq!(expiry.next_deadline(), Some(Time::from_millis(2_002)));

    let due = expiry.due(Time::from_millis(2_002), &registry, 10);
    assert_eq!(apply_all(&mut registry, due), [Outcome::Changed]);
    assert_eq!(registry.get("ns", "a"), None);
    // Lost proposals are made again; a lease that is gone is forgotten.
    assert_eq!(expiry.due(Time::from_millis(9_000), &registry, 10), []);
    assert_eq!(expiry.next_deadline(), None);
}

/// The same id granted again after its end is another lease: a late end of the first does not touch it.
#[test]
fn a_late_end_does_not_touch_a_new_lease() {
    let mut registry = Registry::default();
    let revoke = Command::Lease(LeaseCommand::Revoke { namespace: text("ns"), lease: text("l") });
    apply_all(&mut registry, [grant("l", 1_000)]);
    let mut expiry = Expiry::lead(Time::ZERO, &registry);
    let late = expiry.due(Time::from_secs(1), &registry, 10);
    apply_all(&mut registry, [revoke, grant("l", 1_000)]);
    assert_eq!(apply_all(&mut registry, late), [Outcome::Unchanged]);
    assert!(registry.lease("ns", "l").is_some());
}

#[test]
fn what_an_agent_says_of_itself_is_bounded() {
    let registry = Registry::default();
    let text = refusal(&registry, &admit("a", &"h".repeat(1 << 20), 0));
    expect![[r#"
        info has 1048580 bytes, at most 1048576 are allowed
    "#]]
    .assert_eq(&text);
}
