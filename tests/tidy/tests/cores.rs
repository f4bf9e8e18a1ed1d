//! Cores stay pure: no clock, no randomness, no IO, no locks, no order that differs between runs.

use tidy::{code_lines, rust_below};

/// Crates and modules that the simulator drives.
const CORES: &[&str] = &[
    "api/model/src",
    "master/core/src",
    "agent/core/src",
    "frameworks/marathon/src/core",
    "frameworks/chronos/src/core",
];

/// What may not appear in them, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("Instant", "time is an argument (`model::time::Time`)"),
    ("SystemTime", "time is an argument (`model::time::Time`)"),
    ("HashMap", "its order differs between runs: take a BTreeMap"),
    ("HashSet", "its order differs between runs: take a BTreeSet"),
    ("rand::", "randomness is an argument"),
    ("Uuid::new", "ids are arguments"),
    ("std::fs", "IO belongs to the driver"),
    ("std::net", "IO belongs to the driver"),
    ("std::env", "IO belongs to the driver"),
    ("std::thread", "threads belong to the driver"),
    ("tokio", "the driver owns the runtime"),
    ("async fn", "a core never waits"),
    ("Mutex", "a core has one owner and needs no lock"),
    ("RwLock", "a core has one owner and needs no lock"),
    ("println!", "a core says what it has to say as an effect"),
];

#[test]
fn cores_have_no_clock_no_randomness_no_io_and_no_locks() {
    let mut found = Vec::new();
    for source in rust_below(CORES) {
        for (number, line) in code_lines(&source.text) {
            for (word, instead) in BANNED {
                if line.contains(word) {
                    found.push(format!("{}:{number}: `{word}`: {instead}", source.path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_ban_looks_at_every_core() {
    for core in CORES {
        assert!(!rust_below(&[core]).is_empty(), "{core} has no source: was it moved?");
    }
}
