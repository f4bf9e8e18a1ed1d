//! A reader of the supervisors' event stream that goes on, wherever it can, after the last event it saw.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clients::Seen;
use crate::sse::{Event, Events};

/// Without an event for so long the reader tries another supervisor: this one may be stopped, or cut off.
const SILENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// What a task's status says when nothing may be led to it any more.
const ENDS: [&str; 8] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_UNREACHABLE",
];

/// What the stream said.
#[derive(Default)]
pub struct Followed(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// The numbers of all events, as they came.
    ids: Vec<u64>,
    streams: usize,
    /// By task: when its end was heard of.
    ended: BTreeMap<String, Instant>,
}

impl Heard {
    fn note(&mut self, event: &Event) {
        self.ids.push(event.id);
        if event.kind != "status_update_event" {
            return;
        }
        let update: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| update[name].as_str().unwrap_or_default();
        if ENDS.contains(&text("taskStatus")) {
            self.ended.entry(text("taskId").to_owned()).or_insert_with(Instant::now);
        } else {
            // It was out of reach, and is back.
            self.ended.remove(text("taskId"));
        }
    }
}

impl Followed {
    /// Whether each number is one more than the one before it.
    ///
    /// # Errors
    /// The first two of which it is not true.
    pub fn check(&self) -> Result<String, String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Heard { ids, streams, .. } = &*seen;
        if let Some(pair) = ids.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(format!("event {} was followed by {}", pair[0], pair[1]));
        }
        if ids.len() < 2 {
            return Err("there were no events".to_owned());
        }
        Ok(format!("{} events on {streams} streams", ids.len()))
    }

    /// By task: when its end was heard of. Tasks that came back are not among them.
    pub(super) fn ended(&self) -> BTreeMap<String, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended.clone()
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
        locked().streams += 1;
        while let Ok(Some(event)) = tokio::time::timeout(SILENCE, stream.next()).await {
            last = Some(event.id);
            locked().note(&event);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
