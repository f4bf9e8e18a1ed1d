//! The scheduler API over HTTP: a subscription that survives masters, and calls to whichever leads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use model::time::{Span, Time};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use thiserror::Error;
use tokio::sync::mpsc;
use wire::recordio::Decoder;
use wire::scheduler::{Call, Event, call, event};
use wire::v1::FrameworkId;
use wire::{Codec, media};

use crate::session::{Effect, Input, Session};
use crate::{Credentials, Masters, body, limits};

/// The path of the API.
const PATH: &str = "/api/v1/scheduler";
/// The header that ties a call to the stream.
const STREAM_ID: &str = "Mesos-Stream-Id";
/// What a master that announces no interval sends heartbeats at.
const HEARTBEAT: f64 = 15.0;

/// What a framework hears of its subscription.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A master sent an event. SUBSCRIBED comes first on each stream, also after a failover: then reconcile.
    Event(Box<Event>),
    /// The stream is gone; the session is looking for another master. Offers held are void.
    Disconnected {
        /// For the log.
        reason: String,
    },
}

/// Why a call was not taken.
#[derive(Debug, Error)]
pub enum CallError {
    /// There is no stream now; the next SUBSCRIBED tells when to try again.
    #[error("not subscribed to a master at the moment")]
    NotSubscribed,
    /// Whether the master took it is unknown.
    #[error("the master did not answer: {0}")]
    Unknown(String),
    /// The master refused it.
    #[error("the master refused the call with {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The master's words.
        message: String,
    },
}

/// What ties calls to the stream that is live.
#[derive(Clone, Debug)]
struct Subscription {
    address: String,
    stream_id: String,
    framework_id: FrameworkId,
}

/// Sends calls; as many as wanted, from any task.
#[derive(Clone, Debug)]
pub struct Caller {
    http: reqwest::Client,
    credentials: Option<Credentials>,
    subscription: Arc<Mutex<Option<Subscription>>>,
}

impl Caller {
    /// The id of the stream that is live; offers, and what was asked to be sent or not, end with it.
    pub fn stream(&self) -> Option<String> {
        let live = self.subscription.lock().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().map(|live| live.stream_id.clone())
    }

    /// Sends one call. Its `framework_id` is filled in.
    ///
    /// # Errors
    /// See [`CallError`]. What comes of a call that was taken is told by events.
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let live = self.subscription.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let live = live.ok_or(CallError::NotSubscribed)?;
        call.framework_id = Some(live.framework_id);
        let request = self
            .http
            .post(format!("http://{}{PATH}", live.address))
            .header(CONTENT_TYPE, media::PROTOBUF)
            .header(STREAM_ID, live.stream_id)
            .timeout(limits::ANSWER)
            .body(Codec::Protobuf.encode(&call));
        let request = Credentials::sign(self.credentials.as_ref(), request);
        let answer = request.send().await.map_err(|error| CallError::Unknown(error.to_string()))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let status = answer.status().as_u16();
        Err(CallError::Refused { status, message: body::refusal(answer).await })
    }
}

/// Starts a subscription. It ends when the receiver is dropped, or after an ERROR event.
///
/// `subscribe` is sent on each stream; once the master has given the framework an id, the id is sent along.
pub fn subscribe(
    masters: Masters,
    subscribe: call::Subscribe,
    seed: u64,
) -> (Caller, mpsc::Receiver<Notice>) {
    let http = http();
    let subscription = Arc::new(Mutex::new(None));
    let credentials = masters.credentials().cloned();
    let caller = Caller { http: http.clone(), credentials, subscription: subscription.clone() };
    let (notices, receiver) = mpsc::channel(limits::EVENT_QUEUE);
    let driver = Driver {
        masters,
        subscribe,
        http,
        subscription,
        notices,
        session: Session::new(seed),
        started: Instant::now(),
    };
    tokio::spawn(driver.run());
    (caller, receiver)
}

/// A client that leaves redirects to us: they name the leader, which every later call must know too.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits::CONNECT)
        .tcp_nodelay(true)
        .tcp_keepalive(limits::PROBE_AFTER)
        .tcp_keepalive_interval(limits::PROBE_EVERY)
        .tcp_keepalive_retries(limits::PROBES)
        .build()
        .unwrap_or_default()
}

struct Driver {
    masters: Masters,
    subscribe: call::Subscribe,
    http: reqwest::Client,
    subscription: Arc<Mutex<Option<Subscription>>>,
    notices: mpsc::Sender<Notice>,
    session: Session,
    started: Instant,
}

/// A live stream and what was cut off at the end of its last chunk.
struct Stream {
    address: String,
    stream_id: String,
    answer: Response,
    decoder: Decoder,
    chunk: Bytes,
}

impl Driver {
    async fn run(mut self) {
        let mut stream: Option<Stream> = None;
        let mut effects = Vec::new();
        while let Some(input) = self.next_input(&mut stream).await {
            self.session.handle(self.now(), &input, &mut effects);
            while !effects.is_empty() {
                match effects.remove(0) {
                    Effect::Connect => {
                        let input = self.connect(&mut stream).await;
                        self.session.handle(self.now(), &input, &mut effects);
                    }
                    Effect::Disconnect => {
                        let silent = stream.take().map(|stream| stream.address);
                        self.disconnected(silent, "the master fell silent").await;
                    }
                    Effect::Stop => return self.set(None),
                }
            }
        }
        self.set(None);
    }

    fn now(&self) -> Time {
        Time::from_millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn set(&self, subscription: Option<Subscription>) {
        *self.subscription.lock().unwrap_or_else(PoisonError::into_inner) = subscription;
    }

    /// The deadline, the next event or the end of the stream; `None` when nobody listens any more.
    async fn next_input(&mut self, stream: &mut Option<Stream>) -> Option<Input> {
        let deadline = self.session.next_deadline()?;
        let wait = (deadline - self.now()).as_duration();
        let event = async {
            match stream {
                Some(stream) => stream.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.notices.closed() => None,
            () = tokio::time::sleep(wait) => Some(Input::Wake),
            event = event => match event {
                Ok(event) => {
                    let at = stream.as_ref().map(|stream| (stream.address.clone(), stream.stream_id.clone()));
                    self.heard(at, event).await
                }
                Err(reason) => {
                    let ended = stream.take();
                    self.disconnected(ended.map(|s| s.address), &reason).await;
                    Some(Input::Ended { again: false })
                }
            },
        }
    }

    /// `at` is the address and the id of the stream that the event came on.
    async fn heard(&mut self, at: Option<(String, String)>, event: Event) -> Option<Input> {
        let input = match event.r#type() {
            event::Type::Subscribed => {
                let subscribed = event.subscribed.as_ref()?;
                self.subscribe.framework_info.id = Some(subscribed.framework_id.clone());
                if let Some((address, stream_id)) = at {
                    let framework_id = subscribed.framework_id.clone();
                    self.set(Some(Subscription { address, stream_id, framework_id }));
                }
                let seconds = subscribed.heartbeat_interval_seconds.unwrap_or(HEARTBEAT);
                let fallback = Span::from_millis(15_000);
                Input::Subscribed { heartbeat: Span::from_secs_f64(seconds).unwrap_or(fallback) }
            }
            event::Type::Error => Input::Refused,
            _ => Input::Heard,
        };
        if event.r#type() != event::Type::Heartbeat {
            // A full queue makes us stop reading, which is what tells the master.
            self.notices.send(Notice::Event(Box::new(event))).await.ok()?;
        }
        Some(input)
    }

    /// One attempt to subscribe at the master that is likely to lead.
    async fn connect(&self, stream: &mut Option<Stream>) -> Input {
        let address = self.masters.guess();
        let call = Call {
            framework_id: self.subscribe.framework_info.id.clone(),
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(self.subscribe.clone()),
            ..Call::default()
        };
        let request = self
            .http
            .post(format!("http://{address}{PATH}"))
            .header(CONTENT_TYPE, media::PROTOBUF)
            .header(ACCEPT, media::PROTOBUF)
            .body(Codec::Protobuf.encode(&call));
        let request = Credentials::sign(self.masters.credentials(), request);
        let answer = match tokio::time::timeout(limits::ANSWER, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.no_luck(&address, &error.to_string()),
            Err(_) => return self.no_luck(&address, "it did not answer in time"),
        };
        self.opened(address, answer, stream).await
    }

    async fn opened(&self, address: String, answer: Response, stream: &mut Option<Stream>) -> Input {
        match answer.status() {
            StatusCode::OK => {
                let header = answer.headers().get(STREAM_ID).and_then(|value| value.to_str().ok());
                let stream_id = header.unwrap_or_default().to_owned();
                let decoder = Decoder::new(limits::EVENT_BYTES);
                *stream = Some(Stream { address, stream_id, answer, decoder, chunk: Bytes::new() });
                Input::Opened
            }
            StatusCode::TEMPORARY_REDIRECT => {
                // A master that names itself has just lost the lead: not worth asking again at once.
                let again = self.masters.redirected(answer.headers()) && self.masters.guess() != address;
                if !again {
                    self.masters.failed(&address);
                }
                Input::Ended { again }
            }
            status => {
                let message = body::refusal(answer).await;
                if status.is_client_error() {
                    // Nothing will change that but the operator, who has to hear of it.
                    tracing::warn!(master = address, %status, message, "the subscription is refused");
                }
                self.no_luck(&address, &format!("{status}: {message}"))
            }
        }
    }

    fn no_luck(&self, address: &str, reason: &str) -> Input {
        tracing::debug!(master = address, reason, "cannot subscribe");
        self.masters.failed(address);
        Input::Ended { again: false }
    }

    async fn disconnected(&self, address: Option<String>, reason: &str) {
        self.set(None);
        if let Some(address) = address {
            self.masters.failed(&address);
            tracing::info!(master = address, reason, "the subscription broke off");
            // Nobody listening is seen at the next turn.
            let _ = self.notices.send(Notice::Disconnected { reason: reason.to_owned() }).await;
        }
    }
}

impl Stream {
    async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(record) = self.decoder.decode(&mut self.chunk).map_err(|error| error.to_string())? {
                return Codec::Protobuf.decode(&record).map_err(|error| error.to_string());
            }
            self.chunk = match self.answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Err(error) => return Err(error.to_string()),
                Ok(None) => return Err("the master closed the stream".to_owned()),
            };
        }
    }
}
