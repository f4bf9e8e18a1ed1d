//! One turn's write, and messages that cannot leave before it is on the disk.
//!
//! A follower's vote or append answer is a promise about its disk. Sent before the sync, a power cut turns it into a lie
//! and two leaders, or a lost acknowledged entry, follow. So the promises travel in [`Held`], and the one thing that
//! opens it is a [`Synced`], which only [`crate::log::Log::write`] can make: the wrong order does not compile.

use raft::eraftpb::{Entry, HardState, Message};

use crate::log::SyncedSeal;
use crate::snapshot::Descriptor;

/// What raft wants on the disk before it goes on.
pub(crate) struct Write {
    /// A snapshot that replaces the whole log.
    pub(crate) snapshot: Option<Descriptor>,
    /// Entries to append; they overwrite whatever has their index or a later one.
    pub(crate) entries: Vec<Entry>,
    /// Term, vote and commit index, if they changed.
    pub(crate) hard: Option<HardState>,
    /// False if nothing but the commit index changed, which may be lost: it is learnt again from the leader.
    pub(crate) must_sync: bool,
}

/// Proof that a write is on stable storage.
#[must_use]
pub(crate) struct Synced(pub(crate) SyncedSeal);

/// Messages that promise something about the disk.
#[must_use]
pub(crate) struct Held(Vec<Message>);

impl Held {
    pub(crate) fn new(messages: Vec<Message>) -> Self {
        Self(messages)
    }

    pub(crate) fn release(self, _proof: Synced) -> Vec<Message> {
        self.0
    }
}
