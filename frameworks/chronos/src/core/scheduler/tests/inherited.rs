//! What schedulers of this API have got wrong before: each fault that their users reported, and what is true here.

use model::task::TaskState;
use model::time::{Span, Time};
use serde_json::{Value, json};

use super::super::super::message::{Command, Reply};
use super::super::super::refusal::Refusal;
use super::super::super::run::{Run, State};
use super::super::super::schedule::{Schedule, iso8601};
use super::world::World;

const OFFER: &str = "cpus:1;mem:1000;disk:1000";
const HOURLY: &str = "R/2026-01-01T01:00:00Z/PT1H";

fn latest(world: &World, job: &str) -> Run {
    let run = world.scheduler.book().runs_of(job).next_back().expect("a run");
    (**run).clone()
}

/// All attempts of the run that is due fail.
fn fail_for_good(world: &mut World) {
    while world.scheduler.wants_offers() {
        world.offer(OFFER);
        world.end(TaskState::Failed);
        world.pass(Span::from_secs(60));
    }
}

#[test]
fn a_run_that_failed_for_good_takes_no_retries_from_the_next() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY, "retries": 2}));
    for _ in 0..2 {
        world.pass(Span::from_hours(1));
        fail_for_good(&mut world);
        let run = latest(&world, "a");
        assert_eq!((run.state, run.attempt), (State::Failed, 2), "{run:?}");
        let later = run.due + Span::from_mins(50);
        world.pass(later - world.now);
    }
    let status = world.scheduler.book().job("a").expect("a job").status.clone();
    assert_eq!(
        (status.error_count, status.errors_since_last_success),
        (2, 2),
        "runs are counted, not attempts"
    );
}

#[test]
fn a_repetition_has_the_arguments_of_its_run_also_after_a_failover() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": "R/2090-01-01T00:00:00Z/P1D", "arguments": ["own"]}));
    let command = Command::Trigger { job: "a".to_owned(), arguments: Some("given".to_owned()) };
    world.command(command).expect("known");
    world.offer(OFFER);
    world.end(TaskState::Failed);
    world.fail_over();
    world.pass(Span::from_secs(60));
    world.offer(OFFER);
    assert!(world.tasks[0].ends_with(":1:a:given"), "{:?}", world.tasks);
}

#[test]
fn a_kill_is_no_failure_and_starts_nobody() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY}));
    world.job(json!({"name": "child", "parents": ["a"]}));
    world.pass(Span::from_hours(1));
    world.offer(OFFER);
    let task = world.tasks[0].clone();
    world.update(&task, TaskState::Running, "");
    world.update(&task, TaskState::Killed, "by an operator");
    world.pass(Span::from_mins(10));
    assert!(!world.scheduler.wants_offers(), "no repetition, and no dependant");
    let status = world.scheduler.book().job("a").expect("a job").status.clone();
    assert_eq!((status.error_count, status.last_error), (0, None));
    assert_eq!(latest(&world, "a").state, State::Killed);
}

#[test]
fn whatever_ends_a_task_is_an_end() {
    for state in
        [TaskState::Error, TaskState::Dropped, TaskState::Gone, TaskState::GoneByOperator, TaskState::Lost]
    {
        let mut world = World::new();
        world.job(json!({"name": "a", "schedule": HOURLY, "retries": 0}));
        world.pass(Span::from_hours(1));
        world.offer(OFFER);
        let task = world.tasks[0].clone();
        world.update(&task, TaskState::Running, "");
        world.update(&task, state, "");
        assert_eq!(latest(&world, "a").state, State::Failed, "{state:?}");
    }
}

#[test]
fn a_manual_run_of_a_disabled_job_is_told_why_it_is_none() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY, "disabled": true}));
    world.trigger("a");
    let run = latest(&world, "a");
    assert_eq!((run.state, run.reason.as_str()), (State::Skipped, "the job is disabled"));
}

/// A month is not the length of the month in which somebody looks.
#[test]
fn months_since_long_ago_do_not_overshoot() {
    let now = "2026-11-20T00:00:00Z";
    let now = super::super::super::schedule::parse_time(now).expect("a time");
    let schedule = Schedule::parse("R/2012-01-01T00:00:00Z/P1M", "", now).expect("a schedule");
    let missed = schedule.missed(None, now).expect("many");
    assert_eq!((missed.count, iso8601(missed.last)), (179, "2026-11-01T00:00:00.000Z".to_owned()));
    assert_eq!(schedule.next_after(Some(now)).map(iso8601).as_deref(), Some("2026-12-01T00:00:00.000Z"));
    // More seconds than 32 bits hold.
    let far = Schedule::parse("R/1970-01-02T00:00:00Z/P1D", "", now).expect("a schedule");
    let later = super::super::super::schedule::parse_time("2200-01-01T12:00:00Z").expect("a time");
    assert_eq!(far.next_after(Some(later)).map(iso8601).as_deref(), Some("2200-01-02T00:00:00.000Z"));
}

#[test]
fn progress_is_added_up_and_of_data_jobs_alone() {
    let mut world = World::new();
    world.job(json!({"name": "data", "schedule": HOURLY, "dataProcessingJobType": true}));
    world.job(json!({"name": "plain", "schedule": "R/2090-01-01T00:00:00Z/P1D"}));
    world.pass(Span::from_hours(1));
    world.offer(OFFER);
    let task = world.tasks[0].clone();
    let report = |world: &mut World, job: &str, task: &str, processed: u64| {
        let (job, task) = (job.to_owned(), task.to_owned());
        world.command(Command::Progress { job, task, processed })
    };
    for processed in [5, 3] {
        assert_eq!(report(&mut world, "data", &task, processed), Ok(Reply::Done));
    }
    world.fail_over();
    assert_eq!(latest(&world, "data").processed, 8);
    assert_eq!(report(&mut world, "data", &task, u64::MAX), Ok(Reply::Done));
    assert_eq!(latest(&world, "data").processed, u64::MAX, "a counter that is full stays full");
    for (job, task, rule) in [
        ("nobody", task.as_str(), "job 'nobody'"),
        ("data", "no-task", "taskId 'no-task' must be the id of a task of job 'data'"),
        ("plain", task.as_str(), "taskId "),
        ("data", "ct:1:0:data:", "taskId "),
        ("plain", "ct:1:0:plain:", "dataProcessingJobType must be true"),
    ] {
        let refusal: Refusal = report(&mut world, job, task, 1).expect_err(job);
        assert!(refusal.to_string().starts_with(rule), "{job} {task}: {refusal}");
    }
}

/// Two of a parent's children, one of which has another parent: nothing of either is lost with the parent.
#[test]
fn children_keep_all_their_fields_when_their_parent_goes() {
    let mut world = World::new();
    world.job(json!({"name": "a", "schedule": HOURLY, "scheduleTimeZone": "Europe/Paris"}));
    world.job(json!({"name": "b", "schedule": HOURLY}));
    let fields = json!({
        "command": "c", "shell": false, "arguments": ["x"], "runAsUser": "eve", "concurrent": true,
        "description": "d", "ownerName": "Eve", "dataProcessingJobType": true,
        "environmentVariables": [{"name": "A", "value": "b"}], "constraints": [["rack", "EQUALS", "a"]],
        "container": {"image": "i"},
    });
    let child = |name: &str, parents: Value| {
        let mut job = fields.clone();
        (job["name"], job["parents"]) = (json!(name), parents);
        job
    };
    world.job(child("alone", json!(["a"])));
    world.job(child("both", json!(["a", "b"])));
    let of = |world: &World, name: &str| {
        let definition = world.scheduler.book().job(name).expect("a job").definition.clone();
        serde_json::to_value(&*definition).expect("JSON")
    };
    let before = (of(&world, "alone"), of(&world, "both"));
    let orphans = super::super::super::message::Orphans::default();
    world.command(Command::Delete { job: "a".to_owned(), orphans }).expect("known");
    let (alone, both) = (of(&world, "alone"), of(&world, "both"));
    assert_eq!((&alone["scheduleTimeZone"], &alone["parents"]), (&json!("Europe/Paris"), &Value::Null));
    assert_eq!(both["parents"], json!(["b"]));
    let rest = |mut job: Value| {
        let fields = job.as_object_mut().expect("an object");
        fields.retain(|field, _| !["schedule", "scheduleTimeZone", "parents"].contains(&field.as_str()));
        job
    };
    assert_eq!((rest(alone), rest(both)), (rest(before.0), rest(before.1)));
}

#[test]
fn a_start_before_time_began_is_refused_and_the_first_second_is_not() {
    let mut world = World::new();
    let mut post = |start: &str| world.post(json!({"name": "a", "schedule": format!("R1/{start}/P1D")}));
    assert!(post("1970-01-01T00:00:00Z").is_err());
    assert!(post("1970-01-01T00:00:01Z").is_ok());
    assert_eq!(latest(&world, "a").due, Time::from_secs(1));
}
