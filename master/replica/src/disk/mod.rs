//! What the replica needs of a disk: records by index, one small meta record, and files.

mod directory;
mod memory;
mod rocks;

use std::io::{self, Read, Write};
use std::ops::Range;

pub use directory::DirectoryFiles;
pub use memory::{MemoryDisk, MemoryFiles};
pub use rocks::{RocksDisk, SyncObserver};

use crate::error::DiskError;
use crate::snapshot::SnapshotId;
use crate::types::Index;

/// One atomic write: after a crash either all of it is there or nothing, and never without the batches before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Records that vanish, before anything is appended.
    pub delete: Vec<Range<Index>>,
    /// Records written.
    pub append: Vec<(Index, Vec<u8>)>,
    /// The new meta record.
    pub meta: Vec<u8>,
}

/// The durable half of a node. Reads see every batch written, synced or not.
pub trait Disk: Send + 'static {
    /// Its snapshot files, shared with workers.
    type Files: Files;

    /// The newest meta record; `None` on a disk that was never written.
    fn meta(&self) -> Result<Option<Vec<u8>>, DiskError>;

    /// Records of the range, which all exist, in order; stops after `budget` bytes, but never before the first.
    fn records(&self, range: Range<Index>, budget: u64) -> Result<Vec<Vec<u8>>, DiskError>;

    /// Writes a batch. With `sync`, it and everything before it is on stable storage when this returns. An error leaves
    /// the disk in an unknown state: the node must stop.
    fn write(&mut self, batch: Batch, sync: bool) -> Result<(), DiskError>;

    /// The snapshot files.
    fn files(&self) -> Self::Files;
}

/// Named, immutable files.
pub trait Files: Clone + Send + Sync + 'static {
    /// A file without a name yet. Dropping it leaves nothing behind that counts.
    type Draft: Write + Send;

    /// A new empty draft.
    fn draft(&self, id: SnapshotId) -> io::Result<Self::Draft>;
    /// Syncs the draft and gives it its name, durably.
    fn publish(&self, id: SnapshotId, draft: Self::Draft) -> io::Result<()>;
    /// Opens a published file.
    fn open(&self, id: SnapshotId) -> io::Result<Box<dyn Read + Send>>;
    /// Removes every published file but these.
    fn keep(&self, ids: &[SnapshotId]) -> io::Result<()>;
}
