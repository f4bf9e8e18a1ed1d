//! A supervisor that only pretends: apps as they are put, events as they are told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::instance::Instance;
use crate::sidecar::eventually;

#[derive(Clone)]
pub(crate) struct Supervisor {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<Cluster>,
    events: broadcast::Sender<String>,
    down: watch::Sender<bool>,
}

#[derive(Default)]
struct Cluster {
    apps: Vec<Value>,
    acknowledged: BTreeSet<String>,
    lists: usize,
    sequence: u64,
    kept: Vec<Instance>,
}

impl Supervisor {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            events: broadcast::channel(1024).0,
            down: watch::channel(false).0,
        });
        let router = Router::new()
            .route("/v2/apps", get(list))
            .route("/v2/apps/{*id}", get(read))
            .route("/v2/events", get(events))
            .route("/v2/drains", post(acknowledge))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts an app with a health check and these instances, all healthy.
    pub(crate) fn put_app(&self, id: &str, port: u16, labels: Value, instances: &[Instance]) {
        let tasks: Vec<Value> = instances.iter().map(|instance| task(id, instance)).collect();
        let app = json!({
            "id": id, "labels": labels, "version": "v1", "deployments": [],
            "portDefinitions": [{"port": port, "protocol": "tcp"}],
            "healthChecks": [{"protocol": "HTTP", "portIndex": 0}],
            "tasks": tasks,
        });
        let mut state = self.state();
        state.apps.retain(|known| known["id"] != app["id"]);
        state.apps.push(app);
    }

    pub(crate) fn clear(&self) {
        self.state().apps.clear();
    }

    pub(crate) fn remove_task(&self, id: &str, instance: &Instance) {
        let mut state = self.state();
        let app = state.apps.iter_mut().find(|app| app["id"] == id).unwrap();
        app["tasks"].as_array_mut().unwrap().retain(|task| task["id"] != instance.name());
    }

    /// Keeps an instance alive until the end.
    pub(crate) fn keep(&self, instance: Instance) {
        self.state().kept.push(instance);
    }

    pub(crate) fn lists(&self) -> usize {
        self.state().lists
    }

    pub(crate) fn posted(&self, id: &str) {
        self.tell("api_post_event", json!({"clientIp": "", "uri": "/v2/apps", "appDefinition": {"id": id}}));
    }

    pub(crate) fn running(&self, id: &str, instance: &Instance) {
        self.with_task(id, instance, |tasks| {
            let mut task = task(id, instance);
            task["healthCheckResults"] = json!([]);
            tasks.push(task);
        });
        self.status(id, instance, "TASK_RUNNING");
    }

    pub(crate) fn ended(&self, id: &str, instance: &Instance) {
        self.with_task(id, instance, |_| {});
        self.status(id, instance, "TASK_KILLED");
    }

    pub(crate) fn health(&self, id: &str, instance: &Instance, alive: bool) {
        self.with_task(id, instance, |tasks| {
            let mut task = task(id, instance);
            task["healthCheckResults"] = json!([{"alive": alive}]);
            tasks.push(task);
        });
        let payload = json!({
            "appId": id, "taskId": instance.name(), "instanceId": instance.name(), "version": "v1", "alive": alive
        });
        self.tell("health_status_changed_event", payload);
    }

    pub(crate) fn drain(&self, id: &str, instance: &Instance) {
        self.with_task(id, instance, |tasks| {
            let mut task = task(id, instance);
            task["draining"] = json!(true);
            tasks.push(task);
        });
        let payload = json!({
            "appId": id, "taskId": instance.name(), "instanceId": instance.name(), "host": "127.0.0.1",
            "ports": [instance.port()], "deadline": "2030-01-01T00:00:00.000Z"
        });
        self.tell("instance_draining_event", payload);
    }

    pub(crate) fn is_acknowledged(&self, task: &str) -> bool {
        self.state().acknowledged.contains(task)
    }

    pub(crate) async fn until_acknowledged(&self, task: &str) {
        eventually("the drain is acknowledged", || async { self.is_acknowledged(task) }).await;
    }

    /// Down: every stream ends and nothing is answered but 503.
    pub(crate) fn set_down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    fn status(&self, id: &str, instance: &Instance, status: &str) {
        let payload = json!({
            "slaveId": "s", "taskId": instance.name(), "taskStatus": status, "message": "", "appId": id,
            "host": "127.0.0.1", "ipAddresses": [], "ports": [instance.port()], "version": "v1"
        });
        self.tell("status_update_event", payload);
    }

    /// Replaces what is listed of a task.
    fn with_task(&self, id: &str, instance: &Instance, put: impl FnOnce(&mut Vec<Value>)) {
        let mut state = self.state();
        let app = state.apps.iter_mut().find(|app| app["id"] == id).unwrap();
        let tasks = app["tasks"].as_array_mut().unwrap();
        tasks.retain(|task| task["id"] != instance.name());
        put(tasks);
    }

    fn tell(&self, kind: &str, mut payload: Value) {
        payload["eventType"] = json!(kind);
        payload["timestamp"] = json!("2024-01-01T00:00:00.000Z");
        let mut state = self.state();
        state.sequence += 1;
        let _ =
            self.shared.events.send(format!("id: {}\nevent: {kind}\ndata: {payload}\n\n", state.sequence));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Cluster> {
        self.shared.state.lock().unwrap()
    }
}

fn task(id: &str, instance: &Instance) -> Value {
    json!({
        "id": instance.name(), "appId": id, "host": "127.0.0.1", "ports": [instance.port()],
        "state": "TASK_RUNNING", "version": "v1", "healthCheckResults": [{"alive": true}], "ipAddresses": []
    })
}

fn is_down(shared: &Shared) -> bool {
    *shared.down.borrow()
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    if is_down(&shared) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut state = shared.state.lock().unwrap();
    state.lists += 1;
    Json(json!({ "apps": state.apps })).into_response()
}

async fn read(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    if is_down(&shared) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let state = shared.state.lock().unwrap();
    match state.apps.iter().find(|app| app["id"] == format!("/{id}")) {
        Some(app) => Json(json!({ "app": app })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn events(State(shared): State<Arc<Shared>>) -> Response {
    if is_down(&shared) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let start = (shared.events.subscribe(), shared.down.subscribe());
    let stream = futures_util::stream::unfold(start, |(mut events, mut down)| async move {
        let event = tokio::select! {
            event = events.recv() => event.ok(),
            () = async { drop(down.wait_for(|down| *down).await) } => None,
        };
        Some((Ok::<_, std::io::Error>(Bytes::from(event?)), (events, down)))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response()
}

async fn acknowledge(State(shared): State<Arc<Shared>>, Json(body): Json<Value>) -> StatusCode {
    let tasks = body["taskIds"].as_array().unwrap().iter().map(|task| task.as_str().unwrap().to_owned());
    shared.state.lock().unwrap().acknowledged.extend(tasks);
    StatusCode::OK
}
