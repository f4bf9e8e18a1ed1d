//! The agent without IO: tasks, status updates, checkpoints, health.
//!
//! [`Agent`] takes inputs with the time at which they happened and gives effects. A driver executes them on a real
//! machine; a simulator executes them in memory. Three rules carry the rest:
//!
//! - Every durable fact changes through a [`Record`], while running and while recovering alike, so a restarted agent
//!   is the one its records describe.
//! - What must be on disk before it is seen waits for it: orders of a higher term, launches, status updates.
//! - A status update is sent until it is acknowledged, in order, one at a time per task.
//!
//! Command tasks and groups of tasks have no executor process: the agent plays the executor's part. A framework's own
//! executor is a process like any other task's, which then subscribes to the agent and is told what to do.

mod agent;
mod calls;
mod change;
pub mod checkpoint;
mod checks;
pub mod convert;
mod deliver;
pub mod docker;
mod effect;
mod executor;
mod executors;
mod gc;
mod groups;
pub mod health;
mod ids;
mod input;
pub mod journal;
mod kill;
pub mod limits;
mod link;
mod operations;
mod orders;
mod outbox;
mod recovery;
mod rlimit;
mod spec;
mod status;
mod task;
mod tasks;
mod timers;
mod updates;
mod view;

pub use agent::{Agent, RecoverError, Settings};
pub use change::{Mount, Source, Volume};
pub use checkpoint::Record;
pub use effect::{Effect, Ending, HeldTask, Hello, Job, LinkId, ProbeId, Report, Sandbox};
pub use executor::{Call, CallRefusal, Event, Executor, ExecutorKey, ExecutorPhase, StreamId};
pub use ids::{Ids, Uuid};
pub use input::{Drain, Envelope, Exit, ExitStatus, Input, LinkDown, Order, Refusal};
pub use operations::Operation;
pub use rlimit::{Kind as RlimitKind, Rlimit};
pub use spec::{CommandSpec, Invalid, Limit, TaskKey, TaskSpec, Uri};
pub use task::{Framework, Kill, KillCause, Phase, Task};
pub use updates::Update;
pub use view::{Counters, Executors, Summary, View};
