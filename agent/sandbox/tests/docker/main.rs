//! Docker's containers, made by a real daemon of the test's own: in a network namespace of its own, its data in a
//! directory that is removed.

mod daemon;
mod rig;

use std::net::IpAddr;
use std::time::Duration;

use sandbox::check::{CommandProbe, ProbeError};
use sandbox::docker::{DockerSpec, Mount, MountSource, Network, PortMapping, pull};
use sandbox::{Command, ContainerEvent, ContainerSpec, ExitStatus, Limits, Step};

use daemon::{Daemon, IMAGE};
use rig::Rig;

/// One test: the daemon takes longer to start than everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_docker_are_containers_like_any_other() {
    let Some(daemon) = Daemon::start() else { return };
    let mut rig = Rig::new().await;
    output_environment_and_sandbox(&mut rig).await;
    what_cannot_be_made_says_why(&mut rig).await;
    ends_are_told_once_nothing_is_left(&mut rig).await;
    commands_run_inside(&mut rig).await;
    limits_hold(&mut rig).await;
    an_address_of_its_own(&mut rig, &daemon).await;
    they_outlive_the_agent(rig).await;
    assert_eq!(daemon.containers(), Vec::<String>::new(), "nothing is left");
}

async fn output_environment_and_sandbox(rig: &mut Rig) {
    let mut spec = rig.shell(
        "echo \"$A\"; cat /etc-here/hostname > /dev/null && echo mounted; echo kept > $DIR/file; exit 3",
    );
    spec.environment = vec![("A".into(), "b c\nd".into()), ("DIR".into(), sandbox::docker::SANDBOX.into())];
    let mount =
        Mount { source: MountSource::Path("/etc".into()), target: "/etc-here".into(), read_only: true };
    spec.docker.as_mut().unwrap().mounts.push(mount);
    let exit = rig.finish(&spec).await;
    assert_eq!((exit.status, exit.killed), (ExitStatus::Code(3), false));
    assert_eq!(rig.text(&spec, "stdout"), "b c\nd\nmounted\n");
    assert_eq!(rig.text(&spec, "file"), "kept\n");
}

async fn what_cannot_be_made_says_why(rig: &mut Rig) {
    let error = pull("stoa.invalid/nothing:1", false).await.unwrap_err().to_string();
    assert!(error.contains("stoa.invalid"), "{error}");
    pull(IMAGE, false).await.expect("it is here");

    let mut unknown = rig.shell("true");
    unknown.docker.as_mut().unwrap().image = "stoa-nothing:1".into();
    let error = rig.fail(&unknown).await;
    assert_eq!(error.message, "Docker cannot make the container: No such image: stoa-nothing:1");

    let mut flag = rig.shell("true");
    flag.docker.as_mut().unwrap().parameters.push(("no-such-flag".into(), "x".into()));
    let error = rig.fail(&flag).await;
    assert_eq!(error.message, "Docker cannot make the container: unknown flag: --no-such-flag");

    let mut missing = rig.shell("true");
    missing.docker.as_mut().unwrap().entrypoint = Some("/bin/nothing".into());
    let error = rig.fail(&missing).await;
    assert_eq!(error.step, Step::Execute);
    assert!(
        error.message.starts_with("Docker cannot start the container: ")
            && error.message.contains("/bin/nothing")
    );
}

async fn ends_are_told_once_nothing_is_left(rig: &mut Rig) {
    let polite = rig.shell("trap 'exit 7' TERM; while :; do sleep 0.05; done");
    rig.run(&polite).await;
    rig.launcher.kill(&polite.id, Duration::from_secs(30));
    let exit = rig.exit(&polite.id).await;
    assert_eq!((exit.status, exit.killed), (ExitStatus::Code(7), true));

    // A first process that handles no signal gets none but SIGKILL.
    let deaf = rig.shell("sleep 1000; true");
    let pid = rig.run(&deaf).await;
    rig.launcher.kill(&deaf.id, Duration::from_millis(100));
    let exit = rig.exit(&deaf.id).await;
    assert_eq!((exit.status, exit.killed), (ExitStatus::Code(137), true));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the container's process is gone");

    // Asked to end while it is being made.
    let early = rig.shell("sleep 1000");
    rig.launcher.launch(early.clone());
    rig.launcher.destroy(&early.id);
    let event = rig.last(&early.id).await;
    assert!(matches!(event, ContainerEvent::Exited { .. } | ContainerEvent::Failed { .. }), "{event:?}");
}

async fn commands_run_inside(rig: &mut Rig) {
    let spec = rig.shell("echo here > /inside; sleep 1000");
    rig.run(&spec).await;
    let runner = rig.launcher.runner();
    let ask = |command: &str| CommandProbe {
        container: spec.id.clone(),
        command: Command::Shell(command.into()),
        environment: vec![("B".into(), "2".into())],
    };
    let long = Duration::from_secs(30);
    assert_eq!(
        runner.run(ask("test $B = 2 && until cat /inside; do sleep 0.05; done"), long).await,
        Ok(ExitStatus::Code(0))
    );
    assert_eq!(runner.run(ask("exit 9"), long).await, Ok(ExitStatus::Code(9)));
    let short = Duration::from_millis(300);
    assert_eq!(runner.run(ask("sleep 1000"), short).await, Err(ProbeError::Timeout(short)));
    assert!(rig.launcher.usage(&spec.id).is_some_and(|usage| usage.processes > 0 && usage.rss_bytes > 0));
    rig.end(&spec).await;
}

async fn limits_hold(rig: &mut Rig) {
    let mut spec = rig.shell("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
    spec.limits = Limits { memory_bytes: Some(32 << 20), ..Limits::default() };
    let exit = rig.finish(&spec).await;
    assert_eq!(
        exit.limitation.map(|limit| limit.to_string()).as_deref(),
        Some("memory limit of 32 MiB exceeded")
    );
}

async fn an_address_of_its_own(rig: &mut Rig, daemon: &Daemon) {
    let mut spec = rig.shell("echo served > /served; exec busybox httpd -f -p 80 -h /");
    let docker = spec.docker.as_mut().unwrap();
    docker.network = Network::Bridge;
    docker.ports.push(PortMapping { host: 31_000, container: 80, udp: false });
    docker.hostname = Some("web-1".into());
    rig.run(&spec).await;
    let address = rig.launcher.address(&spec.id).expect("an address");
    assert!(matches!(address, IpAddr::V4(address) if address.is_private()), "{address}");
    for host in [address.to_string() + ":80", "127.0.0.1:31000".to_owned()] {
        assert_eq!(daemon.fetch(&host, "/served").await, "served\n", "{host}");
    }
    rig.end(&spec).await;
}

/// The next agent finds them, with their ends, and removes those nobody asks about.
async fn they_outlive_the_agent(mut rig: Rig) {
    let lives = rig.shell("sleep 1000");
    let ends = rig.shell("while ! test -e /mnt/mesos/sandbox/end; do sleep 0.05; done; exit 5");
    let forgotten = rig.shell("sleep 1000");
    for spec in [&lives, &ends, &forgotten] {
        rig.run(spec).await;
    }
    let mut rig = rig.again().await;
    std::fs::write(ends.sandbox.join("end"), "").unwrap();
    let events = rig.recover(&[lives.id.clone(), ends.id.clone()]).await;
    assert!(events.iter().any(
        |event| matches!(event, ContainerEvent::Running { id, recovered: true, .. } if *id == lives.id)
    ));
    // It may have been found running, and end only now.
    let exited = events.iter().find_map(|event| match event {
        ContainerEvent::Exited { id, exit } if *id == ends.id => Some(exit.clone()),
        _ => None,
    });
    let exit = match exited {
        Some(exit) => exit,
        None => rig.exit(&ends.id).await,
    };
    assert_eq!(exit.status, ExitStatus::Code(5));
    rig.end(&lives).await;
}

/// A container from the test's image, with nothing special.
fn plain() -> Box<DockerSpec> {
    Box::new(DockerSpec {
        image: IMAGE.into(),
        entrypoint: None,
        arguments: Vec::new(),
        network: Network::None,
        ports: Vec::new(),
        mounts: Vec::new(),
        volume_driver: None,
        hostname: None,
        privileged: false,
        parameters: Vec::new(),
    })
}

/// A shell command in a container.
fn shell(spec: ContainerSpec, command: &str) -> ContainerSpec {
    let mut docker = plain();
    docker.entrypoint = Some("/bin/sh".into());
    docker.arguments = vec!["-c".into(), command.into()];
    ContainerSpec { docker: Some(docker), ..spec }
}
