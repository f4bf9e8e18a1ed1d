//! The masters: the cluster's name and where each node is reached.
//!
//! Raft stores numbers only; a redirect needs an address, and a node that meets strangers needs the name.

use std::sync::Arc;

use wire::registry::{self as wire_registry, Record, record};

use super::limits::{LABEL_BYTES, Limits};
use super::refusal::{check_room, check_text};
use super::table::{Fact, Table};
use super::{Outcome, Refusal, Text};

/// One master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The number Raft knows it by, random, made when its disk was formatted.
    pub node: u64,
    /// `host:port` of its one port, as others reach it.
    pub address: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberCommand {
    /// Names the cluster, once.
    Form { cluster: Text },
    /// A node is a member, reached at this address from now on.
    Announce(Member),
    /// A node is no longer a member.
    Remove { node: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cluster(Text);

#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    /// At most one row.
    cluster: Table<(), Cluster>,
    table: Table<u64, Member>,
}

impl Members {
    pub(crate) fn check(&self, command: &MemberCommand, limits: &Limits) -> Result<(), Refusal> {
        match command {
            MemberCommand::Form { cluster } => {
                check_text("cluster", cluster, LABEL_BYTES)?;
                match self.cluster.get(&()) {
                    Some(known) if known.0 != *cluster => Err(Refusal::OtherCluster(known.0.clone())),
                    _ => Ok(()),
                }
            }
            MemberCommand::Announce(member) => {
                check_text("address", &member.address, LABEL_BYTES)?;
                if self.table.contains(&member.node) {
                    return Ok(());
                }
                if let Some(other) = self.table.iter().find(|other| other.address == member.address) {
                    return Err(Refusal::NodeTaken { node: other.node, address: other.address.clone() });
                }
                check_room("members", self.table.len(), limits.members)
            }
            MemberCommand::Remove { .. } => Ok(()),
        }
    }

    pub(crate) fn apply(&mut self, command: MemberCommand) -> Outcome {
        let changed = match command {
            MemberCommand::Form { cluster } => self.cluster.insert((), Cluster(cluster)).is_none(),
            MemberCommand::Announce(member) => {
                let changed = self.table.get(&member.node).is_none_or(|known| **known != member);
                if changed {
                    self.table.insert(member.node, member);
                }
                changed
            }
            MemberCommand::Remove { node } => self.table.remove(&node).is_some(),
        };
        if changed { Outcome::Changed } else { Outcome::Unchanged }
    }

    pub(crate) fn cluster(&self) -> Option<&str> {
        self.cluster.get(&()).map(|cluster| &*cluster.0)
    }

    pub(crate) fn get(&self, node: u64) -> Option<&Arc<Member>> {
        self.table.get(&node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.table.iter()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.cluster.digest().wrapping_add(self.table.digest())
    }

    pub(crate) fn into_records(self) -> impl Iterator<Item = Record> {
        self.cluster.into_records().chain(self.table.into_records())
    }

    /// Takes the name from a snapshot; false when there is one already.
    pub(crate) fn restore_cluster(&mut self, cluster: wire_registry::Cluster) -> bool {
        self.cluster.insert((), Cluster(cluster.id.into())).is_none()
    }

    /// Takes a member from a snapshot; false when the node is there already.
    pub(crate) fn restore(&mut self, member: wire_registry::Member) -> bool {
        let member = Member { node: member.node, address: member.address.into() };
        self.table.insert(member.node, member).is_none()
    }
}

impl Fact for Cluster {
    fn record(&self) -> Record {
        let cluster = wire_registry::Cluster { id: self.0.to_string() };
        Record { record: Some(record::Record::Cluster(cluster)) }
    }
}

impl Fact for Member {
    fn record(&self) -> Record {
        let member = wire_registry::Member { node: self.node, address: self.address.to_string() };
        Record { record: Some(record::Record::Member(member)) }
    }
}
