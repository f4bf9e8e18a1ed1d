//! One client: a connection that is kept, and the key-value API on it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than a failover takes, so that a call ends by an answer or a broken connection.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    address: String,
    sender: SendRequest<Full<Bytes>>,
}

/// What became of a write.
pub(crate) enum Written {
    /// It is durable.
    Acknowledged,
    /// Refused, redirected, or unknown.
    Not,
}

impl Client {
    pub(crate) async fn open(address: &str) -> Option<Self> {
        let stream = timeout(Duration::from_secs(1), TcpStream::connect(address)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { address: address.to_owned(), sender })
    }

    /// The address in the answer of `/redirect`.
    pub(crate) async fn leader_of(address: &str) -> Option<String> {
        let mut client = Self::open(address).await?;
        let request = Request::get("/redirect").header("host", address).body(Full::default()).ok()?;
        let answer = timeout(Duration::from_secs(1), client.sender.send_request(request)).await.ok()?.ok()?;
        let location = answer.headers().get("location")?.to_str().ok()?;
        Some(location.trim_start_matches("//").to_owned())
    }

    /// The body of a GET.
    pub(crate) async fn text(&mut self, path: &str) -> Option<String> {
        let request = Request::get(path).header("host", &self.address).body(Full::default()).ok()?;
        let answer = timeout(PATIENCE, self.sender.send_request(request)).await.ok()?.ok()?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(body.into()).ok()
    }

    async fn call(&mut self, body: &Value) -> Option<(StatusCode, Bytes)> {
        let request = Request::post("/api/v1/state")
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .ok()?;
        let exchange = async {
            // The body's end may be here before the connection knows that it is free again.
            self.sender.ready().await.ok()?;
            let answer = self.sender.send_request(request).await.ok()?;
            let status = answer.status();
            Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
        };
        timeout(PATIENCE, exchange).await.ok()?
    }

    /// `None` when the connection is of no use any more.
    pub(crate) async fn put(&mut self, key: &str, value: &str) -> Option<Written> {
        let put = json!({"put": {"key": key, "value": value}});
        let call = json!({"type": "TXN", "namespace": "bench", "then": [put]});
        let (status, _) = self.call(&call).await?;
        Some(if status == StatusCode::OK { Written::Acknowledged } else { Written::Not })
    }

    /// All keys under a prefix.
    pub(crate) async fn keys(&mut self, prefix: &str) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut call = json!({"type": "RANGE", "namespace": "bench", "prefix": prefix});
            if after.is_string() {
                call["after"] = after;
            }
            let (status, body) = self.call(&call).await.ok_or("the connection broke")?;
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (StatusCode::OK, Some(entries)) = (status, answer["entries"].as_array()) else {
                return Err(format!("the keys cannot be read: {status} {}", String::from_utf8_lossy(&body)));
            };
            keys.extend(entries.iter().filter_map(|entry| entry["key"].as_str().map(str::to_owned)));
            after = answer["next"].clone();
            if after.is_null() {
                return Ok(keys);
            }
        }
    }
}
