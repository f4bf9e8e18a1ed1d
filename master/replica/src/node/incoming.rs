//! Messages from peers, and the one kind that needs a file first.

use raft::eraftpb::{Message, MessageType};

use super::{Outbox, Output, Replica};
use crate::disk::Disk;
use crate::error::{Corrupt, Fatal, Stranger};
use crate::machine::Machine;
use crate::snapshot::{Descriptor, SnapshotId};
use crate::types::NodeId;
use crate::wire::{Body, PeerMessage, admit};

/// A snapshot on its way to this follower. Its message is stepped only when the file is here, checked and thawed: the
/// library would otherwise take it for installed.
pub(super) struct Incoming<M> {
    held: Option<Held>,
    thawed: Option<(Descriptor, M)>,
    /// For the next turn: what to fetch, whom to tell of a failure.
    fetch: Option<(NodeId, Descriptor)>,
    reports: Vec<PeerMessage>,
}

struct Held {
    message: Box<Message>,
    descriptor: Descriptor,
}

impl<M> Default for Incoming<M> {
    fn default() -> Self {
        Self { held: None, thawed: None, fetch: None, reports: Vec::new() }
    }
}

impl<M: Machine> Incoming<M> {
    pub(super) fn drain(&mut self, out: &mut impl Outbox<M>) {
        for report in self.reports.drain(..) {
            out.put(Output::Send(report));
        }
        if let Some((from, descriptor)) = self.fetch.take() {
            out.put(Output::Fetch { from, descriptor });
        }
    }

    pub(super) fn take_thawed(&mut self, id: SnapshotId) -> Option<(Descriptor, M)> {
        self.thawed.take().filter(|(descriptor, _)| descriptor.id == id)
    }

    fn hold(&mut self, message: Box<Message>, descriptor: Descriptor) {
        let known = self.held.as_ref().map(|held| held.descriptor.id);
        if known.is_some_and(|id| id > descriptor.id) {
            return;
        }
        if known != Some(descriptor.id) {
            self.fetch = Some((NodeId(message.from), descriptor.clone()));
        }
        // Repeated while the file travels: the newest message has the newest term.
        self.held = Some(Held { message, descriptor });
    }
}

impl<M: Machine, D: Disk> Replica<M, D> {
    /// Takes in a message of a peer whose group was compared with ours when its stream began.
    pub fn step(&mut self, message: PeerMessage) -> Result<(), Stranger> {
        if message.to != self.node {
            return Err(Stranger::NotForUs(message.to));
        }
        if self.members.was_removed(message.from) {
            return Err(Stranger::Removed(message.from));
        }
        match message.body {
            Body::SnapshotFailed(_) => {
                if self.outgoing.contains_key(&message.from) {
                    self.snapshot_failed(message.from);
                    self.settle();
                }
                Ok(())
            }
            Body::Raft(raft) => {
                if raft.from != message.from.0 || raft.to != message.to.0 {
                    return Err(Stranger::Kind);
                }
                admit(&raft)?;
                self.step_raft(raft)
            }
        }
    }

    fn step_raft(&mut self, message: Box<Message>) -> Result<(), Stranger> {
        let raft = &self.raw.raft;
        let current = message.term >= raft.term;
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if current && message.commit > raft.raft_log.last_index() => {
                // A leader names no commit beyond what we told it we hold. Stepped, this would end the process without a word.
                let last = raft.raft_log.last_index();
                self.fatal = Some(Fatal::Forgot { last, acknowledged: message.commit });
                return Ok(());
            }
            MessageType::MsgSnapshot if current => {
                let metadata = message.get_snapshot().get_metadata();
                if metadata.index > raft.raft_log.committed {
                    let descriptor = Descriptor::decode(&message.get_snapshot().data)?;
                    self.check_descriptor(&message, &descriptor)?;
                    if descriptor.members.contains(self.node) {
                        self.incoming.hold(message, descriptor);
                    } else {
                        // Older than our admission: the library would refuse it silently. A younger one is on its way.
                        self.report_failure(NodeId(message.from), descriptor.id);
                    }
                    return Ok(());
                }
            }
            _ => {}
        }
        self.step_now(*message);
        Ok(())
    }

    fn check_descriptor(&self, message: &Message, descriptor: &Descriptor) -> Result<(), Stranger> {
        let metadata = message.get_snapshot().get_metadata();
        let same = descriptor.id == SnapshotId { index: metadata.index, term: metadata.term }
            && descriptor.members.conf() == metadata.get_conf_state()
            && descriptor.cluster == self.cluster;
        if same {
            Ok(())
        } else {
            Err(Corrupt::new("snapshot message", "contradicts its own descriptor").into())
        }
    }

    fn step_now(&mut self, message: Message) {
        // Its errors say that the sender is not a member any more, or not yet: a late message, to be dropped.
        if let Err(error) = self.raw.step(message) {
            tracing::debug!(%error, "peer message dropped");
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("votes-are-given-twice") {
            self.raw.raft.vote = raft::INVALID_ID;
        }
        self.settle();
    }

    /// The snapshot asked for by [`Output::Fetch`] is here and thawed, or could not be had.
    pub fn fetched(&mut self, id: SnapshotId, result: Result<M, String>) {
        let Some(held) = self.incoming.held.take_if(|held| held.descriptor.id == id) else { return };
        match result {
            Ok(machine) => {
                let from = NodeId(held.message.from);
                self.incoming.thawed = Some((held.descriptor, machine));
                self.step_now(*held.message);
                if self.raw.raft.raft_log.committed < id.index {
                    // The library would not have it, for instance from a leader of a past term.
                    self.incoming.thawed = None;
                    self.report_failure(from, id);
                }
            }
            Err(why) => {
                tracing::warn!(snapshot = %id, why, "could not take over the leader's snapshot");
                self.report_failure(NodeId(held.message.from), id);
            }
        }
    }

    /// Unless told, the leader would wait for this follower until its patience ends.
    fn report_failure(&mut self, to: NodeId, id: SnapshotId) {
        let body = Body::SnapshotFailed(id);
        self.incoming.reports.push(PeerMessage { from: self.node, to, body });
    }
}
