//! What the API's readers look through: nothing is to be seen while this process does not lead.

use std::sync::Arc;

use bytes::Bytes;
use sdk::hub::Hub;
use sdk::ring::Event;
use tokio::sync::watch;

use super::framework::Windows;
use crate::limits;
use crate::supervisor::message::Published;
use crate::supervisor::state::State;

/// The writer's side of the view and the event stream.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) view: watch::Sender<Option<Arc<State>>>,
    pub(crate) hub: watch::Sender<Option<Hub>>,
}

impl Windows for Channels {
    fn publish(&self, events: Vec<Arc<Published>>) {
        let ring_event = |event: &Arc<Published>| Event {
            id: event.number,
            kind: event.kind,
            data: Bytes::copy_from_slice(event.payload.as_bytes()),
        };
        let hub = self.hub.borrow().clone();
        let hub = hub.unwrap_or_else(|| {
            // The first call of a leader brings the kept window.
            let before = events.first().map_or(0, |event| event.number - 1);
            let hub = Hub::new(before, limits::EVENT_WINDOW, limits::EVENT_WINDOW_BYTES);
            self.hub.send_replace(Some(hub.clone()));
            hub
        });
        hub.publish(events.iter().map(ring_event));
    }

    fn show(&self, view: Arc<State>) {
        self.view.send_replace(Some(view));
    }

    fn close(&self) {
        self.view.send_replace(None);
        self.hub.send_replace(None);
    }
}
