//! A reader of the supervisor's event stream.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;

/// An open stream.
pub struct Events {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Events {
    /// Opens the stream of the supervisor at `HOST:PORT`.
    pub async fn open(marathon: &str) -> Self {
        let url = format!("http://{marathon}/v2/events");
        let request = reqwest::Client::new().get(url).header("Accept", "text/event-stream");
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "/v2/events: {}", answer.status());
        Self { body: answer.bytes_stream().boxed(), buffer: Vec::new() }
    }

    /// Waits for a task of the app to come into one of these states.
    pub async fn status(&mut self, app: &str, states: &[&str]) {
        loop {
            let event = self.next().await;
            let state = event["taskStatus"].as_str().unwrap_or_default();
            if event["eventType"] == "status_update_event" && event["appId"] == app && states.contains(&state)
            {
                return;
            }
        }
    }

    /// Waits for a task of the app to become healthy and returns its id.
    pub async fn healthy(&mut self, app: &str) -> String {
        loop {
            let event = self.next().await;
            if event["eventType"] == "health_status_changed_event"
                && event["appId"] == app
                && event["alive"] == true
            {
                let task = event["taskId"].as_str().or(event["instanceId"].as_str());
                return task.expect("an id").to_owned();
            }
        }
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    return serde_json::from_slice(data).expect("an event is JSON");
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
            let chunk = chunk.expect("an event within 30 s").expect("the stream goes on").expect("bytes");
            self.buffer.extend_from_slice(&chunk);
        }
    }
}
