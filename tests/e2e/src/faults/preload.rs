//! Faults that only a library in between can make: a wall clock of a process's own that is set in mid run, and a sync
//! that fails. Debian's packages `faketime` and `fiu-utils` have them; without them these faults are left out.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The two halves of libfiu: one takes orders through a pipe, the other fails calls.
const FIU: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];
/// Seconds until a process looks at the file with its clock again.
const LOOK: u32 = 1;

/// What is installed on this machine, and where its controls lie.
pub(super) struct Preload {
    folder: PathBuf,
    fiu: bool,
    faketime: Option<PathBuf>,
}

impl Preload {
    /// # Errors
    /// The folder of the controls cannot be made.
    pub(super) fn find(folder: &Path) -> Result<Self, String> {
        let folder = folder.join("preload");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let fiu = FIU.iter().all(|path| Path::new(path).exists());
        Ok(Self { folder, fiu, faketime: faketime() })
    }

    pub(super) fn fails_syncs(&self) -> bool {
        self.fiu
    }

    pub(super) fn sets_clocks(&self) -> bool {
        self.faketime.is_some()
    }

    /// The words before a program that load the libraries into it. `fails` is for processes whose syncs are to fail.
    pub(super) fn words(&self, name: &str, fails: bool) -> Vec<String> {
        let mut words = vec!["env".to_owned()];
        let mut libraries: Vec<String> = Vec::new();
        if let Some(faketime) = &self.faketime {
            libraries.push(faketime.display().to_string());
            words.push(format!("FAKETIME_TIMESTAMP_FILE={}", self.clock(name).display()));
            words.push(format!("FAKETIME_CACHE_DURATION={LOOK}"));
            words.push("FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned());
        }
        if fails && self.fiu {
            libraries.extend(FIU.map(str::to_owned));
            words.push(format!("FIU_CTRL_FIFO={}", self.control(name).display()));
        }
        words.push(format!("LD_PRELOAD={}", libraries.join(" ")));
        words
    }

    /// Sets the wall clock of a process, from the next second on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn set_clock(&self, name: &str, seconds: i64) -> Result<(), String> {
        std::fs::write(self.clock(name), format!("{seconds:+}\n")).map_err(|error| error.to_string())
    }

    /// The next sync of a process fails with EIO.
    ///
    /// # Errors
    /// The process does not take the order; what was said.
    pub(super) fn fail_sync(&self, name: &str, pid: i32) -> Result<(), String> {
        let output = Command::new("fiu-ctrl")
            .arg("-f")
            .arg(self.control(name))
            .args(["-c", &format!("enable name=posix/io/sync/*,failinfo={},onetime", libc::EIO)])
            .arg(pid.to_string())
            .output()
            .map_err(|error| format!("fiu-ctrl: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("fiu-ctrl: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn clock(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.clock"))
    }

    fn control(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The library stands in the folder of the machine's architecture.
fn faketime() -> Option<PathBuf> {
    let library = |entry: std::fs::DirEntry| entry.path().join("faketime/libfaketimeMT.so.1");
    std::fs::read_dir("/usr/lib").ok()?.flatten().map(library).find(|path| path.exists())
}
