//! The repository's own lint: what the tests in `tests/` look at.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that git knows or would add, with its text.
pub struct Source {
    /// Relative to the root of the repository.
    pub path: PathBuf,
    pub text: String,
}

/// The root of the repository.
///
/// Where this was compiled does not say it: a checkout that shares its target directory with another may run what the
/// other has built, and would then look at the wrong files. Cargo says at run time which crate it tests.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs this and names the crate's folder");
    Path::new(&here).join("../..").canonicalize().expect("the repository's root")
}

/// All text files of the repository, in order.
///
/// Git's list and not a walk over folders, so that build output and editors' droppings are not looked at.
pub fn sources() -> Vec<Source> {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let mut paths: Vec<PathBuf> =
        String::from_utf8(listed.stdout).expect("paths are text").lines().map(PathBuf::from).collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(Source { path, text })
        })
        .collect()
}

/// Rust files below one of `folders`.
pub fn rust_below(folders: &[&str]) -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|source| source.path.extension().is_some_and(|ending| ending == "rs"))
        .filter(|source| folders.iter().any(|folder| source.path.starts_with(folder)))
        .collect()
}

/// The lines outside the file's `#[cfg(test)]` part and outside comments, with their numbers from 1.
///
/// By convention the tests are the last item of a file, so everything after the marker is test code.
pub fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}
