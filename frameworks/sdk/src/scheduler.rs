//! A scheduler is a small trait, and one call runs it.
//!
//! [`run`] does what every framework needs: one of several instances leads, by a lease; the leader reads the records,
//! subscribes, follows redirects and failovers, asks how tasks stand after each and from time to time, stores what a step
//! wants stored before it does what the step wants done, acknowledges updates then and not before, and keeps repetitions
//! of updates to itself, except that one may come once more after a failover.
//!
//! ```no_run
//! use sdk::offer::{Need, Offer};
//! use sdk::scheduler::{Records, Scheduler, Settings, run};
//! use sdk::step::Step;
//! use sdk::task::Task;
//! use sdk::update::Update;
//! use sdk::{AgentId, Failure, TaskId};
//!
//! /// Keeps one task running. The number of its attempt is all it remembers.
//! #[derive(Default)]
//! struct Keeper {
//!     attempt: u64,
//!     running: Option<TaskId>,
//! }
//!
//! impl Scheduler for Keeper {
//!     fn elected(&mut self, records: &Records, _: &mut Step) -> Result<(), Failure> {
//!         self.attempt = records.get("attempt")?.unwrap_or(0);
//!         self.running = (self.attempt > 0).then(|| format!("keeper.{}", self.attempt).into());
//!         Ok(())
//!     }
//!
//!     fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
//!         self.running.iter().map(|task| (task.clone(), None)).collect()
//!     }
//!
//!     fn wants_offers(&self) -> bool {
//!         self.running.is_none()
//!     }
//!
//!     fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
//!         let need: Need = "cpus:0.1;mem:32".parse().expect("a need");
//!         for mut offer in offers {
//!             if self.running.is_none()
//!                 && let Some(share) = offer.take(&need)
//!             {
//!                 self.attempt += 1;
//!                 step.put("attempt", &self.attempt);
//!                 let task = Task::command(format!("keeper.{}", self.attempt), share, "exec sleep 1000");
//!                 self.running = Some(task.id());
//!                 step.launch(offer, vec![task]);
//!             }
//!         }
//!     }
//!
//!     fn update(&mut self, update: &Update, _: &mut Step) {
//!         if update.is_over() && self.running.as_ref() == Some(&update.task) {
//!             self.running = None;
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), sdk::scheduler::RunError> {
//! let settings = Settings::new("keeper", &["127.0.0.1:5050".to_owned()]);
//! run(settings, Keeper::default(), std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use client::state::State;
use client::{Credentials, Masters};
use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::time::{Span, Time};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use wire::scheduler::Event;
use wire::v1::{FrameworkInfo, framework_info};

use crate::engine::Reply;
use crate::leader::Office;
use crate::leadership::Standing;
use crate::limits;
use crate::offer::Offer;
use crate::step::Step;
use crate::store::Record;
use crate::terms::Terms;
use crate::update::Update;

/// An error of the scheduler's own.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The logic of a framework. All methods are called one after the other, on the one instance that leads; none may block.
pub trait Scheduler: Send + 'static {
    /// This instance leads from now on. Whatever it remembers is to be replaced by what the records say: another instance
    /// may have led meanwhile. Nothing is known of tasks yet; the master is asked about all of [`Self::tasks`].
    ///
    /// # Errors
    /// The records make no sense: the run ends with [`RunError::Scheduler`].
    fn elected(&mut self, records: &Records, step: &mut Step) -> Result<(), Failure>;

    /// The tasks that are not over as far as this scheduler knows, launched by it or by an instance before it. The master
    /// is asked about them until it has spoken of each.
    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)>;

    /// What is offered. An offer that the step neither answers nor keeps is declined.
    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step);

    /// What the cluster says of a task, possibly of one that this scheduler does not know. It is acknowledged when the
    /// step is stored. After a failover it may come once more.
    fn update(&mut self, update: &Update, step: &mut Step);

    /// Whether there is anything to launch. When it turns false the master is asked to make no offers, when it turns true
    /// to make them at once.
    fn wants_offers(&self) -> bool {
        true
    }

    /// When [`Self::wake`] is due.
    fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// The deadline has passed.
    fn wake(&mut self, _step: &mut Step) {}

    /// The master of this name has taken the subscription, for the first time or after another was lost.
    fn subscribed(&mut self, _framework: &FrameworkId, _master: &str, _step: &mut Step) {}

    /// The master is lost: offers that were kept are void. Tasks go on.
    fn disconnected(&mut self, _step: &mut Step) {}

    /// The framework was removed from the cluster, by an operator or because it was away for longer than its failover
    /// timeout: its tasks are dead, and it comes back as another.
    fn removed(&mut self, step: &mut Step) {
        self.disconnected(step);
    }

    /// An offer that was kept is taken back.
    fn rescinded(&mut self, _offer: &OfferId, _step: &mut Step) {}

    /// Any other event: messages of executors, failures, inverse offers, the outcome of operations.
    fn event(&mut self, _event: &Event, _step: &mut Step) {}

    /// This instance leads no more.
    fn deposed(&mut self) {}
}

/// What is stored, by key.
#[derive(Debug, Default)]
pub struct Records(Vec<Record>);

impl Records {
    /// What was read of the store; whatever the kit keeps there for itself is left out.
    pub fn new(stored: Vec<Record>) -> Self {
        Self::under_prefix(RECORDS, stored)
    }

    /// As [`Self::new`], for records of other keys: see [`Settings::records`].
    pub fn under_prefix(prefix: &str, stored: Vec<Record>) -> Self {
        let ours = stored.into_iter().filter_map(|record| {
            let key = record.key.strip_prefix(prefix)?.to_owned();
            Some(Record { key, ..record })
        });
        Self(ours.collect())
    }

    /// One record.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, RunError> {
        self.0.iter().find(|record| record.key == key).map(read).transpose()
    }

    /// The records under a prefix, by the rest of the key, in order.
    ///
    /// # Errors
    /// One of them is not a `T`.
    pub fn under<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, RunError> {
        let under = self.0.iter().filter_map(|record| Some((record.key.strip_prefix(prefix)?, record)));
        under.map(|(rest, record)| Ok((rest.to_owned(), read(record)?))).collect()
    }

    /// All of them in order, as keys and bytes, for a scheduler that reads them in its own way.
    pub fn raw(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|record| (record.key.as_str(), &*record.value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none: nobody has led before.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn read<T: DeserializeOwned>(record: &Record) -> Result<T, RunError> {
    serde_json::from_slice(&record.value)
        .map_err(|error| RunError::Record { key: record.key.clone(), reason: error.to_string() })
}

/// What the keys of records begin with in the store, apart from what the kit itself keeps there.
pub const RECORDS: &str = "records/";

/// How a framework runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` of masters; any will do.
    pub masters: Vec<String>,
    /// Who the framework says it is to masters that ask. Its namespace then is the principal's name, or begins with it and
    /// a slash.
    pub credentials: Option<Credentials>,
    /// The key-value namespace of the records; instances of one framework share it.
    pub namespace: String,
    /// What the keys of records begin with in that namespace: [`RECORDS`], unless there are records of an earlier program
    /// under other keys. With another the scheduler must keep off `leader` and `framework`, which are the kit's.
    pub records: &'static str,
    /// What standbys are told of this instance when it leads: its address, if it has one.
    pub instance: String,
    /// For how long what is declined is not wanted, unless the step says otherwise.
    pub refuse: Span,
    /// What the masters are told of the framework. Its id is filled in.
    pub info: FrameworkInfo,
}

/// What this kit understands, and so every framework on it.
pub fn capabilities() -> Vec<framework_info::Capability> {
    use framework_info::capability::Type;
    // Without GPU_RESOURCES no agent that has any is offered, and a task that wants one waits for ever.
    let kinds = [
        Type::PartitionAware,
        Type::TaskKillingState,
        Type::MultiRole,
        Type::ReservationRefinement,
        Type::GpuResources,
    ];
    kinds.map(|kind| framework_info::Capability { r#type: Some(kind.into()) }).to_vec()
}

impl Settings {
    /// A framework that stays for a week without any instance, is in role `*`, and understands what this kit does.
    pub fn new(name: &str, masters: &[String]) -> Self {
        Self {
            masters: masters.to_vec(),
            credentials: None,
            namespace: name.to_owned(),
            records: RECORDS,
            instance: format!("{name}-{}", std::process::id()),
            refuse: model::limits::REFUSE_DEFAULT,
            info: FrameworkInfo {
                name: name.to_owned(),
                failover_timeout: Some(Span::from_days(7).as_secs_f64()),
                checkpoint: Some(true),
                roles: vec!["*".to_owned()],
                capabilities: capabilities(),
                ..Default::default()
            },
        }
    }
}

/// Why a run has ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting makes no sense; nothing was started.
    #[error("{0}")]
    Settings(String),
    /// A record cannot be stored or read.
    #[error("record `{key}`: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// The rule.
        reason: String,
    },
    /// The master does not want this framework.
    #[error("the master refuses the subscription: {0}")]
    Refused(String),
    /// The scheduler cannot make sense of what is stored.
    #[error("{0}")]
    Scheduler(Failure),
}

/// Runs a scheduler until it has finished, which gives it back, or until `shutdown` resolves, which leaves its tasks
/// running: `None`.
///
/// # Errors
/// See [`RunError`]. Masters that do not answer are no error: they are waited for.
pub async fn run<S: Scheduler>(
    settings: Settings,
    scheduler: S,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<S>, RunError> {
    Runner::new(settings, scheduler)?.run(shutdown).await
}

/// A scheduler that is about to run, and a handle for the rest of the process.
pub struct Runner<S> {
    settings: Settings,
    scheduler: S,
    desk: Desk<S>,
    handle: Handle<S>,
}

impl<S: Scheduler> Runner<S> {
    /// Prepares a run.
    ///
    /// # Errors
    /// [`RunError::Settings`].
    pub fn new(settings: Settings, scheduler: S) -> Result<Self, RunError> {
        check(&settings)?;
        let (handle, desk) = desk();
        Ok(Self { settings, scheduler, desk, handle })
    }

    /// The way for other parts of the process, an HTTP API for example, to ask the scheduler.
    pub fn handle(&self) -> Handle<S> {
        self.handle.clone()
    }

    /// See [`run`].
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Option<S>, RunError> {
        let masters =
            Masters::new(&self.settings.masters).with_credentials(self.settings.credentials.clone());
        let state = State::new(masters.clone(), &self.settings.namespace);
        let terms =
            Terms { state: state.clone(), key: LEADER.to_owned(), name: self.settings.instance.clone() };
        let (shown, abdicate) = (self.desk.shown.clone(), Arc::clone(&self.handle.abdicate));
        let mut office = Office::new(self.settings, masters, state, self.scheduler, self.desk);
        let done = terms.run(&mut office, &shown, &abdicate, shutdown).await;
        done.transpose().map(|finished| finished.map(|()| office.into_scheduler()))
    }
}

/// The key whose holder leads.
const LEADER: &str = "leader";

fn check(settings: &Settings) -> Result<(), RunError> {
    let refused = |text: String| Err(RunError::Settings(text));
    if let Err(rule) = Masters::check(&settings.masters) {
        return refused(format!("master {rule}"));
    }
    if settings.namespace.is_empty() {
        return refused("namespace must not be empty".to_owned());
    }
    if settings.info.name.is_empty() {
        return refused("info.name must not be empty".to_owned());
    }
    for role in &settings.info.roles {
        if let Err(error) = role.parse::<model::role::Role>() {
            return refused(format!("role '{role}': {error}"));
        }
    }
    Ok(())
}

/// A question to the scheduler; what it returns tells the answer.
pub type Ask<S> = Box<dyn FnOnce(&mut S, &mut Step) -> Reply + Send>;

/// A handle, and the side of the one who runs the scheduler. [`Runner`] has one; another who drives an
/// [`Engine`](crate::engine::Engine), a test for example, makes one to have its questions asked.
pub fn desk<S>() -> (Handle<S>, Desk<S>) {
    let (sender, asks) = mpsc::channel(limits::ASKS);
    let (shown, standing) = watch::channel(Standing::Following { leader: None });
    (Handle { asks: sender, standing, abdicate: Arc::default() }, Desk { asks, shown })
}

/// Where the questions of [`Handle`]s arrive, and where they are told how this instance stands.
pub struct Desk<S> {
    asks: mpsc::Receiver<Ask<S>>,
    shown: watch::Sender<Standing>,
}

impl<S> Desk<S> {
    /// The next question. Pending for ever once all handles are gone.
    pub async fn next(&mut self) -> Ask<S> {
        match self.asks.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }

    /// Leaves all questions unanswered that have come so far.
    pub fn clear(&mut self) {
        while self.asks.try_recv().is_ok() {}
    }

    /// Tells how this instance stands now.
    pub fn show(&self, standing: Standing) {
        self.shown.send_replace(standing);
    }
}

impl<S> fmt::Debug for Desk<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("standing", &*self.shown.borrow()).finish_non_exhaustive()
    }
}

/// Asks the scheduler from elsewhere in the process.
pub struct Handle<S> {
    asks: mpsc::Sender<Ask<S>>,
    standing: watch::Receiver<Standing>,
    abdicate: Arc<Notify>,
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self {
            asks: self.asks.clone(),
            standing: self.standing.clone(),
            abdicate: Arc::clone(&self.abdicate),
        }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("standing", &*self.standing.borrow()).finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Another instance leads: ask there.
    #[error("this instance does not lead")]
    NotLeading {
        /// The name it gave itself, if one is known to lead.
        leader: Option<String>,
    },
    /// Leadership was lost before what was asked for was stored: whether it is, is unknown.
    #[error("leadership was lost before the outcome was known")]
    Unknown,
}

impl<S: Scheduler> Handle<S> {
    /// Runs `ask` between two events, as a step of the scheduler. The answer comes when the step is stored. When it is
    /// dropped before `ask` has had its turn, nothing is done.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut S, &mut Step) -> R + Send + 'static,
    ) -> Result<R, AskError> {
        let mut standing = self.standing.clone();
        if let Standing::Following { leader } = &*standing.borrow_and_update() {
            return Err(AskError::NotLeading { leader: leader.clone() });
        }
        let (answer, answered) = oneshot::channel();
        let asked: Ask<S> = Box::new(move |scheduler, step| {
            // Nobody waits any more, and may have asked another leader since.
            if answer.is_closed() {
                return Box::new(|| ());
            }
            let result = ask(scheduler, step);
            // Who went away needs no answer.
            Box::new(move || drop(answer.send(result)))
        });
        let deposed = standing.wait_for(|standing| matches!(standing, Standing::Following { .. }));
        tokio::select! {
            biased;
            result = async {
                self.asks.send(asked).await.ok()?;
                answered.await.ok()
            } => result.ok_or(AskError::Unknown),
            _ = deposed => Err(AskError::Unknown),
        }
    }

    /// Runs `tell` between two events, as a step of the scheduler. Returns when it is certain to have its turn, unless this
    /// instance leads no more by then. Where another leads nothing is done.
    pub async fn tell(&self, tell: impl FnOnce(&mut S, &mut Step) + Send + 'static) {
        if matches!(&*self.standing.borrow(), Standing::Following { .. }) {
            return;
        }
        let told: Ask<S> = Box::new(move |scheduler, step| {
            tell(scheduler, step);
            Box::new(|| ())
        });
        // Without a receiver the process is about to end.
        let _ = self.asks.send(told).await;
    }

    /// Whether a question would have to wait for room ([`limits::ASKS`]).
    pub fn is_full(&self) -> bool {
        self.asks.capacity() == 0
    }

    /// Has this instance give up leadership, if it has it, and leave it to another for [`limits::ABDICATION`].
    pub fn abdicate(&self) {
        self.abdicate.notify_one();
    }

    /// How this instance stands, and a way to wait for its change.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }
}
