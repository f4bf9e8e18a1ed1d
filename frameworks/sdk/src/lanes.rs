//! Sending calls to the master: in order where order matters, side by side where it does not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::scheduler::{CallError, Caller};
use model::id::{OfferId, TaskId};
use model::time::Span;
use tokio::sync::{Semaphore, mpsc};
use wire::scheduler::{Call, call};

use crate::call::{decline, launched};
use crate::limits;

/// Which calls may overtake others. Passive.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Tasks whose launch waits for its turn, or for its answer.
    launching: BTreeSet<TaskId>,
}

impl Order {
    /// Whether a call has to wait for those before it.
    ///
    /// An acknowledgement or a kill concerns one task and is repeated when lost. The others must stay in order: a SUPPRESS
    /// that overtakes its REVIVE would leave the framework deaf. And so must the kill of a task behind its launch: the
    /// master would say that there is no such task, and launch it then.
    pub fn waits(&mut self, call: &Call) -> bool {
        self.launching.extend(launched(call));
        match call.r#type() {
            call::Type::Acknowledge => false,
            call::Type::Kill => {
                let task = call.kill.as_ref().map(|kill| TaskId::from(kill.task_id.value.as_str()));
                task.is_some_and(|task| self.launching.contains(&task))
            }
            _ => true,
        }
    }

    /// The master has answered a call, or never will.
    pub fn answered(&mut self, call: &Call) {
        for task in launched(call) {
            self.launching.remove(&task);
        }
    }
}

/// What to send when nobody can say whether the master took a call: offers that are not given back are out of everybody's
/// reach, and a framework whose REVIVE was lost waits for ever. A launch must not be repeated, as the repetition would be
/// refused and its tasks be told to be lost; its offers are given back, which does nothing if it was taken. `None` for calls
/// that others repeat.
pub fn again(call: &Call) -> Option<Call> {
    match call.r#type() {
        call::Type::Decline | call::Type::Suppress | call::Type::Revive => Some(call.clone()),
        call::Type::Accept => {
            let offers = call.accept.iter().flat_map(|accept| &accept.offer_ids);
            let offers = offers.map(|offer| OfferId::from(offer.value.as_str())).collect();
            Some(decline(offers, Span::ZERO))
        }
        _ => None,
    }
}

/// The way to the master, for the calls of one subscription. It ends when it is dropped.
#[derive(Debug)]
pub struct Lanes {
    ordered: mpsc::Sender<Call>,
    loose: mpsc::Sender<Call>,
    uncertain: mpsc::Sender<Vec<TaskId>>,
    order: Arc<Mutex<Order>>,
}

fn locked(order: &Mutex<Order>) -> MutexGuard<'_, Order> {
    // A set of tasks is whole between its methods.
    order.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    /// Launches that the master may or may not have taken are reported to `uncertain`: ask how these tasks stand.
    pub fn start(caller: Caller, uncertain: mpsc::Sender<Vec<TaskId>>) -> Self {
        let (ordered, next) = mpsc::channel(limits::CALL_QUEUE);
        let order = Arc::new(Mutex::new(Order::default()));
        tokio::spawn(one_by_one(caller.clone(), next, uncertain.clone(), Arc::clone(&order)));
        let (loose, next) = mpsc::channel(limits::CALL_QUEUE);
        tokio::spawn(side_by_side(caller, next));
        Self { ordered, loose, uncertain, order }
    }

    /// Sends a call when its turn comes. One that finds no room is dropped with a warning: whatever matters is repeated
    /// by agents, by reconciliation, or by the next offer.
    pub fn send(&self, call: Call) {
        let lane = if locked(&self.order).waits(&call) { &self.ordered } else { &self.loose };
        if let Err(refused) = lane.try_send(call) {
            tracing::warn!("too many calls wait for the master: one is dropped and will be repeated");
            let call = refused.into_inner();
            locked(&self.order).answered(&call);
            let tasks = launched(&call);
            if !tasks.is_empty() {
                // Full or closed, the reconciliation that follows each subscription finds them as well.
                let _ = self.uncertain.try_send(tasks);
            }
        }
    }
}

async fn one_by_one(
    caller: Caller,
    mut next: mpsc::Receiver<Call>,
    uncertain: mpsc::Sender<Vec<TaskId>>,
    order: Arc<Mutex<Order>>,
) {
    while let Some(call) = next.recv().await {
        let tasks = launched(&call);
        let stream = caller.stream();
        let sent = send(&caller, call.clone()).await;
        locked(&order).answered(&call);
        if sent != Sent::Taken && !tasks.is_empty() && uncertain.send(tasks).await.is_err() {
            return;
        }
        let mut next = again(&call).filter(|_| sent == Sent::Unknown);
        while let Some(call) = next.take() {
            tokio::time::sleep(limits::CALL_AGAIN).await;
            // On another stream there is nothing to give back, and what is wanted has been said anew.
            if caller.stream() == stream && send(&caller, call.clone()).await == Sent::Unknown {
                next = Some(call);
            }
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

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    Refused,
    /// The master may have taken it, or may take it when it is sent again.
    Unknown,
}

async fn send(caller: &Caller, call: Call) -> Sent {
    let kind = call.r#type();
    match caller.call(call).await {
        Ok(()) => Sent::Taken,
        // The next subscription asks about everything anyway.
        Err(CallError::NotSubscribed) => Sent::Refused,
        Err(error) => {
            tracing::warn!(?kind, %error, "a call failed");
            match error {
                CallError::Refused { status, .. } if status < 500 => Sent::Refused,
                _ => Sent::Unknown,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::v1::{TaskInfo, offer::Operation};

    use super::*;
    use crate::call::{accept, acknowledge, kill, launch, revive, suppress};

    fn launching(task: &str) -> Call {
        let info = TaskInfo { task_id: TaskId::from(task).into(), ..TaskInfo::default() };
        let operation: Operation = launch(vec![info]);
        accept(vec![OfferId::from("o")], vec![operation], Span::ZERO)
    }

    #[test]
    fn a_kill_waits_for_the_launch_of_its_task_and_for_no_other() {
        let mut order = Order::default();
        let ours = kill(TaskId::from("ours"), None, None);
        assert!(!order.waits(&ours));
        assert!(order.waits(&launching("ours")));
        assert!(order.waits(&ours));
        assert!(!order.waits(&kill(TaskId::from("other"), None, None)));
        order.answered(&launching("ours"));
        assert!(!order.waits(&ours));
    }

    #[test]
    fn what_may_be_lost_is_sent_again_and_a_launch_gives_its_offers_back() {
        let offers = || vec![OfferId::from("o")];
        for call in [decline(offers(), Span::from_secs(5)), revive(), suppress()] {
            assert_eq!(again(&call), Some(call));
        }
        assert_eq!(again(&launching("ours")), Some(decline(offers(), Span::ZERO)));
        assert_eq!(again(&kill(TaskId::from("ours"), None, None)), None);
        assert_eq!(again(&acknowledge("a".into(), TaskId::from("ours"), vec![1])), None);
    }
}
