//! How much a fetch may still do.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::error::Reason;
use super::{FetchLimits, Phase, Progress};

/// Bytes copied in one go, and the least progress that is reported.
const CHUNK: usize = 128 << 10;

/// What is told of the progress, and to whom.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) tell: Arc<dyn Fn(Progress) + Send + Sync>,
    pub(super) uri: String,
    pub(super) item: usize,
    pub(super) items: usize,
}

impl Reporter {
    pub(super) fn report(&self, phase: Phase, bytes: u64, total: Option<u64>) {
        (self.tell)(Progress {
            uri: self.uri.clone(),
            item: self.item,
            items: self.items,
            phase,
            bytes,
            total,
        });
    }
}

/// The end of a fetch's time, also when nobody waits for it any more.
#[derive(Clone)]
pub(super) struct Patience {
    pub(super) deadline: Instant,
    pub(super) given_up: Arc<AtomicBool>,
}

impl Patience {
    pub(super) fn check(&self, limits: &FetchLimits) -> Result<(), Reason> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(Reason::Cancelled);
        }
        if Instant::now() > self.deadline { Err(Reason::TooSlow(limits.time)) } else { Ok(()) }
    }
}

/// What one archive may still unpack.
pub(super) struct Budget {
    pub(super) limits: FetchLimits,
    pub(super) patience: Patience,
    pub(super) reporter: Reporter,
    bytes: u64,
    entries: u64,
}

impl Budget {
    pub(super) fn new(limits: FetchLimits, patience: Patience, reporter: Reporter) -> Self {
        Self { limits, patience, reporter, bytes: 0, entries: 0 }
    }

    /// One more entry.
    pub(super) fn entry(&mut self) -> Result<(), Reason> {
        self.entries += 1;
        if self.entries > self.limits.unpacked_entries {
            return Err(Reason::Entries(self.limits.unpacked_entries));
        }
        self.patience.check(&self.limits)
    }

    /// Copies everything. What counts is what comes out of the archive, not what its headers announce.
    pub(super) fn copy(
        &mut self,
        from: &mut impl Read,
        to: &mut impl Write,
        name: &str,
    ) -> Result<(), Reason> {
        let mut buffer = vec![0; CHUNK];
        loop {
            self.patience.check(&self.limits)?;
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Reason::Damaged(error.to_string())),
            };
            self.bytes += count as u64;
            if self.bytes > self.limits.unpacked_bytes {
                return Err(Reason::Unpacked(self.limits.unpacked_bytes));
            }
            to.write_all(&buffer[..count])
                .map_err(|source| Reason::Write { path: name.to_owned(), source })?;
            self.reporter.report(Phase::Unpacking, self.bytes, None);
        }
    }
}
