//! Watching: every change under a prefix once and in order, from views of the registry.
//!
//! A watcher is a position, not a subscription: nothing of it is in the registry. Whoever serves it asks for the
//! next batch after each commit, or when its reader has room again. Between two asks nothing is buffered, so a
//! slow reader costs nothing; one that is slower than the history is long is told so.

use super::{Event, Index, Registry, Text};

/// Revisions looked at in one batch, matching or not: bounds the time of one step.
const SCAN_REVISIONS: usize = 4_096;
/// A batch ends with the revision that reaches this many events.
const BATCH_EVENTS: usize = 512;
/// A batch ends with the revision that reaches this many bytes of keys and values.
const BATCH_BYTES: u64 = 1 << 20;

/// A reader's position in the changes of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    namespace: Text,
    prefix: Text,
    /// The first revision not yet told.
    next: Index,
}

/// The next events of a watcher. Whole revisions, never a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Every event up to this revision has been told, with this batch.
    pub through: Index,
    pub events: Vec<(Index, Event)>,
    /// The batch was cut short: ask again.
    pub more: bool,
}

/// Events the watcher has not been told are no longer kept. Read the keys, then watch from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events up to revision {revision} are no longer kept")]
pub struct Compacted {
    /// The newest revision dropped.
    pub revision: Index,
}

impl Watcher {
    /// A reader of the changes from revision `from` on. After a read at revision r, r + 1 misses nothing.
    pub fn new(namespace: Text, prefix: Text, from: Index) -> Self {
        // Revision 0 is before the first command.
        Self { namespace, prefix, next: from.max(1) }
    }

    pub fn namespace(&self) -> &Text {
        &self.namespace
    }

    /// The first revision not yet told.
    pub fn next(&self) -> Index {
        self.next
    }

    /// Goes on behind a revision up to which there was nothing for this reader, as [`Registry::touched`] has shown. It
    /// would find that out by itself, but only by looking through all that others have changed.
    pub fn skip(&mut self, through: Index) {
        #[cfg(feature = "mutants")]
        if mutant::planted("watch-repeats-an-event") {
            return;
        }
        self.next = self.next.max(through.saturating_add(1));
    }

    /// The next batch as of this view. Empty, with `through` moved on, when nothing matched.
    ///
    /// # Errors
    /// [`Compacted`]; the watcher stays where it was and cannot go on.
    pub fn poll(&mut self, view: &Registry) -> Result<Batch, Compacted> {
        let history = view.store.history();
        let forgotten = self.next <= history.compacted();
        #[cfg(feature = "mutants")]
        let forgotten = forgotten && !mutant::planted("compaction-is-not-told");
        if forgotten {
            return Err(Compacted { revision: history.compacted() });
        }
        // A view older than the position, as from a master that lags, has nothing to tell.
        let mut through = view.index().max(self.next.saturating_sub(1));
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut more = false;
        for (scanned, revision) in history.since(self.next).enumerate() {
            if scanned == SCAN_REVISIONS || events.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES {
                through = revision.revision - 1;
                more = true;
                break;
            }
            for event in revision.events.iter().filter(|event| self.wants(event)) {
                bytes += event.bytes();
                events.push((revision.revision, event.clone()));
            }
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("watch-loses-an-event") && through.is_multiple_of(16) {
            events.clear();
        }
        self.next = through.saturating_add(1);
        #[cfg(feature = "mutants")]
        if mutant::planted("watch-repeats-an-event") && through.is_multiple_of(16) {
            self.next = through;
        }
        Ok(Batch { through, events, more })
    }

    fn wants(&self, event: &Event) -> bool {
        *event.namespace() == self.namespace && event.key().starts_with(&*self.prefix)
    }
}
