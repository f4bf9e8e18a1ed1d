//! What breaks: chosen by the seed, one thing every few seconds, each for a while.

use std::collections::BTreeSet;

use rand::RngExt;

use crate::context::{Context, Event};
use crate::machine::{Crash, Trouble};
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
    /// These processes are killed, if the storm lasts.
    Fall(BTreeSet<Host>),
    /// A process that dies soon after each start: so many deaths are left.
    Loop { host: Host, left: u32 },
    /// Somebody has made room on a disk that was full, or what was to fail there once has had its time.
    Room(Host),
    /// These processes are stopped one after the other, and started in this version or the next one.
    Roll { hosts: Vec<Host>, next: bool },
    /// A process sees that the clock of its machine was set.
    ClockSeen(Host),
    /// Somebody has read why a process does not start from its disk, and does something about it.
    Tend(Host),
    /// The next step of a change of membership.
    Members,
}

/// Which hosts are what, for faults that know the difference.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Those that belong to the group now.
    pub(crate) masters: Vec<Host>,
    pub(crate) agents: Vec<Host>,
    /// Those that run for a lease: supervisors of apps and schedulers of jobs.
    pub(crate) schedulers: Vec<Host>,
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
    /// Something is wrong with the disk until then.
    Ail {
        host: Host,
        trouble: Trouble,
        back: Micros,
    },
    /// The power goes, and a bit on the disk flips before it is back.
    Flip {
        host: Host,
        back: Micros,
    },
    /// An agent's data directory comes to another machine and is started there, while its own agent goes on.
    Copy(Host),
    /// An agent is given an order of a leader of the past, as if that one had not looked at what the agent obeys.
    Deposed(Host),
    /// An agent's machine makes no processes.
    Exhaust {
        host: Host,
        back: Micros,
    },
    /// The masters are divided, and one of them is to be replaced meanwhile.
    Members,
    /// Somebody sets the clock of a machine.
    Set {
        host: Host,
        /// Milliseconds, forward or back.
        by: i64,
    },
    /// The leader sleeps for so long that all go over to another, and wakes when that one is gone.
    Sleeper,
}

impl Places {
    fn any(&self, cx: &mut Context) -> Host {
        match cx.random.random_range(0..10) {
            0..5 => pick(&self.masters, cx),
            5..7 => pick(&self.agents, cx),
            7..8 => pick(self.schedulers_or_clients(), cx),
            _ => pick(&self.clients, cx),
        }
    }

    fn client(&self, cx: &mut Context) -> Host {
        if cx.chance(3_000) { pick(self.schedulers_or_clients(), cx) } else { pick(&self.clients, cx) }
    }

    /// A world may have no schedulers.
    fn schedulers_or_clients(&self) -> &[Host] {
        if self.schedulers.is_empty() { &self.clients } else { &self.schedulers }
    }

    fn everybody_but(&self, host: Host) -> BTreeSet<Host> {
        let all = self.masters.iter().chain(&self.agents).chain(&self.schedulers).chain(&self.clients);
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
    match cx.random.random_range(0..120) {
        0..14 => vec![crash(pick(&places.masters, cx), Crash::Killed, soon)],
        14..20 => vec![crash(pick(&places.masters, cx), Crash::Power, soon)],
        20..27 => vec![Deed::Cut { host: pick(&places.masters, cx), back: soon }],
        27..30 => vec![Deed::Ail { host: pick(&places.masters, cx), trouble: Trouble::Full, back: long }],
        30..33 => places
            .masters
            .iter()
            .map(|host| crash(*host, if soon.is_multiple_of(2) { Crash::Power } else { Crash::Killed }, soon))
            .collect(),
        33..39 => vec![crash(pick(&places.agents, cx), Crash::Killed, soon)],
        39..42 => vec![Deed::Deposed(pick(&places.agents, cx))],
        42..46 => vec![crash(pick(&places.agents, cx), Crash::Power, long)],
        46..48 => {
            let host = pick(&places.agents, cx);
            vec![Deed::Crash { host, how: Crash::Power, back: long, wiped: true }]
        }
        48..50 => vec![Deed::Ail { host: pick(&places.agents, cx), trouble: Trouble::Full, back: long }],
        50..53 => vec![crash(pick(&places.clients, cx), Crash::Killed, soon)],
        53..57 => vec![crash(pick(places.schedulers_or_clients(), cx), Crash::Killed, soon)],
        57..60 => {
            let (host, left) = (places.client(cx), cx.random.random_range(2..7));
            cx.schedule(0, Event::Fault(Fault::Loop { host, left }));
            Vec::new()
        }
        60..63 => {
            wake_behind_a_wall(places, cx);
            Vec::new()
        }
        63..65 => vec![Deed::Sleeper],
        65..72 => {
            let host = places.any(cx);
            let pause = cx.between((100 * MS, 9 * SECOND));
            pause_for(host, pause, cx);
            Vec::new()
        }
        72..74 => vec![Deed::Copy(pick(&places.agents, cx))],
        74..76 => vec![Deed::Members],
        76..79 => vec![Deed::Exhaust { host: pick(&places.agents, cx), back: long }],
        79..82 => {
            // A reader that does not read for so long that what is meant for it piles up, or is given up.
            let host = places.client(cx);
            let pause = cx.between((10 * SECOND, 40 * SECOND));
            pause_for(host, pause, cx);
            Vec::new()
        }
        82..100 => {
            divide(places, cx);
            Vec::new()
        }
        at @ 100..104 => vec![Deed::Ail { host: pick(&places.masters, cx), trouble: once(at), back: long }],
        at @ 104..108 => vec![Deed::Ail { host: pick(&places.agents, cx), trouble: once(at), back: long }],
        108..110 => vec![Deed::Flip { host: pick(&places.masters, cx), back: soon }],
        110..112 => vec![Deed::Flip { host: pick(&places.agents, cx), back: soon }],
        112..116 => {
            roll(places, cx);
            Vec::new()
        }
        _ => {
            // What it does is seen by the next process, so half of the time there is one soon.
            let host = places.any(cx);
            let mut deeds = vec![Deed::Set { host, by: step(cx) }];
            if cx.chance(5_000) {
                deeds.push(crash(host, Crash::Killed, soon));
            }
            deeds
        }
    }
}

/// All processes of a kind become those of another version, one after the other, under load.
fn roll(places: &Places, cx: &mut Context) {
    let kinds = [&places.masters, &places.masters, &places.agents, &places.schedulers];
    let hosts = kinds[cx.random.random_range(0..kinds.len())].clone();
    let next = cx.chance(6_000);
    cx.schedule(0, Event::Fault(Fault::Roll { hosts, next }));
}

/// By how much a clock is set: seconds to days, either way.
fn step(cx: &mut Context) -> i64 {
    let most = [10_000, 600_000, 7_200_000, 86_400_000 * 3][cx.random.random_range(0..4)];
    let by: i64 = cx.random.random_range(1_000..=most);
    if cx.chance(5_000) { by } else { -by }
}

/// What fails once.
fn once(at: u32) -> Trouble {
    if at.is_multiple_of(4) { Trouble::Write } else { Trouble::Sync }
}

/// Stops a process for a while.
pub(crate) fn pause_for(host: Host, pause: Micros, cx: &mut Context) {
    if cx.of(host).up && cx.of(host).paused_until <= cx.now {
        cx.of_mut(host).paused_until = cx.now + pause;
        cx.schedule(pause, Event::Fault(Fault::Resume(host)));
    }
}

/// Nothing gets from one side to the other, in neither direction, for so long.
fn part(one: &BTreeSet<Host>, other: &BTreeSet<Host>, long: Micros, cx: &mut Context) {
    for (from, to) in [(one, other), (other, one)] {
        let wall = cx.wall(from.clone(), to.clone());
        cx.schedule(long, Event::Fault(Fault::Heal(wall)));
    }
}

/// A master stops for long enough that another is elected, and for a moment after it goes on it hears clients but no
/// master: if it led, it has yet to learn that it does not any more.
fn wake_behind_a_wall(places: &Places, cx: &mut Context) {
    let master = pick(&places.masters, cx);
    let pause = cx.between((800 * MS, 1_900 * MS));
    let others = places.masters.iter().copied().filter(|other| *other != master).collect();
    part(&BTreeSet::from([master]), &others, pause + 1_200 * MS, cx);
    pause_for(master, pause, cx);
}

/// The leader stops for so long that every agent and every client has gone over to the next one. Then that one dies, with
/// all who could say so, a moment before the old leader goes on: whoever now asks it meets a leader of the past.
pub(crate) fn sleep(leader: Host, places: &Places, cx: &mut Context) {
    let pause = cx.between((5 * SECOND, 11 * SECOND));
    let others: BTreeSet<Host> = places.masters.iter().copied().filter(|other| *other != leader).collect();
    part(&BTreeSet::from([leader]), &others, pause + 2 * SECOND, cx);
    pause_for(leader, pause, cx);
    let before = cx.between((0, 300 * MS));
    cx.schedule(pause - before, Event::Fault(Fault::Fall(others)));
}

/// Puts walls up: around a machine in both directions or one, between two masters, or now and then.
fn divide(places: &Places, cx: &mut Context) {
    let long = cx.between((300 * MS, 15 * SECOND));
    let victim = places.any(cx);
    let alone = BTreeSet::from([victim]);
    let others = places.everybody_but(victim);
    match cx.random.random_range(0..5) {
        0 => part(&alone, &others, long, cx),
        direction @ (1 | 2) => {
            let wall = if direction == 1 { cx.wall(alone, others) } else { cx.wall(others, alone) };
            cx.schedule(long, Event::Fault(Fault::Heal(wall)));
        }
        3 => {
            // A bridge: two masters that do not hear each other, both of which hear the third.
            let at = cx.random.random_range(0..places.masters.len());
            let one = BTreeSet::from([places.masters[at]]);
            let two = BTreeSet::from([places.masters[(at + 1) % places.masters.len()]]);
            part(&one, &two, long, cx);
        }
        _ => {
            let left = cx.random.random_range(3..12);
            let flap = Fault::Flap { from: alone, to: others, left };
            cx.schedule(0, Event::Fault(flap));
        }
    }
}

/// Walls between masters that stand while one of them is replaced: around the leader or another, in both directions or one,
/// or between two that both hear the third. A newcomer is on no side.
pub(crate) fn divide_masters(leader: Option<Host>, places: &Places, cx: &mut Context) {
    let long = cx.between((2 * SECOND, 12 * SECOND));
    let alone = leader.filter(|_| cx.chance(7_000)).unwrap_or_else(|| pick(&places.masters, cx));
    let others: BTreeSet<Host> = places.masters.iter().copied().filter(|other| *other != alone).collect();
    let alone = BTreeSet::from([alone]);
    match cx.random.random_range(0..4) {
        0 => part(&alone, &others, long, cx),
        1 => part(&alone, &others.into_iter().take(1).collect(), long, cx),
        direction => {
            let wall = if direction == 2 { cx.wall(alone, others) } else { cx.wall(others, alone) };
            cx.schedule(long, Event::Fault(Fault::Heal(wall)));
        }
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
