//! What the supervisor is told and what it asks for: the two closed lists between it and its driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::time::Span;

use super::state::State;
use crate::core::app::{AppDefinition, Fetch, HealthCheck};
use crate::core::errors::Errors;
use crate::core::id::{AppId, DeploymentId};
use crate::core::instance::Instance;
use crate::core::kill::Kill;
use crate::core::offer::Offer;
use crate::core::update::TaskUpdate;
use crate::core::version::Version;
use model::resources::Bag;

#[derive(Debug)]
pub enum Input {
    /// This process leads now; `records` is all that is stored.
    Elected {
        seed: [u64; 2],
        records: Vec<Record>,
    },
    /// This process leads no more.
    Deposed,
    Subscribed {
        framework: FrameworkId,
        master: String,
    },
    Disconnected,
    /// The master says that this framework was removed: its tasks are dead and its id is spent.
    FrameworkRemoved,
    Offers(Vec<Offer>),
    Update(TaskUpdate),
    DrainerConnected {
        name: String,
    },
    DrainerDisconnected {
        name: String,
    },
    /// The deadline passed.
    Wake,
}

/// A key and its value, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: String,
    pub value: Vec<u8>,
}

/// Who asked, for the events that tell of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub client_ip: String,
    pub uri: String,
}

/// A change asked for through the API. Documents are the wire's, read once when they are merged.
#[derive(Debug, Clone)]
pub enum Command {
    Create {
        document: Box<wire::marathon::App>,
        force: bool,
    },
    Update {
        app: AppId,
        document: Box<wire::marathon::App>,
        options: UpdateOptions,
    },
    UpdateMany {
        documents: Vec<wire::marathon::App>,
        options: UpdateOptions,
    },
    Delete {
        app: AppId,
        force: bool,
    },
    Restart {
        app: AppId,
        force: bool,
    },
    Kill {
        selection: Selection,
        scale: bool,
        wipe: bool,
        force: bool,
    },
    CancelDeployment {
        deployment: DeploymentId,
        force: bool,
    },
    ResetDelay {
        app: AppId,
    },
    /// A drainer has let go of these tasks.
    Drained {
        drainer: String,
        tasks: Vec<TaskId>,
    },
}

impl Command {
    /// The group whose tree the command changes, as events name it: that of a single app, or the root.
    pub fn group(&self) -> AppId {
        match self {
            Self::Create { document, .. } => {
                let id = document.id.as_deref().and_then(|id| AppId::parse_group(id, &AppId::root()).ok());
                id.map_or_else(AppId::root, |id| id.parent())
            }
            Self::Update { app, .. } | Self::Delete { app, .. } | Self::Restart { app, .. } => app.parent(),
            Self::Kill { selection: Selection::App { app, .. } | Selection::Task { app, .. }, .. } => {
                app.parent()
            }
            _ => AppId::root(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateOptions {
    pub force: bool,
    /// Absent fields keep their values; otherwise they get their defaults.
    pub partial: bool,
    /// A missing app is made.
    pub create: bool,
}

/// Tasks to be killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every task of an app, or those on one host.
    App {
        app: AppId,
        host: Option<String>,
    },
    Task {
        app: AppId,
        task: TaskId,
    },
    /// Unknown ones are skipped.
    Tasks(Vec<TaskId>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Created { app: Arc<AppDefinition>, deployment: DeploymentId },
    Deployed { version: Version, deployment: DeploymentId, created: bool },
    Killing(Vec<Arc<Instance>>),
    Cancelled,
    Done,
}

/// Why a command was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this instance is not the leader")]
    NotLeader,
    #[error("Object is not valid")]
    Invalid(Errors),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unprocessable(String),
    #[error("App '{0}' does not exist")]
    UnknownApp(AppId),
    #[error("App '{0}' does not exist in version {1}")]
    UnknownVersion(AppId, Version),
    #[error("Task '{0}' does not exist")]
    UnknownTask(TaskId),
    #[error("DeploymentPlan {0} does not exist")]
    UnknownDeployment(DeploymentId),
    #[error("Application {0} not found in tasks queue.")]
    NotQueued(AppId),
    #[error("An app with id [{0}] already exists.")]
    Exists(AppId),
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    )]
    Locked(Vec<DeploymentId>),
    #[error("Too many deployments ({0}) in progress: the limit is {0}")]
    TooManyDeployments(usize),
}

/// What is to be done, in this order: nothing before what stands before it is stored.
#[derive(Debug)]
pub enum Effect {
    /// Store all of this at once.
    Store(Vec<Operation>),
    Call(Call),
    /// Stored events, in order.
    Publish(Vec<Arc<Published>>),
    /// What readers see from now on.
    View(Arc<State>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Put { key: String, value: Vec<u8> },
    Delete { key: String },
}

/// An event with its place in the stream, which survives a change of leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub number: u64,
    pub kind: &'static str,
    /// One line of JSON.
    pub payload: String,
}

/// What is asked of the master.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Accept { offer: OfferId, launches: Vec<Launch>, refuse: Span },
    Decline { offers: Vec<OfferId>, refuse: Span },
    Revive,
    Kill(Kill),
}

/// A task to be launched, with everything the agent needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    pub task: TaskId,
    pub agent: AgentId,
    pub name: String,
    pub cmd: Option<String>,
    pub args: Vec<String>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub fetch: Vec<Fetch>,
    pub resources: Bag,
    /// The check and the port it probes.
    pub health_check: Option<(HealthCheck, u16)>,
    pub kill_grace: Option<Span>,
    pub labels: BTreeMap<String, String>,
    pub ports: Vec<LaunchedPort>,
}

/// A port as told to service discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchedPort {
    pub number: u16,
    pub protocol: String,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
}
