//! Status updates of one task: in order, one in flight, kept until acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use model::task::TaskState;
use model::time::{Span, Time};
use wire::v1;

use crate::ids::Uuid;
use crate::limits;

/// One status update. The status itself is made once and only carried.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub uuid: Uuid,
    pub state: TaskState,
    pub at: Time,
    /// Whether it only reports a check of a running task: of several such in a row the last one tells all.
    pub report: bool,
    pub status: Arc<v1::TaskStatus>,
}

/// What became of a pushed update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits at the end of the stream, perhaps in place of an older report.
    Queued,
    /// Its uuid was here before.
    Duplicate,
}

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Acked {
    /// It names no update in flight: a repeated one, or from before a restart.
    Stale,
    /// The next update may go.
    Next,
    /// All have been acknowledged for now.
    Empty,
    /// The terminal update was acknowledged: the stream is closed.
    Closed,
}

/// The updates of one task that are not acknowledged, oldest first. The first one is in flight.
///
/// The length is bounded by the states a task passes through plus one report: reports of checks behind the one
/// in flight replace each other. Otherwise a task whose health flaps while its scheduler is away would fill the
/// memory and the disk of its agent.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pending: VecDeque<Arc<Update>>,
    acknowledged: VecDeque<Uuid>,
    delay: Span,
}

impl Default for Stream {
    fn default() -> Self {
        Self { pending: VecDeque::new(), acknowledged: VecDeque::new(), delay: limits::RETRY_FIRST }
    }
}

impl Stream {
    /// Appends an update unless its uuid was seen.
    pub(crate) fn push(&mut self, update: Arc<Update>) -> Pushed {
        if self.knows(update.uuid) {
            return Pushed::Duplicate;
        }
        // The one in flight stays: its acknowledgement may be on the way.
        let waiting = self.pending.len() > 1;
        if waiting && update.report && self.pending.back().is_some_and(|last| last.report) {
            self.pending.pop_back();
        }
        self.pending.push_back(update);
        Pushed::Queued
    }

    /// Whether an update of this uuid was here, as far back as is remembered.
    pub(crate) fn knows(&self, uuid: Uuid) -> bool {
        self.acknowledged.contains(&uuid) || self.pending.iter().any(|update| update.uuid == uuid)
    }

    /// The update in flight.
    pub(crate) fn head(&self) -> Option<&Arc<Update>> {
        self.pending.front()
    }

    /// All updates not acknowledged, oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.pending.iter()
    }

    pub(crate) fn acknowledge(&mut self, uuid: Uuid) -> Acked {
        if self.head().is_none_or(|head| head.uuid != uuid) {
            return Acked::Stale;
        }
        let terminal = self.pending.pop_front().is_some_and(|update| update.state.is_terminal());
        self.acknowledged.push_back(uuid);
        if self.acknowledged.len() > limits::UUIDS_REMEMBERED {
            self.acknowledged.pop_front();
        }
        self.delay = limits::RETRY_FIRST;
        match (terminal, self.pending.is_empty()) {
            (true, _) => Acked::Closed,
            (false, true) => Acked::Empty,
            (false, false) => Acked::Next,
        }
    }

    /// The wait before the next try; the one after will be twice as long.
    pub(crate) fn next_delay(&mut self) -> Span {
        let delay = self.delay;
        self.delay = delay.saturating_mul(2).min(limits::RETRY_MAX);
        delay
    }

    /// A new link or a returned scheduler: start over with short waits.
    pub(crate) fn reset_delay(&mut self) {
        self.delay = limits::RETRY_FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(n: u8, state: TaskState, report: bool) -> Arc<Update> {
        let status = Arc::new(v1::TaskStatus::default());
        Arc::new(Update { uuid: Uuid([n; 16]), state, at: Time::ZERO, report, status })
    }

    fn order(stream: &Stream) -> Vec<u8> {
        stream.pending().map(|u| u.uuid.0[0]).collect()
    }

    #[test]
    fn one_in_flight_and_in_order() {
        let mut stream = Stream::default();
        stream.push(update(1, TaskState::Starting, false));
        stream.push(update(2, TaskState::Running, false));
        assert_eq!(stream.acknowledge(Uuid([2; 16])), Acked::Stale);
        assert_eq!(stream.acknowledge(Uuid([1; 16])), Acked::Next);
        assert_eq!(stream.acknowledge(Uuid([1; 16])), Acked::Stale);
        assert_eq!(stream.acknowledge(Uuid([2; 16])), Acked::Empty);
        stream.push(update(3, TaskState::Finished, false));
        assert_eq!(stream.acknowledge(Uuid([3; 16])), Acked::Closed);
    }

    #[test]
    fn a_repeated_uuid_is_dropped_before_and_after_its_acknowledgement() {
        let mut stream = Stream::default();
        stream.push(update(1, TaskState::Running, false));
        assert_eq!(stream.push(update(1, TaskState::Running, false)), Pushed::Duplicate);
        stream.acknowledge(Uuid([1; 16]));
        assert_eq!(stream.push(update(1, TaskState::Running, false)), Pushed::Duplicate);
    }

    #[test]
    fn waiting_reports_replace_each_other_but_never_the_one_in_flight() {
        let mut stream = Stream::default();
        stream.push(update(1, TaskState::Running, true));
        for n in 2..100 {
            assert_eq!(stream.push(update(n, TaskState::Running, true)), Pushed::Queued);
            assert_eq!(order(&stream), [1, n]);
        }
        stream.push(update(100, TaskState::Killing, false));
        stream.push(update(101, TaskState::Killed, false));
        assert_eq!(order(&stream), [1, 99, 100, 101]);
    }

    #[test]
    fn waits_double_up_to_ten_minutes_and_start_over() {
        let mut stream = Stream::default();
        stream.push(update(1, TaskState::Running, false));
        let waits: Vec<u64> = (0..8).map(|_| stream.next_delay().as_millis() / 1000).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
        stream.acknowledge(Uuid([1; 16]));
        assert_eq!(stream.next_delay(), limits::RETRY_FIRST);
    }
}
