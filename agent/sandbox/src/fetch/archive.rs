//! Archives: which kind it is, and unpacking them below a directory.

mod tar;
mod zip;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use rustix::io::Errno;

use super::beneath::{Beneath, Inside};
use super::budget::Budget;
use super::error::{BadEntry, BadPath, Reason};

/// Where `ustar` stands in a tar file.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tar,
    TarGz,
    Zip,
    /// One compressed file.
    Gz,
    Unsupported(&'static str),
}

/// Whether a file of this name is meant to be unpacked: `Some(true)` by its ending, `None` when it has no ending and its content
/// decides. (Many other formats, jar files for one, are zip files inside, and nobody wants those unpacked.)
pub(super) fn named_like_archive(name: &str) -> Option<bool> {
    const ENDINGS: [&str; 10] =
        [".tar", ".tar.gz", ".tgz", ".zip", ".gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"];
    let name = name.to_ascii_lowercase();
    if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Some(true);
    }
    if name.trim_start_matches('.').contains('.') { Some(false) } else { None }
}

/// Looks at the first bytes; afterwards the file is at its start.
pub(super) fn detect(file: &mut File) -> io::Result<Option<Kind>> {
    let head = start_of(file)?;
    let is_tar = |head: &[u8]| head.get(TAR_MAGIC) == Some(b"ustar");
    let kind = if is_tar(&head) {
        Some(Kind::Tar)
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        Some(Kind::Zip)
    } else if head.starts_with(b"\x1f\x8b") {
        file.rewind()?;
        let mut inner = Vec::new();
        // What cannot be unpacked is found out when it is.
        let _ = MultiGzDecoder::new(&mut *file).take(TAR_MAGIC.end as u64).read_to_end(&mut inner);
        Some(if is_tar(&inner) { Kind::TarGz } else { Kind::Gz })
    } else if head.starts_with(b"BZh") {
        Some(Kind::Unsupported("bzip2"))
    } else if head.starts_with(b"\xfd7zXZ\0") {
        Some(Kind::Unsupported("xz"))
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Some(Kind::Unsupported("zstd"))
    } else {
        None
    };
    file.rewind()?;
    Ok(kind)
}

fn start_of(file: &mut File) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.by_ref().take(TAR_MAGIC.end as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Unpacks an archive of this kind and name.
pub(super) fn unpack(
    file: File,
    kind: Kind,
    name: &str,
    into: &mut Beneath,
    budget: &mut Budget,
) -> Result<(), Reason> {
    match kind {
        Kind::Tar => tar::unpack(io::BufReader::new(file), into, budget),
        Kind::TarGz => tar::unpack(MultiGzDecoder::new(io::BufReader::new(file)), into, budget),
        Kind::Zip => zip::unpack(file, into, budget),
        Kind::Gz => unpack_gz(file, name, into, budget),
        Kind::Unsupported(kind) => Err(Reason::Unsupported(kind)),
    }
}

fn unpack_gz(file: File, name: &str, into: &mut Beneath, budget: &mut Budget) -> Result<(), Reason> {
    let stem = match name.len().checked_sub(3) {
        Some(at) if at > 0 && name.is_char_boundary(at) && name[at..].eq_ignore_ascii_case(".gz") => {
            &name[..at]
        }
        _ => name,
    };
    let entry = Entry::new(stem.as_bytes(), budget)?;
    let mut to = entry.file(into, 0o644)?;
    budget.copy(&mut MultiGzDecoder::new(io::BufReader::new(file)), &mut to, stem)
}

/// One entry of an archive with an accepted name.
struct Entry {
    path: Inside,
}

impl Entry {
    /// Counts the entry and checks its name.
    fn new(name: &[u8], budget: &mut Budget) -> Result<Self, Reason> {
        budget.entry()?;
        match Inside::parse(name, budget.limits.path_bytes) {
            Ok(path) => Ok(Self { path }),
            Err(rule) => Err(refuse(name, BadEntry::Path(rule))),
        }
    }

    fn shown(&self) -> String {
        self.path.display()
    }

    fn refuse(&self, rule: BadEntry) -> Reason {
        Reason::Entry { entry: self.shown(), rule }
    }

    /// A failure to write, or a refusal when what is already there is the reason.
    fn failed(&self, error: io::Error) -> Reason {
        match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR | Errno::LOOP) => self.refuse(BadEntry::NotDirectory),
            Some(Errno::ISDIR | Errno::NOTEMPTY) => self.refuse(BadEntry::IsDirectory),
            Some(Errno::NAMETOOLONG) => self.refuse(BadEntry::Path(BadPath::Long(255))),
            _ => Reason::Write { path: self.shown(), source: error },
        }
    }

    fn dir(&self, into: &mut Beneath, mode: u32) -> Result<(), Reason> {
        into.make_dir(&self.path, mode).map_err(|error| self.failed(error))
    }

    fn file(&self, into: &mut Beneath, mode: u32) -> Result<File, Reason> {
        if self.path.is_empty() {
            return Err(self.refuse(BadEntry::Path(BadPath::Empty)));
        }
        into.make_file(&self.path, mode).map_err(|error| self.failed(error))
    }

    fn link(&self, into: &mut Beneath, target: &[u8]) -> Result<(), Reason> {
        if self.path.is_empty() || !self.path.link_stays_inside(target) {
            return Err(self.refuse(BadEntry::SymbolicLink));
        }
        into.make_link(&self.path, target).map_err(|error| self.failed(error))
    }

    fn hard_link(&self, into: &mut Beneath, target: &[u8], limit: usize) -> Result<(), Reason> {
        let target = Inside::parse(target, limit).map_err(|_| self.refuse(BadEntry::HardLink))?;
        match into.make_hard_link(&self.path, &target) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refuse(BadEntry::HardLink)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn refuse(name: &[u8], rule: BadEntry) -> Reason {
    const SHOWN: usize = 200;
    let text: String = String::from_utf8_lossy(name).chars().take(SHOWN).collect();
    Reason::Entry { entry: text, rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whether_content_says_how() {
        for (name, expected) in [
            ("app.zip", Some(true)),
            ("App.TAR.GZ", Some(true)),
            ("x.tgz", Some(true)),
            ("log.gz", Some(true)),
            ("app.jar", Some(false)),
            ("app-1.2", Some(false)),
            ("download", None),
            (".hidden", None),
        ] {
            assert_eq!(named_like_archive(name), expected, "{name}");
        }
    }
}
