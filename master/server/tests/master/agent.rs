//! An agent as a master sees one: it registers, answers pings and does at once what it is told to its resources.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::link::{
    ApplyOperation, Hello, OperationReport, Pong, StatusReport, ToAgent, ToMaster, to_agent, to_master,
};
use wire::v1::{self, OperationState, OperationStatus, TaskState, TaskStatus};
use wire::{protobuf, recordio};

use crate::client::Conversation;

const UPGRADE: &[u8] = b"GET /internal/link HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: stoa-link/1\r\n\r\n";

/// Lives until it is dropped.
pub(crate) struct TestAgent {
    pub(crate) id: String,
    task: JoinHandle<()>,
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A hello of a machine with so much.
pub(crate) fn hello(hostname: &str, resources: Vec<v1::Resource>) -> Hello {
    Hello {
        info: v1::AgentInfo {
            hostname: hostname.to_owned(),
            port: Some(5051),
            resources,
            ..v1::AgentInfo::default()
        },
        version: "0.1.0".to_owned(),
        ..Hello::default()
    }
}

pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    }
}

impl TestAgent {
    /// Registers, and does all that follows by itself: tasks it is given run.
    pub(crate) async fn start(at: SocketAddr, hello: Hello) -> Self {
        let mut link = Link::open(at).await;
        link.send(to_master::Frame::Hello(hello)).await;
        let (welcomed, welcome) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut welcomed = Some(welcomed);
            while let Some(order) = link.order().await {
                match order.frame {
                    Some(to_agent::Frame::Welcome(welcome)) => {
                        if let Some(welcomed) = welcomed.take() {
                            // The test waits for it.
                            let _ = welcomed.send(welcome.agent_id.value);
                        }
                    }
                    Some(to_agent::Frame::Ping(ping)) => {
                        link.send(to_master::Frame::Pong(Pong { sequence: ping.sequence })).await;
                    }
                    Some(to_agent::Frame::Operation(order)) => link.send(done(order)).await,
                    Some(to_agent::Frame::Run(run)) => {
                        let framework = run.framework.id.unwrap_or_default();
                        link.send(update(framework, run.task.task_id, TaskState::TaskRunning, 7)).await;
                    }
                    Some(to_agent::Frame::Kill(kill)) => {
                        link.send(update(kill.framework_id, kill.task_id, TaskState::TaskKilled, 8)).await;
                    }
                    _ => {}
                }
            }
        });
        let id = welcome.await.expect("the master takes the agent");
        Self { id, task }
    }
}

fn done(order: ApplyOperation) -> to_master::Frame {
    to_master::Frame::Operation(OperationReport {
        framework_id: order.framework_id,
        status: OperationStatus {
            operation_id: order.operation.id.clone(),
            state: OperationState::OperationFinished.into(),
            ..OperationStatus::default()
        },
        operation_uuid: order.operation_uuid,
        operation: Some(order.operation),
    })
}

/// An update whose uuid is sixteen times the same byte.
fn update(
    framework_id: v1::FrameworkId,
    task_id: v1::TaskId,
    state: TaskState,
    uuid: u8,
) -> to_master::Frame {
    to_master::Frame::Status(StatusReport {
        framework_id,
        status: TaskStatus {
            task_id,
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            uuid: Some(Bytes::copy_from_slice(&[uuid; 16])),
            timestamp: Some(1.5),
            ..TaskStatus::default()
        },
        latest_state: state.into(),
    })
}

/// A link, frame by frame.
struct Link {
    conversation: Conversation,
    decoder: recordio::Decoder,
    rest: Bytes,
}

impl Link {
    async fn open(at: SocketAddr) -> Self {
        let mut conversation = Conversation::open(at).await;
        conversation.send(UPGRADE).await;
        assert_eq!(conversation.head().await.status, 101);
        Self { conversation, decoder: recordio::Decoder::new(1 << 20), rest: Bytes::new() }
    }

    /// A master that ends reads nothing more.
    async fn send(&mut self, frame: to_master::Frame) {
        let frame = ToMaster { frame: Some(frame) };
        let bytes = recordio::encode(&protobuf::encode(&frame));
        let _ = self.conversation.stream.get_mut().write_all(&bytes).await;
    }

    async fn order(&mut self) -> Option<ToAgent> {
        loop {
            if let Some(payload) = self.decoder.decode(&mut self.rest).expect("records") {
                return Some(protobuf::decode(&payload).expect("a frame"));
            }
            let mut more = vec![0; 64 << 10];
            let count = self.conversation.stream.read(&mut more).await.ok().filter(|count| *count > 0)?;
            more.truncate(count);
            self.rest = more.into();
        }
    }
}
