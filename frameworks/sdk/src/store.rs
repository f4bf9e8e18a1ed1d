//! Durable records: everything a framework must not forget, one key a record, written in fenced transactions.

use bytes::Bytes;
use client::state::{State, StateError};
use thiserror::Error;
use wire::state::{Base64, Key, Operation, Put, Txn};

use crate::leadership::Fence;
use crate::limits;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces a record.
    Put {
        /// Its key in the namespace.
        key: String,
        /// Its bytes.
        value: Bytes,
    },
    /// Removes a record; one that is not there is removed already.
    Delete {
        /// Its key in the namespace.
        key: String,
    },
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key in the namespace.
    pub key: String,
    /// Its bytes.
    pub value: Bytes,
    /// When it was last written.
    pub revision: u64,
}

/// Why writes were not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another instance leads: nothing was written, and nothing may be done any more.
    #[error("another instance leads: nothing was written")]
    Deposed,
    /// They are too many for one transaction.
    #[error("{writes} writes of {bytes} bytes are too much for one transaction")]
    TooMuch {
        /// How many.
        writes: usize,
        /// Their keys and values together.
        bytes: usize,
    },
    /// No answer, or a refusal. After [`StateError::Unavailable`] the same request id must be used to try again.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The records of one namespace, as its leader writes them.
#[derive(Clone, Debug)]
pub struct Store {
    state: State,
    fence: Fence,
}

impl Store {
    /// A store that writes only while the fence holds.
    pub fn new(state: State, fence: Fence) -> Self {
        Self { state, fence }
    }

    /// All records under a prefix, and the revision of the read. While this instance leads nobody else writes them, so
    /// the pages of a long read are one state.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn load(&self, prefix: &str) -> Result<(u64, Vec<Record>), StateError> {
        let (revision, entries) = self.state.range(prefix).await?;
        let record = |entry: wire::state::Entry| Record {
            key: entry.key,
            value: entry.value.0,
            revision: entry.mod_revision,
        };
        Ok((revision, entries.into_iter().map(record).collect()))
    }

    /// Writes all or nothing and returns the revision. `request` is a random id: sent again with the same id, the writes
    /// are done once.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, request: &str, writes: Vec<Write>) -> Result<u64, CommitError> {
        let bytes = writes.iter().map(size).sum();
        if writes.len() > limits::WRITES || bytes > limits::WRITE_BYTES {
            return Err(CommitError::TooMuch { writes: writes.len(), bytes });
        }
        let txn = Txn {
            namespace: self.state.namespace().to_owned(),
            request: Some(request.to_owned()),
            compare: vec![self.fence.0.clone()],
            then: writes.into_iter().map(operation).collect(),
            otherwise: Vec::new(),
        };
        let answer = self.state.txn(txn).await?;
        if answer.succeeded { Ok(answer.revision) } else { Err(CommitError::Deposed) }
    }

    /// As [`Self::load`], tried until it succeeds: a leader that cannot read cannot do anything else.
    pub async fn load_at_last(&self, prefix: &str) -> Vec<Record> {
        loop {
            match self.load(prefix).await {
                Ok((_, records)) => return records,
                Err(error) => tracing::warn!(%error, "cannot read the stored records"),
            }
            tokio::time::sleep(limits::STORE_AGAIN).await;
        }
    }

    /// As [`Self::commit`], sent again under one request id until the outcome is known. It is safe to drop: a write that
    /// is on its way may then be done or not.
    ///
    /// # Errors
    /// [`CommitError::Deposed`] and [`CommitError::TooMuch`]: nothing was written.
    pub async fn commit_at_last(&self, writes: Vec<Write>) -> Result<u64, CommitError> {
        let request = uuid::Uuid::new_v4().to_string();
        loop {
            match self.commit(&request, writes.clone()).await {
                Err(CommitError::State(error)) => {
                    tracing::warn!(%error, "a batch of records is not stored yet")
                }
                known => return known,
            }
            tokio::time::sleep(limits::STORE_AGAIN).await;
        }
    }
}

/// The bytes that count against [`limits::WRITE_BYTES`].
pub fn size(write: &Write) -> usize {
    match write {
        Write::Put { key, value } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    }
}

fn operation(write: Write) -> Operation {
    match write {
        Write::Put { key, value } => Operation::Put(Put { key, value: Base64(value), lease: None }),
        Write::Delete { key } => Operation::Delete(Key { key }),
    }
}
