//! Who is offered what, and how much.

use expect_test::expect;

use super::script::play;

#[test]
fn the_first_takes_all_that_is_left() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096;ports:[31000-31009]
        > agent a2 cpus:4;mem:4096
        > subscribe f1 web
        > subscribe f2 web
        > run
        o1: f1 web a1 cpus:4; mem:4096; ports:[31000-31009]
        o2: f2 web a2 cpus:4; mem:4096
        > run
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096;ports:[31000-31009]
        agent a2 cpus:4;mem:4096
        subscribe f1 web
        subscribe f2 web
        run
        run
        ",
    ));
}

#[test]
fn the_poorest_role_is_next() {
    expect![[r#"
        > agent a1 cpus:8;mem:8000
        > agent a2 cpus:2;mem:2000
        > subscribe f1 web
        > subscribe f2 batch
        > run
        o1: f1 web a1 cpus:8; mem:8000
        o2: f2 batch a2 cpus:2; mem:2000
        > launch o1 cpus:8;mem:8000
        > launch o2 cpus:2;mem:2000
        > agent a3 cpus:1;mem:1000
        > run
        o3: f2 batch a3 cpus:1; mem:1000
        > launch o3 cpus:1;mem:1000
        > agent a4 cpus:1;mem:1000
        > run
        o4: f2 batch a4 cpus:1; mem:1000
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:8;mem:8000
        agent a2 cpus:2;mem:2000
        subscribe f1 web
        subscribe f2 batch
        run
        launch o1 cpus:8;mem:8000
        launch o2 cpus:2;mem:2000
        agent a3 cpus:1;mem:1000
        run
        launch o3 cpus:1;mem:1000
        agent a4 cpus:1;mem:1000
        run
        ",
    ));
}

#[test]
fn weights_shift_the_balance() {
    expect![[r#"
        > weight batch 3000
        > subscribe f1 web
        > subscribe f2 batch
        > agent a1 cpus:1;mem:100
        > agent a2 cpus:1;mem:100
        > agent a3 cpus:1;mem:100
        > agent a4 cpus:1;mem:100
        > run
        o1: f1 web a1 cpus:1; mem:100
        o2: f2 batch a2 cpus:1; mem:100
        o3: f2 batch a3 cpus:1; mem:100
        o4: f2 batch a4 cpus:1; mem:100
    "#]]
    .assert_eq(&play(
        "
        weight batch 3000
        subscribe f1 web
        subscribe f2 batch
        agent a1 cpus:1;mem:100
        agent a2 cpus:1;mem:100
        agent a3 cpus:1;mem:100
        agent a4 cpus:1;mem:100
        run
        ",
    ));
}

#[test]
fn reservations_go_to_their_roles() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096;cpus(ops):2;mem(ops):100;cpus(eng):1;mem(eng):50
        > subscribe f1 web
        > subscribe f2 ops
        > subscribe f3 eng/site
        > run
        o1: f1 web a1 cpus:4; mem:4096
        o2: f2 ops a1 cpus(reservations: [(STATIC,ops)]):2; mem(reservations: [(STATIC,ops)]):100
        o3: f3 eng/site a1 cpus(reservations: [(STATIC,eng)]):1; mem(reservations: [(STATIC,eng)]):50
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096;cpus(ops):2;mem(ops):100;cpus(eng):1;mem(eng):50
        subscribe f1 web
        subscribe f2 ops
        subscribe f3 eng/site
        run
        ",
    ));
}

#[test]
fn crumbs_are_not_offered() {
    expect![[r#"
        > agent a1 cpus:0.009;mem:31;ports:[1-100]
        > agent a2 cpus:0.01
        > agent a3 mem:32
        > subscribe f1 web
        > run
        o1: f1 web a2 cpus:0.01
        o2: f1 web a3 mem:32
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:0.009;mem:31;ports:[1-100]
        agent a2 cpus:0.01
        agent a3 mem:32
        subscribe f1 web
        run
        ",
    ));
}

#[test]
fn frameworks_may_choose_what_is_worth_an_offer() {
    expect![[r#"
        > agent a1 cpus:1.9;mem:64
        > agent a2 mem:1
        > subscribe f1 web >cpus:2;mem:10
        > run
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 0, constrained: 0, too_little: 2, quota_limit: 0, kept_for_guarantees: 0, refused: 0, refused_until: None })
        > subscribe f2 web >
        > run
        o1: f2 web a1 cpus:1.9; mem:64
        o2: f2 web a2 mem:1
        > agent a3 cpus:2;mem:9
        > agent a4 cpus:2;mem:10
        > decline o1 60000
        > decline o2 60000
        > run
        o3: f2 web a3 cpus:2; mem:9
        o4: f1 web a4 cpus:2; mem:10
        next at 60000
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:1.9;mem:64
        agent a2 mem:1
        subscribe f1 web >cpus:2;mem:10
        run
        why f1 web
        subscribe f2 web >
        run
        agent a3 cpus:2;mem:9
        agent a4 cpus:2;mem:10
        decline o1 60000
        decline o2 60000
        run
        ",
    ));
}

#[test]
fn the_cursor_goes_around() {
    expect![[r#"
        > subscribe f1 web
        > agent a1 cpus:1;mem:100
        > agent a2 cpus:1;mem:100
        > agent a3 cpus:1;mem:100
        > run 2
        o1: f1 web a1 cpus:1; mem:100
        o2: f1 web a2 cpus:1; mem:100
        more to do
        > decline o1 0
        > run 2
        o3: f1 web a3 cpus:1; mem:100
        next at 100
        > at 100
        > run 1
        o4: f1 web a1 cpus:1; mem:100
    "#]]
    .assert_eq(&play(
        "
        subscribe f1 web
        agent a1 cpus:1;mem:100
        agent a2 cpus:1;mem:100
        agent a3 cpus:1;mem:100
        run 2
        decline o1 0
        run 2
        at 100
        run 1
        ",
    ));
}
