//! What the programs of all masters know: the leader raises the group's level when every member reads what that allows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use master_core::registry::LEVEL;
use replica::NodeId;

/// What each member's program said of itself when it greeted last, and what the log may hold.
#[derive(Debug)]
pub struct Levels {
    /// This program's.
    own: u32,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    said: BTreeMap<NodeId, u32>,
    /// The group's, as of the last index applied here.
    group: u32,
}

impl Default for Levels {
    fn default() -> Self {
        Self::of_program(LEVEL)
    }
}

impl Levels {
    /// In a program that knows this level.
    pub fn of_program(own: u32) -> Self {
        Self { own, known: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A member greets.
    pub fn heard(&self, node: NodeId, level: u32) {
        self.with(|known| known.said.insert(node, level));
    }

    /// The log may hold what programs of this level write.
    pub fn group_is_at(&self, level: u32) {
        self.with(|known| known.group = known.group.max(level));
    }

    /// Why a program of this level cannot take part, if it cannot.
    pub fn refusal(&self, address: &str, level: u32) -> Option<String> {
        let group = self.with(|known| known.group);
        (level < group).then(|| {
            format!(
                "the masters of this group write what programs of level {group} know, and {address} knows level {level}: \
                 start a newer version there"
            )
        })
    }

    /// The level that the group of these members may be raised to; `None` while nothing more is known to all.
    pub fn reachable(&self, own: NodeId, members: impl Iterator<Item = NodeId>) -> Option<u32> {
        self.with(|known| reachable(known, (own, self.own), members))
    }
}

fn reachable(known: &Known, own: (NodeId, u32), members: impl Iterator<Item = NodeId>) -> Option<u32> {
    let of = |node| if node == own.0 { Some(own.1) } else { known.said.get(&node).copied() };
    // Of one that has not greeted yet nothing is known: it may be an older program.
    let lowest = members.map(of).try_fold(own.1, |lowest, level| level.map(|level| lowest.min(level)))?;
    (lowest > known.group).then_some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: (NodeId, u32) = (NodeId(1), 3);

    fn known(said: &[(u64, u32)], group: u32) -> Known {
        Known { said: said.iter().map(|(node, level)| (NodeId(*node), *level)).collect(), group }
    }

    fn members() -> impl Iterator<Item = NodeId> {
        (1..=3).map(NodeId)
    }

    #[test]
    fn the_level_rises_to_what_every_member_knows_and_not_before() {
        assert_eq!(reachable(&known(&[(2, 3)], 1), OWN, members()), None, "the third has not greeted");
        assert_eq!(
            reachable(&known(&[(2, 3), (3, 1)], 1), OWN, members()),
            None,
            "the third is of an older version"
        );
        assert_eq!(reachable(&known(&[(2, 3), (3, 2)], 1), OWN, members()), Some(2));
        assert_eq!(reachable(&known(&[(2, 4), (3, 4)], 1), OWN, members()), Some(3), "no more than we know");
        assert_eq!(reachable(&known(&[(2, 3), (3, 3)], 3), OWN, members()), None, "it is there already");
    }

    #[test]
    fn an_older_program_is_refused_with_a_sentence() {
        let levels = Levels::default();
        levels.group_is_at(2);
        assert_eq!(levels.refusal("c:5050", 2), None);
        let sentence = levels.refusal("c:5050", 1).expect("older");
        assert!(sentence.contains("level 2") && sentence.contains("c:5050"), "{sentence}");
    }
}
