//! Which servers HAProxy would lead a request to, read from its own socket again and again: an instance that has ended
//! answers nobody, so answers alone do not show that its server is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::clients::{Asker, Seen};
use super::nodes::Nodes;
use super::promises::{ask_marathon, eventually};
use super::routes::{CHANGING, STEADY, Trouble};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// HAProxy that is stopped or dead is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Once the feed has told of an instance, or of its end, HAProxy has this long.
const DELAY: Duration = Duration::from_secs(3);
/// After a fault of those who tell HAProxy, it may take so long until it hears again.
const SETTLE: Duration = Duration::from_secs(10);

/// `show servers state`: the state of a server that gets requests, and the flags that keep them from it (maintenance and
/// draining, in each of their forms).
const RUNNING: &str = "2";
const KEPT_FROM: u32 = 0x3f;

/// Host and port, as events and HAProxy both show them.
pub(super) type Server = (String, u16);

/// What events say of the instances at an address, as it came: whether one may be led to.
#[derive(Debug, Clone, Default)]
pub(super) struct News(BTreeMap<Server, Vec<(Instant, bool)>>);

impl News {
    pub(super) fn tell(&mut self, server: Server, lives: bool) {
        self.0.entry(server).or_default().push((Instant::now(), lives));
    }

    /// When the last instance at a server had been told to have ended, at a time; nothing if one lives or has only now
    /// begun or ended, or if nobody told of any.
    fn ended(&self, server: &Server, at: Instant) -> Option<Instant> {
        let news = self.0.get(server).map_or(&[][..], Vec::as_slice);
        let before = &news[..news.partition_point(|(told, _)| *told <= at)];
        let recent = before.iter().any(|(told, lives)| *lives && at.duration_since(*told) <= DELAY);
        match before.last() {
            Some((told, false)) if !recent && at.duration_since(*told) > DELAY => Some(*told),
            _ => None,
        }
    }
}

/// What HAProxy said, and when it was asked.
#[derive(Default)]
pub struct Servers(Mutex<Vec<(Instant, BTreeSet<Server>)>>);

impl Servers {
    /// Whether no server stayed whose instance's end had been told.
    ///
    /// # Errors
    /// The first that did.
    pub(super) fn check(&self, news: &News, troubles: &[Trouble], began: Instant) -> Result<String, String> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut judged, mut excused) = (0, 0);
        for (at, servers) in looks.iter() {
            let hidden = |from| troubles.iter().any(|trouble| trouble.hides_events(from, *at, SETTLE));
            let stale = servers.iter().filter_map(|server| Some((server, news.ended(server, *at)?)));
            for ((host, port), told) in stale {
                if !hidden(told) {
                    let (after, since) = (*at - told, *at - began);
                    return Err(format!(
                        "{since:?} after the beginning HAProxy leads to {host}:{port}, whose end was told {after:?} before"
                    ));
                }
            }
            if hidden(*at) { excused += 1 } else { judged += 1 }
        }
        if judged == 0 {
            return Err("HAProxy was never seen while all was well with those who tell it".to_owned());
        }
        Ok(format!("{judged} looks at its servers, {excused} while news may have been late"))
    }
}

/// Looks until it is stopped.
pub(super) async fn watch(socket: PathBuf, asker: Asker, seen: Arc<Seen>) {
    let mut last = BTreeSet::new();
    while !asker.stopped() {
        let at = Instant::now();
        // Without an answer there is nobody who leads anywhere, or nobody who can say.
        if let Ok(Ok(servers)) = tokio::time::timeout(PATIENCE, look(&socket)).await {
            if servers != last {
                asker.note(&json!({ "servers": servers }));
                last.clone_from(&servers);
            }
            seen.servers.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, servers));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The servers that get requests now.
async fn look(socket: &Path) -> std::io::Result<BTreeSet<Server>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"show servers state\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.lines().filter_map(serving).collect())
}

/// A line has the backend's number and name, the server's, its address, state and flags; the port is the nineteenth.
fn serving(line: &str) -> Option<Server> {
    let fields: Vec<&str> = line.split(' ').collect();
    let (address, state, flags) = (fields.get(4)?, *fields.get(5)?, fields.get(6)?.parse::<u32>().ok()?);
    let port = fields.get(18)?.parse().ok()?;
    (state == RUNNING && flags & KEPT_FROM == 0).then(|| ((*address).to_owned(), port))
}

/// At rest HAProxy leads to all instances of the sites, and to nothing else.
///
/// # Errors
/// What it leads to instead.
pub(super) async fn check_rest(nodes: &Nodes, http: &reqwest::Client) -> Result<String, String> {
    eventually(async || {
        let mut wanted = BTreeSet::new();
        for (id, _) in [STEADY, CHANGING] {
            let found = ask_marathon(http, nodes, &format!("/v2/apps{id}/tasks")).await?;
            wanted.extend(found["tasks"].as_array().into_iter().flatten().filter_map(server));
        }
        let servers = look(&nodes.haproxy_socket()).await.map_err(|error| error.to_string())?;
        if servers == wanted && !wanted.is_empty() {
            Ok(format!("{} servers of two sites", wanted.len()))
        } else {
            Err(format!("the sites run at {wanted:?}, HAProxy leads to {servers:?}"))
        }
    })
    .await
}

/// Where a task, or what an event says of one, has its first port.
pub(super) fn server(task: &Value) -> Option<Server> {
    let port = task["ports"][0].as_u64().and_then(|port| u16::try_from(port).ok())?;
    Some((task["host"].as_str()?.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_stale_once_its_end_has_been_told_for_a_while() {
        let server = ("10.0.0.1".to_owned(), 31_000);
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let told = |news: &[(u64, bool)]| {
            let news = news.iter().map(|(seconds, lives)| (at(*seconds), *lives)).collect();
            News(BTreeMap::from([(server.clone(), news)]))
        };
        let news = told(&[(1, true), (10, false)]);
        assert_eq!(news.ended(&server, at(9)), None, "it lives");
        assert_eq!(news.ended(&server, at(12)), None, "it has only now ended");
        assert_eq!(news.ended(&server, at(14)), Some(at(10)));
        assert_eq!(
            told(&[(10, false), (11, true)]).ended(&server, at(20)),
            None,
            "another came to its place"
        );
        assert_eq!(told(&[]).ended(&server, at(20)), None, "nobody told of it");
    }

    #[test]
    fn only_servers_that_get_requests_count() {
        let line = |state: u8, flags: u8| {
            format!("3 web_10001 1 i-5 10.213.4.14 {state} {flags} 1 1 23 1 0 0 0 0 0 0 - 31002 - 0 0 - - 0")
        };
        assert_eq!(serving(&line(2, 0)), Some(("10.213.4.14".to_owned(), 31_002)));
        assert_eq!(serving(&line(2, 8)), None, "it drains");
        assert_eq!(serving(&line(0, 1)), None, "it is in maintenance");
        assert_eq!(serving("# be_id be_name srv_id srv_name srv_addr srv_op_state"), None);
    }
}
