//! What breaks, as it concerns the machines: deaths, full disks, and coming back.

use replica::NodeId;

use super::{Actor, World};
use crate::context::Event;
use crate::faults::{self, Deed, Fault};
use crate::machine::{Crash, Due};
use crate::net::{Host, MS, Micros, SECOND};

/// How often the kit's schedulers compare their term's time with the wall's.
const CLOCK_LOOK: Micros = 2 * SECOND;

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Another if self.stormy => {
                for deed in faults::strike(&self.places, &mut self.cx) {
                    self.commit(deed);
                }
                let mean = self.cx.weather.fault_every;
                let pause = self.cx.between((1, 2 * mean));
                self.cx.schedule(pause, Event::Fault(Fault::Another));
            }
            Fault::Another => {}
            Fault::Heal(wall) => {
                self.cx.net.walls.remove(&wall);
                self.cx.release();
            }
            Fault::Flap { from, to, left } if self.stormy => faults::flap(from, to, left, &mut self.cx),
            Fault::Flap { .. } => {}
            Fault::Restart { host, wiped } => self.restart(host, wiped),
            Fault::Resume(host) => self.resume(host),
            Fault::Fall(hosts) if self.stormy => {
                for host in hosts {
                    let back = self.cx.between((2 * SECOND, 5 * SECOND));
                    self.commit(Deed::Crash { host, how: Crash::Killed, back, wiped: false });
                }
            }
            Fault::Fall(_) => {}
            Fault::Loop { host, left } if self.stormy => self.die_again(host, left),
            Fault::Loop { .. } => {}
            Fault::Room(host) => self.make_room(host),
            Fault::Tend(host) => self.tend(host),
            Fault::Roll { hosts, next } if self.stormy => self.roll(hosts, next),
            Fault::Roll { .. } => {}
            Fault::ClockSeen(host) => {
                if self.cx.of(host).up {
                    self.actors[host.0 as usize].machine().clock_set(&mut self.cx);
                }
            }
            Fault::Members => self.step_swap(),
        }
    }

    /// The next one of those that become another version.
    fn roll(&mut self, mut hosts: Vec<Host>, next: bool) {
        let Some(host) = hosts.pop() else { return };
        let down = self.cx.between((20 * MS, 1_500 * MS));
        // A hundred agents are not waited for one by one.
        let pause = self.cx.between((0, 3 * SECOND / (1 + hosts.len() as u64 / 10)));
        self.commit(Deed::Crash { host, how: Crash::Killed, back: down, wiped: false });
        self.cx.of_mut(host).next = next;
        let alone = if hosts.len() < 10 { down } else { 0 };
        self.cx.schedule(alone + pause, Event::Fault(Fault::Roll { hosts, next }));
    }

    /// A process that dies a moment after it was started, and again.
    fn die_again(&mut self, host: Host, left: u32) {
        let back = self.cx.between((MS, 60 * MS));
        self.commit(Deed::Crash { host, how: Crash::Killed, back, wiped: false });
        if left > 1 {
            let lives = back + self.cx.between((20 * MS, 700 * MS));
            self.cx.schedule(lives, Event::Fault(Fault::Loop { host, left: left - 1 }));
        }
    }

    pub(super) fn make_room(&mut self, host: Host) {
        match &mut self.actors[host.0 as usize] {
            Actor::Master(master) => master.mend(),
            Actor::Agent(agent) => agent.ail(None),
            _ => return,
        }
        if !self.cx.of(host).up {
            self.restart(host, false);
        }
    }

    pub(super) fn commit(&mut self, deed: Deed) {
        match deed {
            Deed::Crash { host, how, back, wiped } => {
                if self.cx.of(host).up {
                    self.crash(host, how);
                    self.cx.schedule(back, Event::Fault(Fault::Restart { host, wiped }));
                }
            }
            Deed::Ail { host, trouble, back } => {
                match &mut self.actors[host.0 as usize] {
                    Actor::Master(master) => master.ail(trouble, &mut self.cx),
                    Actor::Agent(agent) => agent.ail(Some(trouble)),
                    _ => return,
                }
                self.cx.schedule(back, Event::Fault(Fault::Room(host)));
            }
            Deed::Exhaust { host, back } => {
                let until = self.cx.now + back;
                if let Actor::Agent(agent) = &mut self.actors[host.0 as usize] {
                    agent.exhaust(until);
                }
            }
            Deed::Deposed(host) => {
                if let Actor::Agent(agent) = &self.actors[host.0 as usize] {
                    agent.hear_the_past(&mut self.cx);
                }
            }
            Deed::Members => self.swap_divided(),
            Deed::Copy(host) => self.copy_agent(host),
            Deed::Flip { host, back } => self.flip(host, back),
            Deed::Set { host, by } => {
                self.cx.of_mut(host).wall.ahead_ms += by;
                self.note(host, 600);
                let look = self.cx.between((0, CLOCK_LOOK));
                self.cx.schedule(look, Event::Fault(Fault::ClockSeen(host)));
            }
            Deed::Sleeper => {
                if let Some(leader) = self.leader() {
                    faults::sleep(leader, &self.places, &mut self.cx);
                }
            }
            Deed::Cut { host, back } => {
                if let (true, Actor::Master(master)) =
                    (self.cx.of(host).up, &mut self.actors[host.0 as usize])
                {
                    master.cut_power();
                    self.cx.schedule(back, Event::Fault(Fault::Restart { host, wiped: false }));
                }
            }
        }
    }

    /// What is on an agent's disk comes to a machine of the same kind, as when an image is taken of a running one.
    fn copy_agent(&mut self, original: Host) {
        let Some(copy) = self.blanks.last().copied() else { return };
        let Actor::Agent(agent) = &self.actors[original.0 as usize] else { return };
        let Some(image) = agent.image(&mut self.cx) else { return };
        if let Actor::Agent(agent) = &mut self.actors[copy.0 as usize] {
            agent.become_copy(image);
        }
        self.blanks.pop();
        self.places.agents.push(copy);
        self.start(copy);
    }

    /// Nobody but a copy is this agent any more: its own disk is gone. The operator has the copy begin anew.
    pub(super) fn end_widowed_copies(&mut self) {
        let agents = self.places.agents.clone();
        let known = |world: &Self, host: Host| match &world.actors[host.0 as usize] {
            Actor::Agent(agent) => agent.registered_as().map(|id| (id, agent.is_copy())),
            _ => None,
        };
        for host in &agents {
            let Some((id, true)) = known(self, *host) else { continue };
            let original = |other: &Host| known(self, *other) == Some((id.clone(), false));
            if !agents.iter().any(original) {
                if self.cx.of(*host).up {
                    self.crash(*host, Crash::Power);
                }
                self.restart(*host, true);
            }
        }
    }

    /// The power goes, and when it is back a bit on the disk is another. Of masters only while one of those that may take
    /// the place of one is left, and nothing else costs one its disk.
    fn flip(&mut self, host: Host, back: Micros) {
        let master = self.master(host).is_some();
        if !self.cx.of(host).up || (master && !self.reserve()) {
            return;
        }
        self.crash(host, Crash::Power);
        match &mut self.actors[host.0 as usize] {
            Actor::Master(master) => master.flip(&mut self.cx),
            Actor::Agent(agent) => agent.flip(&mut self.cx),
            _ => {}
        }
        self.cx.schedule(back, Event::Fault(Fault::Restart { host, wiped: false }));
    }

    /// An operator has read why a process does not start: an agent comes back without its disk, as another; in the place of
    /// a master comes a new one.
    fn tend(&mut self, host: Host) {
        match &self.actors[host.0 as usize] {
            Actor::Agent(agent) if agent.refuses() => {
                self.restart(host, true);
                // Until then it is done once, for all, when everything heals.
                if !self.stormy {
                    self.end_widowed_copies();
                }
            }
            Actor::Master(master) if master.refuses() => self.replace(host),
            Actor::Master(master) if master.is_outdated() => {
                self.cx.of_mut(host).next = true;
                if self.cx.of(host).up {
                    self.crash(host, Crash::Killed);
                }
                self.restart(host, false);
            }
            _ => {}
        }
    }

    pub(super) fn crash(&mut self, host: Host, how: Crash) {
        let standing = self.cx.of_mut(host);
        standing.up = false;
        standing.power = how == Crash::Killed;
        standing.life += 1;
        standing.paused_until = 0;
        standing.backlog.clear();
        self.note(host, 400);
        self.actors[host.0 as usize].machine().crash(how, &mut self.cx);
        self.cx.process_ended(host);
        if how == Crash::Killed && self.places.masters.contains(&host) {
            self.tell_masters(host);
        }
    }

    /// The system of a master whose process has ended refuses its peers, who take it for gone.
    fn tell_masters(&mut self, gone: Host) {
        let node = NodeId(u64::from(gone.0) + 1);
        for other in self.places.masters.clone() {
            if other != gone && !self.cx.net.blocked(gone, other) && self.cx.of(other).up {
                let after = self.cx.between((200, 60_000));
                self.cx.later(other, after, Due::PeerGone(node));
            }
        }
    }

    pub(super) fn restart(&mut self, host: Host, wiped: bool) {
        if self.actors[host.0 as usize].view().ended() {
            return;
        }
        if self.cx.of(host).up && !self.cut_short(host) {
            return;
        }
        if self.cx.of(host).up {
            self.crash(host, Crash::Power);
        }
        if wiped {
            self.actors[host.0 as usize].machine().wipe(&mut self.cx);
        }
        self.start(host);
        let refuses = match &self.actors[host.0 as usize] {
            Actor::Agent(agent) => agent.refuses(),
            Actor::Master(master) => master.refuses(),
            _ => false,
        };
        if refuses {
            let read = self.cx.between((SECOND, 8 * SECOND));
            self.cx.schedule(read, Event::Fault(Fault::Tend(host)));
        }
    }

    /// Whether the power of a machine was to go at its next write, and it has not written since.
    pub(super) fn cut_short(&self, host: Host) -> bool {
        matches!(&self.actors[host.0 as usize], Actor::Master(master) if master.is_doomed())
    }

    pub(super) fn resume(&mut self, host: Host) {
        if self.cx.of(host).paused_until > self.cx.now {
            return;
        }
        let backlog = std::mem::take(&mut self.cx.of_mut(host).backlog);
        for event in backlog {
            self.happen(event);
        }
    }
}
