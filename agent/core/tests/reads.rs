//! What readers of an agent are told of what it did.

mod bench;

use agent_core::{Call, Drain, Executors, ExitStatus, Input, Order};
use bench::{Bench, FRAMEWORK, hosted, said, task};
use model::time::{Span, Time};
use wire::v1;
use wire::v1::TaskState::{TaskFinished, TaskRunning};

#[test]
fn a_drain_is_told_while_there_is_one() {
    let mut bench = Bench::registered();
    let config = v1::DrainConfig { max_grace_period: None, mark_gone: Some(true) };
    let drain = Drain { config, since: Time::from_secs(900) };
    bench.order(Order::Drain(Some(drain.clone())));
    assert_eq!(bench.agent.view().drain.as_ref(), Some(&drain));
    bench.order(Order::Drain(None));
    assert_eq!(bench.agent.view().drain, None);
    // It ended while nobody could say so: the next master does not say that there is one.
    bench.order(Order::Drain(Some(drain)));
    bench.breaks();
    assert!(bench.agent.view().drain.is_some());
    bench.connect(&[FRAMEWORK]);
    assert_eq!(bench.agent.view().drain, None);
}

#[test]
fn a_framework_without_tasks_is_history_until_it_has_one_again() {
    let mut bench = Bench::registered();
    let names = |bench: &Bench| {
        let view = bench.agent.view();
        let ids = |all: &[agent_core::Framework]| -> Vec<String> {
            all.iter().map(|framework| framework.id.to_string()).collect()
        };
        (ids(&view.frameworks), ids(&view.completed_frameworks))
    };
    let fw = || vec![FRAMEWORK.to_owned()];
    bench.running(task("t"));
    bench.exits("t", ExitStatus::Code(0));
    assert_eq!(names(&bench), (fw(), vec![]));
    bench.ack();
    assert_eq!(names(&bench), (vec![], fw()));
    bench.launch(task("again"));
    assert_eq!(names(&bench), (fw(), vec![]));
    // Of many of them the latest are kept.
    bench.started("again");
    bench.exits("again", ExitStatus::Code(0));
    bench.ack_all();
    for number in 0..agent_core::limits::COMPLETED_FRAMEWORKS {
        let id = format!("fw-{number}");
        let info = v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: id.clone() }),
            ..(*bench::modern()).clone()
        };
        let mut unfit = task(&id);
        unfit.resources = vec![bench::scalar("cpus", 100.0)];
        bench.launch_for(info.into(), unfit);
        bench.order(Order::ShutdownFramework { framework: id.as_str().into() });
    }
    let (here, gone) = names(&bench);
    assert_eq!((here.len(), gone.len()), (0, agent_core::limits::COMPLETED_FRAMEWORKS));
    assert!(!gone.contains(&FRAMEWORK.to_owned()));
}

#[test]
fn executors_are_counted_by_how_far_they_are_those_of_command_tasks_included() {
    let mut bench = Bench::registered();
    let told = |bench: &Bench| {
        let summary = bench.agent.summary();
        let Executors { registering, running, terminating } = summary.executors;
        (registering, running, terminating, summary.counters.executors)
    };
    bench.launch(task("own"));
    bench.launch(hosted("a"));
    bench.launch(hosted("b"));
    assert_eq!(told(&bench), (2, 0, 0, 0), "two tasks in one executor, and one by itself");
    bench.started("own");
    let container = bench.executor_container();
    bench.input(Input::Started { container, pid: 4711 });
    bench.subscribe(1, &[], Vec::new());
    assert_eq!(told(&bench), (0, 2, 0, 0));
    bench.kill("own", Some(Span::from_secs(5)));
    bench.order(Order::ShutdownExecutor { framework: FRAMEWORK.into(), executor: "ex".into() });
    assert_eq!(told(&bench), (0, 0, 2, 0));
    bench.exits("own", ExitStatus::Signal(15, "Terminated"));
    bench.executor_exits(ExitStatus::Code(0));
    assert_eq!(told(&bench), (0, 0, 0, 2));
}

#[test]
fn updates_and_messages_are_counted_by_whether_they_were_taken() {
    let mut bench = Bench::registered();
    let message =
        |data: u8| Order::Message { framework: FRAMEWORK.into(), executor: "ex".into(), data: vec![data] };
    bench.order(message(1));
    bench.subscribed("a");
    bench.order(message(2));
    bench.call(Call::Message(vec![3]));
    let counters = bench.agent.summary().counters;
    assert_eq!((counters.messages, counters.dropped_messages), (2, 1));

    bench.says("a", TaskFinished, 2);
    bench.ack();
    // What is repeated, or late, is not wrong.
    bench.says("a", TaskRunning, 3);
    let mut nameless = said("a", TaskRunning, 4);
    nameless.uuid = None;
    bench.call(Call::Update(Box::new(nameless)));
    bench.launch(task("own"));
    bench.says("own", TaskFinished, 5);
    bench.says("unheard-of", TaskFinished, 6);
    let counters = bench.agent.summary().counters;
    assert_eq!((counters.invalid_updates, counters.repeated_updates), (3, 1));
}

#[test]
fn containers_that_are_not_found_again_are_errors_unless_the_machine_ended() {
    for (boot, errors) in [("boot-1", 1), ("boot-2", 0)] {
        let mut bench = Bench::registered();
        bench.running(task("t"));
        bench.restart(boot);
        assert_eq!(bench.agent.summary().recovery, None);
        bench.advance(Span::from_secs(2));
        let lost = Input::ContainerLost {
            container: bench.container("t"),
            never_started: false,
            message: "it is gone".into(),
        };
        bench.input(lost);
        bench.input(Input::Recovered);
        let summary = bench.agent.summary();
        assert_eq!(summary.recovery, Some(Span::from_secs(2)));
        assert_eq!(summary.counters.unrecovered, errors, "{boot}");
    }
}
