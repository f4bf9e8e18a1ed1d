//! A Docker daemon of the test's own, with one small image.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What its containers are made from: a shell and its tools.
pub(crate) const IMAGE: &str = "stoa-test:1";
/// A static program that is a shell and all tools a test needs.
const BUSYBOX: &str = "/bin/busybox";
const PATIENCE: Duration = Duration::from_secs(120);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test of this or another run uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Dropping it ends the daemon and its containers.
pub(crate) struct Daemon {
    process: Child,
    home: tempfile::TempDir,
}

impl Daemon {
    /// `None`, with a line that says so, where there is no Docker or nobody may start it.
    pub(crate) fn start() -> Option<Self> {
        // SAFETY: asks a number of the kernel.
        let root = unsafe { libc::geteuid() } == 0;
        if !root || Command::new("dockerd").arg("--version").output().is_err() || !Path::new(BUSYBOX).exists()
        {
            eprintln!("skipped: needs root, dockerd and a static busybox");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let log = File::create(at("log")).unwrap();
        let process = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "dockerd"])
            .arg(format!("--host=unix://{}", at("socket").display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .args(["--storage-driver=vfs", "--iptables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        // SAFETY: the only test of this program, and nothing has been started yet that would read it.
        unsafe { std::env::set_var("DOCKER_HOST", format!("unix://{}", at("socket").display())) };
        let mut daemon = Self { process, home };
        daemon.wait();
        daemon.import();
        Some(daemon)
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !docker(&["info"]).status.success() {
            let log = || std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            assert!(self.process.try_wait().unwrap().is_none(), "the daemon ended: {}", log());
            assert!(Instant::now() < deadline, "the daemon does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn import(&self) {
        let bin = self.home.path().join("root/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for tool in ["sh", "sleep", "cat", "test", "true", "echo"] {
            std::os::unix::fs::symlink("busybox", bin.join(tool)).unwrap();
        }
        let archive = self.home.path().join("image.tar");
        let mut pack = Command::new("tar");
        let packed = pack.arg("-C").arg(self.home.path().join("root")).arg("-cf").arg(&archive).arg(".");
        assert!(packed.status().unwrap().success());
        let imported = docker(&["import", &archive.display().to_string(), IMAGE]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    }

    /// The names of all containers, ended ones too.
    pub(crate) fn containers(&self) -> Vec<String> {
        let listed = docker(&["ps", "--all", "--format={{.Names}}"]);
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// What a server in the daemon's network answers, once it does.
    pub(crate) async fn fetch(&self, host: &str, path: &str) -> String {
        let url = format!("http://{host}{path}");
        let net = format!("--net=/proc/{}/ns/net", self.process.id());
        let ask =
            || Command::new("nsenter").args([&net, BUSYBOX, "wget", "-q", "-O", "-", &url]).output().unwrap();
        let mut answer = ask();
        let deadline = Instant::now() + PATIENCE;
        while !answer.status.success() {
            assert!(Instant::now() < deadline, "{url}: {}", String::from_utf8_lossy(&answer.stderr));
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = ask();
        }
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let left = self.containers();
        if !left.is_empty() {
            let names: Vec<&str> =
                ["rm", "--force"].into_iter().chain(left.iter().map(String::as_str)).collect();
            docker(&names);
        }
        // SAFETY: plain integers; the pid is of our child, which is not yet waited for.
        unsafe { libc::kill(self.process.id().cast_signed(), libc::SIGTERM) };
        let _ = self.process.wait();
    }
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}
