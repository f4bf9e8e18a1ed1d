//! A scheduler by hand: JSON over HTTP to a leading master, as the guide for curl has it.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

/// For the next event that is waited for.
const SOON: Duration = Duration::from_secs(30);

/// A subscribed framework.
pub struct Scheduler {
    url: String,
    http: reqwest::Client,
    stream_id: String,
    pub framework: Value,
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: Vec<u8>,
    events: VecDeque<Value>,
}

impl Scheduler {
    /// Subscribes in one role to a master that leads.
    pub async fn subscribe(address: &str, role: &str) -> Self {
        let capabilities = ["MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "TASK_KILLING_STATE"];
        let capabilities: Vec<Value> = capabilities.iter().map(|kind| json!({ "type": kind })).collect();
        let info =
            json!({ "user": "root", "name": "by hand", "roles": [role], "capabilities": capabilities });
        let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
        let url = format!("http://{address}/api/v1/scheduler");
        let http = reqwest::Client::builder().connect_timeout(SOON).build().expect("a client");
        let request = http.post(&url).header("Accept", "application/json").json(&call);
        let answer = request.send().await.expect("answered");
        assert_eq!(answer.status(), 200, "subscribed");
        let stream_id = answer.headers()["mesos-stream-id"].to_str().expect("text").to_owned();
        let mut scheduler = Self {
            url,
            http,
            stream_id,
            framework: Value::Null,
            bytes: answer.bytes_stream().boxed(),
            unread: Vec::new(),
            events: VecDeque::new(),
        };
        let subscribed = scheduler.event("SUBSCRIBED").await;
        scheduler.framework = subscribed["subscribed"]["framework_id"].clone();
        scheduler
    }

    /// A call of this framework; `body` has everything but the framework's id.
    pub async fn call(&self, mut body: Value) {
        body["framework_id"] = self.framework.clone();
        let request = self.http.post(&self.url).header("Mesos-Stream-Id", &self.stream_id).json(&body);
        let answer = request.send().await.expect("answered");
        let status = answer.status();
        assert_eq!(status, 202, "{body}: {}", answer.text().await.unwrap_or_default());
    }

    /// Accepts offers with these operations; what is left is offered again at once.
    pub async fn accept(&self, offers: &[Value], operations: Value) {
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let accept =
            json!({ "offer_ids": ids, "operations": operations, "filters": { "refuse_seconds": 0.0 } });
        self.call(json!({ "type": "ACCEPT", "accept": accept })).await;
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let bytes = tokio::time::timeout(SOON, self.bytes.next()).await.expect("an event in time");
            self.unread.extend_from_slice(&bytes.expect("the stream goes on").expect("bytes"));
            while let Some(record) = self.record() {
                self.events.push_back(serde_json::from_slice(&record).expect("JSON"));
            }
        }
    }

    /// Takes one record off what was read: its length, a line feed, its bytes.
    fn record(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        let length: usize = std::str::from_utf8(&self.unread[..end]).ok()?.parse().expect("a length");
        let all = end + 1 + length;
        (self.unread.len() >= all).then(|| self.unread.drain(..all).skip(end + 1).collect())
    }

    /// The next event of a type; others are passed over.
    pub async fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return event;
            }
            assert_ne!(event["type"], "ERROR", "{event}");
        }
    }

    /// The next event that is an update of a task, the end of an operation or a failure, acknowledged; its kind and what
    /// is in it.
    pub async fn news(&mut self) -> (String, Value) {
        loop {
            let event = self.next().await;
            match event["type"].as_str().unwrap_or_default() {
                "UPDATE" => {
                    let status = event["update"]["status"].clone();
                    let acknowledge = json!({
                        "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
                    });
                    self.call(json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })).await;
                    return ("UPDATE".into(), status);
                }
                "UPDATE_OPERATION_STATUS" => {
                    let status = event["update_operation_status"]["status"].clone();
                    if status["uuid"].is_object() {
                        let acknowledge = json!({
                            "agent_id": status["agent_id"],
                            "operation_id": status["operation_id"],
                            "uuid": status["uuid"]["value"],
                        });
                        let kind = "ACKNOWLEDGE_OPERATION_STATUS";
                        self.call(json!({ "type": kind, "acknowledge_operation_status": acknowledge })).await;
                    }
                    return ("OPERATION".into(), status);
                }
                "FAILURE" => return ("FAILURE".into(), event["failure"].clone()),
                _ => {}
            }
        }
    }

    /// Waits for an offer that `wanted` likes; others are declined for good.
    pub async fn offer(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let event = self.event("OFFERS").await;
            for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
                if wanted(offer) {
                    return offer.clone();
                }
                let decline = json!({ "offer_ids": [offer["id"]], "filters": { "refuse_seconds": 0.0 } });
                self.call(json!({ "type": "DECLINE", "decline": decline })).await;
            }
        }
    }

    /// Waits for the next status of a task in this state, passing over its earlier ones.
    pub async fn task(&mut self, id: &str, state: &str) -> Value {
        loop {
            let (kind, status) = self.news().await;
            if kind == "UPDATE" && status["task_id"]["value"] == id && status["state"] == state {
                return status;
            }
            let passing = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];
            let state = status["state"].as_str().unwrap_or_default();
            assert!(kind != "UPDATE" || passing.contains(&state), "waiting for {id}: {status}");
        }
    }

    /// Waits for the end of an operation; its state.
    pub async fn operation(&mut self, id: &str) -> Value {
        loop {
            let (kind, status) = self.news().await;
            if kind == "OPERATION" && status["operation_id"]["value"] == id {
                return status;
            }
        }
    }
}
