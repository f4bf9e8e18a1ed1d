//! Which programs can read what the group writes.
//!
//! A master that skipped what it does not know of a command would be in another state than the rest from there on, and
//! nobody would notice. So it stops; and so that it never has to while the masters are upgraded one after the other, what a
//! new program would add is not written before the group's level says that every master can read it.

use super::Outcome;

/// What this program writes at most, and the highest level it can read. It grows by one with each version that adds a
/// command, a member of a command, or a record of a snapshot; the code that writes the addition asks for the level first.
pub const LEVEL: u32 = 1;

/// Raises the level of the group. It is never lowered: what was written stays in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelCommand {
    pub level: u32,
}

/// The level of a registry, which begins with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(pub(super) u32);

impl Default for Level {
    fn default() -> Self {
        Self(1)
    }
}

impl Level {
    pub(super) fn apply(&mut self, command: LevelCommand) -> Outcome {
        if command.level > self.0 {
            self.0 = command.level;
            Outcome::Changed
        } else {
            Outcome::Unchanged
        }
    }

    /// Nothing for the first, so that a snapshot from before there were levels has the digest it was written with.
    pub(super) fn digest(self) -> u64 {
        u64::from(self.0 - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// As a snapshot's header has it.
    pub(super) fn to_wire(self) -> Option<u32> {
        (self.0 > 1).then_some(self.0)
    }
}
