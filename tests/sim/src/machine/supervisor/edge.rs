//! What a leading supervisor shows: its view and its event stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use marathon::core::id::AppId;
use marathon::core::instance::Instance;
use marathon::limits::{EVENT_WINDOW, EVENT_WINDOW_BYTES};
use marathon::supervisor::message::Published;
use marathon::supervisor::state::State;
use sdk::ring::{Event, Ring};

use crate::context::Context;
use crate::frame::Frame;
use crate::net::{ConnId, Host, Micros, SECOND};

/// Frames on their way to one reader; more wait in the window.
const READER_FRAMES: usize = 64;
/// Silence after which a reader gets a sign of life, as the server has it.
const KEEP_ALIVE: Micros = 10 * SECOND;

/// A reader of the event stream: a position in the window.
#[derive(Debug)]
struct Reader {
    seen: u64,
    /// When something was sent last.
    sent: Micros,
    kinds: &'static [&'static str],
    drainer: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Edge {
    host: Host,
    view: Option<Arc<State>>,
    ring: Option<Ring>,
    readers: BTreeMap<ConnId, Reader>,
}

impl Edge {
    pub(super) fn new(host: Host) -> Self {
        Self { host, view: None, ring: None, readers: BTreeMap::new() }
    }

    /// Whether there is something to be seen.
    pub(super) fn is_open(&self) -> bool {
        self.view.is_some()
    }

    pub(super) fn show(&mut self, view: Arc<State>) {
        self.view = Some(view);
    }

    /// Adds events; the drainers among the readers that were lost by it.
    pub(super) fn publish(&mut self, events: &[Arc<Published>], cx: &mut Context) -> Vec<String> {
        let ring = self.ring.get_or_insert_with(|| {
            // The first call of a leader brings the kept window.
            let before = events.first().map_or(0, |event| event.number - 1);
            Ring::new(before, EVENT_WINDOW, EVENT_WINDOW_BYTES)
        });
        for event in events {
            let data = Bytes::copy_from_slice(event.payload.as_bytes());
            ring.push(Event { id: event.number, kind: event.kind, data });
        }
        self.pump(cx)
    }

    /// Sends each reader what it has room for; the drainers among those that fell behind the window.
    pub(super) fn pump(&mut self, cx: &mut Context) -> Vec<String> {
        let Some(ring) = &self.ring else { return Vec::new() };
        let mut behind = Vec::new();
        for (conn, reader) in &mut self.readers {
            let Ok(events) = ring.after(reader.seen, READER_FRAMES, usize::MAX) else {
                behind.push(*conn);
                continue;
            };
            for event in events {
                if cx.under_way(*conn, self.host) >= READER_FRAMES {
                    break;
                }
                reader.seen = event.id;
                reader.sent = cx.now;
                if reader.kinds.is_empty() || reader.kinds.contains(&event.kind) {
                    let frame = Frame::AppEvent { number: event.id, kind: event.kind, data: event.data };
                    cx.send(*conn, self.host, frame);
                }
            }
            if cx.now >= reader.sent + KEEP_ALIVE {
                reader.sent = cx.now;
                cx.send(*conn, self.host, Frame::KeepAlive);
            }
        }
        behind.into_iter().filter_map(|conn| self.gone(conn, cx)).collect()
    }

    /// Begins a reader's stream; false when it asks for what is gone.
    pub(super) fn listen(
        &mut self,
        conn: ConnId,
        after: Option<u64>,
        kinds: &'static [&'static str],
        drainer: Option<String>,
        cx: &mut Context,
    ) -> bool {
        let Some(ring) = &self.ring else { return false };
        let seen = after.unwrap_or_else(|| ring.last());
        if ring.after(seen, 1, 0).is_err() {
            cx.send(conn, self.host, Frame::Refused { status: 410, text: "the events are gone".into() });
            cx.close(conn, self.host);
            return false;
        }
        cx.send(conn, self.host, Frame::Opened { stream: "events".to_owned() });
        self.readers.insert(conn, Reader { seen, sent: cx.now, kinds, drainer });
        self.pump(cx);
        true
    }

    pub(super) fn read(&mut self, conn: ConnId, app: Option<&str>, cx: &mut Context) {
        let app = app.map(|app| AppId::parse(app, &AppId::root()));
        let frame = match (&self.view, app.transpose()) {
            (Some(view), Ok(app)) => Frame::Apps(marathon::embedded(view, app.as_ref(), cx.clock(self.host))),
            (None, _) => Frame::Unavailable,
            (_, Err(error)) => Frame::Refused { status: 422, text: error.to_string() },
        };
        cx.send(conn, self.host, frame);
        cx.close(conn, self.host);
    }

    /// Whether a connection is that of a reader.
    pub(super) fn knows(&self, conn: ConnId) -> bool {
        self.readers.contains_key(&conn)
    }

    /// A connection is over; the drainer that was at its other end.
    pub(super) fn gone(&mut self, conn: ConnId, cx: &mut Context) -> Option<String> {
        cx.close(conn, self.host);
        self.readers.remove(&conn)?.drainer
    }

    /// This instance leads no more.
    pub(super) fn close(&mut self, cx: &mut Context) {
        for conn in std::mem::take(&mut self.readers).into_keys() {
            cx.close(conn, self.host);
        }
    }

    /// Deployments that are still under way.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let Some(view) = &self.view else { return Vec::new() };
        let waits = |app: &AppId| {
            let unwell = view.instances_of(app).filter(|instance| {
                let well =
                    view.definition_of(instance).is_some_and(|definition| instance.is_healthy(definition));
                !well || !instance.is_wanted()
            });
            let one = |instance: &Arc<Instance>| {
                let task = instance.task.as_ref().map_or("nothing", |task| task.id.as_str());
                format!("{} ({})", task, instance.condition.name())
            };
            format!("{app} waits for {:?}", unwell.map(one).collect::<Vec<_>>())
        };
        let locked = view.deployments.values().flat_map(|deployment| deployment.locks());
        locked.map(|app| format!("has yet to finish a deployment: {}", waits(app))).collect()
    }
}
