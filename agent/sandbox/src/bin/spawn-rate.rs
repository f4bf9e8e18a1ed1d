//! How fast containers start and end, beside a bare `posix_spawn` loop in the same minute.
//!
//! `spawn-rate [--count N] [--namespaces none|pid|pid,mount] [--cgroup NAME|none] [--in-flight N]`
//!
//! Prints one line of JSON. Each round runs the floor, then the containers, then the floor again, so that a noisy neighbour shows.

use std::collections::VecDeque;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sandbox::native::{Native, NativeConfig};
use sandbox::{ContainerEvent, ContainerId, ContainerSpec, Launcher, Limits, Namespaces};

struct Options {
    count: usize,
    in_flight: usize,
    namespaces: Namespaces,
    cgroup: Option<String>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    // The launcher process is this program again.
    if arguments.peek().is_some_and(|first| first == "shim") {
        return sandbox::shim::main();
    }
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("spawn-rate: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for round in 0..3 {
        let before = floor(options.count);
        let measured = runtime.block_on(containers(&options, round));
        let after = floor(options.count);
        let rate = |time: Duration| options.count as f64 / time.as_secs_f64();
        let base = (rate(before) + rate(after)) / 2.0;
        println!(
            "{{\"containers\":{},\"floor_before_per_s\":{:.0},\"floor_after_per_s\":{:.0},\"launched_per_s\":{:.0},\"ratio\":{:.3}}}",
            options.count,
            rate(before),
            rate(after),
            rate(measured),
            rate(measured) / base
        );
    }
    if let Ok(runtime) = sandbox::native::runtime_directory(&home()) {
        let _ = std::fs::remove_dir_all(runtime);
    }
    let _ = std::fs::remove_dir_all(home());
    ExitCode::SUCCESS
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        count: 1000,
        in_flight: 1000,
        namespaces: Namespaces { pid: true, mount: true },
        cgroup: Some("stoa-spawn-rate".into()),
    };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag} needs a number, not {value:?}"));
        match flag.as_str() {
            "--count" => options.count = number()?,
            "--in-flight" => options.in_flight = number()?,
            "--namespaces" => {
                let has = |name| value.split(',').any(|part| part == name);
                options.namespaces = Namespaces { pid: has("pid"), mount: has("mount") };
            }
            "--cgroup" => options.cgroup = (value != "none").then_some(value),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(options)
}

/// A bare loop: spawn, wait.
fn floor(count: usize) -> Duration {
    let program = CString::new("/bin/true").expect("no NUL");
    let start = Instant::now();
    for _ in 0..count {
        let argv = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
        let environment = [std::ptr::null_mut()];
        let (mut pid, mut status) = (0, 0);
        // SAFETY: both vectors end with a null pointer and live through the calls; the child waited for is our own.
        unsafe {
            let failed = libc::posix_spawn(
                &raw mut pid,
                program.as_ptr(),
                std::ptr::null(),
                std::ptr::null(),
                argv.as_ptr(),
                environment.as_ptr(),
            );
            assert_eq!(failed, 0, "posix_spawn");
            libc::waitpid(pid, &raw mut status, 0);
        }
    }
    start.elapsed()
}

/// The same number of containers, from the first request to the last end, with sandbox directories, output files, limits and records.
async fn containers(options: &Options, round: usize) -> Duration {
    let home = home();
    let mut config =
        NativeConfig::new(sandbox::native::runtime_directory(&home).expect("a runtime directory"));
    // A name that cannot be made leaves the control groups out.
    config.cgroup = options.cgroup.as_deref().unwrap_or("/dev/null/none").into();
    let mut native = Native::start(config).await.expect("a launcher");
    native.recover(&[]);
    let launcher: &mut dyn Launcher = &mut native;
    assert_eq!(launcher.next().await, ContainerEvent::Recovered);
    let mut waiting: VecDeque<ContainerSpec> =
        (0..options.count).map(|at| spec(&home, round, at, options)).collect();
    let (mut flying, mut succeeded) = (0, 0);
    let start = Instant::now();
    while succeeded < options.count {
        while flying < options.in_flight
            && let Some(spec) = waiting.pop_front()
        {
            launcher.launch(spec);
            flying += 1;
        }
        match launcher.next().await {
            ContainerEvent::Exited { id, exit } => {
                assert!(exit.success(), "{exit:?}");
                launcher.forget(&id);
                flying -= 1;
                succeeded += 1;
            }
            ContainerEvent::Running { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    start.elapsed()
}

/// Sandboxes stay in it until all rounds are over: a file system may look with suspicion at the places of files just removed.
fn home() -> PathBuf {
    std::env::temp_dir().join(format!("spawn-rate-{}", std::process::id()))
}

fn spec(home: &Path, round: usize, at: usize, options: &Options) -> ContainerSpec {
    let id = ContainerId::new(format!("bench-{}-{round}-{at}", std::process::id())).expect("a valid id");
    let sandbox = home.join("sandboxes").join(id.as_str());
    let limits = Limits { cpu_share_millis: Some(100), cpu_quota_millis: None, memory_bytes: Some(32 << 20) };
    let command = sandbox::Command::Argv { program: "/bin/true".into(), arguments: vec![] };
    ContainerSpec { command, limits, namespaces: options.namespaces, ..ContainerSpec::shell(id, "", sandbox) }
}
