//! Records of one type, each under its own key as JSON, changed by compare-and-swap.
//!
//! For what several writers share: an operator's tool and a leader, or instances that need no leader at all. What only the
//! leader writes goes through [`crate::store`], whose fence makes comparisons of single records unnecessary.

use std::marker::PhantomData;

use client::state::{State, StateError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::state::{Base64, Compare, Entry, Key, Operation, Put, Txn};

/// The records of type `T` under a prefix.
#[derive(Debug)]
pub struct Table<T> {
    state: State,
    prefix: String,
    content: PhantomData<fn() -> T>,
}

/// A record and what to compare with when it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// When it was last written.
    pub revision: u64,
}

/// What has to be there for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No record.
    Absent,
    /// The record as it was last written at this revision.
    Revision(u64),
}

/// Why a record was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Another writer was faster: read the record and decide anew.
    #[error("record `{key}` was changed by another writer")]
    Changed {
        /// Its key, with the prefix.
        key: String,
    },
    /// What is stored is not of the type.
    #[error("record `{key}` cannot be read: {reason}")]
    Garbled {
        /// Its key, with the prefix.
        key: String,
        /// What does not fit.
        reason: String,
    },
    /// No answer, or a refusal. After [`StateError::Unavailable`] the same request id must be used to try again.
    #[error(transparent)]
    State(#[from] StateError),
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The table of the records under `prefix`.
    pub fn new(state: State, prefix: &str) -> Self {
        Self { state, prefix: prefix.to_owned(), content: PhantomData }
    }

    /// One record; `name` is its key without the prefix.
    ///
    /// # Errors
    /// See [`TableError`].
    pub async fn get(&self, name: &str) -> Result<Option<Versioned<T>>, TableError> {
        let answer = self.state.get(&self.key(name)).await?;
        answer.entry.map(|entry| Ok(read(entry)?.1)).transpose()
    }

    /// All records by name, in order.
    ///
    /// # Errors
    /// See [`TableError`].
    pub async fn all(&self) -> Result<Vec<(String, Versioned<T>)>, TableError> {
        let (_, entries) = self.state.range(&self.prefix).await?;
        let named = |entry| {
            let (key, record) = read(entry)?;
            Ok((key.strip_prefix(&self.prefix).unwrap_or(&key).to_owned(), record))
        };
        entries.into_iter().map(named).collect()
    }

    /// Writes a record if it stands as expected, and returns its new revision. `request` is a random id: sent again with
    /// the same id, the write is done once.
    ///
    /// # Errors
    /// See [`TableError`].
    pub async fn put(
        &self,
        request: &str,
        name: &str,
        value: &T,
        expected: Expected,
    ) -> Result<u64, TableError> {
        let key = self.key(name);
        let value = serde_json::to_vec(value)
            .map_err(|error| TableError::Garbled { key: key.clone(), reason: error.to_string() })?;
        let put = Operation::Put(Put { key: key.clone(), value: Base64(value.into()), lease: None });
        self.change(request, key, expected, put).await
    }

    /// Removes a record if it was last written at `revision`.
    ///
    /// # Errors
    /// See [`TableError`].
    pub async fn remove(&self, request: &str, name: &str, revision: u64) -> Result<u64, TableError> {
        let key = self.key(name);
        let delete = Operation::Delete(Key { key: key.clone() });
        self.change(request, key, Expected::Revision(revision), delete).await
    }

    async fn change(
        &self,
        request: &str,
        key: String,
        expected: Expected,
        operation: Operation,
    ) -> Result<u64, TableError> {
        let compare = match expected {
            Expected::Absent => Compare { key: key.clone(), exists: Some(false), ..Compare::default() },
            Expected::Revision(at) => {
                Compare { key: key.clone(), mod_revision: Some(at), ..Compare::default() }
            }
        };
        let txn = Txn {
            namespace: self.state.namespace().to_owned(),
            request: Some(request.to_owned()),
            compare: vec![compare],
            then: vec![operation],
            otherwise: Vec::new(),
        };
        let answer = self.state.txn(txn).await?;
        if answer.succeeded { Ok(answer.revision) } else { Err(TableError::Changed { key }) }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn read<T: DeserializeOwned>(entry: Entry) -> Result<(String, Versioned<T>), TableError> {
    match serde_json::from_slice(&entry.value.0) {
        Ok(value) => Ok((entry.key, Versioned { value, revision: entry.mod_revision })),
        Err(error) => Err(TableError::Garbled { key: entry.key, reason: error.to_string() }),
    }
}
