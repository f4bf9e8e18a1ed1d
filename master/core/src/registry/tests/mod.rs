//! The registry against a simple model, and transcripts of what it answers.

mod laws;
mod levels;
mod model;
mod transcripts;
mod watching;

use std::sync::Arc;

use ::model::id::{AgentId, FrameworkId};
use ::model::time::{Span, Time};
use bytes::Bytes;

use super::*;

fn text(text: &str) -> Text {
    text.into()
}

fn framework(id: &str, principal: Option<&str>) -> FrameworkCommand {
    FrameworkCommand::Admit(Framework {
        id: FrameworkId::from(id),
        info: Arc::new(wire::v1::FrameworkInfo { name: format!("name of {id}"), ..Default::default() }),
        principal: principal.map(text),
        failover_timeout: Span::from_secs(60),
        admitted_at: Time::from_millis(7),
    })
}

fn agent_info(hostname: &str) -> Arc<wire::v1::AgentInfo> {
    Arc::new(wire::v1::AgentInfo { hostname: hostname.to_owned(), ..Default::default() })
}

fn admit(id: &str, hostname: &str, at: u64) -> Command {
    let info = agent_info(hostname);
    Command::Agent(AgentCommand::Admit {
        id: AgentId::from(id),
        info,
        at: Time::from_millis(at),
        holder: None,
    })
}

fn mark(id: &str, away: Away, at: u64) -> Command {
    Command::Agent(AgentCommand::Mark { id: AgentId::from(id), away, at: Time::from_millis(at) })
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: text(key), value: Bytes::copy_from_slice(value.as_bytes()), lease: None }
}

fn put_under(key: &str, value: &str, lease: &str) -> Operation {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Operation::Put { key: text(key), value, lease: Some(text(lease)) }
}

fn txn(then: Vec<Operation>) -> Txn {
    Txn { namespace: text("ns"), request: None, compare: vec![], then, otherwise: vec![] }
}

fn grant(lease: &str, ttl: u64) -> Command {
    let ttl = Span::from_millis(ttl);
    Command::Lease(LeaseCommand::Grant { namespace: text("ns"), lease: text(lease), ttl })
}

fn set_limits(edit: impl FnOnce(&mut Limits)) -> Command {
    let mut set = Limits::default();
    edit(&mut set);
    Command::Limits(LimitsCommand { set })
}

/// Applies commands at the following indexes.
fn apply_all(registry: &mut Registry, commands: impl IntoIterator<Item = Command>) -> Vec<Outcome> {
    commands.into_iter().map(|command| registry.apply(registry.index() + 1, command)).collect()
}
