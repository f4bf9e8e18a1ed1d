//! What machines say to each other, with the real types of the wire.

use std::sync::Arc;

use bytes::Bytes;
use chronos::core::definition::Definition;
use chronos::core::message::{Command as JobCommand, Reply as JobReply};
use marathon::supervisor::message::{Command, Reply};
use wire::link::{ToAgent, ToMaster};
use wire::marathon::AppInfo;

/// The head of a connection: what the client wants of the server.
#[derive(Debug, Clone)]
pub enum Ask {
    /// The agents' link.
    Link,
    /// A call of the scheduler API, with its `Mesos-Stream-Id` if it has one.
    Scheduler { stream: Option<String>, call: Box<wire::scheduler::Call> },
    /// A call of the operator API.
    Operator(Box<wire::master::Call>),
    /// A call of the key-value API.
    State(Box<wire::state::Call>),
    /// A call of the apps' API.
    Apps(Box<AppsCall>),
    /// A call of the jobs' API.
    Jobs(Box<JobsCall>),
}

/// What is asked of a batch scheduler.
#[derive(Debug, Clone)]
pub enum JobsCall {
    /// A change.
    Command(JobCommand),
    /// All jobs.
    List,
}

/// What is asked of a supervisor.
#[derive(Debug, Clone)]
pub enum AppsCall {
    /// The event stream.
    Events {
        /// The last event that was seen, as `Last-Event-ID`.
        after: Option<u64>,
        /// The types wanted; all for none.
        kinds: &'static [&'static str],
        /// Wait for this reader before instances are killed.
        drainer: Option<String>,
    },
    /// A change.
    Command(Command),
    /// All apps with their tasks.
    List,
    /// One app with its tasks.
    Read(String),
}

/// What travels on a connection.
#[derive(Debug)]
pub enum Frame {
    /// The first, from the client.
    Ask(Ask),
    /// The link stands.
    Linked,
    /// Another leads: `host:port`.
    Redirect(String),
    /// Nobody is known to lead, or the outcome is unknown.
    Unavailable,
    /// Refused with a status and a sentence.
    Refused { status: u16, text: String },
    /// Taken, or done.
    Taken,
    /// A stream follows, under this id.
    Opened { stream: String },
    /// On a link.
    ToMaster(Box<ToMaster>),
    /// On a link.
    ToAgent(Box<ToAgent>),
    /// A record of a subscription.
    Event(Box<wire::scheduler::Event>),
    /// The answer of the key-value API.
    State(Box<wire::state::Answer>),
    /// A record of a watch.
    Watch(wire::state::WatchRecord),
    /// A record of the event stream of apps. `kind` is the type, `data` a line of JSON.
    AppEvent { number: u64, kind: &'static str, data: Bytes },
    /// A sign of life on a stream that has nothing to tell.
    KeepAlive,
    /// Apps, as asked for.
    Apps(Vec<AppInfo>),
    /// A change of jobs was taken.
    JobDone(JobReply),
    /// All jobs, as they are defined.
    Jobs(Vec<Arc<Definition>>),
    /// A change of apps was taken.
    Done(Box<Reply>),
    /// The last: the sender has closed, or its system says that nobody listens.
    End,
}

impl Frame {
    /// A number for the trace: which kind of frame it is.
    pub(crate) fn kind(&self) -> u64 {
        match self {
            Self::Ask(Ask::Link) => 1,
            Self::Ask(Ask::Scheduler { .. }) => 2,
            Self::Ask(Ask::State(_)) => 3,
            Self::Linked => 4,
            Self::Redirect(_) => 5,
            Self::Unavailable => 6,
            Self::Refused { .. } => 7,
            Self::Taken => 8,
            Self::Opened { .. } => 9,
            Self::ToMaster(_) => 10,
            Self::ToAgent(_) => 11,
            Self::Event(_) => 12,
            Self::State(_) => 13,
            Self::Watch(_) => 14,
            Self::End => 15,
            Self::Ask(Ask::Apps(_)) => 16,
            Self::AppEvent { number, .. } => 17 | number << 8,
            Self::Apps(_) => 18,
            Self::Done(_) => 19,
            Self::KeepAlive => 20,
            Self::Ask(Ask::Jobs(_)) => 21,
            Self::Ask(Ask::Operator(_)) => 24,
            Self::JobDone(_) => 22,
            Self::Jobs(jobs) => 23 | (jobs.len() as u64) << 8,
        }
    }
}
