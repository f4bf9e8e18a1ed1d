//! Shapes of the Marathon v2 REST API, as its clients read and write them.
//!
//! One struct serves both directions: every field of a request may be absent, and `null` counts as absent (one
//! client library sends explicit nulls). Answers fill every field the wire profile names, so that clients which index
//! keys directly find `null` or `[]` rather than nothing; fields that strict clients reject are left out unless set.
//! No rule of the API is checked here: a value that parses may still be refused by the supervisor.

mod app;
mod deployment;
mod drain;
mod error;
mod event;
mod group;
mod health;
mod info;
mod network;
mod number;
mod queue;
mod task;

pub use app::{
    App, AppInfo, AppResponse, AppsResponse, Constraint, DeploymentRef, EnvValue, Fetch, Residency,
    SecretSource, StarResponse, TaskFailure, UnreachableStrategy, UpgradeStrategy, VersionInfo,
    VersionsResponse,
};
pub use deployment::{Action, CurrentAction, Deployment, DeploymentResult, Step, Wait};
pub use drain::{DrainAcknowledgement, DrainingTask, DrainsResponse};
pub use error::{ErrorResponse, FieldErrors};
pub use event::{Event, EventPlan, EventStep, lighten};
pub use group::Group;
pub use health::{Command, HealthCheck, HealthCheckResult};
pub use info::{HttpConfig, Info, Leader, MarathonConfig, Message, ZookeeperConfig};
pub use network::{Network, PortDefinition};
pub use number::Number;
pub use queue::{
    Delay, OfferSummary, ProcessedOffersSummary, Queue, QueueItem, RejectSummary, UnusedOffer,
    UnusedOfferResource,
};
pub use task::{IpAddress, KillTasks, Task, TaskResponse, TasksResponse};
