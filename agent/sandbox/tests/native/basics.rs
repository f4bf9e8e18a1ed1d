//! What a command finds when it starts.

use std::fs;

use sandbox::{Command, ContainerSpec, ExitStatus, Limits, Namespaces, Resource, Rlimit, Signal, Step};

use crate::rig::{Rig, eventually, is_root, stderr, stdout};

fn argv(program: &str, arguments: &[&str]) -> Command {
    Command::Argv {
        program: program.into(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
    }
}

#[tokio::test]
async fn output_goes_to_files_and_the_status_is_true() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("echo out; echo err >&2; exit 3");
    let exit = rig.finish(&spec).await;
    assert_eq!((exit.status, exit.killed, exit.limitation), (ExitStatus::Code(3), false, None));
    assert_eq!((stdout(&spec), stderr(&spec)), ("out\n".to_owned(), "err\n".to_owned()));
    for (command, status) in [
        ("exit 255", ExitStatus::Code(255)),
        ("true", ExitStatus::Code(0)),
        ("kill -9 $$", ExitStatus::Signal(Signal::KILL)),
        ("kill -TERM $$", ExitStatus::Signal(Signal::TERM)),
        ("kill -SEGV $$", ExitStatus::Signal(Signal::new(11).unwrap())),
    ] {
        assert_eq!(rig.finish(&rig.spec(command)).await.status, status, "{command}");
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let mut rig = Rig::new().await;
    let mut spec = rig.spec("");
    spec.command = argv("/usr/bin/env", &[]);
    spec.environment =
        vec![("B".into(), "x=y  z".into()), ("A".into(), String::new()), ("Ä".into(), "line\nline".into())];
    assert_eq!(rig.output(&spec).await, "B=x=y  z\nA=\nÄ=line\nline\n");
    let mut empty = rig.spec("");
    empty.command = argv("/usr/bin/env", &[]);
    empty.environment = vec![];
    assert_eq!(rig.output(&empty).await, "");
}

#[tokio::test]
async fn arguments_arrive_as_given_and_programs_are_found_in_the_path() {
    let mut rig = Rig::new().await;
    let mut spec = rig.spec("");
    spec.command = argv("printf", &["printf", "[%s]", "a b", "", "$HOME"]);
    assert_eq!(rig.output(&spec).await, "[a b][][$HOME]");
    let mut script = rig.spec("");
    fs::create_dir_all(&script.sandbox).unwrap();
    let path = script.sandbox.join("script");
    fs::write(&path, "echo script $1\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script.command = argv("./script", &["script", "argument"]);
    assert_eq!(rig.output(&script).await, "script argument\n", "a text without #! is for the shell");
}

#[tokio::test]
async fn no_descriptor_leaks_and_standard_input_is_empty() {
    let mut rig = Rig::new().await;
    // Inheritable, like what a careless parent of the agent leaves open.
    let leak = fs::File::open("/dev/zero").unwrap();
    // SAFETY: changes a flag of an open descriptor.
    unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&leak), libc::F_SETFD, 0) };
    let mut spec = rig.spec("");
    spec.command = argv("/bin/ls", &["ls", "/proc/self/fd"]);
    assert_eq!(rig.output(&spec).await, "0\n1\n2\n3\n", "3 is the directory being listed");
    assert_eq!(rig.output(&rig.spec("cat; readlink /proc/self/fd/0")).await, "/dev/null\n");
}

#[tokio::test]
async fn it_starts_in_the_sandbox_or_where_it_is_told() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("pwd -P; echo hello >file");
    let real = |spec: &ContainerSpec| format!("{}\n", fs::canonicalize(&spec.sandbox).unwrap().display());
    assert_eq!(rig.output(&spec).await, real(&spec));
    assert_eq!(fs::read_to_string(spec.sandbox.join("file")).unwrap(), "hello\n");
    let mut inner = rig.spec("pwd -P");
    fs::create_dir_all(inner.sandbox.join("sub")).unwrap();
    inner.working_dir = Some("sub".into());
    assert_eq!(rig.output(&inner).await, real(&inner).replace('\n', "/sub\n"));
    let mut missing = rig.spec("true");
    missing.working_dir = Some("nowhere".into());
    let error = rig.fail(&missing).await;
    assert_eq!((error.step, error.errno), (Step::WorkingDir, libc::ENOENT), "{error}");
    assert!(error.message.contains("/nowhere: No such file or directory"), "{error}");
}

#[tokio::test]
async fn it_runs_as_its_user_who_owns_the_sandbox() {
    if !is_root() {
        return;
    }
    let mut rig = Rig::new().await;
    for (user, uid) in [("nobody", "65534"), ("12345", "12345")] {
        let spec = ContainerSpec {
            user: Some(user.into()),
            ..rig.spec("id -u; grep -c . /proc/self/status >/dev/null; touch mine; stat -c %u . stdout stderr mine; grep CapEff /proc/self/status")
        };
        let text = rig.output(&spec).await;
        assert_eq!(text, format!("{}CapEff:\t0000000000000000\n", format!("{uid}\n").repeat(5)), "{user}");
    }
    let spec = ContainerSpec { user: Some("no-such-user".into()), ..rig.spec("true") };
    let error = rig.fail(&spec).await;
    assert_eq!(error.to_string(), "user \"no-such-user\" is unknown on this machine");
    assert_eq!(error.step, Step::User);
}

#[tokio::test]
async fn privileges_cannot_be_gained_unless_allowed() {
    let mut rig = Rig::new().await;
    let command = "grep NoNewPrivs /proc/self/status";
    assert_eq!(rig.output(&rig.spec(command)).await, "NoNewPrivs:\t1\n");
    let free = ContainerSpec { may_gain_privileges: true, ..rig.spec(command) };
    assert_eq!(rig.output(&free).await, "NoNewPrivs:\t0\n");
}

#[tokio::test]
async fn resource_limits_are_set() {
    let mut rig = Rig::new().await;
    let mut spec = rig.spec("ulimit -n; ulimit -Hn; ulimit -c");
    spec.rlimits = vec![
        Rlimit { resource: Resource::OpenFiles, soft: Some(64), hard: Some(128) },
        Rlimit { resource: Resource::Core, soft: Some(0), hard: Some(0) },
    ];
    assert_eq!(rig.output(&spec).await, "64\n128\n0\n");
    let wrong = Rlimit { resource: Resource::OpenFiles, soft: Some(2), hard: Some(1) };
    let error = rig.fail(&ContainerSpec { rlimits: vec![wrong], ..rig.spec("true") }).await;
    assert_eq!((error.step, error.errno), (Step::Rlimits, libc::EINVAL));
}

#[tokio::test]
async fn signals_are_as_a_program_expects_them() {
    let mut rig = Rig::new().await;
    let spec = ContainerSpec { command: argv("cat", &["cat", "/proc/self/status"]), ..rig.spec("") };
    let text = rig.output(&spec).await;
    for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000\n")), "{text}");
    }
}

#[tokio::test]
async fn it_sees_only_its_own_processes_and_mounts() {
    let mut rig = Rig::new().await;
    let features = rig.launcher.features().clone();
    if !features.pid_namespace.works() || !features.mount_namespace.works() {
        eprintln!(
            "skipped: pid namespace {}, mount namespace {}",
            features.pid_namespace, features.mount_namespace
        );
        return;
    }
    let spec = rig.spec("echo $$ /proc/[0-9]*; mount -t tmpfs none /mnt && echo here >/mnt/x && cat /mnt/x");
    assert_eq!(rig.output(&spec).await, "2 /proc/1 /proc/2\nhere\n", "the shim and the shell");
    assert!(!std::path::Path::new("/mnt/x").exists(), "the mount was the container's own");
    let mut shared = rig.spec("readlink /proc/self/ns/pid /proc/self/ns/mnt");
    shared.namespaces = Namespaces { pid: false, mount: false };
    let own = |kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    assert_eq!(rig.output(&shared).await, format!("{}\n{}\n", own("pid"), own("mnt")));
}

#[tokio::test]
async fn what_cannot_be_executed_fails_with_its_name_and_tells_the_sandbox() {
    let mut rig = Rig::new().await;
    let missing = ContainerSpec { command: argv("no-such-program", &[]), ..rig.spec("") };
    let error = rig.fail(&missing).await;
    assert_eq!((error.step, error.errno), (Step::Execute, libc::ENOENT));
    assert_eq!(
        error.to_string(),
        "cannot execute \"no-such-program\": No such file or directory (os error 2)"
    );
    assert_eq!(stderr(&missing), format!("stoa: {error}\n"));
    let forbidden = ContainerSpec { command: argv("/etc/passwd", &[]), ..rig.spec("") };
    assert_eq!(rig.fail(&forbidden).await.errno, libc::EACCES);
    let nul = ContainerSpec { environment: vec![("A".into(), "x\0".into())], ..rig.spec("true") };
    assert_eq!(rig.fail(&nul).await.to_string(), "the environment variable \"A\" contains a NUL character");
    let relative = ContainerSpec { sandbox: "relative".into(), ..rig.spec("true") };
    assert_eq!(rig.fail(&relative).await.step, Step::Sandbox);
    let huge = ContainerSpec { environment: vec![("A".into(), "x".repeat(5 << 20))], ..rig.spec("true") };
    let error = rig.fail(&huge).await;
    assert_eq!(error.step, Step::Request, "{error}");
    assert!(rig.groups(&missing.id).is_empty(), "nothing is left of what never ran");
}

#[tokio::test]
async fn output_files_planted_as_links_are_refused() {
    let mut rig = Rig::new().await;
    let target = rig.home.join("precious");
    fs::write(&target, "precious").unwrap();
    let symbolic = rig.spec("echo overwritten");
    fs::create_dir_all(&symbolic.sandbox).unwrap();
    std::os::unix::fs::symlink(&target, symbolic.sandbox.join("stdout")).unwrap();
    assert_eq!(rig.fail(&symbolic).await.step, Step::Sandbox);
    let hard = rig.spec("echo overwritten");
    fs::create_dir_all(&hard.sandbox).unwrap();
    fs::hard_link(&target, hard.sandbox.join("stderr")).unwrap();
    assert_eq!(rig.fail(&hard).await.step, Step::Sandbox);
    let pipe = rig.spec("echo swallowed");
    fs::create_dir_all(&pipe.sandbox).unwrap();
    nix::unistd::mkfifo(&pipe.sandbox.join("stdout"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(rig.fail(&pipe).await.step, Step::Sandbox);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[tokio::test]
async fn ids_are_used_once_until_forgotten() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("exit 4");
    rig.finish(&spec).await;
    let error = rig.fail(&spec).await;
    assert_eq!(error.to_string(), format!("container id {} is in use", spec.id));
    assert!(rig.record(&spec.id).exists());
    rig.launcher.forget(&spec.id);
    eventually("the record is removed", || !rig.record(&spec.id).exists()).await;
    assert_eq!(rig.finish(&spec).await.status, ExitStatus::Code(4));
}

#[tokio::test]
async fn limits_are_in_force_and_usage_is_measured() {
    let mut rig = Rig::new().await;
    let features = rig.launcher.features().clone();
    let mut spec = rig.spec("while :; do :; done");
    spec.limits =
        Limits { cpu_share_millis: Some(100), cpu_quota_millis: Some(500), memory_bytes: Some(64 << 20) };
    rig.run(&spec).await;
    eventually("time and memory are counted", || {
        let usage = rig.launcher.usage(&spec.id).unwrap_or_default();
        !usage.cpu_user.is_zero() && usage.rss_bytes > 0 && usage.processes >= 1
    })
    .await;
    let usage = rig.launcher.usage(&spec.id).unwrap();
    if features.memory_limits.works() && features.cpu_limits.works() {
        assert_eq!(
            (usage.memory_limit_bytes, usage.cpu_limit_millis),
            (Some(64 << 20), Some(500)),
            "{usage:?}"
        );
        eventually("the quota holds it back", || {
            rig.launcher.usage(&spec.id).is_some_and(|usage| usage.cpu_throttled_periods > 0)
        })
        .await;
        rig.launcher.update(&spec.id, Limits { memory_bytes: Some(128 << 20), ..Limits::default() });
        eventually("the limits change", || {
            rig.launcher.usage(&spec.id).is_some_and(|usage| {
                usage.memory_limit_bytes == Some(128 << 20) && usage.cpu_limit_millis.is_none()
            })
        })
        .await;
    } else {
        eprintln!(
            "skipped in part: cpu limits {}, memory limits {}",
            features.cpu_limits, features.memory_limits
        );
    }
    rig.launcher.destroy(&spec.id);
    let exit = rig.exit(&spec.id).await;
    assert!(!exit.cpu.is_zero() && exit.max_rss_bytes > 0, "{exit:?}");
    assert_eq!(rig.launcher.usage(&spec.id), None);
    assert!(rig.groups(&spec.id).is_empty(), "the control groups are gone");
}

#[tokio::test]
async fn without_cgroups_everything_else_works_and_the_reason_is_said() {
    let mut rig = Rig::without_cgroups().await;
    let reason = rig.launcher.features().memory_limits.to_string();
    assert!(reason.starts_with("no: "), "{reason}");
    let mut spec = rig.spec("sleep 1000");
    spec.limits.memory_bytes = Some(64 << 20);
    rig.run(&spec).await;
    eventually("memory is counted", || {
        rig.launcher.usage(&spec.id).is_some_and(|usage| usage.rss_bytes > 0 && usage.processes >= 1)
    })
    .await;
    rig.launcher.destroy(&spec.id);
    assert_eq!(rig.exit(&spec.id).await.status, ExitStatus::Signal(Signal::KILL));
}

#[tokio::test]
async fn containers_together_weigh_as_much_as_the_machine() {
    let mut rig = Rig::new().await;
    let spec = rig.spec("exec sleep 1000");
    rig.run(&spec).await;
    let shares = rig.groups(&spec.id).iter().find_map(|group| {
        fs::read_to_string(group.parent().unwrap().join("cpu.shares")).ok()?.trim().parse::<usize>().ok()
    });
    match shares {
        Some(shares) => assert_eq!(shares, 1024 * std::thread::available_parallelism().unwrap().get()),
        None => eprintln!("skipped: no control group of version 1 for the processors"),
    }
    rig.launcher.destroy(&spec.id);
    rig.exit(&spec.id).await;
}
