//! What all machines share: the time, the queue of what will happen, the network, and the judge.

use std::collections::{BTreeSet, VecDeque};

use model::time::Time;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use replica::PeerMessage;

use crate::check::Judge;
use crate::clock::Clock;
use crate::faults::Fault;
use crate::frame::{Ask, Frame};
use crate::machine::Due;
use crate::net::{CONNECT_TIMEOUT, ConnId, Host, MS, Micros, Net, PROBED, SECOND, Side, USER_TIMEOUT, Wall};
use crate::queue::Queue;
use crate::trace::Trace;
use crate::weather::Weather;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame reaches the end of its wire.
    Arrive { conn: ConnId, side: Side, frame: Frame },
    /// What was sent to `side` has not been acknowledged for too long.
    Stuck { conn: ConnId, side: Side, stops: u64 },
    /// What was held up towards `side` goes on.
    Flush { conn: ConnId, side: Side },
    /// A dial has had its time.
    Undialled { conn: ConnId },
    /// The other end went without a word a while ago.
    Orphaned { conn: ConnId, side: Side },
    /// A message between masters.
    Peer { from: Host, to: Host, message: Box<PeerMessage> },
    /// A machine's own business, void after its life.
    Due { host: Host, life: u64, what: Due },
    /// Somebody breaks something.
    Fault(Fault),
}

/// What is known of a machine apart from what runs on it.
#[derive(Debug)]
pub struct Standing {
    /// How reports call it.
    pub name: String,
    /// The process runs.
    pub up: bool,
    /// The machine has power: without a process it refuses connections, without power it says nothing.
    pub power: bool,
    /// Counts the starts of the process.
    pub life: u64,
    /// Stopped (as by SIGSTOP) until then.
    pub paused_until: Micros,
    /// The program that is installed is of the next version.
    pub next: bool,
    /// The process's idea of the time.
    pub clock: Clock,
    /// The machine's, which is set now and then.
    pub wall: Clock,
    /// What happened while it was stopped.
    pub(crate) backlog: VecDeque<Event>,
}

/// Everything but the machines.
#[derive(Debug)]
pub struct Context {
    /// True time.
    pub now: Micros,
    /// The only source of chance.
    pub random: ChaCha8Rng,
    /// How unkind the world is.
    pub weather: Weather,
    /// Connections and walls.
    pub net: Net,
    /// All machines, by host.
    pub standing: Vec<Standing>,
    /// The promises and who watches over them.
    pub judge: Judge,
    /// What the run did, as a number.
    pub trace: Trace,
    queue: Queue<Event>,
    walls: u64,
    /// Events that happened.
    pub events: u64,
}

impl Context {
    pub(crate) fn new(random: ChaCha8Rng, weather: Weather) -> Self {
        Self {
            now: 0,
            random,
            weather,
            net: Net::default(),
            standing: Vec::new(),
            judge: Judge::default(),
            trace: Trace::default(),
            queue: Queue::default(),
            walls: 0,
            events: 0,
        }
    }

    pub(crate) fn add_host(&mut self, name: String) -> Host {
        let host = Host(u32::try_from(self.standing.len()).expect("fewer machines than that"));
        let drift = self.weather.drift;
        let clock = Clock {
            ahead_ms: self.random.random_range(0..=self.weather.skew_ms).cast_signed(),
            rate: 1_000_000 - drift + self.random.random_range(0..=2 * drift),
        };
        self.standing.push(Standing {
            name,
            up: false,
            power: true,
            life: 0,
            paused_until: 0,
            next: false,
            clock,
            wall: clock,
            backlog: VecDeque::new(),
        });
        host
    }

    pub(crate) fn of(&self, host: Host) -> &Standing {
        &self.standing[host.0 as usize]
    }

    pub(crate) fn of_mut(&mut self, host: Host) -> &mut Standing {
        &mut self.standing[host.0 as usize]
    }

    /// The time as `host` sees it.
    pub fn clock(&self, host: Host) -> Time {
        self.of(host).clock.read(self.now)
    }

    /// True with a probability in parts per ten thousand.
    pub fn chance(&mut self, parts: u32) -> bool {
        parts > 0 && self.random.random_range(0..10_000) < parts
    }

    pub(crate) fn between(&mut self, (least, most): (Micros, Micros)) -> Micros {
        self.random.random_range(least..=most.max(least))
    }

    pub(crate) fn schedule(&mut self, after: Micros, event: Event) {
        self.queue.push(self.now + after, event);
    }

    /// Sets the alarm of a machine.
    pub fn later(&mut self, host: Host, after: Micros, what: Due) {
        let life = self.of(host).life;
        self.schedule(after, Event::Due { host, life, what });
    }

    /// Calls a machine when its clock shows `time`.
    pub fn at(&mut self, host: Host, time: Time, what: Due) -> Micros {
        let at = self.of(host).clock.reaches(time).max(self.now);
        self.later(host, at - self.now, what);
        at
    }

    /// The next event that happens until `end`, with the time moved to it.
    pub(crate) fn next(&mut self, end: Micros) -> Option<Event> {
        let Some((at, event)) = self.queue.pop(end) else {
            self.now = end;
            return None;
        };
        self.now = at;
        self.events += 1;
        Some(event)
    }

    /// The time of a message on its way.
    fn latency(&mut self) -> Micros {
        let usual = self.between(self.weather.latency);
        if self.chance(self.weather.slow) { usual + self.between((MS, 250 * MS)) } else { usual }
    }

    /// The time of a write that is synced.
    pub fn sync_time(&mut self) -> Micros {
        let usual = self.between(self.weather.sync);
        if self.chance(self.weather.stall) { usual + self.between((MS, SECOND)) } else { usual }
    }

    // --- connections

    /// Opens a connection; what comes of it is told by frames.
    pub fn dial(&mut self, client: Host, server: Host, ask: Ask) -> ConnId {
        let conn = self.net.dial(client, server);
        if self.chance(self.weather.resets) {
            // Something on the way refuses it: the server hears nothing.
            if let Some(known) = self.net.conns.get_mut(&conn) {
                known.shut(Side::Server);
            }
            self.push(conn, Side::Client, Frame::End);
            return conn;
        }
        self.send(conn, client, Frame::Ask(ask));
        self.schedule(CONNECT_TIMEOUT, Event::Undialled { conn });
        conn
    }

    /// Sends on a connection; the number of frames that are under way now. What is sent on one that is closed is lost.
    pub fn send(&mut self, id: ConnId, from: Host, frame: Frame) -> usize {
        let Some(conn) = self.net.conns.get_mut(&id) else { return 0 };
        let mine = conn.side_of(from);
        if !conn.is_open(mine) {
            return 0;
        }
        self.push(id, mine.other(), frame)
    }

    /// Frames that `from` has sent on a connection and the other end has not taken.
    pub(crate) fn under_way(&mut self, id: ConnId, from: Host) -> usize {
        let Some(conn) = self.net.conns.get_mut(&id) else { return 0 };
        let side = conn.side_of(from).other();
        conn.pipe(side).under_way
    }

    /// Puts a frame on the wire towards `side`.
    fn push(&mut self, id: ConnId, side: Side, frame: Frame) -> usize {
        let latency = self.latency();
        let Some(conn) = self.net.conns.get_mut(&id) else { return 0 };
        let pipe = conn.pipe(side);
        pipe.under_way += 1;
        let under_way = pipe.under_way;
        let at = pipe.ready.max(self.now + latency);
        pipe.ready = at;
        self.schedule(at - self.now, Event::Arrive { conn: id, side, frame });
        under_way
    }

    /// Closes an end. The other hears of it, if it can.
    pub fn close(&mut self, id: ConnId, host: Host) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let mine = conn.side_of(host);
        if !conn.is_open(mine) {
            return;
        }
        conn.shut(mine);
        if conn.is_over() {
            self.net.conns.remove(&id);
        } else {
            self.push(id, mine.other(), Frame::End);
        }
    }

    /// What becomes of a frame at the end of its wire: taken by the machine that is returned, held, or refused.
    pub(crate) fn arrive(&mut self, id: ConnId, side: Side, frame: Frame) -> Option<(Host, Frame)> {
        let conn = self.net.conns.get_mut(&id)?;
        let (from, to) = (conn.host(side.other()), conn.host(side));
        let blocked = self.net.walls.values().any(|w| w.from.contains(&from) && w.to.contains(&to))
            || !self.standing[to.0 as usize].power;
        let pipe = conn.pipe(side);
        if blocked || !pipe.held.is_empty() {
            if pipe.held.is_empty() {
                pipe.stops += 1;
                let stops = pipe.stops;
                self.schedule(USER_TIMEOUT, Event::Stuck { conn: id, side, stops });
            }
            let conn = self.net.conns.get_mut(&id)?;
            conn.pipe(side).held.push_back(frame);
            return None;
        }
        if self.of(to).up && self.of(to).paused_until > self.now {
            // The system shakes hands for a process that is stopped: whoever dialled it waits for an answer.
            self.net.conns.get_mut(&id)?.reached = true;
            self.of_mut(to).backlog.push_back(Event::Arrive { conn: id, side, frame });
            return None;
        }
        self.take(id, side, frame)
    }

    /// The next frame of those that were held up and can go on now. They stay before whatever was sent after them.
    pub(crate) fn unheld(&mut self, id: ConnId, side: Side) -> Option<(Host, Frame)> {
        loop {
            let conn = self.net.conns.get_mut(&id)?;
            let (from, to) = (conn.host(side.other()), conn.host(side));
            if conn.pipe(side).held.is_empty() {
                return None;
            }
            if self.net.blocked(from, to) || !self.of(to).power {
                // Another wall: the wait for the other side begins anew.
                let conn = self.net.conns.get_mut(&id)?;
                conn.pipe(side).stops += 1;
                let stops = conn.pipe(side).stops;
                self.schedule(USER_TIMEOUT, Event::Stuck { conn: id, side, stops });
                return None;
            }
            if self.of(to).up && self.of(to).paused_until > self.now {
                self.net.conns.get_mut(&id)?.reached = true;
                self.of_mut(to).backlog.push_back(Event::Flush { conn: id, side });
                return None;
            }
            let conn = self.net.conns.get_mut(&id)?;
            let frame = conn.pipe(side).held.pop_front()?;
            if let Some(taken) = self.take(id, side, frame) {
                return Some(taken);
            }
        }
    }

    /// Hands a frame over to whoever listens.
    fn take(&mut self, id: ConnId, side: Side, frame: Frame) -> Option<(Host, Frame)> {
        let to = self.net.conns.get(&id)?.host(side);
        let up = self.of(to).up;
        let conn = self.net.conns.get_mut(&id)?;
        conn.pipe(side).under_way -= 1;
        conn.reached = true;
        if !conn.is_open(side) || !up {
            // Nobody listens there (any more).
            conn.shut(side);
            if conn.is_over() {
                self.net.conns.remove(&id);
            } else if !matches!(frame, Frame::End) {
                self.push(id, side.other(), Frame::End);
            }
            return None;
        }
        if matches!(frame, Frame::End) {
            conn.shut(side);
            if conn.is_over() {
                self.net.conns.remove(&id);
            }
        }
        Some((to, frame))
    }

    /// A system gives up what it could not deliver: the sender's end breaks, the other does not know.
    pub(crate) fn stuck(&mut self, id: ConnId, side: Side, stops: u64) -> Option<Host> {
        let conn = self.net.conns.get_mut(&id)?;
        let pipe = conn.pipe(side);
        if pipe.held.is_empty() || pipe.stops != stops {
            return None;
        }
        let lost = pipe.held.len();
        pipe.held.clear();
        pipe.under_way -= lost;
        self.orphan(id, side);
        self.give_up(id, side.other())
    }

    /// The end at `side` is not told that the other is gone; its system finds out.
    fn orphan(&mut self, id: ConnId, side: Side) {
        self.schedule(PROBED, Event::Orphaned { conn: id, side });
    }

    pub(crate) fn orphaned(&mut self, id: ConnId, side: Side) -> Option<Host> {
        self.give_up(id, side)
    }

    /// Breaks the end at `side` without telling the other; who has to be told that it did.
    fn give_up(&mut self, id: ConnId, side: Side) -> Option<Host> {
        let conn = self.net.conns.get_mut(&id)?;
        let host = conn.host(side);
        let open = conn.is_open(side);
        conn.shut(side);
        if conn.is_over() {
            self.net.conns.remove(&id);
        }
        (open && self.of(host).up).then_some(host)
    }

    pub(crate) fn undialled(&mut self, id: ConnId) -> Option<Host> {
        let conn = self.net.conns.get_mut(&id)?;
        if conn.reached {
            return None;
        }
        // The server has heard nothing, and will refuse what arrives late.
        conn.shut(Side::Server);
        self.give_up(id, Side::Client)
    }

    /// The process of `host` has ended. With power, its system closes what it had open.
    pub(crate) fn process_ended(&mut self, host: Host) {
        let own = |conn: &crate::net::Conn| {
            [Side::Client, Side::Server].into_iter().any(|side| conn.host(side) == host && conn.is_open(side))
        };
        let ids: Vec<ConnId> =
            self.net.conns.iter().filter(|(_, conn)| own(conn)).map(|(id, _)| *id).collect();
        let power = self.of(host).power;
        for id in ids {
            if power {
                self.close(id, host);
            } else if let Some(conn) = self.net.conns.get_mut(&id) {
                let mine = conn.side_of(host);
                conn.shut(mine);
                if conn.is_over() {
                    self.net.conns.remove(&id);
                } else {
                    self.orphan(id, mine.other());
                }
            }
        }
    }

    /// Walls fell or power came back: what was held goes on.
    pub(crate) fn release(&mut self) {
        let ids: Vec<ConnId> =
            self.net.conns.iter().filter(|(_, conn)| conn.holds()).map(|(id, _)| *id).collect();
        for id in ids {
            for side in [Side::Client, Side::Server] {
                let Some(conn) = self.net.conns.get_mut(&id) else { break };
                let (from, to) = (conn.host(side.other()), conn.host(side));
                if self.net.blocked(from, to) || !self.of(to).power {
                    continue;
                }
                let Some(conn) = self.net.conns.get_mut(&id) else { break };
                if !conn.pipe(side).held.is_empty() {
                    conn.pipe(side).stops += 1;
                    let latency = self.latency();
                    self.schedule(latency, Event::Flush { conn: id, side });
                }
            }
        }
    }

    /// Builds a wall; its name, to take it down.
    pub(crate) fn wall(&mut self, from: BTreeSet<Host>, to: BTreeSet<Host>) -> u64 {
        self.walls += 1;
        self.net.walls.insert(self.walls, Wall { from, to });
        self.walls
    }

    // --- messages between masters

    /// Sends a message that may be lost, doubled or overtaken.
    pub(crate) fn message(&mut self, from: Host, to: Host, message: PeerMessage) -> bool {
        if self.chance(self.weather.loss) {
            return false;
        }
        let message = Box::new(message);
        if self.chance(self.weather.double) {
            let latency = self.latency();
            self.schedule(latency, Event::Peer { from, to, message: message.clone() });
        }
        let latency = self.latency();
        self.schedule(latency, Event::Peer { from, to, message });
        true
    }
}
