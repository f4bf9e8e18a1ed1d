//! The numbers everything here is counted in.

use std::fmt;
use std::str::FromStr;

/// Position in the replicated log. The first real entry has index 2: index 1 is the founding snapshot.
pub type Index = u64;

/// Raft term: grows with each election, and serves the agents as fencing token.
pub type Term = u64;

/// A member of the group: 64 random bits drawn when its data directory was formatted, never used again for another
/// disk. Zero is not a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// The group as a whole: 128 random bits drawn by the founder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not a hexadecimal number of the right width.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an id: ids are hexadecimal numbers other than zero")]
pub struct BadId(String);

impl FromStr for NodeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match u64::from_str_radix(text, 16) {
            Ok(id) if id != 0 => Ok(Self(id)),
            _ => Err(BadId(text.to_owned())),
        }
    }
}

impl FromStr for ClusterId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match u128::from_str_radix(text, 16) {
            Ok(id) if id != 0 => Ok(Self(id)),
            _ => Err(BadId(text.to_owned())),
        }
    }
}
