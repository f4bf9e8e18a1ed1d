//! Reads of the whole state: written on a thread of their own while they are read, as of one instant, and beside the
//! loop, which gives away no more than a copy of its tables' roots.
//!
//! A reader that is slow holds its thread and the records of its moment, but no place among those that compute; one that
//! does not read at all loses its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use master_core::snapshot::Snapshot;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::path::Original;
use crate::{answer, limits, routes};

/// A place among the readers, and what there is to read.
pub(crate) struct Read {
    snapshot: Arc<Snapshot>,
    renders: Arc<Semaphore>,
    place: OwnedSemaphorePermit,
}

/// Everything the leader knows, proved current, for one reader.
///
/// # Errors
/// 503 when too many read already, or the answer of a master that does not lead.
pub(crate) async fn read(app: &App, original: Option<&Original>) -> Result<Read, Response> {
    // The place first: a reader that waits for one holds nothing of the state.
    let Ok(Ok(place)) = timeout(limits::READER_WAIT, app.readers.clone().acquire_owned()).await else {
        app.metrics.reader_refused();
        let sentence = format!("{} others read the state of this master: try again later", limits::READERS);
        return Err(answer::unavailable(sentence));
    };
    let snapshot = routes::snapshot(app, original).await?;
    Ok(Read { snapshot, renders: app.renders.clone(), place })
}

impl Read {
    /// What `work` makes of the snapshot, for answers that are small.
    ///
    /// # Errors
    /// The answer that it could not be made.
    pub(crate) async fn look<T: Send + 'static>(
        self,
        work: impl FnOnce(&Snapshot) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let Self { snapshot, renders, place } = self;
        let turn = renders.acquire_owned().await;
        let made = tokio::task::spawn_blocking(move || {
            let made = work(&snapshot);
            // The last holder frees what has changed meanwhile; not on the runtime's threads.
            drop((snapshot, place, turn));
            made
        });
        made.await.map_err(|_| failed())
    }

    /// What `work` writes. An answer of one piece has a length; a longer one goes out in chunks.
    pub(crate) async fn write(
        self,
        content_type: &'static str,
        work: impl FnOnce(&Snapshot, &mut dyn io::Write) -> io::Result<()> + Send + 'static,
    ) -> Response {
        let (pieces, mut written) = mpsc::channel(limits::PIECES_AHEAD);
        let runtime = Handle::current();
        let Self { snapshot, renders, place } = self;
        tokio::task::spawn_blocking(move || {
            let until = Instant::now() + limits::READ_TIME;
            let mut page = Page { piece: Vec::new(), pieces, runtime, renders, turn: None, until };
            let result =
                page.wait_for_turn().and_then(|()| work(&snapshot, &mut page)).and_then(|()| page.send(true));
            if let Err(error) = result {
                tracing::debug!(%error, "a read of the state was given up");
            }
            drop((snapshot, place));
        });
        let body = match written.recv().await {
            Some(Piece { bytes, last: true }) => Body::from(bytes),
            Some(Piece { bytes, last: false }) => {
                Body::new(Pieces { first: Some(bytes), written, complete: false })
            }
            None => return failed(),
        };
        answer::typed_body(content_type, body)
    }
}

fn failed() -> Response {
    answer::text(StatusCode::INTERNAL_SERVER_ERROR, "The answer could not be rendered")
}

/// Some bytes of an answer, and whether they end it.
struct Piece {
    bytes: Bytes,
    last: bool,
}

/// Takes what is written, and passes it on in pieces.
struct Page {
    piece: Vec<u8>,
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    renders: Arc<Semaphore>,
    /// Held while there is something to do, and not while the reader is waited for.
    turn: Option<OwnedSemaphorePermit>,
    until: Instant,
}

impl Page {
    fn wait_for_turn(&mut self) -> io::Result<()> {
        let turn = timeout_at(self.until, self.renders.clone().acquire_owned());
        self.turn = self.runtime.block_on(turn).map_err(late)?.ok();
        Ok(())
    }

    fn send(&mut self, last: bool) -> io::Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.piece));
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let piece = match self.pieces.try_send(Piece { bytes, last }) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(gone()),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        self.turn = None;
        let patience = self.until.min(Instant::now() + limits::PIECE_UNREAD);
        let sent = timeout_at(patience, self.pieces.send(piece));
        self.runtime.block_on(sent).map_err(late)?.map_err(|_| gone())?;
        if last { Ok(()) } else { self.wait_for_turn() }
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the reader is too slow")
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= limits::PIECE_BYTES {
            self.send(false)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer in several pieces.
struct Pieces {
    first: Option<Bytes>,
    written: mpsc::Receiver<Piece>,
    complete: bool,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.complete {
            return Poll::Ready(None);
        }
        self.written.poll_recv(context).map(|piece| match piece {
            Some(Piece { bytes, last }) => {
                self.complete = last;
                Some(Ok(Frame::data(bytes)))
            }
            // An end without the last piece must not look like an end: the connection is cut.
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}
