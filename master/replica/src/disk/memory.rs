//! A disk in memory that crashes like a disk: what was not synced may be lost, from some batch onwards.

use std::collections::BTreeMap;
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
    broken: Option<String>,
    /// The next write is the last.
    doomed: bool,
    syncs: u64,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    records: BTreeMap<Index, Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl Contents {
    fn write(&mut self, batch: Batch) {
        for range in &batch.delete {
            let doomed: Vec<Index> = self.records.range(range.clone()).map(|(index, _)| *index).collect();
            for index in doomed {
                self.records.remove(&index);
            }
        }
        self.records.extend(batch.append);
        self.meta = Some(batch.meta);
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

    /// From now on every write fails with this sentence: full, read-only, broken.
    pub fn fail(&mut self, why: &str) {
        self.broken = Some(why.to_owned());
    }

    /// Writes succeed again: somebody has made room.
    pub fn mend(&mut self) {
        self.broken = None;
    }
}

impl Disk for MemoryDisk {
    type Files = MemoryFiles;

    fn meta(&self) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.now.meta.clone())
    }

    fn records(&self, range: Range<Index>, budget: u64) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        for index in range {
            let Some(record) = self.now.records.get(&index) else {
                return Err(DiskError::new(format!("read log entry {index}"), "it is missing"));
            };
            bytes += record.len() as u64;
            if bytes > budget && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        Ok(records)
    }

    fn write(&mut self, batch: Batch, sync: bool) -> Result<(), DiskError> {
        if let Some(why) = &self.broken {
            return Err(DiskError::new("write the log", why));
        }
        self.now.write(batch.clone());
        self.unsynced.push(batch);
        if self.doomed {
            return Err(DiskError::new("write the log", "the power is gone"));
        }
        if sync {
            self.syncs += 1;
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

/// Published files in memory; clones share them, as processes share a directory.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    published: Arc<Mutex<BTreeMap<SnapshotId, Arc<[u8]>>>>,
}

impl MemoryFiles {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<SnapshotId, Arc<[u8]>>) -> T) -> T {
        act(&mut self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes of a file, for a simulated transfer.
    pub fn bytes(&self, id: SnapshotId) -> Option<Arc<[u8]>> {
        self.with(|files| files.get(&id).cloned())
    }

    /// Puts damaged bytes in place of a file.
    pub fn overwrite(&self, id: SnapshotId, bytes: Vec<u8>) {
        self.with(|files| files.insert(id, bytes.into()));
    }
}

impl Files for MemoryFiles {
    type Draft = Vec<u8>;

    fn draft(&self, _: SnapshotId) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn publish(&self, id: SnapshotId, draft: Vec<u8>) -> io::Result<()> {
        self.overwrite(id, draft);
        Ok(())
    }

    fn open(&self, id: SnapshotId) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.bytes(id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn keep(&self, ids: &[SnapshotId]) -> io::Result<()> {
        self.with(|files| files.retain(|id, _| ids.contains(id)));
        Ok(())
    }
}
