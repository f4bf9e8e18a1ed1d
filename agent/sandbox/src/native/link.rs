//! The connection to the launcher process.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{NativeConfig, NativeError};
use crate::Support;
use crate::limits::HANDOVER_PATIENCE;
use crate::shim::protocol::{Report, Request, Setup};
use crate::shim::{LOCK, record};

/// A running launcher process.
pub(super) struct Link {
    child: Child,
    requests: mpsc::UnboundedSender<Bytes>,
    reports: pipe::Receiver,
    buffer: BytesMut,
}

/// What a launcher process says first.
pub(super) struct Ready {
    pub(super) pid_namespace: Support,
    pub(super) mount_namespace: Support,
}

impl Link {
    /// Starts the process and waits until it is the only one for its directory.
    pub(super) async fn start(config: &NativeConfig, setup: &Setup) -> Result<(Self, Ready), NativeError> {
        let first =
            Request::Setup(setup.clone()).encode().map_err(|_| NativeError::Path(setup.runtime.clone()))?;
        let mut link = Self::spawn(config)
            .map_err(|source| NativeError::Start { program: config.program.clone(), source })?;
        link.send(first.into());
        let ready = match timeout(HANDOVER_PATIENCE, link.ready()).await {
            Ok(ready) => ready,
            Err(_) => {
                kill_predecessor(setup);
                timeout(HANDOVER_PATIENCE, link.ready()).await.map_err(|_| NativeError::Occupied)?
            }
        };
        Ok((link, ready.ok_or(NativeError::Ended)?))
    }

    fn spawn(config: &NativeConfig) -> io::Result<Self> {
        let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let (reports, report_writer) = io::pipe()?;
        let child = Command::new(&config.program)
            // What a list of processes shows for it and for every shim.
            .arg0("stoa")
            .args(&config.arguments)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(report_writer)))
            .spawn()?;
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(UnixStream::from_std(socket)?, queue));
        let reports = pipe::Receiver::from_owned_fd(reports.into())?;
        Ok(Self { child, requests, reports, buffer: BytesMut::new() })
    }

    async fn ready(&mut self) -> Option<Ready> {
        loop {
            if let Report::Ready { pid_namespace, mount_namespace } = self.next().await? {
                return Some(Ready { pid_namespace, mount_namespace });
            }
        }
    }

    /// Sends a request, in the order of calls. When the process has died it is lost; [`Link::next`] tells.
    pub(super) fn send(&self, request: Bytes) {
        let _ = self.requests.send(request);
    }

    /// The next report; `None` when the process has died and all it and its children said has been read. Cancelling
    /// loses nothing.
    pub(super) async fn next(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.take() {
                return Some(report);
            }
            tokio::select! {
                biased;
                read = self.reports.read_buf(&mut self.buffer) => if !matches!(read, Ok(count) if count > 0) {
                    return None;
                },
                // A shim that hangs at its start keeps the pipe open; it is found by its record.
                _ = self.child.wait() => {
                    while matches!(self.reports.try_read_buf(&mut self.buffer), Ok(count) if count > 0) {}
                    return self.take();
                }
            }
        }
    }

    /// The first report in the buffer. A line that is none is skipped.
    fn take(&mut self) -> Option<Report> {
        loop {
            let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
            let line = self.buffer.split_to(end + 1);
            match Report::decode(&line) {
                Some(report) => return Some(report),
                None => {
                    tracing::warn!(line = %String::from_utf8_lossy(&line), "unintelligible report of a shim")
                }
            }
        }
    }
}

/// Writes requests, many in one call when they come fast.
async fn write(mut socket: UnixStream, mut queue: mpsc::UnboundedReceiver<Bytes>) {
    const BATCH: usize = 64;
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let bytes = batch.concat();
        batch.clear();
        if socket.write_all(&bytes).await.is_err() {
            // The reading side notices the death too, and knows what to do.
            return;
        }
    }
}

/// Kills a launcher process that does not end with its agent (stopped by a debugger, say).
fn kill_predecessor(setup: &Setup) {
    let owner = std::fs::File::open(setup.runtime.join(LOCK)).and_then(|file| record::lock_owner(&file));
    if let Ok(Some(pid)) = owner {
        tracing::warn!(pid, "the launcher process of an earlier agent does not end; killing it");
        // SAFETY: takes numbers. The process held the lock a moment ago, and it is one that does not end.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}
