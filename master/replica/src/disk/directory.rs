//! Snapshot files in a directory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Files;
use crate::snapshot::SnapshotId;

const SUFFIX: &str = ".snapshot";
const DRAFT_SUFFIX: &str = ".draft";

/// Files named after their id in one directory. A draft is written beside them and renamed when it is synced.
#[derive(Debug, Clone)]
pub struct DirectoryFiles {
    path: Arc<Path>,
    drafts: Arc<AtomicU64>,
}

impl DirectoryFiles {
    /// Creates the directory if need be and removes drafts a crash left behind.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(DRAFT_SUFFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { path: path.into(), drafts: Arc::default() })
    }

    fn file(&self, id: SnapshotId) -> PathBuf {
        self.path.join(format!("{id}{SUFFIX}"))
    }
}

/// A file being written; removed when dropped without being published.
#[derive(Debug)]
pub struct Draft {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is nothing under this name; before it, a failure only leaves a draft for the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Files for DirectoryFiles {
    type Draft = Draft;

    fn draft(&self, id: SnapshotId) -> io::Result<Draft> {
        // A build and a pull of the same snapshot may run at once: each gets a name of its own.
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{id}.{number}{DRAFT_SUFFIX}"));
        let out = BufWriter::with_capacity(1 << 18, File::create(&path)?);
        Ok(Draft { out, path })
    }

    fn publish(&self, id: SnapshotId, mut draft: Draft) -> io::Result<()> {
        draft.out.flush()?;
        draft.out.get_ref().sync_all()?;
        fs::rename(&draft.path, self.file(id))?;
        // Without this the name itself may be lost in a power cut, after the log was cut short for it.
        File::open(&self.path)?.sync_all()
    }

    fn open(&self, id: SnapshotId) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(BufReader::with_capacity(1 << 18, File::open(self.file(id))?)))
    }

    fn keep(&self, ids: &[SnapshotId]) -> io::Result<()> {
        let kept: Vec<PathBuf> = ids.iter().map(|id| self.file(*id)).collect();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(SUFFIX) && !kept.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}
