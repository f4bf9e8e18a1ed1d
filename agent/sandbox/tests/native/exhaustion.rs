//! The kernel makes no more processes, or has no more descriptors to give: launches fail with a sentence and leave nothing, what
//! runs goes on, and once there is room again everything works as before.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::{ExitStatus, Step};

use crate::rig::{Rig, is_root, kill, launcher_of, status_field, unique};

/// A control group that bounds how many processes there are in it.
struct Bounded(PathBuf);

impl Bounded {
    /// With this process in it. `None` where the kernel counts no processes, or lets us bound none.
    fn around(pid: u32) -> Option<Self> {
        let mounts = [Path::new("/sys/fs/cgroup/pids"), Path::new("/sys/fs/cgroup")];
        let group = mounts.iter().map(|mount| mount.join(unique("stoa-pids"))).find(|group| {
            fs::create_dir(group).is_ok()
                && (group.join("pids.max").exists() || fs::remove_dir(group).is_err())
        });
        let Some(group) = group.filter(|_| is_root()) else {
            eprintln!("skipped: the number of processes cannot be bounded");
            return None;
        };
        fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
        Some(Self(group))
    }

    fn allow(&self, most: &str) {
        fs::write(self.0.join("pids.max"), most).unwrap();
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("pids.max"), "max");
        // Those in it go back to where they would have been.
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(self.0.with_file_name("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn without_processes_a_launch_fails_and_nothing_else_does() {
    let mut rig = Rig::new().await;
    let long = rig.spec("exec sleep 1000");
    let pid = rig.run(&long).await;
    let Some(group) = Bounded::around(launcher_of(pid)) else { return };
    // Room for the launcher itself; then for the process that holds a container as well, but not for its command.
    for most in ["1", "2"] {
        group.allow(most);
        let spec = rig.spec("true");
        let error = rig.fail(&spec).await;
        assert_eq!((error.step, error.errno), (Step::Fork, libc::EAGAIN), "{error:?}");
        assert!(error.message.contains("Resource temporarily unavailable"), "{error:?}");
        rig.launcher.forget(&spec.id);
        assert_eq!(rig.groups(&spec.id), Vec::<PathBuf>::new(), "no control group is left");
    }
    group.allow("max");
    let after = rig.spec("exit 3");
    assert_eq!(rig.finish(&after).await.status, ExitStatus::Code(3), "there is room again");
    assert_eq!(status_field(pid, "Name").unwrap(), "sleep", "what ran runs");
    rig.launcher.destroy(&long.id);
    rig.exit(&long.id).await;
}

#[tokio::test]
async fn without_descriptors_a_launch_fails_and_nothing_else_does() {
    let mut rig = Rig::new().await;
    let long = rig.spec("exec sleep 1000");
    let pid = rig.run(&long).await;
    let launcher = launcher_of(pid);
    let before = bound_descriptors(launcher, 3);
    let spec = rig.spec("true");
    let error = rig.fail(&spec).await;
    assert!(error.message.contains("Too many open files"), "{error:?}");
    bound_descriptors(launcher, before);
    let after = rig.spec("exit 4");
    assert_eq!(rig.finish(&after).await.status, ExitStatus::Code(4), "there are descriptors again");
    assert_eq!(status_field(pid, "Name").unwrap(), "sleep", "what ran runs");
    kill(pid, libc::SIGTERM);
    rig.exit(&long.id).await;
}

/// How many files a process may have open from now on; what it was before.
fn bound_descriptors(pid: u32, most: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let pid = i32::try_from(pid).unwrap();
    // SAFETY: both structures live through the calls; the process is one that this test started.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut before), 0);
        let after = libc::rlimit { rlim_cur: most, ..before };
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const after, std::ptr::null_mut()), 0);
    }
    before.rlim_cur
}
