//! The group of one container.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Cgroups, files};
use crate::Limits;
use crate::limits::MIN_MEMORY_BYTES;

/// Scheduling period that quotas are given in, in microseconds.
const PERIOD_MICROS: u64 = 100_000;

/// What the kernel shows for "no limit" is the largest multiple of a page; anything near it means the same.
pub(super) const UNLIMITED: u64 = 1 << 62;

/// The directories of one container's control groups. With version 2 the limits are on the directory and the processes in its leaves
/// (`task`, and one per command probe), because a group that hands controllers down must not hold processes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCgroup {
    at: Cgroups,
}

/// How a new process comes into a group.
#[derive(Debug)]
pub(crate) enum Entry {
    /// By itself, by writing "0" into these files. Writing `cgroup.procs` would take a lock over all forks of the machine and
    /// wait for an RCU grace period (about a millisecond); `tasks` moves the one thread there is without.
    Write(Vec<PathBuf>),
    /// Born into it.
    Born(File),
}

impl ContainerCgroup {
    pub(super) fn new(at: Cgroups) -> Self {
        Self { at }
    }

    /// The version 1 directories, or the version 2 one.
    fn groups(&self) -> Vec<&Path> {
        match &self.at {
            Cgroups::None => Vec::new(),
            Cgroups::V1 { cpu, memory } => cpu.iter().chain(memory).map(PathBuf::as_path).collect(),
            Cgroups::V2 { root, .. } => vec![root],
        }
    }

    pub(super) fn at(&self) -> &Cgroups {
        &self.at
    }

    /// Makes the group and sets its limits.
    pub(crate) fn make(&self, limits: &Limits) -> io::Result<()> {
        for group in self.groups() {
            files::make(group)?;
        }
        if let Cgroups::V2 { root, .. } = &self.at {
            files::make(&root.join("task"))?;
        }
        self.limit(limits)
    }

    /// The way in for the container's command.
    pub(crate) fn entry(&self) -> io::Result<Entry> {
        match &self.at {
            Cgroups::V2 { root, .. } => Ok(Entry::Born(File::open(root.join("task"))?)),
            _ => Ok(Entry::Write(self.groups().iter().map(|group| group.join("tasks")).collect())),
        }
    }

    /// Makes a group inside this one for a command run beside the container's own, and gives its way in and its directory;
    /// `None` when there are no control groups.
    pub(crate) fn make_probe(&self, serial: u64) -> io::Result<Option<(Entry, PathBuf)>> {
        let Some(first) = self.groups().first().map(|group| group.join(format!("probe-{serial}"))) else {
            return Ok(None);
        };
        files::make(&first)?;
        let entry = match &self.at {
            Cgroups::V2 { .. } => Entry::Born(File::open(&first)?),
            _ => {
                let rest = self.groups().into_iter().skip(1).map(|group| group.join("tasks"));
                Entry::Write(std::iter::once(first.join("tasks")).chain(rest).collect())
            }
        };
        Ok(Some((entry, first)))
    }

    /// Sets limits; those that are `None` are lifted.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let shares = limits
            .cpu_share_millis
            .map_or(1024, |millis| (millis.saturating_mul(1024) / 1000).clamp(2, 262_144));
        let quota =
            limits.cpu_quota_millis.map(|millis| (millis.saturating_mul(PERIOD_MICROS) / 1000).max(1000));
        let memory = limits.memory_bytes.map(|bytes| bytes.max(MIN_MEMORY_BYTES));
        match &self.at {
            Cgroups::None => Ok(()),
            Cgroups::V1 { cpu, memory: memory_group } => {
                if let Some(group) = cpu {
                    files::write(&group.join("cpu.shares"), &shares.to_string())?;
                    limit_v1_quota(group, quota)?;
                }
                memory_group.as_ref().map_or(Ok(()), |group| limit_v1_memory(group, memory))
            }
            Cgroups::V2 { root, cpu, memory: has_memory } => {
                if *cpu {
                    let weight = 1 + (shares - 2) * 9999 / 262_142;
                    files::write(&root.join("cpu.weight"), &weight.to_string())?;
                    let quota = quota.map_or("max".to_owned(), |quota| quota.to_string());
                    files::write(&root.join("cpu.max"), &format!("{quota} {PERIOD_MICROS}"))?;
                }
                if *has_memory {
                    let most = memory.map_or("max".to_owned(), |bytes| bytes.to_string());
                    files::write(&root.join("memory.max"), &most)?;
                    // Swap would let a container use more than it was given; a kernel without swap has no such file.
                    let swap = if memory.is_some() { "0" } else { "max" };
                    let _ = files::write(&root.join("memory.swap.max"), swap);
                }
                Ok(())
            }
        }
    }

    /// How many processes of the container the kernel has killed for using too much memory, and the limit.
    pub(crate) fn memory_kills(&self) -> Option<(u64, u64)> {
        let (kills, limit) = match &self.at {
            Cgroups::V1 { memory: Some(group), .. } => {
                let kills = files::field(&group.join("memory.oom_control"), "oom_kill")?;
                (kills, files::number(&group.join("memory.limit_in_bytes"))?)
            }
            Cgroups::V2 { root, memory: true, .. } => {
                let kills = files::field(&root.join("memory.events"), "oom_kill")?;
                (kills, files::number(&root.join("memory.max"))?)
            }
            _ => return None,
        };
        (kills > 0).then_some((kills, limit))
    }

    /// Kills every process in the group, for when nobody else holds the container any more. `false`: some are left after `patience`.
    pub(crate) fn kill(&self, patience: Duration) -> bool {
        if let Cgroups::V2 { root, .. } = &self.at {
            // One write kills them all at once, forking ones too; kernels before 5.14 lack the file.
            let _ = files::write(&root.join("cgroup.kill"), "1");
            return empty_tree(root, patience);
        }
        self.groups().into_iter().all(|group| empty_tree(group, patience))
    }

    /// Removes the group. The kernel may need a moment after the last process is gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for group in self.groups() {
            remove_tree(group)?;
        }
        Ok(())
    }
}

fn limit_v1_quota(group: &Path, quota: Option<u64>) -> io::Result<()> {
    let file = group.join("cpu.cfs_quota_us");
    match quota {
        Some(quota) => {
            files::write(&group.join("cpu.cfs_period_us"), &PERIOD_MICROS.to_string())?;
            files::write(&file, &quota.to_string())
        }
        // A new group has none: the write is spared in the common case. A kernel without bandwidth control has no such file.
        None if files::number(&file).is_some() => files::write(&file, "-1"),
        None => Ok(()),
    }
}

/// Memory alone and memory with swap are two files, and the kernel keeps the first not above the second at every moment.
fn limit_v1_memory(group: &Path, limit: Option<u64>) -> io::Result<()> {
    let (memory, swap) = (group.join("memory.limit_in_bytes"), group.join("memory.memsw.limit_in_bytes"));
    let value = limit.map_or("-1".to_owned(), |bytes| bytes.to_string());
    let raised = match (limit, files::number(&memory)) {
        (Some(new), Some(old)) => new > old,
        // A new group has none: the writes are spared in the common case.
        (None, Some(old)) if old >= UNLIMITED => return Ok(()),
        _ => true,
    };
    // Without swap accounting the second file is missing, and the limit holds all the same.
    if raised {
        let _ = files::write(&swap, &value);
        files::write(&memory, &value)
    } else {
        files::write(&memory, &value)?;
        let _ = files::write(&swap, &value);
        Ok(())
    }
}

/// A group and those inside it, innermost first.
fn tree(group: &Path) -> Vec<PathBuf> {
    let inner = std::fs::read_dir(group).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = inner
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|entry| tree(&entry.path()))
        .collect();
    all.push(group.to_owned());
    all
}

/// Kills again and again until no process is left: one that forks between the reading and the killing is met in the next round.
pub(crate) fn empty_tree(group: &Path, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_micros(200);
    loop {
        let processes: Vec<i32> =
            tree(group).iter().flat_map(|group| files::processes(group)).filter(|pid| *pid > 0).collect();
        if processes.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        for pid in processes {
            // SAFETY: `kill` takes plain numbers. The id was just read from a group that only this container's processes are in.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Removes a group with those inside it, trying for some milliseconds while the kernel still counts dying processes.
pub(crate) fn remove_tree(group: &Path) -> io::Result<()> {
    // Nothing inside is the rule, and listing the directory costs more than removing it.
    if files::remove(group).is_ok() {
        return Ok(());
    }
    let mut pause = Duration::from_micros(200);
    loop {
        let result = tree(group).iter().try_for_each(|group| files::remove(group));
        if result.is_ok() || pause > Duration::from_millis(20) {
            return result;
        }
        thread::sleep(pause);
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ContainerId;

    fn imitation(version: u8) -> (tempfile::TempDir, ContainerCgroup) {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().to_owned();
        let cgroups = match version {
            1 => Cgroups::V1 { cpu: Some(at.clone()), memory: Some(at.clone()) },
            _ => Cgroups::V2 { root: at.clone(), cpu: true, memory: true },
        };
        let group = cgroups.container(&ContainerId::new("c").unwrap());
        fs::create_dir(at.join("c")).unwrap();
        let files: &[&str] = match version {
            1 => &[
                "cpu.shares",
                "cpu.cfs_quota_us",
                "cpu.cfs_period_us",
                "memory.limit_in_bytes",
                "memory.memsw.limit_in_bytes",
            ],
            _ => &["cpu.weight", "cpu.max", "memory.max", "memory.swap.max"],
        };
        for file in files {
            fs::write(at.join("c").join(file), "").unwrap();
        }
        (root, group)
    }

    fn content(root: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(root.path().join("c").join(file)).unwrap()
    }

    const LIMITS: Limits =
        Limits { cpu_share_millis: Some(500), cpu_quota_millis: Some(1500), memory_bytes: Some(64 << 20) };

    #[test]
    fn limits_in_the_words_of_version_one() {
        let (root, group) = imitation(1);
        group.make(&LIMITS).unwrap();
        assert_eq!(content(&root, "cpu.shares"), "512");
        assert_eq!(content(&root, "cpu.cfs_quota_us"), "150000");
        assert_eq!(content(&root, "memory.limit_in_bytes"), "67108864");
        assert_eq!(content(&root, "memory.memsw.limit_in_bytes"), "67108864");
    }

    #[test]
    fn limits_in_the_words_of_version_two() {
        let (root, group) = imitation(2);
        group.make(&LIMITS).unwrap();
        assert_eq!(content(&root, "cpu.weight"), "20");
        assert_eq!(content(&root, "cpu.max"), "150000 100000");
        assert_eq!(content(&root, "memory.max"), "67108864");
        assert_eq!(content(&root, "memory.swap.max"), "0");
        assert!(root.path().join("c/task").is_dir());
    }

    #[test]
    fn extremes_stay_in_the_kernels_bounds() {
        let (root, group) = imitation(1);
        let tiny = Limits { cpu_share_millis: Some(0), cpu_quota_millis: Some(0), memory_bytes: Some(0) };
        group.make(&tiny).unwrap();
        assert_eq!(content(&root, "cpu.shares"), "2");
        assert_eq!(content(&root, "cpu.cfs_quota_us"), "1000");
        assert_eq!(content(&root, "memory.limit_in_bytes"), MIN_MEMORY_BYTES.to_string());
        let (root, group) = imitation(1);
        // As short as what replaces it: unlike the kernel's, these files keep the rest.
        for file in ["cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            fs::write(root.path().join("c").join(file), "99").unwrap();
        }
        let huge = Limits { cpu_share_millis: Some(u64::MAX), cpu_quota_millis: None, memory_bytes: None };
        group.limit(&huge).unwrap();
        assert_eq!(content(&root, "cpu.shares"), "262144");
        assert_eq!(content(&root, "cpu.cfs_quota_us"), "-1");
        assert_eq!(content(&root, "memory.limit_in_bytes"), "-1");
    }
}
