//! Streams between masters: one ordered stream to each other member, dialled by the sender.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full};
use replica::disk::DirectoryFiles;
use replica::snapshot::{Intake, load};
use replica::thread::Handle;
use replica::wire::{Frame, HEADER_BYTES};
use replica::{Descriptor, Fatal, Members, NodeId, PeerMessage, SnapshotId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::guard;
use crate::join::Acquaintances;
use crate::limits;
use crate::machine::Registrar;
use crate::wireup::{self, Stream, within};

/// The name of the protocol in the upgrade.
pub(crate) const PROTOCOL: &str = "stoa-raft/1";
pub(crate) const PATH: &str = "/internal/raft";
pub(crate) const HELLO_PATH: &str = "/internal/raft/hello";
pub(crate) const SNAPSHOT_PATH: &str = "/internal/raft/snapshot";

/// The other members, and the queues in front of their streams.
pub(crate) struct Peers {
    node: NodeId,
    /// Whom we talk to until our own log says who the members are.
    acquaintances: Acquaintances,
    runtime: tokio::runtime::Handle,
    queues: RwLock<HashMap<NodeId, Queue>>,
    handle: OnceLock<Handle<Registrar>>,
    /// What this master says of itself to the others.
    own: Option<HeaderValue>,
    /// Set when another member says that this one was removed, or belongs elsewhere.
    expelled: watch::Sender<Option<Fatal>>,
}

struct Queue {
    address: String,
    messages: mpsc::Sender<PeerMessage>,
    task: JoinHandle<()>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peers {
    pub(crate) fn new(node: NodeId, own: Option<HeaderValue>, acquaintances: Acquaintances) -> Arc<Self> {
        Arc::new(Self {
            node,
            own,
            acquaintances,
            runtime: tokio::runtime::Handle::current(),
            queues: RwLock::default(),
            handle: OnceLock::new(),
            expelled: watch::Sender::new(None),
        })
    }

    /// The replica is there: messages of peers can be taken from now on.
    pub(crate) fn attach(&self, handle: Handle<Registrar>) {
        // Called once, by whoever started the replica.
        let _ = self.handle.set(handle);
    }

    pub(crate) fn expelled(&self) -> watch::Receiver<Option<Fatal>> {
        self.expelled.subscribe()
    }

    /// Keeps a stream to each member, and none to anybody else.
    pub(crate) fn set(self: &Arc<Self>, app: &Arc<App>, members: &Members) {
        let mut others: HashMap<NodeId, String> =
            members.iter().map(|member| (member.id, member.address)).collect();
        if !members.contains(self.node) {
            others.extend(self.acquaintances.iter().cloned());
        }
        others.remove(&self.node);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|id, queue| others.get(id) == Some(&queue.address));
        for (id, address) in others {
            queues.entry(id).or_insert_with(|| {
                let (messages, outbox) = mpsc::channel(limits::PEER_MESSAGES);
                let link = Link { peers: self.clone(), app: app.clone(), id, address: address.clone() };
                Queue { address, messages, task: self.runtime.spawn(link.keep(outbox)) }
            });
        }
    }

    /// Queues a message. Called on the replica's thread, so it never waits: a full queue loses the message and says so.
    pub(crate) fn send(&self, message: PeerMessage) {
        let to = message.to();
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let sent = queues.get(&to).is_some_and(|queue| queue.messages.try_send(message).is_ok());
        if !sent {
            self.unreachable(to);
        }
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn address(&self, id: NodeId) -> Option<String> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(&id).map(|queue| queue.address.clone())
    }

    fn unreachable(&self, id: NodeId) {
        if let Some(handle) = self.handle.get() {
            handle.unreachable(id);
        }
    }

    fn gone(&self, id: NodeId) {
        if let Some(handle) = self.handle.get() {
            handle.gone(id);
        }
    }

    fn step(&self, message: PeerMessage) {
        if let Some(handle) = self.handle.get() {
            // Lost when the replica's queue is full, as a network may lose it.
            let _ = handle.step(message);
        }
    }

    /// Gets a snapshot's file from a member, reads it, and reports to the replica.
    pub(crate) fn fetch(self: &Arc<Self>, files: DirectoryFiles, from: NodeId, descriptor: Descriptor) {
        let (peers, own) = (self.clone(), self.own.clone());
        self.runtime.spawn(async move {
            let id = descriptor.id;
            let pulled = match peers.address(from) {
                Some(address) => pull(&address, own, files.clone(), descriptor.clone()).await,
                None => Err(io::Error::other("the leader's address is not known")),
            };
            let finish = move || {
                let result = pulled
                    .map_err(|error| error.to_string())
                    .and_then(|()| load(&files, &descriptor).map_err(|error| error.to_string()));
                if let Some(handle) = peers.handle.get() {
                    handle.fetched(id, result);
                }
            };
            let _ = tokio::task::spawn_blocking(finish).await;
        });
    }
}

async fn pull(
    address: &str,
    own: Option<HeaderValue>,
    files: DirectoryFiles,
    descriptor: Descriptor,
) -> io::Result<()> {
    let SnapshotId { index, term } = descriptor.id;
    let path = format!("{SNAPSHOT_PATH}?index={index}&term={term}");
    let mut sender = wireup::dial(address).await?;
    let request =
        wireup::request(address, &path, Bytes::new(), own).body(Full::default()).map_err(io::Error::other)?;
    let answer =
        within(limits::DIAL_TIME, async { sender.send_request(request).await.map_err(io::Error::other) })
            .await?;
    if answer.status() != StatusCode::OK {
        return Err(io::Error::other(format!("{address} answered {}", answer.status())));
    }
    let mut body = answer.into_body();
    let mut intake = blocking(move || Intake::begin(files, descriptor)).await?;
    loop {
        let frame = within(limits::SNAPSHOT_SILENCE, async {
            body.frame().await.transpose().map_err(io::Error::other)
        });
        let Some(frame) = frame.await? else { break };
        if let Ok(data) = frame.into_data() {
            intake = blocking(move || intake.push(&data).map(|()| intake)).await?;
        }
    }
    blocking(move || intake.finish()).await
}

async fn blocking<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("this master is ending")),
    }
}

/// The sending side of one stream.
struct Link {
    peers: Arc<Peers>,
    app: Arc<App>,
    id: NodeId,
    address: String,
}

impl Link {
    async fn keep(self, mut outbox: mpsc::Receiver<PeerMessage>) {
        let (first, longest) = limits::REDIAL;
        let mut pause = first;
        let mut reported = false;
        loop {
            match self.open().await {
                Ok(stream) => {
                    tracing::info!(peer = %self.address, "connected to a member");
                    (pause, reported) = (first, false);
                    let why = carry(stream, &mut outbox).await;
                    tracing::info!(peer = %self.address, why, "connection to a member ended");
                    // At once: a refusal means that its process is dead, and if it led, every moment counts.
                    self.peers.unreachable(self.id);
                    continue;
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        self.peers.gone(self.id);
                    }
                    if !std::mem::replace(&mut reported, true) {
                        tracing::info!(peer = %self.address, %error, "cannot reach a member");
                    }
                }
            }
            self.peers.unreachable(self.id);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            // What waited is stale, and raft has been told.
            while outbox.try_recv().is_ok() {}
        }
    }

    /// Dials, upgrades, and exchanges greetings.
    async fn open(&self) -> io::Result<Stream> {
        let mut sender = wireup::dial(&self.address).await?;
        let request = wireup::request(&self.address, PATH, Bytes::new(), self.peers.own.clone())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, PROTOCOL)
            .body(Full::default())
            .map_err(io::Error::other)?;
        within(limits::DIAL_TIME, async {
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(io::Error::other(format!("it answered {}", answer.status())));
            }
            let mut stream = Stream::new(hyper::upgrade::on(answer).await.map_err(io::Error::other)?);
            let hello = self.app.with_forming(|forming| forming.hello());
            stream.write_all(&Frame::Hello(hello).encode()).await?;
            self.check(read_frame(&mut stream).await?)?;
            Ok(stream)
        })
        .await
    }

    fn check(&self, greeting: Frame) -> io::Result<()> {
        match greeting {
            Frame::Hello(hello) if hello.node == self.id => {
                if let Some(group) = self.app.group.get() {
                    group.levels.heard(hello.node, hello.level);
                }
                self.app.with_forming(|forming| forming.hear(&hello)).map_err(io::Error::other)
            }
            Frame::Hello(hello) => {
                Err(io::Error::other(format!("node {} lives there, not {}", hello.node, self.id)))
            }
            Frame::Refused { removed: true, .. } => {
                self.peers.expelled.send_replace(Some(Fatal::Removed(self.peers.node)));
                Err(io::Error::other("this node was removed from the group"))
            }
            Frame::Refused { reason, .. } => Err(io::Error::other(reason)),
            Frame::Message(_) => Err(io::Error::other("it did not greet")),
        }
    }
}

/// Writes messages until the stream breaks; why it did.
async fn carry(stream: Stream, outbox: &mut mpsc::Receiver<PeerMessage>) -> String {
    let (mut reader, writer) = tokio::io::split(stream);
    let mut writer = BufWriter::with_capacity(256 << 10, writer);
    let writing = async {
        while let Some(message) = outbox.recv().await {
            writer.write_all(&Frame::Message(message).encode()).await?;
            if outbox.is_empty() {
                writer.flush().await?;
            }
        }
        Ok::<_, io::Error>(())
    };
    // Nothing comes this way; the end of the stream does, and is worth knowing before the next message is lost.
    let mut byte = [0];
    tokio::select! {
        result = writing => result.map_or_else(|error| error.to_string(), |()| "not needed any more".to_owned()),
        _ = reader.read(&mut byte) => "closed by the other side".to_owned(),
    }
}

/// The receiving side of a stream, upgraded already.
pub(crate) async fn receive(app: Arc<App>, mut stream: Stream) {
    let ended = async {
        let greeting = within(limits::GREETING_TIME, read_frame(&mut stream)).await?;
        let sender = match welcome(&app, &greeting) {
            Ok(sender) => sender,
            Err((reason, removed)) => {
                tracing::info!(reason, "a peer was refused");
                stream.write_all(&Frame::Refused { reason, removed }.encode()).await?;
                stream.flush().await?;
                return stream.shutdown().await;
            }
        };
        let hello = app.with_forming(|forming| forming.hello());
        stream.write_all(&Frame::Hello(hello).encode()).await?;
        stream.flush().await?;
        let Some(group) = app.group.get() else { return Ok(()) };
        let mut reader = tokio::io::BufReader::with_capacity(256 << 10, stream);
        loop {
            match read_frame(&mut reader).await? {
                // It dials again, and is told in the answer to its greeting.
                Frame::Message(_) if group.members.borrow().was_removed(sender) => {
                    return Err(io::Error::other("the sender was removed from the group"));
                }
                Frame::Message(message) if message.from() == sender => group.peers.step(message),
                _ => return Err(io::Error::other("a frame that does not belong on this stream")),
            }
        }
    };
    let ended: io::Result<()> = ended.await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a peer's stream ended");
    }
}

/// Who greets us, if we may talk to it; otherwise why not, and whether it was removed.
fn welcome(app: &App, greeting: &Frame) -> Result<NodeId, (String, bool)> {
    let Frame::Hello(hello) = greeting else {
        return Err(("a stream begins with a greeting".to_owned(), false));
    };
    let ours = app.with_forming(|forming| forming.founding().cloned());
    let (Some(ours), Some(theirs)) = (ours, &hello.founding) else {
        return Err(("the group is not founded yet".to_owned(), false));
    };
    if ours.cluster != theirs.cluster {
        let reason =
            format!("{} belongs to group {}, this master to {}", hello.address, theirs.cluster, ours.cluster);
        return Err((reason, false));
    }
    let Some(group) = app.group.get() else {
        return Err(("the replica does not run yet".to_owned(), false));
    };
    if group.members.borrow().was_removed(hello.node) {
        return Err((format!("node {} was removed from the group", hello.node), true));
    }
    if let Some(reason) = group.levels.refusal(&hello.address, hello.level) {
        return Err((reason, false));
    }
    group.levels.heard(hello.node, hello.level);
    Ok(hello.node)
}

async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header).await?;
    let length = Frame::length(header).map_err(io::Error::other)?;
    // Memory grows with what arrives, not with what is announced.
    let mut payload = Vec::with_capacity(length.min(64 << 10));
    reader.take(length as u64).read_to_end(&mut payload).await?;
    if payload.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Frame::decode(&payload).map_err(io::Error::other)
}

/// Greets another first member over a connection of its own; its answer.
pub(crate) async fn greet(app: &App, address: &str) -> io::Result<Frame> {
    let hello = Frame::Hello(app.with_forming(|forming| forming.hello()));
    let body = Bytes::from(hello.encode());
    let mut sender = wireup::dial(address).await?;
    let own = guard::own(app.guard.as_ref());
    let request = wireup::request(address, HELLO_PATH, body.clone(), own)
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    let answer = within(Duration::from_secs(2), async {
        sender.send_request(request).await.map_err(io::Error::other)
    });
    let answer = answer.await?;
    let status = answer.status();
    let body = wireup::small(answer.into_body(), limits::HELLO_BYTES).await?;
    if status != StatusCode::OK {
        return Err(io::Error::other(format!("{address} answered {status}")));
    }
    parse(&body)
}

/// A frame that is a whole body.
pub(crate) fn parse(body: &[u8]) -> io::Result<Frame> {
    let (header, payload) = body.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = Frame::length(*header).map_err(io::Error::other)?;
    if length != payload.len() {
        return Err(io::Error::other("a frame of another length than its header says"));
    }
    Frame::decode(payload).map_err(io::Error::other)
}
