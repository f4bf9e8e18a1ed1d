//! What will happen, in order: by time, and at one time in the order it was put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::net::Micros;

/// A queue of events. The heap holds where they lie and not the events themselves, which are large and would be moved at
/// each step of each sort.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    places: Vec<Option<T>>,
    free: Vec<usize>,
    numbers: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), places: Vec::new(), free: Vec::new(), numbers: 0 }
    }
}

impl<T> Queue<T> {
    /// Puts an event in that happens at a time.
    pub(crate) fn push(&mut self, at: Micros, event: T) {
        self.numbers += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(event);
        self.heap.push(Reverse((at, self.numbers, place)));
    }

    /// The next event that happens until `end`, and when.
    pub(crate) fn pop(&mut self, end: Micros) -> Option<(Micros, T)> {
        let Reverse((at, _, place)) = *self.heap.peek().filter(|Reverse((at, ..))| *at <= end)?;
        self.heap.pop();
        self.free.push(place);
        Some((at, self.places[place].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_and_then_as_they_came() {
        let mut queue = Queue::default();
        for (at, name) in [(5, "c"), (3, "a"), (5, "d"), (3, "b"), (9, "e")] {
            queue.push(at, name);
        }
        assert_eq!(queue.pop(2), None);
        let mut seen = Vec::new();
        while let Some((_, name)) = queue.pop(8) {
            seen.push(name);
            // A place that has become free is used again, and changes no order.
            if name == "a" {
                queue.push(4, "between");
            }
        }
        assert_eq!(seen, ["a", "b", "between", "c", "d"]);
        assert_eq!(queue.pop(9), Some((9, "e")));
    }
}
