//! Whose turn it is: priorities, users with weights, deadlines.

use std::collections::BTreeMap;

use expect_test::expect;
use model::task::TaskState;
use model::time::Span;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::definition::Definition;
use super::super::super::fair::Rule;
use super::super::super::message::{Command, Counters};
use super::super::super::run::RunId;
use super::world::World;

/// The names of the jobs whose tasks were launched since the last look, in order.
fn launched(world: &mut World) -> Vec<String> {
    let name = |line: &String| Some(line.strip_prefix("launch ct:")?.split(':').nth(2)?.to_owned());
    let names = world.log.iter().filter_map(name).collect();
    world.log.clear();
    names
}

fn once(name: &str, extra: Value) -> Value {
    let mut job = json!({"name": name, "schedule": "R1//PT24H", "cpus": 0.1, "mem": 1, "disk": 1});
    for (field, value) in extra.as_object().expect("fields") {
        job[field] = value.clone();
    }
    job
}

fn weigh(world: &mut World, name: &str, weight: u32, max_priority: Option<i32>) {
    let rule = Rule { name: name.into(), weight, max_priority };
    world.command(Command::PutQueue { rule }).expect("fine");
}

fn end_all(world: &mut World) {
    for task in world.tasks.clone() {
        world.update(&task, TaskState::Finished, "");
    }
}

#[test]
fn a_thousand_jobs_of_one_do_not_starve_ten_of_another() {
    let mut world = World::new();
    for index in 0..1000 {
        world.job(once(&format!("ann{index}"), json!({"owner": "ann@x"})));
    }
    world.pass(Span::from_secs(1));
    for index in 0..10 {
        world.job(once(&format!("bob{index}"), json!({"owner": "bob@x"})));
    }
    world.pass(Span::from_secs(1));
    launched(&mut world);
    let mut bobs = Vec::new();
    for _ in 0..3 {
        world.offer("cpus:1;mem:1000;disk:1000");
        let names = launched(&mut world);
        assert_eq!(names.len(), 10);
        bobs.push(names.iter().filter(|name| name.starts_with("bob")).count());
        end_all(&mut world);
    }
    assert_eq!(bobs, [5, 5, 0]);
}

#[test]
fn weights_are_recorded_and_can_be_taken_back() {
    let mut world = World::new();
    let array = |name: &str| once(name, json!({"queue": name, "completions": 1000}));
    world.job(array("ann"));
    world.job(array("bob"));
    weigh(&mut world, "bob", 3, None);
    world.fail_over();
    world.pass(Span::ZERO);
    launched(&mut world);
    let of_bob = |world: &mut World| {
        world.offer("cpus:0.8;mem:1000;disk:1000");
        let count = launched(world).iter().filter(|name| *name == "bob").count();
        end_all(world);
        count
    };
    assert_eq!(of_bob(&mut world), 6);
    world.command(Command::DeleteQueue { queue: "bob".to_owned() }).expect("known");
    assert_eq!(of_bob(&mut world), 4);
    world.fail_over();
    assert_eq!(of_bob(&mut world), 4);
    let unknown =
        world.command(Command::DeleteQueue { queue: "bob".to_owned() }).expect_err("gone").to_string();
    assert_eq!(unknown, "queue 'bob' does not exist");
    for (name, weight) in [("", 1), ("x", 0), ("x", 100_000), ("a\nb", 1)] {
        let rule = Rule { name: name.into(), weight, max_priority: None };
        assert!(world.command(Command::PutQueue { rule }).is_err(), "{name} {weight}");
    }
}

#[test]
fn priority_goes_before_turns_and_a_queue_may_cap_it() {
    let mut world = World::new();
    world.job(once("ann", json!({"queue": "ann", "completions": 10})));
    world.job(once("bob", json!({"queue": "bob", "completions": 10, "priority": 7})));
    world.pass(Span::ZERO);
    assert_eq!(world.scheduler.queued(), (1, 2));
    launched(&mut world);
    world.offer("cpus:0.4;mem:1000;disk:1000");
    assert_eq!(launched(&mut world), ["bob", "bob", "bob", "bob"]);
    end_all(&mut world);
    // What waits is lined up anew.
    weigh(&mut world, "bob", 1, Some(0));
    launched(&mut world);
    world.offer("cpus:0.4;mem:1000;disk:1000");
    assert_eq!(launched(&mut world), ["ann", "bob", "ann", "bob"]);
}

#[test]
fn the_run_with_least_time_left_goes_first() {
    let mut world = World::new();
    // It is known to take ninety minutes.
    world.job(json!({"name": "long", "schedule": "R/2026-01-01T01:00:00Z/PT24H", "deadline": "PT2H"}));
    world.pass(Span::from_hours(1));
    world.offer("cpus:1;mem:1000;disk:9000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.pass(Span::from_mins(90));
    world.update(&task, TaskState::Finished, "");
    world.pass(Span::from_mins(24 * 60 - 95));
    for (name, deadline) in [("none", Value::Null), ("hour", json!("PT1H")), ("late", json!("PT10H"))] {
        let schedule = "R/2026-01-02T01:00:00Z/PT24H";
        world.job(json!({"name": name, "schedule": schedule, "deadline": deadline}));
    }
    world.pass(Span::from_mins(5));
    launched(&mut world);
    world.offer("cpus:1;mem:1000;disk:9000");
    assert_eq!(launched(&mut world), ["long", "hour", "late", "none"]);
}

#[test]
fn a_deadline_that_cannot_be_met_is_told_once_and_in_time() {
    let mut world = World::new();
    world
        .job(json!({"name": "a", "schedule": "R/2026-01-01T01:00:00Z/PT1H", "deadline": "PT30M", "cpus": 2}));
    world.pass(Span::from_hours(1));
    world.offer("cpus:2;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.pass(Span::from_mins(20));
    world.update(&task, TaskState::Finished, "");
    world.pass(Span::from_mins(40));
    world.offer("cpus:1;mem:1000;disk:1000");
    world.told();
    // Twenty minutes before half an hour is over, it is ten minutes late.
    world.pass(Span::from_mins(10));
    let told = world.told();
    world.pass(Span::from_millis(1));
    world.fail_over();
    expect![[r#"
        revive
        run/a@+7200000 waiting
        notify Late a: run a@+7200000 will not be finished by 2026-01-01T02:30:00.000Z: it takes 1200s and has not begun: no offer has enough resources
        revive"#]]
    .assert_eq(&format!("{told}\n{}", world.told()));
    world.pass(Span::from_mins(30));
    assert_eq!(world.told(), "revive");
    // One that goes on is late when its time is over.
    world.offer("cpus:2;mem:1000;disk:1000");
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Finished, "");
    world.pass(Span::from_mins(20));
    world.offer("cpus:2;mem:1000;disk:1000");
    world.told();
    world.pass(Span::from_mins(31));
    expect![[r#"
        run/a@+10800000 launched
        notify Late a: run a@+10800000 is not finished by 2026-01-01T03:30:00.000Z"#]]
    .assert_eq(&world.told());
}

#[test]
fn bad_turns_are_refused_by_name() {
    let mut world = World::new();
    let mut refused = |extra: Value| {
        let mut job = json!({"name": "a", "schedule": "R/2026-01-01T01:00:00Z/PT1H"});
        for (field, value) in extra.as_object().expect("fields") {
            job[field] = value.clone();
        }
        world.post(job).expect_err("refused").to_string()
    };
    let refusals = [
        json!({"priority": 1001}),
        json!({"queue": "a\nb"}),
        json!({"deadline": "soon"}),
        json!({"deadline": "2026-01-01T12:00:00Z"}),
    ]
    .map(&mut refused);
    expect![[r#"
        priority must be -1000 to 1000
        queue must be 1 to 150 bytes without control characters
        deadline must be a duration like PT1H or a time like 2026-11-21T06:30:00Z
        deadline must be a duration, for a job that runs more than once"#]]
    .assert_eq(&refusals.join("\n"));
    let at = json!({"name": "b", "schedule": "R1//PT1H", "deadline": "2026-01-01T12:00:00+01:00"});
    world.job(at);
    world.pass(Span::ZERO);
    let run = world.scheduler.book().runs_of("b").next().cloned().expect("a run");
    assert_eq!(run.deadline, Some(super::world::START + Span::from_hours(11)));
}

/// One user of the law below: a weight, the tenths of a CPU of each task, and how many tasks.
fn users() -> impl Strategy<Value = Vec<(u32, u64, u32)>> {
    prop::collection::vec((1u32..5, 1u64..4, 1u32..40), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever is served has, of all who wait and whom the rest of the offer would do, least for his weight.
    #[test]
    fn who_has_least_for_his_weight_is_next(
        users in users(),
        steps in prop::collection::vec((1u64..20, 0usize..30), 1..25),
    ) {
        let mut world = World::new();
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        let mut running: BTreeMap<String, u64> = BTreeMap::new();
        let name = |user: usize| format!("user{user}");
        for (user, (weight, cpus, count)) in users.iter().enumerate() {
            weigh(&mut world, &name(user), *weight, None);
            let cpus = json!(*cpus as f64 / 10.0);
            world.job(once(&name(user), json!({"queue": name(user), "completions": count, "cpus": cpus})));
            waiting.insert(name(user), *count);
            running.insert(name(user), 0);
        }
        world.pass(Span::ZERO);
        for (cpus, ends) in steps {
            launched(&mut world);
            world.offer(&format!("cpus:{}.{};mem:9999;disk:9999", cpus / 10, cpus % 10));
            let mut left = cpus;
            for served in launched(&mut world) {
                let user: usize = served[4..].parse().expect("a user");
                // a/b against c/d without fractions.
                let served_has = (running[&served], users[user].0);
                for (other, (weight, need, _)) in users.iter().enumerate() {
                    let has = (running[&name(other)], *weight);
                    let could = waiting[&name(other)] > 0 && *need <= left;
                    prop_assert!(
                        !could || served_has.0 * u64::from(has.1) <= has.0 * u64::from(served_has.1),
                        "{served} is served before {}", name(other),
                    );
                }
                left -= users[user].1;
                *running.entry(served.clone()).or_default() += users[user].1;
                *waiting.entry(served).or_default() -= 1;
            }
            // Nobody waits whom the rest would do.
            for (user, (_, need, _)) in users.iter().enumerate() {
                prop_assert!(waiting[&name(user)] == 0 || *need > left, "{} waits", name(user));
            }
            for task in world.tasks.clone().into_iter().take(ends) {
                let user: usize = task.split(':').nth(3).expect("a name")[4..].parse().expect("a user");
                *running.entry(name(user)).or_default() -= users[user].1;
                world.update(&task, TaskState::Finished, "");
            }
            let usage = &world.scheduler.book().usage;
            for (user, has) in &running {
                prop_assert_eq!(usage.get(user.as_str()).copied().unwrap_or(0), has * 100);
            }
        }
        // The next leader counts the same.
        let usage = world.scheduler.book().usage.clone();
        world.fail_over();
        prop_assert_eq!(&world.scheduler.book().usage, &usage);
    }
}

/// A turn looks at what it launches and at one run of each need, however many wait.
#[test]
fn a_turn_costs_what_it_launches_however_many_wait() {
    const JOBS: usize = 100_000;
    const NEEDS: usize = 3;
    let mut world = World::new();
    for index in 0..JOBS {
        let cpus = json!([0.1, 0.5, 50.0][index % NEEDS]);
        let owner = format!("owner{}", index % 1000);
        let job = once(&format!("j{index}"), json!({"owner": owner, "cpus": cpus}));
        let definition = Box::new(Definition::read(job).expect("a job"));
        let put = Command::Put { definition, counters: Counters::default() };
        world.scheduler.command(world.now, put, &mut Vec::new()).expect("accepted");
    }
    world.pass(Span::from_secs(1));
    assert_eq!(world.scheduler.queued().1, JOBS);
    for (room, launched) in [("cpus:1", 10), ("cpus:0.05", 0), ("cpus:1", 10)] {
        let (before, running) = (world.scheduler.considered(), world.tasks.len());
        world.offer(&format!("{room};mem:99999;disk:99999"));
        let looked_at = world.scheduler.considered() - before;
        let begun = world.tasks.len() - running;
        assert!(begun <= launched && (begun > 0) == (launched > 0), "{begun}");
        assert!(looked_at <= u64::try_from(begun + NEEDS).expect("few"), "{looked_at} for {begun}");
    }
    let book = world.scheduler.book();
    let why = |job: &str| book.waits_for(&RunId::new(job, super::world::START));
    assert_eq!(why("j99998"), Some("no offer has enough resources"));
}

/// Runs that wait for another of their job are looked at once, and then when that one has ended.
#[test]
fn what_stands_aside_is_not_looked_at_again() {
    let mut world = World::new();
    world.job(once("a", json!({"schedule": "R/2026-01-01T00:00:01Z/PT1S", "concurrencyPolicy": "Queue"})));
    world.pass(Span::from_secs(100));
    world.offer("cpus:9;mem:9999;disk:9999");
    assert_eq!((world.tasks.len(), world.scheduler.wants_offers()), (1, false));
    assert_eq!(world.scheduler.considered(), 100);
    for round in 1..100 {
        world.end(TaskState::Finished);
        world.offer("cpus:9;mem:9999;disk:9999");
        assert_eq!((world.tasks.len(), world.scheduler.considered()), (1, 100 + round), "{round}");
    }
    // What is killed or suspended while it stands aside, or first in line, blocks nobody.
    world.pass(Span::from_secs(4));
    world.offer("cpus:9;mem:9999;disk:9999");
    let waiting: Vec<RunId> = world.scheduler.book().waiting.keys().cloned().collect();
    assert_eq!(waiting.len(), 4);
    world.command(Command::KillRun { run: waiting[1].clone() }).expect("known");
    world.end(TaskState::Finished);
    world.command(Command::KillRun { run: waiting[0].clone() }).expect("known");
    world.offer("cpus:9;mem:9999;disk:9999");
    assert!(world.tasks[0].contains(&waiting[2].due.as_millis().to_string()), "{:?}", world.tasks);
    world.command(Command::Suspend { job: "a".to_owned() }).expect("known");
    world.end(TaskState::Finished);
    assert!(!world.scheduler.wants_offers());
    world.command(Command::Resume { job: "a".to_owned() }).expect("known");
    world.offer("cpus:9;mem:9999;disk:9999");
    assert!(world.tasks[0].contains(&waiting[3].due.as_millis().to_string()), "{:?}", world.tasks);
}

/// What waits follows its job: it needs what the job needs now.
#[test]
fn a_job_that_is_changed_while_it_waits_is_lined_up_anew() {
    let mut world = World::new();
    let job = |cpus: f64, priority: i32| {
        let schedule = "R/2026-01-01T00:00:01Z/PT1H";
        json!({"name": "a", "schedule": schedule, "cpus": cpus, "priority": priority, "mem": 1, "disk": 1})
    };
    world.job(job(50.0, 0));
    world.pass(Span::from_secs(1));
    world.offer("cpus:1;mem:9999;disk:9999");
    assert_eq!((world.tasks.len(), world.scheduler.queued()), (0, (0, 1)));
    world.job(job(0.5, 5));
    assert_eq!(world.scheduler.queued(), (1, 1));
    world.offer("cpus:1;mem:9999;disk:9999");
    assert_eq!(world.tasks.len(), 1);
}
