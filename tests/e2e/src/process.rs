//! One process of ours: started, signalled by pid, waited for; its log kept for the failing test.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program under test: beside the test programs, or where `STOA_BIN` says.
pub fn stoa() -> PathBuf {
    if let Some(path) = std::env::var_os("STOA_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("a program knows where it is");
    // A test program lies in `release/deps`, a measurement in `release` itself.
    let beside =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("stoa")).find(|path| path.is_file());
    beside.unwrap_or_else(|| panic!("there is no `stoa` near {}: `make build` makes it", own.display()))
}

/// Bytes of a process that are in memory.
pub fn resident(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

/// A running role. Dropping it kills it.
pub struct Process {
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `stoa ARGUMENTS`, its log appended to `folder/NAME.log`.
    pub fn start(folder: &Path, name: &str, arguments: Vec<String>) -> Self {
        Self::start_program(folder, name, stoa(), arguments)
    }

    /// As [`start`](Self::start), by way of another program, which must become the role (`exec`): signals go to its pid.
    pub fn start_program(folder: &Path, name: &str, program: PathBuf, arguments: Vec<String>) -> Self {
        let log = folder.join(format!("{name}.log"));
        let child = Self::spawn(&log, &program, &arguments);
        Self { name: name.to_owned(), program, arguments, log, child }
    }

    fn spawn(log: &Path, program: &Path, arguments: &[String]) -> Child {
        let file = File::options().create(true).append(true).open(log).expect("the log can be written");
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .process_group(0)
            .spawn()
            .expect("the program starts")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: plain integers; the pid is of our child, which is not yet waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// `kill -9`, and waits until the kernel says it is gone.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().expect("waited for");
    }

    /// Starts it again after its death, with the same arguments.
    pub fn restart(&mut self) {
        assert!(self.exited().is_some(), "{} still runs", self.name);
        self.child = Self::spawn(&self.log, &self.program, &self.arguments);
    }

    /// Starts it again after its death, with these arguments from now on.
    pub fn restart_as(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
        self.restart();
    }

    /// Ends it by force and starts it again with one flag more.
    pub fn restart_with(&mut self, flag: &str) {
        self.kill();
        self.arguments.push(flag.to_owned());
        self.restart();
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("asked")
    }

    /// Waits for its end; fails the test past the deadline.
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(
                started.elapsed() < deadline,
                "{} still runs after {deadline:?}\n{}",
                self.name,
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of its log, for a failing test.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.kill();
        }
    }
}
