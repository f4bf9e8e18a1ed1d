//! One turn: from whatever has come in since the last to messages sent, entries synced, commands applied.
//!
//! Everything between taking raft's `Ready` and giving it back happens in one function that holds the replica: no message
//! can be stepped and nothing proposed in between, which the library forbids and cannot check.

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};
use raft::{Ready, StateRole};

use super::{Fingerprint, Outbox, Output, Replica, Role, command};
use crate::batch::{Held, Write};
use crate::disk::Disk;
use crate::error::{Corrupt, DiskError, Fatal};
use crate::limits;
use crate::log::entry_size;
use crate::machine::Machine;
use crate::member::decode_newcomers;
use crate::snapshot::{Descriptor, Job, SnapshotId};
use crate::ticket::{Stamp, Ticket};
use crate::types::NodeId;
use crate::wire::{Body, PeerMessage};

impl<M: Machine, D: Disk> Replica<M, D> {
    /// Does everything there is to do. An error means the node must stop; nothing that depends on what failed was sent.
    pub fn turn(&mut self, out: &mut impl Outbox<M>) -> Result<(), Fatal> {
        if let Some(fatal) = self.fatal.take() {
            return Err(fatal);
        }
        self.flush();
        self.ask_reads();
        self.incoming.drain(out);
        loop {
            while self.raw.has_ready() {
                self.cycle(out)?;
            }
            if !self.leave_joint() {
                break;
            }
        }
        if self.members.was_removed(self.node) {
            return Err(Fatal::Removed(self.node));
        }
        self.report(out);
        self.consider_snapshot(out);
        Ok(())
    }

    fn cycle(&mut self, out: &mut impl Outbox<M>) -> Result<(), Fatal> {
        let mut ready = self.raw.ready();
        for read in ready.take_read_states() {
            if let Ok(context) = read.request_ctx.try_into() {
                self.reads.confirm(u64::from_be_bytes(context), read.index);
            }
        }
        // Only a leader has messages here. They promise nothing about its disk, so its followers may sync at the same time.
        self.send(ready.take_messages(), out);
        let held = Held::new(ready.take_persisted_messages());
        let installed = self.installing(&ready)?;
        let write = Write {
            snapshot: installed.as_ref().map(|(descriptor, _)| descriptor.clone()),
            entries: ready.take_entries(),
            hard: ready.hs().cloned(),
            must_sync: ready.must_sync(),
        };
        let synced = self.raw.mut_store().write(write)?;
        self.send(held.release(synced), out);
        if let Some((descriptor, machine)) = installed {
            self.install(descriptor, machine, out)?;
        }
        // What is to be applied waits until the library knows what was written: a leader that is removed by it has no
        // place among the members any more to note the progress of its own log in, and the library panics.
        let committed = ready.take_committed_entries();
        let mut light = self.raw.advance_append(ready);
        self.send(light.take_messages(), out);
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().note_commit(commit);
        }
        self.apply(committed, out)?;
        self.apply(light.take_committed_entries(), out)?;
        self.raw.advance_apply_to(self.applied.index);
        self.settle();
        Ok(())
    }

    fn send(&mut self, messages: Vec<Message>, out: &mut impl Outbox<M>) {
        for message in messages {
            let to = NodeId(message.to);
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.outgoing.insert(to, self.ticks);
            }
            out.put(Output::Send(PeerMessage { from: self.node, to, body: Body::Raft(Box::new(message)) }));
        }
    }

    fn installing(&mut self, ready: &Ready) -> Result<Option<(Descriptor, M)>, Fatal> {
        if ready.snapshot().is_empty() {
            return Ok(None);
        }
        let metadata = ready.snapshot().get_metadata();
        let id = SnapshotId { index: metadata.index, term: metadata.term };
        match self.incoming.take_thawed(id) {
            Some(thawed) => Ok(Some(thawed)),
            None => Err(Fatal::Consensus(format!("snapshot {id} is to be installed but was never fetched"))),
        }
    }

    fn install(&mut self, descriptor: Descriptor, machine: M, out: &mut impl Outbox<M>) -> Result<(), Fatal> {
        self.machine = machine;
        self.applied = descriptor.id;
        self.members = descriptor.members;
        self.log_bytes = 0;
        self.fingerprint = None;
        let files = self.files();
        crate::disk::Files::keep(&files, &[descriptor.id])
            .map_err(|error| DiskError::new("remove old snapshots", error))?;
        out.put(Output::Installed { index: self.applied.index, view: self.machine.freeze() });
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>, out: &mut impl Outbox<M>) -> Result<(), Fatal> {
        for entry in entries {
            self.applied = SnapshotId { index: entry.index, term: entry.term };
            self.log_bytes += entry_size(&entry) as u64;
            let ticket = self.waiting(&entry);
            // The kind first: leaving a joint configuration is a membership entry without data, and whoever skips
            // empty entries before looking at the kind stays joint and appends such entries without end.
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => {
                    let command = command::<M>(&entry)?;
                    let outcome = self.machine.apply(entry.index, command);
                    let view = self.machine.freeze();
                    out.put(Output::Applied { index: entry.index, term: entry.term, ticket, outcome, view });
                }
                EntryType::EntryConfChangeV2 => self.apply_membership(&entry, ticket, out)?,
                EntryType::EntryConfChange => {
                    return Err(Corrupt::new(
                        "log entry",
                        format!("{}: of a kind never written", entry.index),
                    )
                    .into());
                }
            }
            self.consider_fingerprint();
        }
        Ok(())
    }

    fn consider_fingerprint(&mut self) {
        let index = self.applied.index;
        if index.is_multiple_of(limits::FINGERPRINT_EVERY) {
            self.fingerprint = Some(Fingerprint { index, digest: self.machine.digest() });
        }
    }

    fn waiting(&mut self, entry: &Entry) -> Option<Ticket> {
        let stamp = Stamp::decode(&entry.context)?;
        let ours = stamp.node == self.node && stamp.incarnation == self.incarnation;
        (ours && self.tickets.close(stamp.ticket)).then_some(stamp.ticket)
    }

    fn apply_membership(
        &mut self,
        entry: &Entry,
        ticket: Option<Ticket>,
        out: &mut impl Outbox<M>,
    ) -> Result<(), Fatal> {
        let corrupt = |why: String| Corrupt::new("membership entry", format!("{}: {why}", entry.index));
        let change =
            ConfChangeV2::parse_from_bytes(&entry.data).map_err(|error| corrupt(error.to_string()))?;
        let newcomers = decode_newcomers(change.get_context())?;
        let conf = self.raw.apply_conf_change(&change).map_err(|error| corrupt(error.to_string()))?;
        self.members.update(conf, newcomers);
        // A newcomer cannot take a snapshot that does not name it; the next one it is sent must be younger than this.
        self.snapshot_due = true;
        out.put(Output::Members { index: entry.index, ticket, members: self.members.clone() });
        Ok(())
    }

    /// A joint configuration is left by the leader that entered it, unless it stepped down before; then by the next.
    fn leave_joint(&mut self) -> bool {
        let raft = &self.raw.raft;
        let due = raft.state == StateRole::Leader
            && self.members.is_joint()
            && raft.commit_to_current_term()
            && !raft.has_pending_conf();
        if !due {
            return false;
        }
        let mut leave = Entry::default();
        leave.set_entry_type(EntryType::EntryConfChangeV2);
        // Refused only while too much is uncommitted; the next turn tries again.
        self.submit(vec![leave]).is_ok()
    }

    fn report(&mut self, out: &mut impl Outbox<M>) {
        for ticket in self.lost.drain(..) {
            out.put(Output::Lost(ticket));
        }
        for barrier in self.failed.drain(..) {
            out.put(Output::Failed(barrier));
        }
        let role = self.present_role();
        if role != self.role {
            self.role = role;
            out.put(Output::Role(role));
        }
        for barrier in self.reads.passed(self.applied.index) {
            out.put(Output::Passed(barrier));
        }
        let raft = &self.raw.raft;
        self.outgoing.retain(|node, _| {
            raft.prs().get(node.0).is_some_and(|progress| progress.state == raft::ProgressState::Snapshot)
        });
    }

    fn present_role(&self) -> Role {
        let raft = &self.raw.raft;
        let term = raft.term;
        match self.leader() {
            // Its own first entry applied, and with it everything former leaders acknowledged.
            Some(leader) if leader == self.node && self.applied.term == term => Role::Leading { term },
            Some(leader) if leader != self.node => Role::Following { leader, term },
            _ => Role::Electing { term },
        }
    }

    fn consider_snapshot(&mut self, out: &mut impl Outbox<M>) {
        let wanted = self.raw.store().take_wanted();
        self.snapshot_due |= wanted || self.log_bytes >= self.options.snapshot_log_bytes;
        let newest = self.raw.store().meta().snapshot.id.index;
        if !self.snapshot_due || self.building.is_some() || self.applied.index <= newest {
            return;
        }
        self.snapshot_due = false;
        self.building = Some(self.log_bytes);
        out.put(Output::Build(Job {
            id: self.applied,
            cluster: self.cluster,
            members: self.members.clone(),
            frozen: self.machine.freeze(),
        }));
    }

    /// The snapshot asked for by [`Output::Build`] is on the disk, or could not be written.
    pub fn built(&mut self, result: Result<Descriptor, DiskError>) -> Result<(), Fatal> {
        let covered = self.building.take().unwrap_or(0);
        let descriptor = result?;
        // The leader's snapshot may have overtaken ours meanwhile.
        if descriptor.id.index > self.raw.store().meta().snapshot.id.index {
            let keep = self.options.keep_entries;
            self.raw.mut_store().adopt(descriptor, keep)?;
            self.log_bytes = self.log_bytes.saturating_sub(covered);
        }
        Ok(())
    }
}
