//! A log that cannot be written does not end the process that writes it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

/// A supervisor without masters, which logs that it serves.
fn supervisor(stderr: Stdio, log: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stoa"))
        .args(["marathon", "--listen", "127.0.0.1:0", "--master", "127.0.0.1:1", "--log-file"])
        .arg(log)
        .stderr(stderr)
        .spawn()
        .expect("the program starts")
}

/// How it ends when it is asked to after its first line.
fn ended(mut process: Child, log: &Path) -> ExitStatus {
    let started = Instant::now();
    while std::fs::read_to_string(log).unwrap_or_default().is_empty() {
        assert!(process.try_wait().expect("asked").is_none(), "it ended by itself");
        assert!(started.elapsed() < DEADLINE, "it logs nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = libc::pid_t::try_from(process.id()).expect("a pid");
    // SAFETY: `kill` takes plain integers; the pid is of a child not yet waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    process.wait().expect("it ends")
}

#[test]
fn a_role_outlives_a_full_disk_below_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let full: File = OpenOptions::new().write(true).open("/dev/full").expect("there is one");
    let status = ended(supervisor(full.into(), &log), &log);
    assert!(status.success(), "{status}");
}

#[test]
fn a_role_outlives_the_reader_of_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut process = supervisor(Stdio::piped(), &log);
    drop(process.stderr.take());
    let status = ended(process, &log);
    assert!(status.success(), "{status}");
}
