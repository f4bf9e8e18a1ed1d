//! Clients that compete for a lock under a lease, and when each could rely on holding it: no two at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clients::{Asker, Seen};
use super::dice::Dice;

/// Clients that want the lock.
pub(super) const CLIENTS: usize = 3;
const TTL: Duration = Duration::from_secs(2);
/// Between two signs of life of a holder, and two attempts of those who are none.
const PAUSE: Duration = Duration::from_millis(200);
const NAMESPACE: &str = "locks";

/// A time in which somebody relied on the lock.
struct Held {
    by: String,
    from: Instant,
    until: Instant,
}

/// All such times.
#[derive(Default)]
pub struct Locks(Mutex<Vec<Held>>);

impl Locks {
    /// Whether nobody relied on the lock while another did.
    ///
    /// # Errors
    /// The two leases.
    pub fn check(&self) -> Result<String, String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.sort_by_key(|held| held.from);
        for pair in held.windows(2) {
            let [before, after] = pair else { continue };
            if after.from < before.until {
                let both = before.until - after.from;
                return Err(format!("{} and {} were holders at once, for {both:?}", before.by, after.by));
            }
        }
        if held.len() < 2 {
            return Err("the lock never went from one to another".to_owned());
        }
        Ok(format!("held {} times", held.len()))
    }

    fn note(&self, by: &str, from: Instant, until: Instant) {
        let held = Held { by: by.to_owned(), from, until };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    }
}

/// One client, until it is stopped: takes the lock, keeps it for a while, and gives it back, or loses it.
pub(super) async fn run(asker: Asker, client: usize, seen: Arc<Seen>) {
    let mut dice = Dice::new(client as u64 + 100);
    let mut at = client;
    for number in 0_u64.. {
        if asker.stopped() {
            return;
        }
        let lease = format!("l{client}-{number}");
        match hold(&asker, &mut at, &lease, 1 + dice.below(10)).await {
            Some((from, until)) => {
                asker.note(&json!({ "held": lease, "for_ms": (until - from).as_millis() }));
                seen.locks.note(&lease, from, until);
            }
            // Somebody else has it, or no master answers.
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Takes the lock under a lease of this name and renews it so many times. From when until when it can be relied on: a lease
/// ends no sooner than its time after the last call that was answered was sent.
async fn hold(asker: &Asker, at: &mut usize, lease: &str, renewals: u64) -> Option<(Instant, Instant)> {
    let ttl = u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX);
    let named = |kind: &str| json!({ "type": kind, "namespace": NAMESPACE, "lease": lease });
    let mut grant = named("LEASE_GRANT");
    grant["ttlMillis"] = ttl.into();
    let mut until = Instant::now() + TTL;
    ask(asker, at, &grant).await?;
    let take = json!({ "type": "TXN", "namespace": NAMESPACE, "compare": [{ "key": "lock", "exists": false }],
        "then": [{ "put": { "key": "lock", "value": "", "lease": lease } }] });
    let taken = ask(asker, at, &take).await.is_some_and(|answer| answer["succeeded"] == true);
    let from = Instant::now();
    if !taken {
        // Also after a call without an answer, which may have taken it: then the lock is free again sooner.
        ask(asker, at, &named("LEASE_REVOKE")).await;
        return None;
    }
    for _ in 0..renewals {
        tokio::time::sleep(PAUSE).await;
        let sent = Instant::now();
        if ask(asker, at, &named("LEASE_KEEPALIVE")).await.is_some() && sent < until {
            until = sent + TTL;
        }
        if Instant::now() >= until || asker.stopped() {
            break;
        }
    }
    let given_back = Instant::now();
    ask(asker, at, &named("LEASE_REVOKE")).await;
    (from < until.min(given_back)).then(|| (from, until.min(given_back)))
}

/// The answer, if there is one and it is no refusal. Otherwise another master is asked the next time.
async fn ask(asker: &Asker, at: &mut usize, call: &Value) -> Option<Value> {
    match asker.ask_master(*at, call).await {
        Ok((200, answer)) => Some(answer),
        Ok((404 | 409, _)) => None,
        _ => {
            *at += 1;
            None
        }
    }
}
