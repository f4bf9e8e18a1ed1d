//! A master that does what the test says, on a real socket.
#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::link::{self, to_agent, to_master};
use wire::{recordio, v1};

/// Nothing here takes longer on a machine that works, however busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

/// Listens where agents dial.
pub(crate) struct Master {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Master {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its number");
        Self { listener, address }
    }

    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// Answers the next request with raw bytes instead of an upgrade.
    pub(crate) async fn answer(&self, head: &str) {
        let mut stream = self.accept().await;
        request(&mut stream).await;
        stream.write_all(head.as_bytes()).await.expect("answered");
        stream.shutdown().await.expect("closed");
    }

    /// As [`answer`](Self::answer); what was asked.
    pub(crate) async fn refuse(&self, head: &str) -> String {
        let mut stream = self.accept().await;
        let asked = request(&mut stream).await;
        stream.write_all(head.as_bytes()).await.expect("answered");
        stream.shutdown().await.expect("closed");
        asked
    }

    async fn accept(&self) -> TcpStream {
        soon("a dial", self.listener.accept()).await.expect("accepted").0
    }

    /// The next agent that dials, upgraded, with its hello.
    pub(crate) async fn link(&self) -> (Link, link::Hello) {
        let mut stream = self.accept().await;
        let head = request(&mut stream).await;
        assert!(head.starts_with("GET /internal/link HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("upgrade: stoa-link/1\r\n"), "{head}");
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: stoa-link/1\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("upgraded");
        let mut link = Link {
            stream,
            decoder: recordio::Decoder::new(1 << 28),
            buffer: BytesMut::new(),
            read: VecDeque::new(),
            term: 1,
        };
        match link.next().await {
            to_master::Frame::Hello(hello) => (link, hello),
            other => panic!("a hello comes first, not {other:?}"),
        }
    }

    /// As [`link`](Self::link), and welcomes it as `agent-1` with `test` connected.
    pub(crate) async fn welcome(&self) -> (Link, link::Hello) {
        let (mut link, hello) = self.link().await;
        link.welcome().await;
        (link, hello)
    }
}

/// Reads the head of a request.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = soon("a request", stream.read_u8()).await.expect("a byte");
        head.push(byte);
    }
    String::from_utf8(head).expect("text")
}

/// One agent's link, at the master's end.
pub(crate) struct Link {
    stream: TcpStream,
    decoder: recordio::Decoder,
    buffer: BytesMut,
    read: VecDeque<to_master::Frame>,
    pub(crate) term: u64,
}

impl Link {
    pub(crate) async fn send(&mut self, frame: to_agent::Frame) {
        self.try_send(frame).await.expect("written");
    }

    /// As [`send`](Self::send), but the agent may have hung up.
    pub(crate) async fn try_send(&mut self, frame: to_agent::Frame) -> std::io::Result<()> {
        let frame = link::ToAgent { term: self.term, frame: Some(frame) };
        self.stream.write_all(&recordio::encode(&frame.encode_to_vec())).await
    }

    /// Bytes that need not be frames.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    pub(crate) async fn welcome(&mut self) {
        self.send(to_agent::Frame::Welcome(link::Welcome {
            agent_id: v1::AgentId { value: "agent-1".into() },
            ping_interval: 5000,
            link_timeout: 15_000,
            removed_frameworks: Vec::new(),
            connected_frameworks: vec![framework_id()],
        }))
        .await;
    }

    pub(crate) async fn run(&mut self, task: v1::TaskInfo) {
        self.send(to_agent::Frame::Run(link::Run { framework: framework(), task })).await;
    }

    /// Tasks of one group, in the default executor `pod`.
    pub(crate) async fn run_group(&mut self, tasks: Vec<v1::TaskInfo>) {
        let executor = v1::ExecutorInfo {
            r#type: Some(v1::executor_info::Type::Default as i32),
            executor_id: v1::ExecutorId { value: "pod".into() },
            ..Default::default()
        };
        self.send(to_agent::Frame::RunGroup(link::RunGroup { framework: framework(), executor, tasks }))
            .await;
    }

    /// An operation of the framework, called `number` by this master; how it ended, acknowledged.
    pub(crate) async fn operate(
        &mut self,
        number: u8,
        operation: v1::offer::Operation,
    ) -> v1::OperationStatus {
        self.send(to_agent::Frame::Operation(link::ApplyOperation {
            framework_id: Some(framework_id()),
            operation,
            operation_uuid: vec![number; 16].into(),
        }))
        .await;
        loop {
            if let to_master::Frame::Operation(report) = self.next().await {
                let operation_uuid = report.operation_uuid;
                self.send(to_agent::Frame::AcknowledgeOperation(link::AcknowledgeOperation {
                    operation_uuid,
                }))
                .await;
                return report.status;
            }
        }
    }

    pub(crate) async fn kill(&mut self, task: &str, grace: Option<Duration>) {
        let nanoseconds = |grace: Duration| i64::try_from(grace.as_nanos()).expect("short");
        let policy = |grace| v1::KillPolicy {
            grace_period: Some(v1::DurationInfo { nanoseconds: nanoseconds(grace) }),
        };
        self.send(to_agent::Frame::Kill(link::Kill {
            framework_id: framework_id(),
            task_id: v1::TaskId { value: task.into() },
            kill_policy: grace.map(policy),
        }))
        .await;
    }

    pub(crate) async fn acknowledge(&mut self, status: &v1::TaskStatus) {
        self.send(to_agent::Frame::Acknowledge(link::Acknowledge {
            framework_id: framework_id(),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().expect("updates have uuids"),
        }))
        .await;
    }

    /// The next frame; `None` at the end of the link.
    pub(crate) async fn try_next(&mut self) -> Option<to_master::Frame> {
        while self.read.is_empty() {
            let read = soon("a frame", self.stream.read_buf(&mut self.buffer)).await;
            if read.unwrap_or(0) == 0 {
                return None;
            }
            let mut input: Bytes = self.buffer.split().freeze();
            while input.has_remaining() {
                let Some(payload) = self.decoder.decode(&mut input).expect("records") else { break };
                let frame = link::ToMaster::decode(payload).expect("a frame");
                self.read.extend(frame.frame);
            }
        }
        self.read.pop_front()
    }

    pub(crate) async fn next(&mut self) -> to_master::Frame {
        self.try_next().await.expect("the link goes on")
    }

    /// The next status.
    pub(crate) async fn status(&mut self) -> v1::TaskStatus {
        loop {
            if let to_master::Frame::Status(report) = self.next().await {
                return report.status;
            }
        }
    }

    /// Acknowledges statuses until one is of `state`; that one, acknowledged too.
    pub(crate) async fn until(&mut self, state: v1::TaskState) -> v1::TaskStatus {
        loop {
            let status = self.status().await;
            self.acknowledge(&status).await;
            if status.state() == state {
                return status;
            }
            let ended = matches!(
                status.state(),
                v1::TaskState::TaskFinished
                    | v1::TaskState::TaskFailed
                    | v1::TaskState::TaskKilled
                    | v1::TaskState::TaskError
            );
            assert!(!ended, "waiting for {state:?}, it ended with {status:?}");
        }
    }
}

pub(crate) fn framework_id() -> v1::FrameworkId {
    v1::FrameworkId { value: "fw".into() }
}

pub(crate) fn framework() -> v1::FrameworkInfo {
    use v1::framework_info::Capability;
    use v1::framework_info::capability::Type;
    let capability = |kind: Type| Capability { r#type: Some(kind as i32) };
    v1::FrameworkInfo {
        name: "test".into(),
        id: Some(framework_id()),
        capabilities: vec![capability(Type::PartitionAware), capability(Type::TaskKillingState)],
        ..Default::default()
    }
}

pub(crate) fn task(id: &str, command: &str) -> v1::TaskInfo {
    let scalar = |name: &str, value| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "agent-1".into() },
        resources: vec![scalar("cpus", 0.001), scalar("mem", 1.0)],
        command: Some(v1::CommandInfo { value: Some(command.into()), ..Default::default() }),
        ..Default::default()
    }
}

/// Disk space that is reserved to the role `eng`; with an id and a path it is a volume.
pub(crate) fn disk(megabytes: f64, volume: Option<(&str, &str)>) -> v1::Resource {
    let layer = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some("eng".into()),
        ..Default::default()
    };
    let disk = volume.map(|(id, path)| v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: id.into(), principal: None }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: path.into(),
            ..Default::default()
        }),
        ..Default::default()
    });
    v1::Resource {
        name: "disk".into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: megabytes }),
        reservations: vec![layer],
        disk,
        ..Default::default()
    }
}

pub(crate) fn config(master: String, data_dir: &std::path::Path) -> agent::Config {
    agent::Config {
        masters: vec![master],
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        data_dir: data_dir.into(),
        resources: Some("cpus:8;mem:8192;disk:1000;ports:[31000-31100]".into()),
        attributes: "rack:a".into(),
        domain: None,
        hostname: Some("node-1".into()),
        credential: None,
        guard: None,
        kill_tasks_on_exit: false,
        logs: None,
    }
}

/// An HTTP request on a connection of its own: status, head and body.
pub(crate) async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let (body, mut request) = (body.as_ref(), Vec::new());
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    request.extend_from_slice(head.as_bytes());
    request.extend_from_slice(body);
    stream.write_all(&request).await.expect("asked");
    let mut answer = Vec::new();
    soon("an answer", stream.read_to_end(&mut answer)).await.expect("answered");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = http(address, "GET", path, "", "").await;
    (status, body)
}

/// A call of the v1 API in JSON.
pub(crate) async fn call(address: SocketAddr, body: &str) -> (u16, serde_json::Value) {
    let headers = "Content-Type: application/json\r\nAccept: application/json\r\n";
    let (status, _, body) = http(address, "POST", "/api/v1", headers, body).await;
    (status, serde_json::from_str(&body).unwrap_or(body.into()))
}
