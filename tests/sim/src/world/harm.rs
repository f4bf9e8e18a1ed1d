//! What breaks, as it concerns the machines: deaths, full disks, and coming back.

use replica::NodeId;

use super::{Actor, World};
use crate::context::Event;
use crate::faults::{self, Deed, Fault};
use crate::machine::{Crash, Due};
use crate::net::{Host, MS, SECOND};

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
            Fault::Members => self.step_swap(),
        }
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
            Actor::Master(master) => master.make_room(),
            Actor::Agent(agent) => agent.fill_disk(false),
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
            Deed::Fill { host, back } => {
                match &mut self.actors[host.0 as usize] {
                    Actor::Master(master) => master.fill_disk(),
                    Actor::Agent(agent) => agent.fill_disk(true),
                    _ => return,
                }
                self.cx.schedule(back, Event::Fault(Fault::Room(host)));
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
