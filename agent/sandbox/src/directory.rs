//! Sandbox directories and the users they belong to.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Who a container runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Why a sandbox directory cannot be made.
#[derive(Debug, Error)]
pub enum DirectoryError {
    #[error("user {0:?} is unknown on this machine")]
    UnknownUser(String),
    #[error("the sandbox directory must be an absolute path, not {0:?}")]
    Relative(PathBuf),
    #[error("{path:?} exists and is not a directory")]
    NotDirectory { path: PathBuf },
    #[error("cannot {what} {path:?}: {source}")]
    System { what: &'static str, path: PathBuf, source: std::io::Error },
}

/// Makes the sandbox directory with its parents, mode 0750, and gives the leaf to `user` (a name or a number; `None` is the
/// agent's own user). Doing it again changes nothing.
pub fn prepare(path: &Path, user: Option<&str>) -> Result<(), DirectoryError> {
    use std::fs;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    if !path.is_absolute() {
        return Err(DirectoryError::Relative(path.into()));
    }
    let system = |what| move |source| DirectoryError::System { what, path: path.into(), source };
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(system("make the parents of"))?;
    }
    match fs::DirBuilder::new().mode(0o750).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system("make")(error)),
    }
    // Not followed: an earlier tenant of the parent must not be able to have another directory handed to its user.
    let status = fs::symlink_metadata(path).map_err(system("look at"))?;
    if !status.is_dir() {
        return Err(DirectoryError::NotDirectory { path: path.into() });
    }
    if let Some(name) = user {
        let Owner { uid, gid } = owner(name)?;
        if (status.uid(), status.gid()) != (uid, gid) {
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(system("change the owner of"))?;
        }
    }
    Ok(())
}

/// Looks a user up by name, or by number when no user has that name.
pub fn owner(user: &str) -> Result<Owner, DirectoryError> {
    let unknown = || DirectoryError::UnknownUser(user.to_owned());
    if let Ok(Some(found)) = nix::unistd::User::from_name(user) {
        return Ok(Owner { uid: found.uid.as_raw(), gid: found.gid.as_raw() });
    }
    let uid: u32 = user.parse().map_err(|_| unknown())?;
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(found)) => Ok(Owner { uid, gid: found.gid.as_raw() }),
        _ => Ok(Owner { uid, gid: uid }),
    }
}
