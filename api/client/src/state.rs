//! The key-value API over HTTP: linearizable reads, transactions that may be sent again, leases and watches.

use std::time::Instant;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use thiserror::Error;
use wire::media;
use wire::recordio::Decoder;
use wire::state::{
    Answer, Call, Entry, Failure, Get, GetAnswer, LeaseAnswer, LeaseGrant, LeaseName, Range, RangeAnswer,
    RevokeAnswer, Txn, TxnAnswer, Watch, WatchRecord,
};

use crate::body::BodyError;
use crate::{Credentials, Masters, body, limits};

const PATH: &str = "/api/v1/state";

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum StateError {
    /// The call breaks a rule; sending it again is no use.
    #[error("refused with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The rule, with the field it concerns.
        message: String,
    },
    /// No master answered in time. A write may or may not have taken effect.
    #[error("no leading master answered within {tried:?}: asked {masters}; at last {last}")]
    Unavailable {
        /// For so long.
        tried: std::time::Duration,
        /// The addresses on the list.
        masters: String,
        /// What came of the last try.
        last: String,
    },
    /// The master answered something that is no answer to the call.
    #[error("the master answered with something else: {0}")]
    Garbled(String),
}

/// A client for one namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    http: reqwest::Client,
    masters: Masters,
    namespace: String,
    credentials: Option<Credentials>,
}

impl State {
    /// A client of the masters for `namespace`.
    pub fn new(masters: Masters, namespace: &str) -> Self {
        let credentials = masters.credentials().cloned();
        Self { http: crate::scheduler::http(), masters, namespace: namespace.to_owned(), credentials }
    }

    /// As a principal, which reaches the namespace of its name and those below it.
    #[must_use]
    pub fn with_credentials(self, principal: &str, secret: &str) -> Self {
        Self { credentials: Some(Credentials::new(principal, secret)), ..self }
    }

    /// The namespace of every call.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Reads one key.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn get(&self, key: &str) -> Result<GetAnswer, StateError> {
        match self.call(&Call::Get(Get { namespace: self.namespace.clone(), key: key.to_owned() })).await? {
            Answer::Get(answer) => Ok(answer),
            other => Err(garbled(&other)),
        }
    }

    /// Reads every key under a prefix, in order, with the revision of the first page: pages are read one after the other,
    /// and a watch from that revision + 1 brings them to one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn range(&self, prefix: &str) -> Result<(u64, Vec<Entry>), StateError> {
        let mut entries = Vec::new();
        let mut first = None;
        let mut after = None;
        loop {
            let page = self.page(prefix, after).await?;
            let revision = *first.get_or_insert(page.revision);
            entries.extend(page.entries);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok((revision, entries)),
            }
        }
    }

    /// Reads some keys under a prefix, in order: the first ones, or those after the `next` of the page before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn page(&self, prefix: &str, after: Option<String>) -> Result<RangeAnswer, StateError> {
        let range =
            Range { namespace: self.namespace.clone(), prefix: prefix.to_owned(), after, limit: None };
        match self.call(&Call::Range(range)).await? {
            Answer::Range(page) => Ok(page),
            other => Err(garbled(&other)),
        }
    }

    /// Runs a transaction. With a `request` id it is safe to send again, and is, until a master answers.
    ///
    /// # Errors
    /// See [`StateError`]. Without a `request` id it is sent once, and [`StateError::Unavailable`] may mean that it was done.
    pub async fn txn(&self, mut txn: Txn) -> Result<TxnAnswer, StateError> {
        txn.namespace.clone_from(&self.namespace);
        match self.call(&Call::Txn(txn)).await? {
            Answer::Txn(answer) => Ok(answer),
            other => Err(garbled(&other)),
        }
    }

    /// Makes a lease of a random id chosen by the caller.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn lease_grant(&self, lease: &str, ttl_millis: u64) -> Result<LeaseAnswer, StateError> {
        let grant = LeaseGrant { namespace: self.namespace.clone(), lease: lease.to_owned(), ttl_millis };
        match self.call(&Call::LeaseGrant(grant)).await? {
            Answer::LeaseGrant(answer) => Ok(answer),
            other => Err(garbled(&other)),
        }
    }

    /// Puts a lease's end off.
    ///
    /// # Errors
    /// [`StateError::Refused`] with 404 when it has ended; see [`StateError`].
    pub async fn lease_keepalive(&self, lease: &str) -> Result<LeaseAnswer, StateError> {
        match self.call(&Call::LeaseKeepalive(self.lease(lease))).await? {
            Answer::LeaseKeepalive(answer) => Ok(answer),
            other => Err(garbled(&other)),
        }
    }

    /// Ends a lease now.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn lease_revoke(&self, lease: &str) -> Result<RevokeAnswer, StateError> {
        match self.call(&Call::LeaseRevoke(self.lease(lease))).await? {
            Answer::LeaseRevoke(answer) => Ok(answer),
            other => Err(garbled(&other)),
        }
    }

    fn lease(&self, lease: &str) -> LeaseName {
        LeaseName { namespace: self.namespace.clone(), lease: lease.to_owned() }
    }

    /// Follows the changes under a prefix. The stream ends with its master: open another from the last revision + 1.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn watch(&self, prefix: &str, from: Option<u64>) -> Result<WatchStream, StateError> {
        let watch = Watch { namespace: self.namespace.clone(), prefix: prefix.to_owned(), from };
        let (answer, _) = self.send(&Call::Watch(watch), Wanted::Head).await?;
        Ok(WatchStream { answer, decoder: Decoder::new(limits::WATCH_RECORD_BYTES), chunk: Bytes::new() })
    }

    async fn call(&self, call: &Call) -> Result<Answer, StateError> {
        let (_, body) = self.send(call, Wanted::Whole).await?;
        serde_json::from_slice(&body).map_err(|error| StateError::Garbled(error.to_string()))
    }

    /// Asks master after master until one that leads answers. Only what may be done twice is sent twice.
    async fn send(&self, call: &Call, wanted: Wanted) -> Result<(Response, Bytes), StateError> {
        let body: Bytes =
            serde_json::to_vec(call).map_err(|error| StateError::Garbled(error.to_string()))?.into();
        let once = matches!(call, Call::Txn(txn) if txn.request.is_none());
        let started = Instant::now();
        let mut tried = 0;
        let mut last = String::new();
        while started.elapsed() < limits::CALL {
            let address = self.masters.guess();
            match self.attempt(&address, body.clone(), wanted).await {
                Attempt::Answered(head, body) => return Ok((head, body)),
                Attempt::Refused(error) => return Err(error),
                Attempt::Elsewhere if self.masters.guess() != address => {}
                Attempt::Elsewhere => {
                    last = format!("{address}: it does not lead");
                    self.masters.failed(&address);
                }
                Attempt::Unsettled(why) if once => {
                    last = format!("{address}: {why}");
                    break;
                }
                Attempt::Unsent(why) | Attempt::Unsettled(why) => {
                    last = format!("{address}: {why}");
                    self.masters.failed(&address);
                }
            }
            tried += 1;
            if tried % self.masters.addresses().len() == 0 {
                tokio::time::sleep(limits::TRY_AGAIN).await;
            }
        }
        let masters = self.masters.addresses().join(", ");
        Err(StateError::Unavailable { tried: started.elapsed(), masters, last })
    }

    async fn attempt(&self, address: &str, body: Bytes, wanted: Wanted) -> Attempt {
        let request =
            self.http.post(format!("http://{address}{PATH}")).header(CONTENT_TYPE, media::JSON).body(body);
        let request = Credentials::sign(self.credentials.as_ref(), request);
        let mut answer = match tokio::time::timeout(limits::ANSWER, request.send()).await {
            Ok(Ok(answer)) => answer,
            // A connection that was never made carried nothing.
            Ok(Err(error)) if error.is_connect() => return Attempt::Unsent(broken(&error)),
            Ok(Err(error)) => return Attempt::Unsettled(broken(&error)),
            Err(_) => return Attempt::Unsettled(format!("it did not answer within {:?}", limits::ANSWER)),
        };
        match answer.status() {
            StatusCode::OK if wanted == Wanted::Head => Attempt::Answered(answer, Bytes::new()),
            StatusCode::OK => match body::whole(&mut answer, limits::ANSWER_BYTES).await {
                Ok(body) => Attempt::Answered(answer, body),
                Err(error @ BodyError::TooLong(_)) => {
                    Attempt::Refused(StateError::Garbled(error.to_string()))
                }
                Err(error @ (BodyError::Broken(_) | BodyError::Silent)) => {
                    Attempt::Unsettled(error.to_string())
                }
            },
            StatusCode::TEMPORARY_REDIRECT => {
                self.masters.redirected(answer.headers());
                Attempt::Elsewhere
            }
            status @ StatusCode::TOO_MANY_REQUESTS => Attempt::Unsent(format!("it answered {status}")),
            // No leader, or one that lost the lead before it knew the outcome.
            status @ StatusCode::SERVICE_UNAVAILABLE => Attempt::Unsettled(format!("it answered {status}")),
            _ => Attempt::Refused(refused(answer).await),
        }
    }
}

/// How much of an answer is read before it counts as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Head,
    Whole,
}

/// What came of asking one master.
enum Attempt {
    Answered(Response, Bytes),
    /// For good.
    Refused(StateError),
    /// It named another, or at least said that it does not lead.
    Elsewhere,
    /// It has done nothing, and why.
    Unsent(String),
    /// Whether it has done anything is unknown, and why.
    Unsettled(String),
}

/// The innermost reason: those around it name the address once more.
fn broken(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    format!("it cannot be asked: {cause}")
}

async fn refused(answer: Response) -> StateError {
    let status = answer.status().as_u16();
    let text = body::refusal(answer).await;
    let message = match serde_json::from_str::<Failure>(&text) {
        // Some sentences begin with the field.
        Ok(Failure { error, field: Some(field) }) if !error.starts_with(&field) => {
            format!("{field}: {error}")
        }
        Ok(Failure { error, .. }) => error,
        Err(_) => text,
    };
    StateError::Refused { status, message }
}

fn garbled(answer: &Answer) -> StateError {
    StateError::Garbled(format!("{answer:?}").chars().take(200).collect())
}

/// The records of a watch.
#[derive(Debug)]
pub struct WatchStream {
    answer: Response,
    decoder: Decoder,
    chunk: Bytes,
}

impl WatchStream {
    /// The next record; `None` when the stream has ended, broken or fallen silent, and another is to be opened. Safe to
    /// drop while it waits: no record is lost.
    pub async fn next(&mut self) -> Option<WatchRecord> {
        loop {
            match self.decoder.decode(&mut self.chunk) {
                Ok(Some(record)) => return serde_json::from_slice(&record).ok(),
                Ok(None) => {}
                Err(_) => return None,
            }
            self.chunk = body::part(&mut self.answer, limits::WATCH_SILENCE).await.ok()??;
        }
    }
}
