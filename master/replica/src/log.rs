//! Raft's view of the log, over any disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::batch::{Synced, Write};
use crate::disk::{Batch, Disk, Files};
use crate::error::{Corrupt, DiskError, Fatal};
use crate::limits;
use crate::pack::{Packer, Unpacker};
use crate::snapshot::{Descriptor, SnapshotId};
use crate::types::{Index, Term};

const META_FORMAT: u8 = 1;
/// What an entry costs beside its data and context.
const ENTRY_OVERHEAD: usize = 32;

/// Only this module can make one, and with it a [`Synced`].
pub(crate) struct SyncedSeal(());

/// Everything about the log but its entries; written in the same batch as they are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meta {
    pub(crate) term: Term,
    pub(crate) vote: u64,
    pub(crate) commit: Index,
    /// The entry before the first one kept. Its term is needed to match logs, and the first index is known without
    /// scanning over the tombstones of compacted entries.
    pub(crate) floor: SnapshotId,
    pub(crate) last: Index,
    pub(crate) snapshot: Descriptor,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_around(&self.snapshot.encode())
    }

    /// With the descriptor as it was encoded before.
    fn encode_around(&self, snapshot: &[u8]) -> Vec<u8> {
        let mut packer = Packer::default();
        packer.u8(META_FORMAT).u64(self.term).u64(self.vote).u64(self.commit);
        packer.u64(self.floor.index).u64(self.floor.term).u64(self.last);
        packer.bytes(snapshot);
        packer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut unpacker = Unpacker::new("meta record of the log", bytes);
        let format = unpacker.u8()?;
        if format != META_FORMAT {
            return Err(unpacker.bad(format!("written in format {format}; this program knows {META_FORMAT}")));
        }
        let meta = Self {
            term: unpacker.u64()?,
            vote: unpacker.u64()?,
            commit: unpacker.u64()?,
            floor: SnapshotId { index: unpacker.u64()?, term: unpacker.u64()? },
            last: unpacker.u64()?,
            snapshot: Descriptor::decode(unpacker.bytes()?)?,
        };
        unpacker.end()?;
        Ok(meta)
    }
}

/// The log of one node.
pub(crate) struct Log<D: Disk> {
    disk: D,
    meta: Meta,
    /// `meta.snapshot` encoded. It goes with each write and changes with few.
    descriptor: Vec<u8>,
    /// The newest entries, contiguous up to `meta.last`. Everything in it is also on the disk.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// The library turns a storage error into a panic without its text; the thread finds it here.
    failure: RefCell<Option<DiskError>>,
    /// A follower asked for a snapshot newer than ours.
    wanted: Cell<bool>,
}

impl<D: Disk> Log<D> {
    /// The log on a disk where a group was founded; `None` on a disk without one.
    pub(crate) fn open(disk: D) -> Result<Option<Self>, Fatal> {
        let Some(bytes) = disk.meta()? else { return Ok(None) };
        let meta = Meta::decode(&bytes)?;
        let descriptor = meta.snapshot.encode();
        let log = Self {
            disk,
            meta,
            descriptor,
            recent: VecDeque::new(),
            recent_bytes: 0,
            failure: RefCell::default(),
            wanted: Cell::default(),
        };
        log.check()?;
        Ok(Some(log))
    }

    /// Reads every entry once. Damage is refused here, and not months later in the middle of leading, when a follower
    /// first asks for the entry that is hit.
    fn check(&self) -> Result<(), Fatal> {
        let (mut next, mut term) = (self.meta.floor.index + 1, self.meta.floor.term);
        while next <= self.meta.last {
            for entry in self.read(next, self.meta.last + 1, limits::CHECK_BYTES)? {
                if entry.term < term {
                    let why = format!("{}: of term {} after term {term}", entry.index, entry.term);
                    return Err(Corrupt::new("log entry", why).into());
                }
                (next, term) = (entry.index + 1, entry.term);
            }
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> D::Files {
        self.disk.files()
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    pub(crate) fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    pub(crate) fn into_disk(self) -> D {
        self.disk
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn take_failure(&self) -> Option<DiskError> {
        self.failure.borrow_mut().take()
    }

    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    /// The commit index moved. Not worth a write of its own: the next batch carries it.
    pub(crate) fn note_commit(&mut self, commit: Index) {
        self.meta.commit = self.meta.commit.max(commit);
    }

    /// One batch, one sync.
    pub(crate) fn write(&mut self, write: Write) -> Result<Synced, DiskError> {
        let mut batch = Batch::default();
        if let Some(hard) = &write.hard {
            self.meta.term = hard.term;
            self.meta.vote = hard.vote;
            self.note_commit(hard.commit);
        }
        if let Some(snapshot) = write.snapshot {
            self.replace(snapshot, &mut batch);
        }
        self.append(write.entries, &mut batch);
        if write.must_sync {
            batch.meta = self.meta.encode_around(&self.descriptor);
            #[cfg(feature = "mutants")]
            if mutant::planted("log-is-not-synced") {
                self.disk.write(batch, false)?;
                return Ok(Synced(SyncedSeal(())));
            }
            let written = self.disk.write(batch, true);
            #[cfg(feature = "mutants")]
            if mutant::planted("failed-syncs-are-ignored") {
                return Ok(Synced(SyncedSeal(())));
            }
            written?;
        }
        Ok(Synced(SyncedSeal(())))
    }

    fn replace(&mut self, snapshot: Descriptor, batch: &mut Batch) {
        batch.delete.push(self.meta.floor.index + 1..self.meta.last + 1);
        self.recent.clear();
        self.recent_bytes = 0;
        self.meta.floor = snapshot.id;
        self.meta.last = snapshot.id.index;
        self.descriptor = snapshot.encode();
        self.meta.snapshot = snapshot;
        self.note_commit(self.meta.last);
    }

    fn append(&mut self, entries: Vec<Entry>, batch: &mut Batch) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let (first, last) = (first.index, last.index);
        if last < self.meta.last {
            // The overwritten tail may be longer than what replaces it.
            batch.delete.push(last + 1..self.meta.last + 1);
        }
        while self.recent.back().is_some_and(|entry| entry.index >= first) {
            self.recent_bytes -= self.recent.pop_back().map_or(0, |entry| entry_size(&entry));
        }
        self.meta.last = last;
        for entry in entries {
            let record = entry.write_to_bytes().expect("a message without required fields always encodes");
            batch.append.push((entry.index, record));
            self.recent_bytes += entry_size(&entry);
            self.recent.push_back(entry);
        }
        while self.recent_bytes > limits::CACHE_BYTES && self.recent.len() > 1 {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |entry| entry_size(&entry));
        }
    }

    /// A snapshot of ours is published: name it, forget entries it contains but for `keep` of them, and remove older files.
    ///
    /// Kept entries let a follower that is a little behind catch up by log. At most those since the previous snapshot are
    /// kept, whatever `keep` says, so large entries do not multiply the disk needed.
    pub(crate) fn adopt(&mut self, snapshot: Descriptor, keep: u64) -> Result<(), Fatal> {
        let descriptor = snapshot.encode();
        let oldest = self.meta.floor.index.max(self.meta.snapshot.id.index);
        let floor = snapshot.id.index.saturating_sub(keep).clamp(oldest, snapshot.id.index);
        let floor = SnapshotId { index: floor, term: self.read_term(floor)? };
        let previous = std::mem::replace(&mut self.meta.snapshot, snapshot);
        self.descriptor = descriptor;
        let delete = self.meta.floor.index + 1..floor.index + 1;
        self.meta.floor = floor;
        let kept = [self.meta.snapshot.id, previous.id];
        self.note_commit(self.meta.snapshot.id.index);
        while self.recent.front().is_some_and(|entry| entry.index <= floor.index) {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |entry| entry_size(&entry));
        }
        let meta = self.meta.encode_around(&self.descriptor);
        self.disk.write(Batch { delete: vec![delete], append: vec![], meta }, true)?;
        // The previous file may be on its way to a follower; one generation later it is not.
        self.files().keep(&kept).map_err(|error| DiskError::new("remove old snapshots", error))?;
        Ok(())
    }

    fn read_term(&self, index: Index) -> Result<Term, Fatal> {
        if index == self.meta.floor.index {
            return Ok(self.meta.floor.term);
        }
        if index == self.meta.snapshot.id.index {
            return Ok(self.meta.snapshot.id.term);
        }
        if let Some(entry) = self.recent(index) {
            return Ok(entry.term);
        }
        Ok(self.read(index, index + 1, u64::MAX)?.first().map_or(0, |entry| entry.term))
    }

    fn recent(&self, index: Index) -> Option<&Entry> {
        let first = self.recent.front()?.index;
        self.recent.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    fn read(&self, low: Index, high: Index, budget: u64) -> Result<Vec<Entry>, Fatal> {
        let mut entries = Vec::new();
        for (index, record) in (low..).zip(self.disk.records(low..high, budget)?) {
            let entry = Entry::parse_from_bytes(&record)
                .map_err(|error| Corrupt::new("log entry", format!("{index}: {error}")))?;
            if entry.index != index {
                return Err(Corrupt::new("log entry", format!("{index}: says it is {}", entry.index)).into());
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn broken(&self, fatal: Fatal) -> raft::Error {
        let error = match fatal {
            Fatal::Disk(error) => error,
            other => DiskError::new("read the log", other),
        };
        self.failure.replace(Some(error.clone()));
        raft::Error::Store(StorageError::Other(Box::new(error)))
    }
}

pub(crate) fn entry_size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + ENTRY_OVERHEAD
}

impl<D: Disk> Storage for Log<D> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let Meta { term, vote, commit, .. } = self.meta;
        let hard = HardState { term, vote, commit, ..Default::default() };
        // The configuration as of the snapshot: later changes are applied again from the log.
        Ok(RaftState::new(hard, self.meta.snapshot.members.conf().clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.meta.floor.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let budget = max_size.into().unwrap_or(u64::MAX);
        if self.recent.front().is_none_or(|first| low < first.index) {
            return self.read(low, high, budget).map_err(|fatal| self.broken(fatal));
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in (low..high).map_while(|index| self.recent(index)) {
            bytes += entry_size(entry) as u64;
            if bytes > budget && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.meta.floor.index && index != self.meta.snapshot.id.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.meta.last {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        self.read_term(index).map_err(|fatal| self.broken(fatal))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.meta.floor.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.meta.last)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.meta.snapshot.id.index < request_index {
            self.wanted.set(true);
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(snapshot_message(&self.meta.snapshot))
    }
}

/// What raft carries of a snapshot: its metadata, and our descriptor in place of the data.
pub(crate) fn snapshot_message(descriptor: &Descriptor) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set_data(descriptor.encode().into());
    let metadata = snapshot.mut_metadata();
    metadata.index = descriptor.id.index;
    metadata.term = descriptor.id.term;
    metadata.set_conf_state(descriptor.members.conf().clone());
    snapshot
}
