//! Transcripts of the allocator, and its laws against an allocator that looks at everything.

mod laws;
mod oracle;
mod script;

use expect_test::expect;
use script::play;

#[test]
fn the_first_takes_all_that_is_left() {
    expect![[r#"
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
fn a_refusal_lasts_as_long_as_it_says() {
    expect![[r#"
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

#[test]
fn reservations_go_to_their_roles() {
    expect![[r#"
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
fn capabilities_withhold_what_would_not_be_understood() {
    expect![[r#"
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096;gpus:1
        agent a2 cpus:4;mem:4096 remote
        subscribe f1 web
        run
        why f1 web
        subscribe f2 web +gpu
        run
        subscribe f1 web +region_aware
        run
        ",
    ));
}

#[test]
fn crumbs_are_not_offered() {
    expect![[r#"
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
fn an_agent_that_is_down_or_inactive_gives_nothing() {
    expect![[r#"
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web
        run
        active a1 false
        decline o1 none
        run
        active a1 true
        run
        down a1
        run
        decline o2 none
        agent a1 cpus:4;mem:4096 used f1 web cpus:3;mem:4000
        run
        ",
    ));
}

#[test]
fn overbooked_agents_give_nothing_until_enough_came_back() {
    expect![[r#"
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096 used f1 web cpus:6;mem:100
        agent a1 cpus:4;mem:4096 used f1 web cpus:3;mem:100 used f2 web cpus:3;mem:100
        subscribe f1 web
        run
        free t1
        decline o1 none
        run
        ",
    ));
}

#[test]
fn the_cursor_goes_around() {
    expect![[r#"
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

#[test]
fn books_that_differ_are_named_and_left_alone() {
    expect![[r#"
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096
        subscribe f1 web
        run
        launch o1 cpus:5
        launch o1 cpus:4;mem:4096
        decline o1 none
        down a1
        decline o1 none
        ",
    ));
}
