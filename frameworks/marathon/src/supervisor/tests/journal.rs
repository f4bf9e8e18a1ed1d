//! Stories of journal, told to the supervisor.

use serde_json::json;

use super::world::World;
use crate::limits;

#[test]
fn changes_collect_while_one_is_on_its_way() {
    let mut world = World::new();
    world.hold_commits = true;
    for n in 0..20 {
        world.post(json!({"id": format!("/a{n}"), "cmd": "x"}));
    }
    assert_eq!(world.commits.len(), 1);
    assert_eq!(world.answers.len(), 0);
    world.commit_one();
    assert_eq!(world.answers.len(), 1);
    assert_eq!(world.commits.len(), 1, "the other nineteen go together");
    world.commit_one();
    assert_eq!(world.answers.len(), 20);
    assert_eq!(world.commits.len(), 0);
}

#[test]
fn readers_see_what_is_stored() {
    let mut world = World::new();
    world.hold_commits = true;
    let events = world.events.len();
    world.post(json!({"id": "/a", "cmd": "x"}));
    assert_eq!((world.view.apps.len(), world.events.len()), (0, events));
    world.commit_one();
    assert_eq!(world.view.apps.len(), 1);
    assert!(world.events.len() > events);
}

#[test]
fn the_window_of_events_is_bounded() {
    let mut world = World::new();
    world.post(json!({"id": "/a", "cmd": "x"}));
    let mut n = 0;
    while world.events.len() < limits::EVENT_WINDOW + 2000 {
        n += 1;
        world.scale("/a", n % 2);
    }
    let kept: usize = world
        .store
        .iter()
        .filter(|(key, _)| key.starts_with("events/"))
        .map(|(_, value)| {
            serde_json::from_slice::<serde_json::Value>(value).unwrap()["events"].as_array().unwrap().len()
        })
        .sum();
    assert!(kept <= limits::EVENT_WINDOW, "{kept}");
    assert!(kept > limits::EVENT_WINDOW - 100, "{kept}");
    world.fail_over();
    let first = world.events[0].number;
    assert_eq!(
        world.events.iter().map(|event| event.number).collect::<Vec<_>>(),
        (first..first + world.events.len() as u64).collect::<Vec<_>>()
    );
}
