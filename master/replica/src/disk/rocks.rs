//! The log in RocksDB.

use std::ops::Range;
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
pub struct RocksDisk {
    db: DB,
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
        let snapshots = data_dir.join("snapshots");
        let files = DirectoryFiles::open(&snapshots).map_err(|error| {
            DiskError::new(format!("open the snapshots in {}", snapshots.display()), error)
        })?;
        Ok(Self { db, files, observer, path: name })
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("both families were opened with the database")
    }

    fn failed(&self, doing: &str, error: impl ToString) -> DiskError {
        DiskError::new(format!("{doing} in {}", self.path), error)
    }
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
            (self.observer)(begun.elapsed());
        }
        Ok(())
    }

    fn files(&self) -> DirectoryFiles {
        self.files.clone()
    }
}
