//! A scheduler as small as can be, good or bad: JSON over the public API, its stream read or left alone. It keeps account
//! of the offers it holds: one that is passed over while something else is waited for would tie up its agent.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::records::Records;

/// How long a stream may be silent: several heartbeats.
const SILENCE: Duration = Duration::from_secs(30);
/// How long anything may take to be told. Heartbeats and offers go on while it is not, so that silence alone never ends a
/// wait for what does not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A subscribed framework.
pub struct Scheduler {
    http: reqwest::Client,
    url: String,
    pub framework: String,
    /// What a call names its stream by.
    pub stream: String,
    records: Records,
    /// Offers held, oldest first.
    pub offers: Vec<Value>,
    /// All events so far, for whoever asked for them.
    pub heard: Option<Vec<Value>>,
}

/// What a framework that is nothing special says of itself.
pub fn info(name: &str) -> Value {
    json!({ "user": "root", "name": name, "roles": [name], "capabilities": [{ "type": "MULTI_ROLE" }] })
}

/// Sends SUBSCRIBE and leaves the stream to the caller.
pub async fn open(http: &reqwest::Client, master: &str, info: &Value) -> reqwest::Result<Response> {
    let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
    http.post(format!("http://{master}/api/v1/scheduler")).json(&call).send().await
}

/// Ends the test if `waited` takes longer than anything does.
async fn patiently<T>(what: &str, waited: impl Future<Output = T>) -> T {
    let told = tokio::time::timeout(PATIENCE, waited).await;
    told.unwrap_or_else(|_| panic!("not told within {PATIENCE:?}: {what}"))
}

impl Scheduler {
    /// Subscribes at the leading master.
    pub async fn subscribe(master: &str, info: &Value) -> Self {
        let http = reqwest::Client::new();
        let answer = open(&http, master, info).await.expect("an answer");
        Self::subscribed(http, master, answer, false).await
    }

    /// The same for one who says who he is, if he is somebody already, and keeps all events.
    pub async fn listening(master: &str, info: &Value) -> Self {
        let http = reqwest::Client::new();
        let mut call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
        if info["id"].is_object() {
            call["framework_id"] = info["id"].clone();
        }
        let request = http.post(format!("http://{master}/api/v1/scheduler")).json(&call);
        let answer = request.send().await.expect("an answer");
        Self::subscribed(http, master, answer, true).await
    }

    async fn subscribed(http: reqwest::Client, master: &str, answer: Response, listening: bool) -> Self {
        assert!(answer.status().is_success(), "SUBSCRIBE: {}", answer.status());
        let mut scheduler = Self {
            url: format!("http://{master}/api/v1/scheduler"),
            framework: String::new(),
            stream: answer.headers()["mesos-stream-id"].to_str().expect("text").to_owned(),
            records: Records::of(answer),
            offers: Vec::new(),
            heard: listening.then(Vec::new),
            http,
        };
        let subscribed = scheduler.wait("SUBSCRIBED").await;
        let id = &subscribed["subscribed"]["framework_id"]["value"];
        id.as_str().expect("an id").clone_into(&mut scheduler.framework);
        scheduler
    }

    /// The next event of this type; others are passed over, offers kept.
    pub async fn wait(&mut self, kind: &str) -> Value {
        patiently(kind, async {
            loop {
                let event = self.event().await;
                if event["type"] == kind {
                    return event;
                }
            }
        })
        .await
    }

    /// The next event; offers come and go in [`offers`](Self::offers) as well.
    pub async fn event(&mut self) -> Value {
        let event = self.record().await;
        match event["type"].as_str() {
            Some("OFFERS") => {
                let offers = event["offers"]["offers"].as_array();
                self.offers.extend(offers.into_iter().flatten().cloned());
            }
            Some("RESCIND") => {
                let gone = &event["rescind"]["offer_id"];
                self.offers.retain(|offer| offer["id"] != *gone);
            }
            Some("ERROR") => panic!("{event}"),
            _ => {}
        }
        event
    }

    /// The next event, whatever it is.
    pub async fn record(&mut self) -> Value {
        let event = self.next().await;
        if let Some(heard) = &mut self.heard {
            heard.push(event.clone());
        }
        event
    }

    async fn next(&mut self) -> Value {
        let record = tokio::time::timeout(SILENCE, self.records.next()).await;
        record.expect("the stream speaks").expect("the stream goes on")
    }

    /// The oldest offer that is held; waits for one.
    pub async fn offer(&mut self) -> Value {
        patiently("an offer", async {
            while self.offers.is_empty() {
                self.event().await;
            }
        })
        .await;
        self.offers.remove(0)
    }

    /// Sends a call, its `framework_id` filled in, and returns the answer's status.
    pub async fn send(&mut self, mut call: Value) -> u16 {
        call["framework_id"] = json!({ "value": self.framework });
        let request = self.http.post(&self.url).header("Mesos-Stream-Id", &self.stream).json(&call);
        // A server may answer and close before it has read a call that is too large.
        request.send().await.map_or(413, |answer| answer.status().as_u16())
    }

    /// Sends a call that is taken.
    pub async fn call(&mut self, call: Value) {
        let kind = call["type"].clone();
        assert_eq!(self.send(call).await, 202, "{kind}");
    }

    /// A shell command as a task of a small size, on an offer's agent.
    pub fn task(offer: &Value, id: &str, command: &str) -> Value {
        let amount =
            |name: &str, value: f64| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } });
        json!({
            "name": id, "task_id": { "value": id }, "agent_id": offer["agent_id"],
            "resources": [amount("cpus", 0.1), amount("mem", 32.0)], "command": { "value": command }
        })
    }

    /// Launches tasks on an offer; what is left of it comes back at once.
    pub async fn launch(&mut self, offer: &Value, tasks: &[Value]) {
        let operations = json!([{ "type": "LAUNCH", "launch": { "task_infos": tasks } }]);
        self.accept(std::slice::from_ref(offer), operations).await;
    }

    /// Accepts offers with these operations; what is left is offered again at once.
    pub async fn accept(&mut self, offers: &[Value], operations: Value) {
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let accept =
            json!({ "offer_ids": ids, "operations": operations, "filters": { "refuse_seconds": 0.0 } });
        self.call(json!({ "type": "ACCEPT", "accept": accept })).await;
    }

    /// Waits until it holds an offer that `wanted` likes; others are given back at once.
    pub async fn offer_that(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        patiently("an offer of the kind that is wanted", async {
            loop {
                let offer = self.offer().await;
                if wanted(&offer) {
                    return offer;
                }
                self.decline(&offer).await;
            }
        })
        .await
    }

    /// Gives an offer back; the like may come again at once.
    pub async fn decline(&mut self, offer: &Value) {
        let decline = json!({ "offer_ids": [offer["id"]], "filters": { "refuse_seconds": 0.0 } });
        self.call(json!({ "type": "DECLINE", "decline": decline })).await;
    }

    /// The next event that is an update of a task, the end of an operation or a failure, acknowledged; its type and what
    /// is in it.
    pub async fn news(&mut self) -> (&'static str, Value) {
        patiently("any news", self.next_news()).await
    }

    async fn next_news(&mut self) -> (&'static str, Value) {
        loop {
            let event = self.event().await;
            match event["type"].as_str() {
                Some("UPDATE") => {
                    let status = event["update"]["status"].clone();
                    self.acknowledge(&status).await;
                    return ("UPDATE", status);
                }
                Some("UPDATE_OPERATION_STATUS") => {
                    let status = event["update_operation_status"]["status"].clone();
                    self.acknowledge_operation(&status).await;
                    return ("UPDATE_OPERATION_STATUS", status);
                }
                Some("FAILURE") => return ("FAILURE", event["failure"].clone()),
                _ => {}
            }
        }
    }

    /// Statuses that the master makes itself have no uuid and want no acknowledgement.
    async fn acknowledge(&mut self, status: &Value) {
        if status["uuid"].is_string() {
            let acknowledge = json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"] });
            self.call(json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })).await;
        }
    }

    async fn acknowledge_operation(&mut self, status: &Value) {
        if status["uuid"].is_object() {
            let acknowledge = json!({
                "agent_id": status["agent_id"],
                "operation_id": status["operation_id"],
                "uuid": status["uuid"]["value"],
            });
            let kind = "ACKNOWLEDGE_OPERATION_STATUS";
            self.call(json!({ "type": kind, "acknowledge_operation_status": acknowledge })).await;
        }
    }

    /// Waits until the task is in that state; every update on the way is acknowledged.
    pub async fn wait_state(&mut self, task: &str, state: &str) -> Value {
        self.news_that(&format!("{task} is {state}"), |kind, status| {
            kind == "UPDATE" && status["task_id"]["value"] == task && status["state"] == state
        })
        .await
    }

    /// Waits until the task has ended, however; its last status.
    pub async fn end_of(&mut self, task: &str) -> Value {
        self.news_that(&format!("the end of {task}"), |kind, status| {
            let state = status["state"].as_str().unwrap_or_default();
            let passing = ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];
            kind == "UPDATE" && status["task_id"]["value"] == task && !passing.contains(&state)
        })
        .await
    }

    /// Waits for the end of an operation.
    pub async fn operation(&mut self, id: &str) -> Value {
        self.news_that(&format!("the end of operation {id}"), |kind, status| {
            kind == "UPDATE_OPERATION_STATUS" && status["operation_id"]["value"] == id
        })
        .await
    }

    /// Waits for news that `wanted` likes, by their type and what is in them; all on the way are acknowledged.
    pub async fn news_that(&mut self, what: &str, wanted: impl Fn(&str, &Value) -> bool) -> Value {
        patiently(what, async {
            loop {
                let (kind, news) = self.next_news().await;
                if wanted(kind, &news) {
                    return news;
                }
            }
        })
        .await
    }
}
