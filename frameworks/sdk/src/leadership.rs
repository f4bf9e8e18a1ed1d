//! One of several instances leads: it holds a key under a lease, and every write it makes compares with that key.
//!
//! The lease only decides when another may take over. What makes an old leader harmless is the [`Fence`]: the revision at
//! which the key was created, compared in each transaction, needs no clock to be right.

use std::time::{Duration, Instant};

use client::state::{State, StateError};
use tokio::sync::watch;
use wire::state::{Base64, Compare, Event, Key, Operation, OperationAnswer, Put, Txn, WatchRecord};

use crate::limits;

/// The condition that holds only while this instance leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence(pub Compare);

/// Where this instance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another leads, or nobody that is known.
    Following {
        /// The name the leader gave itself: its address.
        leader: Option<String>,
    },
    /// This one leads.
    Leading(Fence),
}

/// A campaign that goes on until it is dropped or resigned.
#[derive(Debug)]
pub struct Campaign {
    standing: watch::Receiver<Standing>,
    resign: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Campaign {
    /// Runs for the leadership that `key` stands for, under the name `name`. `ids` makes lease and request ids, each random
    /// and never given twice.
    pub fn start(
        state: State,
        key: &str,
        name: &str,
        ids: impl FnMut() -> String + Send + Sync + 'static,
    ) -> Self {
        let (standing, receiver) = watch::channel(Standing::Following { leader: None });
        let (resign, resigned) = watch::channel(false);
        let runner = Runner {
            state,
            key: key.to_owned(),
            name: name.to_owned(),
            ids: Box::new(ids),
            standing,
            resigned,
        };
        Self { standing: receiver, resign, task: tokio::spawn(runner.run()) }
    }

    /// The standing, and a way to wait for its change.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Gives the leadership up at once, so that another instance need not wait for the lease to run out.
    pub async fn resign(self) {
        // Without a receiver the campaign has ended already.
        let _ = self.resign.send(true);
        // A campaign that panicked holds nothing that could be given back.
        let _ = self.task.await;
    }
}

struct Runner {
    state: State,
    key: String,
    name: String,
    ids: Box<dyn FnMut() -> String + Send + Sync>,
    standing: watch::Sender<Standing>,
    resigned: watch::Receiver<bool>,
}

/// What came of a try to take the key.
enum Try {
    Won { lease: String, fence: Fence, granted: Instant },
    Lost { leader: Option<String>, revision: u64 },
}

impl Runner {
    async fn run(mut self) {
        while !self.over() {
            match self.try_once().await {
                Ok(Try::Won { lease, fence, granted }) => {
                    tracing::info!(key = self.key, "leading");
                    self.set(Standing::Leading(fence));
                    self.hold(&lease, granted).await;
                    self.set(Standing::Following { leader: None });
                    tracing::info!(key = self.key, "no longer leading");
                    self.release(&lease).await;
                }
                Ok(Try::Lost { leader, revision }) => {
                    self.set(Standing::Following { leader });
                    self.wait_vacant(revision).await;
                }
                Err(error) => {
                    tracing::warn!(key = self.key, %error, "cannot run for leadership");
                    self.pause(limits::CAMPAIGN_AGAIN).await;
                }
            }
        }
    }

    /// Asked to resign, or nobody holds the campaign any more.
    fn over(&self) -> bool {
        *self.resigned.borrow() || self.resigned.has_changed().is_err()
    }

    fn set(&self, standing: Standing) {
        self.standing.send_if_modified(|now| std::mem::replace(now, standing.clone()) != standing);
    }

    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.resigned.changed() => {}
        }
    }

    async fn try_once(&mut self) -> Result<Try, StateError> {
        let holder = self.state.get(&self.key).await?;
        if let Some(entry) = &holder.entry {
            return Ok(Try::Lost { leader: text(&entry.value), revision: holder.revision });
        }
        let lease = (self.ids)();
        // Before the request: the masters' clock for the lease starts later than ours.
        let granted = Instant::now();
        let ttl = u64::try_from(limits::LEADERSHIP.as_millis()).unwrap_or(u64::MAX);
        self.state.lease_grant(&lease, ttl).await?;
        let put = Put {
            key: self.key.clone(),
            value: Base64(self.name.clone().into_bytes().into()),
            lease: Some(lease.clone()),
        };
        let txn = Txn {
            namespace: self.state.namespace().to_owned(),
            request: Some((self.ids)()),
            compare: vec![Compare { key: self.key.clone(), exists: Some(false), ..Compare::default() }],
            then: vec![Operation::Put(put)],
            otherwise: vec![Operation::Get(Key { key: self.key.clone() })],
        };
        let answer = match self.state.txn(txn).await {
            Ok(answer) => answer,
            Err(error) => {
                // It may have been done: without the revocation we would wait for ourselves to run out.
                self.release(&lease).await;
                return Err(error);
            }
        };
        if answer.succeeded {
            let fence = Compare {
                key: self.key.clone(),
                create_revision: Some(answer.revision),
                ..Compare::default()
            };
            return Ok(Try::Won { lease, fence: Fence(fence), granted });
        }
        let leader = answer.results.first().and_then(|result| match result {
            OperationAnswer::Get { entry: Some(entry) } => text(&entry.value),
            _ => None,
        });
        self.release(&lease).await;
        Ok(Try::Lost { leader, revision: answer.revision })
    }

    async fn release(&self, lease: &str) {
        if let Err(error) = self.state.lease_revoke(lease).await {
            tracing::debug!(%error, "the lease will run out by itself");
        }
    }

    /// Keeps the lease alive until it is lost, might be lost, or is resigned.
    async fn hold(&mut self, lease: &str, granted: Instant) {
        let mut safe_until = granted + limits::LEADERSHIP;
        loop {
            self.pause(keepalive_in(safe_until, Instant::now())).await;
            if self.over() {
                return;
            }
            let asked = Instant::now();
            let left = safe_until.saturating_duration_since(asked);
            if left.is_zero() {
                return tracing::warn!("the lease of leadership was not renewed in time");
            }
            match tokio::time::timeout(left, self.state.lease_keepalive(lease)).await {
                Ok(Ok(_)) => safe_until = asked + limits::LEADERSHIP,
                Ok(Err(StateError::Refused { message, .. })) => {
                    return tracing::warn!(message, "the lease of leadership has ended");
                }
                Ok(Err(error)) => tracing::warn!(%error, "the lease of leadership was not renewed"),
                Err(_) => return tracing::warn!("no master renewed the lease of leadership in time"),
            }
        }
    }

    /// Returns when the key may be gone. Looks again from time to time: a watch at a master whose host has lost its power
    /// is silent for long before it is known to be dead.
    async fn wait_vacant(&mut self, revision: u64) {
        let watched = async {
            let mut stream = match self.state.watch(&self.key, Some(revision + 1)).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "cannot watch the leader");
                    return tokio::time::sleep(limits::CAMPAIGN_AGAIN).await;
                }
            };
            while let Some(record) = stream.next().await {
                match record {
                    WatchRecord::Events { events, .. } if events.iter().any(|e| self.vacates(e)) => return,
                    WatchRecord::Compacted { .. } => return,
                    _ => {}
                }
            }
        };
        let mut resigned = self.resigned.clone();
        tokio::select! {
            () = watched => {}
            () = tokio::time::sleep(limits::LEADERSHIP) => {}
            _ = resigned.changed() => {}
        }
    }

    fn vacates(&self, event: &Event) -> bool {
        match event {
            Event::Delete { key, .. } => *key == self.key,
            // Deleted and taken by a third in one go: look who it is.
            Event::Put { entry } => entry.key == self.key,
        }
    }
}

/// How long to wait before the next keepalive. After `safe_until` a standby may lead, and this instance must not take
/// itself for the leader any more: where an answer that took long leaves little, half of that is for the keepalive.
fn keepalive_in(safe_until: Instant, now: Instant) -> Duration {
    (limits::LEADERSHIP / limits::KEEPALIVES).min(safe_until.saturating_duration_since(now) / 2)
}

fn text(value: &Base64) -> Option<String> {
    String::from_utf8(value.0.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_whose_keepalive_was_answered_late_leads_no_longer_than_its_lease_is_safe() {
        let asked = Instant::now();
        let safe_until = asked + limits::LEADERSHIP;
        let usual = limits::LEADERSHIP / limits::KEEPALIVES;
        assert_eq!(keepalive_in(safe_until, asked), usual);
        let late = asked + Duration::from_millis(2_500);
        assert_eq!(late + keepalive_in(safe_until, late), late + Duration::from_millis(250));
        assert_eq!(keepalive_in(safe_until, safe_until + usual), Duration::ZERO);
    }
}
