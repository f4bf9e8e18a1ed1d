//! Requests written byte by byte, with the headers a test wants and no others, and what is answered.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

/// Headers of a call in JSON.
pub(crate) const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
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
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends one request and reads until the server closes, as it is asked to; of a stream, its first pieces.
pub(crate) async fn ask(address: &str, line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("somebody listens");
    let length = match body.is_empty() && !line.starts_with("POST") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("{line}\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n");
    // A server that refuses may close before it has read everything: the answer tells.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut read = Vec::new();
    while !ended(&read) {
        let mut piece = vec![0; 64 << 10];
        let count = timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer in time");
        match count {
            Ok(count) if count > 0 => read.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    parse(&read)
}

/// A stream of events goes on for ever: what follows its first heartbeat is not waited for.
fn ended(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    text.contains(r#"{"type":"SUBSCRIBED""#) && text.contains(r#"{"type":"HEARTBEAT"}"#)
}

fn parse(read: &[u8]) -> Answer {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(read.len());
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let mut answer = Answer {
        status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
        headers: headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        body: read.get(end + 4..).unwrap_or_default().to_vec(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body);
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let length =
            std::str::from_utf8(&rest[..line]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let Some(length) = length.filter(|length| *length > 0 && rest.len() >= line + 2 + length) else {
            break;
        };
        whole.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = rest.get(line + 4 + length..).unwrap_or_default();
    }
    whole
}
