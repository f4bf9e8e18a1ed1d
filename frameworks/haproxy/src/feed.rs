//! Follows the event stream: reads fast into a queue, and comes back when the stream ends.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::mpsc;
use tracing::{info, warn};
use wire::marathon::Event;

use crate::limits::{BACKOFF_FIRST, BACKOFF_MOST, FEED_STABLE};
use crate::shared::Shared;
use crate::sse::Decoder;
use crate::supervisors::{AskError, Supervisors};
use crate::throttle::Backoff;

/// A number that differs from sidecar to sidecar: enough to spread reconnections.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What the feed tells.
#[derive(Debug)]
pub(crate) enum News {
    /// A stream is open; events were missed since the last one.
    Attached,
    /// With the time of its arrival.
    Event(Instant, Box<Event>),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the stream broke: {0}")]
    Broken(reqwest::Error),
    #[error("the supervisor closed it")]
    Closed,
    #[error(transparent)]
    Line(#[from] crate::sse::LineTooLong),
    /// Nobody listens to the feed any more.
    #[error("the sidecar ends")]
    Unheard,
}

/// Follows until nobody listens.
pub(crate) async fn follow(supervisors: Arc<Supervisors>, shared: Arc<Shared>, news: mpsc::Sender<News>) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MOST);
    let mut decoder = Decoder::default();
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let ended = stream(&supervisors, &shared, &mut decoder, &news).await;
        let Err(ended) = ended else { return };
        if matches!(ended, Ended::Unheard) || news.is_closed() {
            return;
        }
        // What we saw last is no longer kept. Asked for again it would be refused for ever; what was missed is read with
        // the list that follows each attachment anyway.
        if matches!(ended, Ended::Ask(AskError::Status(StatusCode::GONE))) {
            decoder = Decoder::default();
        }
        shared.metrics.feed.set(0);
        shared.status().feed = None;
        warn!(supervisor = supervisors.current(), reason = %ended, "the event stream ended");
        if began.elapsed() >= Duration::from(FEED_STABLE) {
            backoff.reset();
            failures = 0;
        }
        supervisors.rotate();
        failures += 1;
        // Each supervisor is tried once before the wait grows.
        let most = if failures % supervisors.count() == 0 { backoff.wait() } else { BACKOFF_FIRST };
        let wait = random() % (most.as_millis() + 1);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

async fn stream(
    supervisors: &Supervisors,
    shared: &Shared,
    decoder: &mut Decoder,
    news: &mpsc::Sender<News>,
) -> Result<(), Ended> {
    decoder.reconnected();
    let mut response = supervisors.events(decoder.last_id()).await?;
    info!(supervisor = supervisors.current(), "following the event stream");
    shared.metrics.connections.inc();
    shared.metrics.feed.set(1);
    shared.status().feed = Some(supervisors.current().to_owned());
    news.send(News::Attached).await.map_err(|_| Ended::Unheard)?;
    while let Some(chunk) = response.chunk().await.map_err(Ended::Broken)? {
        let arrived = Instant::now();
        for frame in decoder.push(&chunk)? {
            shared.metrics.events.inc();
            // Events of other kinds than were asked for, or of a later version, mean nothing here.
            if let Ok(event) = Event::from_json(frame.data.as_bytes()) {
                news.send(News::Event(arrived, Box::new(event))).await.map_err(|_| Ended::Unheard)?;
            }
        }
    }
    Err(Ended::Closed)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::{IntoResponse, Response};
    use axum::routing::get;

    use super::*;

    /// As a supervisor whose window has moved past event 7: it has nothing for those who were last here then.
    async fn events(headers: HeaderMap) -> Response {
        if headers.contains_key("last-event-id") {
            return StatusCode::GONE.into_response();
        }
        let event = r#"{"eventType":"app_terminated_event","appId":"/a","timestamp":"t"}"#;
        format!("id: 7\ndata: {event}\n\n").into_response()
    }

    #[tokio::test]
    async fn a_feed_whose_last_event_is_gone_starts_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/v2/events", get(events))).await
        });
        let supervisors = Arc::new(Supervisors::new(vec![url], None, "east".to_owned()).unwrap());
        let (sender, mut news) = mpsc::channel(8);
        let feed = tokio::spawn(follow(supervisors, Arc::new(Shared::new().unwrap()), sender));
        // The stream ends after its one event; the next asks for what follows it, is refused, and begins without.
        for round in 0..2 {
            let heard = async { (news.recv().await, news.recv().await) };
            let heard = tokio::time::timeout(Duration::from_secs(30), heard).await.unwrap();
            assert!(
                matches!(heard, (Some(News::Attached), Some(News::Event(..)))),
                "round {round}: {heard:?}"
            );
        }
        feed.abort();
        server.abort();
    }
}
