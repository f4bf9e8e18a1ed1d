//! The clients against masters made of a socket and a script.

use std::fmt::Write as _;
use std::time::Duration;

use client::scheduler::{CallError, Notice, subscribe};
use client::state::State;
use client::{Masters, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wire::scheduler::{Call, Event, call, event};
use wire::state::{Compare, Txn, WatchRecord};
use wire::{Codec, protobuf, v1};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listening socket.
struct Master {
    listener: TcpListener,
    address: String,
}

/// A request that waits for its answer.
struct Request {
    socket: TcpStream,
    head: String,
    body: Vec<u8>,
}

impl Master {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    /// The next request. Each comes on its own connection, because each answer closes its own.
    async fn request(&self) -> Request {
        let (mut socket, _) = timeout(PATIENCE, self.listener.accept()).await.expect("it is asked").unwrap();
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(read[..end].to_vec()).unwrap();
                let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                let mut body = read.split_off(end + 4);
                while body.len() < length {
                    assert_ne!(socket.read_buf(&mut body).await.unwrap(), 0, "the request broke off");
                }
                return Request { socket, head, body };
            }
            assert_ne!(socket.read_buf(&mut read).await.unwrap(), 0, "the request broke off");
        }
    }
}

/// The only master there is.
fn alone(master: &Master) -> Masters {
    Masters::new(std::slice::from_ref(&master.address))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

impl Request {
    async fn answer(mut self, status: &str, headers: &[(&str, &str)], body: &str) {
        let mut text =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        self.socket.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    }

    async fn redirect(self, to: &Master) {
        let location = format!("//{}/api/v1/scheduler", to.address);
        self.answer("307 Temporary Redirect", &[("Location", &location)], "").await;
    }

    /// Begins a stream.
    async fn stream(mut self, headers: &[(&str, &str)]) -> Stream {
        let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n".to_owned();
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        self.socket.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        Stream(self.socket)
    }

    fn call(&self) -> Call {
        protobuf::decode(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// The body of an answer that goes on.
struct Stream(TcpStream);

impl Stream {
    async fn chunk(&mut self, bytes: &[u8]) {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.0.write_all(&framed).await.unwrap();
    }

    async fn send(&mut self, event: &Event) {
        self.chunk(&Codec::Protobuf.encode_record(event)).await;
    }
}

fn subscribed(framework: &str) -> Event {
    Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            framework_id: v1::FrameworkId { value: framework.to_owned() },
            heartbeat_interval_seconds: Some(15.0),
            master_info: None,
        }),
        ..Event::default()
    }
}

fn of_type(kind: event::Type) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

fn framework() -> call::Subscribe {
    let framework_info = v1::FrameworkInfo { name: "test".to_owned(), ..Default::default() };
    call::Subscribe { framework_info, ..Default::default() }
}

/// The type of the next event.
async fn heard(notices: &mut tokio::sync::mpsc::Receiver<Notice>) -> event::Type {
    match timeout(PATIENCE, notices.recv()).await.expect("it is told").unwrap() {
        Notice::Event(event) => event.r#type(),
        Notice::Disconnected { reason } => panic!("disconnected: {reason}"),
    }
}

#[tokio::test]
async fn a_subscription_follows_a_redirect_and_outlives_its_master() {
    let (first, second) = (Master::start().await, Master::start().await);
    let masters = Masters::new(&[first.address.clone(), second.address.clone()]);
    let (caller, mut notices) = subscribe(masters, framework(), 1);
    assert!(matches!(caller.call(Call::default()).await, Err(CallError::NotSubscribed)));

    first.request().await.redirect(&second).await;
    let request = second.request().await;
    assert_eq!(header(&request.head, "accept"), Some("application/x-protobuf"));
    assert_eq!(header(&request.head, "content-type"), Some("application/x-protobuf"));
    assert_eq!(header(&request.head, "mesos-stream-id"), None);
    let call = request.call();
    assert_eq!((call.r#type(), call.framework_id), (call::Type::Subscribe, None));

    let mut stream = request.stream(&[("Mesos-Stream-Id", "s-1")]).await;
    // Records cut into bytes, and two in one chunk: a proxy in between may do either.
    for byte in Codec::Protobuf.encode_record(&subscribed("F")) {
        stream.chunk(&[byte]).await;
    }
    assert_eq!(heard(&mut notices).await, event::Type::Subscribed);
    let two = [of_type(event::Type::Heartbeat), of_type(event::Type::Offers)];
    stream.chunk(&two.map(|event| Codec::Protobuf.encode_record(&event)).concat()).await;
    assert_eq!(heard(&mut notices).await, event::Type::Offers, "heartbeats are kept to ourselves");

    let calling = tokio::spawn({
        let caller = caller.clone();
        async move { caller.call(Call { r#type: Some(call::Type::Revive.into()), ..Call::default() }).await }
    });
    let request = second.request().await;
    assert_eq!(header(&request.head, "mesos-stream-id"), Some("s-1"));
    assert_eq!(request.call().framework_id.unwrap().value, "F");
    request.answer("202 Accepted", &[], "").await;
    calling.await.unwrap().unwrap();

    drop(stream);
    assert!(matches!(notices.recv().await, Some(Notice::Disconnected { .. })));
    assert!(matches!(caller.call(Call::default()).await, Err(CallError::NotSubscribed)));
    let call = first.request().await.call();
    assert_eq!(call.framework_id.unwrap().value, "F", "it comes back as the same framework");
    assert_eq!(call.subscribe.unwrap().framework_info.id.unwrap().value, "F");
}

#[tokio::test]
async fn an_error_ends_a_subscription_for_good() {
    let master = Master::start().await;
    let (caller, mut notices) = subscribe(alone(&master), framework(), 1);
    let mut stream = master.request().await.stream(&[("Mesos-Stream-Id", "s-1")]).await;
    stream.send(&subscribed("F")).await;
    assert_eq!(heard(&mut notices).await, event::Type::Subscribed);
    stream.send(&of_type(event::Type::Error)).await;
    assert_eq!(heard(&mut notices).await, event::Type::Error);
    assert!(notices.recv().await.is_none());
    assert!(matches!(caller.call(Call::default()).await, Err(CallError::NotSubscribed)));
}

#[tokio::test]
async fn what_is_no_event_breaks_the_stream_off() {
    let master = Master::start().await;
    let (_caller, mut notices) = subscribe(alone(&master), framework(), 1);
    let mut stream = master.request().await.stream(&[("Mesos-Stream-Id", "s-1")]).await;
    stream.chunk(b"not a record\n").await;
    let Some(Notice::Disconnected { reason }) = notices.recv().await else { panic!("not disconnected") };
    assert_eq!(reason, "the length of a record must be decimal digits before a line feed");
}

#[tokio::test]
async fn a_refused_call_says_why() {
    let master = Master::start().await;
    let (caller, mut notices) = subscribe(alone(&master), framework(), 1);
    let mut stream = master.request().await.stream(&[("Mesos-Stream-Id", "s-1")]).await;
    stream.send(&subscribed("F")).await;
    assert_eq!(heard(&mut notices).await, event::Type::Subscribed);
    let answering =
        async { master.request().await.answer("400 Bad Request", &[], "Framework cannot be found").await };
    let (outcome, ()) = tokio::join!(caller.call(Call::default()), answering);
    let Err(CallError::Refused { status: 400, message }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(message, "Framework cannot be found");
}

/// A transaction that may be sent again if `request` is given.
fn txn(request: Option<&str>) -> Txn {
    Txn {
        namespace: String::new(),
        request: request.map(str::to_owned),
        compare: vec![Compare { key: "a".to_owned(), exists: Some(false), ..Compare::default() }],
        then: Vec::new(),
        otherwise: Vec::new(),
    }
}

const DONE: &str = r#"{"type":"TXN","revision":7,"succeeded":true,"replayed":false,"results":[]}"#;

#[tokio::test]
async fn a_call_goes_from_master_to_master_until_one_that_leads_answers() {
    let (first, second) = (Master::start().await, Master::start().await);
    let state = State::new(Masters::new(&[first.address.clone(), second.address.clone()]), "test");
    let script = async {
        first.request().await.answer("503 Service Unavailable", &[], "").await;
        second.request().await.redirect(&first).await;
        let request = first.request().await;
        assert!(request.text().contains(r#""namespace":"test""#), "{}", request.text());
        // It dies with the answer on the way: whether the write was done is unknown.
        drop(request);
        let request = second.request().await;
        assert!(request.text().contains(r#""request":"r-1""#), "{}", request.text());
        request.answer("200 OK", &[], DONE).await;
    };
    let (answer, ()) = tokio::join!(state.txn(txn(Some("r-1"))), script);
    assert_eq!(answer.unwrap().revision, 7);
}

#[tokio::test]
async fn a_write_that_would_be_done_twice_is_not_sent_twice() {
    let (first, second) = (Master::start().await, Master::start().await);
    let state = State::new(Masters::new(&[first.address.clone(), second.address.clone()]), "test");
    let (answer, ()) = tokio::join!(state.txn(txn(None)), async { drop(first.request().await) });
    let told = answer.expect_err("it may have been done").to_string();
    assert!(
        told.contains(&format!("asked {}, {}; at last {}: ", first.address, second.address, first.address)),
        "{told}"
    );
    // A redirect means that nothing was done.
    let script = async {
        first.request().await.redirect(&second).await;
        second.request().await.answer("200 OK", &[], DONE).await;
    };
    let (answer, ()) = tokio::join!(state.txn(txn(None)), script);
    assert!(answer.unwrap().succeeded);
}

#[tokio::test]
async fn an_answer_cut_short_is_asked_for_again() {
    let (first, second) = (Master::start().await, Master::start().await);
    let state = State::new(Masters::new(&[first.address.clone(), second.address.clone()]), "test");
    let script = async {
        let mut stream = first.request().await.stream(&[]).await;
        stream.chunk(br#"{"type":"GET","#).await;
        drop(stream);
        second.request().await.answer("200 OK", &[], r#"{"type":"GET","revision":3,"entry":null}"#).await;
    };
    let (answer, ()) = tokio::join!(state.get("a"), script);
    assert_eq!(answer.unwrap().revision, 3);
}

#[tokio::test]
async fn a_refusal_is_final_and_names_the_field() {
    let master = Master::start().await;
    let state = State::new(alone(&master), "test");
    let refusal = r#"{"error":"must not be empty","field":"key"}"#;
    let script = async { master.request().await.answer("400 Bad Request", &[], refusal).await };
    let (answer, ()) = tokio::join!(state.get(""), script);
    assert_eq!(answer.unwrap_err().to_string(), "refused with 400: key: must not be empty");

    let endless = "x".repeat(limits::REFUSAL_BYTES + 1);
    let script = async { master.request().await.answer("413 Payload Too Large", &[], &endless).await };
    let (answer, ()) = tokio::join!(state.get("a"), script);
    assert_eq!(answer.unwrap_err().to_string(), "refused with 413: ");
}

#[tokio::test]
async fn a_principal_is_named_in_each_call() {
    let master = Master::start().await;
    let state = State::new(alone(&master), "alice/jobs").with_credentials("alice", "secret");
    let script = async {
        let request = master.request().await;
        assert_eq!(header(&request.head, "authorization"), Some("Basic YWxpY2U6c2VjcmV0"));
        let refusal = r#"{"error":"then[0].put.key must not be empty","field":"then[0].put.key"}"#;
        request.answer("400 Bad Request", &[], refusal).await;
    };
    let (answer, ()) = tokio::join!(state.get("a"), script);
    let text = answer.unwrap_err().to_string();
    assert_eq!(text, "refused with 400: then[0].put.key must not be empty", "the field is named once");
}

#[tokio::test]
async fn credentials_of_the_masters_go_with_each_call_and_are_not_shown() {
    let master = Master::start().await;
    let masters = alone(&master).with_credentials(Some(client::Credentials::new("alice", "secret")));
    let state = State::new(masters, "alice/jobs");
    assert!(!format!("{state:?}").contains("secret"));
    let script = async {
        let request = master.request().await;
        assert_eq!(header(&request.head, "authorization"), Some("Basic YWxpY2U6c2VjcmV0"));
        request.answer("403 Forbidden", &[], r#"{"error":"no"}"#).await;
    };
    let (answer, ()) = tokio::join!(state.get("a"), script);
    assert_eq!(answer.unwrap_err().to_string(), "refused with 403: no");
}

#[tokio::test]
async fn a_watch_ends_with_its_master() {
    let master = Master::start().await;
    let state = State::new(alone(&master), "test");
    let script = async {
        let request = master.request().await;
        assert!(request.text().contains(r#""from":5"#), "{}", request.text());
        let mut stream = request.stream(&[]).await;
        let records = [r#"{"type":"STARTED","revision":5}"#, r#"{"type":"PROGRESS","revision":9}"#];
        let framed = records.map(|record| wire::recordio::encode(record.as_bytes())).concat();
        let (start, end) = framed.split_at(40);
        stream.chunk(start).await;
        stream.chunk(end).await;
        stream
    };
    let (watch, stream) = tokio::join!(state.watch("apps/", Some(5)), script);
    let mut watch = watch.unwrap();
    assert_eq!(watch.next().await, Some(WatchRecord::Started { revision: 5 }));
    assert_eq!(watch.next().await, Some(WatchRecord::Progress { revision: 9 }));
    drop(stream);
    assert_eq!(watch.next().await, None);
}
