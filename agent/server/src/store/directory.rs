//! Opening the data directory: locked, of the right format, its records read.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agent_core::Record;
use agent_core::journal::{self, Journal, Mark, Unusable};

use crate::error::Error;

/// What the format file of this version says. The number grows when older versions could not read the records.
const FORMAT: &str = "stoa agent checkpoint 1\n";

/// A data directory that is this process's alone.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked as long as it is open. Closed on exec, so that no task inherits the lock.
    _lock: File,
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) directory: PathBuf,
    pub(super) journal: Journal,
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Says how far the log is safe.
    pub(super) mark: File,
}

impl DataDir {
    /// Locks the directory, made if missing.
    ///
    /// # Errors
    /// When another process has it, or it cannot be made.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let unusable = |what| move |source| Error::Directory { what, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unusable("make"))?;
        let path = path.canonicalize().map_err(unusable("find"))?;
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(unusable("write to"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path }),
            Err(fs::TryLockError::Error(source)) => Err(Error::Directory { what: "lock", path, source }),
        }
    }

    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.path.join("sandboxes")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    pub(crate) fn fetch_cache(&self) -> PathBuf {
        self.path.join("fetch-cache")
    }

    /// Where the launcher keeps what it knows of its containers.
    pub(crate) fn containers(&self) -> PathBuf {
        self.path.join("containers")
    }

    /// Reads the log and opens it for more.
    ///
    /// # Errors
    /// A format that is not ours, damage, records of a newer version, a disk that does not work.
    pub(crate) fn open(&self) -> Result<(Log, Vec<Record>), Error> {
        let directory = self.path.join("checkpoint");
        fs::create_dir_all(&directory).map_err(Error::disk("make", &directory))?;
        let generations = generations(&directory)?;
        check_format(&directory, generations.is_empty())?;
        let generation = generations.last().copied().unwrap_or(0);
        for older in generations.iter().filter(|older| **older != generation) {
            // A compaction was interrupted after the newer one was safe.
            let path = log_path(&directory, *older);
            fs::remove_file(&path).map_err(Error::disk("remove", path))?;
        }
        read(directory, generation)
    }
}

fn read(directory: PathBuf, generation: u64) -> Result<(Log, Vec<Record>), Error> {
    let path = log_path(&directory, generation);
    let (mut file, bytes) = open(&path)?;
    let (mark, safe) = open_mark(&directory)?;
    let whole = journal::read(&bytes, generation, safe).map_err(|why| match why {
        Unusable::Records(reason) => Error::Records { path: path.clone(), reason },
        why => Error::Damaged { path: path.clone(), why },
    })?;
    if whole.end < bytes.len() {
        tracing::warn!(path = %path.display(), lost = bytes.len() - whole.end, "the last write was torn: cutting it off");
    }
    file.set_len(whole.end as u64).map_err(Error::disk("cut", &path))?;
    file.seek(SeekFrom::End(0)).map_err(Error::disk("read", &path))?;
    file.sync_all().map_err(Error::disk("sync", &path))?;
    sync_directory(&directory).map_err(Error::disk("sync", &directory))?;
    let journal = Journal::new(generation, &whole);
    Ok((Log { directory, journal, file, path, mark }, whole.records))
}

/// A file, which is made when there is none, and what is in it.
fn open(path: &Path) -> Result<(File, Vec<u8>), Error> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(Error::disk("open", path))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::disk("read", path))?;
    Ok((file, bytes))
}

/// How far the log is safe, and where that is written next.
fn open_mark(directory: &Path) -> Result<(File, Mark), Error> {
    let path = directory.join("synced");
    let (file, bytes) = open(&path)?;
    Ok((file, Mark::decode(&bytes)))
}

/// The generations of logs there are, oldest first. Unfinished compactions are removed.
fn generations(directory: &Path) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::disk("read", directory))? {
        let entry = entry.map_err(Error::disk("read", directory))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".new") {
            fs::remove_file(entry.path()).map_err(Error::disk("remove", entry.path()))?;
        } else if let Some(number) = name.strip_prefix("log-") {
            found.extend(number.parse::<u64>());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn check_format(directory: &Path, fresh: bool) -> Result<(), Error> {
    let path = directory.join("format");
    let found = match fs::read(&path) {
        Ok(found) => String::from_utf8_lossy(&found).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && fresh => {
            return write_format(directory, &path);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(Error::Disk { what: "read", path, source }),
    };
    if found == FORMAT {
        return Ok(());
    }
    Err(Error::Format {
        path: directory.into(),
        found: found.trim_end().into(),
        expected: FORMAT.trim_end().into(),
    })
}

fn write_format(directory: &Path, path: &Path) -> Result<(), Error> {
    let write = || {
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_directory(directory)
    };
    write().map_err(Error::disk("write", path))
}

pub(super) fn log_path(directory: &Path, generation: u64) -> PathBuf {
    directory.join(format!("log-{generation:020}"))
}

pub(super) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}
