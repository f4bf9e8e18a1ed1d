//! Which crate may see which: the walls of the design, read from the manifests.

use std::collections::{BTreeMap, BTreeSet};

use tidy::{root, sources};

/// A crate and all of ours that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("model", &["wire"]),
    ("client", &["wire", "model"]),
    ("front", &[]),
    ("master-core", &["wire", "model"]),
    ("replica", &[]),
    ("ui", &[]),
    ("master", &["wire", "model", "master-core", "replica", "ui", "front"]),
    ("agent-core", &["wire", "model"]),
    ("sandbox", &[]),
    ("agent", &["wire", "model", "agent-core", "sandbox", "front"]),
    ("sdk", &["wire", "model", "client"]),
    ("marathon", &["wire", "model", "client", "sdk", "ui", "front"]),
    ("chronos", &["model", "sdk", "front"]),
    ("haproxy", &["wire", "model", "front"]),
    // What an author of a scheduler has: the kit and nothing behind it.
    ("batch", &["sdk"]),
    ("stoa", &["wire", "model", "front", "master", "agent", "marathon", "chronos", "haproxy", "sandbox"]),
];

fn manifests() -> BTreeMap<String, toml::Table> {
    sources()
        .into_iter()
        .filter(|source| source.path.ends_with("Cargo.toml") && source.path.components().count() > 1)
        .map(|source| {
            let manifest: toml::Table = source.text.parse().expect("a manifest is TOML");
            (manifest["package"]["name"].as_str().expect("a name").to_owned(), manifest)
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn no_crate_sees_what_it_must_not() {
    let manifests = manifests();
    let ours: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ALLOWED {
        let manifest =
            manifests.get(*name).unwrap_or_else(|| panic!("the crate `{name}` is gone: mend this table"));
        for dependency in dependencies(manifest).iter().filter(|other| ours.contains(other.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "`{name}` must not depend on `{dependency}`");
        }
    }
}

#[test]
fn every_dependency_is_named_once_for_the_workspace_and_used() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let workspace: toml::Table = text.parse().expect("TOML");
    let named: BTreeSet<String> =
        workspace["workspace"]["dependencies"].as_table().expect("a table").keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, manifest) in manifests() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, how) in
                manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten()
            {
                let inherited = how.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "`{name}` names its own version of `{dependency}`");
                used.insert(dependency.clone());
            }
        }
    }
    let idle: Vec<&String> = named.difference(&used).collect();
    assert!(idle.is_empty(), "named for the workspace but used nowhere: {idle:?}");
}

/// Named for the features that come with it, as its manifest says.
const FOR_ITS_FEATURES: (&str, &str) = ("tests/tidy", "proptest");

/// What a crate names but does not use is compiled for nothing, and misleads whoever reads the manifest.
#[test]
fn every_crate_uses_what_it_depends_on() {
    let sources = sources();
    let mut idle = Vec::new();
    for manifest in sources.iter().filter(|source| source.path.ends_with("Cargo.toml")) {
        let folder = manifest.path.parent().expect("a manifest lies in a folder");
        let table: toml::Table = manifest.text.parse().expect("TOML");
        let code: Vec<&str> = sources
            .iter()
            .filter(|source| {
                source.path.starts_with(folder) && source.path.extension().is_some_and(|e| e == "rs")
            })
            .map(|source| source.text.as_str())
            .collect();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in
                table.get(section).and_then(toml::Value::as_table).into_iter().flatten().map(|(name, _)| name)
            {
                let word = name.replace('-', "_");
                let uses = [format!("{word}::"), format!("use {word}"), format!("{word}!(")];
                if Some(FOR_ITS_FEATURES) == folder.to_str().map(|folder| (folder, name.as_str())) {
                    continue;
                }
                if !code.iter().any(|text| uses.iter().any(|form| text.contains(form.as_str()))) {
                    idle.push(format!("{}: {name}", folder.display()));
                }
            }
        }
    }
    assert!(idle.is_empty(), "named in manifests but used by no code:\n{}", idle.join("\n"));
}

/// Faults planted for the simulator to find are behind a feature that nobody else asks for.
#[test]
fn planted_faults_are_compiled_for_the_simulator_alone() {
    for (name, manifest) in manifests() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            for (dependency, how) in table.into_iter().flatten() {
                let optional = how.get("optional").and_then(toml::Value::as_bool) == Some(true);
                assert!(dependency != "mutant" || optional, "`{name}` always depends on `mutant`");
                assert!(
                    !how.to_string().contains("mutants"),
                    "`{name}` asks `{dependency}` for its planted faults"
                );
            }
        }
        let features = manifest.get("features").and_then(toml::Value::as_table);
        for (feature, parts) in features.into_iter().flatten().filter(|(feature, _)| *feature != "mutants") {
            assert!(!parts.to_string().contains("mutant"), "`{name}` has planted faults in its `{feature}`");
        }
    }
    let marker = "#[cfg(feature = \"mutants\")]";
    for source in tidy::rust_below(&["api", "master", "agent", "frameworks", "cli"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.contains("mutant::")) {
            let before = &lines[at.saturating_sub(4)..at];
            let gated = before.iter().any(|line| line.trim() == marker);
            assert!(gated, "{}:{}: a planted fault without its gate", source.path.display(), at + 1);
        }
    }
}
