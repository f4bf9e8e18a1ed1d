//! The directories of persistent volumes: `volumes/roles/<role>/<id>` below the data directory (spec mesos-v1, 10.3).
//!
//! Nothing is ever removed in place: a directory is renamed out of the way, which takes no time, and emptied by the
//! janitor. So a new volume of the same name never sees the data of the old one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_core::{Job, Source, Volume};
use sandbox::volume::{Shown, show};
use sandbox::{directory, docker};

use crate::containers;
use crate::error::Error;

pub(crate) struct Volumes {
    roles: PathBuf,
    trash: PathBuf,
}

impl Volumes {
    /// The volumes below `root`, and what an earlier process has not got around to emptying.
    ///
    /// # Errors
    /// A disk that does not work.
    pub(crate) fn open(root: &Path) -> Result<(Self, Vec<PathBuf>), Error> {
        let volumes = Self { roles: root.join("roles"), trash: root.join("destroyed") };
        for path in [&volumes.roles, &volumes.trash] {
            fs::create_dir_all(path).map_err(Error::disk("make", path))?;
        }
        let entries = fs::read_dir(&volumes.trash).map_err(Error::disk("read", &volumes.trash))?;
        Ok((volumes, entries.flatten().map(|entry| entry.path()).collect()))
    }

    /// Where a volume is. A role may have `/` in it, which no name of a directory has, and has never a blank.
    pub(crate) fn path(&self, volume: &Volume) -> PathBuf {
        self.roles.join(volume.role.to_string().replace('/', " ")).join(volume.id.as_str())
    }

    /// Makes the directory of a new volume; what lay there is returned, out of the way.
    pub(crate) fn make(&self, volume: &Volume) -> io::Result<Option<PathBuf>> {
        let path = self.path(volume);
        let before = self.take(&path)?;
        fs::create_dir_all(&path)?;
        Ok(before)
    }

    /// Where the data of a volume are now that it is destroyed; `None` when there were none.
    pub(crate) fn remove(&self, volume: &Volume) -> io::Result<Option<PathBuf>> {
        let path = self.path(volume);
        let taken = self.take(&path)?;
        // Fails as long as the role has others.
        let _ = path.parent().map(fs::remove_dir);
        Ok(taken)
    }

    fn take(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let away = self.trash.join(uuid::Uuid::new_v4().to_string());
        match fs::rename(path, &away) {
            Ok(()) => Ok(Some(away)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What Docker is told of a job's volumes: a link in the sandbox would lead nowhere in an image.
    ///
    /// # Errors
    /// A sentence for people, about the first that cannot be made.
    pub(crate) fn mounts(&self, job: &Job) -> Result<Vec<docker::Mount>, String> {
        let user = containers::user(&job.task, &job.framework);
        let mut mounts = Vec::new();
        for mount in &job.task.mounts {
            let Source::Volume { volume, .. } = &mount.source else { continue };
            let path = self.path(volume);
            directory::prepare(&path, user.as_deref()).map_err(|error| error.to_string())?;
            mounts.push(docker::Mount {
                source: docker::MountSource::Path(path),
                target: format!("{}/{}", docker::SANDBOX, mount.path),
                read_only: false,
            });
        }
        Ok(mounts)
    }

    /// Shows a job's directories in its sandbox.
    ///
    /// # Errors
    /// A sentence for people, about the first that cannot be shown.
    pub(crate) fn show(&self, job: &Job, sandbox: &Path) -> Result<(), String> {
        let user = containers::user(&job.task, &job.framework);
        // Of a task in a group: `tasks/<task>` below the sandbox that they share.
        let shared = job.sandbox.task.as_ref().and_then(|_| sandbox.parent()?.parent()).unwrap_or(sandbox);
        for mount in &job.task.mounts {
            let shown = match &mount.source {
                Source::Volume { volume, shared } => {
                    let path = self.path(volume);
                    let what = if *shared { Shown::Shared(&path) } else { Shown::Given(&path) };
                    show(sandbox, user.as_deref(), &mount.path, what)
                }
                Source::Executor(path) => {
                    show(sandbox, user.as_deref(), &mount.path, Shown::Beneath { root: shared, path })
                }
            };
            shown.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(role: &str, id: &str) -> Volume {
        Volume { role: role.parse().unwrap(), id: id.into() }
    }

    #[test]
    fn a_new_volume_never_sees_the_data_of_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (volumes, left) = Volumes::open(dir.path()).unwrap();
        assert_eq!(left, Vec::<PathBuf>::new());
        let data = volume("eng/web", "data");
        volumes.make(&data).unwrap();
        assert_eq!(volumes.path(&data), dir.path().join("roles/eng web/data"));
        fs::write(volumes.path(&data).join("secret"), "1").unwrap();
        let taken = volumes.remove(&data).unwrap().expect("its data");
        assert!(!dir.path().join("roles/eng web").exists(), "the last one takes its role along");
        assert_eq!(volumes.remove(&data).unwrap(), None);
        volumes.make(&data).unwrap();
        assert_eq!(fs::read_dir(volumes.path(&data)).unwrap().count(), 0);
        // Whatever came to lie there meanwhile.
        fs::write(volumes.path(&data).join("stray"), "1").unwrap();
        assert!(volumes.make(&data).unwrap().is_some());
        assert_eq!(fs::read_dir(volumes.path(&data)).unwrap().count(), 0);
        let (_, left) = Volumes::open(dir.path()).unwrap();
        assert!(left.contains(&taken) && left.len() == 2, "for the janitor");
    }
}
