//! What the agent does, step by step, as text.

mod bench;

use agent_core::health::Finding;
use agent_core::{ExitStatus, Input, Order, Refusal};
use bench::{Bench, FRAMEWORK, Script, framework, task, with_health, with_uri};
use expect_test::expect;
use model::time::Span;

#[test]
fn first_registration() {
    let mut bench = Bench::new();
    let mut script = Script::default();
    script.step("start", bench.start());
    script.step("containers found", bench.input(Input::Recovered));
    let redirect = agent_core::LinkDown::Redirect("m3:5050".into());
    let link = bench.link.unwrap();
    script.step("redirect", bench.input(Input::LinkDown { link, why: redirect }));
    script.step("welcome", bench.connect(&[]));
    script.step("ping", bench.order(Order::Ping { sequence: 7 }));
    script.check(expect![[r#"
        start
          write boot boot-1
          look for containers []
        containers found
          dial m1:5050 as link 1
        redirect
          hang up link 1
          dial m3:5050 as link 2
        welcome
          send on link 2: hello of new, term 0, tasks []
          write term 1
          write registered as agent-1, 1 sessions
        ping
          send on link 2: pong 7
    "#]]);
}

#[test]
fn a_task_from_order_to_acknowledged_end() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch(task("t")));
    script.step("started", bench.started("t"));
    script.step("exits with 3", bench.exits("t", ExitStatus::Code(3)));
    script.step("ack", bench.ack());
    script.step("ack", bench.ack());
    script.step("ack", bench.ack());
    script.step("ack again", bench.ack());
    script.check(expect![[r#"
        run
          write framework fw
          write task t
          write update t TASK_STARTING
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch t
        started
          write update t TASK_RUNNING
        exits with 3
          write update t TASK_FAILED
          forget container of t
        ack
          write acknowledged t
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR, latest TASK_FAILED
        ack
          write acknowledged t
          send on link 1: t TASK_FAILED SOURCE_EXECUTOR "Command exited with status 3", latest TASK_FAILED
        ack
          write acknowledged t
        ack again
    "#]]);
}

#[test]
fn nothing_is_seen_before_it_is_on_disk() {
    let mut bench = Bench::registered();
    bench.fast_disk = false;
    let mut script = Script::default();
    bench.term = 2;
    script.step("run, of a new term", bench.launch(task("t")));
    script.step("sync", bench.sync());
    script.step("started", bench.started("t"));
    script.step("ack", bench.ack());
    script.step("sync", bench.sync());
    script.check(expect![[r#"
        run, of a new term
          write term 2
          write framework fw
          write task t
          write update t TASK_STARTING
        sync
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch t
        started
          write update t TASK_RUNNING
        ack
          write acknowledged t
        sync
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR, latest TASK_RUNNING
    "#]]);
}

#[test]
fn a_leader_of_the_past_is_fenced() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.term = 5;
    script.step("ping of term 5", bench.order(Order::Ping { sequence: 1 }));
    bench.term = 4;
    script.step("kill of term 4", bench.kill("t", None));
    script.step("and it is not heard any more", {
        let link = agent_core::LinkId(1);
        let envelope = agent_core::Envelope { term: 9, order: Order::Ping { sequence: 2 } };
        bench.input(Input::FromMaster { link, envelope })
    });
    script.step("its welcome is refused too", bench.connect(&[]));
    script.check(expect![[r#"
        ping of term 5
          write term 5
          send on link 1: pong 1
        kill of term 4
          send on link 1: fenced, term is 5
          hang up link 1
          dial m1:5050 as link 2
        and it is not heard any more
        its welcome is refused too
          send on link 2: hello of agent-1, term 5, tasks []
          send on link 2: fenced, term is 5
          hang up link 2
          dial m2:5050 as link 3
    "#]]);
}

#[test]
fn the_term_survives_a_restart() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.term = 5;
    bench.order(Order::Ping { sequence: 1 });
    script.step("restart", bench.restart("boot-1"));
    script.step("recovered", bench.input(Input::Recovered));
    bench.term = 4;
    script.step("welcome of term 4", bench.connect(&[]));
    script.check(expect![[r#"
        restart
          write registered as agent-1, 2 sessions
          look for containers []
        recovered
          dial m1:5050 as link 1
        welcome of term 4
          send on link 1: hello of agent-1, term 5, tasks []
          send on link 1: fenced, term is 5
          hang up link 1
          dial m2:5050 as link 2
    "#]]);
}

#[test]
fn directions_of_a_non_leader_change_no_term() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("broken", bench.breaks());
    let link = bench.link.unwrap();
    script.step("up", bench.input(Input::LinkUp(link)));
    bench.term = 99;
    let refusal = Refusal::NotLeader { leader: Some("m3:5050".into()) };
    script.step("not leader", bench.order(Order::Refused { refusal, message: String::new() }));
    bench.term = 1;
    script.step("welcome", bench.connect(&[]));
    script.check(expect![[r#"
        broken
          hang up link 1
          dial m1:5050 as link 2
        up
          send on link 2: hello of agent-1, term 1, tasks []
        not leader
          hang up link 2
          dial m3:5050 as link 3
        welcome
          send on link 3: hello of agent-1, term 1, tasks []
    "#]]);
}

#[test]
fn killed_while_fetching() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch(with_uri(task("t"))));
    let container = bench.container("t");
    script.step("kill", bench.kill("t", None));
    script.step("the fetch ends after all", bench.input(Input::Fetched { container, result: Ok(()) }));
    script.step("ack", bench.ack());
    script.check(expect![[r#"
        run
          write framework fw
          write task t
          fetch t into fw/t: http://files/app.tgz
        kill
          stop fetching t
          write update t TASK_KILLED
          send on link 1: t TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
        the fetch ends after all
        ack
          write acknowledged t
    "#]]);
}

#[test]
fn killed_between_launch_and_start() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch(task("t"));
    script.step("kill", bench.kill("t", None));
    script.step("started", bench.started("t"));
    script.step("exits", bench.exits("t", ExitStatus::Signal(9, "Killed")));
    script.check(expect![[r#"
        kill
          write kill t: DuringLaunch
          destroy t
        started
          destroy t
        exits
          write update t TASK_KILLED
          forget container of t
    "#]]);
}

#[test]
fn killed_while_running_and_again_with_less_grace() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("kill", bench.kill("t", Some(Span::from_secs(30))));
    script.step("kill with more grace", bench.kill("t", Some(Span::from_secs(60))));
    script.step("kill with less grace", bench.kill("t", Some(Span::from_secs(5))));
    script.step("exits", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    script.step("ack", bench.ack());
    script.step("ack", bench.ack());
    script.step("kill after the end", bench.kill("t", None));
    script.step("kill of a task never seen", bench.kill("other", None));
    script.check(expect![[r#"
        kill
          write kill t: Asked
          write update t TASK_KILLING
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill t within 30s
        kill with more grace
        kill with less grace
          write kill t: Asked
          kill t within 5s
        exits
          write update t TASK_KILLED
          forget container of t
        ack
          write acknowledged t
          send on link 1: t TASK_KILLED SOURCE_EXECUTOR "Command terminated with signal Terminated", latest TASK_KILLED
        ack
          write acknowledged t
        kill after the end
        kill of a task never seen
          write update other TASK_LOST
          send on link 1: other TASK_LOST SOURCE_AGENT REASON_EXECUTOR_TERMINATED "The agent does not have this task", latest TASK_LOST
    "#]]);
}

#[test]
fn killed_without_the_killing_state() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch_for(framework(&[]), task("t")));
    bench.started("t");
    bench.ack();
    bench.ack();
    script.step("kill", bench.kill("t", None));
    script.step("exits with 0", bench.exits("t", ExitStatus::Code(0)));
    script.check(expect![[r#"
        run
          write framework fw
          write task t
          write update t TASK_STARTING
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch t
        kill
          write kill t: Asked
          kill t within 3s
        exits with 0
          write update t TASK_KILLED
          send on link 1: t TASK_KILLED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_KILLED
          forget container of t
    "#]]);
}

#[test]
fn a_repeated_order_changes_nothing() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("run again", bench.launch(task("t")));
    script.step("exits", bench.exits("t", ExitStatus::Code(0)));
    script.step("run again before the ack", bench.launch(task("t")));
    script.step("ack", bench.ack());
    script.step("a new task of the same id", bench.launch(with_uri(task("t"))));
    script.check(expect![[r#"
        run again
        exits
          write update t TASK_FINISHED
          send on link 1: t TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
          forget container of t
        run again before the ack
        ack
          write acknowledged t
        a new task of the same id
          write framework fw
          write task t
          fetch t into fw/63cbe1e4-5932-4dd7-86a6-c8e56922a525: http://files/app.tgz
    "#]]);
}

#[test]
fn what_cannot_run_is_refused_with_a_reason() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let mut custom = task("custom");
    custom.executor = Some(Default::default());
    script.step("an executor without an id", bench.launch(custom));
    let mut docker = task("docker");
    docker.container = Some(wire::v1::ContainerInfo {
        r#type: wire::v1::container_info::Type::Docker as i32,
        ..Default::default()
    });
    script.step("docker", bench.launch(docker));
    let mut big = task("big");
    big.resources = vec![bench::scalar("cpus", 5.0)];
    script.step("too big", bench.launch(big.clone()));
    big.task_id.value = "big-2".into();
    script.step("too big, not partition aware", bench.launch_for(framework(&[]), big));
    script.step("bad id", bench.launch(task("a/b")));
    script.check(expect![[r#"
        an executor without an id
          write framework fw
          write task custom
          write update custom TASK_ERROR
          send on link 1: custom TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'executor.executor_id': ID must not be empty", latest TASK_ERROR
          send on link 1: executor  exited, None
        docker
          write task docker
          write update docker TASK_ERROR
          send on link 1: docker TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'container.docker' must be present when 'container.type' is DOCKER", latest TASK_ERROR
        too big
          write task big
          write update big TASK_DROPPED
          send on link 1: big TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs cpus:5, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
        too big, not partition aware
          write framework fw
          write task big-2
          write update big-2 TASK_LOST
          send on link 1: big-2 TASK_LOST SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs cpus:5, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_LOST
        bad id
          write framework fw
          write task a/b
          write update a/b TASK_ERROR
          send on link 1: a/b TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'task_id': 'a/b' contains invalid characters", latest TASK_ERROR
    "#]]);
}

#[test]
fn a_failed_fetch_and_a_missing_program() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch(with_uri(task("t"))));
    let container = bench.container("t");
    let result = Err("http://files/app.tgz: status 404".into());
    let log = bench.input(Input::Fetched { container: container.clone(), result });
    script.step("fetch fails", log.replace(&container.to_string(), "CONTAINER"));
    script.step("run", bench.launch(task("u")));
    let failed = Input::LaunchFailed {
        container: bench.container("u"),
        missing_program: true,
        message: "cannot execute '/no/such': No such file or directory".into(),
    };
    script.step("not executed", bench.input(failed));
    bench.launch(task("v"));
    let failed = Input::LaunchFailed {
        container: bench.container("v"),
        missing_program: false,
        message: "user 'nobody-else' is unknown".into(),
    };
    script.step("not launched", bench.input(failed));
    script.check(expect![[r#"
        run
          write framework fw
          write task t
          fetch t into fw/t: http://files/app.tgz
        fetch fails
          write update t TASK_FAILED
          send on link 1: t TASK_FAILED SOURCE_AGENT REASON_CONTAINER_LAUNCH_FAILED "Failed to launch container: Failed to fetch all URIs for container 'CONTAINER': http://files/app.tgz: status 404", latest TASK_FAILED
        run
          write task u
          write update u TASK_STARTING
          send on link 1: u TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch u
        not executed
          write update u TASK_RUNNING
          write update u TASK_FAILED
          forget container of u
        not launched
          write update v TASK_FAILED
          forget container of v
    "#]]);
}

#[test]
fn out_of_memory() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    let exit = agent_core::Exit { status: ExitStatus::Signal(9, "Killed"), out_of_memory: Some(32 << 20) };
    let container = bench.container("t");
    script.step("exits", bench.input(Input::Exited { container, exit }));
    script.check(expect![[r#"
        exits
          write update t TASK_FAILED
          send on link 1: t TASK_FAILED SOURCE_AGENT REASON_CONTAINER_LIMITATION_MEMORY "Memory limit of 32 MB exceeded; command terminated with signal Killed", latest TASK_FAILED
          forget container of t
    "#]]);
}

#[test]
fn an_acknowledgement_is_lost() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch(task("t")));
    script.step("no ack", bench.wake());
    script.step("no ack", bench.wake());
    script.step("started", bench.started("t"));
    script.step("ends behind it", bench.exits("t", ExitStatus::Code(0)));
    script.step("so the end is announced", bench.wake());
    script.step("link breaks", bench.breaks());
    script.step("back", bench.connect(&[FRAMEWORK]));
    let first = bench.sent[0].uuid;
    script.step("ack of the first", bench.ack_uuid("t", first));
    script.check(expect![[r#"
        run
          write framework fw
          write task t
          write update t TASK_STARTING
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch t
        no ack
          after 10s
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
        no ack
          after 20s
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
        started
          write update t TASK_RUNNING
        ends behind it
          write update t TASK_FINISHED
          forget container of t
        so the end is announced
          after 1s
          send on link 1: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_FINISHED
        link breaks
          hang up link 1
          dial m1:5050 as link 2
        back
          send on link 2: hello of agent-1, term 1, tasks [t TASK_FINISHED]
          send on link 2: t TASK_STARTING SOURCE_EXECUTOR, latest TASK_FINISHED
        ack of the first
          write acknowledged t
          send on link 2: t TASK_RUNNING SOURCE_EXECUTOR, latest TASK_FINISHED
    "#]]);
}

#[test]
fn updates_of_an_absent_scheduler_wait_for_it() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.running(task("t"));
    script.step("link breaks", bench.breaks());
    script.step("exits meanwhile", bench.exits("t", ExitStatus::Code(0)));
    script.step("back, scheduler not", bench.connect(&[]));
    let order = Order::Framework { info: bench::modern(), resend: true };
    script.step("scheduler back", bench.order(order));
    script.step("ack", bench.ack());
    script.check(expect![[r#"
        link breaks
          hang up link 1
          dial m1:5050 as link 2
        exits meanwhile
          write update t TASK_FINISHED
          forget container of t
        back, scheduler not
          send on link 2: hello of agent-1, term 1, tasks [t TASK_FINISHED]
        scheduler back
          send on link 2: t TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
        ack
          write acknowledged t
    "#]]);
}

#[test]
fn health_from_good_to_killed() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch(with_health(task("t")));
    script.step("started", bench.started("t"));
    bench.ack();
    bench.ack();
    script.step("ok", bench.probed("t", Finding::Status(200)));
    script.step("ack", bench.ack());
    script.step("asked again", bench.wake());
    script.step("still ok", bench.probed("t", Finding::Status(204)));
    script.step("asked again", bench.wake());
    script.step("refused", bench.probed("t", Finding::Failed("connection refused".into())));
    script.step("asked again", bench.wake());
    script.step("status 503", bench.probed("t", Finding::Status(503)));
    script.step("asked again", bench.wake());
    script.step("no answer", bench.probed("t", Finding::TimedOut));
    script.step("exits", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    for _ in 0..4 {
        script.step("ack", bench.ack());
    }
    script.check(expect![[r#"
        started
          write update t TASK_RUNNING
          probe t with http://:31000/health, timeout Some(5s)
        ok
          write update t TASK_RUNNING
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=true, latest TASK_RUNNING
        ack
          write acknowledged t
        asked again
          after 1s
          probe t with http://:31000/health, timeout Some(5s)
        still ok
        asked again
          after 1s
          probe t with http://:31000/health, timeout Some(5s)
        refused
          write update t TASK_RUNNING
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=false, latest TASK_RUNNING
        asked again
          after 1s
          probe t with http://:31000/health, timeout Some(5s)
        status 503
          write update t TASK_RUNNING
        asked again
          after 1s
          probe t with http://:31000/health, timeout Some(5s)
        no answer
          write update t TASK_RUNNING
          write kill t: Unhealthy
          write update t TASK_KILLING
          kill t within 3s
        exits
          write update t TASK_KILLED
          forget container of t
        ack
          write acknowledged t
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=false, latest TASK_KILLED
        ack
          write acknowledged t
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLED
        ack
          write acknowledged t
          send on link 1: t TASK_KILLED SOURCE_EXECUTOR healthy=false "Command terminated with signal Terminated", latest TASK_KILLED
        ack
          write acknowledged t
    "#]]);
}

#[test]
fn a_command_check_is_only_reported() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let mut checked = task("t");
    checked.check = Some(wire::v1::CheckInfo {
        r#type: Some(wire::v1::check_info::Type::Command.into()),
        command: Some(wire::v1::check_info::Command {
            command: wire::v1::CommandInfo { value: Some("exit 7".into()), ..Default::default() },
        }),
        delay_seconds: Some(2.0),
        interval_seconds: Some(1.0),
        ..Default::default()
    });
    bench.running(checked);
    script.step("asked", bench.wake());
    script.step("exit 7", bench.probed("t", Finding::Exit(7)));
    let status = &bench.sent.last().unwrap().status;
    let result =
        status.check_status.as_ref().and_then(|check| check.command.as_ref()).and_then(|c| c.exit_code);
    assert_eq!(result, Some(7));
    bench.ack();
    script.step("asked", bench.wake());
    script.step("exit 7 again", bench.probed("t", Finding::Exit(7)));
    script.check(expect![[r#"
        asked
          after 2s
          probe t with `exit 7`, timeout Some(20s)
        exit 7
          write update t TASK_RUNNING
          send on link 1: t TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_CHECK_STATUS_UPDATED, latest TASK_RUNNING
        asked
          after 1s
          probe t with `exit 7`, timeout Some(20s)
        exit 7 again
    "#]]);
}

#[test]
fn a_task_may_run_only_so_long() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let mut bounded = task("t");
    bounded.max_completion_time = Some(wire::v1::DurationInfo { nanoseconds: 2_000_000_000 });
    bench.running(bounded);
    script.step("two seconds", bench.wake());
    script.step("exits", bench.exits("t", ExitStatus::Signal(15, "Terminated")));
    script.step("ack", bench.ack());
    script.step("ack of the end", bench.ack());
    script.check(expect![[r#"
        two seconds
          after 2s
          write kill t: TooLong
          write update t TASK_KILLING
          send on link 1: t TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill t within 3s
        exits
          write update t TASK_FAILED
          forget container of t
        ack
          write acknowledged t
          send on link 1: t TASK_FAILED SOURCE_EXECUTOR REASON_MAX_COMPLETION_TIME_REACHED "Command ran longer than its maximum completion time; Command terminated with signal Terminated", latest TASK_FAILED
        ack of the end
          write acknowledged t
    "#]]);
}

#[test]
fn busy_and_silent_masters() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("silence", bench.wake());
    bench.advance(Span::from_secs(100));
    script.step("and more of it", bench.wake());
    let link = bench.link.unwrap();
    bench.input(Input::LinkUp(link));
    let refusal = Refusal::Busy { retry_after: Span::from_secs(4) };
    script.step("busy", bench.order(Order::Refused { refusal, message: String::new() }));
    script.step("comes back", bench.wake());
    script.check(expect![[r#"
        silence
          after 60s
          measure disk
        and more of it
          after 0s
          hang up link 1
          dial m1:5050 as link 2
          measure disk
        busy
          hang up link 2
        comes back
          after 4.745s
          dial m1:5050 as link 3
    "#]]);
}
