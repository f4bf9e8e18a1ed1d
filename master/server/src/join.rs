//! A master that joins a running group: it asks to be admitted, takes over the founding record, and starts without being
//! one of the founders.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::Full;
use master_core::registry::LEVEL;
use replica::form::{Forming, Founding};
use replica::{ClusterId, NodeId};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::config::Error;
use crate::group::Storage;
use crate::wireup::{self, within};
use crate::{guard, limits, redirect};

/// What a leader tells a newcomer. Fields not known here are a later version's.
#[derive(Debug, Deserialize)]
struct Admission {
    group: String,
    founders: Vec<Someone>,
    members: Vec<Someone>,
}

#[derive(Debug, Deserialize)]
struct Someone {
    id: String,
    address: String,
}

/// Members of the group and where they are, as the leader said when it admitted us: whoever sends us the log must get our
/// answers before that log tells who it is.
pub(crate) type Acquaintances = Vec<(NodeId, String)>;

/// Asks to be admitted until a leader does it.
///
/// # Errors
/// When the group refuses for good, or the disk cannot be written.
pub(crate) async fn join(
    app: &Arc<App>,
    storage: Storage,
    through: &str,
) -> Result<(Storage, Acquaintances), Error> {
    let node = storage.dir.node();
    let mut told: Option<Instant> = None;
    let admission = loop {
        match ask(app, node, through).await {
            Ok(admission) => break admission,
            Err(Refused::ForGood(reason)) => {
                return Err(Error::Config(format!("cannot join the group at {through}: {reason}")));
            }
            Err(Refused::ForNow(error)) => {
                if told.is_none_or(|last| last.elapsed() > Duration::from_secs(5)) {
                    told = Some(Instant::now());
                    tracing::info!(through, %error, "waiting to be admitted to the group");
                }
                tokio::time::sleep(limits::JOIN_PAUSE).await;
            }
        }
    };
    let (founding, members) = admission.read().ok_or_else(|| {
        Error::Config(format!("the group at {through} tells its members in an unknown way"))
    })?;
    tracing::info!(group = %founding.cluster, members = members.len(), "admitted to the group");
    let storage = match storage.dir.founding() {
        // Admitted before, but ended before it had caught up. What it has of the log is good.
        Some(known) if known.cluster == founding.cluster => storage,
        Some(known) => {
            return Err(Error::Config(format!(
                "the data directory belongs to group {}, but the group at {through} is {}",
                known.cluster, founding.cluster
            )));
        }
        None => crate::group::store(storage, founding.clone()).await?,
    };
    app.with_forming(|forming| *forming = Forming::member(node, &app.advertise, founding).at_level(LEVEL));
    Ok((storage, members))
}

impl Admission {
    fn read(self) -> Option<(Founding, Acquaintances)> {
        let read = |all: Vec<Someone>| -> Option<Vec<(NodeId, String)>> {
            all.into_iter().map(|one| Some((one.id.parse().ok()?, one.address))).collect()
        };
        let cluster: ClusterId = self.group.parse().ok()?;
        Some((Founding { cluster, members: read(self.founders)? }, read(self.members)?))
    }
}

enum Refused {
    ForGood(String),
    ForNow(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::ForNow(error)
    }
}

/// One attempt, to the leader wherever it is.
async fn ask(app: &App, node: NodeId, through: &str) -> Result<Admission, Refused> {
    let body = Bytes::from(json!({ "id": node.to_string(), "address": &*app.advertise }).to_string());
    let mut address = through.to_owned();
    for _ in 0..limits::JOIN_HOPS {
        let mut sender = wireup::dial(&address).await?;
        let request = wireup::request(&address, "/members", body.clone(), guard::own(app.guard.as_ref()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(io::Error::other)?;
        let answer =
            within(limits::DIAL_TIME, async { sender.send_request(request).await.map_err(io::Error::other) })
                .await?;
        let (parts, content) = answer.into_parts();
        let content = wireup::small(content, limits::JOIN_BYTES).await?;
        let text = || format!("{}: {}", parts.status, String::from_utf8_lossy(&content));
        match parts.status {
            StatusCode::OK => {
                return serde_json::from_slice(&content).map_err(|error| Refused::ForGood(error.to_string()));
            }
            StatusCode::TEMPORARY_REDIRECT => {
                let location = parts.headers.get(header::LOCATION).and_then(redirect::host);
                address = location.ok_or_else(|| io::Error::other("it redirects to nowhere"))?.to_owned();
            }
            status if status.is_client_error() => return Err(Refused::ForGood(text())),
            _ => return Err(io::Error::other(text()).into()),
        }
    }
    Err(io::Error::other("the members send each other round").into())
}
