//! The records of a stream: a length in decimal digits, a line feed, and so many bytes of JSON.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Response;
use serde_json::Value;

/// An open stream.
pub struct Records {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    /// What has arrived and is no whole record yet.
    rest: Vec<u8>,
}

impl Records {
    pub fn of(answer: Response) -> Self {
        Self { body: answer.bytes_stream().boxed(), rest: Vec::new() }
    }

    /// The next record; nothing when the stream has ended, however.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.rest.iter().position(|byte| *byte == b'\n') {
                let digits = std::str::from_utf8(&self.rest[..line]).expect("digits");
                let end = line + 1 + digits.parse::<usize>().expect("a length");
                if self.rest.len() >= end {
                    let record: Vec<u8> = self.rest.drain(..end).skip(line + 1).collect();
                    return Some(serde_json::from_slice(&record).expect("JSON"));
                }
            }
            let chunk = self.body.next().await?.ok()?;
            self.rest.extend_from_slice(&chunk);
        }
    }
}
