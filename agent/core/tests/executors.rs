//! What the agent does with frameworks' own executors, step by step, as text.

mod bench;

use agent_core::{Call, ExitStatus, Input, Order, StreamId};
use bench::{Bench, FRAMEWORK, Script, framework, hosted, said, task};
use expect_test::expect;
use model::time::Span;
use wire::v1::TaskState::{TaskFinished, TaskKilled, TaskRunning, TaskStarting};

#[test]
fn an_executor_from_its_first_task_to_its_end() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch(hosted("a")));
    script.step("and another meanwhile", bench.launch(hosted("b")));
    script.step("an update before it subscribed", bench.says("a", TaskRunning, 9));
    let container = bench.executor_container();
    script.step("its process runs", bench.input(Input::Started { container, pid: 4711 }));
    script.step("subscribe", bench.subscribe(1, &[], Vec::new()));
    script.step("a third", bench.launch(hosted("c")));
    script.step("a runs", bench.says("a", TaskRunning, 1));
    script.step("the same again", bench.says("a", TaskRunning, 1));
    script.step("a message", bench.call(Call::Message(vec![1, 2])));
    let order = Order::Message { framework: FRAMEWORK.into(), executor: "ex".into(), data: vec![3] };
    script.step("an answer", bench.order(order));
    script.step("ack", bench.ack());
    script.step("a finishes", bench.says("a", TaskFinished, 2));
    script.step("ack", bench.ack());
    script.step("an update after the end", bench.says("a", TaskRunning, 3));
    script.step("kill b", bench.kill("b", Some(Span::from_secs(7))));
    script.step("b is killed", bench.says("b", TaskKilled, 4));
    let order = Order::ShutdownExecutor { framework: FRAMEWORK.into(), executor: "ex".into() };
    script.step("shutdown", bench.order(order));
    script.step("a task too late", bench.launch(hosted("d")));
    script.step("it exits", bench.executor_exits(ExitStatus::Code(0)));
    script.check(expect![[r#"
        run
          write framework fw
          write executor ex
          write task a
          launch executor ex
        and another meanwhile
          write task b
        an update before it subscribed
          refused: Executor is not subscribed
        its process runs
          resize executor ex to cpus:2.5; mem:128
        subscribe
          tell on stream 1: subscribed as ex of fw at agent-1
          resize executor ex to cpus:2.5; mem:128
          tell on stream 1: launch a
          tell on stream 1: launch b
        a third
          write task c
          resize executor ex to cpus:3.5; mem:160
          tell on stream 1: launch c
        a runs
          write update a TASK_RUNNING
          send on link 1: a TASK_RUNNING SOURCE_EXECUTOR, latest TASK_RUNNING
          tell on stream 1: acknowledged a 1
        the same again
          tell on stream 1: acknowledged a 1
        a message
          send on link 1: message of ex, 2 bytes
        an answer
          tell on stream 1: message of 1 bytes
        ack
          write acknowledged a
        a finishes
          write update a TASK_FINISHED
          send on link 1: a TASK_FINISHED SOURCE_EXECUTOR, latest TASK_FINISHED
          resize executor ex to cpus:2.5; mem:128
          tell on stream 1: acknowledged a 2
        ack
          write acknowledged a
        an update after the end
          tell on stream 1: acknowledged a 3
        kill b
          write kill b: Asked
          tell on stream 1: kill b, grace Some(7s)
        b is killed
          write update b TASK_KILLED
          send on link 1: b TASK_KILLED SOURCE_EXECUTOR, latest TASK_KILLED
          resize executor ex to cpus:1.5; mem:96
          tell on stream 1: acknowledged b 4
        shutdown
          tell on stream 1: shutdown
        a task too late
          write task d
          write update d TASK_DROPPED
          send on link 1: d TASK_DROPPED SOURCE_AGENT REASON_EXECUTOR_TERMINATED "Executor 'ex' is about to end", latest TASK_DROPPED
        it exits
          write update c TASK_FAILED
          write executor ex ended
          close stream 1
          send on link 1: c TASK_FAILED SOURCE_AGENT REASON_EXECUTOR_TERMINATED "Executor exited with status 0", latest TASK_FAILED
          send on link 1: executor ex exited, Some(0)
          forget container of executor ex
    "#]]);
}

#[test]
fn an_executor_takes_its_resources_once() {
    let mut bench = Bench::registered();
    bench.subscribed("a");
    bench.launch(hosted("b"));
    let used = bench.agent.view().used;
    assert_eq!(used.to_string(), "cpus:2.5; mem:128");
    bench.says("a", TaskFinished, 1);
    bench.says("b", TaskFinished, 2);
    assert_eq!(bench.agent.view().used.to_string(), "cpus:0.5; mem:64");
    bench.executor_exits(ExitStatus::Code(0));
    assert!(bench.agent.view().used.is_empty());
    let mut large = hosted("large");
    large.resources = vec![bench::scalar("cpus", 3.8)];
    let mut script = Script::default();
    script.step("a task that leaves its executor no room", bench.launch(large));
    script.check(expect![[r#"
        a task that leaves its executor no room
          write task large
          write update large TASK_DROPPED
          send on link 1: large TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task needs cpus:4.3; mem:64, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: executor ex exited, None
    "#]]);
}

#[test]
fn an_executor_that_dies_takes_its_tasks_along() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    bench.says("a", TaskRunning, 1);
    bench.ack();
    script.step("signal 11", bench.executor_exits(ExitStatus::Signal(11, "Segmentation fault")));
    script.step("its id may be used again", bench.launch(hosted("b")));
    let container = bench.executor_container();
    let why = "No such file".to_owned();
    let failed = Input::LaunchFailed { container, missing_program: true, message: why };
    script.step("which cannot be executed", bench.input(failed));
    script.check(expect![[r#"
        signal 11
          write update a TASK_FAILED
          write executor ex ended
          close stream 1
          send on link 1: a TASK_FAILED SOURCE_AGENT REASON_EXECUTOR_TERMINATED "Executor terminated with signal Segmentation fault", latest TASK_FAILED
          send on link 1: executor ex exited, Some(11)
          forget container of executor ex
        its id may be used again
          write executor ex
          write task b
          launch executor ex
        which cannot be executed
          write update b TASK_FAILED
          write executor ex ended
          send on link 1: b TASK_FAILED SOURCE_AGENT REASON_CONTAINER_LAUNCH_FAILED "Failed to launch container: No such file", latest TASK_FAILED
          send on link 1: executor ex exited, None
          forget container of executor ex
    "#]]);
}

#[test]
fn an_executor_that_never_subscribes_is_destroyed() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch(hosted("a"));
    let container = bench.executor_container();
    bench.input(Input::Started { container, pid: 4711 });
    script.step("a minute passes", bench.wake());
    script.step("too late", bench.subscribe(1, &[], Vec::new()));
    script.step("it is gone", bench.executor_exits(ExitStatus::Signal(9, "Killed")));
    script.check(expect![[r#"
        a minute passes
          after 60s
          write update a TASK_FAILED
          measure disk
          send on link 1: a TASK_FAILED SOURCE_AGENT REASON_EXECUTOR_REGISTRATION_TIMEOUT "Executor did not subscribe in time", latest TASK_FAILED
          destroy executor ex
        too late
          tell on stream 1: shutdown
          close stream 1
        it is gone
          write executor ex ended
          send on link 1: executor ex exited, Some(9)
          forget container of executor ex
    "#]]);
}

#[test]
fn killed_before_the_executor_had_it() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch(hosted("a"));
    bench.launch(hosted("b"));
    script.step("kill a", bench.kill("a", None));
    script.step("kill b, the last one", bench.kill("b", None));
    script.step("it subscribes for nothing", bench.subscribe(1, &[], Vec::new()));
    script.check(expect![[r#"
        kill a
          write update a TASK_KILLED
          send on link 1: a TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
        kill b, the last one
          write update b TASK_KILLED
          send on link 1: b TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
          destroy executor ex
        it subscribes for nothing
          tell on stream 1: shutdown
          close stream 1
    "#]]);
}

#[test]
fn a_stubborn_executor_has_its_grace_and_no_more() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    script.step(
        "the framework is removed",
        bench.order(Order::ShutdownFramework { framework: FRAMEWORK.into() }),
    );
    script.step("it does not end", bench.wake());
    script.step("now it does", bench.executor_exits(ExitStatus::Signal(9, "Killed")));
    assert!(bench.agent.view().frameworks.is_empty(), "nothing is left of the framework");
    script.check(expect![[r#"
        the framework is removed
          write framework fw removed
          tell on stream 1: shutdown
        it does not end
          after 5s
          destroy executor ex
        now it does
          write dropped a
          write executor ex ended
          close stream 1
          forget container of executor ex
    "#]]);
}

#[test]
fn an_executor_comes_back_to_a_restarted_agent() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    bench.launch(hosted("lost"));
    bench.launch(hosted("kept"));
    bench.says("a", TaskRunning, 1);
    script.step("kill a", bench.kill("a", None));
    script.step("restart", bench.restart("boot-1"));
    let container = bench.executor_container();
    script.step("an update while containers are looked for", bench.says("a", TaskRunning, 8));
    script.step("its process lives", bench.input(Input::Started { container, pid: 4711 }));
    script.step("recovered", bench.input(Input::Recovered));
    script.step("registered", bench.connect(&[FRAMEWORK]));
    // One it had said before, and one it said to nobody.
    let updates = vec![said("a", TaskRunning, 1), said("kept", TaskStarting, 2)];
    script.step("it subscribes again", bench.subscribe(2, &["kept"], updates));
    script.check(expect![[r#"
        kill a
          write kill a: Asked
          tell on stream 1: kill a, grace None
        restart
          write registered as agent-1, 2 sessions
          look for containers [executor ex]
        an update while containers are looked for
          refused: Agent has not finished recovery
        its process lives
          resize executor ex to cpus:3.5; mem:160
        recovered
          dial m1:5050 as link 1
        registered
          send on link 1: hello of agent-1, term 1, tasks [a TASK_RUNNING, kept TASK_STAGING, lost TASK_STAGING], 1 executors
          write registered as agent-1, 1 sessions
          send on link 1: a TASK_RUNNING SOURCE_EXECUTOR, latest TASK_RUNNING
        it subscribes again
          tell on stream 2: subscribed as ex of fw at agent-1
          tell on stream 2: acknowledged a 1
          write update kept TASK_STARTING
          write update lost TASK_DROPPED
          send on link 1: kept TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          tell on stream 2: acknowledged kept 2
          send on link 1: lost TASK_DROPPED SOURCE_AGENT REASON_AGENT_RESTARTED "The task was lost on its way to its executor", latest TASK_DROPPED
          tell on stream 2: kill a, grace Some(3s)
    "#]]);
}

#[test]
fn an_executor_that_does_not_come_back_is_destroyed() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    bench.says("a", TaskRunning, 1);
    bench.ack();
    bench.restart("boot-1");
    let container = bench.executor_container();
    bench.input(Input::Started { container, pid: 4711 });
    bench.input(Input::Recovered);
    bench.connect(&[FRAMEWORK]);
    script.step("nothing is heard of it", bench.wake());
    script.check(expect![[r#"
        nothing is heard of it
          after 15s
          write update a TASK_GONE
          send on link 1: a TASK_GONE SOURCE_AGENT REASON_EXECUTOR_REREGISTRATION_TIMEOUT "Executor did not subscribe again in time", latest TASK_GONE
          destroy executor ex
    "#]]);
}

#[test]
fn an_executor_that_ended_meanwhile_is_reported_with_its_status() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    bench.says("a", TaskRunning, 1);
    bench.ack();
    bench.restart("boot-1");
    script.step("it ended", bench.executor_exits(ExitStatus::Code(3)));
    bench.input(Input::Recovered);
    script.step("registered", bench.connect(&[FRAMEWORK]));
    script.check(expect![[r#"
        it ended
          write update a TASK_FAILED
          write executor ex ended
          forget container of executor ex
        registered
          send on link 1: hello of agent-1, term 1, tasks [a TASK_FAILED]
          write registered as agent-1, 1 sessions
          send on link 1: a TASK_FAILED SOURCE_AGENT REASON_EXECUTOR_TERMINATED "Executor exited with status 3", latest TASK_FAILED
    "#]]);
}

#[test]
fn a_broken_stream_is_not_a_broken_executor() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    bench.says("a", TaskRunning, 1);
    bench.ack();
    script.step("the stream breaks", bench.input(Input::StreamGone(StreamId(1))));
    script.step("a kill waits", bench.kill("a", None));
    script.step("so does a task", bench.launch(hosted("b")));
    script.step("it is back", bench.subscribe(2, &[], Vec::new()));
    script.step("and again, before the end of the stream is seen", bench.subscribe(3, &["b"], Vec::new()));
    script.step("which is then seen", bench.input(Input::StreamGone(StreamId(2))));
    script.step("a message on the newest", bench.call(Call::Message(vec![])));
    script.check(expect![[r#"
        the stream breaks
        a kill waits
          write kill a: Asked
        so does a task
          write task b
        it is back
          tell on stream 2: subscribed as ex of fw at agent-1
          tell on stream 2: kill a, grace Some(3s)
          resize executor ex to cpus:2.5; mem:128
          tell on stream 2: launch b
        and again, before the end of the stream is seen
          close stream 2
          tell on stream 3: subscribed as ex of fw at agent-1
          tell on stream 3: kill a, grace Some(3s)
        which is then seen
        a message on the newest
          send on link 1: message of ex, 0 bytes
    "#]]);
}

#[test]
fn a_kill_that_is_said_again_has_what_is_left_of_its_grace() {
    let seconds = |seconds| Some(Span::from_secs(seconds));
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    let mut patient = hosted("b");
    let grace_period = Some(wire::v1::DurationInfo { nanoseconds: 60_000_000_000 });
    patient.kill_policy = Some(wire::v1::KillPolicy { grace_period });
    bench.launch(patient);
    for (number, id) in (1..).zip(["a", "b"]) {
        bench.says(id, TaskRunning, number);
        bench.ack();
    }
    script.step("half a minute for a", bench.kill("a", seconds(30)));
    script.step("b has a grace of its own", bench.kill("b", None));
    bench.input(Input::StreamGone(StreamId(1)));
    bench.advance(Span::from_secs(7));
    script.step("it is back", bench.subscribe(2, &["a", "b"], Vec::new()));
    script.step("a shall end sooner", bench.kill("a", seconds(10)));
    script.step("a longer grace is passed on and not remembered", bench.kill("a", seconds(90)));
    bench.input(Input::StreamGone(StreamId(2)));
    bench.advance(Span::from_secs(4));
    script.step("it is back again", bench.subscribe(3, &["a", "b"], Vec::new()));
    bench.input(Input::StreamGone(StreamId(3)));
    bench.advance(Span::from_secs(7));
    script.step("and once more", bench.subscribe(4, &["a", "b"], Vec::new()));
    script.check(expect![[r#"
        half a minute for a
          write kill a: Asked
          tell on stream 1: kill a, grace Some(30s)
        b has a grace of its own
          write kill b: Asked
          tell on stream 1: kill b, grace None
        it is back
          tell on stream 2: subscribed as ex of fw at agent-1
          tell on stream 2: kill a, grace Some(23s)
          tell on stream 2: kill b, grace Some(53s)
        a shall end sooner
          write kill a: Asked
          tell on stream 2: kill a, grace Some(10s)
        a longer grace is passed on and not remembered
          tell on stream 2: kill a, grace Some(90s)
        it is back again
          tell on stream 3: subscribed as ex of fw at agent-1
          tell on stream 3: kill a, grace Some(6s)
          tell on stream 3: kill b, grace Some(49s)
        and once more
          tell on stream 4: subscribed as ex of fw at agent-1
          tell on stream 4: kill a, grace Some(0s)
          tell on stream 4: kill b, grace Some(42s)
    "#]]);
}

#[test]
fn what_an_executor_cannot_be_is_refused_with_a_reason() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.subscribed("a");
    let mut other = hosted("b");
    other.executor.as_mut().unwrap().name = Some("another".into());
    script.step("the same id with another description", bench.launch(other));
    let mut empty = hosted("c");
    empty.executor.as_mut().unwrap().executor_id.value = "no-command".into();
    empty.executor.as_mut().unwrap().command = None;
    script.step("no command", bench.launch(empty));
    let mut path = hosted("d");
    path.executor.as_mut().unwrap().executor_id.value = "../up".into();
    script.step("an id that leads elsewhere", bench.launch(path));
    script.check(expect![[r#"
        the same id with another description
          write task b
          write update b TASK_ERROR
          send on link 1: b TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "Executor 'ex' is here already with another description", latest TASK_ERROR
        no command
          write task c
          write update c TASK_ERROR
          send on link 1: c TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'executor.command' must be present", latest TASK_ERROR
          send on link 1: executor no-command exited, None
        an id that leads elsewhere
          write task d
          write update d TASK_ERROR
          send on link 1: d TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'executor.executor_id': '../up' contains invalid characters", latest TASK_ERROR
          send on link 1: executor ../up exited, None
    "#]]);
}

#[test]
fn an_executor_may_be_called_as_a_task() {
    let mut bench = Bench::registered();
    bench.launch(task("ex"));
    bench.launch_for(framework(&[]), hosted("a"));
    let view = bench.agent.view();
    let sandbox =
        |id: &str| view.tasks.iter().find(|task| task.key.task.as_str() == id).unwrap().sandbox.clone();
    assert_ne!(sandbox("ex"), sandbox("a"));
    assert_eq!(sandbox("a"), view.executors[0].sandbox);
}
