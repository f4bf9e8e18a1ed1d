//! Declining, reviving, suppressing.

use expect_test::expect;

use super::script::play;

#[test]
fn a_refusal_lasts_as_long_as_it_says() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web
        > run
        o1: f1 web a1 cpus:4; mem:4096
        > decline o1 5000
        > run
        next at 5000
        > at 4999
        > run
        next at 5000
        > at 5000
        > run
        o2: f1 web a1 cpus:4; mem:4096
        > decline o2 10
        > at 5999
        > run
        next at 6000
        > at 6000
        > run
        o3: f1 web a1 cpus:4; mem:4096
        > decline o3 0
        > run
        next at 6100
        > at 6100
        > run
        o4: f1 web a1 cpus:4; mem:4096
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web
        run
        decline o1 5000
        run
        at 4999
        run
        at 5000
        run
        decline o2 10
        at 5999
        run
        at 6000
        run
        decline o3 0
        run
        at 6100
        run
        ",
    ));
}

#[test]
fn more_than_was_refused_is_offered() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web
        > run
        o1: f1 web a1 cpus:4; mem:4096
        > launch o1 cpus:1;mem:1024
        > decline o1 60000
        > run
        next at 60000
        > free t1
        > run
        o2: f1 web a1 cpus:4; mem:4096
        next at 60000
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web
        run
        launch o1 cpus:1;mem:1024
        decline o1 60000
        run
        free t1
        run
        ",
    ));
}

#[test]
fn others_are_offered_what_one_refused() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web
        > subscribe f2 web
        > run
        o1: f1 web a1 cpus:4; mem:4096
        > decline o1 60000
        > run
        o2: f2 web a1 cpus:4; mem:4096
        next at 60000
        > decline o2 60000
        > run
        next at 60000
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 0, constrained: 0, too_little: 0, quota_limit: 0, kept_for_guarantees: 0, refused: 1, refused_until: Some(Time(60000)) })
        > revive f2
        > run
        o3: f2 web a1 cpus:4; mem:4096
        next at 60000
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web
        subscribe f2 web
        run
        decline o1 60000
        run
        decline o2 60000
        run
        why f1 web
        revive f2
        run
        ",
    ));
}

#[test]
fn suppression_keeps_offers_and_stops_new_ones() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web ops
        > run
        o1: f1 ops a1 cpus:4; mem:4096
        > suppress f1
        > agent a2 cpus:4;mem:4096
        > run
        > why f1 web
        Some(Why { subscribed: true, suppressed: true, free: 1, offered: 0, inactive: 0, incapable: 0, constrained: 0, too_little: 1, quota_limit: 0, kept_for_guarantees: 0, refused: 0, refused_until: None })
        > revive f1 ops
        > run
        o2: f1 ops a2 cpus:4; mem:4096
        > revive f1 web
        > run
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web ops
        run
        suppress f1
        agent a2 cpus:4;mem:4096
        run
        why f1 web
        revive f1 ops
        run
        revive f1 web
        run
        ",
    ));
}
