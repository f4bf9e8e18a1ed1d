//! One connection to a master: dialled, upgraded, frames in and out.

use std::time::Duration;

use agent_core::{Input, LinkDown, LinkId, convert};
use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wire::recordio;

use crate::limits;

/// The name of the protocol in the upgrade.
pub(crate) const PROTOCOL: &str = "stoa-link/1";
const PATH: &str = "/internal/link";

type Stream = TokioIo<hyper::upgrade::Upgraded>;

/// A connection as the driver holds it.
pub(crate) struct Connection {
    pub(crate) id: LinkId,
    frames: Sender<Bytes>,
    reader: AbortHandle,
    open: oneshot::Receiver<()>,
}

/// A connection that is saying its last words.
pub(crate) struct Closing(oneshot::Receiver<()>);

impl Closing {
    /// Until they are said, within reason.
    pub(crate) async fn wait(self) {
        // Either way it is over.
        let _ = timeout(2 * limits::HANGUP, self.0).await;
    }
}

impl Connection {
    /// Dials `address`. What comes of it, and every frame after, is told to `inputs`; a full queue there stops the
    /// reading, not the driver.
    pub(crate) fn dial(id: LinkId, address: String, own: Option<HeaderValue>, inputs: Sender<Input>) -> Self {
        let (frames, outbox) = channel(limits::FRAMES_OUT);
        let (writing, open) = oneshot::channel();
        let reader = tokio::spawn(async move {
            let why = match connect(&address, own).await {
                Ok(stream) => carry(id, stream, outbox, writing, &inputs).await,
                Err(why) => why,
            };
            tracing::debug!(%address, ?why, "link ended");
            // The driver may be ending.
            let _ = inputs.send(Input::LinkDown { link: id, why }).await;
        });
        Self { id, frames, reader: reader.abort_handle(), open }
    }

    /// Hangs up after what was sent is written.
    pub(crate) fn close(self) -> Closing {
        self.reader.abort();
        Closing(self.open)
    }

    /// Queues a frame; `false` when the master does not take what it is sent.
    pub(crate) fn send(&self, frame: Bytes) -> bool {
        self.frames.try_send(frame).is_ok()
    }
}

/// Connects and upgrades.
async fn connect(address: &str, own: Option<HeaderValue>) -> Result<Stream, LinkDown> {
    match timeout(limits::DIAL, upgrade(address, own)).await {
        Ok(result) => result,
        Err(_) => Err(LinkDown::Broken(format!("no answer within {} s", limits::DIAL.as_secs()))),
    }
}

async fn upgrade(address: &str, own: Option<HeaderValue>) -> Result<Stream, LinkDown> {
    let broken = |what: &'static str| {
        move |error: &dyn std::fmt::Display| LinkDown::Broken(format!("{what}: {error}"))
    };
    let tcp = TcpStream::connect(address).await.map_err(|e| broken("cannot connect")(&e))?;
    // Frames are small and waited for.
    tcp.set_nodelay(true).map_err(|e| broken("cannot set up the connection")(&e))?;
    let handshake = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(tcp));
    let (mut sender, connection) = handshake.await.map_err(|e| broken("cannot speak HTTP")(&e))?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(PATH);
    if let Some(own) = own {
        request = request.header(header::AUTHORIZATION, own);
    }
    let request = request
        .header(header::HOST, address)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Empty::new())
        .map_err(|e| broken("cannot ask for the link")(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| broken("no answer")(&e))?;
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            let upgraded = hyper::upgrade::on(answer).await.map_err(|e| broken("the upgrade failed")(&e))?;
            Ok(TokioIo::new(upgraded))
        }
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Err(redirect(&answer)),
        StatusCode::SERVICE_UNAVAILABLE => Err(LinkDown::Unavailable),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(LinkDown::Broken("the master does not let this agent in: see --credential".to_owned()))
        }
        status => Err(LinkDown::Broken(format!("the master answered {status}"))),
    }
}

/// Where a redirect points: `//host:port/...` or a whole URL.
fn redirect(answer: &Response<Incoming>) -> LinkDown {
    let location =
        answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match authority(location) {
        Some(leader) => LinkDown::Redirect(leader.to_owned()),
        None => LinkDown::Broken(format!("a redirect to {location:?}, which names no host and port")),
    }
}

fn authority(location: &str) -> Option<&str> {
    let (_, rest) = location.split_once("//")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(authority)
}

/// Carries frames both ways until one of them ends.
async fn carry(
    id: LinkId,
    stream: Stream,
    outbox: Receiver<Bytes>,
    open: oneshot::Sender<()>,
    inputs: &Sender<Input>,
) -> LinkDown {
    let (reader, writer) = tokio::io::split(stream);
    // On its own, so that the last words are written after the reader was stopped.
    let mut writing = tokio::spawn(async move {
        let written = write(writer, outbox).await;
        drop(open);
        written
    });
    if inputs.send(Input::LinkUp(id)).await.is_err() {
        return LinkDown::Broken("the agent is ending".into());
    }
    tokio::select! {
        why = read(id, reader, inputs) => {
            writing.abort();
            why
        }
        wrote = &mut writing => match wrote {
            Ok(Err(error)) => LinkDown::Broken(format!("cannot write: {error}")),
            _ => LinkDown::Broken("hung up".into()),
        },
    }
}

async fn read(id: LinkId, mut reader: ReadHalf<Stream>, inputs: &Sender<Input>) -> LinkDown {
    let mut decoder = recordio::Decoder::new(limits::FRAME_BYTES);
    let mut buffer = bytes::BytesMut::with_capacity(64 << 10);
    loop {
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return LinkDown::Broken("the master closed the link".into()),
            Ok(_) => {}
            Err(error) => return LinkDown::Broken(format!("cannot read: {error}")),
        }
        let mut input = buffer.split().freeze();
        while input.has_remaining() {
            let payload = match decoder.decode(&mut input) {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(error) => return LinkDown::Broken(error.to_string()),
            };
            match envelope(&payload) {
                Ok(envelope) => {
                    if inputs.send(Input::FromMaster { link: id, envelope }).await.is_err() {
                        return LinkDown::Broken("the agent is ending".into());
                    }
                }
                Err(why) => return LinkDown::Broken(why),
            }
        }
        buffer.reserve(64 << 10);
    }
}

fn envelope(payload: &[u8]) -> Result<agent_core::Envelope, String> {
    let frame = wire::protobuf::decode::<wire::link::ToAgent>(payload).map_err(|e| e.to_string())?;
    convert::envelope(frame).map_err(|e| format!("the master sent a bad frame: {e}"))
}

/// Writes what is queued, several frames with one call where several wait; ends when the driver lets go.
async fn write(writer: WriteHalf<Stream>, mut outbox: Receiver<Bytes>) -> std::io::Result<()> {
    let mut writer = BufWriter::with_capacity(64 << 10, writer);
    while let Some(frame) = outbox.recv().await {
        // Without a sender these are the last words.
        let patience = if outbox.is_closed() { limits::HANGUP } else { limits::WRITE };
        within(patience, writer.write_all(&frame)).await?;
        if outbox.is_empty() {
            within(patience, writer.flush()).await?;
        }
    }
    within(limits::HANGUP, writer.flush()).await?;
    within(limits::HANGUP, writer.shutdown()).await
}

async fn within(patience: Duration, work: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    timeout(patience, work).await.unwrap_or(Err(std::io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_a_host_and_a_port() {
        assert_eq!(authority("//10.0.0.1:5050/internal/link"), Some("10.0.0.1:5050"));
        assert_eq!(authority("http://m2:5050"), Some("m2:5050"));
        for bad in ["", "/internal/link", "//m2/x", "//:5050", "//m2:port"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
