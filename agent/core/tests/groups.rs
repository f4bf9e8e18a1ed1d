//! What the agent does with groups of tasks, step by step, as text.

mod bench;

use std::sync::Arc;

use agent_core::health::Finding;
use agent_core::{ExitStatus, Input, Order};
use bench::{Bench, FRAMEWORK, Script, hosted, pod, task, with_health, with_uri};
use expect_test::expect;
use model::time::Span;
use wire::v1;

/// Two tasks of one group that run, with everything acknowledged.
fn running(bench: &mut Bench) {
    bench.launch_group(&pod(), vec![task("a"), task("b")]);
    for task in ["a", "b"] {
        bench.started(task);
    }
    bench.ack_all();
}

#[track_caller]
fn fetched(bench: &mut Bench, task: &str, result: Result<(), String>) -> String {
    let container = bench.container(task);
    bench.input(Input::Fetched { container, result })
}

#[test]
fn a_group_from_its_order_to_its_end() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    script.step("run", bench.launch_group(&pod(), vec![with_uri(task("a")), with_uri(task("b"))]));
    script.step("again", bench.launch_group(&pod(), vec![with_uri(task("a")), with_uri(task("b"))]));
    script.step("a has its files", fetched(&mut bench, "a", Ok(())));
    script.step("b too", fetched(&mut bench, "b", Ok(())));
    let held = bench.agent.view();
    assert_eq!(held.used.to_string(), "cpus:2.1; mem:96");
    script.step("a runs", bench.started("a"));
    script.step("b runs", bench.started("b"));
    let status = &bench.sent.last().expect("an update").status;
    let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
    let parent = container.and_then(|id| id.parent.as_ref()).map(|id| id.value.clone());
    assert_eq!(parent, Some(bench.executor_container().to_string()), "in the container of its executor");
    assert_eq!(status.executor_id.as_ref().map(|id| id.value.as_str()), Some("pod"));
    bench.ack_all();
    script.step("a finishes", bench.exits("a", ExitStatus::Code(0)));
    script.step("acknowledged", bench.ack_all());
    script.step("b finishes", bench.exits("b", ExitStatus::Code(0)));
    script.step("acknowledged", bench.ack_all());
    assert!(bench.agent.view().used.is_empty() && bench.agent.view().frameworks.is_empty());
    script.check(expect![[r#"
        run
          write framework fw
          write executor pod
          write task a
          write task b
          fetch a into fw/pod/tasks/a: http://files/app.tgz
          fetch b into fw/pod/tasks/b: http://files/app.tgz
        again
        a has its files
        b too
          write update a TASK_STARTING
          write update b TASK_STARTING
          send on link 1: a TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch a
          send on link 1: b TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch b
        a runs
          write update a TASK_RUNNING
        b runs
          write update b TASK_RUNNING
        a finishes
          write update a TASK_FINISHED
          send on link 1: a TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
          forget container of a
        acknowledged
          write acknowledged a
        b finishes
          write update b TASK_FINISHED
          send on link 1: b TASK_FINISHED SOURCE_EXECUTOR "Command exited with status 0", latest TASK_FINISHED
          forget container of b
        acknowledged
          write acknowledged b
          write executor pod ended
          send on link 1: executor pod exited, Some(0)
    "#]]);
}

#[test]
fn one_that_fails_takes_the_others_of_its_group_along() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    running(&mut bench);
    script.step("a second group joins", bench.launch_group(&pod(), vec![task("c")]));
    bench.started("c");
    bench.ack_all();
    script.step("a fails", bench.exits("a", ExitStatus::Code(9)));
    script.step("b ends", bench.exits("b", ExitStatus::Signal(15, "Terminated")));
    script.step("acknowledged", bench.ack_all());
    script.step("kill c", bench.kill("c", Some(Span::from_secs(7))));
    script.step("c ends", bench.exits("c", ExitStatus::Signal(15, "Terminated")));
    script.step("nobody acknowledges", bench.wake());
    script.check(expect![[r#"
        a second group joins
          write task c
          write update c TASK_STARTING
          send on link 1: c TASK_STARTING SOURCE_EXECUTOR, latest TASK_STARTING
          launch c
        a fails
          write update a TASK_FAILED
          write kill b: Asked
          write update b TASK_KILLING
          send on link 1: a TASK_FAILED SOURCE_EXECUTOR "Command exited with status 9", latest TASK_FAILED
          forget container of a
          send on link 1: b TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill b within 3s
        b ends
          write update b TASK_KILLED
          forget container of b
        acknowledged
          write acknowledged b
          send on link 1: b TASK_KILLED SOURCE_EXECUTOR "Command terminated with signal Terminated", latest TASK_KILLED
          write acknowledged b
          write acknowledged a
        kill c
          write kill c: Asked
          write update c TASK_KILLING
          send on link 1: c TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill c within 7s
        c ends
          write update c TASK_KILLED
          forget container of c
        nobody acknowledges
          after 1s
          send on link 1: c TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLED
          write executor pod ended
          send on link 1: executor pod exited, Some(0)
    "#]]);
}

#[test]
fn files_that_are_missing_start_none() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch_group(&pod(), vec![with_uri(task("a")), task("b"), with_uri(task("c"))]);
    script.step("a has its files", fetched(&mut bench, "a", Ok(())));
    script.step("c has not", fetched(&mut bench, "c", Err("404 Not Found".into())));
    script.check(expect![[r#"
        a has its files
        c has not
          write update c TASK_FAILED
          stop fetching a
          write update a TASK_KILLED
          stop fetching b
          write update b TASK_KILLED
          send on link 1: c TASK_FAILED SOURCE_AGENT REASON_CONTAINER_LAUNCH_FAILED "Failed to launch container: Failed to fetch all URIs for container '63cbe1e4-5932-4dd7-86a6-c8e56922a525': 404 Not Found", latest TASK_FAILED
          send on link 1: a TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
          send on link 1: b TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
    "#]]);
}

#[test]
fn a_kill_before_the_start_ends_the_whole_group() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch_group(&pod(), vec![with_uri(task("a")), with_uri(task("b"))]);
    script.step("kill a", bench.kill("a", None));
    script.check(expect![[r#"
        kill a
          stop fetching a
          write update a TASK_KILLED
          stop fetching b
          write update b TASK_KILLED
          send on link 1: a TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
          send on link 1: b TASK_KILLED SOURCE_AGENT REASON_TASK_KILLED_DURING_LAUNCH "The task was killed before it was launched", latest TASK_KILLED
    "#]]);
}

#[test]
fn a_sick_one_is_killed_and_its_group_with_it() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    bench.launch_group(&pod(), vec![with_health(task("a")), task("b")]);
    for task in ["a", "b"] {
        bench.started(task);
    }
    bench.ack_all();
    for _ in 0..3 {
        bench.wake();
        script.step("sick", bench.probed("a", Finding::Failed("refused".into())));
        bench.ack_all();
    }
    script.step("it ends", bench.exits("a", ExitStatus::Signal(15, "Terminated")));
    script.check(expect![[r#"
        sick
          write update a TASK_RUNNING
          send on link 1: a TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=false, latest TASK_RUNNING
        sick
          write update a TASK_RUNNING
          send on link 1: a TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=false, latest TASK_RUNNING
        sick
          write update a TASK_RUNNING
          write kill a: Unhealthy
          write update a TASK_KILLING
          send on link 1: a TASK_RUNNING SOURCE_EXECUTOR REASON_TASK_HEALTH_CHECK_STATUS_UPDATED healthy=false, latest TASK_RUNNING
          kill a within 3s
        it ends
          write update a TASK_KILLED
          write kill b: Asked
          write update b TASK_KILLING
          send on link 1: a TASK_KILLED SOURCE_EXECUTOR healthy=false "Command terminated with signal Terminated", latest TASK_KILLED
          forget container of a
          send on link 1: b TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill b within 3s
    "#]]);
}

#[test]
fn groups_that_cannot_run_are_refused_whole() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let mut docker = task("docker");
    docker.container =
        Some(v1::ContainerInfo { r#type: v1::container_info::Type::Docker as i32, ..Default::default() });
    script.step("one of them", bench.launch_group(&pod(), vec![task("a"), docker]));
    let many = (0..4).map(|n| task(&format!("t{n}"))).collect();
    script.step("too big together", bench.launch_group(&pod(), many));
    script.step("nobody", bench.launch_group(&pod(), Vec::new()));
    let mut single = task("single");
    single.executor = Some((*pod()).clone());
    script.step("not a group", bench.launch(single));
    bench.launch_group(&pod(), vec![task("b")]);
    let mut other = (*pod()).clone();
    other.name = Some("other".into());
    script.step("another pod of this name", bench.launch_group(&Arc::new(other), vec![task("c")]));
    script.check(expect![[r#"
        one of them
          write framework fw
          write task a
          write task docker
          write update a TASK_ERROR
          write update docker TASK_ERROR
          send on link 1: a TASK_ERROR SOURCE_AGENT REASON_TASK_GROUP_INVALID "Task 'docker' is invalid: This agent cannot run executors and task groups in containers made from images: describe the task with 'command' alone", latest TASK_ERROR
          send on link 1: docker TASK_ERROR SOURCE_AGENT REASON_TASK_GROUP_INVALID "Task 'docker' is invalid: This agent cannot run executors and task groups in containers made from images: describe the task with 'command' alone", latest TASK_ERROR
          send on link 1: executor pod exited, None
        too big together
          write task t0
          write task t1
          write task t2
          write task t3
          write update t0 TASK_DROPPED
          write update t1 TASK_DROPPED
          write update t2 TASK_DROPPED
          write update t3 TASK_DROPPED
          send on link 1: t0 TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:4.1; mem:160, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: t1 TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:4.1; mem:160, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: t2 TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:4.1; mem:160, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: t3 TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:4.1; mem:160, but the agent has no more than cpus:4; disk:2048; mem:4096; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: executor pod exited, None
        nobody
        not a group
          write task single
          write update single TASK_ERROR
          send on link 1: single TASK_ERROR SOURCE_AGENT REASON_TASK_INVALID "'executor' is the default one, which runs groups of tasks only", latest TASK_ERROR
          send on link 1: executor pod exited, None
        another pod of this name
          write task c
          write update c TASK_ERROR
          send on link 1: c TASK_ERROR SOURCE_AGENT REASON_TASK_GROUP_INVALID "Executor 'pod' is here already with another description", latest TASK_ERROR
    "#]]);
}

#[test]
fn a_shutdown_ends_the_group() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    running(&mut bench);
    let order = Order::ShutdownExecutor { framework: FRAMEWORK.into(), executor: "pod".into() };
    script.step("shutdown", bench.order(order));
    script.step("a task too late", bench.launch_group(&pod(), vec![task("c")]));
    bench.ack_all();
    script.step("a ends", bench.exits("a", ExitStatus::Signal(15, "Terminated")));
    script.step("b ends", bench.exits("b", ExitStatus::Signal(15, "Terminated")));
    script.step("acknowledged", bench.ack_all());
    script.check(expect![[r#"
        shutdown
          write kill a: Asked
          write update a TASK_KILLING
          write kill b: Asked
          write update b TASK_KILLING
          send on link 1: a TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill a within 3s
          send on link 1: b TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          kill b within 3s
        a task too late
          write task c
          write update c TASK_DROPPED
          send on link 1: c TASK_DROPPED SOURCE_AGENT REASON_EXECUTOR_TERMINATED "Executor 'pod' is about to end", latest TASK_DROPPED
        a ends
          write update a TASK_KILLED
          send on link 1: a TASK_KILLED SOURCE_EXECUTOR "Command terminated with signal Terminated", latest TASK_KILLED
          forget container of a
        b ends
          write update b TASK_KILLED
          send on link 1: b TASK_KILLED SOURCE_EXECUTOR "Command terminated with signal Terminated", latest TASK_KILLED
          forget container of b
        acknowledged
          write acknowledged b
          write acknowledged a
          write executor pod ended
          send on link 1: executor pod exited, Some(0)
    "#]]);
}

#[test]
fn a_removed_framework_leaves_nothing_of_its_group() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    running(&mut bench);
    bench.launch_group(&pod(), vec![with_uri(task("c")), with_uri(task("d"))]);
    script.step("removed", bench.order(Order::ShutdownFramework { framework: FRAMEWORK.into() }));
    script.step("a ends", bench.exits("a", ExitStatus::Signal(15, "Terminated")));
    script.step("b ends", bench.exits("b", ExitStatus::Signal(15, "Terminated")));
    let view = bench.agent.view();
    assert!(view.frameworks.is_empty() && view.executors.is_empty() && view.used.is_empty());
    script.check(expect![[r#"
        removed
          write framework fw removed
          write kill a: FrameworkRemoved
          write kill b: FrameworkRemoved
          write dropped c
          write dropped d
          kill a within 3s
          kill b within 3s
        a ends
          write dropped a
          forget container of a
        b ends
          write dropped b
          write executor pod ended
          forget container of b
    "#]]);
}

#[test]
fn a_group_outlives_the_agent() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    running(&mut bench);
    let small = |id| v1::TaskInfo { resources: vec![bench::scalar("cpus", 0.1)], ..task(id) };
    script.step("two more", bench.launch_group(&pod(), vec![with_uri(small("c")), small("d")]));
    script.step("restart", bench.restart("boot-1"));
    script.step("a lives", bench.started("a"));
    script.step("b failed meanwhile", bench.exits("b", ExitStatus::Code(2)));
    script.step("recovered", bench.input(Input::Recovered));
    script.step("registered", bench.connect(&[FRAMEWORK]));
    script.step("a ends", bench.exits("a", ExitStatus::Signal(15, "Terminated")));
    script.step("restart before the executor is told of", bench.restart("boot-1"));
    script.step("recovered", bench.input(Input::Recovered));
    script.check(expect![[r#"
        two more
          write task c
          write task d
          fetch c into fw/pod/tasks/c: http://files/app.tgz
        restart
          write registered as agent-1, 2 sessions
          write update c TASK_DROPPED
          write update d TASK_DROPPED
          look for containers [a, b]
        a lives
        b failed meanwhile
          write update b TASK_FAILED
          write kill a: Asked
          write update a TASK_KILLING
          forget container of b
          kill a within 3s
        recovered
          dial m1:5050 as link 1
        registered
          send on link 1: hello of agent-1, term 1, tasks [a TASK_KILLING, b TASK_FAILED, c TASK_DROPPED, d TASK_DROPPED], 1 executors
          write registered as agent-1, 1 sessions
          send on link 1: a TASK_KILLING SOURCE_EXECUTOR, latest TASK_KILLING
          send on link 1: b TASK_FAILED SOURCE_EXECUTOR "Command exited with status 2", latest TASK_FAILED
          send on link 1: c TASK_DROPPED SOURCE_AGENT REASON_AGENT_RESTARTED "The agent was restarted while it launched the task", latest TASK_DROPPED
          send on link 1: d TASK_DROPPED SOURCE_AGENT REASON_AGENT_RESTARTED "The agent was restarted while it launched the task", latest TASK_DROPPED
        a ends
          write update a TASK_KILLED
          forget container of a
        restart before the executor is told of
          write registered as agent-1, 2 sessions
          look for containers [a, b, c, d]
        recovered
          write executor pod ended
          dial m1:5050 as link 1
    "#]]);
}

#[test]
fn an_executor_of_the_frameworks_own_is_given_the_whole_group() {
    let mut bench = Bench::registered();
    let mut script = Script::default();
    let ex = Arc::new(hosted("x").executor.expect("an executor"));
    script.step("run", bench.launch_group(&ex, vec![hosted("a"), hosted("b")]));
    script.step("another", bench.launch_group(&ex, vec![hosted("c"), hosted("d")]));
    script.step("which is killed", bench.kill("d", None));
    let container = bench.executor_container();
    bench.input(Input::Started { container, pid: 4711 });
    script.step("subscribe", bench.subscribe(1, &[], Vec::new()));
    script.check(expect![[r#"
        run
          write framework fw
          write executor ex
          write task a
          write task b
          launch executor ex
        another
          write task c
          write task d
          write update c TASK_DROPPED
          write update d TASK_DROPPED
          send on link 1: c TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:2; mem:64, but the agent has no more than cpus:1.5; disk:2048; mem:3968; ports:[31000-31100] left", latest TASK_DROPPED
          send on link 1: d TASK_DROPPED SOURCE_AGENT REASON_RESOURCES_UNKNOWN "Task group needs cpus:2; mem:64, but the agent has no more than cpus:1.5; disk:2048; mem:3968; ports:[31000-31100] left", latest TASK_DROPPED
        which is killed
        subscribe
          tell on stream 1: subscribed as ex of fw at agent-1
          resize executor ex to cpus:2.5; mem:128
          tell on stream 1: launch together a b
    "#]]);
}

#[test]
fn nobody_subscribes_as_an_executor_that_the_agent_plays() {
    let mut bench = Bench::registered();
    let mut ex = (*pod()).clone();
    ex.executor_id.value = "ex".into();
    bench.launch_group(&Arc::new(ex), vec![task("a")]);
    assert_eq!(bench.subscribe(1, &[], Vec::new()), "  refused: Executor cannot be found\n");
}
