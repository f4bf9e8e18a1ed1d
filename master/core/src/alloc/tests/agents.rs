//! What of an agent may be offered at all, and its books.

use expect_test::expect;

use super::script::play;

#[test]
fn capabilities_withhold_what_would_not_be_understood() {
    expect![[r#"
        > agent a1 cpus:4;mem:4096;gpus:1
        > agent a2 cpus:4;mem:4096 remote
        > subscribe f1 web
        > run
        > why f1 web
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 0, inactive: 0, incapable: 2, constrained: 0, too_little: 0, quota_limit: 0, kept_for_guarantees: 0, refused: 0, refused_until: None })
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
        Some(Why { subscribed: true, suppressed: false, free: 0, offered: 2, inactive: 1, incapable: 2, constrained: 0, too_little: 1, quota_limit: 0, kept_for_guarantees: 0, refused: 1, refused_until: Some(Time(5000)) })
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
