//! Those who take offers and use nothing, beside somebody who works.

use expect_test::expect;

use super::script::play;

#[test]
fn who_lets_offers_lapse_comes_last_until_it_answers() {
    expect![[r#"
        > agent a1 cpus:4;mem:400
        > agent a2 cpus:4;mem:400
        > agent a3 cpus:4;mem:400
        > subscribe busy *
        > subscribe mute *
        > run
        o1: busy * a1 cpus:4; mem:400
        o2: mute * a2 cpus:4; mem:400
        o3: busy * a3 cpus:4; mem:400
        > launch o1 cpus:4;mem:400
        > launch o3 cpus:4;mem:400
        > lapse o2 30000
        > order
        busy * user
        mute * behind
        > run
        o4: busy * a2 cpus:4; mem:400
        next at 30000
        > launch o4 cpus:4;mem:400
        > at 1000
        > agent a4 cpus:4;mem:400
        > run
        o5: busy * a4 cpus:4; mem:400
        next at 30000
        > launch o5 cpus:4;mem:400
        > answered mute
        > order
        mute * newcomer
        busy * user
        > agent a5 cpus:4;mem:400
        > run
        o6: mute * a5 cpus:4; mem:400
        next at 30000
        > lapse o6 30000
        > at 31000
        > order
        busy * user
        mute * behind
        > run
        o7: mute * a5 cpus:4; mem:400
        > order
        mute * newcomer
        busy * user
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:400
        agent a2 cpus:4;mem:400
        agent a3 cpus:4;mem:400
        subscribe busy *
        subscribe mute *
        run
        launch o1 cpus:4;mem:400
        launch o3 cpus:4;mem:400
        lapse o2 30000
        order
        run
        launch o4 cpus:4;mem:400
        at 1000
        agent a4 cpus:4;mem:400
        run
        launch o5 cpus:4;mem:400
        answered mute
        order
        agent a5 cpus:4;mem:400
        run
        lapse o6 30000
        at 31000
        order
        run
        order
        ",
    ));
}

#[test]
fn a_role_of_those_who_let_offers_lapse_comes_last() {
    expect![[r#"
        > agent a1 cpus:4;mem:400
        > agent a2 cpus:4;mem:400
        > agent a3 cpus:4;mem:400
        > subscribe busy web
        > subscribe mute dark
        > subscribe new dark
        > run
        o1: busy web a1 cpus:4; mem:400
        o2: mute dark a2 cpus:4; mem:400
        o3: busy web a3 cpus:4; mem:400
        > launch o1 cpus:4;mem:400
        > lapse o2 30000
        > order
        new dark newcomer
        busy web user
        mute dark behind
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:400
        agent a2 cpus:4;mem:400
        agent a3 cpus:4;mem:400
        subscribe busy web
        subscribe mute dark
        subscribe new dark
        run
        launch o1 cpus:4;mem:400
        lapse o2 30000
        order
        ",
    ));
}

/// One agent becomes free after the other, and each time somebody new is there who takes what it is offered and says
/// nothing, in the same role and in others; the last of them uses what it gets.
#[test]
fn newcomers_without_end_take_no_more_than_one_framework() {
    expect![[r#"
        > agent a1 cpus:1;mem:100
        > subscribe busy *
        > run
        o1: busy * a1 cpus:1; mem:100
        > launch o1 cpus:1;mem:100
        > subscribe n1 *
        > agent a2 cpus:1;mem:100
        > run
        o2: n1 * a2 cpus:1; mem:100
        > subscribe n2 *
        > agent a3 cpus:1;mem:100
        > run
        o3: busy * a3 cpus:1; mem:100
        > launch o3 cpus:1;mem:100
        > subscribe n3 *
        > agent a4 cpus:1;mem:100
        > run
        o4: n2 * a4 cpus:1; mem:100
        > subscribe n4 elsewhere
        > agent a5 cpus:1;mem:100
        > run
        o5: n4 elsewhere a5 cpus:1; mem:100
        > subscribe n5 anywhere
        > agent a6 cpus:1;mem:100
        > run
        o6: n5 anywhere a6 cpus:1; mem:100
        > launch o6 cpus:1;mem:100
        > order
        n5 anywhere user
        n4 elsewhere newcomer
        busy * user
        n3 * newcomer
        n1 * newcomer
        n2 * newcomer
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:1;mem:100
        subscribe busy *
        run
        launch o1 cpus:1;mem:100
        subscribe n1 *
        agent a2 cpus:1;mem:100
        run
        subscribe n2 *
        agent a3 cpus:1;mem:100
        run
        launch o3 cpus:1;mem:100
        subscribe n3 *
        agent a4 cpus:1;mem:100
        run
        subscribe n4 elsewhere
        agent a5 cpus:1;mem:100
        run
        subscribe n5 anywhere
        agent a6 cpus:1;mem:100
        run
        launch o6 cpus:1;mem:100
        order
        ",
    ));
}

#[test]
fn a_newcomer_has_a_place_of_its_own_once_it_uses_something() {
    expect![[r#"
        > agent a1 cpus:4;mem:400
        > subscribe busy *
        > run
        o1: busy * a1 cpus:4; mem:400
        > launch o1 cpus:4;mem:400
        > subscribe n1 *
        > subscribe n2 *
        > agent a2 cpus:1;mem:100
        > agent a3 cpus:1;mem:100
        > run
        o2: n1 * a2 cpus:1; mem:100
        o3: n2 * a3 cpus:1; mem:100
        > order
        n1 * newcomer
        n2 * newcomer
        busy * user
        > launch o2 cpus:1;mem:100
        > order
        n1 * user
        n2 * newcomer
        busy * user
        > decline o3 5000
        > order
        n2 * newcomer
        n1 * user
        busy * user
    "#]]
    .assert_eq(&play(
        "
        agent a1 cpus:4;mem:400
        subscribe busy *
        run
        launch o1 cpus:4;mem:400
        subscribe n1 *
        subscribe n2 *
        agent a2 cpus:1;mem:100
        agent a3 cpus:1;mem:100
        run
        order
        launch o2 cpus:1;mem:100
        order
        decline o3 5000
        order
        ",
    ));
}
