//! Copies kept on this machine for those who ask again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::Mutex as AsyncMutex;

/// A directory of files, each with a companion `.key` that says what it is. A file is complete when its companion is there.
pub(super) struct Cache {
    dir: PathBuf,
    limit: u64,
    /// Held while one fetches, so that others who want the same wait instead of fetching too.
    fetching: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
    counter: AtomicU64,
}

impl Cache {
    /// Opens the directory, making it if missing, and removes what an interrupted fetch left.
    pub(super) fn open(dir: PathBuf, limit: u64) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        for entry in fs::read_dir(&dir)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("new-") {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { dir, limit, fetching: Mutex::default(), counter: AtomicU64::new(0) })
    }

    /// One's turn to look for, and perhaps fetch, this key.
    pub(super) fn turn(&self, key: &str) -> Arc<AsyncMutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(fetching.entry(key.to_owned()).or_default())
    }

    /// The copy of this key, if there is one.
    pub(super) fn get(&self, key: &str) -> Option<File> {
        let path = self.path(key);
        // Names are hashes; the companion says whether it is really this one.
        if fs::read_to_string(companion(&path)).ok()? != key {
            return None;
        }
        let file = File::open(path).ok()?;
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// A new file to fetch into.
    pub(super) fn create(&self) -> io::Result<(PathBuf, File)> {
        let path = self.dir.join(format!("new-{}", self.counter.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((path, file))
    }

    /// Keeps a fetched file, and makes room by removing those not used for longest.
    pub(super) fn keep(&self, key: &str, new: &Path) -> io::Result<()> {
        let path = self.path(key);
        let _ = fs::remove_file(companion(&path));
        fs::rename(new, &path)?;
        File::create(companion(&path))?.write_all(key.as_bytes())?;
        self.make_room()
    }

    fn path(&self, key: &str) -> PathBuf {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, key).hash(&mut hasher);
            hasher.finish()
        };
        self.dir.join(format!("{:016x}{:016x}", half(0), half(1)))
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let path = entry.path();
            if let Ok(status) = entry.metadata()
                && path.extension().is_none()
            {
                files.push((status.modified()?, status.len(), path));
            }
        }
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.limit {
                break;
            }
            // Who has it open reads on.
            let _ = fs::remove_file(companion(&path));
            let _ = fs::remove_file(&path);
            total -= bytes;
        }
        Ok(())
    }
}

fn companion(path: &Path) -> PathBuf {
    path.with_extension("key")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    fn put(cache: &Cache, key: &str, content: &str, age: u64) {
        let (path, mut file) = cache.create().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        cache.keep(key, &path).unwrap();
    }

    fn get(cache: &Cache, key: &str) -> Option<String> {
        let mut text = String::new();
        cache.get(key)?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn the_longest_unused_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 10).unwrap();
        put(&cache, "a", "aaaa", 30);
        put(&cache, "b", "bbbb", 20);
        assert_eq!(get(&cache, "a").as_deref(), Some("aaaa"), "now it is the younger");
        put(&cache, "c", "cccc", 0);
        assert_eq!(
            (get(&cache, "a").is_some(), get(&cache, "b"), get(&cache, "c").is_some()),
            (true, None, true)
        );
    }

    #[test]
    fn what_an_interrupted_fetch_left_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 10).unwrap();
        let (path, _) = cache.create().unwrap();
        fs::rename(&path, cache.path("a")).unwrap();
        cache.create().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 10).unwrap();
        assert_eq!(get(&cache, "a"), None, "without companion");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
