//! Writing batches to the masters' key-value space.

use bytes::Bytes;
use sdk::State as KeyValues;
use sdk::leadership::Fence;
use sdk::store::{CommitError, Store, Write};
use tokio::sync::mpsc;

use crate::limits;
use crate::supervisor::message::{Commit, Input, Operation, Record};

/// Reads all that is stored. Tries until it succeeds: a leader that cannot read cannot do anything else.
pub(super) async fn load(state: &KeyValues, fence: &Fence) -> Vec<Record> {
    let store = Store::new(state.clone(), fence.clone());
    loop {
        match store.load("").await {
            Ok((_, records)) => {
                let record =
                    |record: sdk::store::Record| Record { key: record.key, value: record.value.to_vec() };
                return records.into_iter().map(record).collect();
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the stored records");
                tokio::time::sleep(limits::STORE_RETRY).await;
            }
        }
    }
}

/// Writes one batch and reports it. An unknown outcome is resolved by sending the same request again, which is done
/// only once.
pub(super) async fn commit(store: Store, commit: Commit, inputs: mpsc::Sender<Input>) {
    let request = uuid::Uuid::new_v4().to_string();
    let writes: Vec<Write> = commit
        .operations
        .into_iter()
        .map(|operation| match operation {
            Operation::Put { key, value } => Write::Put { key, value: Bytes::from(value) },
            Operation::Delete { key } => Write::Delete { key },
        })
        .collect();
    let outcome = loop {
        match store.commit(&request, writes.clone()).await {
            Ok(_) => break Input::Committed { number: commit.number },
            Err(CommitError::Deposed) => break Input::Deposed,
            Err(error) => tracing::warn!(%error, "a batch of records is not stored yet"),
        }
        tokio::time::sleep(limits::STORE_RETRY).await;
        if inputs.is_closed() {
            return;
        }
    };
    // Nobody listens any more when this process has ceased to lead.
    let _ = inputs.send(outcome).await;
}
