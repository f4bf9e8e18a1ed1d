//! `GET /v2/events`: the event stream of one reader.
//!
//! Readers are positions in one window of events (see [`sdk::hub`]); what is made for each is only the bytes of its own
//! filter. One that does not read fills its connection's buffers and nothing else, falls behind the window, and is closed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use sdk::hub::{self, Reader};
use sdk::ring;
use wire::marathon::{Event, lighten};

use super::query::Query;
use super::reply::{Answer, Failure};
use super::{Api, reply};
use crate::core::events::UNCLASSIC;
use crate::core::version::stamp;
use crate::driver::engine::Request;
use crate::limits;
use model::time::Time;

/// A quiet stream says something this often, so that both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a reader asked for.
struct Wanted {
    kinds: BTreeSet<String>,
    light: bool,
    unclassic: bool,
}

impl Wanted {
    fn from(query: &Query) -> Self {
        Self {
            kinds: query.all("event_type").map(str::to_owned).collect(),
            light: query.first("plan-format") == Some("light"),
            unclassic: query.first("drainer").is_some(),
        }
    }

    /// Kinds that strict clients choke on go only to those who name them, or who announce themselves as balancers.
    fn takes(&self, kind: &str) -> bool {
        if self.kinds.is_empty() { self.unclassic || !UNCLASSIC.contains(&kind) } else { self.kinds.contains(kind) }
    }

    fn frame(&self, event: &ring::Event) -> Option<Bytes> {
        if !self.takes(event.kind) {
            return None;
        }
        if !self.light {
            return Some(hub::frame(event));
        }
        let mut payload = serde_json::from_slice(&event.data).ok()?;
        lighten(&mut payload);
        Some(hub::frame(&ring::Event { data: payload.to_string().into(), ..event.clone() }))
    }
}

/// Opens a stream.
///
/// A `Last-Event-ID` within the window is continued without a gap, also after a change of leader; one that lies before it
/// is answered with 409, because going on would hide a gap: such a reader reads the whole state and opens a fresh stream.
pub(super) fn open(api: &Api, now: Time, client: &str, headers: &HeaderMap, query: &Query) -> Answer {
    check_accept(headers)?;
    let drainer = drainer(query)?;
    let hub = api.hub().ok_or_else(Failure::not_loaded)?;
    let last = last_event_id(headers)?;
    let reader = hub.read(last).map_err(|gone| reply::Failure::new(StatusCode::CONFLICT, gone.to_string()))?;
    let wanted = Wanted::from(query);
    let attached = Event::EventStreamAttached { remote_address: client.to_owned() }.to_json(&stamp(now));
    let first = wanted.takes("event_stream_attached").then(|| attached_frame(&attached.to_string()));
    let guard = drainer.map(|name| Drainer::connect(api, name));
    let stream = Stream { reader, wanted, first, _guard: guard };
    let bytes = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    let mut response = Response::new(Body::from_stream(bytes));
    let kind = HeaderValue::from_static("text/event-stream;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The reader's own first event has no number: it is not part of the stream that others see.
fn attached_frame(payload: &str) -> Bytes {
    format!("event: event_stream_attached\r\ndata: {payload}\r\n\r\n").into()
}

fn check_accept(headers: &HeaderMap) -> Result<(), Failure> {
    let mut given = headers.get_all(header::ACCEPT).iter().peekable();
    let takes = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',').any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "text/*", "*/*"].contains(&kind)
        })
    };
    if given.peek().is_none() || given.any(takes) { Ok(()) } else { Err(Failure::status(StatusCode::METHOD_NOT_ALLOWED)) }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    let text = "Last-Event-ID must be the number of an event, as its `id:` line gave it";
    number.map(Some).ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, text))
}

fn drainer(query: &Query) -> Result<Option<String>, Failure> {
    match query.first("drainer") {
        None => Ok(None),
        Some(name) if !name.is_empty() && name.len() <= limits::DRAINER_NAME_BYTES => Ok(Some(name.to_owned())),
        Some(_) => {
            let text = format!("drainer must be a name of 1 to {} bytes", limits::DRAINER_NAME_BYTES);
            Err(Failure::new(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// Announces a balancer for as long as its stream lives.
struct Drainer {
    api: Api,
    name: String,
}

impl Drainer {
    fn connect(api: &Api, name: String) -> Self {
        tell(api, Request::DrainerConnected { name: name.clone() });
        Self { api: api.clone(), name }
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        tell(&self.api, Request::DrainerDisconnected { name: self.name.clone() });
    }
}

/// Waits in a task of its own: a full queue must not lose the news, nor block the one who drops a stream.
fn tell(api: &Api, change: Request) {
    if let Err(full) = api.around.requests.try_send(change) {
        let (api, change) = (api.clone(), full.into_inner());
        // A supervisor that has ended waits for nobody.
        tokio::spawn(async move { api.around.requests.send(change).await.is_ok() });
    }
}

struct Stream {
    reader: Reader,
    wanted: Wanted,
    first: Option<Bytes>,
    _guard: Option<Drainer>,
}

impl Stream {
    /// The next bytes; `None` closes the stream, for a reader that is behind and when leadership ends.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let events = match tokio::time::timeout(KEEP_ALIVE, self.reader.next()).await {
                Ok(Ok(events)) => events,
                Ok(Err(end)) => {
                    tracing::info!(?end, "an event stream was closed");
                    return None;
                }
                Err(_) => return Some(Bytes::from_static(hub::KEEP_ALIVE)),
            };
            let mut bytes = Vec::new();
            for frame in events.iter().filter_map(|event| self.wanted.frame(event)) {
                bytes.extend_from_slice(&frame);
            }
            if !bytes.is_empty() {
                return Some(bytes.into());
            }
        }
    }
}
