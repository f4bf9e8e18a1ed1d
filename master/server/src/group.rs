//! From a data directory to a running replica: the founding of the group, once, and the start.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use master_core::registry::Registry;
use replica::disk::RocksDisk;
use replica::form::{FormError, Founding};
use replica::thread::{Event, Handle, spawn};
use replica::wire::Frame;
use replica::{
    ClusterId, DataDir, DirError, Fatal, Members, Options, Output, Replica, Ticket, found, stored,
};
use tokio::sync::{mpsc, watch};

use crate::app::{App, Group, Standing};
use crate::config::Error;
use crate::guard;
use crate::join::Acquaintances;
use crate::level::Levels;
use crate::limits;
use crate::machine::Registrar;
use crate::membership::{Changes, NotMade};
use crate::peers::{Peers, greet};
use crate::who;

/// The lock on the directory and the open log: together from beginning to end.
pub(crate) struct Storage {
    pub(crate) dir: DataDir,
    pub(crate) disk: RocksDisk,
}

impl Storage {
    /// The group this disk belongs to. Log and identity are written one after the other, so one may lack the other.
    pub(crate) fn founding(&mut self) -> Result<Option<Founding>, Error> {
        let log = stored(&self.disk)?;
        let path = self.dir.path().display().to_string();
        match (self.dir.founding().cloned(), log) {
            (None, None) => Ok(None),
            (Some(founding), Some((cluster, _))) if founding.cluster == cluster => Ok(Some(founding)),
            (Some(founding), Some((cluster, _))) => {
                let why = format!(
                    "its identity names group {} but its log is of group {cluster}",
                    founding.cluster
                );
                Err(DirError::Unusable { path, why }.into())
            }
            (Some(_), None) => {
                let why = "its identity names a group but its log is gone. A member whose log is lost must join again with \
                           an empty data directory"
                    .to_owned();
                Err(DirError::Unusable { path, why }.into())
            }
            (None, Some((cluster, members))) => {
                // The process ended between the two: the log is the founding one and nothing is in it yet.
                let members = members.iter().map(|member| (member.id, member.address)).collect();
                let founding = Founding { cluster, members };
                self.dir.found(founding.clone())?;
                Ok(Some(founding))
            }
        }
    }

    /// Whether the disk's own snapshot counts this node among the members. A newcomer that has not caught up yet is none.
    pub(crate) fn is_member(&self) -> Result<bool, Error> {
        Ok(stored(&self.disk)?.is_some_and(|(_, members)| members.contains(self.dir.node())))
    }

    fn found(&mut self, founding: &Founding) -> Result<(), Error> {
        found::<Registrar, _>(&mut self.disk, founding)?;
        Ok(self.dir.found(founding.clone())?)
    }
}

/// Agrees with the other first members on a group and stores it. Ends at once where one was stored before.
pub(crate) async fn form(app: &Arc<App>, mut storage: Storage) -> Result<Storage, Error> {
    let mut told = Instant::now();
    while app.with_forming(|forming| forming.founding().is_none()) {
        // Decided on a copy, so that nobody hears of it before it is on the disk.
        let mut decided = app.with_forming(|forming| forming.clone());
        let fresh = ClusterId(uuid::Uuid::new_v4().as_u128());
        if let Some(founding) = decided.decide(fresh).cloned() {
            storage = store(storage, founding).await?;
            app.with_forming(|forming| *forming = decided);
            // The others would ask anyway; told, they start a little earlier.
            greet_all(app).await?;
            return Ok(storage);
        }
        let missing: Vec<String> =
            app.with_forming(|forming| forming.missing().into_iter().map(str::to_owned).collect());
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            tracing::info!("{}", crate::redirect::forming(&missing));
        }
        app.standing.send_replace(Standing::Forming { missing });
        greet_all(app).await?;
        tokio::time::sleep(limits::FORMING_PAUSE).await;
    }
    // Adopted from another member, possibly while it greeted us.
    let founding = app.with_forming(|forming| forming.founding().cloned());
    match founding {
        Some(founding) if storage.dir.founding().is_none() => store(storage, founding).await,
        _ => Ok(storage),
    }
}

pub(crate) async fn store(mut storage: Storage, founding: Founding) -> Result<Storage, Error> {
    tracing::info!(group = %founding.cluster, members = founding.members.len(), "group founded");
    let work = move || storage.found(&founding).map(|()| storage);
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::System(error.to_string()))?
}

async fn greet_all(app: &Arc<App>) -> Result<(), Error> {
    let others = app.with_forming(|forming| forming.hello().peers);
    for address in others.iter().filter(|address| **address != *app.advertise) {
        match greet(app, address).await {
            Ok(Frame::Hello(hello)) => match app.with_forming(|forming| forming.hear(&hello)) {
                Ok(()) => {}
                Err(error @ FormError::Disagree { .. }) => tracing::warn!("{error}"),
                Err(error) => return Err(error.into()),
            },
            Ok(_) => tracing::warn!(peer = %address, "a member answered a greeting with something else"),
            Err(error) => tracing::debug!(peer = %address, %error, "a first member does not answer yet"),
        }
    }
    Ok(())
}

/// A running replica and what it tells.
pub(crate) struct Running {
    pub(crate) handle: Handle<Registrar>,
    pub(crate) events: mpsc::Receiver<Event<Registrar>>,
    pub(crate) view: Registry,
    pub(crate) expelled: watch::Receiver<Option<Fatal>>,
    pub(crate) thread: JoinHandle<()>,
    /// Kept locked as long as the thread runs.
    pub(crate) dir: DataDir,
}

/// Starts the replica on a disk with a group.
///
/// A member that has just been admitted does not find itself in its own log yet; until it does, `acquaintances` are whom it
/// answers.
pub(crate) fn start(
    app: &Arc<App>,
    storage: Storage,
    acquaintances: Acquaintances,
) -> Result<Running, Error> {
    let Storage { dir, disk } = storage;
    let options = Options { seed: who::random(), ..Options::default() };
    let replica = Replica::<Registrar, _>::open(disk, dir.node(), options)?;
    let members = replica.members().clone();
    check_address(app, &dir, &members)?;
    let (view, files) = (replica.view(), replica.files());
    let peers = Peers::new(dir.node(), guard::own(app.guard.as_ref()), acquaintances);
    let expelled = peers.expelled();
    let group = Group {
        node: dir.node(),
        peers: peers.clone(),
        files: files.clone(),
        members: watch::Sender::new(members.clone()),
        status: watch::Sender::new(None),
        changes: Changes::default(),
        levels: Levels::default(),
    };
    // Set once: the replica is started once.
    let _ = app.group.set(group);
    let (sender, events) = mpsc::channel(limits::EVENTS);
    let outlet = {
        let (app, peers) = (app.clone(), peers.clone());
        move |event| match event {
            Event::Output(Output::Send(message)) => peers.send(message),
            Event::Output(Output::Fetch { from, descriptor }) => peers.fetch(files.clone(), from, descriptor),
            Event::Output(Output::Members { members, ticket, .. }) => {
                peers.set(&app, &members);
                if let Some(group) = app.group.get() {
                    group.members.send_replace(members);
                    if let Some(ticket) = ticket {
                        group.changes.settle(ticket, Ok(()));
                    }
                }
            }
            Event::Output(Output::Lost(ticket)) if settled(&app, ticket, NotMade::Unknown) => {}
            Event::Refused(ticket, ref why) if settled(&app, ticket, why.clone().into()) => {}
            Event::Status(status) => {
                app.metrics.replica(&status);
                if let Some(group) = app.group.get() {
                    group.status.send_replace(Some(status.clone()));
                }
                // The driver looks around once a tick; when it is busy, with the next one.
                let _ = sender.try_send(Event::Status(status));
            }
            other => {
                // Gone only when the driver is, and then the process ends.
                let _ = sender.blocking_send(other);
            }
        }
    };
    let started = spawn(replica, limits::TICK, outlet);
    let (handle, thread) =
        started.map_err(|error| Error::System(format!("cannot start a thread: {error}")))?;
    peers.attach(handle.clone());
    if let Some(group) = app.group.get() {
        group.changes.attach(handle.clone());
    }
    peers.set(app, &members);
    Ok(Running { handle, events, view, expelled, thread, dir })
}

/// Tells whoever waits for a change of the group that it was not made; `false` if the ticket is the core's.
fn settled(app: &App, ticket: Ticket, why: NotMade) -> bool {
    app.group.get().is_some_and(|group| group.changes.settle(ticket, Err(why)))
}

/// A member is known to the others by one address; a second one would never be dialled. Alone it may move.
fn check_address(app: &App, dir: &DataDir, members: &Members) -> Result<(), Error> {
    match members.address(dir.node()) {
        Some(known) if *known != *app.advertise && members.len() > 1 => Err(Error::Config(format!(
            "this member is known to its group as {known}, but it is told to advertise {}",
            app.advertise
        ))),
        _ => Ok(()),
    }
}
