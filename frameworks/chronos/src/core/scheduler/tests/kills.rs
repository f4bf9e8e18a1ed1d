//! Killed at every step, and at random ones: no due time is run twice, none is forgotten.

use std::collections::BTreeMap;

use model::time::{Span, Time};
use proptest::prelude::*;
use serde_json::json;

use super::super::super::fair::Rule;
use super::super::super::message::Command;
use super::super::super::run::{Run, RunId, State};
use super::fate::{Death, End, Fate, PATIENCE, Story, Subject, every};
use super::world::{START, World};

/// Two jobs, one of which is always in the other's way.
fn two_jobs() -> Story {
    let subject = |name: &str, seconds: u64, count: u64| Subject {
        job: json!({
            "name": name, "schedule": format!("R{count}/2026-01-01T00:00:02Z/PT{seconds}S"),
            "retries": 0, "catchup": "all",
        }),
        due: every(seconds, count),
        end: |_, _| End::ok(1500),
        after: |_| &[],
        fine: |run| matches!(run.state, State::Succeeded | State::Skipped),
    };
    Story {
        subjects: vec![subject("quick", 2, 18), subject("slow", 5, 7)],
        wishes: Vec::new(),
        cpus: 4000,
        cut: None,
        end: Span::from_secs(40),
    }
}

fn suspend_at_ten(world: &World) -> Option<Command> {
    let rests = world.scheduler.book().job("rests")?.definition.suspend;
    let job = "rests".to_owned();
    let wanted = world.now >= START + Span::from_secs(10) && world.now < START + Span::from_secs(20);
    match (rests, wanted) {
        (false, true) => Some(Command::Suspend { job }),
        (true, false) => Some(Command::Resume { job }),
        _ => None,
    }
}

/// One job for each thing that a job may say of its failures, its rest and its length.
fn policies() -> Story {
    let ok = |_: &_, _| End::ok(700);
    let subjects = vec![
        Subject {
            job: json!({
                "name": "again", "schedule": "R4/2026-01-01T00:00:02Z/PT8S", "retries": 2, "catchup": "all",
                "retryPolicy": {"kind": "exponential", "delay": 1, "jitter": 1, "uncountedOn": [75]},
            }),
            due: every(8, 4),
            end: |_, attempt| match attempt {
                0 => End::exit(500, "Command exited with status 75"),
                1 | 2 => End::exit(500, "Command exited with status 1"),
                _ => End::ok(500),
            },
            after: |_| &[],
            fine: |run| matches!(run.state, State::Succeeded | State::Skipped),
        },
        Subject {
            job: json!({
                "name": "long", "schedule": "R3/2026-01-01T00:00:02Z/PT10S", "activeDeadlineSeconds": 3,
                "catchup": "all",
            }),
            due: every(10, 3),
            end: |_, _| End::ok(60_000),
            after: |_| &[],
            fine: |run| match run.state {
                State::Failed => run.reason == "took longer than the 3s it may",
                // It came to its end while nobody was there to end it.
                State::Succeeded => run.finished.is_some_and(|at| at >= run.due + Span::from_secs(50)),
                other => other == State::Skipped,
            },
        },
        Subject {
            job: json!({
                "name": "rests", "schedule": "R10/2026-01-01T00:00:02Z/PT3S", "catchup": "all", "retries": 0,
            }),
            due: every(3, 10),
            end: ok,
            after: |_| &[],
            fine: |run| run.state == State::Succeeded || run.reason.contains("must not overlap"),
        },
        Subject {
            job: json!({
                "name": "replaced", "schedule": "R6/2026-01-01T00:00:02Z/PT5S", "concurrencyPolicy": "Replace",
            }),
            due: every(5, 6),
            end: |_, _| End::ok(7000),
            after: |_| &[],
            fine: |run| match run.state {
                State::Killed => run.reason == "replaced by a newer run",
                other => matches!(other, State::Succeeded | State::Skipped),
            },
        },
        Subject {
            job: json!({"name": "once", "schedule": "R1/2026-01-01T00:00:02Z/PT1H", "ttlSecondsAfterFinished": 5}),
            due: every(1, 1),
            end: ok,
            after: |_| &[],
            fine: |_| true,
        },
    ];
    Story { subjects, wishes: vec![suspend_at_ten], cpus: 1000, cut: None, end: Span::from_secs(45) }
}

/// Runs of many tasks: arrays of which tasks fail, are too many to fail, and a workflow that takes another way.
fn many_tasks() -> Story {
    let array = |name: &str, extra: serde_json::Value| {
        let mut job = json!({
            "name": name, "schedule": "R2/2026-01-01T00:00:02Z/PT12S", "retries": 1, "catchup": "all",
            "retryPolicy": {"delay": 1}, "completions": 7, "parallelism": 3, "cpus": 0.25,
        });
        for (field, value) in extra.as_object().expect("fields") {
            job[field] = value.clone();
        }
        job
    };
    // Each index fails once, the third for good.
    let end: fn(&RunId, u32) -> End = |id, attempt| match (id.part, attempt) {
        (Some(2), _) | (_, 0) => End::exit(400, "Command exited with status 1"),
        _ => End::ok(700),
    };
    let steps = json!([
        {"name": "extract", "command": "e"},
        {"name": "load", "command": "l", "needs": ["extract"]},
        {"name": "alarm", "command": "a", "needs": {"load": "failure"}},
        {"name": "report", "command": "r", "needs": ["load"]},
        {"name": "clean", "command": "c", "needs": {"load": "completion", "extract": "completion"}},
    ]);
    let schedule = "R2/2026-01-01T00:00:02Z/PT15S";
    let subjects = vec![
        Subject {
            job: array("tolerant", json!({"maxFailedIndexes": 1})),
            due: every(12, 2),
            end,
            after: |_| &[],
            fine: |run| run.state == State::Skipped || run.state == State::Succeeded,
        },
        Subject {
            job: array("strict", json!({})),
            due: every(12, 2),
            end,
            after: |_| &[],
            fine: |run| run.state == State::Failed && run.reason.starts_with("index 2 failed"),
        },
        Subject {
            job: json!({"name": "flow", "schedule": schedule, "retries": 0, "cpus": 0.25, "steps": steps}),
            due: every(15, 2),
            // The loss of a launch takes no attempt, so this is what the task says, not how often it was tried.
            end: |id, _| {
                if id.part == Some(1) { End::exit(700, "Command exited with status 1") } else { End::ok(700) }
            },
            after: |part| [&[][..], &[0], &[1], &[1], &[0, 1]][part as usize],
            fine: |run| {
                let skipped = run.parts.as_ref().map(|parts| parts.skipped.to_string());
                run.state == State::Failed && skipped.as_deref() == Some("3")
            },
        },
    ];
    Story { subjects, wishes: Vec::new(), cpus: 1000, cut: None, end: Span::from_secs(35) }
}

/// Too little room for all: users with weights, deadlines, and one job that takes the room of others.
fn crowded() -> Story {
    let subject =
        |name: &str, seconds: u64, count: u64, takes: fn(&RunId, u32) -> End, extra: serde_json::Value| {
            let mut job = json!({
                "name": name, "schedule": format!("R{count}/2026-01-01T00:00:02Z/PT{seconds}S"),
                "retries": 0, "catchup": "all", "concurrencyPolicy": "Allow", "cpus": 1,
            });
            for (field, value) in extra.as_object().expect("fields") {
                job[field] = value.clone();
            }
            let fine: fn(&Run) -> bool = |run| run.state == State::Succeeded && run.failures == 0;
            Subject { job, due: every(seconds, count), end: takes, after: |_| &[], fine }
        };
    let low = json!({"queue": "ann", "deadline": "PT10S"});
    let array = json!({"queue": "bob", "completions": 4, "priority": 1});
    let high = json!({"queue": "bob", "priority": 9, "preempts": true, "cpus": 2});
    Story {
        subjects: vec![
            subject("low", 5, 4, |_, _| End::ok(9000), low),
            subject("array", 20, 1, |_, _| End::ok(8000), array),
            subject("high", 15, 2, |_, _| End::ok(1000), high),
        ],
        wishes: vec![|world| {
            let rule = Rule { name: "ann".into(), weight: 2, max_priority: None };
            world.scheduler.book().queues.is_empty().then_some(Command::PutQueue { rule })
        }],
        cpus: 2000,
        cut: None,
        end: Span::from_secs(40),
    }
}

/// An agent is away for fifteen seconds: jobs that wait for it, and jobs that do not.
fn cut_off() -> Story {
    let job = |name: &str, seconds: u64, count: u64, extra: serde_json::Value| {
        let mut job = json!({
            "name": name, "schedule": format!("R{count}/2026-01-01T00:00:02Z/PT{seconds}S"), "retries": 3,
            "catchup": "all", "concurrencyPolicy": "Queue", "retryPolicy": {"delay": 1},
            "unreachable": {"lostAfterSeconds": PATIENCE.as_millis() / 1000},
        });
        for (field, value) in extra.as_object().expect("fields") {
            job[field] = value.clone();
        }
        job
    };
    let subject = |job: serde_json::Value, due: Vec<Time>, end: fn(&RunId, u32) -> End| {
        let fine: fn(&Run) -> bool = |run| run.state == State::Succeeded;
        Subject { job, due, end, after: |_| &[], fine }
    };
    let long_at_first: fn(&RunId, u32) -> End =
        |_, attempt| End::ok(if attempt == 0 { 60_000 } else { 2000 });
    let mut patient =
        subject(job("patient", 9, 1, json!({"unreachable": "wait"})), every(9, 1), |_, _| End::ok(12_000));
    patient.fine = |run| run.state == State::Succeeded && run.failures == 0;
    let mut in_time =
        subject(job("in-time", 9, 1, json!({"retryPolicy": {"delay": 30}})), every(9, 1), |_, _| {
            End::ok(40_000)
        });
    in_time.fine = |run| run.state == State::Succeeded && run.failures == 0;
    Story {
        subjects: vec![
            // It comes to its end while nobody sees it.
            subject(job("unseen", 6, 6, json!({})), every(6, 6), |_, _| End::ok(4000)),
            subject(job("killed", 9, 1, json!({})), every(9, 1), long_at_first),
            subject(job("array", 9, 1, json!({"completions": 3})), every(9, 1), long_at_first),
            patient,
            in_time,
        ],
        wishes: Vec::new(),
        cpus: 4000,
        cut: Some((START + Span::from_secs(10), START + Span::from_secs(25))),
        end: Span::from_secs(45),
    }
}

/// Dies after each of its steps, one death a life.
fn at_every_step(story: &Story, at_least: usize) {
    let actions = Fate::new(story, BTreeMap::new()).live();
    assert!(actions > at_least, "only {actions} actions");
    for death in 1..=actions {
        Fate::new(story, BTreeMap::from([(death, Death::SUDDEN)])).live();
    }
}

#[test]
fn killed_at_any_step_it_neither_repeats_nor_forgets() {
    at_every_step(&two_jobs(), 200);
}

#[test]
fn killed_at_any_step_it_keeps_to_what_jobs_say_of_failure_and_rest() {
    at_every_step(&policies(), 300);
}

#[test]
fn killed_at_any_step_it_does_each_part_of_a_run_once() {
    at_every_step(&many_tasks(), 200);
}

#[test]
fn killed_at_any_step_it_makes_room_without_losing_a_run() {
    let story = crowded();
    at_every_step(&story, 200);
}

#[test]
fn killed_at_any_step_it_gives_up_what_is_lost_and_counts_one_attempt() {
    at_every_step(&cut_off(), 200);
}

fn stories() -> [Story; 5] {
    [two_jobs(), policies(), many_tasks(), crowded(), cut_off()]
}

/// Up to a day without anybody, and a while with two that think they lead.
fn death() -> impl Strategy<Value = Death> {
    let outage = prop_oneof![
        4 => Just(Span::ZERO),
        3 => (0u64..10_000).prop_map(Span::from_millis),
        1 => (0u64..86_400).prop_map(Span::from_secs),
    ];
    (outage, 0u32..20).prop_map(|(outage, cut_off)| Death { outage, cut_off })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn killed_at_random_steps_it_neither_repeats_nor_forgets(
        deaths in prop::collection::btree_map(1usize..600, Just(Death::SUDDEN), 1..40),
    ) {
        for story in stories() {
            Fate::new(&story, deaths.clone()).live();
        }
    }

    /// The checker of the promise: outages of up to a day and partitions between two schedulers, at any steps; every due
    /// time has one recorded outcome, it is what happened, and who asks for it is told.
    #[test]
    fn once_means_once_through_outages_and_partitions(
        deaths in prop::collection::btree_map(1usize..900, death(), 1..12),
    ) {
        for story in stories() {
            Fate::new(&story, deaths.clone()).live();
        }
    }
}
