//! Where the record files are.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Places that are usually in memory, the better one first.
const VOLATILE: [&str; 2] = ["/run", "/dev/shm"];

/// `f_type` of a file system in memory.
const TMPFS: i128 = 0x0102_1994;

/// The runtime directory of the agent with this data directory: in memory where there is a file system in memory, because records mean
/// nothing after a restart of the machine and making a file on a disk costs as much as the rest of a launch. The choice stays: it is
/// the link `runtime` in the data directory.
///
/// # Errors
/// When neither that link nor a directory of that name can be made.
pub fn runtime_directory(data_dir: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(data_dir)?;
    let own = data_dir.join("runtime");
    match fs::read_link(&own) {
        Ok(chosen) => return Ok(chosen),
        // A directory: chosen when there was no other place.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(own),
        Err(_) => {}
    }
    let status = fs::metadata(data_dir)?;
    let name = format!("stoa-{}-{:x}-{:x}", nix::unistd::geteuid(), status.dev(), status.ino());
    for place in VOLATILE.map(Path::new) {
        let path = place.join(&name);
        if in_memory(place) && make_private(&path).is_ok() {
            symlink(&path, &own)?;
            return Ok(path);
        }
    }
    make_private(&own)?;
    Ok(own)
}

fn in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|status| i128::from(status.f_type) == TMPFS)
}

/// Makes a directory for nobody but us: records are trusted. One that somebody else made in a public place is refused.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let status = fs::symlink_metadata(path)?;
    if !status.is_dir() || status.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it is not a directory of our own"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_stays() {
        let data = tempfile::tempdir().unwrap();
        let first = runtime_directory(data.path()).unwrap();
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(runtime_directory(data.path()).unwrap(), first);
        // As after a restart of the machine.
        fs::remove_dir(&first).unwrap();
        if first.parent() != Some(data.path()) {
            assert_eq!(runtime_directory(data.path()).unwrap(), first);
        }
        let other = tempfile::tempdir().unwrap();
        let second = runtime_directory(other.path()).unwrap();
        assert_ne!(second, first, "each data directory has its own");
        fs::remove_dir(second).unwrap();
    }

    #[test]
    fn a_directory_chosen_once_is_kept() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("runtime")).unwrap();
        assert_eq!(runtime_directory(data.path()).unwrap(), data.path().join("runtime"));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let elsewhere = place.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, place.path().join("link")).unwrap();
        assert!(make_private(&place.path().join("link")).is_err());
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&elsewhere, Some(12345), None).unwrap();
            assert!(make_private(&elsewhere).is_err());
        }
    }
}
