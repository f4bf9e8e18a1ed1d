//! The disk of an agent: the bytes of its log, as the real driver writes them, and what a crash leaves of them.
//!
//! What waits while a frame is written goes into the next one, as with the real writer. Frames, the note of how far the log
//! is safe, and what an answer of the disk means are the agent's own code.

use agent_core::journal::{self, Journal, Mark, Unusable};
use agent_core::{Record, checkpoint};
use model::id::AgentId;
use rand::RngExt;

use super::Trouble;
use crate::context::Context;
use crate::version;

/// The files and what is under way to them.
#[derive(Debug, Default)]
pub(super) struct Disk {
    log: Vec<u8>,
    generation: u64,
    mark: Mark,
    /// The note as it was at the last start: it is not synced, and a power cut may bring it back.
    older: Mark,
    writing: Option<Writing>,
    waiting: Vec<(u64, Record)>,
    /// Records in the log.
    records: usize,
    /// Every id that this disk was given.
    ids: Vec<AgentId>,
    /// What is written is of the next version.
    pub(super) next: bool,
    pub(super) trouble: Option<Trouble>,
    /// Bits have flipped, and nobody has seen it yet.
    pub(super) rotten: bool,
}

/// A frame that is being written.
#[derive(Debug)]
struct Writing {
    seq: u64,
    frame: Vec<u8>,
    records: Vec<Record>,
}

impl Disk {
    /// Takes a record that is to be written. Whether the writer was idle, and begins with it now.
    pub(super) fn push(&mut self, seq: u64, record: Record) -> Option<u64> {
        self.waiting.push((seq, record));
        self.begin()
    }

    /// Begins to write all that waits, unless something is being written: the number of the last.
    pub(super) fn begin(&mut self) -> Option<u64> {
        if self.writing.is_some() {
            return None;
        }
        let seq = self.waiting.last()?.0;
        let records: Vec<Record> = self.waiting.drain(..).map(|(_, record)| record).collect();
        let mut frame = Vec::new();
        journal::append(&mut frame, &self.encode(&records));
        self.writing = Some(Writing { seq, frame, records });
        Some(seq)
    }

    fn encode(&self, records: &[Record]) -> Vec<u8> {
        let bytes = checkpoint::encode(records);
        if self.next { version::with_member(bytes) } else { bytes }
    }

    /// The write is over: up to which number records are safe, and which are new; or what the disk said.
    pub(super) fn finish(&mut self, journal: &mut Journal) -> Result<(u64, Vec<Record>), &'static str> {
        let Some(writing) = self.writing.take() else { return Ok((0, Vec::new())) };
        let done = match self.trouble {
            None => Ok(()),
            Some(Trouble::Full) => Err("no space left on device"),
            Some(Trouble::Write | Trouble::Sync) => {
                self.trouble = None;
                Err("Input/output error")
            }
        };
        let failed = done.is_err();
        journal.appended(&writing.frame, done, u64::MAX)?;
        if failed {
            // Whoever goes on writes behind what the system has dropped.
            self.log.resize(self.log.len() + writing.frame.len(), 0);
        } else {
            self.put(&writing);
        }
        self.mark = journal.mark();
        Ok((writing.seq, writing.records))
    }

    fn put(&mut self, writing: &Writing) {
        self.log.extend_from_slice(&writing.frame);
        self.records += writing.records.len();
        for record in &writing.records {
            if let Record::Registered { agent, .. } = record {
                self.ids.push(agent.clone());
            }
        }
    }

    /// Whether the log has more than so many records and nothing is under way to it.
    pub(super) fn is_long(&self, records: usize) -> bool {
        self.writing.is_none() && self.waiting.is_empty() && self.records > records
    }

    /// Puts these records in place of all that was written before.
    pub(super) fn compact(&mut self, records: &[Record], journal: &mut Journal) {
        self.log.clear();
        let payload = self.encode(records);
        journal::append(&mut self.log, &payload);
        self.records = records.len();
        journal.compacted(self.log.len() as u64);
        self.generation = journal.generation();
        self.mark = journal.mark();
    }

    /// The process ends, and the system goes on: what it was given is on the disk. The records that are.
    pub(super) fn killed(&mut self, cx: &mut Context) -> Vec<Record> {
        self.waiting.clear();
        match self.writing.take() {
            Some(writing) if self.trouble.is_none() && cx.chance(5_000) => {
                self.put(&writing);
                writing.records
            }
            _ => Vec::new(),
        }
    }

    /// The power goes in the middle of whatever is written. The records that happen to be on the disk all the same.
    pub(super) fn cut(&mut self, cx: &mut Context) -> Vec<Record> {
        self.waiting.clear();
        if cx.chance(5_000) {
            self.mark = self.older;
        }
        let Some(writing) = self.writing.take().filter(|_| self.trouble.is_none()) else { return Vec::new() };
        match cx.random.random_range(0..4) {
            0 => {
                self.put(&writing);
                return writing.records;
            }
            1 => {
                let cut = cx.random.random_range(0..writing.frame.len());
                self.log.extend_from_slice(&writing.frame[..cut]);
            }
            2 => {
                // The file is as long as it was to be, and some of its blocks were never written.
                let from = cx.random.random_range(0..writing.frame.len());
                let to = cx.random.random_range(from..writing.frame.len());
                let mut frame = writing.frame;
                let before = frame.clone();
                frame[from..=to].fill(if cx.chance(5_000) { 0 } else { 0xa5 });
                if frame != before {
                    self.log.extend_from_slice(&frame);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// What is on a copy of it that is taken while it is used: the write under way is there or is not.
    pub(super) fn image(&self, cx: &mut Context) -> Self {
        let mut copy = Self {
            log: self.log.clone(),
            generation: self.generation,
            mark: self.mark,
            older: self.mark,
            records: self.records,
            ids: self.ids.clone(),
            ..Self::default()
        };
        if let Some(writing) = self.writing.as_ref().filter(|_| cx.chance(5_000)) {
            copy.put(writing);
        }
        copy
    }

    /// The last id it was given.
    pub(super) fn id(&self) -> Option<&AgentId> {
        self.ids.last()
    }

    /// A bit flips.
    pub(super) fn flip(&mut self, cx: &mut Context) {
        let safe = usize::try_from(self.mark.end).unwrap_or(usize::MAX).min(self.log.len());
        if !self.rotten && safe > 0 && self.mark.generation == self.generation {
            let at = cx.random.random_range(0..safe);
            self.log[at] ^= 1 << cx.random.random_range(0..8);
            self.rotten = true;
        }
    }

    /// What a process that starts finds.
    pub(super) fn read(&mut self) -> Result<(Journal, Vec<Record>), Unusable> {
        let found = journal::read(&self.log, self.generation, self.mark)?;
        self.log.truncate(found.end);
        self.records = found.records.len();
        self.older = self.mark;
        Ok((Journal::new(self.generation, &found), found.records))
    }

    /// An empty disk takes its place. The ids that are forgotten with it.
    pub(super) fn wipe(&mut self) -> Vec<AgentId> {
        std::mem::take(self).ids
    }
}
