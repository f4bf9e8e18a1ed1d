//! What the sidecar does with what it hears, told as a conversation.

use std::collections::BTreeSet;

use expect_test::expect;
use model::time::{Span, Time};

use super::*;
use crate::core::{Answer, Core, Effect, Input, Listing, Token};
use crate::limits::{CONFIRM_AFTER, LIST_APART, LIST_EVERY, LIST_RETRY, READY_EVERY};

const NOW: Time = Time::from_secs(1_000);

struct Script {
    core: Core,
    now: Time,
}

impl Script {
    fn new() -> Self {
        Self { core: Core::new(settings(), Desired::new(), Span::ZERO), now: NOW }
    }

    /// A script that has listed these apps.
    fn with(apps: &[Value]) -> Self {
        let mut script = Self::new();
        let effects = script.handle(Input::Attached);
        script.listed(only_list(&effects), apps);
        script
    }

    fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle(self.now, input, &mut effects);
        effects
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.handle(Input::Event(Box::new(event)))
    }

    fn listed(&mut self, token: Token, apps: &[Value]) -> Vec<Effect> {
        let apps = apps.iter().cloned().map(info).collect();
        self.handle(Input::Listed { token, listing: Some(Listing { apps, unreadable: BTreeSet::new() }) })
    }

    fn pass(&mut self, span: Span) -> Vec<Effect> {
        self.now += span;
        self.handle(Input::Wake)
    }

    fn shown(&self) -> String {
        show(self.core.view().desired())
    }
}

fn only_list(effects: &[Effect]) -> Token {
    match effects {
        [Effect::List { token }] => *token,
        other => panic!("not one list: {other:?}"),
    }
}

fn describe(effects: &[Effect]) -> String {
    let lines = effects.iter().map(|effect| match effect {
        Effect::Desire(desired) => format!("  desire {}", show(desired).replace('\n', " ")),
        other => format!("  {other:?}"),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn shop(tasks: &[(&str, u16, &[bool])]) -> Value {
    app("/shop", 10_001, tasks)
}

#[test]
fn a_day_in_the_life() {
    let mut script = Script::new();
    let mut transcript = String::new();
    let mut step = |name: &str, effects: Vec<Effect>| {
        transcript += &format!("{name}\n{}", describe(&effects));
    };
    step("attached", script.handle(Input::Attached));
    step("listed", script.listed(1, &[shop(&[("a", 1, &[true])])]));
    step("b runs", script.event(status("/shop", "b", 2, "TASK_RUNNING")));
    step("b is healthy", script.event(health("/shop", "b", true)));
    step("a is to be killed", script.event(draining("/shop", "a")));
    step("a has no connection", script.handle(Input::Drained(vec!["a".into()])));
    step("and still none", script.handle(Input::Drained(vec!["a".into()])));
    step("asked again", script.event(draining("/shop", "a")));
    step("answered again", script.handle(Input::Drained(vec!["a".into()])));
    step("a is killed", script.event(status("/shop", "a", 1, "TASK_KILLED")));
    step("an app unheard of", script.event(status("/new", "n", 3, "TASK_RUNNING")));
    step("and more of it", script.event(status("/new", "n", 3, "TASK_RUNNING")));
    let new = Answer::Found(Box::new(info(app("/new", 10_002, &[("n", 3, &[true])]))));
    step("read", script.handle(Input::Read { token: 2, answer: new }));
    step("read once more", script.handle(Input::Read { token: 3, answer: Answer::Absent }));
    step("a minute passes", script.pass(LIST_EVERY));
    expect![[r#"
        attached
          List { token: 1 }
        listed
          desire shop_10001 [a=10.0.0.1:1] 
        b runs

        b is healthy
          desire shop_10001 [a=10.0.0.1:1, b=10.0.0.1:2] 
        a is to be killed
          desire shop_10001 [a=10.0.0.1:1 draining, b=10.0.0.1:2] 
        a has no connection
          Acknowledge(["a"])
        and still none

        asked again

        answered again
          Acknowledge(["a"])
        a is killed
          desire shop_10001 [b=10.0.0.1:2] 
        an app unheard of
          Read { token: 2, app: "/new" }
        and more of it

        read
          Read { token: 3, app: "/new" }
          desire new_10002 [n=10.0.0.1:3] shop_10001 [b=10.0.0.1:2] 
        read once more
          desire shop_10001 [b=10.0.0.1:2] 
        a minute passes
          List { token: 4 }
    "#]]
    .assert_eq(&transcript);
}

#[test]
fn events_during_a_list_are_replayed_on_it() {
    let mut script = Script::with(&[shop(&[("a", 1, &[true])])]);
    let token = only_list(&script.handle(Input::Refresh));
    script.event(status("/shop", "b", 2, "TASK_RUNNING"));
    script.event(health("/shop", "b", true));
    script.event(status("/shop", "a", 1, "TASK_KILLED"));
    // The list was made before all that.
    script.listed(token, &[shop(&[("a", 1, &[true])])]);
    assert_eq!(script.shown(), "shop_10001 [b=10.0.0.1:2]\n");
}

#[test]
fn a_list_that_takes_much_away_is_confirmed_first() {
    let five: &[(&str, u16, &[bool])] =
        &[("a", 1, &[true]), ("b", 2, &[true]), ("c", 3, &[true]), ("d", 4, &[true]), ("e", 5, &[true])];
    let mut script = Script::with(&[shop(five)]);
    let all = script.shown();
    // One of five is believed; everything is not.
    let token = only_list(&script.handle(Input::Refresh));
    script.listed(token, &[shop(&five[..4])]);
    assert_ne!(script.shown(), all);
    let four = script.shown();
    let token = only_list(&script.handle(Input::Refresh));
    assert_eq!(script.listed(token, &[]), []);
    assert_eq!((script.shown(), script.core.held_lists()), (four.clone(), 1));
    // Events go on meanwhile.
    script.event(health("/shop", "a", false));
    assert_ne!(script.shown(), four);
    // A list in between decides nothing, a failed confirmation neither.
    let token = only_list(&script.handle(Input::Refresh));
    assert_eq!(script.listed(token, &[]), []);
    let token = only_list(&script.pass(CONFIRM_AFTER));
    script.handle(Input::Listed { token, listing: None });
    assert_ne!(script.shown(), "");
    let token = only_list(&script.pass(LIST_RETRY));
    assert_eq!(script.listed(token, &[]), []);
    assert_ne!(script.shown(), "");
    let token = only_list(&script.pass(CONFIRM_AFTER));
    script.listed(token, &[]);
    assert_eq!(script.shown(), "");
}

/// A sidecar that has started again with two instances saved, and does not believe the list that lacks them.
fn in_doubt() -> Script {
    let saved = Script::with(&[shop(&[("a", 1, &[true]), ("b", 2, &[true])])]).core.view().desired().clone();
    let mut script = Script { core: Core::new(settings(), saved, Span::ZERO), now: NOW };
    let effects = script.handle(Input::Attached);
    assert_eq!(describe(&script.listed(only_list(&effects), &[])), "\n");
    assert_eq!(script.core.held_lists(), 1);
    script
}

/// A sidecar that starts again does not wait for a list it believes before it leaves what it is told has ended.
#[test]
fn what_has_ended_is_left_at_once_while_a_list_is_confirmed() {
    let mut script = in_doubt();
    assert_eq!(
        describe(&script.event(status("/shop", "a", 1, "TASK_KILLED"))),
        "  Read { token: 2, app: \"/shop\" }\n  desire shop_10001 [b=10.0.0.1:2] \n"
    );
}

/// Nor what it is told has fallen ill.
#[test]
fn what_has_fallen_ill_is_left_at_once_while_a_list_is_confirmed() {
    let mut script = in_doubt();
    assert_eq!(
        describe(&script.event(health("/shop", "a", false))),
        "  Read { token: 2, app: \"/shop\" }\n  desire shop_10001 [b=10.0.0.1:2] \n"
    );
    assert_eq!(describe(&script.event(health("/shop", "b", true))), "\n");
}

/// What it reads of one app because it was told of it holds at once as well.
#[test]
fn what_is_read_of_an_app_holds_while_a_list_is_confirmed() {
    let mut script = in_doubt();
    script.event(health("/shop", "b", true));
    let answer = Answer::Found(Box::new(info(shop(&[("a", 1, &[false]), ("b", 2, &[true])]))));
    assert_eq!(
        describe(&script.handle(Input::Read { token: 2, answer })),
        "  desire shop_10001 [b=10.0.0.1:2] \n"
    );
}

#[test]
fn a_list_that_came_back_to_its_senses_is_believed() {
    let apps = [shop(&[("a", 1, &[true])])];
    let mut script = Script::with(&apps);
    let token = only_list(&script.handle(Input::Refresh));
    script.listed(token, &[]);
    let token = only_list(&script.pass(CONFIRM_AFTER));
    script.listed(token, &apps);
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1]\n");
    // And the next suspicion starts from the beginning.
    let token = only_list(&script.handle(Input::Refresh));
    script.listed(token, &[]);
    assert_eq!((script.shown().is_empty(), script.core.held_lists()), (false, 2));
}

#[test]
fn what_events_explain_is_not_suspicious() {
    let mut script = Script::with(&[shop(&[("a", 1, &[true]), ("b", 2, &[true])])]);
    script.event(status("/shop", "a", 1, "TASK_KILLED"));
    let token = only_list(&script.handle(Input::Refresh));
    script.listed(token, &[shop(&[("b", 2, &[true])])]);
    assert_eq!(script.core.held_lists(), 0);
}

#[test]
fn a_new_stream_means_a_new_list() {
    let mut script = Script::with(&[shop(&[("a", 1, &[true])])]);
    let old = only_list(&script.handle(Input::Refresh));
    let new = only_list(&script.handle(Input::Attached));
    // The answer of before the gap is not believed.
    assert_eq!(script.listed(old, &[shop(&[("a", 1, &[false])])]), []);
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1]\n");
    script.listed(new, &[shop(&[("a", 1, &[true]), ("b", 2, &[true])])]);
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1, b=10.0.0.1:2]\n");
}

#[test]
fn lists_that_events_ask_for_keep_apart() {
    let mut script = Script::with(&[]);
    let change = || event("group_change_success", json!({ "groupId": "/", "version": "v" }));
    assert_eq!(script.event(change()), []);
    assert_eq!(script.event(change()), []);
    assert_eq!(script.core.next_deadline(), Some(NOW + LIST_APART));
    only_list(&script.pass(LIST_APART));
}

#[test]
fn a_failed_list_is_tried_again_and_changes_nothing() {
    let mut script = Script::with(&[shop(&[("a", 1, &[true])])]);
    let token = only_list(&script.handle(Input::Refresh));
    assert_eq!(script.handle(Input::Listed { token, listing: None }), []);
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1]\n");
    only_list(&script.pass(LIST_RETRY));
}

#[test]
fn a_draining_task_without_a_server_needs_no_waiting() {
    let mut script = Script::with(&[shop(&[("a", 1, &[false])])]);
    let effects = script.event(draining("/shop", "a"));
    assert_eq!(effects, [Effect::Acknowledge(vec!["a".into()])]);
}

#[test]
fn apps_not_yet_ready_are_looked_at() {
    let mut app = shop(&[("a", 1, &[true])]);
    app["readinessChecks"] = json!([{"name": "ready"}]);
    app["deployments"] = json!([{"id": "d"}]);
    let mut script = Script::new();
    let token = only_list(&script.handle(Input::Attached));
    let effects = script.listed(token, &[app.clone()]);
    let Some(Effect::Read { token, .. }) =
        effects.iter().find(|effect| matches!(effect, Effect::Read { .. }))
    else {
        panic!("{effects:?}")
    };
    assert_eq!(script.shown(), "shop_10001 []\n");
    assert_eq!(script.core.next_deadline(), Some(NOW + READY_EVERY));
    app["readinessCheckResults"] = json!([{"taskId": "a", "ready": true}]);
    script.handle(Input::Read { token: *token, answer: Answer::Found(Box::new(info(app))) });
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1]\n");
}

#[test]
fn a_flood_of_events_during_a_read_makes_it_useless() {
    let mut script = Script::with(&[shop(&[("a", 1, &[true])])]);
    let token = only_list(&script.handle(Input::Refresh));
    for _ in 0..=crate::limits::REPLAY_EVENTS {
        script.event(health("/shop", "a", true));
    }
    script.listed(token, &[shop(&[("a", 1, &[false])])]);
    assert_eq!(script.shown(), "shop_10001 [a=10.0.0.1:1]\n");
    only_list(&script.pass(LIST_APART));
}
