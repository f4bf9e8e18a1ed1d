//! What is asked of the scheduler, well and badly.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::{Value, json};

use super::super::super::fair::Rule;
use super::super::super::message::{Command, Input, Orphans, Reply};
use super::super::super::refusal::Refusal;
use super::super::super::stored::Stored;
use super::super::{Scheduler, Settings};
use super::world::World;
use crate::limits;

#[test]
fn bad_documents_are_refused_with_field_and_rule() {
    let mut world = World::new();
    let mut refused = |job| world.post(job).expect_err("refused").to_string();
    let lines = [
        refused(json!([])),
        refused(json!({})),
        refused(json!({"name": "a b"})),
        refused(json!({"name": "a/../b"})),
        refused(json!({"name": "x".repeat(151)})),
        refused(json!({"name": "a", "schedule": "R/2026-01-01T00:00:00Z/PT0S"})),
        refused(json!({"name": "a", "schedule": "@daily", "scheduleTimeZone": "Mars/Olympus"})),
        refused(json!({"name": "a", "cpus": -1})),
        refused(json!({"name": "a", "cpus": "many"})),
        refused(json!({"name": "a", "mem": 1e300})),
        refused(json!({"name": "a", "retries": -1})),
        refused(json!({"name": "a", "shell": "yes"})),
        refused(json!({"name": "a", "epsilon": "soon"})),
        refused(json!({"name": "a", "constraints": [["rack", "NEAR", "a"]]})),
        refused(json!({"name": "a", "constraints": [["rack", "LIKE", "("]]})),
        refused(json!({"name": "a", "uris": ["http://x"], "fetch": [{"uri": "http://x"}]})),
        refused(json!({"name": "a", "environmentVariables": [{"name": "A"}, {"name": "A"}]})),
        refused(json!({"name": "a", "container": {"image": "x", "type": "VM"}})),
        refused(json!({"name": "a", "concurrencyPolicy": "Sometimes"})),
        refused(json!({"name": "a", "description": "x".repeat(300_000)})),
    ];
    expect![[r#"
        body must be a JSON object
        name '' must be letters, digits, '_', '.' or '-'
        name 'a b' must be letters, digits, '_', '.' or '-'
        name 'a/../b' must be letters, digits, '_', '.' or '-'
        name must have at most 150 bytes
        schedule has a period of zero, which only R1 may have
        scheduleTimeZone 'Mars/Olympus' must be a name of the time zone database, like Europe/Paris
        cpus must not be negative, is -1
        cpus 'many' must be a number
        mem must not exceed 1000000000000, is 1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
        retries invalid value: integer `-1`, expected u32
        shell invalid type: string "yes", expected a boolean
        epsilon 'soon' must be an ISO 8601 duration like P1D or PT30M
        constraints[0] 'NEAR' must be EQUALS, LIKE or UNLIKE
        constraints[0] '(' must be a regular expression
        uris and fetch exclude each other
        environmentVariables[1].name must be a name, without '=', that is there once
        container.type must be DOCKER or MESOS
        concurrencyPolicy unknown variant `Sometimes`, expected one of `Allow`, `Forbid`, `Replace`, `Queue`
        body must have at most 262144 bytes, has 300474"#]].assert_eq(&lines.join("\n"));
    assert!(world.scheduler.book().jobs.is_empty() && world.store.is_empty());
}

#[test]
fn nulls_are_absent_and_unknown_fields_are_ignored() {
    let mut world = World::new();
    world.job(json!({"name": "a", "command": null, "parents": null, "colour": "red", "schedule": "@daily"}));
    let job = world.scheduler.book().job("a").expect("a job").clone();
    assert_eq!((job.definition.command.as_str(), &job.definition.parents), ("", &None));
}

#[test]
fn posting_the_same_again_moves_nothing() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R5/2026-01-01T01:00:00Z/PT1H"}));
    world.pass(Span::from_mins(90));
    world.serve();
    let shown = world.scheduler.book().job("a").and_then(|job| job.shown_schedule()).expect("a schedule");
    expect!["R4/2026-01-01T02:00:00.000Z/PT1H"].assert_eq(&shown);
    for text in ["R5/2026-01-01T01:00:00Z/PT1H", shown.as_str()] {
        world.job(json!({"name": "a", "schedule": text, "description": "new"}));
        let job = world.scheduler.book().job("a").expect("a job").clone();
        assert_eq!(job.shown_schedule().as_deref(), Some(shown.as_str()));
        assert_eq!((job.status.success_count, job.definition.description.as_str()), (1, "new"));
    }
    world.told();
    world.pass(Span::from_hours(1));
    expect![[r#"
        run/a@+7200000 waiting
        revive"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_manual_run_takes_no_recurrence_and_arguments_are_its_own() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1/2026-01-01T01:00:00Z/P1D", "arguments": ["x", "y"]}));
    let command = Command::Trigger { job: "a".to_owned(), arguments: Some("--date 1/2; rm".to_owned()) };
    let Ok(Reply::Run(id)) = world.command(command) else { panic!("a run") };
    assert_eq!(id.to_string(), "a@1767225600000");
    world.serve();
    world.pass(Span::from_hours(1));
    world.offer("cpus:1;mem:1000;disk:1000");
    expect![[r#"
        run/a@+0 waiting
        revive
        run/a@+0 launched
        launch ct:+0:0:a:--date%201%2F2%20rm
        run/a@+0 running
        run/a@+0 succeeded
        run/a@+3600000 waiting
        revive
        run/a@+3600000 launched
        launch ct:+3600000:0:a:x%20y"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_flood_of_triggers_is_bounded() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1/2027-01-01T01:00:00Z/P1D", "concurrent": true}));
    let mut results = Vec::new();
    for _ in 0..3000 {
        results.push(world.command(Command::Trigger { job: "a".to_owned(), arguments: None }));
    }
    let refused = results.iter().filter(|result| matches!(result, Err(Refusal::Full(_)))).count();
    assert!(refused > 1900, "{refused}");
    assert!(world.scheduler.book().active_of("a").len() <= limits::ACTIVE_RUNS);
    assert!(world.scheduler.book().runs.len() <= limits::ACTIVE_RUNS + limits::HISTORY);
}

#[test]
fn a_deleted_job_leaves_nothing_behind() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2026-01-01T00:00:01Z/PT1S", "concurrent": true}));
    world.pass(Span::from_secs(2));
    world.offer("cpus:0.1;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.told();
    world.command(Command::Delete { job: "a".to_owned(), orphans: Orphans::default() }).expect("known");
    expect![[r#"
        notify Deleted a: 
        run/a@+1000 launched
        kill ct:+1000:0:a:
        - run/a@+2000
        - job/a
        - status/a"#]]
    .assert_eq(&world.told());
    world.fail_over();
    world.update(&task, TaskState::Killed, "");
    assert_eq!(world.store.len(), 0, "{:?}", world.store);
    assert_eq!(world.scheduler.next_deadline(), None);
    let unknown = world.command(Command::Delete { job: "a".to_owned(), orphans: Orphans::default() });
    assert_eq!(unknown, Err(Refusal::UnknownJob("a".to_owned())));
}

#[test]
fn history_is_bounded() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2026-01-01T00:00:01Z/PT1S"}));
    for _ in 0..limits::HISTORY + 20 {
        world.pass(Span::from_secs(1));
        world.serve();
    }
    assert_eq!(world.scheduler.book().runs_of("a").count(), limits::HISTORY);
    assert_eq!(world.store.len(), limits::HISTORY + 2);
}

#[test]
fn a_record_that_cannot_be_read_is_left_alone_and_named() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "@daily"}));
    world.store.insert("job/b".to_owned(), json!({"definition": {"name": "b", "schedule": "never"}}));
    world.store.insert("run/x".to_owned(), json!(7));
    world.fail_over();
    assert_eq!(world.scheduler.book().jobs.len(), 1);
    assert_eq!((world.scheduler.unreadable().len(), world.store.len()), (2, 4));
}

/// The next leader has records as bytes.
#[test]
fn records_are_read_from_bytes_as_from_documents() {
    let mut world = World::new();
    world.job(
        json!({"name": "a", "schedule": "@hourly", "constraints": [["rack", "LIKE", "a|b"]], "cpus": "0.5"}),
    );
    world.job(json!({"name": "b", "schedule": "R3/2026-01-01T00:00:00Z/PT1H", "completions": 3}));
    let rule = Rule { name: "ann".into(), weight: 3, max_priority: None };
    world.command(Command::PutQueue { rule }).expect("fine");
    world.pass(Span::from_hours(1));
    world.offer("cpus:9;mem:9999;disk:9999");
    world.store.insert("run/x".to_owned(), json!(7));
    world.fail_over();
    let bytes = |(key, value): (&String, &Value)| Stored::read(key, value.to_string().as_bytes());
    let stored = world.store.iter().map(bytes).collect();
    let mut other = Scheduler::new(Settings::default());
    other.handle(world.now, Input::Restored(stored), &mut Vec::new());
    assert_eq!(format!("{:?}", other.book()), format!("{:?}", world.scheduler.book()));
    assert_eq!((other.queued(), other.unreadable().len()), (world.scheduler.queued(), 1));
    assert_eq!(other.next_deadline(), world.scheduler.next_deadline());
}
