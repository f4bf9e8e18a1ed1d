//! Whose data directory this is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::form::Founding;
use crate::types::NodeId;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
const TITLE: &str = "stoa-master-data";
const FORMAT: u32 = 1;

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// Another process has it.
    #[error("the data directory {0} is in use by another process")]
    Locked(String),
    /// Written by a later program.
    #[error(
        "the data directory {path} has format {found}; this program knows formats up to {FORMAT} and will not touch it"
    )]
    Newer {
        /// Where.
        path: String,
        /// The format found.
        found: u32,
    },
    /// Not a directory of a master, or damaged.
    #[error("the data directory {path} is not usable: {why}")]
    Unusable {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's words.
        source: io::Error,
    },
}

/// A locked data directory with its identity. The lock lasts as long as this value.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node: NodeId,
    founding: Option<Founding>,
    _lock: File,
}

impl DataDir {
    /// Locks the directory, which is created if need be, and reads who it belongs to. An empty one is formatted for the
    /// node `fresh`: an id is bound to a disk, so that a wiped disk never speaks for the old one.
    pub fn open(path: &Path, fresh: NodeId) -> Result<Self, DirError> {
        let name = path.display();
        fs::create_dir_all(path)
            .map_err(|source| io_error(format!("create the data directory {name}"), source))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(|source| io_error(format!("write in the data directory {name}"), source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirError::Locked(name.to_string())),
            Err(TryLockError::Error(source)) => {
                return Err(io_error(format!("lock the data directory {name}"), source));
            }
        }
        let mut dir = Self { path: path.to_owned(), node: fresh, founding: None, _lock: lock };
        match fs::read_to_string(path.join(IDENTITY)) {
            Ok(text) => (dir.node, dir.founding) = parse(&text, &name.to_string())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.join("raft").exists() {
                    let why = format!("it holds a log but no file `{IDENTITY}` that says whose");
                    return Err(DirError::Unusable { path: name.to_string(), why });
                }
                dir.store()?;
            }
            Err(source) => return Err(io_error(format!("read {name}/{IDENTITY}"), source)),
        }
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node this disk is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The group it belongs to; `None` until one was founded.
    pub fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// Records the group, once, durably.
    pub fn found(&mut self, founding: Founding) -> Result<(), DirError> {
        match &self.founding {
            None => {
                self.founding = Some(founding);
                self.store()
            }
            Some(known) if *known == founding => Ok(()),
            Some(known) => Err(DirError::Unusable {
                path: self.path.display().to_string(),
                why: format!("it belongs to group {}, not to {}", known.cluster, founding.cluster),
            }),
        }
    }

    fn store(&self) -> Result<(), DirError> {
        let mut text = format!("{TITLE} {FORMAT}\nnode {}\n", self.node);
        if let Some(founding) = &self.founding {
            text += &format!("cluster {}\n", founding.cluster);
            for (id, address) in &founding.members {
                text += &format!("member {id} {address}\n");
            }
        }
        let written = || {
            let draft = self.path.join("identity.draft");
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.path.join(IDENTITY))?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|source| io_error(format!("write {}/{IDENTITY}", self.path.display()), source))
    }
}

fn io_error(doing: String, source: io::Error) -> DirError {
    DirError::Io { doing, source }
}

fn parse(text: &str, path: &str) -> Result<(NodeId, Option<Founding>), DirError> {
    let unusable = |why: String| DirError::Unusable { path: path.to_owned(), why };
    let mut lines = text.lines();
    let format =
        lines.next().and_then(|line| line.strip_prefix(TITLE)).and_then(|rest| rest.trim().parse().ok());
    let Some(format) = format else {
        return Err(unusable(format!("its file `{IDENTITY}` does not begin with `{TITLE}` and a number")));
    };
    if format > FORMAT {
        return Err(DirError::Newer { path: path.to_owned(), found: format });
    }
    let mut node = None;
    let mut cluster = None;
    let mut members = Vec::new();
    for line in lines {
        let bad = || unusable(format!("line `{line}` of its file `{IDENTITY}` makes no sense"));
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["node", id] => node = Some(id.parse().map_err(|_| bad())?),
            ["cluster", id] => cluster = Some(id.parse().map_err(|_| bad())?),
            ["member", id, address] => members.push((id.parse().map_err(|_| bad())?, address.to_owned())),
            _ => return Err(bad()),
        }
    }
    let node = node.ok_or_else(|| unusable(format!("its file `{IDENTITY}` names no node")))?;
    Ok((node, cluster.map(|cluster| Founding { cluster, members })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    #[test]
    fn identity_survives_a_restart_and_a_second_process_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let founding = Founding { cluster: ClusterId(9), members: vec![(NodeId(7), "a:1".into())] };
        let mut first = DataDir::open(temp.path(), NodeId(7)).expect("empty directory");
        first.found(founding.clone()).expect("first group");
        let refusal = DataDir::open(temp.path(), NodeId(8)).expect_err("locked").to_string();
        assert!(refusal.contains("in use by another process"), "{refusal}");
        drop(first);
        let mut again = DataDir::open(temp.path(), NodeId(8)).expect("unlocked by then");
        assert_eq!((again.node(), again.founding()), (NodeId(7), Some(&founding)));
        let other = Founding { cluster: ClusterId(10), members: vec![] };
        assert!(again.found(other).is_err(), "a disk belongs to one group");
    }

    #[test]
    fn newer_damaged_and_nameless_directories_are_refused_by_name() {
        for (text, word) in [
            ("stoa-master-data 2\nnode 1\n", "format 2"),
            ("something else\n", "does not begin"),
            ("stoa-master-data 1\n", "names no node"),
            ("stoa-master-data 1\nnode zero\n", "`node zero`"),
        ] {
            let temp = tempfile::tempdir().expect("a temporary directory");
            fs::write(temp.path().join(IDENTITY), text).expect("writable");
            let refusal = DataDir::open(temp.path(), NodeId(1)).expect_err("unusable").to_string();
            assert!(
                refusal.contains(word) && refusal.contains(&temp.path().display().to_string()),
                "{refusal}"
            );
        }
        let temp = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(temp.path().join("raft")).expect("writable");
        assert!(DataDir::open(temp.path(), NodeId(1)).is_err(), "a log without an owner");
    }
}
