//! The links to agents: frames in, orders out.

use front::door::Connection;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use master_core::effect::AgentOrder;
use master_core::input::{Input, LinkId, Peer, Term};
use master_core::render;
use master_core::report::AgentReport;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use wire::link::ToMaster;
use wire::{protobuf, recordio};

use crate::app::App;
use crate::driver::Message;
use crate::limits;
use crate::wireup::Stream;

/// The name of the protocol in the upgrade.
pub(crate) const PROTOCOL: &str = "stoa-link/1";

const READ_AHEAD: usize = 64 << 10;

/// The driver's end of a link. Dropping it lets the last words out, then hangs up.
pub(crate) struct LinkSender {
    orders: mpsc::Sender<(Term, AgentOrder)>,
    cut: Arc<Notify>,
}

impl LinkSender {
    /// False when the agent does not take what it is sent: the link is cut.
    pub(crate) fn send(&self, term: Term, order: AgentOrder) -> bool {
        let sent = self.orders.try_send((term, order)).is_ok();
        if !sent {
            self.cut.notify_one();
        }
        sent
    }
}

/// Carries a link until either side ends it.
pub(crate) async fn carry(app: Arc<App>, stream: Stream, connection: Connection) {
    let id = app.link_id();
    let (orders, outbox) = mpsc::channel(limits::LINK_FRAMES);
    let cut = Arc::new(Notify::new());
    let sender = LinkSender { orders, cut: cut.clone() };
    if app.inbox.send(Message::Linked { id, sender }).await.is_err() {
        return;
    }
    let (reader, writer) = tokio::io::split(stream);
    let ip: Arc<str> = connection.peer.ip().to_string().into();
    let why = tokio::select! {
        why = read(&app, id, &ip, reader) => why,
        why = write(writer, outbox) => why,
        () = cut.notified() => "the agent takes too long to read".to_owned(),
        () = connection.killed() => "cut".to_owned(),
    };
    tracing::debug!(link = id.0, agent = %ip, why, "link ended");
    // The driver ignores it for a link that it closed itself.
    let _ = app.inbox.send(Message::Input(Box::new(Input::Closed(Peer::Link(id))))).await;
}

/// Reads frames until the link ends; why it did.
async fn read(app: &App, id: LinkId, ip: &Arc<str>, mut reader: ReadHalf<Stream>) -> String {
    let mut decoder = recordio::Decoder::new(limits::LINK_FRAME_BYTES);
    let mut buffer = BytesMut::with_capacity(READ_AHEAD);
    let mut greeted = false;
    loop {
        let more = reader.read_buf(&mut buffer);
        let read = if greeted {
            more.await
        } else {
            match timeout(limits::GREETING_TIME, more).await {
                Ok(read) => read,
                Err(_) => return "no greeting".to_owned(),
            }
        };
        match read {
            Ok(0) => return "the agent closed it".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        let mut input = buffer.split().freeze();
        while input.has_remaining() {
            let payload = match decoder.decode(&mut input) {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(error) => return error.to_string(),
            };
            let report = match report(&payload, ip) {
                Ok(report) => report,
                Err(why) => {
                    // Worth a line: nothing but a broken or foreign program sends such a frame.
                    tracing::warn!(link = id.0, agent = %ip, why, "bad frame of an agent");
                    return why;
                }
            };
            greeted = true;
            let input = Input::Agent { link: id, report };
            // A full inbox stops the reading, not the driver.
            if app.inbox.send(Message::Input(Box::new(input))).await.is_err() {
                return "this master is ending".to_owned();
            }
        }
        buffer.reserve(READ_AHEAD);
    }
}

fn report(payload: &[u8], ip: &Arc<str>) -> Result<AgentReport, String> {
    let frame = protobuf::decode::<ToMaster>(payload).map_err(|error| error.to_string())?;
    AgentReport::decode(frame, ip).map_err(|error| error.to_string())
}

/// Writes orders, many with one call where many wait; ends when the driver lets go.
async fn write(writer: WriteHalf<Stream>, mut outbox: mpsc::Receiver<(Term, AgentOrder)>) -> String {
    let mut writer = BufWriter::with_capacity(READ_AHEAD, writer);
    let written = async {
        while let Some((term, order)) = outbox.recv().await {
            let frame = recordio::encode(&protobuf::encode(&render::order(term, &order)));
            writer.write_all(&frame).await?;
            if outbox.is_empty() {
                writer.flush().await?;
            }
        }
        writer.flush().await?;
        writer.shutdown().await
    };
    match written.await {
        Ok(()) => "closed by the master".to_owned(),
        Err(error) => error.to_string(),
    }
}
