//! What a container uses now.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::container::UNLIMITED;
use super::files::{field_of, number, processes};
use super::{Cgroups, ContainerCgroup};
use crate::Usage;
use crate::shim::tree::{self, Stat};

/// Reads the container's counters. `shim` is the process holding it: with no control group that counts processor time, the
/// time of its living processes and of those it has reaped is added up instead, which misses nothing either.
pub(crate) fn usage(group: &ContainerCgroup, shim: i32) -> Usage {
    let mut usage = Usage::default();
    let mut counted = false;
    let pids: Vec<i32> = match group.at() {
        Cgroups::None => tree::descendants(shim),
        Cgroups::V1 { cpu, memory } => {
            if let Some(group) = cpu {
                counted = read_v1_cpu(group, &mut usage);
            }
            if let Some(group) = memory {
                let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
                usage.rss_bytes = field_of(&stat, "total_rss").unwrap_or(0);
                usage.memory_limit_bytes =
                    number(&group.join("memory.limit_in_bytes")).filter(|limit| *limit < UNLIMITED);
            }
            memory.as_ref().or(cpu.as_ref()).map(|group| processes(group)).unwrap_or_default()
        }
        Cgroups::V2 { root, cpu, memory } => {
            counted = *cpu && read_v2_cpu(root, &mut usage);
            if *memory {
                let stat = fs::read_to_string(root.join("memory.stat")).unwrap_or_default();
                usage.rss_bytes = field_of(&stat, "anon").unwrap_or(0);
                usage.memory_limit_bytes = number(&root.join("memory.max"));
            }
            // Groups of ours hold their processes in leaves, those of others hold them themselves.
            let leaf = root.join("task");
            processes(if leaf.is_dir() { &leaf } else { root })
        }
    };
    usage.processes = u32::try_from(pids.len()).unwrap_or(u32::MAX);
    let measured_memory = usage.rss_bytes > 0;
    if counted && measured_memory {
        return usage;
    }
    let reaped = Stat::read(shim);
    let stats: Vec<Stat> = pids.iter().filter_map(|pid| Stat::read(*pid)).collect();
    if !counted {
        let sum = |ticks: fn(&Stat) -> u64, reaped_ticks: fn(&Stat) -> u64| {
            let living: u64 = stats.iter().map(|stat| ticks(stat) + reaped_ticks(stat)).sum();
            tree::ticks(living + reaped.as_ref().map_or(0, reaped_ticks))
        };
        usage.cpu_user = sum(|stat| stat.user, |stat| stat.children_user);
        usage.cpu_system = sum(|stat| stat.system, |stat| stat.children_system);
    }
    if !measured_memory {
        usage.rss_bytes = stats.iter().map(|stat| stat.rss_bytes).sum();
    }
    usage
}

/// `true` when the group also counts processor time (the `cpuacct` controller is usually, but not always, mounted with `cpu`).
fn read_v1_cpu(group: &Path, usage: &mut Usage) -> bool {
    let stat = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
    usage.cpu_periods = field_of(&stat, "nr_periods").unwrap_or(0);
    usage.cpu_throttled_periods = field_of(&stat, "nr_throttled").unwrap_or(0);
    usage.cpu_throttled = Duration::from_nanos(field_of(&stat, "throttled_time").unwrap_or(0));
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).unwrap_or_default();
    let period = number(&group.join("cpu.cfs_period_us")).unwrap_or(0);
    usage.cpu_limit_millis = quota_millis(quota.trim(), period);
    let Ok(account) = fs::read_to_string(group.join("cpuacct.stat")) else { return false };
    usage.cpu_user = tree::ticks(field_of(&account, "user").unwrap_or(0));
    usage.cpu_system = tree::ticks(field_of(&account, "system").unwrap_or(0));
    true
}

fn read_v2_cpu(root: &Path, usage: &mut Usage) -> bool {
    let Ok(stat) = fs::read_to_string(root.join("cpu.stat")) else { return false };
    let micros = |key| Duration::from_micros(field_of(&stat, key).unwrap_or(0));
    usage.cpu_user = micros("user_usec");
    usage.cpu_system = micros("system_usec");
    usage.cpu_periods = field_of(&stat, "nr_periods").unwrap_or(0);
    usage.cpu_throttled_periods = field_of(&stat, "nr_throttled").unwrap_or(0);
    usage.cpu_throttled = micros("throttled_usec");
    let max = fs::read_to_string(root.join("cpu.max")).unwrap_or_default();
    if let Some((quota, period)) = max.trim().split_once(' ') {
        usage.cpu_limit_millis = quota_millis(quota, period.parse().unwrap_or(0));
    }
    true
}

/// "max" and "-1" are no limit.
fn quota_millis(quota: &str, period: u64) -> Option<u64> {
    let quota: u64 = quota.parse().ok()?;
    (quota * 1000).checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_read_back() {
        assert_eq!(quota_millis("150000", 100_000), Some(1500));
        assert_eq!(quota_millis("-1", 100_000), None);
        assert_eq!(quota_millis("max", 100_000), None);
        assert_eq!(quota_millis("1", 0), None);
    }

    #[test]
    fn version_two_counters() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("cpu.stat"),
            "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 4\nnr_throttled 1\nthrottled_usec 7\n",
        )
        .unwrap();
        fs::write(dir.path().join("cpu.max"), "50000 100000\n").unwrap();
        let mut usage = Usage::default();
        assert!(read_v2_cpu(dir.path(), &mut usage));
        assert_eq!(
            (usage.cpu_user, usage.cpu_system),
            (Duration::from_micros(10), Duration::from_micros(20))
        );
        assert_eq!(
            (usage.cpu_periods, usage.cpu_throttled_periods, usage.cpu_limit_millis),
            (4, 1, Some(500))
        );
    }
}
