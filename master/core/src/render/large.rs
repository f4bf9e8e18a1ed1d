//! Answers that grow with the cluster, written while they are made: the state of 50,000 agents is hundreds of megabytes
//! of text, and several times that as a tree of messages.
//!
//! In JSON the text simply goes out record by record. A protobuf message begins with its length, which is not known
//! before its end; so a large one is sent as several of its kind one after the other, which by the encoding's own rules
//! are one message: lists are joined, members that are messages are merged. A small answer is one message for readers that
//! know no such rules.

use std::{io, iter};

use model::time::Span;
use wire::json::{Writer, object_to_writer};
use wire::master::response::{GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, Type};
use wire::master::{Event, Response, event};
use wire::{Codec, Message};

use super::lists::{Lists, STREAM_COMPLETED_TASKS, empty_state};
use super::state;
use crate::snapshot::Snapshot;

/// Up to so many records an answer is one message in protobuf too.
const ONE_MESSAGE: usize = 1_000;

/// The reads whose answers grow with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    /// `GET_STATE`.
    State,
    /// `GET_TASKS`.
    Tasks,
    /// `GET_EXECUTORS`.
    Executors,
    /// `GET_FRAMEWORKS`.
    Frameworks,
    /// `GET_AGENTS`.
    Agents,
}

impl Large {
    /// The read that a call asks for, if it is one of these.
    #[must_use]
    pub fn of(call: wire::master::call::Type) -> Option<Self> {
        use wire::master::call::Type;
        match call {
            Type::GetState => Some(Self::State),
            Type::GetTasks => Some(Self::Tasks),
            Type::GetExecutors => Some(Self::Executors),
            Type::GetFrameworks => Some(Self::Frameworks),
            Type::GetAgents => Some(Self::Agents),
            _ => None,
        }
    }

    /// Writes the answer piece by piece, everything in it as of the moment of the snapshot.
    ///
    /// # Errors
    /// Those of `out`; nothing is made after the first.
    pub fn write(self, snapshot: &Snapshot, codec: Codec, out: &mut dyn io::Write) -> io::Result<()> {
        let lists = Lists::all(snapshot);
        match codec {
            Codec::Json => self.write_json(lists, out),
            Codec::Protobuf if lists.len() <= ONE_MESSAGE => {
                out.write_all(&codec.encode(&self.whole(snapshot)))
            }
            Codec::Protobuf => self.write_protobuf(lists, out),
        }
    }

    /// The same as one message.
    fn whole(self, snapshot: &Snapshot) -> Response {
        match self {
            Self::State => state::get_state(snapshot),
            Self::Tasks => state::get_tasks(snapshot),
            Self::Executors => state::get_executors(snapshot),
            Self::Frameworks => state::get_frameworks(snapshot),
            Self::Agents => state::get_agents(snapshot),
        }
    }

    fn kind(self) -> Type {
        match self {
            Self::State => Type::GetState,
            Self::Tasks => Type::GetTasks,
            Self::Executors => Type::GetExecutors,
            Self::Frameworks => Type::GetFrameworks,
            Self::Agents => Type::GetAgents,
        }
    }

    fn write_json(self, lists: Lists<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        object_to_writer(out, |writer| {
            writer.key("type");
            writer.word(self.kind().as_str_name());
            match self {
                Self::State => {
                    writer.key("get_state");
                    state_object(writer, lists);
                }
                Self::Tasks => tasks_member(writer, lists),
                Self::Executors => executors_member(writer, lists),
                Self::Frameworks => frameworks_member(writer, lists),
                Self::Agents => agents_member(writer, lists),
            }
        })
    }

    fn write_protobuf(self, lists: Lists<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        let kind = Response { r#type: Some(self.kind().into()), ..Response::default() };
        write_parts(out, iter::once(kind))?;
        // Each begins with an empty one: the member is there even when the cluster has none of its kind.
        match self {
            Self::State => {
                let of = |state: GetState| Response { get_state: Some(state), ..Response::default() };
                write_parts(out, iter::once(empty_state()).chain(lists.state_parts()).map(of))
            }
            Self::Tasks => {
                let of = |tasks: GetTasks| Response { get_tasks: Some(tasks), ..Response::default() };
                write_parts(out, iter::once(GetTasks::default()).chain(lists.task_parts()).map(of))
            }
            Self::Executors => {
                let of = |executors: GetExecutors| Response {
                    get_executors: Some(executors),
                    ..Response::default()
                };
                write_parts(out, iter::once(GetExecutors::default()).chain(lists.executor_parts()).map(of))
            }
            Self::Frameworks => {
                let of = |frameworks: GetFrameworks| Response {
                    get_frameworks: Some(frameworks),
                    ..Response::default()
                };
                write_parts(out, iter::once(GetFrameworks::default()).chain(lists.framework_parts()).map(of))
            }
            Self::Agents => {
                let of = |agents: GetAgents| Response { get_agents: Some(agents), ..Response::default() };
                write_parts(out, iter::once(GetAgents::default()).chain(lists.agent_parts()).map(of))
            }
        }
    }
}

/// The record that opens an operator's event stream, without a tree of the whole. It is one record, so its bytes are
/// held together.
#[must_use]
pub fn subscribed(snapshot: &Snapshot, heartbeat: Span, codec: Codec) -> Vec<u8> {
    let lists = Lists::new(snapshot, STREAM_COMPLETED_TASKS);
    let mut out = Vec::new();
    let kind = event::Type::Subscribed;
    let written = match codec {
        Codec::Json => object_to_writer(&mut out, |writer| {
            writer.key("type");
            writer.word(kind.as_str_name());
            writer.key("subscribed");
            writer.object(|writer| {
                writer.key("get_state");
                state_object(writer, lists);
                writer.key("heartbeat_interval_seconds");
                writer.double(heartbeat.as_secs_f64());
            });
        }),
        Codec::Protobuf => {
            let of = |state: GetState| {
                let get_state = Some(state);
                let heartbeat_interval_seconds = Some(heartbeat.as_secs_f64());
                let subscribed = event::Subscribed { get_state, heartbeat_interval_seconds };
                Event { subscribed: Some(subscribed), r#type: Some(kind.into()), ..Event::default() }
            };
            if lists.len() <= ONE_MESSAGE {
                let whole = of(state::state_of(snapshot, STREAM_COMPLETED_TASKS));
                write_parts(&mut out, iter::once(whole))
            } else {
                write_parts(&mut out, iter::once(empty_state()).chain(lists.state_parts()).map(of))
            }
        }
    };
    written.expect("memory takes what is written to it");
    out
}

fn write_parts<M: Message>(out: &mut dyn io::Write, mut parts: impl Iterator<Item = M>) -> io::Result<()> {
    parts.try_for_each(|part| out.write_all(&Codec::Protobuf.encode(&part)))
}

fn state_object(writer: &mut Writer<'_>, lists: Lists<'_>) {
    writer.object(|writer| {
        tasks_member(writer, lists);
        executors_member(writer, lists);
        frameworks_member(writer, lists);
        agents_member(writer, lists);
    });
}

fn tasks_member(writer: &mut Writer<'_>, lists: Lists<'_>) {
    writer.key("get_tasks");
    writer.object(|writer| {
        writer.key("tasks");
        writer.messages(lists.tasks());
        writer.key("unreachable_tasks");
        writer.messages(lists.unreachable_tasks());
        writer.key("completed_tasks");
        writer.messages(lists.completed_tasks());
    });
}

fn executors_member(writer: &mut Writer<'_>, lists: Lists<'_>) {
    writer.key("get_executors");
    writer.object(|writer| {
        writer.key("executors");
        writer.messages(lists.executors());
    });
}

fn frameworks_member(writer: &mut Writer<'_>, lists: Lists<'_>) {
    writer.key("get_frameworks");
    writer.object(|writer| {
        writer.key("frameworks");
        writer.messages(lists.frameworks());
        writer.key("completed_frameworks");
        writer.messages(lists.completed_frameworks());
    });
}

fn agents_member(writer: &mut Writer<'_>, lists: Lists<'_>) {
    writer.key("get_agents");
    writer.object(|writer| {
        writer.key("agents");
        writer.messages(lists.agents());
        writer.key("recovered_agents");
        writer.messages(lists.recovered_agents());
    });
}
