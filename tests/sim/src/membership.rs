//! Changes of who the masters are, one at a time: a new one joins, gets its vote when it has caught up, and an old one
//! leaves for ever, sometimes because its disk is gone.

use replica::{Change, NodeId};

use crate::machine::master::Master;
use crate::net::{Host, Micros, SECOND};

/// Between two looks at how far a change is.
pub(crate) const STEP: Micros = SECOND / 2;
/// A learner that lacks no more entries than this gets its vote, as the server has it.
const LAG: u64 = 100;

/// A change under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Swap {
    /// The newcomer.
    pub(crate) new: Host,
    /// The one that leaves.
    pub(crate) old: Host,
}

/// What is to be asked of the leader next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Ask(Change),
    /// The newcomer has yet to catch up.
    Wait,
    /// All is done: the old one may go.
    Done,
}

/// The node on a host of masters.
pub(crate) fn node(host: Host) -> NodeId {
    NodeId(u64::from(host.0) + 1)
}

/// What brings a swap forward, as the leader sees the group. `held` is the index the newcomer has applied.
pub(crate) fn next(swap: Swap, leader: &Master, address: &str, held: u64) -> Next {
    let (new, old) = (node(swap.new), node(swap.old));
    match leader.standing_of(new) {
        None => Next::Ask(Change::Join { node: new, address: address.to_owned() }),
        Some(replica::Standing::Learner) => {
            let applied = leader.position().map_or(0, |(index, _)| index);
            if held > 0 && held + LAG >= applied {
                Next::Ask(Change::Promote { node: new })
            } else {
                Next::Wait
            }
        }
        Some(replica::Standing::Voter) => match leader.standing_of(old) {
            Some(_) => Next::Ask(Change::Remove { node: old }),
            None => Next::Done,
        },
    }
}
