//! The thread that writes records: whatever waits is written together and synced once.
//!
//! A sync takes some 200 µs at best, and one per task would be the speed limit of launches; a thousand tasks share a
//! few. A failed write or sync ends the agent: after it nobody knows what the disk holds, and asking again would
//! only seem to help.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use agent_core::{Record, checkpoint, journal};
use tokio::sync::mpsc::UnboundedSender;

use super::directory::{Log, log_path, sync_directory};
use crate::error::Error;
use crate::limits;

/// What the writer tells the driver.
#[derive(Debug)]
pub(crate) enum Told {
    /// Records up to this number are on disk. `long`: the log should be compacted.
    Synced {
        seq: u64,
        long: bool,
    },
    Compacted,
    Failed(Error),
}

enum Order {
    Append(u64, Record),
    /// All that was appended so far, said in other words.
    Compact(Vec<Record>),
}

/// A handle on the thread. Dropping it waits until everything appended is on disk.
pub(crate) struct Writer {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(log: Log, told: UnboundedSender<Told>) -> Result<Self, Error> {
        let (orders, inbox) = channel();
        let path = log.path.clone();
        let mut work = Work { log, told };
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || work.run(&inbox))
            .map_err(Error::disk("start the writer of", path))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    pub(crate) fn append(&self, seq: u64, record: Record) {
        self.send(Order::Append(seq, record));
    }

    /// Puts `records` in place of all that was appended before.
    pub(crate) fn compact(&self, records: Vec<Record>) {
        self.send(Order::Compact(records));
    }

    fn send(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends before its handle only after it told that it failed.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened; there is nothing to add to it.
            let _ = thread.join();
        }
    }
}

struct Work {
    log: Log,
    told: UnboundedSender<Told>,
}

impl Work {
    fn run(&mut self, inbox: &Receiver<Order>) {
        let mut waiting = None;
        while let Some(order) = waiting.take().or_else(|| inbox.recv().ok()) {
            let done = match order {
                Order::Append(seq, record) => self.append(seq, &record, inbox, &mut waiting),
                Order::Compact(records) => self.compact(&records),
            };
            match done {
                // The driver may be gone already; the records are written all the same.
                Ok(told) => drop(self.told.send(told)),
                Err((what, path, source)) => {
                    let _ = self.told.send(Told::Failed(Error::Disk { what, path, source }));
                    return;
                }
            }
        }
    }

    /// Writes a record and all that wait behind it. An order of another kind met there is left in `waiting`.
    fn append(
        &mut self,
        mut seq: u64,
        record: &Record,
        inbox: &Receiver<Order>,
        waiting: &mut Option<Order>,
    ) -> Result<Told, Failure> {
        let mut payload = checkpoint::encode([record]);
        while payload.len() < limits::BATCH_BYTES {
            match inbox.try_recv() {
                // Batches written one after another read as one.
                Ok(Order::Append(next, record)) => {
                    payload.extend_from_slice(&checkpoint::encode([&record]));
                    seq = next;
                }
                Ok(order) => {
                    *waiting = Some(order);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        journal::append(&mut bytes, &payload);
        let written = self.log.file.write_all(&bytes).and_then(|()| self.log.file.sync_data());
        let long = self.log.journal.appended(&bytes, written, limits::COMPACT_BYTES);
        let long = long.map_err(|source| ("write", self.log.path.clone(), source))?;
        self.note()?;
        Ok(Told::Synced { seq, long })
    }

    fn compact(&mut self, records: &[Record]) -> Result<Told, Failure> {
        let mut bytes = Vec::new();
        let mut payload = Vec::new();
        for record in records {
            payload.extend_from_slice(&checkpoint::encode([record]));
            if payload.len() >= limits::BATCH_BYTES {
                journal::append(&mut bytes, &payload);
                payload.clear();
            }
        }
        if !payload.is_empty() {
            journal::append(&mut bytes, &payload);
        }
        let old = self.log.path.clone();
        let next = log_path(&self.log.directory, self.log.journal.generation() + 1);
        self.replace(next.clone(), &bytes).map_err(|source| ("write", next, source))?;
        self.note()?;
        fs::remove_file(&old).map_err(|source| ("remove", old, source))?;
        Ok(Told::Compacted)
    }

    /// Puts a log of the next generation in place. The old one stays until the new one is safe.
    fn replace(&mut self, path: PathBuf, bytes: &[u8]) -> io::Result<()> {
        let aside = path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        sync_directory(&self.log.directory)?;
        self.log.file = file;
        self.log.path = path;
        self.log.journal.compacted(bytes.len() as u64);
        Ok(())
    }

    /// Notes how far the log is safe. Not synced: an older note says less and nothing wrong.
    fn note(&self) -> Result<(), Failure> {
        let mark = self.log.journal.mark().encode();
        let failed = |source| ("write", self.log.directory.join("synced"), source);
        self.log.mark.write_all_at(&mark, 0).map_err(failed)
    }
}

/// What could not be done, with which file, and why.
type Failure = (&'static str, PathBuf, io::Error);

#[cfg(test)]
mod tests {
    use agent_core::checkpoint::Boot;
    use agent_core::journal::Unusable;

    use super::super::DataDir;
    use super::*;

    fn terms(records: &[Record]) -> Vec<u64> {
        let term = |record: &Record| match record {
            Record::Term(term) => Some(*term),
            _ => None,
        };
        records.iter().filter_map(term).collect()
    }

    /// Opens the directory, hands the writer to `work`, and waits until all is written.
    fn session(path: &std::path::Path, work: impl FnOnce(&Writer)) -> (Vec<Record>, Vec<Told>) {
        let directory = DataDir::lock(path).unwrap();
        let (log, records) = directory.open().unwrap();
        let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let writer = Writer::start(log, told).unwrap();
        work(&writer);
        drop(writer);
        (records, std::iter::from_fn(|| hears.try_recv().ok()).collect())
    }

    #[test]
    fn what_was_appended_is_read_back_and_compaction_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let (records, told) =
            session(dir.path(), |writer| (1..=100).for_each(|n| writer.append(n, Record::Term(n))));
        assert_eq!(records.len(), 0);
        assert!(matches!(told.last(), Some(Told::Synced { seq: 100, long: false })));
        let (records, _) = session(dir.path(), |writer| {
            writer.append(1, Record::Term(101));
            writer.compact(vec![Record::Term(7), Record::Boot(Boot::default())]);
            writer.append(2, Record::Term(8));
        });
        assert_eq!(terms(&records), (1..=100).collect::<Vec<_>>());
        let (records, _) = session(dir.path(), |_| {});
        assert_eq!(terms(&records), [7, 8]);
        let files = fs::read_dir(dir.path().join("checkpoint")).unwrap().count();
        assert_eq!(files, 3, "the log, how far it is safe, and its format");
    }

    #[test]
    fn a_torn_end_is_cut_off_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        session(dir.path(), |writer| writer.append(1, Record::Term(1)));
        let mark = dir.path().join("checkpoint/synced");
        let before = fs::read(&mark).unwrap();
        session(dir.path(), |writer| writer.append(2, Record::Term(2)));
        let path = log_path(&dir.path().join("checkpoint"), 0);
        let whole = fs::read(&path).unwrap();
        // The power goes while the second record is written, and nobody has noted that it is safe.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        fs::write(&mark, before).unwrap();
        let (records, _) = session(dir.path(), |writer| writer.append(3, Record::Term(3)));
        assert_eq!(terms(&records), [1]);
        let (records, _) = session(dir.path(), |_| {});
        assert_eq!(terms(&records), [1, 3]);
        let mut broken = whole;
        broken[14] ^= 1;
        fs::write(&path, broken).unwrap();
        let error = DataDir::lock(dir.path()).unwrap().open().unwrap_err();
        assert!(matches!(error, Error::Damaged { why: Unusable::Damaged(0), .. }), "{error}");
    }

    /// A flipped bit anywhere is refused with the name of the file, or costs nothing.
    #[test]
    fn a_flipped_bit_anywhere_in_the_files_is_refused_or_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        session(dir.path(), |writer| (1..=20).for_each(|n| writer.append(n, Record::Term(n))));
        session(dir.path(), |writer| {
            (21..=23).for_each(|n| writer.append(n, Record::Boot(Boot { id: format!("{n}"), at: None })))
        });
        let checkpoint = dir.path().join("checkpoint");
        let names = fs::read_dir(&checkpoint).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<(PathBuf, Vec<u8>)> =
            names.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
        let (mut refused, mut unharmed) = (0, 0);
        for (path, whole) in &files {
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                fs::write(path, bytes).unwrap();
                match DataDir::lock(dir.path()).unwrap().open() {
                    Ok((_, records)) => {
                        assert_eq!(records.len(), 23, "bit {bit} of {}", path.display());
                        assert_eq!(terms(&records), (1..=20).collect::<Vec<_>>());
                        unharmed += 1;
                    }
                    Err(error) => {
                        assert!(error.is_refusal(), "{error}");
                        assert!(error.to_string().contains("checkpoint"), "{error}");
                        refused += 1;
                    }
                }
                fs::write(path, whole).unwrap();
            }
        }
        // All of the log and of the format; the note beside them is not needed for what is whole.
        assert_eq!(unharmed, journal::MARK_BYTES * 8);
        let all: usize = files.iter().map(|(_, bytes)| bytes.len() * 8).sum();
        assert_eq!(refused, all - unharmed);
    }

    #[test]
    fn a_second_owner_and_a_strange_format_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap();
        assert!(matches!(DataDir::lock(dir.path()), Err(Error::Locked { .. })));
        first.open().unwrap();
        drop(first);
        fs::write(dir.path().join("checkpoint/format"), "stoa agent checkpoint 2\n").unwrap();
        let error = DataDir::lock(dir.path()).unwrap().open().unwrap_err();
        assert!(error.is_refusal());
        assert!(error.to_string().contains("\"stoa agent checkpoint 2\""), "{error}");
    }

    #[test]
    fn an_interrupted_compaction_leaves_the_newer_log() {
        let dir = tempfile::tempdir().unwrap();
        session(dir.path(), |writer| writer.append(1, Record::Term(1)));
        let checkpoint = dir.path().join("checkpoint");
        let old = fs::read(log_path(&checkpoint, 0)).unwrap();
        session(dir.path(), |writer| writer.compact(vec![Record::Term(5)]));
        // As if the power had gone before the old log was removed, and during the next compaction.
        fs::write(log_path(&checkpoint, 0), old).unwrap();
        fs::write(checkpoint.join("log-00000000000000000002.new"), b"half").unwrap();
        let (records, _) = session(dir.path(), |_| {});
        assert_eq!(terms(&records), [5]);
    }
}
