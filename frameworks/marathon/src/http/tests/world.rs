//! An API over a supervisor with a store and a master in memory.

use crate::http::BOUNDS;
use front::door::Bounds;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId};
use model::resources::Bag;
use model::role::Role;
use model::task::TaskState;
use model::time::{Span, Time};
use reqwest::{Client, Method, Response, StatusCode};
use sdk::leadership::{Fence, Standing};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use wire::state::Compare;

use crate::core::offer::Offer;
use crate::core::update::{Reason, TaskUpdate};
use crate::driver::Config;
use crate::driver::engine::{Engine, Outside, Request, Windows};
use crate::http::{Api, Surroundings};
use crate::supervisor::message::{Call, Commit, Input};
use crate::supervisor::{Settings, Supervisor};

/// A server and a client of it.
pub(super) struct Server {
    pub(super) address: String,
    http: Client,
    standing: watch::Sender<Standing>,
}

/// What one agent has.
const RESOURCES: &str = "cpus:8;mem:16000;disk:100000;ports:[31000-32000]";

/// A store that stores at once, and a master with one agent, on which everything launched runs and everything killed
/// is dead at once.
#[derive(Default)]
struct Instant {
    results: VecDeque<Input>,
    offers: u64,
    updates: u64,
}

impl Instant {
    fn update(&mut self, task: &model::id::TaskId, state: TaskState) {
        self.updates += 1;
        self.results.push_back(Input::Update(TaskUpdate {
            task: task.clone(),
            state,
            agent: Some(AgentId::from("S0")),
            uuid: Some(self.updates.to_be_bytes().to_vec()),
            message: String::new(),
            reason: Reason::Other,
            healthy: None,
            addresses: vec!["10.0.0.7".to_owned()],
            unreachable_since: None,
        }));
    }
}

impl Outside for Instant {
    fn commit(&mut self, commit: Commit) {
        self.results.push_back(Input::Committed { number: commit.number });
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Subscribe { .. } => self.results.push_back(Input::Subscribed {
                framework: FrameworkId::from("F-0000"),
                master: "m1".to_owned(),
            }),
            Call::Revive => {
                self.offers += 1;
                self.results.push_back(Input::Offers(vec![Offer {
                    id: OfferId::from(format!("o-{}", self.offers)),
                    agent: AgentId::from("S0"),
                    hostname: "node-7.example".to_owned(),
                    role: Role::any(),
                    resources: Bag::parse(RESOURCES).unwrap(),
                    fields: BTreeMap::from([
                        ("hostname".to_owned(), "node-7.example".to_owned()),
                        ("rack".to_owned(), "r1".to_owned()),
                    ]),
                }]));
            }
            Call::Accept { launches, .. } => {
                for launch in launches {
                    self.update(&launch.task, TaskState::Starting);
                    self.update(&launch.task, TaskState::Running);
                }
            }
            Call::Kill(kill) => self.update(&kill.task, TaskState::Killed),
            _ => {}
        }
    }
}

async fn lead(mut engine: Engine, mut requests: mpsc::Receiver<Request>) {
    let mut outside = Instant::default();
    let mut now = Time::from_secs(1_714_637_469);
    engine.input(now, Input::Elected { seed: [1, 2], records: Vec::new() }, &mut outside);
    loop {
        while let Some(result) = outside.results.pop_front() {
            // Time passes with what happens, faster than it is waited for.
            now += Span::from_millis(100);
            engine.input(now, result, &mut outside);
        }
        if let Some(at) = engine.next_deadline().filter(|at| *at <= now + Span::from_secs(5)) {
            now = now.max(at);
            engine.input(now, Input::Wake, &mut outside);
            continue;
        }
        let Some(request) = requests.recv().await else { return };
        now += Span::from_millis(10);
        engine.request(now, request, &mut outside);
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
        let engine = Engine::new(Supervisor::new(settings), Windows { view, hub });
        let (requests, next) = mpsc::channel(16);
        tokio::spawn(lead(engine, next));
        let leading = Standing::Leading(Fence(Compare::default()));
        Self::serve(leading, view_seen, hub_seen, requests, BOUNDS).await
    }

    /// One that follows, and cannot answer by itself.
    pub(super) async fn standby(leader: Option<&str>) -> Self {
        Self::standby_within(leader, BOUNDS).await
    }

    /// One that follows, and serves one principal.
    pub(super) async fn guarded(credential: &str) -> Self {
        let guard = Some(front::guard::Guard::of_one(credential.parse().unwrap()));
        let (_, view) = watch::channel(None);
        let (_, hub) = watch::channel(None);
        let (requests, _) = mpsc::channel(1);
        let standing = Standing::Following { leader: None };
        Self::serve_guarded(guard, standing, view, hub, requests, BOUNDS).await
    }

    /// One that follows, with bounds of its own.
    pub(super) async fn standby_within(leader: Option<&str>, bounds: Bounds) -> Self {
        let (_, view) = watch::channel(None);
        let (_, hub) = watch::channel(None);
        let (requests, _) = mpsc::channel(1);
        let standing = Standing::Following { leader: leader.map(str::to_owned) };
        Self::serve(standing, view, hub, requests, bounds).await
    }

    async fn serve(
        standing: Standing,
        view: watch::Receiver<Option<Arc<crate::supervisor::state::State>>>,
        hub: watch::Receiver<Option<sdk::hub::Hub>>,
        requests: mpsc::Sender<Request>,
        bounds: Bounds,
    ) -> Self {
        Self::serve_guarded(None, standing, view, hub, requests, bounds).await
    }

    async fn serve_guarded(
        guard: Option<front::guard::Guard>,
        standing: Standing,
        view: watch::Receiver<Option<Arc<crate::supervisor::state::State>>>,
        hub: watch::Receiver<Option<sdk::hub::Hub>>,
        requests: mpsc::Sender<Request>,
        bounds: Bounds,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (standing, seen) = watch::channel(standing);
        let api = Api::new(Surroundings {
            config: Arc::new(Config { guard, ..config(&address) }),
            standing: seen,
            view,
            hub,
            requests,
            abdicate: Arc::new(Notify::new()),
        });
        tokio::spawn(api.serve_within(listener, bounds, std::future::pending()));
        Self { address, http: Client::new(), standing }
    }

    /// Another leads now.
    pub(super) fn follow(&self, leader: &str) {
        self.standing.send_replace(Standing::Following { leader: Some(leader.to_owned()) });
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
