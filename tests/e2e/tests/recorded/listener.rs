//! Somebody who reads a stream of events beside everything else that happens.

use std::sync::Arc;

use e2e::wait::{check, until};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::PATIENCE;

pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// # Errors
    /// The status with which the call was refused.
    pub(crate) async fn open(url: &str, call: &Value) -> Result<Self, StatusCode> {
        let request = reqwest::Client::new().post(url).json(call);
        let mut answer = request.send().await.expect("an answer");
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let task = tokio::spawn(async move {
            let mut rest = Vec::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                rest.extend_from_slice(&chunk);
                while let Some(record) = record(&mut rest) {
                    kept.lock().await.push(record);
                }
            }
        });
        Ok(Self { heard, task })
    }

    /// Waits until so many events of a kind were heard.
    pub(crate) async fn wait(&self, kind: &str, count: usize) {
        until(&format!("{count} of {kind}"), PATIENCE, async || {
            let heard = self.heard.lock().await;
            let found = heard.iter().filter(|event| event["type"] == kind).count();
            check(found >= count, || format!("{found} so far"))
        })
        .await;
    }

    /// All that was heard.
    pub(crate) async fn end(self) -> Vec<Value> {
        self.task.abort();
        self.heard.lock().await.clone()
    }
}

fn record(rest: &mut Vec<u8>) -> Option<Value> {
    let line = rest.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
    let end = line + 1 + length;
    if rest.len() < end {
        return None;
    }
    let record: Vec<u8> = rest.drain(..end).skip(line + 1).collect();
    Some(serde_json::from_slice(&record).expect("JSON"))
}
