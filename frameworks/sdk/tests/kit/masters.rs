//! The scheduler API of masters, as a script says: each call is looked at by the test, which decides on the answer.

use std::time::Duration;

use sdk::wire::scheduler::{Call, Event, call, event};
use sdk::wire::{Codec, protobuf, v1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::space::{Request, Space};

/// Long beside anything that is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One master.
pub(crate) struct Master {
    pub(crate) address: String,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// Masters with one key-value space.
pub(crate) async fn masters<const N: usize>() -> (Space, [Master; N]) {
    let (space, masters) = Space::masters(N).await;
    let masters: Vec<Master> =
        masters.into_iter().map(|(address, requests)| Master { address, requests }).collect();
    let Ok(masters) = masters.try_into() else { panic!("as many as asked for") };
    (space, masters)
}

impl Master {
    pub(crate) async fn request(&mut self) -> Request {
        let next = tokio::time::timeout(DEADLINE, self.requests.recv()).await;
        next.expect("a request in time").expect("the space lives")
    }

    /// The next request is a SUBSCRIBE: it is answered with a stream that begins with SUBSCRIBED.
    pub(crate) async fn subscribed(&mut self, framework: &str) -> (Stream, call::Subscribe) {
        self.subscribed_with(framework, 15.0).await
    }

    pub(crate) async fn subscribed_with(
        &mut self,
        framework: &str,
        heartbeat: f64,
    ) -> (Stream, call::Subscribe) {
        let (mut stream, subscribe) = self.subscribe().await;
        stream
            .send(&Event {
                r#type: Some(event::Type::Subscribed.into()),
                subscribed: Some(event::Subscribed {
                    framework_id: v1::FrameworkId { value: framework.to_owned() },
                    heartbeat_interval_seconds: Some(heartbeat),
                    master_info: None,
                }),
                ..Event::default()
            })
            .await;
        (stream, subscribe)
    }

    /// The next request is a SUBSCRIBE: a stream without an event.
    pub(crate) async fn subscribe(&mut self) -> (Stream, call::Subscribe) {
        let request = self.request().await;
        let call: Call = protobuf::decode(&request.body).unwrap();
        assert_eq!(call.r#type(), call::Type::Subscribe);
        let mut socket = request.socket;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: s\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        (Stream(socket), call.subscribe.unwrap())
    }

    /// The next request is a call: it is taken.
    pub(crate) async fn call(&mut self) -> Call {
        let request = self.request().await;
        let call = protobuf::decode(&request.body).unwrap();
        answer(request, "202 Accepted", "").await;
        call
    }

    /// The next call, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: call::Type) -> Call {
        let call = self.call().await;
        assert_eq!(call.r#type(), kind, "{call:?}");
        call
    }

    /// The question in general that follows each subscription.
    pub(crate) async fn asked_in_general(&mut self) {
        let call = self.expect(call::Type::Reconcile).await;
        assert_eq!(call.reconcile.unwrap().tasks, []);
    }

    /// The tasks that the next call asks about.
    pub(crate) async fn asked_about(&mut self) -> Vec<String> {
        let call = self.expect(call::Type::Reconcile).await;
        call.reconcile.unwrap().tasks.into_iter().map(|task| task.task_id.value).collect()
    }

    /// Whether nothing has come that was not looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.requests.is_empty()
    }
}

pub(crate) async fn answer(mut request: Request, status: &str, headers: &str) {
    let text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    request.socket.write_all(text.as_bytes()).await.unwrap();
}

/// The body of an answer that goes on.
pub(crate) struct Stream(TcpStream);

impl Stream {
    pub(crate) async fn send(&mut self, event: &Event) {
        let record = Codec::Protobuf.encode_record(event);
        let mut framed = format!("{:x}\r\n", record.len()).into_bytes();
        framed.extend_from_slice(&record);
        framed.extend_from_slice(b"\r\n");
        self.0.write_all(&framed).await.unwrap();
    }

    pub(crate) async fn offers(&mut self, offers: &[&str]) {
        let offers = offers.iter().map(|id| offer(id)).collect();
        let event = Event {
            r#type: Some(event::Type::Offers.into()),
            offers: Some(event::Offers { offers }),
            ..Event::default()
        };
        self.send(&event).await;
    }

    pub(crate) async fn update(&mut self, task: &str, state: v1::TaskState, uuid: Option<u8>) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.to_owned() },
            agent_id: Some(v1::AgentId { value: "S1".to_owned() }),
            state: state.into(),
            uuid: uuid.map(|byte| vec![byte; 16].into()),
            ..Default::default()
        };
        let event = Event {
            r#type: Some(event::Type::Update.into()),
            update: Some(event::Update { status }),
            ..Event::default()
        };
        self.send(&event).await;
    }

    pub(crate) async fn error(&mut self, message: &str) {
        let event = Event {
            r#type: Some(event::Type::Error.into()),
            error: Some(event::Error { message: message.to_owned() }),
            ..Event::default()
        };
        self.send(&event).await;
    }

    /// Waits until the other side has closed it.
    pub(crate) async fn closed(mut self) {
        let end = tokio::time::timeout(DEADLINE, self.0.read(&mut [0; 16])).await.expect("closed in time");
        assert!(matches!(end, Ok(0) | Err(_)));
    }
}

/// An agent with room for one task, and then some.
fn offer(id: &str) -> v1::Offer {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".to_owned()) }),
        ..Default::default()
    };
    v1::Offer {
        id: v1::OfferId { value: id.to_owned() },
        framework_id: v1::FrameworkId { value: "F".to_owned() },
        agent_id: v1::AgentId { value: "S1".to_owned() },
        hostname: "host".to_owned(),
        resources: vec![scalar("cpus", 1.5), scalar("mem", 512.0)],
        allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".to_owned()) }),
        ..Default::default()
    }
}
