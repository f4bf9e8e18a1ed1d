//! What this machine has, when nobody says what to offer of it (spec mesos-v1, 9.1).

use std::path::Path;
use std::time::Duration;

use model::time::{Span, Time};

/// Ports offered by default: above the ones of services, below those the kernel hands out.
const PORTS: &str = "ports:[31000-32000]";
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The resources of the machine as text: all processors, memory and disk with something left for the machine itself.
pub(crate) fn resources(data_dir: &Path) -> String {
    format!("{};{PORTS}", share(data_dir, 1))
}

/// What each of `parts` agents on this machine may offer besides ports, as text.
pub fn share(data_dir: &Path, parts: u32) -> String {
    let parts = parts.max(1);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mem = memory().map_or(1024, |bytes| less(bytes, GIB, 2 * GIB) / MIB);
    let disk = disk(data_dir).map_or(10_240, |disk| less(disk.total, 5 * GIB, 10 * GIB) / MIB);
    let cpus = cpus as f64 / f64::from(parts);
    format!("cpus:{cpus:.3};mem:{};disk:{}", mem / u64::from(parts), disk / u64::from(parts))
}

/// `total` less `reserve`, or half of it when it is below `small`.
fn less(total: u64, reserve: u64, small: u64) -> u64 {
    if total < small { total / 2 } else { total - reserve }
}

/// Total memory in bytes.
pub(crate) fn memory() -> Option<u64> {
    meminfo("MemTotal:")
}

/// Memory that tasks could get now, in bytes.
pub(crate) fn free_memory() -> Option<u64> {
    meminfo("MemAvailable:")
}

fn meminfo(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

/// The load averages of 1, 5 and 15 minutes.
pub(crate) fn load() -> Option<[f64; 3]> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

/// The file system below a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Disk {
    /// The used part in thousandths: what cannot be had any more, reserves of root included.
    pub(crate) fn used(self) -> u64 {
        1000 - (u128::from(self.available) * 1000 / u128::from(self.total.max(1))).min(1000) as u64
    }
}

pub(crate) fn disk(path: &Path) -> Option<Disk> {
    // The directory itself may not be there yet.
    let path = path.ancestors().find(|path| path.exists())?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = rustix::fs::statvfs(path).ok()?;
    Some(Disk { total: found.f_blocks * found.f_frsize, available: found.f_bavail * found.f_frsize })
}

/// A text that changes with each boot.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// When this boot was, if it is `now`. Seen from two processes of one boot, it moves by as much as the clock was set.
pub(crate) fn booted(now: Time) -> Option<Time> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(now - Span::from(Duration::try_from_secs_f64(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_machines_give_half() {
        assert_eq!(less(GIB, GIB, 2 * GIB), GIB / 2);
        assert_eq!(less(8 * GIB, GIB, 2 * GIB), 7 * GIB);
    }

    #[test]
    fn this_machine_has_something_to_offer() {
        let bag = model::resources::Bag::parse(&resources(Path::new("/nonexistent/below/root"))).unwrap();
        assert!(!bag.cpus().is_zero() && !bag.mem().is_zero() && !bag.disk().is_zero());
        assert!(!boot_id().is_empty());
        let now = Time::from_secs(1_700_000_000);
        assert!(booted(now).is_some_and(|at| at < now));
    }

    #[test]
    fn used_counts_what_is_not_available() {
        assert_eq!(Disk { total: 1000, available: 250 }.used(), 750);
        assert_eq!(Disk { total: 0, available: 0 }.used(), 1000);
    }
}
