//! What may not stand in the repository at all, and what its documents promise.

use tidy::{code_lines, root, rust_below, sources};

const ALL_RUST: &[&str] = &["api", "master", "agent", "frameworks", "cli", "examples", "tests", "bench"];
/// Past this a newcomer can hardly say in a sentence what a file is about.
const LONGEST_FILE: usize = 900;

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let mut found = Vec::new();
    for source in rust_below(ALL_RUST).iter().filter(|source| !source.path.starts_with("tests/tidy")) {
        for (number, line) in source.text.lines().enumerate() {
            for word in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "XXX"] {
                // The second half of a test that needs a process of its own is started by the first, by name.
                if line.contains(word) && !line.contains("run by another test") {
                    found.push(format!("{}:{}: {word}", source.path.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_file_stays_about_one_thing() {
    let long: Vec<String> = rust_below(ALL_RUST)
        .iter()
        .map(|source| (source, code_lines(&source.text).count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(source, lines)| format!("{}: {lines} lines of code", source.path.display()))
        .collect();
    assert!(long.is_empty(), "more than {LONGEST_FILE} lines:\n{}", long.join("\n"));
}

#[test]
fn every_crate_and_module_says_what_it_is() {
    let silent: Vec<String> = rust_below(&["api", "master", "agent", "frameworks", "cli", "examples"])
        .iter()
        .filter(|source| !source.text.trim_start().starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "without a first sentence:\n{}", silent.join("\n"));
}

/// An invariant in ARCHITECTURE.md ends with ``Test: `name` in `path` ``, one or several: each must exist.
#[test]
fn every_invariant_names_a_test_that_exists() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let invariants: Vec<&str> = text.lines().filter(|line| line.starts_with("- **I")).collect();
    assert!(invariants.len() >= 10, "only {} invariants found", invariants.len());
    for invariant in invariants {
        let tests = invariant.split("Test: ").nth(1).unwrap_or_else(|| panic!("names no test: {invariant}"));
        let quoted: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(
            quoted.len() >= 2 && quoted.len().is_multiple_of(2),
            "`name` in `path` expected: {invariant}"
        );
        for pair in quoted.chunks(2) {
            let (name, path) = (pair[0], pair[1]);
            let code =
                std::fs::read_to_string(root().join(path)).unwrap_or_else(|_| panic!("{path} is gone"));
            assert!(code.contains(&format!("fn {name}(")), "`{name}` is not in {path}");
        }
    }
}

/// The product's text speaks of the product: links lead to files that are there.
#[test]
fn links_between_documents_lead_somewhere() {
    for source in
        sources().iter().filter(|source| source.path.extension().is_some_and(|ending| ending == "md"))
    {
        let folder = root().join(&source.path).parent().expect("a folder").to_owned();
        for part in source.text.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(
                folder.join(file).exists(),
                "{} links to {file}, which is not there",
                source.path.display()
            );
        }
    }
}
