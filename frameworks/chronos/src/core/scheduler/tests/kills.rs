//! Killed at every step, and at random ones: no due time is run twice, none is forgotten.

use std::collections::BTreeSet;

use model::time::Span;
use proptest::prelude::*;
use serde_json::json;

use super::super::super::message::Command;
use super::super::super::run::State;
use super::fate::{End, Fate, Story, Subject, every};
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
        fine: |run| matches!(run.state, State::Succeeded | State::Skipped),
    };
    Story {
        subjects: vec![subject("quick", 2, 18), subject("slow", 5, 7)],
        wishes: Vec::new(),
        offer: "cpus:4;mem:4000;disk:4000",
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
            fine: |run| matches!(run.state, State::Succeeded | State::Skipped),
        },
        Subject {
            job: json!({
                "name": "long", "schedule": "R3/2026-01-01T00:00:02Z/PT10S", "activeDeadlineSeconds": 3,
                "catchup": "all",
            }),
            due: every(10, 3),
            end: |_, _| End::ok(60_000),
            fine: |run| match run.state {
                State::Failed => run.reason == "took longer than the 3s it may",
                other => other == State::Skipped,
            },
        },
        Subject {
            job: json!({
                "name": "rests", "schedule": "R10/2026-01-01T00:00:02Z/PT3S", "catchup": "all", "retries": 0,
            }),
            due: every(3, 10),
            end: ok,
            fine: |run| run.state == State::Succeeded || run.reason.contains("must not overlap"),
        },
        Subject {
            job: json!({
                "name": "replaced", "schedule": "R6/2026-01-01T00:00:02Z/PT5S", "concurrencyPolicy": "Replace",
            }),
            due: every(5, 6),
            end: |_, _| End::ok(7000),
            fine: |run| match run.state {
                State::Killed => run.reason == "replaced by a newer run",
                other => matches!(other, State::Succeeded | State::Skipped),
            },
        },
        Subject {
            job: json!({"name": "once", "schedule": "R1/2026-01-01T00:00:02Z/PT1H", "ttlSecondsAfterFinished": 5}),
            due: every(1, 1),
            end: ok,
            fine: |_| true,
        },
    ];
    Story {
        subjects,
        wishes: vec![suspend_at_ten],
        offer: "cpus:1;mem:1000;disk:2000",
        end: Span::from_secs(45),
    }
}

/// Dies after each of its steps, one death a life.
fn at_every_step(story: &Story, at_least: usize) {
    let actions = Fate::new(story, BTreeSet::new()).live();
    assert!(actions > at_least, "only {actions} actions");
    for death in 1..=actions {
        Fate::new(story, BTreeSet::from([death])).live();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn killed_at_random_steps_it_neither_repeats_nor_forgets(
        deaths in prop::collection::btree_set(1usize..600, 1..40),
    ) {
        Fate::new(&two_jobs(), deaths.clone()).live();
        Fate::new(&policies(), deaths).live();
    }
}
