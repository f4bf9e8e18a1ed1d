//! Changes of who the masters are, one at a time: a new one joins, gets its vote when it has caught up, and an old one
//! leaves for ever, sometimes because its disk is gone.

use replica::{Change, NodeId};

use super::{Actor, MASTERS, World};
use crate::context::Event;
use crate::faults::{self, Fault};
use crate::machine::Crash;
use crate::machine::master::Master;
use crate::net::{Host, Micros, SECOND};

/// Between two looks at how far a change is.
const STEP: Micros = SECOND / 2;
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
enum Next {
    Ask(Change),
    /// The newcomer has yet to catch up.
    Wait,
    /// All is done: the old one may go.
    Done,
}

impl World {
    pub(super) fn master(&self, host: Host) -> Option<&Master> {
        match &self.actors[host.0 as usize] {
            Actor::Master(master) => Some(master),
            _ => None,
        }
    }

    pub(super) fn master_mut(&mut self, host: Host) -> Option<&mut Master> {
        master_of(&mut self.actors, host)
    }

    pub(super) fn leader(&self) -> Option<Host> {
        let leads = |host: &&Host| self.master(**host).is_some_and(Master::leads);
        self.places.masters.iter().find(leads).copied()
    }

    /// Some time from now another machine takes the place of a master, if the seed says so.
    pub(super) fn next_swap(&mut self) {
        if self.cx.weather.swaps > 0 && !self.spares.is_empty() {
            self.cx.weather.swaps -= 1;
            let after = self.cx.between((5 * SECOND, 30 * SECOND));
            self.cx.schedule(after, Event::Fault(Fault::Members));
        }
    }

    /// Begins a change of membership, or brings the one under way forward.
    pub(super) fn step_swap(&mut self) {
        let swap = match self.swap {
            Some(swap) => swap,
            // One that has lost its disk is to be replaced before another may be.
            None if self.stormy && self.reserved.is_some() => {
                return self.cx.schedule(STEP, Event::Fault(Fault::Members));
            }
            None if self.stormy && !self.spares.is_empty() => self.begin_swap(),
            None => return,
        };
        let address = self.master(swap.new).map(|new| new.address().to_owned()).unwrap_or_default();
        let held = self.master(swap.new).and_then(Master::position).map_or(0, |(index, _)| index);
        // Whoever takes itself for the leader is asked: where the group is divided that may be one on either side.
        for host in self.places.masters.clone().into_iter().chain([swap.new]) {
            let leader = self.master(host).filter(|master| master.leads());
            match leader.map(|leader| next(swap, leader, &address, held)) {
                Some(Next::Ask(change)) => {
                    if let (Some(leader), cx) = (master_of(&mut self.actors, host), &mut self.cx) {
                        leader.change(change, cx);
                    }
                }
                Some(Next::Done) => return self.end_swap(swap),
                Some(Next::Wait) | None => {}
            }
        }
        self.cx.schedule(STEP, Event::Fault(Fault::Members));
    }

    /// The masters are divided, and one is to be replaced at this very moment.
    pub(super) fn swap_divided(&mut self) {
        if self.swap.is_none() && !self.spares.is_empty() {
            let leader = self.leader();
            faults::divide_masters(leader, &self.places, &mut self.cx);
            self.step_swap();
        }
    }

    fn begin_swap(&mut self) -> Swap {
        let new = self.spares.remove(0);
        let at = usize::try_from(self.cx.between((0, MASTERS - 1))).unwrap_or(0);
        let swap = Swap { new, old: self.places.masters[at] };
        self.bring_in(swap);
        // Half of those that are replaced have lost their disk, and never come back.
        if self.cx.chance(5_000) && self.cx.of(swap.old).up {
            self.crash(swap.old, Crash::Power);
            if let Some(lost) = self.master_mut(swap.old) {
                lost.belongs(false);
            }
        }
        swap
    }

    fn bring_in(&mut self, swap: Swap) {
        self.swap = Some(swap);
        if let Some(newcomer) = self.master_mut(swap.new) {
            newcomer.belongs(true);
        }
        self.start(swap.new);
    }

    /// Keeps a machine for the place of a master whose disk is damaged, if there is one and no other change is under way.
    pub(super) fn reserve(&mut self) -> bool {
        if self.swap.is_some() || self.reserved.is_some() || self.spares.is_empty() {
            return false;
        }
        self.reserved = Some(self.spares.remove(0));
        true
    }

    /// The reserved machine takes the place of a master that does not start any more.
    pub(super) fn replace(&mut self, old: Host) {
        let Some(new) = self.reserved.take() else { return };
        self.bring_in(Swap { new, old });
        if let Some(lost) = self.master_mut(old) {
            lost.belongs(false);
        }
        self.cx.schedule(STEP, Event::Fault(Fault::Members));
    }

    /// The old one is no member any more: its machine is switched off.
    fn end_swap(&mut self, swap: Swap) {
        self.swap = None;
        if self.cx.of(swap.old).up {
            self.crash(swap.old, Crash::Power);
        }
        if let Some(old) = self.master_mut(swap.old) {
            old.belongs(false);
        }
        self.places.masters.retain(|host| *host != swap.old);
        self.places.masters.push(swap.new);
        self.next_swap();
    }
}

fn master_of(actors: &mut [Actor], host: Host) -> Option<&mut Master> {
    match &mut actors[host.0 as usize] {
        Actor::Master(master) => Some(master),
        _ => None,
    }
}

/// The node on a host of masters.
fn node(host: Host) -> NodeId {
    NodeId(u64::from(host.0) + 1)
}

/// What brings a swap forward, as the leader sees the group. `held` is the index the newcomer has applied.
fn next(swap: Swap, leader: &Master, address: &str, held: u64) -> Next {
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
