//! Who belongs to the group.
//!
//! Raft knows numbers; redirects and peers need addresses. Both are kept together here, are part of every snapshot's
//! descriptor, and change only by applying a committed membership entry, whose context carries the addresses. So the
//! configuration a node starts with always belongs to the index it starts from, and the two cannot disagree.

use std::collections::BTreeMap;

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::error::{Corrupt, NotNow};
use crate::limits;
use crate::pack::{Packer, Unpacker};
use crate::types::NodeId;

/// How a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Votes and counts for commits.
    Voter,
    /// Receives the log and waits for its promotion.
    Learner,
}

/// One member of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id, bound to its disk.
    pub id: NodeId,
    /// `host:port` at which peers and clients reach it.
    pub address: String,
    /// How it takes part.
    pub standing: Standing,
}

/// The members as of one index of the log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Members {
    addresses: BTreeMap<NodeId, String>,
    conf: ConfState,
    removed: Vec<NodeId>,
}

/// A change of membership. One may be under way at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new node starts to receive the log, without a vote.
    Join {
        /// Its id.
        node: NodeId,
        /// Its `host:port`.
        address: String,
    },
    /// A learner that has caught up gets its vote.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// A member leaves for ever; its id is never used again.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// Several voters come and go at once, through a joint configuration.
    Replace {
        /// New voters with their addresses.
        add: Vec<(NodeId, String)>,
        /// Members that leave.
        remove: Vec<NodeId>,
    },
}

impl Members {
    /// The members a group is founded with: voters all.
    pub(crate) fn founding(members: &[(NodeId, String)]) -> Self {
        let mut conf = ConfState::default();
        let mut voters: Vec<u64> = members.iter().map(|(id, _)| id.0).collect();
        voters.sort_unstable();
        conf.set_voters(voters);
        Self { addresses: members.iter().cloned().collect(), conf, removed: Vec::new() }
    }

    /// Everybody, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = Member> + '_ {
        self.addresses.iter().map(|(id, address)| Member {
            id: *id,
            address: address.clone(),
            standing: if self.conf.get_voters().contains(&id.0)
                || self.conf.get_voters_outgoing().contains(&id.0)
            {
                Standing::Voter
            } else {
                Standing::Learner
            },
        })
    }

    /// Where a member is reached.
    pub fn address(&self, id: NodeId) -> Option<&str> {
        self.addresses.get(&id).map(String::as_str)
    }

    /// Is it a member, voting or not?
    pub fn contains(&self, id: NodeId) -> bool {
        self.addresses.contains_key(&id)
    }

    /// Was it a member once?
    pub fn was_removed(&self, id: NodeId) -> bool {
        self.removed.contains(&id)
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// A group without members does not exist; this is the state before one is founded.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Between two configurations, with majorities of both needed.
    pub fn is_joint(&self) -> bool {
        !self.conf.get_voters_outgoing().is_empty()
    }

    pub(crate) fn conf(&self) -> &ConfState {
        &self.conf
    }

    /// Takes over what raft made of an applied change.
    pub(crate) fn update(&mut self, conf: ConfState, newcomers: Vec<(NodeId, String)>) {
        self.conf = conf;
        self.addresses.extend(newcomers);
        let conf = &self.conf;
        let mut gone = Vec::new();
        self.addresses.retain(|id, _| {
            let stays = [
                conf.get_voters(),
                conf.get_learners(),
                conf.get_voters_outgoing(),
                conf.get_learners_next(),
            ]
            .iter()
            .any(|ids| ids.contains(&id.0));
            if !stays {
                gone.push(*id);
            }
            stays
        });
        self.removed.extend(gone);
        let excess = self.removed.len().saturating_sub(limits::REMOVED_MEMBERS);
        self.removed.drain(..excess);
    }

    /// The raft entry of a change, or why it cannot be.
    pub(crate) fn plan(&self, change: &Change) -> Result<ConfChangeV2, NotNow> {
        let refuse = |why: String| Err(NotNow::Membership(why));
        if self.is_joint() {
            return refuse("another change is still under way".into());
        }
        let mut singles = Vec::new();
        let mut newcomers = Vec::new();
        let mut add = |id: NodeId, kind: ConfChangeType| {
            let mut single = ConfChangeSingle::default();
            single.set_node_id(id.0);
            single.set_change_type(kind);
            singles.push(single);
        };
        let (came, left): (Vec<(NodeId, String)>, Vec<NodeId>) = match change {
            Change::Join { node, address } => (vec![(*node, address.clone())], vec![]),
            Change::Promote { node } => {
                if !self.conf.get_learners().contains(&node.0) {
                    return refuse(format!("node {node} is not a learner"));
                }
                add(*node, ConfChangeType::AddNode);
                (vec![], vec![])
            }
            Change::Remove { node } => (vec![], vec![*node]),
            Change::Replace { add, remove } => (add.clone(), remove.clone()),
        };
        let kind = match change {
            Change::Join { .. } => ConfChangeType::AddLearnerNode,
            _ => ConfChangeType::AddNode,
        };
        for (id, address) in came {
            if id.0 == 0 || self.contains(id) || self.was_removed(id) {
                return refuse(format!("node id {id} is in use or was used before"));
            }
            if address.is_empty() || address.len() > limits::ADDRESS_BYTES {
                return refuse(format!("the address of node {id} must be host:port"));
            }
            add(id, kind);
            newcomers.push((id, address));
        }
        for id in &left {
            if !self.contains(*id) {
                return refuse(format!("node {id} is not a member"));
            }
            add(*id, ConfChangeType::RemoveNode);
        }
        if self.len() + newcomers.len() > limits::MEMBERS + left.len() {
            return refuse(format!("a group has at most {} members", limits::MEMBERS));
        }
        let voters = self.conf.get_voters();
        if !left.is_empty() && newcomers.is_empty() && voters.iter().all(|id| left.contains(&NodeId(*id))) {
            return refuse("the last voter cannot leave".into());
        }
        let mut entry = ConfChangeV2::default();
        entry.set_transition(ConfChangeTransition::Auto);
        entry.set_changes(singles.into());
        entry.set_context(encode_newcomers(&newcomers).into());
        Ok(entry)
    }

    pub(crate) fn pack(&self, packer: &mut Packer) {
        let conf = self.conf.write_to_bytes().expect("a message without required fields always encodes");
        packer.bytes(&conf);
        packer.bytes(&encode_newcomers(&self.addresses.clone().into_iter().collect::<Vec<_>>()));
        packer.u32(u32::try_from(self.removed.len()).expect("bounded by REMOVED_MEMBERS"));
        for id in &self.removed {
            packer.u64(id.0);
        }
    }

    pub(crate) fn unpack(unpacker: &mut Unpacker<'_>) -> Result<Self, Corrupt> {
        let conf = ConfState::parse_from_bytes(unpacker.bytes()?)
            .map_err(|error| Corrupt::new("member list", error.to_string()))?;
        let addresses = decode_newcomers(unpacker.bytes()?)?.into_iter().collect();
        let removed = (0..unpacker.count(limits::REMOVED_MEMBERS)?)
            .map(|_| unpacker.u64().map(NodeId))
            .collect::<Result<_, _>>()?;
        Ok(Self { addresses, conf, removed })
    }
}

fn encode_newcomers(newcomers: &[(NodeId, String)]) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.u32(u32::try_from(newcomers.len()).expect("bounded by MEMBERS"));
    for (id, address) in newcomers {
        packer.u64(id.0).text(address);
    }
    packer.finish()
}

/// Addresses in the context of a membership entry. An empty context has none: leaving a joint configuration.
pub(crate) fn decode_newcomers(bytes: &[u8]) -> Result<Vec<(NodeId, String)>, Corrupt> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut unpacker = Unpacker::new("member addresses", bytes);
    // During a replacement both generations are members.
    let count = unpacker.count(2 * limits::MEMBERS)?;
    let newcomers = (0..count)
        .map(|_| Ok((NodeId(unpacker.u64()?), unpacker.text(limits::ADDRESS_BYTES)?)))
        .collect::<Result<_, Corrupt>>()?;
    unpacker.end()?;
    Ok(newcomers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Members {
        Members::founding(&[1, 2, 3].map(|n| (NodeId(n), format!("host{n}:5050"))))
    }

    #[test]
    fn members_survive_their_encoding() {
        let mut members = three();
        let mut conf = members.conf().clone();
        conf.set_voters(vec![1, 2]);
        members.update(conf, vec![]);
        let mut packer = Packer::default();
        members.pack(&mut packer);
        let bytes = packer.finish();
        let back = Members::unpack(&mut Unpacker::new("members", &bytes)).expect("own encoding");
        assert_eq!(back, members);
        assert!(back.was_removed(NodeId(3)) && !back.contains(NodeId(3)));
    }

    #[test]
    fn impossible_changes_are_refused_with_their_reason() {
        let members = three();
        for (change, word) in [
            (Change::Promote { node: NodeId(1) }, "not a learner"),
            (Change::Remove { node: NodeId(9) }, "not a member"),
            (Change::Join { node: NodeId(2), address: "x:1".into() }, "in use"),
            (Change::Join { node: NodeId(4), address: String::new() }, "host:port"),
            (Change::Replace { add: vec![], remove: [1, 2, 3].map(NodeId).into() }, "last voter"),
        ] {
            let refusal = members.plan(&change).expect_err("must be refused").to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
