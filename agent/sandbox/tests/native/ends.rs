//! How containers end, and that nothing is left of them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sandbox::{ContainerSpec, ExitStatus, Limitation, Limits, Lost, Namespaces, Signal, Step};

use crate::rig::{Rig, eventually, kill, parent, processes_with, sleep_time, stdout, unique};

const LONG: Duration = Duration::from_secs(3600);

/// The same test with namespaces and control groups, and with neither.
async fn both_ways() -> [(Rig, Namespaces); 2] {
    [
        (Rig::new().await, Namespaces::default()),
        (Rig::without_cgroups().await, Namespaces { pid: false, mount: false }),
    ]
}

#[tokio::test]
async fn a_kill_reaches_every_process_gently_first() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let command = format!(
            "trap 'echo parent' TERM
             sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep {time} & wait; done' &
             wait; wait; echo bye; exit 7"
        );
        let spec = ContainerSpec { namespaces, ..rig.spec(&command) };
        rig.run(&spec).await;
        eventually("the child is ready", || {
            stdout(&spec).contains("ready") && !processes_with(&time).is_empty()
        })
        .await;
        rig.launcher.kill(&spec.id, LONG);
        let exit = rig.exit(&spec.id).await;
        assert_eq!((exit.status, exit.killed), (ExitStatus::Code(7), true), "{namespaces:?}");
        let text = stdout(&spec);
        assert!(text.contains("parent\n") && text.contains("child\n") && text.ends_with("bye\n"), "{text}");
        assert!(processes_with(&time).is_empty(), "{namespaces:?}");
    }
}

#[tokio::test]
async fn those_who_ignore_it_are_killed_after_the_grace() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let spec = ContainerSpec {
            namespaces,
            ..rig.spec(&format!("trap '' TERM; echo ready; sleep {time}; sleep {time}"))
        };
        rig.run(&spec).await;
        eventually("it is ready", || stdout(&spec).contains("ready")).await;
        let grace = Duration::from_millis(200);
        let start = Instant::now();
        rig.launcher.kill(&spec.id, grace);
        let exit = rig.exit(&spec.id).await;
        assert!(start.elapsed() >= grace, "not before the grace is over");
        assert_eq!((exit.status, exit.killed), (ExitStatus::Signal(Signal::KILL), true));
        assert!(processes_with(&time).is_empty());
    }
}

#[tokio::test]
async fn a_second_kill_can_shorten_the_grace_but_not_stretch_it() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("trap '' TERM; echo ready; while :; do sleep 1; done");
    rig.run(&spec).await;
    eventually("it is ready", || stdout(&spec).contains("ready")).await;
    rig.launcher.kill(&spec.id, LONG);
    rig.launcher.kill(&spec.id, Duration::from_millis(50));
    rig.launcher.kill(&spec.id, LONG);
    assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Signal(Signal::KILL));
}

#[tokio::test]
async fn what_the_command_left_behind_has_the_rest_of_the_grace() {
    for (mut rig, namespaces) in both_ways().await {
        // The shell dies of SIGTERM at once; the server behind it still has something to finish.
        let server = "trap 'sleep 0.3; echo finished; exit' TERM; echo ready; while :; do sleep 0.05; done";
        let spec = ContainerSpec { namespaces, ..rig.spec(&format!("sh -c \"{server}\"; true")) };
        rig.run(&spec).await;
        eventually("it is ready", || stdout(&spec).contains("ready")).await;
        rig.launcher.kill(&spec.id, LONG);
        assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Signal(Signal::TERM));
        assert_eq!(stdout(&spec), "ready\nfinished\n");
    }
}

#[tokio::test]
async fn daemons_do_not_outlive_the_command() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let command = format!(
            "(setsid setsid sh -c 'trap \"\" TERM HUP; sleep {time}; sleep {time}' >/dev/null 2>&1 &) & wait; exit 5"
        );
        let spec = ContainerSpec { namespaces, ..rig.spec(&command) };
        let exit = rig.finish(&spec).await;
        assert_eq!((exit.status, exit.killed), (ExitStatus::Code(5), false));
        assert!(processes_with(&time).is_empty(), "{namespaces:?}");
        assert!(rig.groups(&spec.id).is_empty());
    }
}

#[tokio::test]
async fn a_fork_storm_is_ended() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let storm = format!(
            "f() {{ i=0; while [ $i -lt 40 ]; do sleep {time} & i=$((i+1)); done; echo ready; while :; do (sleep {time} & ); sleep 0.01; done; }}; f"
        );
        let spec = ContainerSpec { namespaces, ..rig.spec(&storm) };
        rig.run(&spec).await;
        eventually("it rages", || stdout(&spec).contains("ready")).await;
        rig.launcher.destroy(&spec.id);
        assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Signal(Signal::KILL));
        assert!(processes_with(&time).is_empty(), "{namespaces:?}");
    }
}

#[tokio::test]
async fn a_signal_is_for_the_command_alone() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done");
    rig.run(&spec).await;
    eventually("it is ready", || stdout(&spec).contains("ready")).await;
    rig.launcher.signal(&spec.id, Signal::USR1);
    let exit = rig.exit(&spec.id).await;
    assert_eq!((exit.status, exit.killed), (ExitStatus::Code(9), false));
    assert_eq!(stdout(&spec), "ready\ngot\n");
}

#[tokio::test]
async fn too_much_memory_is_named_as_the_reason() {
    let mut rig = Rig::new().await;
    let support = rig.launcher.features().memory_limits.clone();
    if !support.works() {
        eprintln!("skipped: memory limits {support}");
        return;
    }
    let limits = Limits { memory_bytes: Some(32 << 20), ..Limits::default() };
    // `tail` keeps the only line there is in memory.
    let child = ContainerSpec { limits, ..rig.spec("head -c 100000000 /dev/zero | tail; exit $?") };
    let exit = rig.finish(&child).await;
    assert_eq!(exit.limitation, Some(Limitation::Memory { limit_bytes: 32 << 20 }), "{exit:?}");
    // The kernel mostly takes the child, which the shell tells of; sometimes the shell goes with it.
    let ends = [ExitStatus::Code(137), ExitStatus::Signal(Signal::KILL)];
    assert!(ends.contains(&exit.status), "{exit:?}");
    let itself = ContainerSpec { limits, ..rig.spec("exec tail /dev/zero") };
    let exit = rig.finish(&itself).await;
    assert_eq!(exit.status, ExitStatus::Signal(Signal::KILL));
    assert_eq!(exit.limitation.unwrap().to_string(), "memory limit of 32 MiB exceeded");
    let modest = ContainerSpec { limits, ..rig.spec("kill -9 $$") };
    assert_eq!(rig.finish(&modest).await.limitation, None, "not every SIGKILL is for memory");
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let spec = ContainerSpec { namespaces, ..rig.spec(&format!("exec sleep {time}")) };
        let pid = rig.run(&spec).await;
        kill(parent(pid).unwrap(), libc::SIGKILL);
        assert_eq!(rig.lost(&spec.id).await, Lost::HolderDied);
        eventually("the command is gone", || processes_with(&time).is_empty()).await;
        assert!(rig.groups(&spec.id).is_empty());
    }
}

#[tokio::test]
async fn a_kill_may_come_before_the_start() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("sleep 1000");
    rig.launcher.launch(spec.clone());
    rig.launcher.kill(&spec.id, LONG);
    assert!(matches!(rig.event(&spec.id).await, sandbox::ContainerEvent::Running { .. }));
    assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Signal(Signal::TERM));
}

#[tokio::test]
async fn many_at_once_keep_their_own_statuses() {
    let mut rig = Rig::new().await;
    let specs: Vec<ContainerSpec> = (0..200).map(|code| rig.spec(&format!("exit {code}"))).collect();
    for spec in &specs {
        rig.launcher.launch(spec.clone());
    }
    for (code, spec) in (0..).zip(&specs) {
        assert!(matches!(rig.event(&spec.id).await, sandbox::ContainerEvent::Running { .. }));
        assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Code(code));
        rig.launcher.forget(&spec.id);
    }
    eventually("the records are removed", || specs.iter().all(|spec| !rig.record(&spec.id).exists())).await;
}

#[tokio::test]
async fn a_shim_that_does_not_answer_is_killed_with_its_container() {
    for (mut rig, namespaces) in both_ways().await {
        let time = sleep_time();
        let spec = ContainerSpec { namespaces, ..rig.spec(&format!("exec sleep {time}")) };
        let pid = rig.run(&spec).await;
        kill(parent(pid).unwrap(), libc::SIGSTOP);
        rig.launcher.destroy(&spec.id);
        assert_eq!(rig.lost(&spec.id).await, Lost::HolderDied);
        eventually("the command is gone", || processes_with(&time).is_empty()).await;
        assert!(rig.groups(&spec.id).is_empty());
    }
}

#[tokio::test]
async fn a_machine_without_room_for_processes_is_a_reason() {
    let mut rig = Rig::new().await;
    let first = rig.spec("exec sleep 1000");
    let launcher = parent(parent(rig.run(&first).await).unwrap()).unwrap();
    let group = PathBuf::from("/sys/fs/cgroup/pids").join(unique("stoa-test-pids"));
    if let Err(error) = fs::create_dir(&group) {
        eprintln!("skipped: no control group for the number of processes: {error}");
        return;
    }
    fs::write(group.join("cgroup.procs"), launcher.to_string()).unwrap();
    for (most, what) in [("1", "cannot make a process for container"), ("2", "cannot make a process:")] {
        fs::write(group.join("pids.max"), most).unwrap();
        let error = rig.fail(&rig.spec("true")).await;
        assert_eq!((error.step, error.errno), (Step::Fork, libc::EAGAIN));
        assert!(error.message.starts_with(what), "{error}");
    }
    fs::write(group.join("pids.max"), "max").unwrap();
    assert!(rig.finish(&rig.spec("true")).await.success(), "there is room again");
    rig.launcher.destroy(&first.id);
    rig.exit(&first.id).await;
    drop(rig);
    eventually("the group is empty", || fs::remove_dir(&group).is_ok()).await;
}
