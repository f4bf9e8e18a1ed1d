//! Finding out which control groups this machine has.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Cgroups, ContainerCgroup, files};
use crate::Support;

/// What was found, and for each kind of limit whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub cgroups: Cgroups,
    pub cpu: Support,
    pub memory: Support,
}

/// Looks at the mounts and makes the directory `name` (relative, may have several parts) in each hierarchy that is used.
///
/// Version 1 is taken when it has the cpu or the memory controller: a controller belongs to one version at a time, so on a machine
/// with both mounted ("hybrid") version 2 is there but has none of them.
pub fn detect(name: &Path) -> Detected {
    match fs::read_to_string("/proc/self/mountinfo") {
        Ok(mounts) => choose(&mounts, name),
        Err(error) => {
            let reason = format!("the mounts of this machine cannot be read: {error}");
            Detected { cgroups: Cgroups::None, cpu: Support::No(reason.clone()), memory: Support::No(reason) }
        }
    }
}

/// The mount points of control groups in a `mountinfo`: version 1 with its controllers, or version 2.
fn mounts(mountinfo: &str) -> impl Iterator<Item = (PathBuf, &str, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        kind.starts_with("cgroup").then(|| (PathBuf::from(point), kind, options))
    })
}

/// The groups a process is in, whoever made them; for reading only.
pub(crate) fn of_process(pid: i32) -> ContainerCgroup {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    ContainerCgroup::new(membership(&read("/proc/self/mountinfo"), &read(&format!("/proc/{pid}/cgroup"))))
}

/// `groups` is a `/proc/PID/cgroup`: lines of a number, the controllers and the path.
fn membership(mountinfo: &str, groups: &str) -> Cgroups {
    let path = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let names = parts.next()?;
            let path = parts.next()?;
            names.split(',').any(|name| name == controller).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let v1 = |controller: &str| {
        let mount = mounts(mountinfo).find(|(_, kind, options)| {
            *kind == "cgroup" && options.split(',').any(|option| option == controller)
        });
        Some(mount?.0.join(path(controller)?))
    };
    let (cpu, memory) = (v1("cpu"), v1("memory"));
    if cpu.is_some() || memory.is_some() {
        return Cgroups::V1 { cpu, memory };
    }
    let unified = mounts(mountinfo).find(|(_, kind, _)| *kind == "cgroup2");
    match unified.zip(path("")) {
        Some(((mount, ..), path)) => Cgroups::V2 { root: mount.join(path), cpu: true, memory: true },
        None => Cgroups::None,
    }
}

fn choose(mountinfo: &str, name: &Path) -> Detected {
    let v1 = |controller: &str| {
        mounts(mountinfo)
            .find(|(_, kind, options)| {
                *kind == "cgroup" && options.split(',').any(|option| option == controller)
            })
            .map(|(point, ..)| point)
    };
    let (cpu, memory) = (v1("cpu"), v1("memory"));
    if cpu.is_some() || memory.is_some() {
        let (cpu, cpu_support) = v1_group(cpu, "cpu", name);
        let (memory, memory_support) = v1_group(memory, "memory", name);
        let cgroups =
            if cpu.is_none() && memory.is_none() { Cgroups::None } else { Cgroups::V1 { cpu, memory } };
        return Detected { cgroups, cpu: cpu_support, memory: memory_support };
    }
    match mounts(mountinfo).find(|(_, kind, _)| *kind == "cgroup2") {
        Some((point, ..)) => v2_group(&point, name),
        None => {
            let reason = "no control group file system is mounted".to_owned();
            Detected { cgroups: Cgroups::None, cpu: Support::No(reason.clone()), memory: Support::No(reason) }
        }
    }
}

fn v1_group(mount: Option<PathBuf>, controller: &str, name: &Path) -> (Option<PathBuf>, Support) {
    let Some(mount) = mount else {
        return (None, Support::No(format!("the {controller} controller is not mounted")));
    };
    let group = mount.join(name);
    if let Err(error) = fs::create_dir_all(&group) {
        return (None, Support::No(format!("cannot make the control group {}: {error}", group.display())));
    }
    // A first process must be able to enter; a directory alone may also be a leftover on a read-only mount.
    if let Err(error) = fs::OpenOptions::new().write(true).open(group.join("tasks")) {
        return (
            None,
            Support::No(format!("cannot write to the control group {}: {error}", group.display())),
        );
    }
    if controller == "cpu" {
        // All containers together weigh as much as the machine has processors, not as much as one process beside them.
        let shares = (1024 * processors()).min(262_144);
        let _ = files::write(&group.join("cpu.shares"), &shares.to_string());
    }
    if controller == "memory" {
        // Old kernels count children with their parent only when told so; new ones always do and may refuse the question.
        let _ = files::write(&group.join("memory.use_hierarchy"), "1");
    }
    (Some(group), Support::Yes("cgroup v1".into()))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn v2_group(mount: &Path, name: &Path) -> Detected {
    let none = |reason: String| Detected {
        cgroups: Cgroups::None,
        cpu: Support::No(reason.clone()),
        memory: Support::No(reason),
    };
    let root = mount.join(name);
    if let Err(error) = fs::create_dir_all(&root) {
        return none(format!("cannot make the control group {}: {error}", root.display()));
    }
    if let Err(error) = fs::OpenOptions::new().write(true).open(root.join("cgroup.procs")) {
        return none(format!("cannot write to the control group {}: {error}", root.display()));
    }
    let cpu = v2_enable(mount, name, "cpu");
    if cpu.works() {
        // As with the shares of version 1.
        let weight = (100 * processors()).min(10_000);
        let _ = files::write(&root.join("cpu.weight"), &weight.to_string());
    }
    let memory = v2_enable(mount, name, "memory");
    let cgroups = Cgroups::V2 { root, cpu: cpu.works(), memory: memory.works() };
    Detected { cgroups, cpu, memory }
}

/// Hands a controller down from the mount to the directory's children, level by level.
fn v2_enable(mount: &Path, name: &Path, controller: &str) -> Support {
    let mut level = mount.to_owned();
    let mut parts = name.components();
    loop {
        let has = fs::read_to_string(level.join("cgroup.controllers")).unwrap_or_default();
        if !has.split_whitespace().any(|word| word == controller) {
            return Support::No(format!(
                "the {controller} controller is not available in {}",
                level.display()
            ));
        }
        if let Err(error) = files::write(&level.join("cgroup.subtree_control"), &format!("+{controller}")) {
            return Support::No(format!(
                "cannot hand the {controller} controller down in {}: {error}",
                level.display()
            ));
        }
        match parts.next() {
            Some(part) => level.push(part),
            None => return Support::Yes("cgroup v2".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_in_the_mounts() {
        let text = "29 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    30 22 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
                    31 22 0:28 / /proc rw - proc proc rw\n";
        let found: Vec<_> = mounts(text).collect();
        assert_eq!(found[0], (PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"), "cgroup", "rw,cpu,cpuacct"));
        assert_eq!(found[1].1, "cgroup2");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn without_mounts_the_reason_is_said() {
        let found = choose("31 22 0:28 / /proc rw - proc proc rw\n", Path::new("stoa"));
        assert_eq!(found.cgroups, Cgroups::None);
        assert_eq!(found.memory.to_string(), "no: no control group file system is mounted");
    }

    /// A directory that looks like a version 2 hierarchy, since a machine has its controllers in one version only.
    fn imitation(controllers: &str) -> (tempfile::TempDir, Detected) {
        let mount = tempfile::tempdir().unwrap();
        for level in [mount.path().to_owned(), mount.path().join("stoa")] {
            fs::create_dir_all(&level).unwrap();
            fs::write(level.join("cgroup.controllers"), controllers).unwrap();
            fs::write(level.join("cgroup.subtree_control"), "").unwrap();
            fs::write(level.join("cgroup.procs"), "").unwrap();
        }
        let line = format!("30 22 0:27 / {} rw shared:10 - cgroup2 cgroup2 rw\n", mount.path().display());
        let found = choose(&line, Path::new("stoa"));
        (mount, found)
    }

    #[test]
    fn version_two_hands_controllers_down() {
        let (mount, found) = imitation("cpuset cpu io memory pids\n");
        assert_eq!(found.cgroups, Cgroups::V2 { root: mount.path().join("stoa"), cpu: true, memory: true });
        let handed = fs::read_to_string(mount.path().join("stoa/cgroup.subtree_control")).unwrap();
        assert_eq!(handed, "+memory", "each write replaces the imitation's content");
    }

    #[test]
    fn version_two_without_controllers_still_holds_processes() {
        let (mount, found) = imitation("hugetlb\n");
        assert_eq!(found.cgroups, Cgroups::V2 { root: mount.path().join("stoa"), cpu: false, memory: false });
        assert!(found.cpu.to_string().contains("the cpu controller is not available"), "{}", found.cpu);
    }
}
