//! An event stream for many readers, with the form of server-sent events.
//!
//! There is one window of events ([`Ring`]) and no queue per reader: a reader is a position in it. A thousand readers cost
//! a thousand positions, and one that never reads costs no more; when the window has moved past it, it loses its stream.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::limits;
use crate::ring::{Event, Gone, Ring};

/// The writer's side, and where readers come from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    ring: Arc<Mutex<Ring>>,
    /// The id of the newest event; closed with the hub.
    newest: Arc<watch::Sender<u64>>,
}

/// Why a reader's stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It did not keep up, or asked for what is gone: it must read the whole state and start anew.
    Behind(Gone),
    /// The hub was closed: this process does not lead any more.
    Closed,
}

impl Hub {
    /// A hub whose first event has an id above `from`.
    pub fn new(from: u64, most: usize, most_bytes: usize) -> Self {
        let ring = Arc::new(Mutex::new(Ring::new(from, most, most_bytes)));
        Self { ring, newest: Arc::new(watch::Sender::new(from)) }
    }

    /// Adds events, in order, and wakes the readers once.
    pub fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let mut ring = self.lock();
        for event in events {
            ring.push(event);
        }
        let last = ring.last();
        drop(ring);
        self.newest.send_if_modified(|newest| std::mem::replace(newest, last) != last);
    }

    /// A reader of what comes, or, with the id of the last event it has seen, of all since.
    ///
    /// # Errors
    /// Some of them are no longer kept.
    pub fn read(&self, last_seen: Option<u64>) -> Result<Reader, Gone> {
        let newest = self.newest.subscribe();
        let ring = self.lock();
        let seen = last_seen.unwrap_or_else(|| ring.last());
        ring.after(seen, 1, 0)?;
        drop(ring);
        Ok(Reader { ring: self.ring.clone(), newest, seen })
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.newest.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // The ring is whole between its methods, so a writer that panicked has not broken it.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reader's position.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Receiver<u64>,
    seen: u64,
}

impl Reader {
    /// The next events, at least one.
    ///
    /// # Errors
    /// See [`End`].
    pub async fn next(&mut self) -> Result<Vec<Event>, End> {
        loop {
            self.newest.borrow_and_update();
            let events = {
                let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
                ring.after(self.seen, limits::BATCH, limits::BATCH_BYTES).map_err(End::Behind)?
            };
            if let Some(last) = events.last() {
                self.seen = last.id;
                return Ok(events);
            }
            self.newest.changed().await.map_err(|_| End::Closed)?;
        }
    }
}

/// An event as it stands on the wire. The payload must be one line, as JSON is.
pub fn frame(event: &Event) -> Bytes {
    let mut text = String::with_capacity(event.data.len() + 64);
    // Writing to a string does not fail.
    let _ = write!(text, "id: {}\r\nevent: {}\r\ndata: ", event.id, event.kind);
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&event.data);
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.into()
}

/// An empty line, which readers skip: it keeps the connection alive and shows a dead one.
pub const KEEP_ALIVE: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> Event {
        Event { id, kind: "test_event", data: Bytes::from_static(b"{}") }
    }

    #[tokio::test]
    async fn a_reader_gets_what_comes_and_what_it_missed() {
        let hub = Hub::new(0, 100, 10_000);
        hub.publish([event(1), event(2)]);
        let mut fresh = hub.read(None).unwrap();
        let mut back = hub.read(Some(1)).unwrap();
        hub.publish([event(3)]);
        assert_eq!(fresh.next().await, Ok(vec![event(3)]));
        assert_eq!(back.next().await, Ok(vec![event(2), event(3)]));
    }

    #[tokio::test]
    async fn a_slow_reader_loses_its_stream() {
        let hub = Hub::new(0, 10, 10_000);
        let mut slow = hub.read(None).unwrap();
        hub.publish((1..=11).map(event));
        assert_eq!(slow.next().await, Err(End::Behind(Gone { asked: 0, gone: 1 })));
    }

    #[tokio::test]
    async fn a_closed_hub_ends_its_readers_after_the_last_event() {
        let hub = Hub::new(0, 10, 10_000);
        let mut reader = hub.read(None).unwrap();
        hub.publish([event(1)]);
        drop(hub);
        assert_eq!(reader.next().await, Ok(vec![event(1)]));
        assert_eq!(reader.next().await, Err(End::Closed));
    }

    #[test]
    fn the_frame_is_that_of_server_sent_events() {
        assert_eq!(frame(&event(7)), Bytes::from_static(b"id: 7\r\nevent: test_event\r\ndata: {}\r\n\r\n"));
    }
}
