//! Sending calls to the master: in order where order matters, side by side where it does not.

use std::sync::Arc;

use client::scheduler::{CallError, Caller};
use model::id::TaskId;
use tokio::sync::{Semaphore, mpsc};
use wire::scheduler::{Call, call};

use crate::call::launched;
use crate::limits;

/// The way to the master, for the calls of one subscription. It ends when it is dropped.
#[derive(Debug)]
pub struct Lanes {
    ordered: mpsc::Sender<Call>,
    loose: mpsc::Sender<Call>,
    uncertain: mpsc::Sender<Vec<TaskId>>,
}

impl Lanes {
    /// Launches that the master may or may not have taken are reported to `uncertain`: ask how these tasks stand.
    pub fn start(caller: Caller, uncertain: mpsc::Sender<Vec<TaskId>>) -> Self {
        let (ordered, next) = mpsc::channel(limits::CALL_QUEUE);
        tokio::spawn(one_by_one(caller.clone(), next, uncertain.clone()));
        let (loose, next) = mpsc::channel(limits::CALL_QUEUE);
        tokio::spawn(side_by_side(caller, next));
        Self { ordered, loose, uncertain }
    }

    /// Sends a call when its turn comes. One that finds no room is dropped with a warning: whatever matters is repeated
    /// by agents, by reconciliation, or by the next offer.
    pub fn send(&self, call: Call) {
        // An acknowledgement or a kill concerns one task and is repeated when lost. The others must stay in order: a
        // SUPPRESS that overtakes its REVIVE would leave the framework deaf.
        let lane = match call.r#type() {
            call::Type::Acknowledge | call::Type::Kill => &self.loose,
            _ => &self.ordered,
        };
        if let Err(refused) = lane.try_send(call) {
            tracing::warn!("too many calls wait for the master: one is dropped and will be repeated");
            let tasks = launched(&refused.into_inner());
            if !tasks.is_empty() {
                // Full or closed, the reconciliation that follows each subscription finds them as well.
                let _ = self.uncertain.try_send(tasks);
            }
        }
    }
}

async fn one_by_one(caller: Caller, mut next: mpsc::Receiver<Call>, uncertain: mpsc::Sender<Vec<TaskId>>) {
    while let Some(call) = next.recv().await {
        let tasks = launched(&call);
        if !send(&caller, call).await && !tasks.is_empty() && uncertain.send(tasks).await.is_err() {
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
    let kind = call.r#type();
    match caller.call(call).await {
        Ok(()) => true,
        // The next subscription asks about everything anyway.
        Err(CallError::NotSubscribed) => false,
        Err(error) => {
            tracing::warn!(?kind, %error, "a call failed");
            false
        }
    }
}
