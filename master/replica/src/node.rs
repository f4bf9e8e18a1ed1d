//! The replica: one node of the group, without clock, network or thread.

mod cycle;
mod incoming;
mod output;

use std::collections::BTreeMap;

use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::incoming::Incoming;
pub use self::output::{Fingerprint, Outbox, Output, Role, Status};
use crate::disk::Disk;
use crate::error::{Corrupt, DiskError, Fatal, NotNow};
use crate::form::Founding;
use crate::limits;
use crate::log::{Log, Meta};
use crate::logger::logger;
use crate::machine::Machine;
use crate::member::{Change, Members};
use crate::snapshot::{self, Job, SnapshotId};
use crate::ticket::{Barrier, Reads, Stamp, Ticket, Tickets};
use crate::types::{ClusterId, Index, NodeId, Term};

/// The founding snapshot: every first member starts from it, so that whoever comes later is forced through a snapshot
/// or the whole log and never begins from nothing.
const GENESIS: SnapshotId = SnapshotId { index: 1, term: 1 };

/// How a node behaves; equal on all members.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seed of the generator behind election timeouts and this start's incarnation. The library's own draws come from the
    /// thread's generator, and with them no run could be repeated.
    pub seed: u64,
    /// Ticks without a leader before a follower stands for election; the timeout is drawn between this and twice this.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Bytes of applied entries after which a snapshot is taken. Bytes, not counts: a thousand large entries fill a
    /// disk that a million small ones do not.
    pub snapshot_log_bytes: u64,
    /// Entries kept behind a snapshot for followers a little behind.
    pub keep_entries: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            election_ticks: 10,
            heartbeat_ticks: 2,
            snapshot_log_bytes: 64 << 20,
            keep_entries: 10_000,
        }
    }
}

/// One node of a group. See the crate's documentation for how to drive it.
pub struct Replica<M: Machine, D: Disk> {
    node: NodeId,
    cluster: ClusterId,
    options: Options,
    raw: RawNode<Log<D>>,
    machine: M,
    members: Members,
    applied: SnapshotId,
    fingerprint: Option<Fingerprint>,
    /// Bytes of entries applied since the newest snapshot.
    log_bytes: u64,
    tickets: Tickets,
    reads: Reads,
    incarnation: u64,
    random: ChaCha8Rng,
    election: Election,
    ticks: u64,
    role: Role,
    /// Proposed since the last turn. They go to raft together: one by one, each would be a message to each follower.
    proposed: Vec<Entry>,
    proposed_bytes: usize,
    lost: Vec<Ticket>,
    failed: Vec<Barrier>,
    incoming: Incoming<M>,
    /// Followers that were sent a snapshot, and when.
    outgoing: BTreeMap<NodeId, u64>,
    building: Option<u64>,
    snapshot_due: bool,
    fatal: Option<Fatal>,
}

/// The library draws a new election timeout whenever its term or role changes; we put our own in its place.
struct Election {
    seen: (Term, StateRole),
    timeout: usize,
}

/// Prepares an empty disk for the first start of a member: the founding snapshot and an empty log after it.
///
/// A node that joins later starts the same way, from the record of the founding members, without being one of them.
pub fn found<M: Machine, D: Disk>(disk: &mut D, founding: &Founding) -> Result<(), Fatal> {
    let job = Job::<M> {
        id: GENESIS,
        cluster: founding.cluster,
        members: Members::founding(&founding.members),
        frozen: M::default().freeze(),
    };
    let snapshot = job.run(&disk.files())?;
    let meta = Meta {
        term: GENESIS.term,
        vote: 0,
        commit: GENESIS.index,
        floor: GENESIS,
        last: GENESIS.index,
        snapshot,
    };
    let batch = crate::disk::Batch { meta: meta.encode(), ..Default::default() };
    Ok(disk.write(batch, true)?)
}

/// The group and the members that a disk's newest snapshot belongs to; `None` for a disk that was never founded.
pub fn stored<D: Disk>(disk: &D) -> Result<Option<(ClusterId, Members)>, Fatal> {
    let Some(bytes) = disk.meta()? else { return Ok(None) };
    let snapshot = Meta::decode(&bytes)?.snapshot;
    Ok(Some((snapshot.cluster, snapshot.members)))
}

impl<M: Machine, D: Disk> Replica<M, D> {
    /// Starts from what is on the disk: the newest snapshot, and the log after it, which the first [`Replica::turn`] applies
    /// as far as it is known to be committed.
    pub fn open(disk: D, node: NodeId, options: Options) -> Result<Self, Fatal> {
        let Some(log) = Log::open(disk)? else {
            return Err(DiskError::new("start", "no group was founded on this disk").into());
        };
        let descriptor = log.meta().snapshot.clone();
        let machine: M = snapshot::load(&log.files(), &descriptor)?;
        let mut random = ChaCha8Rng::seed_from_u64(options.seed ^ node.0);
        let config = raft_config(node, &options, descriptor.id.index);
        let raw =
            RawNode::new(&config, log, &logger()).map_err(|error| Fatal::Consensus(error.to_string()))?;
        let incarnation = random.random();
        let election = Election { seen: (0, StateRole::Follower), timeout: options.election_ticks };
        let term = raw.raft.term;
        let mut replica = Self {
            node,
            cluster: descriptor.cluster,
            options,
            raw,
            machine,
            members: descriptor.members,
            applied: descriptor.id,
            fingerprint: None,
            log_bytes: 0,
            tickets: Tickets::default(),
            reads: Reads::default(),
            incarnation,
            random,
            election,
            ticks: 0,
            role: Role::Electing { term },
            proposed: Vec::new(),
            proposed_bytes: 0,
            lost: Vec::new(),
            failed: Vec::new(),
            incoming: Incoming::default(),
            outgoing: BTreeMap::new(),
            building: None,
            snapshot_due: false,
            fatal: None,
        };
        replica.settle();
        if replica.members.len() == 1 && replica.members.contains(node) {
            // Nobody to wait for.
            replica.campaign();
        }
        Ok(replica)
    }

    /// Lets time pass by one tick.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.raw.tick();
        self.settle();
        self.reads.retry(self.ticks, self.options.election_ticks as u64);
        let silent: Vec<NodeId> = self
            .outgoing
            .iter()
            .filter(|(_, sent)| self.ticks - **sent > limits::SNAPSHOT_SILENCE_TICKS)
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            self.snapshot_failed(node);
        }
    }

    /// Stands for election without waiting for the timeout.
    pub fn campaign(&mut self) {
        // Refused only while membership entries wait to be applied; the timeout then does its work.
        let _ = self.raw.campaign();
        self.settle();
    }

    /// Asks the most advanced follower to take over: an orderly stop need not cost an election timeout.
    pub fn hand_over(&mut self) {
        let voters = self.members.conf().get_voters().to_vec();
        let best = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(id, progress)| **id != self.node.0 && voters.contains(id) && progress.recent_active)
            .max_by_key(|(id, progress)| (progress.matched, **id))
            .map(|(id, _)| *id);
        if let Some(best) = best {
            self.raw.transfer_leader(best);
            self.settle();
        }
    }

    /// The link to a peer broke, or its queue was full and messages were dropped.
    pub fn unreachable(&mut self, node: NodeId) {
        self.raw.report_unreachable(node.0);
        if self.outgoing.contains_key(&node) {
            self.snapshot_failed(node);
        }
        self.settle();
    }

    /// The peer's process has ended: its system refuses connections. If it led, it is not waited for any longer.
    ///
    /// Only ever shortens the wait. Should the word be wrong, the leader's next heartbeat takes it back, or the group elects
    /// somebody else a little early; it never elects two.
    pub fn gone(&mut self, node: NodeId) {
        self.unreachable(node);
        if self.raw.raft.state != StateRole::Follower || self.raw.raft.leader_id != node.0 {
            return;
        }
        let least = self.options.election_ticks;
        // From here on this node grants its vote to others, who have heard the same ...
        let elapsed = self.raw.raft.election_elapsed.max(least);
        self.raw.raft.election_elapsed = elapsed;
        // ... and stands itself within a few ticks, drawn so that not all stand at once.
        let soon = self.random.random_range(1..=limits::SOON_TICKS);
        self.election.timeout = (elapsed + soon).min(2 * least - 1);
        self.settle();
    }

    fn snapshot_failed(&mut self, node: NodeId) {
        self.outgoing.remove(&node);
        self.raw.report_snapshot(node.0, SnapshotStatus::Failure);
    }

    /// Proposes a command. Accepted means only that it is on its way: the ticket is answered by `Applied` or `Lost`.
    pub fn propose(&mut self, ticket: Ticket, command: &M::Command) -> Result<(), NotNow> {
        self.must_lead()?;
        let data = M::encode(command);
        if data.len() > limits::COMMAND_BYTES {
            return Err(NotNow::TooLarge { size: data.len(), limit: limits::COMMAND_BYTES });
        }
        let size = data.len() + crate::log::entry_size(&Entry::default());
        let waiting = self.raw.raft.uncommitted_size() + self.proposed_bytes;
        let full = waiting > 0 && (waiting + size) as u64 > limits::UNCOMMITTED_BYTES;
        if full || self.tickets.len() >= limits::OPEN_TICKETS {
            return Err(NotNow::Busy);
        }
        let mut entry = Entry::default();
        entry.set_data(data.into());
        entry.set_context(self.stamp(ticket).into());
        self.proposed.push(entry);
        self.proposed_bytes += size;
        self.tickets.open(ticket);
        Ok(())
    }

    /// Proposes a change of membership; answered by `Members` or `Lost`.
    pub fn change(&mut self, ticket: Ticket, change: &Change) -> Result<(), NotNow> {
        self.must_lead()?;
        // The library accepts a second change, says Ok, and puts an empty entry in its place.
        if self.raw.raft.has_pending_conf() || !self.raw.raft.commit_to_current_term() {
            return Err(NotNow::Busy);
        }
        let data = self.members.plan(change)?.write_to_bytes();
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.set_data(data.expect("a message without required fields always encodes").into());
        entry.set_context(self.stamp(ticket).into());
        self.flush();
        self.submit(vec![entry]).map_err(|_| NotNow::Busy)?;
        self.tickets.open(ticket);
        Ok(())
    }

    /// Asks for a point at which a read of the state is linearizable; answered by `Passed` or `Failed`.
    pub fn barrier(&mut self, barrier: Barrier) -> Result<(), NotNow> {
        self.must_lead()?;
        if self.reads.len() >= limits::OPEN_BARRIERS {
            return Err(NotNow::Busy);
        }
        self.reads.wait(barrier);
        Ok(())
    }

    /// The state right now.
    pub fn view(&self) -> M::Frozen {
        self.machine.freeze()
    }

    /// Hash of the state right now.
    pub fn digest(&self) -> u64 {
        self.machine.digest()
    }

    /// The members as of the last applied index.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The snapshot files of this node, to serve pulls from.
    pub fn files(&self) -> D::Files {
        self.raw.store().files()
    }

    /// The disk, to look at in tests.
    pub fn disk(&self) -> &D {
        self.raw.store().disk()
    }

    /// The disk, to break in tests.
    pub fn disk_mut(&mut self) -> &mut D {
        self.raw.mut_store().disk_mut()
    }

    /// Gives the disk back, as after a crash: what was not written is forgotten.
    pub fn into_disk(self) -> D {
        // The library owns the log and gives it up only through its parts.
        let RawNode { raft, .. } = self.raw;
        raft.r.raft_log.store.into_disk()
    }

    /// A look at the node.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let meta = self.raw.store().meta();
        let leads = raft.state == StateRole::Leader;
        Status {
            node: self.node,
            role: self.role,
            term: raft.term,
            last: raft.raft_log.last_index(),
            committed: raft.raft_log.committed,
            applied: self.applied.index,
            fingerprint: self.fingerprint,
            first: meta.floor.index + 1,
            snapshot: meta.snapshot.id.index,
            open_tickets: self.tickets.len(),
            matched: if leads {
                raft.prs().iter().map(|(id, progress)| (NodeId(*id), progress.matched)).collect()
            } else {
                BTreeMap::new()
            },
        }
    }

    /// Bytes proposed since the last turn.
    pub(crate) fn proposed_bytes(&self) -> usize {
        self.proposed_bytes
    }

    /// The disk error behind a panic of the consensus library, if there was one.
    pub(crate) fn take_failure(&self) -> Option<DiskError> {
        self.raw.store().take_failure()
    }

    fn must_lead(&self) -> Result<(), NotNow> {
        if self.raw.raft.state == StateRole::Leader {
            return Ok(());
        }
        Err(NotNow::NotLeader { leader: self.leader() })
    }

    fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.raw.raft.leader_id)).filter(|leader| leader.0 != 0)
    }

    fn stamp(&self, ticket: Ticket) -> Vec<u8> {
        Stamp { node: self.node, incarnation: self.incarnation, ticket }.encode()
    }

    /// Hands everything proposed since the last turn to raft, as one message.
    fn flush(&mut self) {
        if self.proposed.is_empty() {
            return;
        }
        self.proposed_bytes = 0;
        let entries = std::mem::take(&mut self.proposed);
        let contexts: Vec<_> = entries.iter().map(|entry| entry.context.clone()).collect();
        if self.submit(entries).is_err() {
            // Leadership is being handed over. Nothing was appended, but "unknown" is what callers must cope with anyway.
            let tickets =
                contexts.iter().filter_map(|context| Stamp::decode(context)).map(|stamp| stamp.ticket);
            for ticket in tickets {
                if self.tickets.close(ticket) {
                    self.lost.push(ticket);
                }
            }
        }
    }

    fn submit(&mut self, entries: Vec<Entry>) -> raft::Result<()> {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.0;
        message.set_entries(entries.into());
        let result = self.raw.raft.step(message);
        self.settle();
        result
    }

    fn ask_reads(&mut self) {
        // Before its first commit a leader drops such requests without a word.
        let heard = self.raw.raft.state == StateRole::Leader && self.raw.raft.commit_to_current_term();
        if let Some(context) = heard.then(|| self.reads.ask(self.ticks)).flatten() {
            #[cfg(feature = "mutants")]
            if mutant::planted("read-asks-no-quorum") {
                return self.reads.confirm(context, self.applied.index);
            }
            self.raw.read_index(context.to_be_bytes().to_vec());
            self.settle();
        }
    }

    /// After everything that may have moved raft: its election timeout becomes ours, and lost leadership is noticed.
    fn settle(&mut self) {
        let raft = &self.raw.raft;
        let now = (raft.term, raft.state);
        if now != self.election.seen {
            if self.election.seen.1 == StateRole::Leader {
                self.proposed.clear();
                self.proposed_bytes = 0;
                self.lost.extend(self.tickets.lose());
                self.failed.extend(self.reads.lose());
                self.outgoing.clear();
            }
            let least = self.options.election_ticks;
            self.election = Election { seen: now, timeout: self.random.random_range(least..2 * least) };
        }
        self.raw.raft.set_randomized_election_timeout(self.election.timeout);
    }
}

fn raft_config(node: NodeId, options: &Options, applied: Index) -> Config {
    Config {
        id: node.0,
        election_tick: options.election_ticks,
        heartbeat_tick: options.heartbeat_ticks,
        applied,
        max_size_per_msg: limits::APPEND_BYTES,
        max_inflight_msgs: limits::INFLIGHT_APPENDS,
        check_quorum: true,
        pre_vote: true,
        max_uncommitted_size: limits::UNCOMMITTED_BYTES,
        max_committed_size_per_ready: limits::COMMITTED_BYTES_PER_READY,
        ..Config::default()
    }
}

/// Decodes a committed command; a failure stops the node.
fn command<M: Machine>(entry: &Entry) -> Result<M::Command, Corrupt> {
    M::decode(&entry.data)
        .map_err(|corrupt| Corrupt::new(corrupt.what, format!("entry {}: {}", entry.index, corrupt.why)))
}
