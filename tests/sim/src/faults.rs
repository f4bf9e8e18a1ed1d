//! What breaks: chosen by the seed, one thing every few seconds, each for a while.

use std::collections::BTreeSet;

use rand::RngExt;

use crate::context::{Context, Event};
use crate::machine::Crash;
use crate::net::{Host, MS, Micros, SECOND};

/// Something that somebody does to the world.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Break something, and again later.
    Another,
    /// A wall falls.
    Heal(u64),
    /// A link that comes and goes: so many changes are left.
    Flap { from: BTreeSet<Host>, to: BTreeSet<Host>, left: u32 },
    /// A machine comes back.
    Restart { host: Host, wiped: bool },
    /// A process goes on (as by SIGCONT).
    Resume(Host),
}

/// Which hosts are what, for faults that know the difference.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) masters: Vec<Host>,
    pub(crate) agents: Vec<Host>,
    pub(crate) clients: Vec<Host>,
}

/// What the world has to do itself, because it concerns what runs on a machine.
#[derive(Debug)]
pub(crate) enum Deed {
    Crash {
        host: Host,
        how: Crash,
        back: Micros,
        wiped: bool,
    },
    /// The power goes in the middle of the next write.
    Cut {
        host: Host,
        back: Micros,
    },
}

impl Places {
    fn any(&self, cx: &mut Context) -> Host {
        match cx.random.random_range(0..10) {
            0..5 => pick(&self.masters, cx),
            5..8 => pick(&self.agents, cx),
            _ => pick(&self.clients, cx),
        }
    }

    fn everybody_but(&self, host: Host) -> BTreeSet<Host> {
        let all = self.masters.iter().chain(&self.agents).chain(&self.clients);
        all.copied().filter(|other| *other != host).collect()
    }
}

fn pick(hosts: &[Host], cx: &mut Context) -> Host {
    hosts[cx.random.random_range(0..hosts.len())]
}

/// Breaks one thing.
pub(crate) fn strike(places: &Places, cx: &mut Context) -> Vec<Deed> {
    let crash = |host, how, back| Deed::Crash { host, how, back, wiped: false };
    let soon = cx.between((50 * MS, 4 * SECOND));
    let long = cx.between((SECOND, 20 * SECOND));
    match cx.random.random_range(0..100) {
        0..18 => vec![crash(pick(&places.masters, cx), Crash::Killed, soon)],
        18..26 => vec![crash(pick(&places.masters, cx), Crash::Power, soon)],
        26..34 => vec![Deed::Cut { host: pick(&places.masters, cx), back: soon }],
        34..37 => places
            .masters
            .iter()
            .map(|host| crash(*host, if soon.is_multiple_of(2) { Crash::Power } else { Crash::Killed }, soon))
            .collect(),
        37..47 => vec![crash(pick(&places.agents, cx), Crash::Killed, soon)],
        47..52 => vec![crash(pick(&places.agents, cx), Crash::Power, long)],
        52..54 => {
            let host = pick(&places.agents, cx);
            vec![Deed::Crash { host, how: Crash::Power, back: long, wiped: true }]
        }
        54..59 => vec![crash(pick(&places.clients, cx), Crash::Killed, soon)],
        59..65 => {
            wake_behind_a_wall(places, cx);
            Vec::new()
        }
        65..74 => {
            let host = places.any(cx);
            let pause = cx.between((100 * MS, 9 * SECOND));
            pause_for(host, pause, cx);
            Vec::new()
        }
        _ => {
            divide(places, cx);
            Vec::new()
        }
    }
}

/// Stops a process for a while.
fn pause_for(host: Host, pause: Micros, cx: &mut Context) {
    if cx.of(host).up && cx.of(host).paused_until <= cx.now {
        cx.of_mut(host).paused_until = cx.now + pause;
        cx.schedule(pause, Event::Fault(Fault::Resume(host)));
    }
}

/// A master stops for long enough that another is elected, and for a moment after it goes on it hears clients but no
/// master: if it led, it has yet to learn that it does not any more.
fn wake_behind_a_wall(places: &Places, cx: &mut Context) {
    let master = pick(&places.masters, cx);
    let pause = cx.between((800 * MS, 1_900 * MS));
    let alone = BTreeSet::from([master]);
    let others: BTreeSet<Host> = places.masters.iter().copied().filter(|other| *other != master).collect();
    for (from, to) in [(alone.clone(), others.clone()), (others, alone)] {
        let wall = cx.wall(from, to);
        cx.schedule(pause + 1_200 * MS, Event::Fault(Fault::Heal(wall)));
    }
    pause_for(master, pause, cx);
}

/// Puts walls up: around a machine in both directions or one, between two masters, or now and then.
fn divide(places: &Places, cx: &mut Context) {
    let long = cx.between((300 * MS, 15 * SECOND));
    let victim = places.any(cx);
    let alone = BTreeSet::from([victim]);
    let others = places.everybody_but(victim);
    let walls: Vec<(BTreeSet<Host>, BTreeSet<Host>)> = match cx.random.random_range(0..5) {
        0 => vec![(alone.clone(), others.clone()), (others, alone)],
        1 => vec![(alone, others)],
        2 => vec![(others, alone)],
        3 => {
            // A bridge: two masters that do not hear each other, both of which hear the third.
            let at = cx.random.random_range(0..places.masters.len());
            let one = BTreeSet::from([places.masters[at]]);
            let two = BTreeSet::from([places.masters[(at + 1) % places.masters.len()]]);
            vec![(one.clone(), two.clone()), (two, one)]
        }
        _ => {
            let left = cx.random.random_range(3..12);
            let flap = Fault::Flap { from: alone, to: others, left };
            cx.schedule(0, Event::Fault(flap));
            Vec::new()
        }
    };
    for (from, to) in walls {
        let wall = cx.wall(from, to);
        cx.schedule(long, Event::Fault(Fault::Heal(wall)));
    }
}

/// One change of a link that comes and goes.
pub(crate) fn flap(from: BTreeSet<Host>, to: BTreeSet<Host>, left: u32, cx: &mut Context) {
    let wall = cx.wall(from.clone(), to.clone());
    let down = cx.between((20 * MS, 1_500 * MS));
    let up = cx.between((20 * MS, 1_500 * MS));
    cx.schedule(down, Event::Fault(Fault::Heal(wall)));
    if left > 1 {
        cx.schedule(down + up, Event::Fault(Fault::Flap { from, to, left: left - 1 }));
    }
}
