//! Answers that go on: a bounded queue in front of each, rendered beside the driver.
//!
//! One record is one HTTP chunk: clients exist that lose records otherwise. A reader that does not keep up loses its
//! stream; nothing else may wait for it.

use front::door::Connection;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use master_core::effect::{OperatorEvent, SchedulerEvent};
use master_core::input::{Input, Peer, StreamId};
use master_core::limits::{STREAM_BYTES, STREAM_RECORDS};
use master_core::render;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::Codec;
use wire::state::WatchRecord;

use crate::driver::Message;
use crate::limits;

/// A record on its way to a reader.
#[derive(Debug)]
pub(crate) enum Record {
    Event(SchedulerEvent),
    Notice(OperatorEvent),
    Watch(WatchRecord),
    /// Nothing for the reader: the core is told that all before it is on its way.
    Mark,
}

impl Record {
    /// The chunk; empty for a mark.
    fn encode(&self, codec: Codec) -> Bytes {
        match self {
            Self::Mark => Bytes::new(),
            Self::Event(event) => codec.encode_record(&render::scheduler_event(event)),
            Self::Notice(OperatorEvent::Subscribed { snapshot, heartbeat }) => {
                wire::recordio::encode(&render::subscribed(snapshot, *heartbeat, codec))
            }
            Self::Notice(event) => codec.encode_record(&render::operator_event(event)),
            Self::Watch(record) => {
                let body =
                    serde_json::to_vec(record).expect("a record has text keys and finite numbers only");
                wire::recordio::encode(&body)
            }
        }
    }

    /// Roughly what it holds on to or will be when rendered; exact sizes would cost the rendering.
    fn weight(&self) -> usize {
        const BASE: usize = 512;
        BASE + match self {
            Self::Event(SchedulerEvent::Offers(offers)) => offers.len() * 2048,
            Self::Event(SchedulerEvent::Message { data, .. }) => data.len(),
            Self::Event(SchedulerEvent::Update(status)) => status.data.as_ref().map_or(0, |data| data.len()),
            Self::Event(_) | Self::Notice(_) | Self::Mark => 0,
            Self::Watch(WatchRecord::Events { events, .. }) => events.iter().map(event_weight).sum(),
            Self::Watch(_) => 0,
        }
    }

    /// Rendering it takes long enough to be kept off the runtime's threads.
    fn is_large(&self) -> bool {
        matches!(self, Self::Notice(OperatorEvent::Subscribed { .. }))
            || self.weight() > limits::DECODE_ASIDE_BYTES
    }
}

fn event_weight(event: &wire::state::Event) -> usize {
    match event {
        wire::state::Event::Put { entry } => entry.key.len() + entry.value.0.len(),
        wire::state::Event::Delete { key, .. } => key.len(),
    }
}

/// The driver's end of a stream. Dropping it ends the stream in order.
pub(crate) struct StreamSender {
    queue: mpsc::Sender<(Record, usize)>,
    held: Arc<AtomicUsize>,
    connection: Connection,
}

impl StreamSender {
    /// False when the reader is too far behind: the connection is cut and the stream is over.
    pub(crate) fn send(&self, record: Record) -> bool {
        let weight = record.weight();
        let held = self.held.fetch_add(weight, Ordering::Relaxed) + weight;
        if held <= STREAM_BYTES && self.queue.try_send((record, weight)).is_ok() {
            return true;
        }
        self.connection.kill();
        false
    }
}

/// The reader's end, before the answer is known.
pub(crate) struct StreamReader {
    queue: mpsc::Receiver<(Record, usize)>,
    held: Arc<AtomicUsize>,
    connection: Connection,
    goodbye: Goodbye,
}

/// Both ends of a new stream.
pub(crate) fn stream(
    id: StreamId,
    connection: Connection,
    inbox: mpsc::Sender<Message>,
) -> (StreamSender, StreamReader) {
    let (sender, queue) = mpsc::channel(STREAM_RECORDS);
    let held = Arc::new(AtomicUsize::new(0));
    let sender = StreamSender { queue: sender, held: held.clone(), connection: connection.clone() };
    // From here on: a client that hangs up before its answer is there must be noticed as well.
    let goodbye = Goodbye { id, inbox };
    (sender, StreamReader { queue, held, connection, goodbye })
}

impl StreamReader {
    /// The body of the answer.
    pub(crate) fn into_body(self, codec: Codec) -> Body {
        let (chunks, rendered) = mpsc::channel(limits::RENDERED_AHEAD);
        let Self { queue, held, connection, goodbye } = self;
        let marks = Marks { id: goodbye.id.clone(), inbox: goodbye.inbox.clone() };
        tokio::spawn(pump(queue, held, connection, codec, chunks, marks));
        Body::new(Records { rendered, _goodbye: goodbye })
    }
}

async fn pump(
    mut queue: mpsc::Receiver<(Record, usize)>,
    held: Arc<AtomicUsize>,
    connection: Connection,
    codec: Codec,
    chunks: mpsc::Sender<Bytes>,
    marks: Marks,
) {
    while let Some((record, weight)) = queue.recv().await {
        if matches!(record, Record::Mark) {
            held.fetch_sub(weight, Ordering::Relaxed);
            marks.reached().await;
            continue;
        }
        let Some(chunk) = render(record, codec).await else { return };
        let sent = if queue.is_closed() {
            // The stream was ended: what is left must be read soon or not at all.
            timeout(limits::LAST_WORDS, chunks.send(chunk)).await
        } else {
            Ok(chunks.send(chunk).await)
        };
        match sent {
            Ok(Ok(())) => held.fetch_sub(weight, Ordering::Relaxed),
            Ok(Err(_)) => return,
            Err(_) => return connection.kill(),
        };
    }
}

/// Tells the driver how far a reader has got.
struct Marks {
    id: StreamId,
    inbox: mpsc::Sender<Message>,
}

impl Marks {
    async fn reached(&self) {
        let message = Message::Input(Box::new(Input::Reached(self.id.clone())));
        // It is gone when the master ends, and so is whoever would care.
        let _ = self.inbox.send(message).await;
    }
}

async fn render(record: Record, codec: Codec) -> Option<Bytes> {
    if record.is_large() {
        return tokio::task::spawn_blocking(move || record.encode(codec)).await.ok();
    }
    Some(record.encode(codec))
}

/// One frame a record, so one chunk a record.
struct Records {
    rendered: mpsc::Receiver<Bytes>,
    _goodbye: Goodbye,
}

impl http_body::Body for Records {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.rendered.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Tells the driver that the reader is gone, whichever way it went.
struct Goodbye {
    id: StreamId,
    inbox: mpsc::Sender<Message>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        let message = Message::Input(Box::new(Input::Closed(Peer::Stream(self.id.clone()))));
        if let Err(mpsc::error::TrySendError::Full(message)) = self.inbox.try_send(message) {
            // Not to be lost: the framework would count as connected for ever. At shutdown there is no runtime, and nobody
            // who cares.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let inbox = self.inbox.clone();
                runtime.spawn(async move { inbox.send(message).await.ok() });
            }
        }
    }
}
