//! What the kernel says about tasks, as opposed to what an API says.

use std::collections::BTreeMap;
use std::path::Path;

/// Processes that carry `MESOS_TASK_ID`, by that id: each the pids in the machine's own numbering.
///
/// The variable is in the environment of everything a task starts, so this also finds what escaped from it. What the agent
/// runs inside a container to see whether it is well has it too, and is no part of the task: it comes and goes by itself.
pub fn by_task(sandboxes: &Path) -> BTreeMap<String, Vec<i32>> {
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let value = |name: &str| {
            environment.split(|byte| *byte == 0).find_map(|pair| {
                let text = String::from_utf8_lossy(pair);
                text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
            })
        };
        let (Some(task), Some(sandbox)) = (value("MESOS_TASK_ID"), value("MESOS_SANDBOX")) else { continue };
        // Another cluster of this machine is none of ours.
        if Path::new(&sandbox).starts_with(sandboxes) && is_of_a_task(&entry.path()) {
            found.entry(task).or_default().push(pid);
        }
    }
    for pids in found.values_mut() {
        pids.sort_unstable();
    }
    found
}

/// Not in the control group that each run of a check has of its own, and not ending: who ends is in no group of the first
/// version any more, whatever it was.
fn is_of_a_task(process: &Path) -> bool {
    /// `PF_EXITING` in the ninth field of `stat`.
    const EXITING: u64 = 4;
    let read = |name: &str| std::fs::read_to_string(process.join(name)).ok();
    let Some(groups) = read("cgroup") else { return false };
    // Looked at last: who is not ending now was not ending before.
    let Some(stat) = read("stat") else { return false };
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let flags = after_name.split_whitespace().nth(6).and_then(|flags| flags.parse::<u64>().ok());
    let own = |line: &str| line.rsplit('/').next().is_some_and(|group| group.starts_with("probe-"));
    !groups.lines().any(own) && flags.is_some_and(|flags| flags & EXITING == 0)
}
