//! Writing batches to the masters' key-value space.

use bytes::Bytes;
use sdk::store::{Store, Write};
use tokio::sync::mpsc;

use crate::supervisor::message::{Commit, Input, Operation, Record};

/// Reads all that is stored, however long it takes.
pub(super) async fn load(store: &Store) -> Vec<Record> {
    let record = |record: sdk::store::Record| Record { key: record.key, value: record.value.to_vec() };
    store.load_at_last("").await.into_iter().map(record).collect()
}

/// Writes one batch and reports it, once the outcome is known.
pub(super) async fn commit(store: Store, commit: Commit, inputs: mpsc::Sender<Input>) {
    let write = |operation| match operation {
        Operation::Put { key, value } => Write::Put { key, value: Bytes::from(value) },
        Operation::Delete { key } => Write::Delete { key },
    };
    let outcome = tokio::select! {
        outcome = store.commit_at_last(commit.operations.into_iter().map(write).collect()) => outcome,
        // Nobody waits for it any more: this process has ceased to lead.
        () = inputs.closed() => return,
    };
    let input = match outcome {
        Ok(_) => Input::Committed { number: commit.number },
        Err(error) => {
            tracing::warn!(%error, "a batch of records is not stored");
            Input::Deposed
        }
    };
    // As above.
    let _ = inputs.send(input).await;
}
