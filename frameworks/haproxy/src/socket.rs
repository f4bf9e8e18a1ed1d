//! A conversation with HAProxy over one of its unix sockets.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::limits::{ANSWER_BYTES, COMMAND_TIMEOUT};

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("HAProxy's socket {path} cannot be used: {source}")]
    Io { path: String, source: io::Error },
    #[error("HAProxy did not answer '{0}' in time")]
    Timeout(String),
    #[error("HAProxy's answer to '{0}' is too long")]
    TooLong(String),
}

/// An open socket in prompt mode: the only one in which the end of an answer can be told, since answers may be
/// empty, of many lines, or errors without a code.
#[derive(Debug)]
pub(crate) struct Socket {
    path: String,
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket, of a worker or of the master.
    ///
    /// # Errors
    /// Nobody listens, or it is not HAProxy.
    pub(crate) async fn open(path: &Path) -> Result<Self, SocketError> {
        let name = path.display().to_string();
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| SocketError::Io { path: name.clone(), source })?;
        let mut socket = Self { path: name, stream, buffer: Vec::new() };
        socket.send("prompt").await?;
        Ok(socket)
    }

    /// Sends one command and reads its whole answer, without the prompt.
    ///
    /// # Errors
    /// The conversation broke, or took too long. The socket is of no further use.
    pub(crate) async fn send(&mut self, command: &str) -> Result<String, SocketError> {
        match timeout(COMMAND_TIMEOUT.into(), self.exchange(command)).await {
            Ok(result) => result,
            Err(_) => Err(SocketError::Timeout(command.to_owned())),
        }
    }

    async fn exchange(&mut self, command: &str) -> Result<String, SocketError> {
        self.write(command).await?;
        loop {
            if let Some(answer) = self.take_answer() {
                return Ok(answer);
            }
            if self.buffer.len() > ANSWER_BYTES {
                return Err(SocketError::TooLong(command.to_owned()));
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            match read.map_err(|source| self.io(source))? {
                0 => return Err(self.io(io::ErrorKind::UnexpectedEof.into())),
                _ => continue,
            }
        }
    }

    /// Sends a command that is not answered: `reload` on the master's socket.
    ///
    /// # Errors
    /// The conversation broke.
    pub(crate) async fn write(&mut self, command: &str) -> Result<(), SocketError> {
        let line = format!("{command}\n");
        self.stream.write_all(line.as_bytes()).await.map_err(|source| self.io(source))
    }

    /// An answer ends with a prompt at the beginning of a line: `> `, or `master> ` on the master's socket, where a
    /// failed reload changes it to `master[ReloadFailed]> `.
    fn take_answer(&mut self) -> Option<String> {
        let body = self.buffer.strip_suffix(b"> ")?;
        let line = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let prompt = &body[line..];
        if !prompt.is_empty() && !prompt.starts_with(b"master") {
            return None;
        }
        let answer = String::from_utf8_lossy(&body[..line]).into_owned();
        self.buffer.clear();
        Some(answer)
    }

    fn io(&self, source: io::Error) -> SocketError {
        SocketError::Io { path: self.path.clone(), source }
    }
}

/// Opens a socket for one command.
///
/// # Errors
/// As [`Socket::open`] and [`Socket::send`].
pub(crate) async fn ask(path: &Path, command: &str) -> Result<String, SocketError> {
    Socket::open(path).await?.send(command).await
}
