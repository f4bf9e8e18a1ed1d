//! Real agents with real processes: killed, restarted, found again.
//!
//! The program plays three parts: `processes agent MASTER DIR PORT` is an agent, `processes shim` the helper that holds its
//! containers, and anything else runs the tests.

mod support;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use support::{Link, Master, config, disk, soon, task};
use tempfile::TempDir;
use wire::link::{self, to_agent, to_master};
use wire::v1::{self, TaskState};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("shim") => sandbox::shim::main(),
        Some("agent") => agent_main(&arguments[2], Path::new(&arguments[3]), &arguments[4]),
        _ => tests(&arguments),
    }
}

fn agent_main(master: &str, data: &Path, port: &str) -> ExitCode {
    let mut config = config(master.into(), data);
    config.listen.set_port(port.parse().expect("a port"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(agent::run(config, std::future::pending())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if error.is_refusal() { 2 } else { 1 })
        }
    }
}

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// As much of the usual test runner as `cargo test NAME` needs.
fn tests(arguments: &[String]) -> ExitCode {
    let all: [Test; 11] = [
        ("commands_end_with_their_true_status", || Box::pin(commands_end_with_their_true_status())),
        ("a_killed_agent_leaves_tasks_running_and_finds_them", || Box::pin(killed_agent())),
        ("a_kill_ends_the_whole_tree", || Box::pin(a_kill_ends_the_whole_tree())),
        ("a_stubborn_task_has_its_grace_and_no_more", || Box::pin(stubborn())),
        ("files_are_fetched_before_the_start", || Box::pin(files_are_fetched())),
        ("checks_run_beside_the_task", || Box::pin(checks_run_beside_the_task())),
        ("a_group_stands_and_falls_together", || Box::pin(a_group_stands_and_falls_together())),
        ("a_volume_outlives_its_task_and_its_agent", || Box::pin(a_volume_outlives())),
        ("a_second_process_is_refused_by_its_exit_code", || Box::pin(second_process())),
        ("an_executor_serves_its_framework_and_outlives_its_agent", || Box::pin(custom_executor())),
        ("a_thousand_tasks_are_launched_in_good_time", || Box::pin(a_thousand_tasks())),
    ];
    let wanted: Vec<&String> = arguments[1..].iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut ran = 0;
    for (name, test) in all {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        // A panic unwinds out of here: what follows would say little after it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
        println!("test {name} ... ok");
        ran += 1;
    }
    println!(
        "\ntest result: ok. {ran} passed; 0 failed; 0 ignored; 0 measured; {} filtered out",
        all.len() - ran
    );
    ExitCode::SUCCESS
}

/// An agent process. Killed, with all its tasks, when the test is over.
struct Agent {
    child: Child,
    data: PathBuf,
}

impl Agent {
    fn start(master: &Master, data: &Path) -> Self {
        Self::start_at(master, data, 0)
    }

    /// With an API on a port that others will know again after a restart.
    fn start_at(master: &Master, data: &Path, port: u16) -> Self {
        let program = std::env::current_exe().expect("this program");
        let (master, port) = (master.name(), port.to_string());
        let mut command = Command::new(program);
        command.arg("agent").arg(master).arg(data).arg(port).stdin(Stdio::null());
        let child = command.spawn();
        Self { child: child.expect("an agent"), data: data.into() }
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    fn sandbox(&self, task: &str) -> PathBuf {
        self.data.join("sandboxes/fw").join(task)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running agent with its registered link.
async fn start() -> (Master, TempDir, Agent, Link) {
    let (master, data) = (Master::start().await, TempDir::new().expect("a directory"));
    let agent = Agent::start(&master, data.path());
    let (link, _) = master.welcome().await;
    (master, data, agent, link)
}

fn message(status: &v1::TaskStatus) -> &str {
    status.message.as_deref().unwrap_or_default()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits for the file system to show something: tasks are other processes.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn commands_end_with_their_true_status() {
    let (_master, _data, agent, mut link) = start().await;
    link.run(task("ok", "echo out; echo err >&2; echo $MESOS_TASK_ID")).await;
    let status = link.until(TaskState::TaskFinished).await;
    assert_eq!(message(&status), "Command exited with status 0");
    assert_eq!(read(agent.sandbox("ok").join("stdout")), "out\nok\n");
    assert_eq!(read(agent.sandbox("ok").join("stderr")), "err\n");
    for (id, command, text) in [
        ("code", "exit 3", "Command exited with status 3"),
        ("signal", "kill -SEGV $$", "Command terminated with signal Segmentation fault"),
        ("missing", "/no/such/program", "Command exited with status 127"),
    ] {
        link.run(task(id, command)).await;
        let status = link.until(TaskState::TaskFailed).await;
        assert_eq!(message(&status), text);
    }
    let mut exec = task("exec", "/no/such/program");
    exec.command.as_mut().expect("a command").shell = Some(false);
    link.run(exec).await;
    let status = link.until(TaskState::TaskFailed).await;
    assert!(message(&status).starts_with("Command exited with status 1: "), "{}", message(&status));
    let mut nobody = task("user", "true");
    nobody.command.as_mut().expect("a command").user = Some("no-such-user".into());
    link.run(nobody).await;
    let status = link.until(TaskState::TaskFailed).await;
    assert!(message(&status).contains("no-such-user"), "{}", message(&status));
}

async fn killed_agent() {
    let (master, data, mut agent, mut link) = start().await;
    link.run(task("lives", "echo $$ > pid; while [ ! -e end ]; do sleep 0.01; done; exit 5")).await;
    link.run(task("ends", "while [ ! -e end ]; do sleep 0.01; done; exit 7")).await;
    link.until(TaskState::TaskRunning).await;
    link.until(TaskState::TaskRunning).await;
    let (lives, ends) = (agent.sandbox("lives"), agent.sandbox("ends"));
    agent.kill();
    // One ends while nobody watches.
    std::fs::write(ends.join("end"), "").expect("told to end");
    let agent = Agent::start(&master, data.path());
    let (mut link, hello) = master.welcome().await;
    let mut held: Vec<&str> = hello.tasks.iter().map(|held| held.info.task_id.value.as_str()).collect();
    held.sort_unstable();
    assert_eq!(held, ["ends", "lives"]);
    let status = link.until(TaskState::TaskFailed).await;
    assert_eq!((status.task_id.value.as_str(), message(&status)), ("ends", "Command exited with status 7"));
    assert_eq!(read(lives.join("stderr")), "", "the other was not disturbed");
    std::fs::write(lives.join("end"), "").expect("told to end");
    let status = link.until(TaskState::TaskFailed).await;
    assert_eq!((status.task_id.value.as_str(), message(&status)), ("lives", "Command exited with status 5"));
    drop(agent);
}

async fn a_kill_ends_the_whole_tree() {
    let (_master, _data, agent, mut link) = start().await;
    // A grandchild in a session of its own, which no signal to a process group would reach.
    let command = "setsid sh -c 'while :; do date +%N > alive; sleep 0.01; done' & wait";
    link.run(task("tree", command)).await;
    link.until(TaskState::TaskRunning).await;
    let alive = agent.sandbox("tree").join("alive");
    eventually("a sign of life", || alive.exists().then_some(())).await;
    link.kill("tree", None).await;
    link.until(TaskState::TaskKilling).await;
    let status = link.until(TaskState::TaskKilled).await;
    assert_eq!(message(&status), "Command terminated with signal Terminated");
    let last = read(&alive);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(read(&alive), last, "nothing of it writes any more");
}

async fn stubborn() {
    let (_master, _data, agent, mut link) = start().await;
    link.run(task("stubborn", "trap '' TERM; touch ready; while :; do sleep 0.01; done")).await;
    link.until(TaskState::TaskRunning).await;
    let ready = agent.sandbox("stubborn").join("ready");
    eventually("its trap", || ready.exists().then_some(())).await;
    let begin = Instant::now();
    link.kill("stubborn", Some(Duration::from_millis(300))).await;
    let status = link.until(TaskState::TaskKilled).await;
    assert_eq!(message(&status), "Command terminated with signal Killed");
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

async fn files_are_fetched() {
    let (_master, data, agent, mut link) = start().await;
    let source = data.path().join("tool.sh");
    std::fs::write(&source, "#!/bin/sh\necho fetched\n").expect("written");
    let uri = |value: String| v1::command_info::Uri { value, executable: Some(true), ..Default::default() };
    let mut fetched = task("fetched", "./tool.sh");
    fetched.command.as_mut().expect("a command").uris = vec![uri(source.display().to_string())];
    link.run(fetched).await;
    link.until(TaskState::TaskFinished).await;
    assert_eq!(read(agent.sandbox("fetched").join("stdout")), "fetched\n");
    let mut missing = task("missing", "true");
    missing.command.as_mut().expect("a command").uris = vec![uri("file:///no/such/file".into())];
    link.run(missing).await;
    let status = link.status().await;
    assert_eq!(status.state(), TaskState::TaskFailed);
    assert_eq!(status.reason(), v1::task_status::Reason::ContainerLaunchFailed);
    assert!(
        message(&status).starts_with("Failed to launch container: Failed to fetch all URIs for container '")
    );
    assert!(message(&status).contains("/no/such/file"), "{}", message(&status));
}

/// A task for the executor `ex`, which is fetched and needs Python.
fn hosted(id: &str) -> v1::TaskInfo {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/executor.py");
    let uri = v1::command_info::Uri { value: script.into(), executable: Some(true), ..Default::default() };
    let command =
        v1::CommandInfo { value: Some("exec ./executor.py".into()), uris: vec![uri], ..Default::default() };
    let plain = task(id, "");
    let executor = v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: "ex".into() },
        command: Some(command),
        resources: vec![v1::Resource {
            scalar: Some(v1::value::Scalar { value: 64.0 }),
            ..plain.resources[1].clone()
        }],
        ..Default::default()
    };
    v1::TaskInfo { command: None, executor: Some(executor), ..plain }
}

/// The data of the next message of an executor.
async fn message_of(link: &mut Link) -> Vec<u8> {
    loop {
        if let to_master::Frame::Message(message) = link.next().await {
            assert_eq!(message.executor_id.value, "ex");
            return message.data.to_vec();
        }
    }
}

async fn custom_executor() {
    let (master, data) = (Master::start().await, TempDir::new().expect("a directory"));
    let port = ports::free();
    let mut agent = Agent::start_at(&master, data.path(), port);
    let (mut link, _) = master.welcome().await;
    link.run(hosted("a")).await;
    let status = link.until(TaskState::TaskRunning).await;
    assert_eq!(status.source(), v1::task_status::Source::Executor);
    let names = String::from_utf8(status.data.clone().unwrap_or_default().to_vec()).expect("text");
    assert!(names.contains("MESOS_AGENT_ENDPOINT MESOS_CHECKPOINT MESOS_DIRECTORY"), "{names}");
    assert!(status.container_status.expect("its place").executor_pid.is_some());
    let hello = link::FrameworkMessage {
        framework_id: support::framework_id(),
        executor_id: v1::ExecutorId { value: "ex".into() },
        data: "hello".into(),
    };
    link.send(to_agent::Frame::Message(hello)).await;
    assert_eq!(message_of(&mut link).await, b"hello");
    link.run(hosted("b")).await;
    link.until(TaskState::TaskRunning).await;
    agent.kill();
    // It ends while nobody listens.
    std::fs::write(agent.sandbox("ex").join("finish-b"), "").expect("told to finish");
    let log = agent.sandbox("ex").join("stdout");
    eventually("an update in vain", || read(&log).contains("the update waits").then_some(())).await;
    let _agent = Agent::start_at(&master, data.path(), port);
    let (mut link, hello) = master.welcome().await;
    assert_eq!(hello.executors.len(), 1);
    let held: Vec<_> = hello.tasks.iter().map(|held| held.executor_id.clone()).collect();
    let ex = || Some(v1::ExecutorId { value: "ex".into() });
    assert_eq!(held, [ex(), ex()]);
    assert_eq!(link.until(TaskState::TaskFinished).await.task_id.value, "b");
    link.kill("a", None).await;
    assert_eq!(link.until(TaskState::TaskKilled).await.task_id.value, "a");
    link.send(to_agent::Frame::ShutdownExecutor(link::ShutdownExecutor {
        framework_id: support::framework_id(),
        executor_id: v1::ExecutorId { value: "ex".into() },
    }))
    .await;
    let exit = loop {
        if let to_master::Frame::ExecutorExit(exit) = link.next().await {
            break exit;
        }
    };
    assert_eq!((exit.executor_id.value.as_str(), exit.status), ("ex", Some(0)), "{}", read(&log));
}

async fn checks_run_beside_the_task() {
    let (_master, _data, agent, mut link) = start().await;
    let mut checked = task("checked", "sleep 1000");
    checked.health_check = Some(v1::HealthCheck {
        r#type: Some(v1::health_check::Type::Command.into()),
        command: Some(v1::CommandInfo { value: Some("test ! -e bad".into()), ..Default::default() }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.1),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(2),
        ..Default::default()
    });
    link.run(checked).await;
    let healthy = async |link: &mut Link, wanted: bool| loop {
        let status = link.until(TaskState::TaskRunning).await;
        if status.healthy == Some(wanted) {
            return;
        }
    };
    healthy(&mut link, true).await;
    std::fs::write(agent.sandbox("checked").join("bad"), "").expect("written");
    healthy(&mut link, false).await;
    let status = link.until(TaskState::TaskKilled).await;
    assert_eq!(status.healthy, Some(false));
}

async fn a_group_stands_and_falls_together() {
    let (master, data, mut agent, mut link) = start().await;
    let waits = "echo $MESOS_EXECUTOR_ID $MESOS_TASK_ID; while [ ! -e end ]; do sleep 0.01; done; exit 3";
    link.run_group(vec![task("a", waits), task("b", waits)]).await;
    link.until(TaskState::TaskRunning).await;
    let status = link.until(TaskState::TaskRunning).await;
    let container = status.container_status.and_then(|status| status.container_id).expect("its container");
    assert!(container.parent.is_some(), "in that of its executor: {container:?}");
    agent.kill();
    let agent = Agent::start(&master, data.path());
    let (mut link, hello) = master.welcome().await;
    assert_eq!((hello.tasks.len(), hello.executors.len()), (2, 1));
    let pod = agent.sandbox("pod").join("tasks");
    for id in ["a", "b"] {
        let said = || (read(pod.join(id).join("stdout")) == format!("pod {id}\n")).then_some(());
        eventually("its output", said).await;
    }
    std::fs::write(pod.join("a/end"), "").expect("told to end");
    let mut ends = Vec::new();
    let exit = loop {
        match link.next().await {
            to_master::Frame::Status(report) => {
                link.acknowledge(&report.status).await;
                // What was told before the agent died may be told again: its acknowledgement died with it, or came too late.
                let state = report.status.state();
                if !matches!(state, TaskState::TaskStarting | TaskState::TaskRunning) {
                    ends.push((report.status.task_id.value.clone(), state));
                }
            }
            to_master::Frame::ExecutorExit(exit) => break exit,
            _ => {}
        }
    };
    // The updates of a task come in order; which of two tasks' comes first is nobody's promise.
    ends.sort_by(|(one, _), (other, _)| one.cmp(other));
    ends.dedup();
    let named: Vec<(&str, TaskState)> = ends.iter().map(|(id, state)| (id.as_str(), *state)).collect();
    assert_eq!(
        named,
        [("a", TaskState::TaskFailed), ("b", TaskState::TaskKilling), ("b", TaskState::TaskKilled)]
    );
    assert_eq!((exit.executor_id.value.as_str(), exit.status), ("pod", Some(0)));
    drop(agent);
}

async fn a_volume_outlives() {
    use v1::offer::operation::{Create, Destroy, Reserve, Type};
    let (master, data, port) = (Master::start().await, TempDir::new().expect("a directory"), ports::free());
    let mut agent = Agent::start(&master, data.path());
    let (mut link, _) = master.welcome().await;
    let volume = || disk(10.0, Some(("data", "deep/data")));
    let operation = |kind: Type| v1::offer::Operation { r#type: Some(kind as i32), ..Default::default() };
    let with = |id: &str, command: &str| {
        let mut task = task(id, command);
        task.resources.push(volume());
        task
    };
    let reserve = Reserve { resources: vec![disk(20.0, None)], ..Default::default() };
    let reserve = v1::offer::Operation { reserve: Some(reserve), ..operation(Type::Reserve) };
    assert_eq!(link.operate(1, reserve).await.state(), v1::OperationState::OperationFinished);
    let create = Create { volumes: vec![volume()] };
    let create = v1::offer::Operation { create: Some(create), ..operation(Type::Create) };
    assert_eq!(link.operate(2, create).await.state(), v1::OperationState::OperationFinished);
    link.run(with("writer", "echo kept > deep/data/file; sleep 1000")).await;
    link.until(TaskState::TaskRunning).await;
    let place = data.path().join("volumes/roles/eng/data/file");
    eventually("the file", || place.exists().then_some(())).await;
    let destroy = || {
        let destroy = Some(Destroy { volumes: vec![volume()] });
        v1::offer::Operation { destroy, ..operation(Type::Destroy) }
    };
    let status = link.operate(3, destroy()).await;
    assert_eq!(status.state(), v1::OperationState::OperationFailed);
    assert_eq!(status.message(), "Volume 'data' of role 'eng' is used by task 'writer'");
    link.kill("writer", None).await;
    link.until(TaskState::TaskKilled).await;
    agent.kill();
    let agent = Agent::start_at(&master, data.path(), port);
    let (mut link, hello) = master.welcome().await;
    let held = hello.checkpointed_resources.iter().filter(|resource| resource.disk.is_some()).count();
    assert_eq!((held, hello.operations.len()), (1, 0));
    link.run(with("reader", "cat deep/data/file")).await;
    loop {
        let status = link.status().await;
        link.acknowledge(&status).await;
        // The end of the writer may be told again: its acknowledgement died with the agent.
        if status.task_id.value == "reader" && status.state() != TaskState::TaskStarting {
            assert!(
                [TaskState::TaskRunning, TaskState::TaskFinished].contains(&status.state()),
                "{status:?}"
            );
            if status.state() == TaskState::TaskFinished {
                break;
            }
        }
    }
    assert_eq!(read(agent.sandbox("reader").join("stdout")), "kept\n");
    let (_, state) = support::get(([127, 0, 0, 1], port).into(), "/state").await;
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["reserved_resources"]["eng"]["disk"], 20.0);
    assert_eq!(state["unreserved_resources"]["disk"], 980.0);
    let (status, answer) = support::call(([127, 0, 0, 1], port).into(), r#"{"type":"GET_OPERATIONS"}"#).await;
    let waiting = answer["get_operations"]["operations"].as_array().map_or(0, Vec::len);
    assert_eq!((status, waiting), (200, 0), "all are acknowledged");
    assert_eq!(link.operate(4, destroy()).await.state(), v1::OperationState::OperationFinished);
    assert!(!place.exists(), "its data are gone");
    link.run(with("late", "true")).await;
    let status = link.until(TaskState::TaskDropped).await;
    assert_eq!(status.reason(), v1::task_status::Reason::ResourcesUnknown);
}

async fn second_process() {
    let (master, data, _agent, _link) = start().await;
    let mut second = Agent::start(&master, data.path());
    let code = eventually("its end", || second.child.try_wait().expect("a child")).await;
    assert_eq!(code.code(), Some(2));
}

/// Not a benchmark, but a guard against doing something slow for each task: the floor of this machine is measured in
/// the same minute, and an agent that syncs or waits once per task does not come near a tenth of it.
async fn a_thousand_tasks() {
    const PARTS: usize = 5;
    const TASKS: usize = 200;
    let (_master, _data, _agent, mut link) = start().await;
    // What an agent does for each task it does in every part; a moment in which the machine is busy costs one of them.
    let (mut rate, mut floor) = (0.0_f64, 0.0_f64);
    for part in 0..PARTS {
        floor = floor.max(spawns_per_second(100));
        let begin = Instant::now();
        for n in 0..TASKS {
            link.run(task(&format!("t{part}-{n}"), "true")).await;
        }
        let mut finished = 0;
        while finished < TASKS {
            let status = link.status().await;
            link.acknowledge(&status).await;
            finished += usize::from(status.state() == TaskState::TaskFinished);
        }
        rate = rate.max(TASKS as f64 / begin.elapsed().as_secs_f64());
    }
    println!("{rate:.0} tasks/s launched, run and acknowledged; bare spawns: {floor:.0}/s");
    assert!(rate > floor / 10.0, "{rate:.0} tasks/s against {floor:.0} spawns/s");
}

/// Spawning and reaping `true`, one after the other.
fn spawns_per_second(count: u32) -> f64 {
    let begin = Instant::now();
    for _ in 0..count {
        assert!(Command::new("/bin/sh").args(["-c", "true"]).status().expect("spawned").success());
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}
