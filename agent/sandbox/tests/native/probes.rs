//! Commands run inside containers.

use std::fs;
use std::time::{Duration, Instant};

use sandbox::check::{Checker, CommandProbe, Passed, Probe, ProbeError};
use sandbox::{Command, ContainerSpec, ExitStatus};

use crate::rig::{PATIENCE, Rig, eventually, is_root, processes_with, sleep_time};

fn probe(spec: &ContainerSpec, command: &str) -> CommandProbe {
    CommandProbe {
        container: spec.id.clone(),
        command: Command::Shell(command.into()),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("PROBE".into(), "yes".into())],
    }
}

async fn run(
    rig: &Rig,
    spec: &ContainerSpec,
    command: &str,
    timeout: Duration,
) -> Result<ExitStatus, ProbeError> {
    rig.launcher.runner().run(probe(spec, command), timeout).await
}

#[tokio::test]
async fn a_probe_is_inside_the_container() {
    for mut rig in [Rig::new().await, Rig::without_cgroups().await] {
        let mut spec = rig.spec("sleep 1000");
        if is_root() {
            spec.user = Some("nobody".into());
        }
        let pid = rig.run(&spec).await;
        let command = "{ id -u; env; readlink /proc/self/ns/pid /proc/self/ns/mnt; cat /proc/self/cgroup; } >seen; exit 4";
        assert_eq!(run(&rig, &spec, command, PATIENCE).await, Ok(ExitStatus::Code(4)));
        let seen = fs::read_to_string(spec.sandbox.join("seen")).unwrap();
        assert!(seen.contains("PROBE=yes\n"), "{seen}");
        if is_root() {
            assert!(seen.starts_with("65534\n"), "{seen}");
        }
        for kind in ["pid", "mnt"] {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert!(seen.contains(theirs.to_str().unwrap()), "{seen}");
        }
        if rig.launcher.features().memory_limits.works() {
            assert!(seen.contains(spec.id.as_str()), "{seen}");
        }
        rig.launcher.destroy(&spec.id);
        rig.exit(&spec.id).await;
        assert!(rig.groups(&spec.id).is_empty());
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_probe_that_takes_too_long() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("sleep 1000");
    rig.run(&spec).await;
    let time = sleep_time();
    let daemon = if rig.groups(&spec.id).is_empty() {
        eprintln!(
            "skipped in part: without control groups a daemon of a probe stays until its container ends"
        );
        String::new()
    } else {
        format!("(setsid sleep {time} &) &")
    };
    let timeout = Duration::from_millis(300);
    let start = Instant::now();
    let result =
        run(&rig, &spec, &format!("{daemon} trap '' TERM; sleep {time}; sleep {time}"), timeout).await;
    assert_eq!(result, Err(ProbeError::Timeout(timeout)));
    assert!(start.elapsed() >= timeout);
    assert!(processes_with(&time).is_empty());
    let result = run(&rig, &spec, &format!("{daemon} exit 0"), PATIENCE).await;
    assert_eq!(result, Ok(ExitStatus::Code(0)));
    assert!(processes_with(&time).is_empty(), "not of one that ended in time either");
    assert_eq!(run(&rig, &spec, "true", PATIENCE).await, Ok(ExitStatus::Code(0)), "the container still runs");
    rig.launcher.destroy(&spec.id);
    rig.exit(&spec.id).await;
    eventually("the control groups are gone", || rig.groups(&spec.id).is_empty()).await;
}

#[tokio::test]
async fn the_checker_judges_by_the_exit_code() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("sleep 1000");
    rig.run(&spec).await;
    let (checker, runner) = (Checker::new().unwrap(), rig.launcher.runner());
    let ask = async |command: &str| {
        checker
            .run(&Probe::Command(probe(&spec, command)), PATIENCE, &*runner)
            .await
            .map_err(|error| error.to_string())
    };
    assert_eq!(ask("true").await, Ok(Passed::Command));
    assert_eq!(ask("exit 3").await, Err("the command exited with status 3".into()));
    assert_eq!(ask("kill -9 $$").await, Err("the command terminated with signal Killed".into()));
    rig.launcher.destroy(&spec.id);
    rig.exit(&spec.id).await;
    let gone = format!("the command could not be run: container {} does not run", spec.id);
    assert_eq!(ask("true").await, Err(gone));
}

#[tokio::test]
async fn many_probes_at_once_take_turns() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("sleep 1000");
    rig.run(&spec).await;
    let runner = rig.launcher.runner();
    let all = (0..150).map(|code| {
        let answer = runner.run(probe(&spec, &format!("exit {code}")), PATIENCE);
        async move { (code, answer.await) }
    });
    for (code, answer) in futures_util::future::join_all(all).await {
        assert_eq!(answer, Ok(ExitStatus::Code(code)));
    }
    rig.launcher.destroy(&spec.id);
    rig.exit(&spec.id).await;
}
