//! Filling a sandbox: downloads, copies and archives.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One thing to bring into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchItem {
    /// `http://`, `https://`, `file://`, or an absolute path on this machine.
    pub uri: String,
    /// Make the file executable; it is then not unpacked.
    pub executable: bool,
    /// Unpack it when its name or its first bytes say that it is an archive (tar, tar.gz, tgz, zip, and a lone gz).
    pub extract: bool,
    /// Keep a copy on this machine for the next one who asks for the same URI.
    pub cache: bool,
    /// Path below the sandbox to store it under; `None` takes the last part of the URI's path.
    pub output_file: Option<String>,
}

/// What to fetch, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    pub items: Vec<FetchItem>,
    /// The sandbox directory, made if missing ([`crate::directory::prepare`]).
    pub sandbox: PathBuf,
    /// Name or number of the user all of it shall belong to.
    pub user: Option<String>,
}

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Time for all items of one request together.
    pub time: Duration,
    /// Time without a single byte arriving.
    pub stall: Duration,
    /// Size of one downloaded or copied file.
    pub file_bytes: u64,
    /// Bytes, files and path length that one archive may unpack to.
    pub unpacked_bytes: u64,
    pub unpacked_entries: u64,
    pub path_bytes: usize,
    /// Redirections followed by one download.
    pub redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(60),
            file_bytes: 20 << 30,
            unpacked_bytes: 40 << 30,
            unpacked_entries: 1_000_000,
            path_bytes: 1024,
            redirects: 10,
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub uri: String,
    /// Position of the item, from 0, and how many there are.
    pub item: usize,
    pub items: usize,
    pub phase: Phase,
    /// Bytes so far, and in all when the source says so.
    pub bytes: u64,
    pub total: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Fetching,
    Unpacking,
    Done,
}
