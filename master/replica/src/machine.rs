//! What can be replicated.

use crate::error::Corrupt;
use crate::types::Index;

/// Iterator over the pieces of a frozen machine.
pub type Chunks<'a> = Box<dyn Iterator<Item = Vec<u8>> + 'a>;

/// A deterministic state machine. Equal commands in equal order give equal machines on every node, so nothing in here may
/// look at a clock, draw a random number or depend on the order of a hash map.
///
/// `Default` is the machine of a newly founded group; it must be the same for every version of the program.
pub trait Machine: Sized + Default + Send + 'static {
    /// A change of state.
    type Command: Send + 'static;
    /// What `apply` has to say to the proposer: accepted or refused, ids, revisions.
    type Outcome: Send + 'static;
    /// An immutable view of the state at one index.
    type Frozen: Clone + Send + 'static;

    /// Bytes of a command.
    fn encode(command: &Self::Command) -> Vec<u8>;
    /// The command of these bytes. A failure stops the node: skipping a command that others apply would fork the state.
    fn decode(bytes: &[u8]) -> Result<Self::Command, Corrupt>;
    /// Applies a committed command. May refuse through its outcome, may not fail.
    fn apply(&mut self, index: Index, command: Self::Command) -> Self::Outcome;
    /// The present state, in O(1): it is taken at every commit and for every snapshot, on the thread that syncs the log.
    fn freeze(&self) -> Self::Frozen;
    /// The state as bytes, in pieces of at most [`crate::limits::CHUNK_BYTES`], in an order that depends on the state alone.
    fn chunks(frozen: &Self::Frozen) -> Chunks<'_>;
    /// The reverse of `chunks`.
    fn thaw(chunks: &mut dyn Iterator<Item = Result<Vec<u8>, Corrupt>>) -> Result<Self, Corrupt>;
    /// A hash of the whole state; equal at equal index on every node. For checkers, so it may cost a walk.
    fn digest(&self) -> u64;
}
