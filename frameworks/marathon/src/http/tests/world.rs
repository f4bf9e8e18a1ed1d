//! An API over a supervisor with a store and a master in memory.

use crate::http::BOUNDS;
use front::door::Bounds;
use std::collections::VecDeque;
use std::sync::Arc;

use model::attributes::Attributes;
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use model::time::{Span, Time};
use reqwest::{Client, Method, Response, StatusCode};
use sdk::engine::{Effect, Engine};
use sdk::leadership::{Fence, Standing};
use sdk::offer::Offer;
use sdk::scheduler::{Desk, Handle, Records, desk};
use sdk::subscription::Heard;
use sdk::update::Update;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::scheduler::{Call, call};
use wire::state::Compare;

use crate::driver::windows::Channels;
use crate::driver::{Config, Framework};
use crate::http::{Api, Surroundings};
use crate::supervisor::Settings;

/// A server and a client of it.
pub(super) struct Server {
    pub(super) address: String,
    http: Client,
    /// That of one that follows.
    desk: Option<Desk<Framework>>,
}

/// What one agent has.
const RESOURCES: &str = "cpus:8;mem:16000;disk:100000;ports:[31000-32000]";

/// A store that stores at once, and a master with one agent, on which everything launched runs and everything killed
/// is dead at once.
#[derive(Default)]
struct Instant {
    results: VecDeque<Heard>,
    offers: u64,
    updates: u64,
}

impl Instant {
    fn update(&mut self, task: &model::id::TaskId, state: TaskState) {
        self.updates += 1;
        self.results.push_back(Heard::Update(Update {
            task: task.clone(),
            state,
            agent: Some("S0".into()),
            uuid: Some(self.updates.to_be_bytes().to_vec()),
            message: String::new(),
            reason: None,
            healthy: None,
            addresses: vec!["10.0.0.7".to_owned()],
            unreachable_since: None,
            data: Vec::new(),
        }));
    }

    fn offer(&mut self) {
        self.offers += 1;
        self.results.push_back(Heard::Offers(vec![Offer {
            id: format!("o-{}", self.offers).into(),
            agent: "S0".into(),
            hostname: "node-7.example".to_owned(),
            role: Role::any(),
            resources: Bag::parse(RESOURCES).unwrap(),
            attributes: Attributes::parse("rack:r1").unwrap(),
            domain: None,
        }]));
    }

    fn call(&mut self, call: &Call) {
        match call.r#type() {
            call::Type::Revive => self.offer(),
            call::Type::Accept => {
                for task in sdk::call::launched(call) {
                    self.update(&task, TaskState::Starting);
                    self.update(&task, TaskState::Running);
                }
            }
            call::Type::Kill => {
                let task = call.kill.as_ref().unwrap().task_id.value.as_str().into();
                self.update(&task, TaskState::Killed);
            }
            _ => {}
        }
    }

    /// Stores and does what there is to store and to do.
    fn obey(&mut self, engine: &mut Engine<Box<Framework>>) {
        loop {
            let mut effects = engine.release();
            if engine.next_batch().is_some() {
                effects.extend(engine.stored());
            }
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Call(call) => self.call(&call),
                    Effect::Reply(reply) => reply(),
                    Effect::Finish => panic!("a supervisor never finishes"),
                }
            }
        }
    }
}

async fn lead(framework: Framework, mut desk: Desk<Framework>) {
    let mut outside = Instant::default();
    let mut now = Time::from_secs(1_714_637_469);
    let mut engine = Engine::new(Box::new(framework), None, crate::limits::REFUSE).with_prefix("");
    engine.elected(now, &Records::default()).unwrap();
    outside.results.push_back(Heard::Subscribed { framework: "F-0000".into(), master: "m1".to_owned() });
    desk.show(Standing::Leading(Fence(Compare::default())));
    loop {
        outside.obey(&mut engine);
        if let Some(result) = outside.results.pop_front() {
            // Time passes with what happens, faster than it is waited for.
            now += Span::from_millis(100);
            engine.heard(now, result).unwrap();
            continue;
        }
        if let Some(at) = engine.next_deadline().filter(|at| *at <= now + Span::from_secs(5)) {
            now = now.max(at);
            engine.wake(now).unwrap();
            continue;
        }
        let ask = desk.next().await;
        now += Span::from_millis(10);
        engine.ask(now, ask).unwrap();
    }
}

fn config(address: &str) -> Config {
    Config { advertise: address.to_owned(), service_ports: (10_000, 10_010), ..Config::default() }
}

impl Server {
    /// A leader.
    pub(super) async fn start() -> Self {
        let (view, view_seen) = watch::channel(None);
        let (hub, hub_seen) = watch::channel(None);
        let settings = Settings {
            role: "*".to_owned(),
            service_ports: 10_000..=10_010,
            drain_timeout: Span::from_secs(10),
        };
        let framework = Framework::new(settings, Arc::new(Channels { view, hub }), || [1, 2]);
        let (handle, desk) = desk();
        let mut standing = handle.standing();
        tokio::spawn(lead(framework, desk));
        standing.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.unwrap();
        Self::serve(None, handle, None, (view_seen, hub_seen), BOUNDS).await
    }

    /// One that follows, and cannot answer by itself.
    pub(super) async fn standby(leader: Option<&str>) -> Self {
        Self::standby_within(leader, BOUNDS).await
    }

    /// One that follows, and serves one principal.
    pub(super) async fn guarded(credential: &str) -> Self {
        let guard = Some(front::guard::Guard::of_one(credential.parse().unwrap()));
        Self::following(guard, None, BOUNDS).await
    }

    /// One that follows, with bounds of its own.
    pub(super) async fn standby_within(leader: Option<&str>, bounds: Bounds) -> Self {
        Self::following(None, leader, bounds).await
    }

    async fn following(guard: Option<front::guard::Guard>, leader: Option<&str>, bounds: Bounds) -> Self {
        let (handle, desk) = desk();
        desk.show(Standing::Following { leader: leader.map(str::to_owned) });
        let nothing = (watch::channel(None).1, watch::channel(None).1);
        Self::serve(guard, handle, Some(desk), nothing, bounds).await
    }

    async fn serve(
        guard: Option<front::guard::Guard>,
        handle: Handle<Framework>,
        desk: Option<Desk<Framework>>,
        (view, hub): (
            watch::Receiver<Option<Arc<crate::supervisor::state::State>>>,
            watch::Receiver<Option<sdk::hub::Hub>>,
        ),
        bounds: Bounds,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = Arc::new(Config { guard, ..config(&address) });
        let api = Api::new(Surroundings { config, handle, view, hub });
        tokio::spawn(api.serve_within(listener, bounds, std::future::pending()));
        Self { address, http: Client::new(), desk }
    }

    /// Another leads now.
    pub(super) fn follow(&self, leader: &str) {
        let desk = self.desk.as_ref().expect("it follows");
        desk.show(Standing::Following { leader: Some(leader.to_owned()) });
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Response {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            if headers.iter().all(|(name, _)| *name != "content-type") {
                request = request.header("content-type", "application/json");
            }
            request = request.body(body.to_owned());
        }
        request.send().await.unwrap()
    }

    /// Sends a document, expects a status, returns the document of the answer; `null` when it is empty.
    pub(super) async fn call(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let text = body.map(|body| body.to_string());
        let response = self.send(method, path, text.as_deref(), &[]).await;
        let got = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(got, StatusCode::from_u16(status).unwrap(), "{method} {path}: {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.call("GET", path, None, 200).await
    }

    /// Opens an event stream.
    pub(super) async fn events(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let all: Vec<(&str, &str)> =
            headers.iter().copied().chain([("accept", "text/event-stream")]).collect();
        let response = self.send("GET", &format!("/v2/events{query}"), None, &all).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream;charset=utf-8");
        Events { response, text: String::new() }
    }

    /// Deploys something and waits until it is done.
    pub(super) async fn deploy(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let mut events = self.events("?event_type=deployment_success", &[]).await;
        let answer = self.call(method, path, body, status).await;
        let deployment =
            answer["deploymentId"].as_str().or(answer["deployments"][0]["id"].as_str()).unwrap().to_owned();
        loop {
            let event = events.next().await;
            if event.data["id"] == deployment.as_str() {
                return answer;
            }
        }
    }
}

/// The reader's side of an event stream.
pub(super) struct Events {
    response: Response,
    text: String,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: Option<u64>,
    pub(super) kind: String,
    pub(super) data: Value,
    /// As it came.
    pub(super) frame: String,
}

impl Events {
    pub(super) async fn next(&mut self) -> Received {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\r\n\r\n") {
                let frame = frame.trim_start_matches("\r\n").to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    frame
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                return Received {
                    id: field("id").map(|id| id.parse().unwrap()),
                    kind: field("event").unwrap(),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                    frame,
                };
            }
            let chunk = self.response.chunk().await.unwrap().expect("the stream has ended");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    pub(super) async fn until(&mut self, kind: &str) -> Received {
        loop {
            let event = self.next().await;
            if event.kind == kind {
                return event;
            }
        }
    }
}
