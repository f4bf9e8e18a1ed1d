//! Directories that tasks see inside their sandboxes: persistent volumes, and what they share with others.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use thiserror::Error;

use crate::directory::{self, DirectoryError};
use crate::fetch::BadPath;
use crate::fetch::beneath::{Beneath, Inside};
use crate::limits::MAX_PATH_BYTES;

/// Why a directory cannot be shown in a sandbox.
#[derive(Debug, Error)]
pub enum VolumeError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the path {path:?} in the sandbox: {reason}")]
    Path { path: String, reason: BadPath },
    #[error("cannot make {path:?} in the sandbox: {source}")]
    System { path: String, source: std::io::Error },
}

/// A directory to be shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// One of the machine's, which is made if it is missing and given to the user.
    Given(&'a Path),
    /// Likewise, but it stays whose it is once it is there: several use it.
    Shared(&'a Path),
    /// A path below a directory that others have as their sandbox.
    Beneath { root: &'a Path, path: &'a str },
}

/// Shows a directory at `at` in a sandbox, for `user` (`None` is the agent's own).
///
/// A symbolic link does it, which needs no privileges, is there for whoever looks into the sandbox from outside, and is not
/// followed by what removes one. Doing it again changes nothing.
///
/// # Errors
/// Paths that lead out of the sandbox, names that are taken, users that are unknown.
pub fn show(sandbox: &Path, user: Option<&str>, at: &str, what: Shown<'_>) -> Result<(), VolumeError> {
    directory::prepare(sandbox, user)?;
    let owner = user.map(directory::owner).transpose()?;
    let target = match what {
        Shown::Given(path) => {
            directory::prepare(path, user)?;
            path.to_owned()
        }
        Shown::Shared(path) => {
            if !path.exists() {
                directory::prepare(path, user)?;
            }
            path.to_owned()
        }
        Shown::Beneath { root, path } => {
            directory::prepare(root, user)?;
            let inside = parse(path)?;
            let system = |source| VolumeError::System { path: path.to_owned(), source };
            let mut beneath = Beneath::open(root, owner).map_err(system)?;
            beneath.make_dir(&inside, 0o750).map_err(system)?;
            root.join(path)
        }
    };
    let system = |source| VolumeError::System { path: at.to_owned(), source };
    let inside = parse(at)?;
    let mut beneath = Beneath::open(sandbox, owner).map_err(system)?;
    beneath.make_link(&inside, target.as_os_str().as_bytes()).map_err(system)
}

fn parse(path: &str) -> Result<Inside, VolumeError> {
    Inside::parse(path.as_bytes(), MAX_PATH_BYTES)
        .map_err(|reason| VolumeError::Path { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_written_through_it_outlives_the_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        let (sandbox, volume) = (dir.path().join("sandbox"), dir.path().join("volumes/v"));
        for _ in 0..2 {
            show(&sandbox, None, "deep/data", Shown::Given(&volume)).unwrap();
        }
        fs::write(sandbox.join("deep/data/kept"), "1").unwrap();
        fs::remove_dir_all(&sandbox).unwrap();
        assert_eq!(fs::read_to_string(volume.join("kept")).unwrap(), "1");
    }

    #[test]
    fn two_sandboxes_share_a_part_of_a_third() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pod");
        for task in ["a", "b"] {
            let what = Shown::Beneath { root: &root, path: "shared" };
            show(&root.join("tasks").join(task), None, "common", what).unwrap();
        }
        fs::write(root.join("tasks/a/common/x"), "1").unwrap();
        assert_eq!(fs::read_to_string(root.join("tasks/b/common/x")).unwrap(), "1");
    }

    #[test]
    fn nothing_is_made_outside_and_nothing_of_the_tasks_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (sandbox, volume) = (dir.path().join("sandbox"), dir.path().join("v"));
        let outside = dir.path().join("outside");
        fs::create_dir_all(sandbox.join("taken/full")).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, sandbox.join("link")).unwrap();
        for at in ["/data", "../data", "a/../../data", "link/data", "taken", "", "."] {
            let error = show(&sandbox, None, at, Shown::Given(&volume)).expect_err(at);
            assert!(error.to_string().contains("in the sandbox"), "{at}: {error}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(sandbox.join("taken/full").exists());
        let up = Shown::Beneath { root: &sandbox, path: "../up" };
        assert!(show(&sandbox, None, "x", up).is_err());
    }
}
