//! What tasks have written, read from the agents that keep it.

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use sdk::Masters;
use sdk::wire::{Codec, agent, media};
use serde_json::Value;

use super::respond::Problem;
use crate::limits;

/// The way to agents and their sandboxes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sandboxes {
    http: Client,
    masters: Masters,
    authorization: Option<HeaderValue>,
}

/// A part of a file, and how long the whole is.
pub(super) struct Piece {
    pub(super) data: Vec<u8>,
    pub(super) size: u64,
}

impl Sandboxes {
    pub(super) fn new(masters: Masters, authorization: Option<HeaderValue>) -> Self {
        // Redirects are followed here: the library would drop the credentials on the way to another master.
        let builder = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(limits::SANDBOX_CONNECT)
            .timeout(limits::SANDBOX_ANSWER);
        // Only a broken TLS set-up of the machine fails here; without TLS there is nothing to fail.
        Self { http: builder.build().unwrap_or_default(), masters, authorization }
    }

    /// Where an agent listens.
    pub(super) async fn address(&self, agent: &str) -> Result<String, Problem> {
        let mut problem = "no master answers".to_owned();
        // Each may send us to another, and the leader may have changed meanwhile.
        for _ in 0..self.masters.addresses().len() + 2 {
            let master = self.masters.guess();
            let request = self.http.get(format!("http://{master}/slaves")).query(&[("slave_id", agent)]);
            match self.signed(request).send().await {
                Ok(answer)
                    if answer.status().is_redirection() && self.masters.redirected(answer.headers()) => {}
                Ok(answer) if answer.status().is_success() => {
                    let body = body(answer).await?;
                    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let known = &document["slaves"][0];
                    let place = known["hostname"].as_str().zip(known["port"].as_u64());
                    return place.map(|(host, port)| format!("{host}:{port}")).ok_or_else(|| {
                        Problem::Gone(format!(
                            "agent {agent} is gone or cannot be reached, and what it keeps with it"
                        ))
                    });
                }
                Ok(answer) => {
                    problem = format!("the master {master} says {}", answer.status());
                    self.masters.failed(&master);
                }
                Err(error) => {
                    problem = format!("the master {master} cannot be asked: {error}");
                    self.masters.failed(&master);
                }
            }
        }
        Err(Problem::BadGateway(format!("where agent {agent} is cannot be found out: {problem}")))
    }

    /// At most `length` bytes of a file from `offset`; an agent may give fewer.
    pub(super) async fn read(
        &self,
        address: &str,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Piece, Problem> {
        let asked = agent::call::ReadFile { path: path.to_owned(), offset, length: Some(length) };
        let call = agent::Call {
            r#type: Some(agent::call::Type::ReadFile as i32),
            read_file: Some(asked),
            ..Default::default()
        };
        let request = self
            .http
            .post(format!("http://{address}/api/v1"))
            .header(CONTENT_TYPE, media::PROTOBUF)
            .header(ACCEPT, media::PROTOBUF)
            .body(Codec::Protobuf.encode(&call));
        let silent = |error| Problem::BadGateway(format!("the agent at {address} cannot be asked: {error}"));
        let answer = self.signed(request).send().await.map_err(silent)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(Problem::Gone(
                    "it is not there: the task has written nothing yet, or its sandbox was collected"
                        .to_owned(),
                ));
            }
            other => return Err(Problem::BadGateway(format!("the agent at {address} says {other}"))),
        }
        let body = body(answer).await?;
        let answer: Result<agent::Response, _> = Codec::Protobuf.decode(&body);
        let piece = answer.ok().and_then(|answer| answer.read_file);
        let strange = || Problem::BadGateway(format!("the agent at {address} answers something else"));
        piece.map(|piece| Piece { data: piece.data.to_vec(), size: piece.size }).ok_or_else(strange)
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(own) => request.header(AUTHORIZATION, own.clone()),
            None => request,
        }
    }
}

/// The whole of an answer, unless it is longer than one of these is.
async fn body(mut answer: Response) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    loop {
        let broken = |error| Problem::BadGateway(format!("an answer breaks off: {error}"));
        let Some(more) = answer.chunk().await.map_err(broken)? else { return Ok(whole) };
        if whole.len() + more.len() > limits::SANDBOX_BYTES {
            let told = format!("an answer has more than {} bytes", limits::SANDBOX_BYTES);
            return Err(Problem::BadGateway(told));
        }
        whole.extend_from_slice(&more);
    }
}
