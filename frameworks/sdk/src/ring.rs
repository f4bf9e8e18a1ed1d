//! The window of an event stream: the newest events, bounded by count and bytes, without clock or lock.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

/// An event as it goes to readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Higher than that of every event before.
    pub id: u64,
    /// What a filter looks at.
    pub kind: &'static str,
    /// The payload, encoded once for all readers.
    pub data: Bytes,
}

/// The events after the id are not all in the window any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("events after {asked} are asked for, but those up to {gone} are no longer kept")]
pub struct Gone {
    /// The last id the reader has.
    pub asked: u64,
    /// The newest id that was dropped.
    pub gone: u64,
}

/// The window.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
    /// The newest id that is not in the window: dropped, or before its beginning.
    gone: u64,
    last: u64,
}

impl Ring {
    /// A window that begins after the id `from`: readers that have seen less are told so.
    pub fn new(from: u64, most: usize, most_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, most, most_bytes, gone: from, last: from }
    }

    /// Adds an event. One whose id is not higher than the last is a repetition and left out.
    pub fn push(&mut self, event: Event) {
        if event.id <= self.last {
            return;
        }
        self.last = event.id;
        self.bytes += event.data.len();
        self.events.push_back(event);
        // The newest stays, however large.
        while self.events.len() > 1 && (self.events.len() > self.most || self.bytes > self.most_bytes) {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.data.len();
                self.gone = oldest.id;
            }
        }
    }

    /// Up to `most` events after the id `seen`, of up to `most_bytes` together; one at least, however large.
    ///
    /// # Errors
    /// Some of them are no longer kept.
    pub fn after(&self, seen: u64, most: usize, most_bytes: usize) -> Result<Vec<Event>, Gone> {
        if seen < self.gone {
            return Err(Gone { asked: seen, gone: self.gone });
        }
        let from = self.events.partition_point(|event| event.id <= seen);
        let mut bytes = 0;
        let next = self.events.range(from..).take(most).enumerate().take_while(|(at, event)| {
            bytes += event.data.len();
            *at == 0 || bytes <= most_bytes
        });
        Ok(next.map(|(_, event)| event.clone()).collect())
    }

    /// The id of the newest event, or where the window began.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: u64, size: usize) -> Event {
        Event { id, kind: "test", data: vec![b'x'; size].into() }
    }

    #[test]
    fn a_reader_that_is_behind_the_window_is_told_so() {
        let mut ring = Ring::new(10, 2, 1000);
        assert_eq!(ring.after(9, 5, 100), Err(Gone { asked: 9, gone: 10 }));
        assert_eq!(ring.after(10, 5, 100), Ok(vec![]));
        for id in 11..=14 {
            ring.push(event(id, 1));
        }
        assert_eq!(ring.after(11, 5, 100), Err(Gone { asked: 11, gone: 12 }));
        assert_eq!(ring.after(12, 5, 100), Ok(vec![event(13, 1), event(14, 1)]));
        assert_eq!(ring.after(12, 1, 100), Ok(vec![event(13, 1)]));
        assert_eq!(ring.after(12, 5, 1), Ok(vec![event(13, 1)]));
        assert_eq!(ring.after(12, 5, 0), Ok(vec![event(13, 1)]), "one however large");
    }

    proptest! {
        /// However readers and writers interleave: a reader sees every id in order, or is told that some are gone.
        #[test]
        fn no_reader_misses_an_event_unawares(steps in prop::collection::vec((1u64..4, 0usize..40, any::<bool>()), 1..200)) {
            let mut ring = Ring::new(0, 8, 200);
            let mut all = Vec::new();
            let mut seen = 0;
            for (gap, size, read) in steps {
                let id = ring.last() + gap;
                ring.push(event(id, size));
                all.push(id);
                prop_assert!(ring.len() <= 8);
                prop_assert!(ring.len() == 1 || ring.bytes <= 200);
                if read {
                    let wanted: Vec<u64> = all.iter().copied().filter(|id| *id > seen).collect();
                    match ring.after(seen, usize::MAX, usize::MAX) {
                        Ok(got) => prop_assert_eq!(got.iter().map(|e| e.id).collect::<Vec<_>>(), wanted),
                        Err(gone) => prop_assert!(wanted[0] <= gone.gone),
                    }
                    seen = id;
                }
            }
        }
    }
}
