//! A process that gets no more file descriptors, or whose children the kernel refuses.

use std::path::PathBuf;

/// The hierarchy that counts processes. Where it is not mounted this way, forks are not refused.
const PIDS: &str = "/sys/fs/cgroup/pids";

/// Leaves a process as many descriptors as it has now.
pub(super) fn no_more_files(pid: i32) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    limit_files(pid, libc::rlim_t::try_from(open).unwrap_or(0));
}

/// Gives a process back as many descriptors as it may ever have.
pub(super) fn files_again(pid: i32) {
    limit_files(pid, libc::RLIM_INFINITY);
}

/// A process that has died meanwhile needs no limit.
fn limit_files(pid: i32, most: libc::rlim_t) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: two places for a plain struct, of which one is read and one written.
    unsafe {
        libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit);
        limit.rlim_cur = most.min(limit.rlim_max);
        libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut());
    }
}

pub(super) fn can_refuse_forks() -> bool {
    PathBuf::from(PIDS).join("cgroup.procs").exists()
}

/// A process and its children, which shall have no more. What they started before is not counted.
pub(super) struct Childless(PathBuf);

impl Childless {
    /// # Errors
    /// The kernel makes no such group, or does not take the processes in.
    pub(super) fn begin(pid: i32, name: &str) -> Result<Self, String> {
        let group = PathBuf::from(PIDS).join(format!("stoa-faults-{}-{name}", std::process::id()));
        let failed = |error: std::io::Error| format!("{}: {error}", group.display());
        std::fs::create_dir_all(&group).map_err(failed)?;
        for member in std::iter::once(pid).chain(own_children(pid)) {
            // It may have ended.
            let _ = std::fs::write(group.join("cgroup.procs"), member.to_string());
        }
        let now = std::fs::read_to_string(group.join("pids.current")).map_err(failed)?;
        std::fs::write(group.join("pids.max"), now.trim()).map_err(failed)?;
        Ok(Self(group))
    }

    pub(super) fn end(&self) {
        // The group goes when it is dropped.
        let _ = std::fs::write(self.0.join("pids.max"), "max");
    }
}

impl Drop for Childless {
    fn drop(&mut self) {
        let parent = PathBuf::from(PIDS).join("cgroup.procs");
        for member in std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            // It may have ended.
            let _ = std::fs::write(&parent, member);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Children that run the same program: not what tasks are.
fn own_children(pid: i32) -> Vec<i32> {
    let program = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let own = program(pid);
    // The kernel lists the children of each thread by themselves.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    listed
        .flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i32>>())
        .filter(|child| program(*child) == own)
        .collect()
}
