//! A key-value space on sockets: what the masters' does, without masters. What goes to the scheduler API is handed on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sdk::{Masters, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use wire::state::{
    Answer, Base64, Call, Compare, Entry, Event, Failure, GetAnswer, LeaseAnswer, Operation, OperationAnswer,
    Put, RangeAnswer, RevokeAnswer, TxnAnswer, WatchRecord,
};

/// Entries of a page: few, so that pages are met.
const PAGE: usize = 2;

/// A running space.
#[derive(Clone)]
pub(crate) struct Space {
    facts: Arc<Mutex<Facts>>,
    changed: watch::Sender<u64>,
    address: String,
    /// How many transactions were turned away; `None` while they are taken.
    turned_away: watch::Sender<Option<u64>>,
}

/// A request as it was read; its answer is to be written to the socket.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) socket: TcpStream,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Facts {
    revision: u64,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<String, u64>,
    requests: BTreeMap<String, TxnAnswer>,
    events: Vec<(u64, Event)>,
    compacted: u64,
}

impl Space {
    pub(crate) async fn start() -> Self {
        Self::masters(1).await.0
    }

    /// A space with several addresses, and what comes to the scheduler API of each.
    pub(crate) async fn masters(count: usize) -> (Self, Vec<(String, mpsc::UnboundedReceiver<Request>)>) {
        let facts: Arc<Mutex<Facts>> = Arc::default();
        let (changed, turned_away) = (watch::Sender::new(0), watch::Sender::new(None));
        let mut masters = Vec::new();
        let mut space = None;
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let (sender, requests) = mpsc::unbounded_channel();
            masters.push((address.clone(), requests));
            let serving = Self {
                facts: facts.clone(),
                changed: changed.clone(),
                address,
                turned_away: turned_away.clone(),
            };
            space.get_or_insert(serving.clone());
            tokio::spawn(async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    // A client that goes away in the middle is its own affair.
                    tokio::spawn(serving.clone().serve(socket, sender.clone()));
                }
            });
        }
        (space.expect("at least one"), masters)
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let facts = self.facts.lock().unwrap();
        facts.entries.get(key).map(|entry| String::from_utf8(entry.value.0.to_vec()).unwrap())
    }

    /// Answers transactions with 503 from now on.
    pub(crate) fn turn_away(&self) {
        self.turned_away.send_replace(Some(0));
    }

    /// Waits until a transaction was turned away.
    pub(crate) async fn turned_one_away(&self) {
        self.turned_away.subscribe().wait_for(|count| count.is_some_and(|count| count > 0)).await.unwrap();
    }

    /// Takes transactions again.
    pub(crate) fn take(&self) {
        self.turned_away.send_replace(None);
    }

    /// Ends every lease, and another holds `key` at once.
    pub(crate) fn usurp(&self, key: &str, holder: &'static str) {
        self.change(|facts| {
            for lease in std::mem::take(&mut facts.leases).into_keys() {
                facts.end(&lease);
            }
            let value = Base64(holder.as_bytes().into());
            facts.put(Put { key: key.to_owned(), value, lease: None });
        });
    }

    /// A client of it.
    pub(crate) fn client(&self) -> State {
        State::new(Masters::new(std::slice::from_ref(&self.address)), "test")
    }

    /// Ends every lease as if it had run out.
    pub(crate) fn expire(&self) {
        self.change(|facts| {
            for lease in std::mem::take(&mut facts.leases).into_keys() {
                facts.end(&lease);
            }
        });
    }

    /// Forgets the changes so far and writes a key without telling: who follows has to read anew.
    pub(crate) fn compact(&self, key: &str) {
        self.change(|facts| {
            facts.put(Put { key: key.to_owned(), value: Default::default(), lease: None });
            facts.events.clear();
            facts.compacted = facts.revision;
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let mut facts = self.facts.lock().unwrap();
        facts.revision += 1;
        let outcome = change(&mut facts);
        let revision = facts.revision;
        drop(facts);
        self.changed.send_replace(revision);
        outcome
    }

    async fn serve(
        self,
        socket: TcpStream,
        scheduler: mpsc::UnboundedSender<Request>,
    ) -> std::io::Result<()> {
        let request = read(socket).await?;
        if request.head.contains("/api/v1/scheduler") {
            // Without a reader the test is over.
            let _ = scheduler.send(request);
            return Ok(());
        }
        let mut socket = request.socket;
        let call = Call::from_slice(&request.body).unwrap();
        if let Call::Watch(watch) = &call {
            return self.watch(socket, &watch.prefix, watch.from.unwrap_or(0)).await;
        }
        let refuse = |count: &mut Option<u64>| match count {
            Some(count) => {
                *count += 1;
                true
            }
            None => false,
        };
        if matches!(call, Call::Txn(_)) && self.turned_away.send_if_modified(refuse) {
            let answer = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            return socket.write_all(answer.as_bytes()).await;
        }
        let (status, body) = match self.change(|facts| facts.call(call)) {
            Ok(answer) => ("200 OK", serde_json::to_string(&answer)?),
            Err(failure) => ("400 Bad Request", serde_json::to_string(&failure)?),
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        socket.write_all(answer.as_bytes()).await
    }

    async fn watch(self, mut socket: TcpStream, prefix: &str, from: u64) -> std::io::Result<()> {
        let mut changed = self.changed.subscribe();
        socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        record(&mut socket, &WatchRecord::Started { revision: from }).await?;
        let mut next = from;
        loop {
            let told = {
                let facts = self.facts.lock().unwrap();
                if facts.compacted >= next {
                    Err(WatchRecord::Compacted { revision: facts.compacted })
                } else {
                    let concerned = facts
                        .events
                        .iter()
                        .filter(|(at, event)| *at >= next && key(event).starts_with(prefix));
                    let events = concerned.map(|(_, event)| event.clone()).collect();
                    next = facts.revision + 1;
                    Ok(WatchRecord::Events { revision: facts.revision, events })
                }
            };
            match told {
                Ok(told) => record(&mut socket, &told).await?,
                Err(last) => return record(&mut socket, &last).await,
            }
            if changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The key that an operation changes.
fn written(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::Put(put) => Some(&put.key),
        Operation::Delete(key) => Some(&key.key),
        Operation::Get(_) | Operation::Range(_) => None,
    }
}

fn key(event: &Event) -> &str {
    match event {
        Event::Put { entry } => &entry.key,
        Event::Delete { key, .. } => key,
    }
}

/// A whole request.
async fn read(mut socket: TcpStream) -> std::io::Result<Request> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
            let length: usize = length.trim().parse().unwrap();
            while read.len() < end + 4 + length {
                socket.read_buf(&mut read).await?;
            }
            let body = read.split_off(end + 4);
            return Ok(Request { socket, head, body });
        }
        if socket.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn record(socket: &mut TcpStream, record: &WatchRecord) -> std::io::Result<()> {
    let framed = wire::recordio::encode(&serde_json::to_vec(record)?);
    socket.write_all(format!("{:x}\r\n", framed.len()).as_bytes()).await?;
    socket.write_all(&framed).await?;
    socket.write_all(b"\r\n").await
}

impl Facts {
    fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let revision = self.revision;
        let ended = |lease: &str| Failure { error: format!("lease `{lease}` has ended"), field: None };
        let lease =
            |lease: String, token| LeaseAnswer { revision, lease, ttl_millis: 3000, token, renewals: 0 };
        Ok(match call {
            Call::Get(get) => Answer::Get(GetAnswer { revision, entry: self.entries.get(&get.key).cloned() }),
            Call::Range(range) => {
                let after = range.after.unwrap_or_default();
                let mut keys =
                    self.entries.iter().filter(|(key, _)| key.starts_with(&range.prefix) && **key > after);
                let entries: Vec<Entry> = keys.by_ref().take(PAGE).map(|(_, entry)| entry.clone()).collect();
                let next = keys.next().and(entries.last()).map(|entry| entry.key.clone());
                Answer::Range(RangeAnswer { revision, entries, next })
            }
            Call::Txn(txn) => {
                if let Some(first) = txn.request.as_ref().and_then(|request| self.requests.get(request)) {
                    return Ok(Answer::Txn(TxnAnswer {
                        replayed: true,
                        results: Vec::new(),
                        ..first.clone()
                    }));
                }
                let mut written: Vec<&str> = txn.then.iter().filter_map(written).collect();
                written.sort_unstable();
                // As the masters do.
                if written.windows(2).any(|pair| pair[0] == pair[1]) {
                    let error = "is written twice in this branch".to_owned();
                    return Err(Failure { error, field: Some("then".to_owned()) });
                }
                let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
                let branch = if succeeded { txn.then } else { txn.otherwise };
                let results = branch.into_iter().map(|operation| self.operate(operation)).collect();
                let answer = TxnAnswer { revision, succeeded, replayed: false, results };
                self.requests.extend(txn.request.map(|request| (request, answer.clone())));
                Answer::Txn(answer)
            }
            Call::LeaseGrant(grant) => {
                self.leases.insert(grant.lease.clone(), revision);
                Answer::LeaseGrant(lease(grant.lease, revision))
            }
            Call::LeaseKeepalive(kept) => match self.leases.get(&kept.lease) {
                Some(token) => Answer::LeaseKeepalive(lease(kept.lease, *token)),
                None => return Err(ended(&kept.lease)),
            },
            Call::LeaseRevoke(revoked) => {
                let existed = self.leases.remove(&revoked.lease).is_some();
                self.end(&revoked.lease);
                Answer::LeaseRevoke(RevokeAnswer { revision, existed })
            }
            Call::Watch(_) => return Err(Failure { error: "a watch is a stream".to_owned(), field: None }),
        })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.entries.get(&compare.key);
        let given = [
            compare.exists.map(|exists| entry.is_some() == exists),
            compare.create_revision.map(|at| entry.map_or(0, |entry| entry.create_revision) == at),
            compare.mod_revision.map(|at| entry.map_or(0, |entry| entry.mod_revision) == at),
        ];
        given.into_iter().flatten().all(|holds| holds)
    }

    fn operate(&mut self, operation: Operation) -> OperationAnswer {
        match operation {
            Operation::Put(put) => {
                self.put(put);
                OperationAnswer::Put {}
            }
            Operation::Delete(key) => OperationAnswer::Delete { existed: self.delete(&key.key) },
            Operation::Get(key) => OperationAnswer::Get { entry: self.entries.get(&key.key).cloned() },
            Operation::Range(_) => OperationAnswer::Range { entries: Vec::new(), next: None },
        }
    }

    fn put(&mut self, put: Put) {
        let old = self.entries.get(&put.key);
        let entry = Entry {
            version: old.map_or(0, |old| old.version) + 1,
            create_revision: old.map_or(self.revision, |old| old.create_revision),
            mod_revision: self.revision,
            key: put.key.clone(),
            value: put.value,
            lease: put.lease,
        };
        self.entries.insert(put.key, entry.clone());
        self.events.push((self.revision, Event::Put { entry }));
    }

    fn delete(&mut self, key: &str) -> bool {
        let existed = self.entries.remove(key).is_some();
        if existed {
            self.events.push((self.revision, Event::Delete { key: key.to_owned(), revision: self.revision }));
        }
        existed
    }

    fn end(&mut self, lease: &str) {
        let bound = self.entries.values().filter(|entry| entry.lease.as_deref() == Some(lease));
        for key in bound.map(|entry| entry.key.clone()).collect::<Vec<_>>() {
            self.delete(&key);
        }
    }
}
