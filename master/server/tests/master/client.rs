//! Masters to test, and an HTTP client that shows chunks as they are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes, shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct TestMaster {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), master::Error>>,
}

impl TestMaster {
    pub(crate) async fn alone(data_dir: &Path) -> Self {
        let master = Self::start("127.0.0.1:0", &[], data_dir).await.expect("starts");
        master.until_health(200).await;
        master
    }

    pub(crate) async fn start(
        listen: &str,
        peers: &[String],
        data_dir: &Path,
    ) -> Result<Self, master::Error> {
        Self::open(master::Config {
            listen: listen.parse().expect("an address"),
            advertise: (!peers.is_empty()).then(|| listen.to_owned()),
            peers: peers.to_vec(),
            join: None,
            data_dir: data_dir.to_owned(),
            domain: None,
            offer_timeout: None,
            guard: None,
            logs: None,
        })
        .await
    }

    /// A master alone that serves whom the list names.
    pub(crate) async fn guarded(data_dir: &Path, list: &Path) -> Self {
        let master = Self::guarded_in("127.0.0.1:0", &[], data_dir, list).await.expect("starts");
        master.until_health(200).await;
        master
    }

    /// One of a group that serves whom the list names.
    pub(crate) async fn guarded_in(
        listen: &str,
        peers: &[String],
        data_dir: &Path,
        list: &Path,
    ) -> Result<Self, master::Error> {
        Self::open(master::Config {
            listen: listen.parse().expect("an address"),
            advertise: (!peers.is_empty()).then(|| listen.to_owned()),
            peers: peers.to_vec(),
            join: None,
            data_dir: data_dir.to_owned(),
            domain: None,
            offer_timeout: None,
            guard: Some(front::guard::Guard::read(list).expect("a lawful list")),
            logs: None,
        })
        .await
    }

    /// A master alone whose log is in that file; what levels it was told ends up in `levels`.
    pub(crate) async fn logging(
        data_dir: &Path,
        file: PathBuf,
        levels: std::sync::mpsc::Sender<u32>,
    ) -> Self {
        let master = Self::open(master::Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            advertise: None,
            peers: Vec::new(),
            join: None,
            data_dir: data_dir.to_owned(),
            domain: None,
            offer_timeout: None,
            guard: None,
            logs: Some(master::Logs {
                file: Some(file),
                set_level: std::sync::Arc::new(move |level| levels.send(level).unwrap_or_default()),
            }),
        })
        .await
        .expect("starts");
        master.until_health(200).await;
        master
    }

    /// Starts a master that joins the group `member` belongs to.
    pub(crate) async fn join(listen: &str, member: &str, data_dir: &Path) -> Result<Self, master::Error> {
        Self::open(master::Config {
            listen: listen.parse().expect("an address"),
            advertise: Some(listen.to_owned()),
            peers: Vec::new(),
            join: Some(member.to_owned()),
            data_dir: data_dir.to_owned(),
            domain: None,
            offer_timeout: None,
            guard: None,
            logs: None,
        })
        .await
    }

    async fn open(config: master::Config) -> Result<Self, master::Error> {
        let opened = master::Master::open(config).await?;
        let address = opened.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(opened.serve(async {
            // A dropped sender stops it as well.
            let _ = stopped.await;
        }));
        Ok(Self { address, stop: Some(stop), task })
    }

    pub(crate) async fn stop(mut self) -> Duration {
        let begun = Instant::now();
        drop(self.stop.take());
        self.ended().await.expect("an orderly end");
        begun.elapsed()
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), master::Error> {
        timeout(PATIENCE, self.task).await.expect("ends in time").expect("does not panic")
    }

    pub(crate) async fn until_health(&self, status: u16) {
        until("the health asked for", async || get(self.address, "/health").await.status == status).await;
    }
}

/// Asks until it is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// A connection on which answers are read piece by piece.
pub(crate) struct Conversation {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Conversation {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a master listens there");
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that refuses may close before it has read everything: the answer tells.
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    pub(crate) async fn head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("an answer in time");
            if read.expect("readable") == 0 || line == "\r\n" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let status = lines.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        Answer {
            status: status.unwrap_or_else(|| panic!("no status in {lines:?}")),
            headers: headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            body: Vec::new(),
        }
    }

    /// The next chunk of a chunked body; `None` for the last.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a chunk in time");
        assert!(read.expect("readable") > 0, "the connection broke inside a body");
        let length = usize::from_str_radix(line.trim_end(), 16)
            .unwrap_or_else(|_| panic!("no chunk length: {line:?}"));
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await.expect("a whole chunk");
        assert_eq!(chunk.split_off(length), b"\r\n");
        (length > 0).then_some(chunk)
    }

    /// The next chunk as the one record it must be.
    pub(crate) async fn record(&mut self) -> Option<Value> {
        let chunk = self.chunk().await?;
        let line = chunk.iter().position(|byte| *byte == b'\n').expect("a length line");
        let length: usize =
            std::str::from_utf8(&chunk[..line]).ok().and_then(|text| text.parse().ok()).expect("digits");
        assert_eq!(chunk.len(), line + 1 + length, "one record is one chunk");
        Some(serde_json::from_slice(&chunk[line + 1..]).expect("JSON"))
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        match answer.header("content-length").map(|length| length.parse::<usize>().expect("a number")) {
            Some(length) => {
                answer.body = vec![0; length];
                let read = timeout(PATIENCE, self.stream.read_exact(&mut answer.body))
                    .await
                    .expect("a body in time");
                read.expect("a whole body");
            }
            None if answer.header("transfer-encoding") == Some("chunked") => {
                while let Some(chunk) = self.chunk().await {
                    answer.body.extend_from_slice(&chunk);
                }
            }
            None => {}
        }
        answer
    }

    /// True when the other side has closed.
    pub(crate) async fn closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(timeout(PATIENCE, self.stream.read(&mut byte)).await, Ok(Ok(1)))
    }
}

/// One request on a connection of its own, written as it stands.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut conversation = Conversation::open(address).await;
    conversation.send(request).await;
    conversation.answer().await
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Answer {
    raw(address, format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await
}

pub(crate) fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

pub(crate) async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    raw(address, &request(path, JSON, body.to_string().as_bytes())).await
}

/// A subscribed scheduler: its conversation, framework id and stream id.
pub(crate) async fn subscribe(address: SocketAddr, body: &Value) -> (Conversation, String, String) {
    let mut stream = Conversation::open(address).await;
    stream.send(&request("/api/v1/scheduler", JSON, body.to_string().as_bytes())).await;
    let head = stream.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let id = head.header("mesos-stream-id").expect("a stream id").to_owned();
    let first = stream.record().await.expect("a first record");
    assert_eq!(first["type"], "SUBSCRIBED", "{first}");
    let framework = first["subscribed"]["framework_id"]["value"].as_str().expect("an id").to_owned();
    let second = stream.record().await.expect("a second record");
    assert_eq!(second["type"], "HEARTBEAT", "{second}");
    (stream, framework, id)
}

pub(crate) fn framework(name: &str) -> Value {
    json!({"type": "SUBSCRIBE", "subscribe": {"framework_info":
        {"user": "root", "name": name, "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}], "failover_timeout": 60}}})
}

/// An address nobody else listens on.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", ports::free())
}
