//! What is stored, read again: each record by itself, so that many can be read side by side.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fair::Rule;
use super::job::{Job, JobRecord, Status};
use super::run::Run;

pub(super) const JOB: &str = "job/";
pub(super) const STATUS: &str = "status/";
pub(super) const RUN: &str = "run/";
pub(super) const QUEUE: &str = "queue/";

/// A record of the scheduler's.
#[derive(Debug)]
pub enum Stored {
    Job(Box<Job>),
    /// What has become of the named job.
    Status(String, Box<Status>),
    Run(Box<Run>),
    Queue(Rule),
    /// Of another kind: not the core's.
    Other,
    /// The key, and why it cannot be read.
    Unreadable(String, String),
}

impl Stored {
    /// A record as its bytes came from the masters.
    pub fn read(key: &str, value: &[u8]) -> Self {
        Self::with(key, Source::Bytes(value))
    }

    /// A record that was parsed already.
    pub fn parsed(key: &str, value: Value) -> Self {
        Self::with(key, Source::Parsed(value))
    }

    fn with(key: &str, source: Source<'_>) -> Self {
        let read = if let Some(name) = key.strip_prefix(STATUS) {
            source.read().map(|status| Self::Status(name.to_owned(), status))
        } else if key.starts_with(QUEUE) {
            source.read().map(Self::Queue)
        } else if key.starts_with(RUN) {
            source.read().map(Self::Run)
        } else if key.starts_with(JOB) {
            source.read().and_then(|record: JobRecord| {
                let job = Job::from_record(record).map_err(|refusal| refusal.to_string())?;
                Ok(Self::Job(Box::new(job)))
            })
        } else {
            Ok(Self::Other)
        };
        read.unwrap_or_else(|reason| Self::Unreadable(key.to_owned(), reason))
    }
}

enum Source<'a> {
    Bytes(&'a [u8]),
    Parsed(Value),
}

impl Source<'_> {
    fn read<T: DeserializeOwned>(self) -> Result<T, String> {
        let read = match self {
            Self::Bytes(bytes) => serde_json::from_slice(bytes),
            Self::Parsed(value) => serde_json::from_value(value),
        };
        read.map_err(|error| error.to_string())
    }
}
