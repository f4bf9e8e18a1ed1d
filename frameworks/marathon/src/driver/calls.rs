//! Sending calls to the master.

use std::sync::Arc;

use model::id::TaskId;
use sdk::{CallError, Caller};
use tokio::sync::{Semaphore, mpsc};

use super::scheduler;
use crate::limits;
use crate::supervisor::message::{Call, Input};

/// The way to the master, for the calls of one subscription.
#[derive(Debug)]
pub(super) struct Calls {
    ordered: mpsc::Sender<Call>,
    loose: mpsc::Sender<Call>,
}

impl Calls {
    /// Launches whose fate is unknown are reported to `inputs`.
    pub(super) fn start(caller: Caller, inputs: mpsc::Sender<Input>) -> Self {
        let (ordered, next) = mpsc::channel(limits::CALL_QUEUE);
        tokio::spawn(one_by_one(caller.clone(), next, inputs));
        let (loose, next) = mpsc::channel(limits::CALL_QUEUE);
        tokio::spawn(side_by_side(caller, next));
        Self { ordered, loose }
    }

    pub(super) fn send(&self, call: Call) {
        // An acknowledgement or a kill concerns one task and is repeated when lost. The others must stay in order: a
        // SUPPRESS that overtakes its REVIVE would leave the framework deaf.
        let lane = match call {
            Call::Acknowledge { .. } | Call::Kill(_) => &self.loose,
            _ => &self.ordered,
        };
        if lane.try_send(call).is_err() {
            tracing::warn!("too many calls wait for the master: one is dropped and will be repeated");
        }
    }
}

async fn one_by_one(caller: Caller, mut next: mpsc::Receiver<Call>, inputs: mpsc::Sender<Input>) {
    while let Some(call) = next.recv().await {
        let launched: Vec<TaskId> = match &call {
            Call::Accept { launches, .. } => launches.iter().map(|launch| launch.task.clone()).collect(),
            _ => Vec::new(),
        };
        if !send(&caller, call).await
            && !launched.is_empty()
            && inputs.send(Input::Uncertain(launched)).await.is_err()
        {
            return;
        }
    }
}

async fn side_by_side(caller: Caller, mut next: mpsc::Receiver<Call>) {
    let room = Arc::new(Semaphore::new(limits::CALLS));
    while let Some(call) = next.recv().await {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let caller = caller.clone();
        tokio::spawn(async move {
            send(&caller, call).await;
            drop(permit);
        });
    }
}

/// True when the master has taken the call.
async fn send(caller: &Caller, call: Call) -> bool {
    let Some(message) = scheduler::message(call) else { return true };
    let kind = message.r#type();
    match caller.call(message).await {
        Ok(()) => true,
        // The next subscription asks about everything anyway.
        Err(CallError::NotSubscribed) => false,
        Err(error) => {
            tracing::warn!(?kind, %error, "a call failed");
            false
        }
    }
}
