//! `/v2/events`: server-sent events, numbered and resumable.
//!
//! Each event has an `id`. A reader that was cut off sends the last one it saw as `Last-Event-ID` and gets what it
//! missed, from this leader or the next, as long as it is within the kept window (`limits::EVENT_WINDOW`). A reader
//! that asks for more gets 410 Gone, one that falls behind loses its stream: it reads the whole state and starts anew.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use sdk::hub::{self, KEEP_ALIVE, Reader};
use sdk::ring::Event;
use serde_json::Value;
use wire::marathon::lighten;

use super::{now, wrong_method};
use crate::core::events::UNCLASSIC;
use crate::core::version::stamp;
use crate::http::respond::{Answered, Problem, forbid_caching};
use crate::http::{Api, Call};
use crate::limits;

pub(in crate::http) const STREAM: &str = "text/event-stream;charset=utf-8";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn stream(api: &Api, call: &Call) -> Answered {
    if call.method() != Method::GET {
        return Err(wrong_method());
    }
    let wanted = Wanted::read(call)?;
    let last_seen = last_seen(call)?;
    // The hub comes with the first view.
    api.view().await?;
    let hub = api.hub().ok_or_else(|| Problem::Unavailable("this instance has ceased to lead".to_owned()))?;
    let reader = hub.read(last_seen).map_err(|_| Problem::Status(StatusCode::GONE))?;
    let drainer = match call.query.get("drainer") {
        Some(name) => Some(Drainer::connect(api, name).await?),
        None => None,
    };
    let attached = wanted.attached(call);
    let state = Streaming { reader, wanted, first: attached, _drainer: drainer };
    let mut response = Response::new(Body::from_stream(stream::unfold(state, next)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(STREAM));
    forbid_caching(response.headers_mut());
    Ok(response)
}

fn last_seen(call: &Call) -> Result<Option<u64>, Problem> {
    let Some(text) = call.parts.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let number = text.trim().parse().map(Some);
    number
        .map_err(|_| Problem::BadRequest(format!("Last-Event-ID '{}' must be a number", text.escape_debug())))
}

/// What a reader asked for.
struct Wanted {
    /// Empty means all that every client knows.
    types: BTreeSet<String>,
    /// Without the trees of deployments.
    light: bool,
    drainer: bool,
}

impl Wanted {
    fn read(call: &Call) -> Result<Self, Problem> {
        let types: BTreeSet<String> = call.query.all("event_type").map(str::to_owned).collect();
        let light = call.query.get("plan-format").is_some_and(|format| format.eq_ignore_ascii_case("light"));
        Ok(Self { types, light, drainer: call.query.get("drainer").is_some() })
    }

    fn wants(&self, kind: &str) -> bool {
        if self.drainer && kind == "instance_draining_event" {
            return true;
        }
        // Clients that name nothing get what the original sent: some of them stop at a type they do not know.
        if self.types.is_empty() { !UNCLASSIC.contains(&kind) } else { self.types.contains(kind) }
    }

    fn frame(&self, event: &Event) -> Bytes {
        let heavy = self.light && event.kind.starts_with("deployment_");
        let light =
            heavy.then(|| serde_json::from_slice::<Value>(&event.data).ok()).flatten().map(|mut payload| {
                lighten(&mut payload);
                Event { data: payload.to_string().into(), ..event.clone() }
            });
        hub::frame(light.as_ref().unwrap_or(event))
    }

    /// The first event of each stream tells of the reader itself. It has no number: nobody can have missed it.
    fn attached(&self, call: &Call) -> Option<Bytes> {
        const KIND: &str = "event_stream_attached";
        self.wants(KIND).then(|| {
            let address = call.from.ip().to_string();
            let payload = wire::marathon::Event::EventStreamAttached { remote_address: address };
            format!("event: {KIND}\r\ndata: {}\r\n\r\n", payload.to_json(&stamp(now()))).into()
        })
    }
}

/// A drainer's presence: it ends with its stream.
struct Drainer {
    api: Api,
    name: String,
}

impl Drainer {
    async fn connect(api: &Api, name: &str) -> Result<Self, Problem> {
        let fine =
            (1..=limits::DRAINER_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        if !fine {
            let most = limits::DRAINER_NAME_BYTES;
            return Err(Problem::BadRequest(format!("drainer must be a name of 1 to {most} characters")));
        }
        if api.view_now().is_some_and(|state| state.drains.known().count() >= limits::DRAINERS) {
            return Err(Problem::Unavailable(format!("there are {} drainers already", limits::DRAINERS)));
        }
        let told = name.to_owned();
        api.tell(move |framework, step| framework.drainer_connected(told, step)).await;
        Ok(Self { api: api.clone(), name: name.to_owned() })
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        let (api, name) = (self.api.clone(), std::mem::take(&mut self.name));
        tokio::spawn(async move {
            api.tell(move |framework, step| framework.drainer_disconnected(name, step)).await;
        });
    }
}

struct Streaming {
    reader: Reader,
    wanted: Wanted,
    first: Option<Bytes>,
    _drainer: Option<Drainer>,
}

/// The next bytes of a stream: its greeting, events, or a sign of life.
async fn next(mut stream: Streaming) -> Option<(Result<Bytes, Infallible>, Streaming)> {
    if let Some(first) = stream.first.take() {
        return Some((Ok(first), stream));
    }
    loop {
        let Ok(events) = tokio::time::timeout(limits::KEEP_ALIVE, stream.reader.next()).await else {
            return Some((Ok(Bytes::from_static(KEEP_ALIVE)), stream));
        };
        let frames: Vec<Bytes> = events
            .ok()?
            .iter()
            .filter(|event| stream.wanted.wants(event.kind))
            .map(|event| stream.wanted.frame(event))
            .collect();
        if !frames.is_empty() {
            return Some((Ok(frames.concat().into()), stream));
        }
    }
}
