//! A disk in memory that crashes like a disk: what was not synced may be lost, from some batch onwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Disk, Files};
use crate::error::DiskError;
use crate::snapshot::SnapshotId;
use crate::types::Index;

/// For tests and simulation. Writes are kept in order; a crash keeps all synced batches and any prefix of the later ones.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    now: Contents,
    synced: Contents,
    unsynced: Vec<Batch>,
    files: MemoryFiles,
    /// The next write is the last.
    doomed: bool,
    syncs: u64,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ill {
    /// Every write fails with this sentence.
    Broken(String),
    /// The next write fails, and nothing of it is on the disk.
    Write,
    /// The next sync fails, once.
    Sync {
        /// What it was to make safe is on the disk all the same; otherwise it is gone.
        reached: bool,
    },
}

/// What a system says when a device fails.
const IO_ERROR: &str = "Input/output error (os error 5)";
/// What the checksums of a real log find.
const CHECKSUM: &str = "Corruption: block checksum mismatch";

#[derive(Debug, Clone, Default)]
struct Contents {
    records: BTreeMap<Index, Vec<u8>>,
    meta: Option<Vec<u8>>,
    /// Records with a flipped bit.
    bad: BTreeSet<Index>,
    bad_meta: bool,
}

impl Contents {
    fn write(&mut self, batch: Batch) {
        for range in &batch.delete {
            let doomed: Vec<Index> = self.records.range(range.clone()).map(|(index, _)| *index).collect();
            for index in doomed {
                self.records.remove(&index);
                self.bad.remove(&index);
            }
        }
        for (index, record) in batch.append {
            self.records.insert(index, record);
            self.bad.remove(&index);
        }
        self.meta = Some(batch.meta);
        self.bad_meta = false;
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power goes: of the batches not yet synced the first `survivors` happen to be on the disk, the rest is gone.
    pub fn crash(&mut self, survivors: usize) {
        for batch in self.unsynced.drain(..).take(survivors) {
            self.synced.write(batch);
        }
        self.now = self.synced.clone();
        self.doomed = false;
    }

    /// Batches that a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Syncs so far; the price of durability.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// The power goes in the middle of the next write: it fails, and whether it is on the disk is decided by
    /// [`MemoryDisk::crash`], as for any batch that was not synced.
    pub fn cut_power(&mut self) {
        self.doomed = true;
    }

    /// Whether [`MemoryDisk::cut_power`] was called and nothing has been written since.
    pub fn is_doomed(&self) -> bool {
        self.doomed
    }

    /// From now on every write fails with this sentence: full, read-only, broken. That of a snapshot as well.
    pub fn fail(&mut self, why: &str) {
        self.files.with(|shared| shared.ill = Some(Ill::Broken(why.to_owned())));
    }

    /// The next write fails, once: nothing of it is on the disk.
    pub fn fail_write(&mut self) {
        self.files.with(|shared| shared.ill = Some(Ill::Write));
    }

    /// The next sync fails, once. The system drops what it could not write: reads see it until the process ends, and no
    /// later sync makes it safe, though it succeeds. Unless it `reached` the disk all the same, of which nobody is told.
    pub fn fail_sync(&mut self, reached: bool) {
        self.files.with(|shared| shared.ill = Some(Ill::Sync { reached }));
    }

    /// Writes succeed again: somebody has made room.
    pub fn mend(&mut self) {
        self.files.with(|shared| shared.ill = None);
    }

    /// A bit of a record flips, and what reads it finds that its checksum is wrong. `nth` counts the records that are
    /// safe; there is none beyond the last, and then it is the meta record that is hit.
    pub fn flip(&mut self, nth: usize) {
        for contents in [&mut self.synced, &mut self.now] {
            match contents.records.keys().nth(nth) {
                Some(index) => drop(contents.bad.insert(*index)),
                None => contents.bad_meta = true,
            }
        }
    }

    /// Records that are safe, besides the meta record.
    pub fn len(&self) -> usize {
        self.synced.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.synced.records.is_empty()
    }
}

impl Disk for MemoryDisk {
    type Files = MemoryFiles;

    fn meta(&self) -> Result<Option<Vec<u8>>, DiskError> {
        if self.now.bad_meta {
            return Err(DiskError::new("read the meta record", CHECKSUM));
        }
        Ok(self.now.meta.clone())
    }

    fn records(&self, range: Range<Index>, budget: u64) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        for index in range {
            let Some(record) = self.now.records.get(&index) else {
                return Err(DiskError::new(format!("read log entry {index}"), "it is missing"));
            };
            if self.now.bad.contains(&index) {
                return Err(DiskError::new(format!("read log entry {index}"), CHECKSUM));
            }
            bytes += record.len() as u64;
            if bytes > budget && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        Ok(records)
    }

    fn write(&mut self, batch: Batch, sync: bool) -> Result<(), DiskError> {
        match self.files.take_ill(|ill| !matches!(ill, Ill::Sync { .. })) {
            Some(Ill::Broken(why)) => return Err(DiskError::new("write the log", why)),
            Some(_) => return Err(DiskError::new("write the log", IO_ERROR)),
            None => {}
        }
        self.now.write(batch.clone());
        self.unsynced.push(batch);
        if self.doomed {
            return Err(DiskError::new("write the log", "the power is gone"));
        }
        if sync {
            self.syncs += 1;
            if let Some(Ill::Sync { reached }) = self.files.take_ill(|_| true) {
                for batch in self.unsynced.drain(..).filter(|_| reached) {
                    self.synced.write(batch);
                }
                return Err(DiskError::new("sync the log", IO_ERROR));
            }
            for batch in self.unsynced.drain(..) {
                self.synced.write(batch);
            }
        }
        Ok(())
    }

    fn files(&self) -> MemoryFiles {
        self.files.clone()
    }
}

/// Published files in memory; clones share them, as processes share a directory. The device is that of the log.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    published: BTreeMap<SnapshotId, Arc<[u8]>>,
    ill: Option<Ill>,
}

impl MemoryFiles {
    fn with<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> T {
        act(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong now, if it is of this kind. What happens once is over with that.
    fn take_ill(&self, kind: impl Fn(&Ill) -> bool) -> Option<Ill> {
        self.with(|shared| match &shared.ill {
            Some(ill @ Ill::Broken(_)) if kind(ill) => Some(ill.clone()),
            Some(ill) if kind(ill) => shared.ill.take(),
            _ => None,
        })
    }

    /// Bytes of a file, for a simulated transfer.
    pub fn bytes(&self, id: SnapshotId) -> Option<Arc<[u8]>> {
        self.with(|shared| shared.published.get(&id).cloned())
    }

    /// The files there are.
    pub fn ids(&self) -> Vec<SnapshotId> {
        self.with(|shared| shared.published.keys().copied().collect())
    }

    /// Puts damaged bytes in place of a file.
    pub fn overwrite(&self, id: SnapshotId, bytes: Vec<u8>) {
        self.with(|shared| shared.published.insert(id, bytes.into()));
    }
}

impl Files for MemoryFiles {
    type Draft = Vec<u8>;

    fn draft(&self, _: SnapshotId) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn publish(&self, id: SnapshotId, draft: Vec<u8>) -> io::Result<()> {
        match self.take_ill(|_| true) {
            Some(Ill::Broken(why)) => return Err(io::Error::other(why)),
            Some(_) => return Err(io::Error::other(IO_ERROR)),
            None => {}
        }
        self.overwrite(id, draft);
        Ok(())
    }

    fn open(&self, id: SnapshotId) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.bytes(id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn keep(&self, ids: &[SnapshotId]) -> io::Result<()> {
        self.with(|shared| shared.published.retain(|id, _| ids.contains(id)));
        Ok(())
    }
}
