//! The data directory: the configuration with its older versions, and what was last loaded.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::limits::KEPT_CONFIGURATIONS;
use crate::service::{Desired, Routed};

/// The number of the state file's layout.
const FORMAT: u32 = 1;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the data directory {0} is in use by another process")]
    Locked(String),
    #[error("{path} was written in format {format}, this program reads format {FORMAT}")]
    Format { path: String, format: u32 },
    #[error("{path} is damaged: {reason}; remove it to start from the supervisor's list")]
    Damaged { path: String, reason: String },
}

/// The paths below a data directory, and its lock.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    /// Held as long as the sidecar lives.
    _lock: File,
}

/// What is kept over a restart of the sidecar.
#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    format: u32,
    /// Grows with each write.
    generation: u64,
    services: Vec<Routed>,
}

/// What was last in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Saved {
    pub(crate) generation: u64,
    pub(crate) desired: Desired,
}

impl Files {
    /// Makes the directory if need be and takes possession of it.
    ///
    /// # Errors
    /// It cannot be written, or another process has it.
    pub(crate) fn open(directory: &Path) -> Result<Self, FilesError> {
        fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
        // HAProxy goes to its own idea of a working directory, so the paths it is told are whole.
        let directory = directory.canonicalize().map_err(|source| failed(directory, source))?;
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(|source| failed(&path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(FilesError::Locked(directory.display().to_string())),
            Err(fs::TryLockError::Error(source)) => Err(failed(&path, source)),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration in force.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.join("haproxy.cfg")
    }

    /// A configuration being checked.
    pub(crate) fn candidate(&self) -> PathBuf {
        self.directory.join("haproxy.cfg.new")
    }

    /// Where HAProxy's own messages go.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("haproxy.log")
    }

    /// The socket of runtime commands.
    pub(crate) fn stats_socket(&self) -> PathBuf {
        self.directory.join("stats.sock")
    }

    /// The socket of HAProxy's master process.
    pub(crate) fn master_socket(&self) -> PathBuf {
        self.directory.join("master.sock")
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    fn version(&self, age: usize) -> PathBuf {
        self.directory.join(format!("haproxy.cfg.{age}"))
    }

    /// Writes a configuration to be checked.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn write_candidate(&self, text: &str) -> Result<(), FilesError> {
        write_synced(&self.candidate(), text.as_bytes())
    }

    /// Puts the checked configuration in the place of the current one, which becomes the newest older version.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn promote(&self) -> Result<(), FilesError> {
        for age in (1..KEPT_CONFIGURATIONS).rev() {
            rename_if_there(&self.version(age), &self.version(age + 1))?;
        }
        // A copy, not a move: there is no moment without a configuration.
        let current = self.configuration();
        match fs::copy(&current, self.version(1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&current, error)),
            _ => {}
        }
        self.rename_candidate()
    }

    fn rename_candidate(&self) -> Result<(), FilesError> {
        let (from, to) = (self.candidate(), self.configuration());
        fs::rename(&from, &to).map_err(|source| failed(&to, source))?;
        sync_directory(&self.directory)
    }

    /// Replaces the configuration by one that differs in its servers only: it needs no check and no older version.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn rewrite(&self, text: &str, saved: &Saved) -> Result<(), FilesError> {
        self.write_candidate(text)?;
        self.rename_candidate()?;
        self.save(saved)
    }

    /// Takes the last promotion back.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn restore(&self) -> Result<(), FilesError> {
        rename_if_there(&self.version(1), &self.configuration())?;
        sync_directory(&self.directory)
    }

    /// The configuration as it is; empty when there is none.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn read_configuration(&self) -> Result<String, FilesError> {
        read_if_there(&self.configuration()).map(Option::unwrap_or_default)
    }

    /// Keeps what is in force.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn save(&self, saved: &Saved) -> Result<(), FilesError> {
        let services = saved.desired.values().flat_map(|services| services.iter()).cloned().collect();
        let state = StateFile { format: FORMAT, generation: saved.generation, services };
        let path = self.state();
        let text = serde_json::to_vec(&state).map_err(|error| failed(&path, error.into()))?;
        let new = self.directory.join("state.json.new");
        write_synced(&new, &text)?;
        fs::rename(&new, &path).map_err(|source| failed(&path, source))?;
        sync_directory(&self.directory)
    }

    /// What was last in force; nothing at the first start.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another format: guessing would wipe what is routed.
    pub(crate) fn load(&self) -> Result<Saved, FilesError> {
        let path = self.state();
        let Some(text) = read_if_there(&path)? else { return Ok(Saved::default()) };
        let name = || path.display().to_string();
        let state: StateFile = serde_json::from_str(&text)
            .map_err(|error| FilesError::Damaged { path: name(), reason: error.to_string() })?;
        if state.format != FORMAT {
            return Err(FilesError::Format { path: name(), format: state.format });
        }
        let mut apps: std::collections::BTreeMap<String, Vec<Routed>> = std::collections::BTreeMap::new();
        for routed in state.services {
            apps.entry(routed.service.app.clone()).or_default().push(routed);
        }
        let desired: OrdMap<_, _> =
            apps.into_iter().map(|(app, services)| (app, std::sync::Arc::new(services))).collect();
        Ok(Saved { generation: state.generation, desired })
    }
}

fn failed(path: &Path, source: io::Error) -> FilesError {
    FilesError::Io { path: path.display().to_string(), source }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| failed(path, source))
}

fn sync_directory(path: &Path) -> Result<(), FilesError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| failed(path, source))
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), FilesError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(from, error)),
        _ => Ok(()),
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, FilesError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_kept_and_restored() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        assert_eq!(files.read_configuration().unwrap(), "");
        for version in 1..=8 {
            files.write_candidate(&format!("v{version}")).unwrap();
            files.promote().unwrap();
        }
        assert_eq!(files.read_configuration().unwrap(), "v8");
        let kept: Vec<String> =
            (1..=KEPT_CONFIGURATIONS).map(|age| fs::read_to_string(files.version(age)).unwrap()).collect();
        assert_eq!(kept, ["v7", "v6", "v5", "v4", "v3"]);
        assert!(!files.version(KEPT_CONFIGURATIONS + 1).exists());
        files.restore().unwrap();
        assert_eq!(files.read_configuration().unwrap(), "v7");
    }

    #[test]
    fn the_directory_has_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let first = Files::open(directory.path()).unwrap();
        assert!(matches!(Files::open(directory.path()), Err(FilesError::Locked(_))));
        drop(first);
        assert!(Files::open(directory.path()).is_ok());
    }

    #[test]
    fn damaged_state_is_refused_rather_than_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::open(directory.path()).unwrap();
        assert_eq!(files.load().unwrap().generation, 0);
        files.save(&Saved { generation: 3, desired: Desired::new() }).unwrap();
        assert_eq!(files.load().unwrap().generation, 3);
        fs::write(files.state(), "{").unwrap();
        assert!(matches!(files.load(), Err(FilesError::Damaged { .. })));
        fs::write(files.state(), r#"{"format":9,"generation":1,"services":[]}"#).unwrap();
        assert!(matches!(files.load(), Err(FilesError::Format { format: 9, .. })));
    }
}
