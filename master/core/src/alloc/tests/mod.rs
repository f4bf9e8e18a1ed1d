//! Transcripts of the allocator, and its laws against an allocator that looks at everything.

mod laws;
mod oracle;
mod script;

use expect_test::expect;
use script::play;

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
        o1: f2 batch a1 cpus:8; mem:8000
        o2: f1 web a2 cpus:2; mem:2000
        > launch o1 cpus:8;mem:8000
        > launch o2 cpus:2;mem:2000
        > agent a3 cpus:1;mem:1000
        > run
        o3: f1 web a3 cpus:1; mem:1000
        > launch o3 cpus:1;mem:1000
        > agent a4 cpus:1;mem:1000
        > run
        o4: f1 web a4 cpus:1; mem:1000
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
        o1: f2 batch a1 cpus:1; mem:100
        o2: f1 web a2 cpus:1; mem:100
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
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 0, too_little: 0, refused: 1, refused_until: Some(Time(60000)) })
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
        Some(Why { subscribed: true, suppressed: true, free: 1, offered: 0, inactive: 0, incapable: 0, too_little: 1, refused: 0, refused_until: None })
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

#[test]
fn reservations_go_to_their_roles() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096;cpus(ops):2;mem(ops):100;cpus(eng):1;mem(eng):50
        > subscribe f1 web
        > subscribe f2 ops
        > subscribe f3 eng/site
        > run
        o1: f3 eng/site a1 cpus:4; cpus(reservations: [(STATIC,eng)]):1; mem:4096; mem(reservations: [(STATIC,eng)]):50
        o2: f2 ops a1 cpus(reservations: [(STATIC,ops)]):2; mem(reservations: [(STATIC,ops)]):100
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
        > agent a1 cpus:4;mem:4096;gpus:1
        > agent a2 cpus:4;mem:4096 remote
        > subscribe f1 web
        > run
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 2, too_little: 0, refused: 0, refused_until: None })
        > subscribe f2 web +gpu
        > run
        o1: f2 web a1 cpus:4; gpus:1; mem:4096
        > subscribe f1 web +region_aware
        > run
        o2: f1 web a2 cpus:4; mem:4096
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
fn frameworks_may_choose_what_is_worth_an_offer() {
    expect![[r#"
        > agent a1 cpus:1.9;mem:64
        > agent a2 mem:1
        > subscribe f1 web >cpus:2;mem:10
        > run
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 0, too_little: 2, refused: 0, refused_until: None })
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
fn every_agent_has_its_reason() {
    expect![[r#"
        > agent free cpus:4;mem:4096
        > agent held cpus:4;mem:4096 used f2 web cpus:4;mem:4090
        > agent refused cpus:4;mem:4096
        > agent inactive cpus:4;mem:4096
        > agent gpus cpus:4;mem:4096;gpus:1
        > agent remote cpus:4;mem:4096 remote
        > active inactive false
        > subscribe f1 web
        > run 3
        o1: f1 web free cpus:4; mem:4096
        o2: f1 web refused cpus:4; mem:4096
        more to do
        > decline o2 5000
        > agent free cpus:4;mem:4096
        > agent offered cpus:4;mem:4096
        > why f1 web free
        Some(Free)
        > why f1 web held
        Some(TooLittle)
        > why f1 web refused
        Some(Refused { until: Time(5000) })
        > why f1 web inactive
        Some(Inactive)
        > why f1 web gpus
        Some(NeedsGpuCapability)
        > why f1 web remote
        Some(NeedsRegionCapability)
        > why f1 web nowhere
        None
        > run
        o3: f1 web offered cpus:4; mem:4096
        o4: f1 web free cpus:4; mem:4096
        next at 5000
        > why f1 web offered
        Some(Offered)
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 2, inactive: 1, incapable: 2, too_little: 1, refused: 1, refused_until: Some(Time(5000)) })
        > why f9 web
        None
    "#]]
    .assert_eq(&play(
        "
        agent free cpus:4;mem:4096
        agent held cpus:4;mem:4096 used f2 web cpus:4;mem:4090
        agent refused cpus:4;mem:4096
        agent inactive cpus:4;mem:4096
        agent gpus cpus:4;mem:4096;gpus:1
        agent remote cpus:4;mem:4096 remote
        active inactive false
        subscribe f1 web
        run 3
        decline o2 5000
        agent free cpus:4;mem:4096
        agent offered cpus:4;mem:4096
        why f1 web free
        why f1 web held
        why f1 web refused
        why f1 web inactive
        why f1 web gpus
        why f1 web remote
        why f1 web nowhere
        run
        why f1 web offered
        why f1 web
        why f9 web
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
fn an_agent_that_is_down_or_inactive_gives_nothing() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web
        > run
        o1: f1 web a1 cpus:4; mem:4096
        > active a1 false
        > decline o1 none
        > run
        > active a1 true
        > run
        o2: f1 web a1 cpus:4; mem:4096
        > down a1
        > run
        > decline o2 none
        agent a1 is not known to the allocator
        > agent a1 cpus:4;mem:4096 used f1 web cpus:3;mem:4000
        > run
        o3: f1 web a1 cpus:1; mem:96
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
fn what_is_overbooked_is_not_given_until_enough_came_back() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096 used f1 web cpus:3;mem:100 used f2 web cpus:3;mem:100
        > subscribe f1 web
        > run
        o1: f1 web a1 mem:3896
        > free t1
        > decline o1 none
        > run
        o2: f1 web a1 cpus:1; mem:3996
        > total a1 cpus:2;mem:4096
        > run
        > decline o2 none
        > total a1 cpus:5;mem:4096
        > run
        o3: f1 web a1 cpus:2; mem:3996
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:4096 used f1 web cpus:3;mem:100 used f2 web cpus:3;mem:100
        subscribe f1 web
        run
        free t1
        decline o1 none
        run
        total a1 cpus:2;mem:4096
        run
        decline o2 none
        total a1 cpus:5;mem:4096
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

#[test]
fn books_that_differ_are_named_and_left_alone() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096
        > subscribe f1 web
        > run
        o1: f1 web a1 cpus:4; mem:4096
        > launch o1 cpus:5
        framework f1 in role web on agent a1: cpus:4; mem:4096 does not contain cpus:5
        > launch o1 cpus:4;mem:4096
        > decline o1 none
        > down a1
        > decline o1 none
        agent a1 is not known to the allocator
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
