//! Agents and launcher processes die; containers do not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sandbox::native::{Native, NativeConfig};
use sandbox::{ContainerEvent, ContainerId, ContainerSpec, ExitStatus, Launcher, Lost, Signal};

use crate::rig::{
    PATIENCE, Rig, about, eventually, kill, launcher_of, parent, processes_with, sleep_time, status_field,
    unique,
};

#[tokio::test]
async fn a_killed_launcher_process_disturbs_nobody() {
    let mut rig = Rig::new().await;
    let (long, waiting) =
        (rig.spec("exec sleep 1000"), rig.spec("while ! [ -e go ]; do sleep 0.02; done; exit 6"));
    let pid = rig.run(&long).await;
    rig.run(&waiting).await;
    let first = launcher_of(pid);
    kill(first, libc::SIGKILL);
    let after = rig.spec("exit 8");
    assert_eq!(rig.finish(&after).await.status, ExitStatus::Code(8), "another one launches");
    assert_eq!(status_field(pid, "Name").unwrap(), "sleep", "the same process");
    fs::write(waiting.sandbox.join("go"), "").unwrap();
    assert_eq!(rig.exit(&waiting.id).await.status, ExitStatus::Code(6), "ends are heard of");
    rig.launcher.kill(&long.id, Duration::from_secs(60));
    assert_eq!(rig.exit(&long.id).await.status, ExitStatus::Signal(Signal::TERM), "orders arrive");
}

#[tokio::test]
async fn launches_in_flight_survive_the_launcher_process() {
    let mut rig = Rig::new().await;
    let first = rig.spec("sleep 1000");
    let pid = rig.run(&first).await;
    let specs: Vec<ContainerSpec> =
        (0..120).map(|code| rig.spec(&format!("echo ran; exit {code}"))).collect();
    for (at, spec) in specs.iter().enumerate() {
        rig.launcher.launch(spec.clone());
        if at == 60 {
            kill(launcher_of(pid), libc::SIGKILL);
        }
    }
    for (code, spec) in (0..).zip(&specs) {
        let exit = loop {
            match rig.event(&spec.id).await {
                ContainerEvent::Running { .. } => {}
                ContainerEvent::Exited { exit, .. } => break exit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(exit.status, ExitStatus::Code(code));
        assert_eq!(fs::read_to_string(spec.sandbox.join("stdout")).unwrap(), "ran\n", "exactly once");
    }
    rig.launcher.destroy(&first.id);
    rig.exit(&first.id).await;
}

#[tokio::test]
async fn another_agent_finds_what_runs_and_what_ended_meanwhile() {
    let mut rig = Rig::new().await;
    let long = rig.spec("trap 'exit 12' TERM; while :; do sleep 0.05; done");
    let gate = |status: &str| format!("while ! [ -e go ]; do sleep 0.02; done; {status}");
    let (code, signal) = (rig.spec(&gate("exit 42")), rig.spec(&gate("kill -KILL $$")));
    let orphan_time = sleep_time();
    let orphan = rig.spec(&format!("sleep {orphan_time}"));
    let before = rig.spec("exit 13");
    let failed = ContainerSpec { user: Some("no-such-user".into()), ..rig.spec("true") };
    let pid = rig.run(&long).await;
    rig.run(&code).await;
    rig.run(&signal).await;
    rig.run(&orphan).await;
    rig.finish(&before).await;
    rig.fail(&failed).await;
    let old = launcher_of(pid);
    let (home, cgroup) = rig.leave();
    eventually("the launcher process ends with its agent", || parent(old).is_none()).await;
    for spec in [&code, &signal] {
        fs::write(spec.sandbox.join("go"), "").unwrap();
    }
    let ended = |spec: &ContainerSpec| {
        fs::read_to_string(home.path().join("runtime").join(spec.id.as_str())).unwrap().contains("Exited")
    };
    eventually("they end while nobody looks", || ended(&code) && ended(&signal)).await;

    let mut rig = Rig::at(home.path(), &cgroup).await;
    let never = ContainerId::new(unique("never")).unwrap();
    let known = [&long.id, &code.id, &signal.id, &before.id, &failed.id, &never].map(Clone::clone);
    let events = rig.recover(&known).await;
    assert_eq!(events.len(), known.len(), "{events:?}");
    let status = |spec: &ContainerSpec| {
        events.iter().find_map(|event| match event {
            ContainerEvent::Exited { id, exit } if *id == spec.id => Some(exit.status),
            _ => None,
        })
    };
    assert_eq!(status(&code), Some(ExitStatus::Code(42)));
    assert_eq!(status(&signal), Some(ExitStatus::Signal(Signal::KILL)));
    assert_eq!(status(&before), Some(ExitStatus::Code(13)), "repeated until forgotten");
    assert!(
        events.contains(&ContainerEvent::Running { id: long.id.clone(), pid, recovered: true }),
        "{events:?}"
    );
    assert!(events.contains(&ContainerEvent::Lost { id: never, why: Lost::NeverStarted }), "{events:?}");
    assert!(
        events.iter().any(|event| matches!(event, ContainerEvent::Failed { id, .. } if *id == failed.id))
    );
    eventually("the unknown one is destroyed", || processes_with(&orphan_time).is_empty()).await;
    eventually("and forgotten", || !rig.record(&orphan.id).exists()).await;
    rig.launcher.kill(&long.id, PATIENCE);
    assert_eq!(rig.exit(&long.id).await.status, ExitStatus::Code(12), "a recovered one takes orders");
    assert!(rig.groups(&long.id).is_empty());
}

#[tokio::test]
async fn a_record_without_shim_is_a_loss() {
    let rig = Rig::new().await;
    let (home, cgroup) = rig.leave();
    // What a restart of the machine leaves: a start without an end, or nothing at all.
    let (started, empty) = (ContainerId::new("started").unwrap(), ContainerId::new("empty").unwrap());
    fs::write(home.path().join("runtime/started"), "{\"Started\":{\"pid\":1}}\n").unwrap();
    fs::write(home.path().join("runtime/empty"), "").unwrap();
    let mut rig = Rig::at(home.path(), &cgroup).await;
    let events = rig.recover(&[started.clone(), empty.clone()]).await;
    for id in [started, empty] {
        let lost = ContainerEvent::Lost { id, why: Lost::HolderDied };
        assert!(events.contains(&lost), "{events:?}");
    }
}

/// Not a test but the agent of the next one: run by it in a process of its own, to be killed.
#[test]
#[ignore = "run by another test"]
fn agent_to_be_killed() {
    let Some(home) = std::env::var_os("SANDBOX_TEST_HOME").map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = NativeConfig::new(home.join("runtime"));
        config.cgroup = std::env::var_os("SANDBOX_TEST_CGROUP").unwrap().into();
        config.program = env!("CARGO_BIN_EXE_spawn-rate").into();
        let mut native = Native::start(config).await.unwrap();
        native.recover(&[]);
        let launcher: &mut dyn Launcher = &mut native;
        for at in 0.. {
            let id = ContainerId::new(format!("storm-{at}")).unwrap();
            let sandbox = home.join("sandboxes").join(id.as_str());
            launcher.launch(ContainerSpec::shell(id, format!("echo ran; exit {}", at % 250), sandbox));
            launcher.next().await;
            fs::write(home.join("launched"), at.to_string()).unwrap();
        }
    });
}

#[tokio::test]
async fn a_killed_agent_loses_no_status() {
    let (home, cgroup) = Rig::new().await.leave();
    let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "recovery::agent_to_be_killed"])
        .env("SANDBOX_TEST_HOME", home.path())
        .env("SANDBOX_TEST_CGROUP", &cgroup)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let launched = || {
        fs::read_to_string(home.path().join("launched")).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    eventually("it launches one after another", || launched() >= 30).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    let mut rig = Rig::at(home.path(), &cgroup).await;
    // Some more than it counted: it was killed in the middle of its work.
    let known: Vec<ContainerId> =
        (0..launched() + 20).map(|at| ContainerId::new(format!("storm-{at}")).unwrap()).collect();
    let mut ended = 0;
    let events = rig.recover(&known).await;
    // The last word of each; those that run have another one to come.
    let last: BTreeMap<ContainerId, ContainerEvent> =
        events.into_iter().map(|event| (about(&event), event)).collect();
    assert_eq!(last.len(), known.len());
    for (id, mut event) in last {
        if matches!(event, ContainerEvent::Running { .. }) {
            event = rig.event(&id).await;
        }
        match event {
            ContainerEvent::Exited { id, exit } => {
                let at: i32 = id.as_str().strip_prefix("storm-").unwrap().parse().unwrap();
                assert_eq!(exit.status, ExitStatus::Code(at % 250), "{id}");
                ended += 1;
            }
            ContainerEvent::Lost { id, why } => {
                assert_eq!(why, Lost::NeverStarted, "{id}");
                assert!(!home.path().join("sandboxes").join(id.as_str()).exists(), "{id} left no trace");
            }
            other => panic!("{other:?}"),
        }
    }
    // It waited for one event per launch, and a whole life is two.
    assert!(ended >= 10, "{ended}");
}

#[tokio::test]
async fn a_launcher_process_that_does_not_end_is_killed_by_the_next() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("exec sleep 1000");
    let pid = rig.run(&spec).await;
    let old = launcher_of(pid);
    kill(old, libc::SIGSTOP);
    let (home, cgroup) = rig.leave();
    let mut rig = Rig::at(home.path(), &cgroup).await;
    assert_ne!(status_field(old, "State").as_deref().map(|state| &state[..1]), Some("T"), "it is gone");
    let events = rig.recover(std::slice::from_ref(&spec.id)).await;
    assert_eq!(events, [ContainerEvent::Running { id: spec.id.clone(), pid, recovered: true }]);
    rig.launcher.destroy(&spec.id);
    rig.exit(&spec.id).await;
}

#[tokio::test]
async fn a_program_that_is_no_launcher_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let mut config = NativeConfig::new(home.path().join("runtime"));
    config.program = "/bin/true".into();
    let error = Native::start(config.clone()).await.err().unwrap().to_string();
    assert_eq!(error, "the launcher process ended at once; its reason is on standard error");
    config.program = "/no/such/program".into();
    let error = Native::start(config).await.err().unwrap().to_string();
    assert!(
        error.starts_with("cannot start the launcher process \"/no/such/program\": No such file"),
        "{error}"
    );
}
