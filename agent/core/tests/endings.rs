//! Ends and new beginnings: of the process, the machine, a framework, the agent itself.

mod bench;

use agent_core::{Drain, ExitStatus, Input, Order, Refusal};
use bench::{Bench, FRAMEWORK, Script, framework, task, with_uri};
use expect_test::expect;
use model::task::TaskState;
use model::time::{Span, Time};
use wire::v1;

#[test]
fn a_restart_finds_running_ended_and_half_launched_tasks() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("runs"));
    bench.running(task("ends"));
    bench.launch(task("launched"));
    bench.launch(with_uri(task("fetched")));
    script.step("restart", bench.restart("boot-1"));
    script.step("runs is found", bench.started("runs"));
    script.step("ends has ended", bench.exits("ends", ExitStatus::Code(4)));
    let lost = Input::ContainerLost {
        container: bench.container("launched"),
        never_started: true,
        message: "the container was never started".into(),
    };
    script.step("launched was not", bench.input(lost));
    script.step("that is all", bench.input(Input::Recovered));
    script.step("registers", bench.connect(&[FRAMEWORK]));
    script.check(expect![[r#"
        restart
          write registered as agent-1, 2 sessions
          write update fetched TASK_DROPPED
          look for containers [ends, launched, runs]
        runs is found
        ends has ended
          write update ends TASK_FAILED
          forget container of ends
        launched was not
          write update launched TASK_DROPPED
          forget container of launched
        that is all
          dial m1:5050 as link 1
        registers
          send on link 1: hello of agent-1, term 1, tasks [ends TASK_FAILED, fetched TASK_DROPPED, launched TASK_DROPPED, runs TASK_RUNNING]
          write registered as agent-1, 1 sessions
          send on link 1: ends TASK_FAILED SOURCE_EXECUTOR "Command exited with status 4", latest TASK_FAILED
          send on link 1: fetched TASK_DROPPED SOURCE_AGENT REASON_AGENT_RESTARTED "The agent was restarted while it launched the task", latest TASK_DROPPED
          send on link 1: launched TASK_STARTING SOURCE_EXECUTOR, latest TASK_DROPPED
    "#]]);
}

#[test]
fn an_end_on_disk_is_not_made_twice() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    bench.exits("t", ExitStatus::Code(0));
    script.step("restart before the ack", bench.restart("boot-1"));
    script.step("the launcher repeats the end", bench.exits("t", ExitStatus::Code(0)));
    script.step("all found", bench.input(Input::Recovered));
    script.step("registers", bench.connect(&[FRAMEWORK]));
    script.step("ack", bench.ack());
    script.check(expect![[r#"
        restart before the ack
          write registered as agent-1, 2 sessions
          look for containers [t]
        the launcher repeats the end
          forget container of t
        all found
          dial m1:5050 as link 1
        registers
          send on link 1: hello of agent-1, term 1, tasks [t TASK_FINISHED]
          write registered as agent-1, 1 sessions
          send on link 1: t TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
        ack
          write acknowledged t
    "#]]);
}

/// Set back by ten minutes, the clock would put the end of a kill off by those; set ahead, take its grace away.
#[test]
fn a_kill_has_what_is_left_of_its_grace_however_the_clock_is_set_before_a_restart() {
    for seconds in [-600, 600] {
        let mut bench = Bench::registered();
        bench.booted = Some(Time::from_secs(900));
        bench.running(task("t"));
        bench.restart("boot-1");
        bench.sync();
        bench.started("t");
        bench.input(Input::Recovered);
        bench.connect(&[FRAMEWORK]);
        bench.sync();
        bench.kill("t", Some(Span::from_secs(30)));
        bench.sync();
        bench.advance(Span::from_secs(10));
        bench.restart_with_clock(seconds);
        bench.sync();
        assert_eq!(bench.started("t").trim(), "kill t within 20s");
        // And once more, from the records of the first restart.
        bench.restart_with_clock(-seconds);
        bench.sync();
        assert_eq!(bench.started("t").trim(), "kill t within 20s");
    }
}

#[test]
fn a_kill_goes_on_after_a_restart() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    bench.kill("t", Some(Span::from_secs(30)));
    bench.advance(Span::from_secs(10));
    script.step("restart", bench.restart("boot-1"));
    script.step("found", bench.started("t"));
    script.step("exits", bench.exits("t", ExitStatus::Signal(9, "Killed")));
    script.check(expect![[r#"
        restart
          write registered as agent-1, 2 sessions
          look for containers [t]
        found
          kill t within 20s
        exits
          write update t TASK_KILLED
          forget container of t
    "#]]);
}

#[test]
fn the_machine_was_restarted() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("restart", bench.restart("boot-2"));
    let lost = Input::ContainerLost {
        container: bench.container("t"),
        never_started: false,
        message: "the process holding the container was killed".into(),
    };
    script.step("gone", bench.input(lost));
    script.check(expect![[r#"
        restart
          write boot boot-2
          write registered as agent-1, 2 sessions
          look for containers [t]
        gone
          write update t TASK_FAILED
          forget container of t
    "#]]);
}

#[test]
fn a_removed_framework_ends_in_silence() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("runs"));
    bench.running(task("ended"));
    bench.exits("ended", ExitStatus::Code(0));
    script.step("shutdown", bench.order(Order::ShutdownFramework { framework: FRAMEWORK.into() }));
    script.step("its resources are free at once", {
        let mut other = (*framework(&[])).clone();
        other.id = Some(v1::FrameworkId { value: "other".into() });
        let mut big = task("big");
        big.resources = vec![bench::scalar("cpus", 4.0)];
        bench.launch_for(std::sync::Arc::new(other), big)
    });
    script.step("restart meanwhile", bench.restart("boot-1"));
    script.step("found", bench.started("runs"));
    script.step("exits", bench.exits("runs", ExitStatus::Signal(15, "Terminated")));
    let completed = bench.agent.view().completed;
    let state = completed.iter().find(|task| task.key.task.as_str() == "runs").map(|task| task.state);
    assert_eq!(state, Some(TaskState::Killed), "it is remembered as what it is");
    script.check(expect![[r#"
        shutdown
          write framework fw removed
          write dropped ended
          write kill runs: FrameworkRemoved
          kill runs within 3s
        its resources are free at once
          write framework other
          write task big
          write update big TASK_STARTING
          send on link 1: big TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch big
        restart meanwhile
          write registered as agent-1, 2 sessions
          look for containers [runs, big]
        found
          kill runs within 3s
        exits
          write dropped runs
          forget container of runs
    "#]]);
}

/// The master has given away what they hold, and nobody is left who could shorten it.
#[test]
fn what_a_removed_framework_left_has_five_seconds_whatever_it_asked_for() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let mut patient = task("patient");
    let grace_period = Some(v1::DurationInfo { nanoseconds: 600_000_000_000 });
    patient.kill_policy = Some(v1::KillPolicy { grace_period });
    bench.running(patient);
    script.step("shutdown", bench.order(Order::ShutdownFramework { framework: FRAMEWORK.into() }));
    script.check(expect![[r#"
        shutdown
          write framework fw removed
          write kill patient: FrameworkRemoved
          kill patient within 5s
    "#]]);
}

#[test]
fn the_agent_is_given_up() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("breaks", bench.breaks());
    let link = bench.link.unwrap();
    bench.input(Input::LinkUp(link));
    let message = "marked gone".into();
    script.step("gone", bench.order(Order::Refused { refusal: Refusal::Gone, message }));
    script.step("exits", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    script.check(expect![[r#"
        breaks
          hang up link 1
          dial m1:5050 as link 2
        gone
          hang up link 2
          write kill t: Asked
          write update t TASK_KILLING
          kill t within 3s
        exits
          write update t TASK_KILLED
          forget container of t
          stop: Gone { message: "marked gone" }
    "#]]);
}

#[test]
fn a_master_of_another_cluster_is_believed_at_any_term() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    bench.term = 5;
    bench.order(Order::Ping { sequence: 1 });
    bench.breaks();
    let link = bench.link.unwrap();
    bench.input(Input::LinkUp(link));
    bench.term = 2;
    let message = "the data directory belongs to another cluster".into();
    script.step("invalid", bench.order(Order::Refused { refusal: Refusal::Invalid, message }));
    script.check(expect![[r#"
        invalid
          hang up link 2
          stop: Invalid { message: "the data directory belongs to another cluster" }
    "#]]);
}

#[test]
fn stopping_leaves_tasks_or_takes_them_along() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("stop", bench.input(Input::Stop { kill_tasks: false }));
    let mut bench = Bench::registered();
    bench.running(task("t"));
    script.step("stop and kill", bench.input(Input::Stop { kill_tasks: true }));
    script.step("a late order", bench.launch(task("late")));
    script.step("exits", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    script.step("ack", bench.ack());
    script.step("the rest is not acknowledged", bench.wake());
    script.check(expect![[r#"
        stop
          send on link 1: goodbye, tasks killed: false
          hang up link 1
          stop: Done { reason: "asked to stop" }
        stop and kill
          write kill t: Asked
          write update t TASK_KILLING
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill t within 3s
        a late order
          write task late
          write update late TASK_DROPPED
          send on link 1: late TASK_DROPPED SOURCE_AGENT REASON_AGENT_RESTARTED "The agent is about to end", latest TASK_DROPPED
        exits
          write update t TASK_KILLED
          forget container of t
        ack
          write acknowledged late
        the rest is not acknowledged
          after 1s
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLED
          send on link 1: goodbye, tasks killed: true
          hang up link 1
          stop: Done { reason: "asked to stop" }
    "#]]);
}

/// What it knows of is the other one's.
#[test]
fn an_agent_whose_id_another_has_ends_and_leaves_tasks_alone() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    bench.breaks();
    let link = bench.link.unwrap();
    bench.input(Input::LinkUp(link));
    let message = "this data directory is a copy".into();
    script.step("duplicate", bench.order(Order::Refused { refusal: Refusal::Duplicate, message }));
    script.check(expect![[r#"
        duplicate
          hang up link 2
          stop: Invalid { message: "this data directory is a copy" }
    "#]]);
}

#[test]
fn processes_that_no_leader_took_in_are_remembered_and_only_so_many() {
    let mut bench = Bench::registered();
    let remembered = |log: &str| {
        let line = log.lines().find_map(|line| line.trim().strip_prefix("write registered as agent-1, "));
        line.and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok()).expect("a record of it")
    };
    for before in 1..40 {
        let log = bench.restart("boot-1");
        assert_eq!(remembered(&log), (before + 1).min(agent_core::limits::SESSIONS), "{log}");
    }
    bench.input(Input::Recovered);
    let log = bench.connect(&[FRAMEWORK]);
    assert_eq!(remembered(&log), 1, "{log}");
}

/// The agent begins to drain.
fn drain() -> Order {
    Order::Drain(Some(Drain { config: v1::DrainConfig::default(), since: Time::from_secs(900) }))
}

#[test]
fn what_is_killed_while_the_agent_drains_says_so() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    for name in ["a", "b", "c"] {
        bench.running(task(name));
    }
    bench.ack_all();
    bench.order(drain());
    script.step("killed", bench.kill("a", None));
    script.step("it ends", bench.exits("a", ExitStatus::Signal(15, "Terminated")));
    script.step("acknowledged", bench.ack());
    script.step("another fails by itself", bench.exits("b", ExitStatus::Code(1)));
    script.step("the drain is over", bench.order(Order::Drain(None)));
    script.step("a third is killed", bench.kill("c", None));
    script.step("it ends", bench.exits("c", ExitStatus::Signal(15, "Terminated")));
    script.check(expect![[r#"
        killed
          write kill a: Draining
          write update a TASK_KILLING
          send on link 1: a TASK_KILLING SOURCE_EXECUTOR REASON_AGENT_DRAINING, latest TASK_KILLING
          kill a within 3s
        it ends
          write update a TASK_KILLED
          forget container of a
        acknowledged
          write acknowledged a
          send on link 1: a TASK_KILLED SOURCE_EXECUTOR REASON_AGENT_DRAINING "Command terminated with signal Terminated", latest TASK_KILLED
        another fails by itself
          write update b TASK_FAILED
          send on link 1: b TASK_FAILED SOURCE_EXECUTOR "Command exited with status 1", latest TASK_FAILED
          forget container of b
        the drain is over
        a third is killed
          write kill c: Asked
          write update c TASK_KILLING
          send on link 1: c TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill c within 3s
        it ends
          write update c TASK_KILLED
          forget container of c
    "#]]);
}

#[test]
fn a_kill_of_a_drain_is_one_after_a_restart() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    bench.ack_all();
    bench.order(drain());
    bench.kill("t", None);
    bench.restart("boot-1");
    bench.started("t");
    script.step("ends before a master is heard", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    bench.input(Input::Recovered);
    script.step("registers", bench.connect(&[FRAMEWORK]));
    script.step("acknowledged", bench.ack());
    script.check(expect![[r#"
        ends before a master is heard
          write update t TASK_KILLED
          forget container of t
        registers
          send on link 1: hello of agent-1, term 1, tasks [t TASK_KILLED]
          write registered as agent-1, 1 sessions
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR REASON_AGENT_DRAINING, latest TASK_KILLED
        acknowledged
          write acknowledged t
          send on link 1: t TASK_KILLED SOURCE_EXECUTOR REASON_AGENT_DRAINING "Command terminated with signal Terminated", latest TASK_KILLED
    "#]]);
}
