//! A reader of the supervisors' event stream that goes on, wherever it can, after the last event it saw.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::clients::{Asker, Seen};
use super::servers::{self, News};
use crate::sse::{Event, Events, Refused};

/// Without an event for so long the reader tries another supervisor: this one may be stopped, or cut off.
const SILENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// What a task's status says when nothing may be led to it any more. One that is out of reach may serve on: whether it is
/// given up is its app's to say.
const ENDS: [&str; 7] =
    ["TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE"];

/// What the stream said.
#[derive(Default)]
pub struct Followed(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// The numbers of all events, as they came.
    ids: Vec<u64>,
    streams: usize,
    /// What was said about the instances at each address.
    news: News,
    /// What a supervisor answered who would not go on with the stream.
    refused: Option<String>,
}

impl Heard {
    fn note(&mut self, event: &Event) {
        self.ids.push(event.id);
        if event.kind != "status_update_event" {
            return;
        }
        let update: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let lives = !ENDS.contains(&update["taskStatus"].as_str().unwrap_or_default());
        if let Some(server) = servers::server(&update) {
            self.news.tell(server, lives);
        }
    }
}

impl Followed {
    /// Whether each number is one more than the one before it, and whoever leads went on with the stream.
    ///
    /// # Errors
    /// The first two of which it is not true, or what was answered instead.
    pub fn check(&self) -> Result<String, String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Heard { ids, streams, refused, .. } = &*seen;
        if let Some(why) = refused {
            return Err(format!("the stream did not go on: {why}"));
        }
        if let Some(pair) = ids.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(format!("event {} was followed by {}", pair[0], pair[1]));
        }
        if ids.len() < 2 {
            return Err("there were no events".to_owned());
        }
        Ok(format!("{} events on {streams} streams", ids.len()))
    }

    /// What was said about the instances at each address.
    pub(super) fn news(&self) -> News {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).news.clone()
    }
}

/// Reads until it is stopped.
pub(super) async fn follow(asker: Asker, seen: Arc<Seen>) {
    let mut last = None;
    for at in 0.. {
        if asker.stopped() {
            return;
        }
        let address = asker.address(at);
        let locked = || seen.events.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match tokio::time::timeout(SILENCE, Events::open(address, last)).await {
            Ok(Ok(stream)) => stream,
            // Nobody has to serve a stream while he does not lead; who leads may not call its numbers forgotten or wrong.
            Ok(Err(Refused { status: Some(400 | 404 | 410), why })) => {
                locked().refused.get_or_insert(why);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            _ => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        locked().streams += 1;
        while let Ok(Some(event)) = tokio::time::timeout(SILENCE, stream.next()).await {
            last = Some(event.id);
            asker
                .note(&json!({ "event": event.id, "kind": event.kind, "from": address, "data": event.data }));
            locked().note(&event);
            if asker.stopped() {
                return;
            }
        }
    }
}
