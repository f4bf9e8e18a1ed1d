//! One job and its runs: launched, repeated, overlapping, killed, lost.

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use serde_json::json;

use super::super::super::message::Command;
use super::super::super::run::RunId;
use super::world::World;

const EVERY_MINUTE: &str = "R/2026-01-01T00:01:00Z/PT1M";

#[test]
fn a_due_time_is_recorded_then_launched_then_over() {
    let mut world = World::new();
    world.job(json!({"name": "a", "command": "date", "schedule": EVERY_MINUTE}));
    world.pass(Span::from_secs(60));
    expect![[r#"
        run/a@+60000 waiting
        revive"#]]
    .assert_eq(&world.told());
    world.serve();
    expect![[r#"
        run/a@+60000 launched
        launch ct:+60000:0:a:
        run/a@+60000 running
        run/a@+60000 succeeded"#]]
    .assert_eq(&world.told());
    assert!(!world.scheduler.wants_offers());
    world.pass(Span::from_secs(60));
    expect![[r#"
        run/a@+120000 waiting
        revive"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_failed_attempt_is_repeated_and_the_last_one_is_told() {
    let mut world = World::new();
    world
        .job(json!({"name": "a", "command": "false", "schedule": "R1//PT24H", "retries": 1, "owner": "o@x"}));
    world.pass(Span::ZERO);
    world.offer("cpus:1;mem:1000;disk:1000");
    world.end(TaskState::Failed);
    world.pass(Span::from_secs(59));
    expect![[r#"
        run/a@+0 waiting
        revive
        run/a@+0 launched
        launch ct:+0:0:a:
        run/a@+0 running
        run/a@+0 waiting Command exited with status 3"#]]
    .assert_eq(&world.told());
    world.fail_over();
    world.pass(Span::from_secs(1));
    world.offer("cpus:1;mem:1000;disk:1000");
    world.end(TaskState::Failed);
    expect![[r#"
        revive
        run/a@+0 launched
        launch ct:+0:1:a:
        run/a@+0 running
        run/a@+0 failed Command exited with status 3
        notify RetriesExhausted a: task ct:+0:1:a: failed after 2 attempts: Command exited with status 3"#]]
    .assert_eq(&world.told());
    let status = &world.scheduler.book().job("a").expect("a job").status;
    assert_eq!((status.error_count, status.errors_since_last_success), (1, 1));
}

#[test]
fn a_retry_policy_says_when_and_for_which_exit_codes() {
    let mut world = World::new();
    let policy = json!({"kind": "exponential", "delay": 1, "max": 3, "neverOn": [4]});
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "retries": 5, "retryPolicy": policy}));
    world.pass(Span::ZERO);
    for _ in 0..3 {
        world.offer("cpus:1;mem:1000;disk:1000");
        world.end(TaskState::Failed);
        world.pass(Span::from_secs(3));
    }
    world.offer("cpus:1;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Failed, "Command exited with status 4");
    expect![[r#"
        run/a@+0 waiting
        revive
        run/a@+0 launched
        launch ct:+0:0:a:
        run/a@+0 running
        run/a@+0 waiting Command exited with status 3
        revive
        run/a@+0 launched
        launch ct:+0:1:a:
        run/a@+0 running
        run/a@+0 waiting Command exited with status 3
        revive
        run/a@+0 launched
        launch ct:+0:2:a:
        run/a@+0 running
        run/a@+0 waiting Command exited with status 3
        revive
        run/a@+0 launched
        launch ct:+0:3:a:
        run/a@+0 failed Command exited with status 4
        notify RetriesExhausted a: task ct:+0:3:a: failed after 4 attempts: Command exited with status 4"#]]
    .assert_eq(&world.told());
}

#[test]
fn runs_do_not_overlap_unless_they_may() {
    for (policy, concurrent) in [("Forbid", false), ("Queue", false), ("Replace", false), ("Allow", true)] {
        let mut world = World::new();
        let policy_or_flag = if concurrent {
            json!({"name": "a", "schedule": EVERY_MINUTE, "concurrent": true})
        } else {
            json!({"name": "a", "schedule": EVERY_MINUTE, "concurrencyPolicy": policy})
        };
        world.job(policy_or_flag);
        world.pass(Span::from_secs(60));
        world.offer("cpus:1;mem:1000;disk:1000");
        world.pass(Span::from_secs(60));
        world.offer("cpus:1;mem:1000;disk:1000");
        let before = world.history("a");
        if policy == "Replace" {
            let task = world.tasks[0].clone();
            world.update(&task, TaskState::Killed, "");
        } else {
            world.end(TaskState::Finished);
        }
        if !world.scheduler.wants_offers() {
            world.log.push("nothing waits".to_owned());
        } else {
            world.offer("cpus:1;mem:1000;disk:1000");
        }
        let after = world.history("a");
        let text = format!(
            "{policy}\n{before}\n-- the first ends\n{after}\n{} of two launched",
            world.tasks.len() + 1
        );
        match policy {
            "Forbid" => expect![[r#"
                Forbid
                00:01:00 x1 launched
                00:02:00 x1 skipped the run of 2026-01-01T00:01:00.000Z is not over, and runs must not overlap
                -- the first ends
                00:01:00 x1 succeeded
                00:02:00 x1 skipped the run of 2026-01-01T00:01:00.000Z is not over, and runs must not overlap
                1 of two launched"#]]
            .assert_eq(&text),
            "Queue" => expect![[r#"
                Queue
                00:01:00 x1 launched
                00:02:00 x1 waiting
                -- the first ends
                00:01:00 x1 succeeded
                00:02:00 x1 launched
                2 of two launched"#]]
            .assert_eq(&text),
            "Replace" => expect![[r#"
                Replace
                00:01:00 x1 launched replaced by a newer run
                00:02:00 x1 waiting
                -- the first ends
                00:01:00 x1 killed replaced by a newer run
                00:02:00 x1 launched
                2 of two launched"#]]
            .assert_eq(&text),
            _ => expect![[r#"
                Allow
                00:01:00 x1 launched
                00:02:00 x1 launched
                -- the first ends
                00:01:00 x1 succeeded
                00:02:00 x1 launched
                2 of two launched"#]]
            .assert_eq(&text),
        }
    }
}

#[test]
fn a_launch_that_comes_to_nothing_costs_no_attempt() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "retries": 0}));
    world.pass(Span::ZERO);
    world.offer("cpus:1;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Dropped, "Task launched with invalid offers");
    world.told();
    world.pass(Span::from_secs(1));
    world.serve();
    expect![[r#"
        revive
        run/a@+0 launched
        launch ct:+0:1:a:
        run/a@+0 running
        run/a@+0 succeeded
        notify Disabled a: all its repetitions are done"#]]
    .assert_eq(&world.told());
    // What is heard of the first attempt later changes nothing.
    world.update(&task, TaskState::Failed, "");
    assert_eq!(world.told(), "");
}

#[test]
fn an_agent_lost_in_mid_run_costs_an_attempt() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1//PT24H", "retries": 1}));
    world.pass(Span::ZERO);
    world.offer("cpus:1;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.update(&task, TaskState::Unreachable, "");
    world.told();
    world.update(&task, TaskState::Running, "");
    world.update(&task, TaskState::Unreachable, "");
    world.update(&task, TaskState::Gone, "the agent is gone");
    expect![[r#"
        run/a@+0 running
        run/a@+0 unreachable its agent cannot be reached
        run/a@+0 waiting the agent is gone"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_kill_is_repeated_until_the_task_has_ended() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1//PT24H"}));
    world.pass(Span::ZERO);
    world.offer("cpus:1;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.told();
    world.command(Command::KillTasks { job: "a".to_owned() }).expect("known");
    world.pass(Span::from_secs(10));
    world.fail_over();
    world.update(&task, TaskState::Killed, "");
    world.pass(Span::from_secs(100));
    expect![[r#"
        run/a@+0 running killed by request
        kill ct:+0:0:a:
        run/a@+0 killed killed by request"#]]
    .assert_eq(&world.told());
}

#[test]
fn a_kill_keeps_its_reason_when_the_task_runs_only_then() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R1//PT24H"}));
    world.pass(Span::ZERO);
    world.offer("cpus:1;mem:1000;disk:1000");
    world.command(Command::KillTasks { job: "a".to_owned() }).expect("known");
    let task = world.tasks[0].clone();
    for state in [TaskState::Running, TaskState::Unreachable, TaskState::Running, TaskState::Killed] {
        world.update(&task, state, "");
    }
    assert_eq!(world.history("a"), "00:00:00 x1 killed killed by request");
}

#[test]
fn high_priority_goes_first_and_the_rest_in_turn() {
    let mut world = World::new();
    for (name, high) in [("slow", false), ("late", false), ("urgent", true)] {
        world.job(json!({"name": name, "schedule": "R1//PT24H", "cpus": 0.5, "highPriority": high}));
        world.pass(Span::from_millis(10));
    }
    world.told();
    world.offer("cpus:1;mem:1000;disk:1000");
    expect![[r#"
        run/urgent@+20 launched
        run/slow@+0 launched
        launch ct:+20:0:urgent:
        launch ct:+0:0:slow:"#]]
    .assert_eq(&world.told());
    let waiting = world.scheduler.book();
    let waiting: Vec<_> = waiting.waiting.keys().map(|id| waiting.waits_for(id)).collect();
    assert_eq!(waiting, [Some("no offer has enough resources")]);
}

#[test]
fn constraints_and_amounts_choose_the_agent() {
    let mut world = World::new();
    let job = |name: &str, operator: &str, value: &str| json!({"name": name, "schedule": "R1//PT24H", "constraints": [["rack", operator, value]]});
    world.job(job("equal", "EQUALS", "a"));
    world.job(job("unequal", "EQUALS", "b"));
    world.job(job("like", "LIKE", "[a-c]"));
    world.job(job("half", "LIKE", "[a-c]?b"));
    world.job(job("unlike", "UNLIKE", "b.*"));
    world.job(json!({"name": "large", "schedule": "R1//PT24H", "mem": "9000"}));
    world.pass(Span::ZERO);
    world.told();
    world.offer("cpus:1;mem:1000;disk:1000");
    expect![[r#"
        run/equal@+0 launched
        run/like@+0 launched
        run/unlike@+0 launched
        launch ct:+0:0:equal:
        launch ct:+0:0:like:
        launch ct:+0:0:unlike:"#]]
    .assert_eq(&world.told());
    let book = world.scheduler.book();
    let why = |id: &RunId| format!("{}: {}", id.job, book.waits_for(id).unwrap_or_default());
    let why: Vec<String> = book.waiting.keys().map(why).collect();
    expect![[r#"
        half: no agent that is offered fits the constraints
        large: no offer has enough resources
        unequal: no agent that is offered fits the constraints"#]]
    .assert_eq(&why.join("\n"));
}

#[test]
fn what_a_step_may_not_launch_any_more_asks_for_offers_at_once() {
    let mut world = World::new();
    let many = crate::limits::LAUNCHES + 1;
    world.job(json!({"name": "a", "command": "true", "completions": many, "parallelism": many}));
    world.pass(Span::from_secs(2));
    world.told();
    world.offer("cpus:1000;mem:1000000;disk:1000000");
    assert_eq!(world.tasks.len(), crate::limits::LAUNCHES);
    assert!(world.told().lines().any(|line| line == "revive"));
    world.pass(Span::from_secs(2));
    world.told();
    world.offer("cpus:1000;mem:1000000;disk:1000000");
    assert_eq!(world.tasks.len(), many);
    assert!(!world.told().lines().any(|line| line == "revive"), "nothing is left over");
}
