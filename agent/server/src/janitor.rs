//! The thread for slow work on the disk that nobody waits for: removing old sandboxes, measuring.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use agent_core::{Input, Sandbox};
use model::id;
use model::time::{Span, Time};
use tokio::sync::mpsc::UnboundedSender;

use crate::error::Error;
use crate::machine;

/// Paths removed so far, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

enum Work {
    Remove(Sandbox),
    /// A directory that is out of the way already.
    Empty(PathBuf),
    Measure,
}

/// A handle on the thread, which ends with it.
pub(crate) struct Janitor {
    work: Sender<Work>,
    pub(crate) removals: Arc<Removals>,
}

impl Janitor {
    pub(crate) fn start(sandboxes: PathBuf, inputs: UnboundedSender<Input>) -> Result<Self, Error> {
        let (work, inbox) = channel();
        let removals = Arc::new(Removals::default());
        let counts = Arc::clone(&removals);
        let start = Error::disk("start the janitor of", sandboxes.clone());
        let run = move || {
            for work in inbox {
                match work {
                    Work::Remove(sandbox) => count(&counts, &sandbox, remove(&sandboxes, &sandbox)),
                    Work::Empty(path) => {
                        if let Err(error) = fs::remove_dir_all(&path) {
                            tracing::warn!(path = %path.display(), %error, "cannot remove the data of a destroyed volume");
                        }
                    }
                    // An unknown disk is treated as an empty one: nothing is removed for its sake.
                    Work::Measure => {
                        let used = machine::disk(&sandboxes).map_or(0, machine::Disk::used);
                        let _ = inputs.send(Input::Disk { used });
                    }
                }
            }
        };
        std::thread::Builder::new().name("janitor".into()).spawn(run).map_err(start)?;
        Ok(Self { work, removals })
    }

    pub(crate) fn remove(&self, sandbox: Sandbox) {
        let _ = self.work.send(Work::Remove(sandbox));
    }

    /// Removes a directory that nobody looks for any more.
    pub(crate) fn empty(&self, path: PathBuf) {
        let _ = self.work.send(Work::Empty(path));
    }

    pub(crate) fn measure(&self) {
        let _ = self.work.send(Work::Measure);
    }
}

fn count(counts: &Removals, sandbox: &Sandbox, result: io::Result<()>) {
    match result {
        Ok(()) => counts.succeeded.fetch_add(1, Ordering::Relaxed),
        Err(error) => {
            tracing::warn!(framework = %sandbox.framework, sandbox = %sandbox.name, %error, "cannot remove a sandbox");
            counts.failed.fetch_add(1, Ordering::Relaxed)
        }
    };
}

/// The directory of a sandbox; `None` for names that would lead elsewhere.
pub(crate) fn path(sandboxes: &Path, sandbox: &Sandbox) -> Option<PathBuf> {
    let parts = [Some(sandbox.framework.as_str()), Some(sandbox.name.as_str()), sandbox.task.as_deref()];
    let sound = parts.iter().flatten().all(|part| id::check(part).is_ok());
    let shared = sound.then(|| sandboxes.join(sandbox.framework.as_str()).join(&sandbox.name))?;
    Some(sandbox.task.iter().fold(shared, |shared, task| shared.join("tasks").join(task)))
}

fn remove(sandboxes: &Path, sandbox: &Sandbox) -> io::Result<()> {
    let path = path(sandboxes, sandbox).ok_or(io::ErrorKind::InvalidInput)?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Fails as long as there are others of the framework.
    let _ = path.parent().map(fs::remove_dir);
    Ok(())
}

/// The sandboxes on disk, with the time of their last change; at most `most`.
pub(crate) fn found(sandboxes: &Path, most: usize) -> Vec<(Sandbox, Time)> {
    let directories = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    let frameworks = directories(sandboxes);
    let all = frameworks.flat_map(|framework| {
        let id = framework.file_name();
        directories(&framework.path()).filter_map(move |entry| {
            let changed = entry.metadata().ok()?.mtime();
            let sandbox = Sandbox::new(id.to_str()?.into(), entry.file_name().to_str()?);
            Some((sandbox, Time::ZERO + Span::from_secs(u64::try_from(changed).unwrap_or(0))))
        })
    });
    all.take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(framework: &str, name: &str) -> Sandbox {
        Sandbox::new(framework.into(), name)
    }

    #[test]
    fn names_that_lead_elsewhere_remove_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let keep = dir.path().join("keep");
        fs::create_dir_all(dir.path().join("sandboxes/f")).unwrap();
        fs::create_dir_all(&keep).unwrap();
        let root = dir.path().join("sandboxes");
        let inside = Sandbox { task: Some("..".into()), ..sandbox("f", "x") };
        assert!(remove(&root, &inside).is_err());
        for (framework, name) in [("..", "keep"), ("f", ".."), ("f", "../../keep"), ("", "f"), ("f", "")] {
            assert!(remove(&root, &sandbox(framework, name)).is_err(), "{framework}/{name}");
        }
        assert!(keep.exists() && root.join("f").exists());
    }

    #[test]
    fn the_last_sandbox_of_a_framework_takes_its_directory_along() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir_all(dir.path().join("f").join(name).join("deep")).unwrap();
        }
        assert_eq!(found(dir.path(), 10).len(), 2);
        remove(dir.path(), &sandbox("f", "a")).unwrap();
        assert!(dir.path().join("f").exists());
        remove(dir.path(), &sandbox("f", "b")).unwrap();
        assert!(!dir.path().join("f").exists());
        remove(dir.path(), &sandbox("f", "b")).expect("gone is gone");
    }
}
