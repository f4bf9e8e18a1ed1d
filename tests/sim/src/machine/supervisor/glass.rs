//! What readers are shown, until the machine has looked at it.

use std::sync::{Arc, Mutex};

use marathon::driver::Windows;
use marathon::supervisor::message::Published;
use marathon::supervisor::state::State;

/// Filled by the core, emptied by the machine.
#[derive(Debug, Default)]
pub(super) struct Glass(Mutex<Vec<Shown>>);

#[derive(Debug)]
pub(super) enum Shown {
    Events(Vec<Arc<Published>>),
    View(Arc<State>),
}

impl Glass {
    fn put(&self, shown: Shown) {
        self.0.lock().expect("nobody panics with it").push(shown);
    }

    pub(super) fn take(&self) -> Vec<Shown> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

impl Windows for Glass {
    fn publish(&self, events: Vec<Arc<Published>>) {
        self.put(Shown::Events(events));
    }

    fn show(&self, view: Arc<State>) {
        self.put(Shown::View(view));
    }

    fn close(&self) {}
}
