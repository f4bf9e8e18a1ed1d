//! Processes and their descendants, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The parts of `/proc/<pid>/stat` that matter here. Times are in clock ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// Of children that ended and were waited for, with theirs.
    pub(crate) children_user: u64,
    pub(crate) children_system: u64,
    pub(crate) rss_bytes: u64,
}

impl Stat {
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in parentheses may contain anything, also spaces and parentheses; fields are counted from its end.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            user: number(11)?,
            system: number(12)?,
            children_user: number(13)?,
            children_system: number(14)?,
            rss_bytes: number(21)? * page_size(),
        })
    }
}

fn page_size() -> u64 {
    // SAFETY: sysconf takes and returns numbers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Clock ticks as time.
pub(crate) fn ticks(count: u64) -> Duration {
    // SAFETY: sysconf takes and returns numbers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1);
    Duration::from_millis(count.saturating_mul(1000) / per_second)
}

/// Every process that descends from `root`, or belongs to a session begun by one that does, without `root` itself.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    select(root, &processes())
}

fn processes() -> BTreeMap<i32, Stat> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect()
}

fn select(root: i32, processes: &BTreeMap<i32, Stat>) -> Vec<i32> {
    let mut chosen = std::collections::BTreeSet::from([root]);
    loop {
        let before = chosen.len();
        for (pid, stat) in processes {
            if chosen.contains(&stat.parent)
                || (stat.session != *pid && stat.session != root && chosen.contains(&stat.session))
            {
                chosen.insert(*pid);
            }
        }
        if chosen.len() == before {
            chosen.remove(&root);
            return chosen.into_iter().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse_the_parser() {
        let text = "12 (a b) c) S 3 12 9 0 -1 4194560 1 0 0 0 5 6 7 8 20 0 1 0 100 1000 2 184467 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.user, stat.children_system), (3, 9, 5, 8));
        assert_eq!(stat.rss_bytes, 2 * page_size());
    }

    #[test]
    fn families_are_found_by_descent_and_session() {
        let stat = |parent, session| Stat {
            parent,
            session,
            user: 0,
            system: 0,
            children_user: 0,
            children_system: 0,
            rss_bytes: 0,
        };
        let processes = BTreeMap::from([
            (1, stat(0, 1)),
            (10, stat(1, 10)),  // the root
            (11, stat(10, 11)), // child with its own session
            (12, stat(11, 11)),
            (13, stat(1, 11)), // orphan of that session
            (20, stat(1, 10)), // in the root's own session, but not its child: another's
            (21, stat(1, 21)),
        ]);
        assert_eq!(select(10, &processes), [11, 12, 13]);
    }
}
