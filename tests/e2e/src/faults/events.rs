//! A reader of the supervisors' event stream that goes on, wherever it can, after the last event it saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::Seen;
use crate::sse::Events;

/// Without an event for so long the reader tries another supervisor: this one may be stopped, or cut off.
const SILENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// The numbers of all events, as they came.
#[derive(Default)]
pub struct Followed(Mutex<(Vec<u64>, usize)>);

impl Followed {
    /// Whether each number is one more than the one before it.
    ///
    /// # Errors
    /// The first two of which it is not true.
    pub fn check(&self) -> Result<String, String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ids, streams) = &*seen;
        if let Some(pair) = ids.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(format!("event {} was followed by {}", pair[0], pair[1]));
        }
        if ids.len() < 2 {
            return Err("there were no events".to_owned());
        }
        Ok(format!("{} events on {streams} streams", ids.len()))
    }
}

/// Reads until it is stopped.
pub(super) async fn follow(addresses: Vec<String>, stop: Arc<AtomicBool>, seen: Arc<Seen>) {
    let mut last = None;
    for address in addresses.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let opened = tokio::time::timeout(SILENCE, Events::open(address, last)).await;
        let Ok(Ok(mut stream)) = opened else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let locked = || seen.events.0.lock().unwrap_or_else(PoisonError::into_inner);
        locked().1 += 1;
        while let Ok(Some(event)) = tokio::time::timeout(SILENCE, stream.next()).await {
            last = Some(event.id);
            locked().0.push(event.id);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
