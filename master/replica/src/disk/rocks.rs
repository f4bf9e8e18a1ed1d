//! The log in RocksDB.

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use super::{Batch, DirectoryFiles, Disk};
use crate::error::DiskError;
use crate::types::Index;

const LOG: &str = "log";
const META: &str = "meta";
const META_KEY: &[u8] = b"meta";
const WAL_BYTES: u64 = 128 << 20;
const MEMTABLE_BYTES: usize = 16 << 20;

/// Told how long each synced write took.
pub type SyncObserver = Arc<dyn Fn(Duration) + Send + Sync>;

/// Column family `log` (key: the index, big-endian) and `meta` (one record), and a directory of snapshot files.
///
/// Beside them, `raft.synced` says how many writes are safe. A record at the very end of RocksDB's own log whose length is
/// damaged looks like one that was cut off in a crash, and it would be dropped without a word, acknowledged or not.
pub struct RocksDisk {
    db: DB,
    synced: File,
    files: DirectoryFiles,
    observer: SyncObserver,
    path: String,
}

impl RocksDisk {
    /// Opens or creates the database in `raft/` and the snapshots in `snapshots/` below `data_dir`.
    pub fn open(data_dir: &Path, observer: SyncObserver) -> Result<Self, DiskError> {
        let path = data_dir.join("raft");
        let name = path.display().to_string();
        let families = [LOG, META].map(|family| ColumnFamilyDescriptor::new(family, family_options()));
        let db = DB::open_cf_descriptors(&options(), &path, families)
            .map_err(|error| DiskError::new(format!("open the log in {name}"), error))?;
        let synced = check_synced(data_dir, db.latest_sequence_number())
            .map_err(|why| DiskError::new(format!("open the log in {name}"), why))?;
        let snapshots = data_dir.join("snapshots");
        let files = DirectoryFiles::open(&snapshots).map_err(|error| {
            DiskError::new(format!("open the snapshots in {}", snapshots.display()), error)
        })?;
        Ok(Self { db, synced, files, observer, path: name })
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("both families were opened with the database")
    }

    fn failed(&self, doing: &str, error: impl ToString) -> DiskError {
        DiskError::new(format!("{doing} in {}", self.path), error)
    }
}

const SYNCED: &str = "raft.synced";
const SYNCED_BYTES: usize = 12;

/// The note of how many writes are safe, open for the next, if as many are there.
fn check_synced(data_dir: &Path, found: u64) -> Result<File, String> {
    let path = data_dir.join(SYNCED);
    let failed = |error| format!("{}: {error}", path.display());
    let known = match fs::read(&path) {
        Ok(bytes) => decode_synced(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    if found < known {
        return Err(format!(
            "it ends with write {found}, but {known} were safe on this disk: its end is damaged or gone. Remove this \
             member from the group and let it join again with an empty data directory"
        ));
    }
    OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(failed)
}

fn encode_synced(sequence: u64) -> [u8; SYNCED_BYTES] {
    let mut bytes = [0; SYNCED_BYTES];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A note that is torn or damaged says nothing: whatever the log itself can show to be whole is taken.
fn decode_synced(bytes: &[u8]) -> u64 {
    let sequence = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if encode_synced(sequence) == bytes { sequence } else { 0 }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The families are flushed together: otherwise, after a crash, entries could be there whose meta record is not.
    options.set_atomic_flush(true);
    // A record cut off at the very end is a write nobody was told about. Damage anywhere else would silently drop
    // acknowledged entries behind it under the default mode; here it is an error and the node refuses to start.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_max_open_files(64);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options
}

impl Disk for RocksDisk {
    type Files = DirectoryFiles;

    fn meta(&self) -> Result<Option<Vec<u8>>, DiskError> {
        self.db
            .get_cf(self.family(META), META_KEY)
            .map_err(|error| self.failed("read the meta record", error))
    }

    fn records(&self, range: Range<Index>, budget: u64) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let start = range.start.to_be_bytes();
        let mode = IteratorMode::From(&start, Direction::Forward);
        let mut cursor = self.db.iterator_cf(self.family(LOG), mode);
        for index in range {
            let (key, record) = match cursor.next() {
                Some(Ok(pair)) => pair,
                Some(Err(error)) => return Err(self.failed(&format!("read log entry {index}"), error)),
                None => return Err(self.failed(&format!("read log entry {index}"), "it is missing")),
            };
            if *key != index.to_be_bytes() {
                return Err(self.failed(&format!("read log entry {index}"), "it is missing"));
            }
            bytes += record.len() as u64;
            if bytes > budget && !records.is_empty() {
                break;
            }
            records.push(record.into_vec());
        }
        Ok(records)
    }

    fn write(&mut self, batch: Batch, sync: bool) -> Result<(), DiskError> {
        let (log, meta) = (self.family(LOG), self.family(META));
        let mut write = WriteBatch::default();
        for range in &batch.delete {
            write.delete_range_cf(log, range.start.to_be_bytes(), range.end.to_be_bytes());
        }
        for (index, record) in &batch.append {
            write.put_cf(log, index.to_be_bytes(), record);
        }
        write.put_cf(meta, META_KEY, &batch.meta);
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let begun = Instant::now();
        self.db.write_opt(write, &options).map_err(|error| self.failed("write the log", error))?;
        if sync {
            // Not synced itself: an older note, as a power cut may leave it, says less and nothing wrong.
            let note = encode_synced(self.db.latest_sequence_number());
            self.synced.write_all_at(&note, 0).map_err(|error| self.failed("note what is safe", error))?;
            (self.observer)(begun.elapsed());
        }
        Ok(())
    }

    fn files(&self) -> DirectoryFiles {
        self.files.clone()
    }
}
