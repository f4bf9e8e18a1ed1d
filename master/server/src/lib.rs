//! The master process: driver loop, HTTP routes, peers, metrics.
//!
//! | file | its one subject |
//! |---|---|
//! | `guard.rs` | who may ask for what |
//! | `driver.rs` | the loop that owns the core: inputs in, effects out |
//! | `door.rs` | the accept loop, and what a connection may cost |
//! | `routes/` | one file per API |
//! | `streams.rs`, `link.rs` | bounded queues towards schedulers, operators, agents |
//! | `large.rs` | reads of the whole state, written while they are read |
//! | `peers.rs`, `group.rs` | streams between masters; founding and starting the replica |
//! | `membership.rs`, `join.rs` | changes of the group while it runs; a master that comes later |
//! | `machine.rs` | the registry as the replica sees it |
//! | `redirect.rs` | where to go when this master does not lead |
//!
//! Decisions are made in `master_core` and `replica`; here is only what talks to the world.

// A refusal is an answer like any other: boxing it would cost each good one an allocation nobody needs.
#![allow(clippy::result_large_err)]

mod answer;
mod app;
mod body;
mod config;
mod driver;
mod group;
mod guard;
mod join;
mod large;
pub mod level;
mod limits;
mod link;
pub mod machine;
mod membership;
mod metrics;
mod path;
mod peers;
mod recent;
mod redirect;
mod routes;
mod streams;
mod who;
mod wireup;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use front::door;
use master_core::registry::LEVEL;
use master_core::settings::Settings;
use model::time::Span;
use replica::disk::RocksDisk;
use replica::form::Forming;
use replica::{DataDir, Fatal, NodeId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::ServiceExt;

pub use config::{Config, Error};
pub use front::logging::Logs;
pub use routes::state::{About, write_state};

use crate::app::{App, Given, Standing};
use crate::driver::{Driver, Message};
use crate::group::{Running, Storage};

/// Runs a master until `shutdown` resolves or it cannot go on.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Master::open(config).await?.serve(shutdown).await
}

/// A master that listens and has its data directory, but serves nobody yet.
pub struct Master {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    inbox: mpsc::Receiver<Message>,
    storage: Storage,
    /// A member of the group to ask for admission, while this master does not belong to it.
    join: Option<String>,
}

impl Master {
    /// Takes the address and the data directory. Nothing is started, and nothing written but an identity in an empty
    /// directory.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let listen_error = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let advertise = config.advertised(address)?;
        // Whoever joins founds nothing: that it waits for another member is all that this list has to say.
        let peers = match &config.join {
            Some(member) if *member == advertise => {
                return Err(Error::Config(format!("--join {member} is this master itself")));
            }
            Some(member) => vec![advertise.clone(), member.clone()],
            None if config.peers.is_empty() => vec![advertise.clone()],
            None => config.peers.clone(),
        };
        if peers.len() > 1 && config.guard.is_some() && guard::own(config.guard.as_ref()).is_none() {
            return Err(Error::Config(
                "--credentials names nobody with the role `master`, by whom the masters would know each other"
                    .to_owned(),
            ));
        }
        // Refused before anything is written.
        let domain = config::domain(config.domain.as_deref())?;
        let authority = Arc::new(guard::authority(config.guard.as_ref()).map_err(Error::Config)?);
        Forming::new(NodeId(1), &advertise, &peers)?;
        let metrics = metrics::Metrics::new();
        let observer = metrics.sync_observer();
        let path = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let dir = DataDir::open(&path, NodeId(who::random() | 1))?;
            let disk = RocksDisk::open(dir.path(), observer).map_err(Fatal::from)?;
            let mut storage = Storage { dir, disk };
            let founding = storage.founding()?;
            let member = storage.is_member()?;
            Ok::<_, Error>((storage, founding, member))
        });
        let (storage, founding, member) =
            opened.await.map_err(|error| Error::System(error.to_string()))??;
        let forming = match founding {
            Some(founding) => Forming::member(storage.dir.node(), &advertise, founding).at_level(LEVEL),
            None => Forming::new(storage.dir.node(), &advertise, &peers)?.at_level(LEVEL),
        };
        let ip = who::resolve(&advertise).await;
        let flags = flags(&config, &advertise);
        let (sender, inbox) = mpsc::channel(limits::INBOX);
        let app = Arc::new(App::new(
            advertise.into(),
            ip,
            flags,
            forming,
            metrics,
            sender,
            Given {
                domain,
                offer_timeout: config.offer_timeout,
                guard: config.guard,
                authority,
                logs: config.logs,
            },
        ));
        let join = config.join.filter(|_| !member);
        Ok(Self { listener, address, app, inbox, storage, join })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves or the master cannot go on. Ends within ten seconds of the request.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { listener, address, app, inbox, storage, join } = self;
        tracing::info!(%address, advertise = %app.advertise, node = %storage.dir.node(), "master listening");
        let (ending, ended) = watch::channel(false);
        let door = tokio::spawn(serve_requests(listener, app.clone(), ended.clone()));
        let result = life(&app, (storage, join), inbox, &ending, ended, shutdown).await;
        app.standing.send_replace(Standing::Ending);
        ending.send_replace(true);
        if let Err(error) = door.await {
            tracing::error!(%error, "the accept loop failed");
        }
        if let Some(group) = app.group.get() {
            group.peers.close();
        }
        tracing::info!("master ended");
        result
    }
}

/// Serves requests until `ended` is set.
async fn serve_requests(listener: TcpListener, app: Arc<App>, mut ended: watch::Receiver<bool>) {
    let tally = app.metrics.connections.clone();
    let service = routes::router(app).map_request(path::normalize);
    let bounds = door::Bounds {
        connections: limits::CONNECTIONS,
        head: limits::HEAD_TIME,
        head_bytes: limits::HEAD_BYTES,
        headers: limits::HEADERS,
        unread: limits::UNREAD_TIME,
        keep_alive: limits::KEEP_ALIVE,
        drain: limits::DRAIN,
    };
    // The sender's end is the process's end.
    let ended = async move { drop(ended.wait_for(|ended| *ended).await) };
    door::serve(listener, service, bounds, &tally, ended).await;
}

/// From the founding of the group to the end of the driver.
async fn life(
    app: &Arc<App>,
    (storage, join): (Storage, Option<String>),
    inbox: mpsc::Receiver<Message>,
    ending: &watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut shutdown = std::pin::pin!(shutdown);
    let newly = storage.dir.founding().is_none();
    let (storage, acquaintances) = tokio::select! {
        formed = belong(app, storage, join) => formed?,
        () = &mut shutdown => return Ok(()),
    };
    let starting = app.clone();
    // Reads the snapshot and the log, which may take a while.
    let started = tokio::task::spawn_blocking(move || group::start(&starting, storage, acquaintances));
    let running = started.await.map_err(|error| Error::System(error.to_string()))??;
    let Running { handle, events, view, mut expelled, thread, dir } = running;
    let promotion = tokio::spawn(membership::promote_newcomers(app.clone()));
    let offer_timeout = app
        .offer_timeout
        .map(|timeout| Span::from_millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)));
    let settings = Settings { offer_timeout, authority: app.authority.clone(), ..Settings::default() };
    let driver = Driver::new(app.clone(), handle.clone(), events, inbox, view, settings);
    let mut driver = tokio::spawn(driver.run(ended));
    if newly && app.with_forming(|forming| forming.is_founder()) {
        // Nobody has led yet, so nobody is missed for an election timeout. If the others are not there yet, it will take one.
        let handle = handle.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limits::FIRST_CAMPAIGN).await;
            handle.campaign();
        });
    }
    let result = tokio::select! {
        result = &mut driver => match result {
            Ok(result) => result.map_err(Error::from),
            Err(error) => Err(Error::System(format!("the master's loop failed: {error}"))),
        },
        fatal = expulsion(&mut expelled) => Err(fatal.into()),
        () = &mut shutdown => {
            hand_over(app, &handle).await;
            Ok(())
        }
    };
    promotion.abort();
    app.standing.send_replace(Standing::Ending);
    ending.send_replace(true);
    if !driver.is_finished() {
        let _ = driver.await;
    }
    let stop = tokio::task::spawn_blocking(move || {
        handle.stop();
        let ended = thread.join();
        drop(dir);
        ended.is_ok()
    });
    if !matches!(timeout(limits::DRAIN, stop).await, Ok(Ok(true))) {
        tracing::warn!("the replica did not end in order");
    }
    result
}

/// To a group that is founded now, was founded before, or runs and admits us.
async fn belong(
    app: &Arc<App>,
    storage: Storage,
    join: Option<String>,
) -> Result<(Storage, join::Acquaintances), Error> {
    match join {
        Some(member) => join::join(app, storage, &member).await,
        None => group::form(app, storage).await.map(|storage| (storage, Vec::new())),
    }
}

/// Resolves when another member says that this one has no place in the group any more.
async fn expulsion(expelled: &mut watch::Receiver<Option<Fatal>>) -> Fatal {
    loop {
        if let Some(fatal) = expelled.borrow_and_update().clone() {
            return fatal;
        }
        if expelled.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Passes leadership on before leaving: an orderly stop need not cost the others an election timeout.
async fn hand_over(app: &App, handle: &replica::thread::Handle<machine::Registrar>) {
    let leads = |standing: &Standing| matches!(standing, Standing::Leading { .. });
    let alone = app.group.get().is_none_or(|group| group.members.borrow().len() < 2);
    if alone || !leads(&app.standing.borrow()) {
        return;
    }
    let begun = Instant::now();
    handle.hand_over();
    let mut standing = app.standing.subscribe();
    let passed = standing.wait_for(|standing| !leads(standing));
    let passed = timeout(limits::HAND_OVER, passed).await.is_ok();
    tracing::info!(passed, millis = begun.elapsed().as_millis() as u64, "handed leadership over");
}

fn flags(config: &Config, advertise: &str) -> Vec<(&'static str, String)> {
    let log_file = config.logs.as_ref().and_then(|logs| logs.file.as_ref());
    vec![
        ("advertise", advertise.to_owned()),
        ("authenticate", config.guard.is_some().to_string()),
        ("data_dir", config.data_dir.display().to_string()),
        ("domain", config.domain.clone().unwrap_or_default()),
        ("join", config.join.clone().unwrap_or_default()),
        ("listen", config.listen.to_string()),
        ("log_file", log_file.map(|file| file.display().to_string()).unwrap_or_default()),
        (
            "offer_timeout",
            config.offer_timeout.map(|time| format!("{}secs", time.as_secs_f64())).unwrap_or_default(),
        ),
        ("peers", config.peers.join(",")),
    ]
}
