//! A scheduler as small as can be: JSON over the public API, enough to launch command tasks and acknowledge.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use wire::recordio::Decoder;

/// The largest event we take: an OFFERS of one agent or an UPDATE, far below it.
const LARGEST_EVENT: usize = 1 << 20;

/// A subscribed framework.
pub struct Scheduler {
    http: reqwest::Client,
    url: String,
    pub framework_id: String,
    stream_id: String,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    decoder: Decoder,
    chunk: Bytes,
}

impl Scheduler {
    /// Subscribes at the leading master.
    pub async fn subscribe(master: &str) -> Self {
        let http = reqwest::Client::new();
        let url = format!("http://{master}/api/v1/scheduler");
        let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "root", "name": "bench", "roles": ["*"], "capabilities": [{ "type": "MULTI_ROLE" }] } } });
        let answer = http.post(&url).json(&call).send().await.expect("an answer");
        assert!(answer.status().is_success(), "SUBSCRIBE: {}", answer.status());
        let stream_id = answer.headers()["mesos-stream-id"].to_str().expect("text").to_owned();
        let body = answer.bytes_stream().boxed();
        let mut scheduler = Self {
            http,
            url,
            framework_id: String::new(),
            stream_id,
            body,
            decoder: Decoder::new(LARGEST_EVENT),
            chunk: Bytes::new(),
        };
        let subscribed = scheduler.next("SUBSCRIBED").await;
        subscribed["subscribed"]["framework_id"]["value"]
            .as_str()
            .expect("an id")
            .clone_into(&mut scheduler.framework_id);
        scheduler
    }

    /// The next event of this type; others are passed over.
    pub async fn next(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
            assert_ne!(event["type"], "ERROR", "{event}");
        }
    }

    pub async fn event(&mut self) -> Value {
        loop {
            if let Some(record) = self.decoder.decode(&mut self.chunk).expect("a record") {
                return serde_json::from_slice(&record).expect("JSON");
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
            self.chunk =
                chunk.expect("the stream speaks within 30 s").expect("the stream goes on").expect("bytes");
        }
    }

    /// Sends a call; its `framework_id` is filled in.
    pub async fn call(&self, mut call: Value) {
        call["framework_id"] = json!({ "value": self.framework_id });
        let request = self.http.post(&self.url).header("Mesos-Stream-Id", &self.stream_id).json(&call);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 202, "{call}");
    }

    /// Acknowledges an update where it asks for it.
    pub async fn acknowledge(&self, status: &Value) {
        if status["uuid"].is_string() {
            let acknowledge = json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"] });
            self.call(json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })).await;
        }
    }
}
