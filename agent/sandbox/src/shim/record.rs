//! Record files: what is known of a container beyond the life of the agent.
//!
//! One file per container in the runtime directory, named by its id, one line of JSON per fact. The shim holds a POSIX lock on it: such
//! a lock ends with the process whatever way it ends, is not inherited by children, and tells its owner's process id to whoever asks,
//! so there is no stored process id that could meanwhile mean another process. Nothing is synced to the disk: after a restart of the
//! machine no process is left either, and an empty or missing record says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::ContainerCgroup;
use crate::limits::{MAX_RECORD_BYTES, RESERVED_BYTES};
use crate::{ContainerId, Exit, LaunchError};

/// One fact. New kinds may be added; readers skip lines they do not know, and lines cut short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Fact {
    About(About),
    Started {
        pid: u32,
    },
    Failed(LaunchError),
    /// Written when the command ends and once more when nothing of the container is left; the later one counts.
    Exited(Exit),
}

/// What is needed later to probe, measure and clean up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) user: Option<String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) cgroup: ContainerCgroup,
    /// The number of the record's own file: another one has been copied, and its container is somebody else's. 0 in records
    /// of the first version, which did not say.
    #[serde(default)]
    pub(crate) inode: u64,
}

/// The facts of a record put together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) about: About,
    pub(crate) started: Option<u32>,
    pub(crate) failed: Option<LaunchError>,
    pub(crate) exited: Option<Exit>,
}

impl Summary {
    fn read(text: &str) -> Self {
        let mut summary = Self::default();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match serde_json::from_str(line) {
                Ok(Fact::About(about)) => summary.about = about,
                Ok(Fact::Started { pid }) => summary.started = Some(pid),
                Ok(Fact::Failed(error)) => summary.failed = Some(error),
                Ok(Fact::Exited(exit)) => summary.exited = Some(exit),
                Err(_) => {}
            }
        }
        summary
    }
}

/// Where a record is.
pub(crate) fn path(runtime: &Path, id: &ContainerId) -> PathBuf {
    runtime.join(id.as_str())
}

/// A record seen from outside.
#[derive(Debug)]
pub(crate) struct Record(File);

impl Record {
    /// `None` when there is none.
    pub(crate) fn open(runtime: &Path, id: &ContainerId) -> io::Result<Option<Self>> {
        match File::open(path(runtime, id)) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn summary(&self) -> io::Result<Summary> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; MAX_RECORD_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            match self.0.read_at(&mut bytes[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        bytes.truncate(length);
        let mut summary = Summary::read(&String::from_utf8_lossy(&bytes));
        if summary.about.inode != 0 && summary.about.inode != self.0.metadata()?.ino() {
            // A copy: the control group it names is the original's, whose container may well run in it.
            summary.about.cgroup = ContainerCgroup::default();
        }
        Ok(summary)
    }

    /// The living shim, as a descriptor that keeps meaning that process; `None` when it is gone.
    pub(crate) fn holder(&self) -> io::Result<Option<(i32, OwnedFd)>> {
        loop {
            let Some(pid) = lock_owner(&self.0)? else { return Ok(None) };
            match pidfd(pid) {
                // The id may have been given to another process between the question and the opening; then the lock is gone too.
                Ok(fd) if lock_owner(&self.0)? == Some(pid) => return Ok(Some((pid, fd))),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A record seen from its shim.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    /// The last write failed, maybe in the middle of a line.
    torn: bool,
}

impl Held {
    /// Makes the record and takes its lock. An existing one is never touched.
    pub(super) fn create(runtime: &Path, id: &ContainerId) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(runtime, id))?;
        lock(&file)?;
        reserve(&file);
        Ok(Self { file, torn: false })
    }

    /// What tells this file from a copy of it on the same machine.
    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }

    /// Appends facts in one write.
    pub(super) fn write(&mut self, facts: &[Fact]) -> io::Result<()> {
        // What is left of a line that was cut short must not spoil the next.
        let mut lines = if self.torn { vec![b'\n'] } else { Vec::new() };
        for fact in facts {
            serde_json::to_writer(&mut lines, fact)?;
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines);
        self.torn = written.is_err();
        written
    }
}

/// Takes the room for a record while there is some: the container itself may fill the disk before it ends. A file system
/// that cannot do it is no reason to launch nothing.
fn reserve(file: &File) {
    // SAFETY: the descriptor is open; the other arguments are numbers.
    let _ = unsafe {
        libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, RESERVED_BYTES as libc::off_t)
    };
}

/// Locks a whole file for as long as this process lives and keeps it open.
pub(super) fn lock(file: &File) -> io::Result<()> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open and `lock` is a valid flock structure through the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The process holding a lock on the file, as this process sees its id.
pub(crate) fn lock_owner(file: &File) -> io::Result<Option<i32>> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open and `lock` is a valid flock structure that the kernel may overwrite.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

fn whole_file(kind: i32) -> libc::flock {
    // SAFETY: the structure consists of numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    lock
}

pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers; a non-negative result is a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// Every record in the runtime directory.
pub(crate) fn list(runtime: &Path) -> io::Result<Vec<ContainerId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(runtime)? {
        // What is not a container id is not a record: the launcher's own files start with a dot.
        if let Some(id) = entry?.file_name().to_str().and_then(|name| ContainerId::new(name).ok()) {
            ids.push(id);
        }
    }
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ExitStatus;

    fn exit(code: i32) -> Exit {
        Exit {
            status: ExitStatus::Code(code),
            killed: false,
            limitation: None,
            cpu: Duration::ZERO,
            max_rss_bytes: 0,
        }
    }

    #[test]
    fn a_line_cut_short_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let id = ContainerId::new("c").unwrap();
        let mut held = Held::create(dir.path(), &id).unwrap();
        let room = mem::replace(&mut held.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert!(held.write(&[Fact::Exited(exit(1))]).is_err());
        held.file = room;
        held.file.write_all(b"{\"Exited\":{").unwrap();
        held.write(&[Fact::Exited(exit(2))]).unwrap();
        let summary = Record::open(dir.path(), &id).unwrap().unwrap().summary().unwrap();
        assert_eq!(summary.exited, Some(exit(2)));
    }

    #[test]
    fn facts_add_up_and_the_last_exit_counts() {
        let dir = tempfile::tempdir().unwrap();
        let id = ContainerId::new("a").unwrap();
        assert!(Record::open(dir.path(), &id).unwrap().is_none());
        let mut held = Held::create(dir.path(), &id).unwrap();
        held.write(&[Fact::Started { pid: 7 }, Fact::Exited(exit(1))]).unwrap();
        held.write(&[Fact::Exited(exit(2))]).unwrap();
        let record = Record::open(dir.path(), &id).unwrap().unwrap();
        let summary = record.summary().unwrap();
        assert_eq!((summary.started, summary.exited), (Some(7), Some(exit(2))));
        assert_eq!(Held::create(dir.path(), &id).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(list(dir.path()).unwrap(), [id]);
    }

    /// Shims of an older program write to agents of a newer one: what once was written must be read for ever.
    #[test]
    fn records_of_the_first_version_are_read() {
        let text = r#"{"About":{"user":"nobody","working_dir":"/s/c","cgroup":{"at":{"V1":{"cpu":"/c/cpu/c","memory":null}}}}}
{"Started":{"pid":812}}
{"Exited":{"status":{"Signal":9},"killed":true,"limitation":{"Memory":{"limit_bytes":33554432}},"cpu":{"secs":1,"nanos":5},"max_rss_bytes":4096}}
"#;
        let summary = Summary::read(text);
        assert_eq!((summary.about.user.as_deref(), summary.started), (Some("nobody"), Some(812)));
        assert_eq!(summary.about.working_dir, Path::new("/s/c"));
        assert_eq!(serde_json::to_value(&summary.about.cgroup).unwrap()["at"]["V1"]["cpu"], "/c/cpu/c");
        let exit = summary.exited.unwrap();
        assert_eq!(exit.status, ExitStatus::Signal(crate::Signal::KILL));
        assert_eq!(exit.limitation, Some(crate::Limitation::Memory { limit_bytes: 32 << 20 }));
        assert_eq!((exit.killed, exit.cpu, exit.max_rss_bytes), (true, Duration::new(1, 5), 4096));
        let failed = r#"{"Failed":{"step":"Execute","errno":2,"message":"cannot"}}"#.to_owned() + "\n";
        assert_eq!(Summary::read(&failed).failed.map(|error| error.step), Some(crate::Step::Execute));
    }

    #[test]
    fn a_copy_of_a_record_names_no_control_group() {
        let dir = tempfile::tempdir().unwrap();
        let [id, copied] = ["a", "b"].map(|name| ContainerId::new(name).unwrap());
        let mut held = Held::create(dir.path(), &id).unwrap();
        let cgroup: ContainerCgroup =
            serde_json::from_str(r#"{"at":{"V1":{"cpu":"/c/cpu/a","memory":null}}}"#).unwrap();
        let about = About { cgroup: cgroup.clone(), inode: held.inode().unwrap(), ..About::default() };
        held.write(&[Fact::About(about), Fact::Started { pid: 7 }]).unwrap();
        fs::copy(path(dir.path(), &id), path(dir.path(), &copied)).unwrap();
        let read = |id| Record::open(dir.path(), id).unwrap().unwrap().summary().unwrap();
        assert_eq!(read(&id).about.cgroup, cgroup);
        assert_eq!(read(&copied).about.cgroup, ContainerCgroup::default());
        assert_eq!(read(&copied).started, Some(7));
    }

    #[test]
    fn lines_unknown_or_cut_short_are_skipped() {
        let text =
            "{\"Started\":{\"pid\":7,\"later\":1}}\n{\"Novelty\":1}\n{\"Exited\":{\"status\":{\"Code\":0}";
        assert_eq!(Summary::read(text), Summary { started: Some(7), ..Summary::default() });
    }
}
