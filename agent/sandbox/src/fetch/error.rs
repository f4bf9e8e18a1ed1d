//! Why something could not be fetched.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// What went wrong with one URI (shown without its password).
#[derive(Debug, Error)]
#[error("cannot fetch {uri}: {reason}")]
pub struct FetchError {
    pub uri: String,
    #[source]
    pub reason: Reason,
}

#[derive(Debug, Error)]
pub enum Reason {
    #[error("it is neither an http, https or file URI nor an absolute path: {0}")]
    Uri(String),
    #[error("it names no file to store it under; give output_file")]
    Unnamed,
    #[error("output_file {path:?} is not a path inside the sandbox: {rule}")]
    Output { path: String, rule: BadPath },
    #[error("the sandbox cannot be used: {0}")]
    Sandbox(#[from] crate::directory::DirectoryError),
    #[error("{0} cannot be set up")]
    Setup(&'static str, #[source] io::Error),
    #[error("{0}")]
    Http(String),
    #[error("the server answered {0}")]
    Status(u16),
    #[error("no data came for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("it took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("it is larger than {0} bytes, the limit")]
    TooLarge(u64),
    #[error("the transfer ended after {got} of {announced} bytes")]
    Short { got: u64, announced: u64 },
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("it is not an ordinary file")]
    NotFile,
    #[error("{path:?} cannot be written: {source}")]
    Write { path: String, source: io::Error },
    #[error("{0} archives are not supported; tar, tar.gz, zip and gz are")]
    Unsupported(&'static str),
    #[error("it is named like an archive but is none")]
    NotArchive,
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    #[error("the archive contains {entry:?}, which is refused: {rule}")]
    Entry { entry: String, rule: BadEntry },
    #[error("the archive unpacks to more than {0} bytes, the limit")]
    Unpacked(u64),
    #[error("the archive has more than {0} entries, the limit")]
    Entries(u64),
    #[error("the fetch was given up")]
    Cancelled,
}

/// Why a path is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadPath {
    #[error("it is absolute")]
    Absolute,
    #[error("it contains \"..\"")]
    Parent,
    #[error("it contains a NUL character")]
    Nul,
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {0} bytes")]
    Long(usize),
}

/// Why an entry of an archive is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadEntry {
    #[error("its name is not a path inside the sandbox: {0}")]
    Path(BadPath),
    #[error("it is a symbolic link that leads out of the sandbox")]
    SymbolicLink,
    #[error("it is a hard link to something that is not an ordinary file of the sandbox")]
    HardLink,
    #[error("it is a device, a named pipe or another special file")]
    Special,
    #[error("it would go through, or take the place of, something that is not a directory")]
    NotDirectory,
    #[error("it would take the place of a directory")]
    IsDirectory,
    #[error("it is encrypted")]
    Encrypted,
    #[error("it is stored as a sparse file or with its size in an extension")]
    Sparse,
    #[error("its name or its extensions are too long")]
    Header,
}
