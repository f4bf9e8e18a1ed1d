//! Writing below a directory and nowhere else.
//!
//! Names come from archives and URIs of strangers. Each path is taken apart and walked from the sandbox's own descriptor, one
//! component at a time, without following links and without `..`; so there is nothing that a link, however it came to be there
//! and whenever it is changed, could lead astray.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::error::BadPath;
use crate::directory::Owner;

/// Permissions that survive: no setuid, setgid or sticky bit.
const PERMISSIONS: u32 = 0o777;

/// A relative path of plain names, possibly none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inside(Vec<OsString>);

impl Inside {
    /// Takes a path apart; empty components and `.` vanish.
    pub(crate) fn parse(path: &[u8], limit: usize) -> Result<Self, BadPath> {
        if path.len() > limit {
            return Err(BadPath::Long(limit));
        }
        if path.contains(&0) {
            return Err(BadPath::Nul);
        }
        if path.first() == Some(&b'/') {
            return Err(BadPath::Absolute);
        }
        let mut names = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => return Err(BadPath::Parent),
                name => names.push(OsStr::from_bytes(name).to_owned()),
            }
        }
        Ok(Self(names))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn split(&self) -> Option<(&OsStr, &[OsString])> {
        self.0.split_last().map(|(name, parents)| (name.as_os_str(), parents))
    }

    /// Whether a symbolic link at this place with this target stays inside, whatever other such links there are: it may
    /// first go up, but not above the top, and then only down. (A `..` after a name could go up from wherever another link at that
    /// name leads.)
    pub(super) fn link_stays_inside(&self, target: &[u8]) -> bool {
        let mut depth = self.0.len().saturating_sub(1);
        let mut descending = false;
        if target.is_empty() || target[0] == b'/' || target.contains(&0) {
            return false;
        }
        for name in target.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." if descending || depth == 0 => return false,
                b".." => depth -= 1,
                _ => descending = true,
            }
        }
        true
    }

    pub(super) fn display(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|name| name.to_string_lossy()).collect();
        names.join("/")
    }
}

/// A directory that can be written below.
pub(crate) struct Beneath {
    root: Rc<OwnedFd>,
    owner: Option<Owner>,
    /// The directory of the last path: archives list a directory's files one after another.
    last: Option<(Vec<OsString>, Rc<OwnedFd>)>,
}

impl Beneath {
    /// `owner`: whom everything made here shall belong to; `None` is us.
    pub(crate) fn open(root: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = Rc::new(rustix::fs::open(root, flags, Mode::empty())?);
        Ok(Self { root, owner, last: None })
    }

    /// Makes a directory with its parents; an existing one is all right.
    pub(crate) fn make_dir(&mut self, path: &Inside, mode: u32) -> io::Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let dir = self.dir(&path.0)?;
        rustix::fs::fchmod(&*dir, Mode::from_raw_mode(mode & PERMISSIONS | 0o700))?;
        Ok(())
    }

    /// Makes a new file for writing, in the place of any file or link of that name, with its parent directories.
    pub(super) fn make_file(&mut self, path: &Inside, mode: u32) -> io::Result<File> {
        let (name, parents) = path.split().ok_or(Errno::ISDIR)?;
        let (parent, name) = (self.dir(parents)?, name.to_owned());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDWR;
        let make = || rustix::fs::openat(&*parent, &name, flags, Mode::from_raw_mode(0o600));
        let file = match make() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&*parent, &name, AtFlags::empty())?;
                make()?
            }
            other => other?,
        };
        self.give(&file)?;
        // After the change of owner, and past the process's umask.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & PERMISSIONS | 0o600))?;
        Ok(File::from(file))
    }

    /// Makes a symbolic link. The caller has seen to it that it [stays inside](Inside::link_stays_inside).
    pub(crate) fn make_link(&mut self, path: &Inside, target: &[u8]) -> io::Result<()> {
        let (name, parents) = path.split().ok_or(Errno::ISDIR)?;
        let parent = self.dir(parents)?;
        let make = || rustix::fs::symlinkat(OsStr::from_bytes(target), &*parent, name);
        match make() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&*parent, name, AtFlags::empty())?;
                make()?;
            }
            other => other?,
        }
        if let Some(Owner { uid, gid }) = self.owner {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&*parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
        }
        Ok(())
    }

    /// Gives an ordinary file in here a second name. `false`: `target` is not one.
    pub(super) fn make_hard_link(&mut self, path: &Inside, target: &Inside) -> io::Result<bool> {
        let Some((old_name, old_parents)) = target.split() else { return Ok(false) };
        let Ok(old_parent) = self.existing_dir(old_parents) else { return Ok(false) };
        match rustix::fs::statat(&*old_parent, old_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {}
            _ => return Ok(false),
        }
        if path == target {
            return Ok(true);
        }
        let (name, parents) = path.split().ok_or(Errno::ISDIR)?;
        let parent = self.dir(parents)?;
        let make = || rustix::fs::linkat(&*old_parent, old_name, &*parent, name, AtFlags::empty());
        match make() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&*parent, name, AtFlags::empty())?;
                make()?;
            }
            other => other?,
        }
        Ok(true)
    }

    /// Moves a file made here to its name, in the place of any file or link.
    pub(super) fn rename(&mut self, from: &Inside, to: &Inside) -> io::Result<()> {
        let (old_name, old_parents) = from.split().ok_or(Errno::ISDIR)?;
        let old_parent = self.existing_dir(old_parents)?;
        let (name, parents) = to.split().ok_or(Errno::ISDIR)?;
        let parent = self.dir(parents)?;
        Ok(rustix::fs::renameat(&*old_parent, old_name, &*parent, name)?)
    }

    pub(super) fn remove(&mut self, path: &Inside) -> io::Result<()> {
        let (name, parents) = path.split().ok_or(Errno::ISDIR)?;
        Ok(rustix::fs::unlinkat(&*self.existing_dir(parents)?, name, AtFlags::empty())?)
    }

    fn give(&self, file: impl AsFd) -> io::Result<()> {
        if let Some(Owner { uid, gid }) = self.owner {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(())
    }

    /// Opens a directory, making what is missing.
    fn dir(&mut self, names: &[OsString]) -> io::Result<Rc<OwnedFd>> {
        if let Some((last, dir)) = &self.last
            && last == names
        {
            return Ok(Rc::clone(dir));
        }
        let mut dir = Rc::clone(&self.root);
        for name in names {
            dir = match step(&dir, name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&*dir, name, Mode::from_raw_mode(0o755))?;
                    let made = step(&dir, name)?;
                    self.give(&made)?;
                    Rc::new(made)
                }
                other => Rc::new(other?),
            };
        }
        self.last = Some((names.to_vec(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn existing_dir(&self, names: &[OsString]) -> io::Result<Rc<OwnedFd>> {
        let mut dir = Rc::clone(&self.root);
        for name in names {
            dir = Rc::new(step(&dir, name)?);
        }
        Ok(dir)
    }
}

fn step(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn inside(path: &str) -> Inside {
        Inside::parse(path.as_bytes(), 1024).unwrap()
    }

    #[test]
    fn paths_that_leave_are_refused() {
        let parse = |path: &str| Inside::parse(path.as_bytes(), 20);
        assert_eq!(parse("/etc/passwd"), Err(BadPath::Absolute));
        assert_eq!(parse("a/../b"), Err(BadPath::Parent));
        assert_eq!(parse(".."), Err(BadPath::Parent));
        assert_eq!(parse("a\0b"), Err(BadPath::Nul));
        assert_eq!(parse("123456789012345678901"), Err(BadPath::Long(20)));
        assert_eq!(parse("./a//b/./c/").unwrap(), inside("a/b/c"));
        assert_eq!(parse("a/...").unwrap().display(), "a/...");
        assert!(parse("./").unwrap().is_empty());
    }

    #[test]
    fn links_may_go_up_first_and_then_only_down() {
        let stays = |link: &str, target: &str| inside(link).link_stays_inside(target.as_bytes());
        assert!(stays("bin/x", "../lib/x"));
        assert!(stays("x", "lib/x"));
        assert!(stays("x", "."));
        assert!(!stays("x", "../y"));
        assert!(!stays("a/x", "../../y"));
        assert!(!stays("x", "/etc/passwd"));
        // With another link `here -> .`, this leads above the top.
        assert!(!stays("x", "here/here/../.."));
        assert!(!stays("x", ""));
    }

    #[test]
    fn nothing_is_written_through_links() {
        let home = tempfile::tempdir().unwrap();
        let (root, outside) = (home.path().join("root"), home.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("dir")).unwrap();
        std::os::unix::fs::symlink(outside.join("precious"), root.join("file")).unwrap();
        let mut beneath = Beneath::open(&root, None).unwrap();
        assert!(beneath.make_file(&inside("dir/new"), 0o644).is_err());
        assert!(beneath.make_dir(&inside("dir/sub"), 0o755).is_err());
        assert!(!beneath.make_hard_link(&inside("stolen"), &inside("dir/precious")).unwrap());
        assert!(!beneath.make_hard_link(&inside("stolen"), &inside("file")).unwrap());
        beneath.make_file(&inside("file"), 0o644).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "precious");
        assert_eq!(
            fs::read_to_string(root.join("file")).unwrap(),
            "new",
            "the link was replaced, not followed"
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn dangerous_permission_bits_are_dropped() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mut beneath = Beneath::open(root.path(), None).unwrap();
        beneath.make_file(&inside("a/program"), 0o6755).unwrap();
        beneath.make_dir(&inside("b"), 0o7000).unwrap();
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a/program"), mode("b"), mode("a")), (0o755, 0o700, 0o755));
    }

    /// Where a link leads, as the kernel would follow it: `None` when it leaves, or does not end.
    fn resolve(links: &[(Vec<String>, String)], start: &[String], budget: &mut u32) -> Option<Vec<String>> {
        let mut at: Vec<String> = Vec::new();
        for name in start {
            match name.as_str() {
                "." | "" => {}
                ".." => {
                    at.pop()?;
                }
                name => {
                    at.push(name.to_owned());
                    if let Some((_, target)) = links.iter().find(|(path, _)| *path == at) {
                        *budget = budget.checked_sub(1)?;
                        at.pop();
                        let whole: Vec<String> =
                            at.iter().cloned().chain(target.split('/').map(str::to_owned)).collect();
                        at = resolve(links, &whole, budget)?;
                    }
                }
            }
        }
        Some(at)
    }

    proptest! {
        /// Any set of accepted links, followed from any place, stays inside or never ends.
        #[test]
        fn accepted_links_stay_inside(
            links in prop::collection::vec(("[ab](/[ab]){0,2}", "(\\.\\./|\\./|[ab]/){0,4}(\\.\\.|[ab]|\\.)"), 1..6),
            start in "[ab](/[ab]){0,3}",
        ) {
            let accepted: Vec<(Vec<String>, String)> = links
                .into_iter()
                .filter(|(path, target)| inside(path).link_stays_inside(target.as_bytes()))
                .map(|(path, target)| (path.split('/').map(str::to_owned).collect(), target))
                .collect();
            // A link is a leaf: where one is, no directory is.
            let leaves: Vec<_> = accepted
                .iter()
                .filter(|(path, _)| !accepted.iter().any(|(other, _)| other.len() < path.len() && path.starts_with(other)))
                .cloned()
                .collect();
            let mut budget = 100;
            let start: Vec<String> = start.split('/').map(str::to_owned).collect();
            if resolve(&leaves, &start, &mut budget).is_none() {
                prop_assert_eq!(budget, 0, "left the top: {:?}", leaves);
            }
        }
    }
}
