//! The world: who is in it, what happens next, and when it has to be well again.

mod harm;
mod membership;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_core::TaskKey;
use master::level::Levels;
use master_core::registry::LEVEL;
use model::resources::Bag;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use replica::disk::MemoryDisk;
use replica::form::Founding;
use replica::{ClusterId, Disk, NodeId};

use self::membership::Swap;
use crate::check::Findings;
use crate::context::{Context, Event};
use crate::faults::{Fault, Places};
use crate::frame::Frame;
use crate::machine::Machine;
use crate::machine::agent::Agent;
use crate::machine::batch::Batch;
use crate::machine::citizen::Citizen;
use crate::machine::framework::Framework;
use crate::machine::listener::Listener;
use crate::machine::locker::Locker;
use crate::machine::master::{Group, Master};
use crate::machine::operator::Operator;
use crate::machine::owner::Owner;
use crate::machine::sidecar::Sidecar;
use crate::machine::supervisor::Supervisor;
use crate::machine::tenant::Tenant;
use crate::machine::user::User;
use crate::machine::watcher::Watcher;
use crate::machine::writer::Writer;
use crate::net::{ConnId, Host, Micros, SECOND, Side};
use crate::version::{self, NEXT, Registrar};
use crate::weather::Weather;

/// Masters, and machines that may take the place of one.
const MASTERS: u64 = 3;
const SPARES: u64 = 2;
/// Supervisors of apps, one of which leads; and schedulers of jobs.
const SUPERVISORS: u64 = 2;
const BATCHES: u64 = 2;
/// After everything has healed, all must be well within so long.
const PATIENCE: Micros = 240 * SECOND;
/// Past this the world is taken to run in circles.
const MOST_EVENTS: u64 = 50_000_000;
/// All stays well for so long before the last look.
const REST: Micros = 3 * SECOND;

/// What is chosen from outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// Agents, in place of what the seed says.
    pub agents: Option<u32>,
    /// Frameworks that misbehave, in place of what the seed says.
    pub citizens: Option<u32>,
    /// Length of the phase with faults in seconds, in place of what the seed says.
    pub storm: Option<u64>,
    /// Microseconds between two looks at the leader's books, to find out when they went wrong.
    pub audit: Option<u64>,
    /// No faults at all.
    pub calm: bool,
    /// Masters, agents and plain clients alone: no schedulers of apps or jobs, and nobody who asks them.
    pub alone: bool,
    /// Everything that is heard and has this in it is printed: a task's id, say. It is no part of the run.
    pub follow: Option<&'static str>,
    /// A clock, in nanoseconds, to find out where the time of a run goes. It is no part of the run.
    pub stopwatch: Option<fn() -> u64>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What it did, as a number.
    pub hash: u64,
    /// True time that passed in it.
    pub time: Micros,
    /// Events that happened.
    pub events: u64,
    /// After the end of the faults, how long it took until all was well.
    pub recovery: Option<Micros>,
    /// With a stopwatch: events and nanoseconds of each kind of machine.
    pub spent: BTreeMap<&'static str, (u64, u64)>,
    /// Name and deeds of each machine.
    pub machines: Vec<(String, String)>,
    /// Name and promise of each checker, and what it saw.
    pub checks: Vec<(&'static str, &'static str, Findings)>,
}

impl Report {
    /// Whether every promise held.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|(_, _, findings)| findings.wrong.is_empty())
    }
}

enum Actor {
    Master(Box<Master>),
    Agent(Box<Agent>),
    Framework(Box<Framework>),
    Writer(Box<Writer>),
    Watcher(Box<Watcher>),
    Locker(Box<Locker>),
    Supervisor(Box<Supervisor>),
    Sidecar(Box<Sidecar>),
    Listener(Box<Listener>),
    User(Box<User>),
    Batch(Box<Batch>),
    Owner(Box<Owner>),
    Tenant(Box<Tenant>),
    Citizen(Box<Citizen>),
    Operator(Box<Operator>),
}

impl Actor {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Master(machine) => &mut **machine,
            Self::Agent(machine) => &mut **machine,
            Self::Framework(machine) => &mut **machine,
            Self::Writer(machine) => &mut **machine,
            Self::Watcher(machine) => &mut **machine,
            Self::Locker(machine) => &mut **machine,
            Self::Supervisor(machine) => &mut **machine,
            Self::Sidecar(machine) => &mut **machine,
            Self::Listener(machine) => &mut **machine,
            Self::User(machine) => &mut **machine,
            Self::Batch(machine) => &mut **machine,
            Self::Owner(machine) => &mut **machine,
            Self::Tenant(machine) => &mut **machine,
            Self::Citizen(machine) => &mut **machine,
            Self::Operator(machine) => &mut **machine,
        }
    }

    /// What it is, in a word.
    fn kind(&self) -> &'static str {
        match self {
            Self::Master(_) => "master",
            Self::Agent(_) => "agent",
            Self::Framework(_) => "framework",
            Self::Writer(_) => "writer",
            Self::Watcher(_) => "watcher",
            Self::Locker(_) => "locker",
            Self::Supervisor(_) => "supervisor",
            Self::Sidecar(_) => "sidecar",
            Self::Listener(_) => "listener",
            Self::User(_) => "user",
            Self::Batch(_) => "batch",
            Self::Owner(_) => "owner",
            Self::Tenant(_) => "tenant",
            Self::Citizen(_) => "citizen",
            Self::Operator(_) => "operator",
        }
    }

    fn view(&self) -> &dyn Machine {
        match self {
            Self::Master(machine) => &**machine,
            Self::Agent(machine) => &**machine,
            Self::Framework(machine) => &**machine,
            Self::Writer(machine) => &**machine,
            Self::Watcher(machine) => &**machine,
            Self::Locker(machine) => &**machine,
            Self::Supervisor(machine) => &**machine,
            Self::Sidecar(machine) => &**machine,
            Self::Listener(machine) => &**machine,
            Self::User(machine) => &**machine,
            Self::Batch(machine) => &**machine,
            Self::Owner(machine) => &**machine,
            Self::Tenant(machine) => &**machine,
            Self::Citizen(machine) => &**machine,
            Self::Operator(machine) => &**machine,
        }
    }
}

/// All of it.
pub struct World {
    cx: Context,
    actors: Vec<Actor>,
    places: Places,
    follow: Option<&'static str>,
    stopwatch: Option<fn() -> u64>,
    spent: BTreeMap<&'static str, (u64, u64)>,
    stormy: bool,
    /// Machines that may become masters.
    spares: Vec<Host>,
    /// Machines that copies of agents may come to.
    blanks: Vec<Host>,
    /// The one that is to take the place of a master with a damaged disk.
    reserved: Option<Host>,
    swap: Option<Swap>,
}

/// Runs the world of a seed to its end.
pub fn run(seed: u64, choices: Choices) -> Report {
    let mut world = World::new(seed, choices);
    let storm = world.cx.weather.storm;
    world.storm(storm);
    world.heal();
    let healed = world.cx.now;
    let recovery = world.recover();
    world.report(seed, recovery.map(|at| at - healed))
}

impl World {
    fn new(seed: u64, choices: Choices) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut weather = Weather::draw(&mut random, choices.agents);
        if let Some(seconds) = choices.storm {
            weather.storm = seconds * SECOND;
        }
        if let Some(micros) = choices.audit {
            weather.audit = micros;
        }
        if let Some(citizens) = choices.citizens {
            weather.citizens = citizens;
        }
        let cx = Context::new(random, weather);
        let mut world = Self {
            cx,
            actors: Vec::new(),
            places: Places::default(),
            follow: choices.follow,
            stopwatch: choices.stopwatch,
            spent: BTreeMap::new(),
            stormy: !choices.calm,
            spares: Vec::new(),
            blanks: Vec::new(),
            reserved: None,
            swap: None,
        };
        world.cx.judge.service.calm = choices.calm;
        let masters = world.masters();
        world.agents(&masters);
        world.clients(&masters);
        if !choices.alone {
            world.apps(&masters);
            world.jobs(&masters);
        }
        for at in 0..world.actors.len() {
            let host = Host(u32::try_from(at).expect("counted as such before"));
            if !world.spares.contains(&host) && !world.blanks.contains(&host) {
                world.start(host);
            }
        }
        if world.stormy {
            let first = world.cx.weather.fault_every;
            world.cx.schedule(first, Event::Fault(Fault::Another));
            world.next_swap();
        }
        world
    }

    fn masters(&mut self) -> Vec<(String, Host)> {
        let nodes: Vec<NodeId> = (1..=MASTERS + SPARES).map(NodeId).collect();
        let addresses: Vec<String> = nodes.iter().map(|node| format!("m{}:5050", node.0)).collect();
        let founders = nodes.iter().copied().zip(addresses.iter().cloned()).take(MASTERS as usize);
        let founding = Founding { cluster: ClusterId(1), members: founders.collect() };
        version::turn(LEVEL, LEVEL);
        let mut hosts = Vec::new();
        let mut members = BTreeMap::new();
        let mut disks = Vec::new();
        for (node, address) in nodes.iter().zip(&addresses) {
            let mut disk = MemoryDisk::new();
            replica::found::<Registrar, _>(&mut disk, &founding).expect("an empty disk takes it");
            let host = self.cx.add_host(format!("m{}", node.0));
            hosts.push(host);
            if node.0 <= MASTERS {
                self.places.masters.push(host);
            } else {
                // Whoever joins starts from the record of the founders.
                self.cx.of_mut(host).power = false;
                self.spares.push(host);
            }
            members.insert(*node, (host, address.clone(), disk.files()));
            disks.push((*node, host, disk));
        }
        let levels = Arc::new(Levels::of_program(NEXT));
        let group = Arc::new(Group { founding, members, levels });
        for (node, host, disk) in disks {
            self.actors.push(Actor::Master(Box::new(Master::new(host, node, disk, group.clone()))));
        }
        addresses.into_iter().zip(hosts).collect()
    }

    fn agents(&mut self, masters: &[(String, Host)]) {
        for number in 1..=self.cx.weather.agents {
            let host = self.cx.add_host(format!("a{number}"));
            self.places.agents.push(host);
            let cpus = self.cx.random.random_range(4..9);
            let total = Bag::parse(&format!("cpus:{cpus};mem:4096;disk:4096;ports:[31000-31100]"));
            let total = total.expect("a lawful text of resources");
            self.actors.push(Actor::Agent(Box::new(Agent::new(host, masters, total))));
        }
        for number in 1..=self.cx.weather.copies {
            // Numbered on after the agents: names of agents are addresses by their numbers.
            let host = self.cx.add_host(format!("copy{}", self.cx.weather.agents + number));
            self.cx.of_mut(host).power = false;
            self.blanks.push(host);
            self.actors.push(Actor::Agent(Box::new(Agent::new(host, masters, Bag::new()))));
        }
    }

    fn clients(&mut self, masters: &[(String, Host)]) {
        let wanted = self.cx.weather.tasks;
        let host = self.client("framework".to_owned());
        self.actors.push(Actor::Framework(Box::new(Framework::new(host, masters, wanted))));
        let host = self.client("tenant".to_owned());
        self.actors.push(Actor::Tenant(Box::new(Tenant::new(host, masters))));
        if self.cx.weather.citizens > 0 {
            let host = self.client("operator".to_owned());
            self.actors.push(Actor::Operator(Box::new(Operator::new(host, masters))));
        }
        for number in 1..=self.cx.weather.citizens {
            let host = self.client(format!("citizen{number}"));
            let citizen = Citizen::new(host, masters, &mut self.cx);
            self.actors.push(Actor::Citizen(Box::new(citizen)));
        }
        for number in 1..=u64::from(self.cx.weather.writers) {
            let host = self.client(format!("writer{number}"));
            self.actors.push(Actor::Writer(Box::new(Writer::new(host, number, masters))));
        }
        for number in 1..=2 {
            let host = self.client(format!("watcher{number}"));
            self.actors.push(Actor::Watcher(Box::new(Watcher::new(host, number, masters))));
        }
        for number in 1..=u64::from(self.cx.weather.lockers) {
            let host = self.client(format!("locker{number}"));
            self.actors.push(Actor::Locker(Box::new(Locker::new(host, number, masters))));
        }
    }

    /// Supervisors of apps, and all who ask them.
    fn apps(&mut self, masters: &[(String, Host)]) {
        let mut supervisors = Vec::new();
        for number in 1..=SUPERVISORS {
            let host = self.cx.add_host(format!("supervisor{number}"));
            self.places.schedulers.push(host);
            let address = format!("supervisor{number}:8080");
            supervisors.push((address.clone(), host));
            let supervisor = Supervisor::new(host, number, address, masters);
            self.actors.push(Actor::Supervisor(Box::new(supervisor)));
        }
        let host = self.client("sidecar".to_owned());
        self.actors.push(Actor::Sidecar(Box::new(Sidecar::new(host, &supervisors))));
        let host = self.client("listener".to_owned());
        self.actors.push(Actor::Listener(Box::new(Listener::new(host, &supervisors))));
        let host = self.client("user".to_owned());
        let apps = self.cx.weather.apps;
        self.actors.push(Actor::User(Box::new(User::new(host, &supervisors, apps))));
    }

    /// Schedulers of jobs, and who has jobs.
    fn jobs(&mut self, masters: &[(String, Host)]) {
        let mut batches = Vec::new();
        for number in 1..=BATCHES {
            let host = self.cx.add_host(format!("batch{number}"));
            self.places.schedulers.push(host);
            let address = format!("batch{number}:4400");
            batches.push((address.clone(), host));
            self.actors.push(Actor::Batch(Box::new(Batch::new(host, number, address, masters))));
        }
        let host = self.client("owner".to_owned());
        let jobs = self.cx.weather.jobs;
        self.actors.push(Actor::Owner(Box::new(Owner::new(host, &batches, jobs))));
    }

    fn client(&mut self, name: String) -> Host {
        let host = self.cx.add_host(name);
        self.places.clients.push(host);
        host
    }

    // --- what happens

    /// Lets the world run until `end`.
    fn run_until(&mut self, end: Micros) {
        while let Some(event) = self.cx.next(end) {
            if self.cx.events > MOST_EVENTS {
                return self.cx.judge.progress.wrong(format!("more than {MOST_EVENTS} things happened"));
            }
            match self.stopwatch {
                None => self.happen(event),
                Some(clock) => self.happen_timed(event, clock),
            }
        }
    }

    fn happen_timed(&mut self, event: Event, clock: fn() -> u64) {
        let kind = match &event {
            Event::Arrive { conn, side, .. } | Event::Flush { conn, side } => {
                let conn = self.cx.net.conns.get(conn);
                conn.map_or("network", |conn| self.actors[conn.host(*side).0 as usize].kind())
            }
            Event::Peer { to: host, .. } | Event::Due { host, .. } => self.actors[host.0 as usize].kind(),
            _ => "faults",
        };
        let began = clock();
        self.happen(event);
        let spent = self.spent.entry(kind).or_default();
        *spent = (spent.0 + 1, spent.1 + clock().saturating_sub(began));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { conn, side, frame } => {
                if let Some((host, frame)) = self.cx.arrive(conn, side, frame) {
                    self.hear(host, conn, side, frame);
                }
            }
            Event::Flush { conn, side } => {
                while let Some((host, frame)) = self.cx.unheld(conn, side) {
                    self.hear(host, conn, side, frame);
                }
            }
            Event::Stuck { conn, side, stops } => {
                if let Some(host) = self.cx.stuck(conn, side, stops) {
                    self.broken(host, conn);
                }
            }
            Event::Undialled { conn } => {
                if let Some(host) = self.cx.undialled(conn) {
                    self.broken(host, conn);
                }
            }
            Event::Orphaned { conn, side } => {
                if let Some(host) = self.cx.orphaned(conn, side) {
                    self.broken(host, conn);
                }
            }
            Event::Peer { from, to, message } => {
                if !self.cx.of(to).up || self.cx.net.blocked(from, to) {
                    return;
                }
                if self.cx.of(to).paused_until > self.cx.now {
                    self.cx.of_mut(to).backlog.push_back(Event::Peer { from, to, message });
                    return;
                }
                self.note(to, 100 + u64::from(from.0));
                self.actors[to.0 as usize].machine().peer(message, &mut self.cx);
            }
            Event::Due { host, life, what } => {
                if !self.cx.of(host).up || self.cx.of(host).life != life {
                    return;
                }
                if self.cx.of(host).paused_until > self.cx.now {
                    self.cx.of_mut(host).backlog.push_back(Event::Due { host, life, what });
                    return;
                }
                self.note(host, 200);
                self.actors[host.0 as usize].machine().due(what, &mut self.cx);
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    /// A machine hears a frame.
    fn hear(&mut self, host: Host, conn: ConnId, side: Side, frame: Frame) {
        self.note(host, frame.kind());
        if let Some(wanted) = self.follow {
            let text = format!("{frame:?}");
            if text.contains(wanted) {
                let from = self.cx.net.conns.get(&conn).map(|known| known.host(side.other()));
                let from = from.map_or("?", |from| self.cx.of(from).name.as_str());
                println!("{:>12} {from} -> {}: {text}", self.cx.now, self.cx.of(host).name);
            }
        }
        self.actors[host.0 as usize].machine().heard(conn, frame, &mut self.cx);
    }

    /// A connection broke without a word of the other side.
    fn broken(&mut self, host: Host, conn: ConnId) {
        self.note(host, 300);
        self.actors[host.0 as usize].machine().heard(conn, Frame::End, &mut self.cx);
    }

    fn note(&mut self, host: Host, what: u64) {
        let now = self.cx.now;
        self.cx.trace.note(now);
        self.cx.trace.note(u64::from(host.0) << 32 | what);
    }

    fn start(&mut self, host: Host) {
        let standing = self.cx.of_mut(host);
        standing.up = true;
        standing.power = true;
        standing.life += 1;
        standing.paused_until = 0;
        standing.backlog.clear();
        standing.clock = standing.wall;
        self.cx.release();
        self.note(host, 500);
        self.actors[host.0 as usize].machine().start(&mut self.cx);
    }

    // --- phases

    fn storm(&mut self, length: Micros) {
        while self.cx.now < length && self.cx.events <= MOST_EVENTS {
            self.run_until((self.cx.now + SECOND).min(length));
            self.look();
        }
    }

    /// What can be seen from outside at any moment.
    fn look(&mut self) {
        self.cx.judge.punctual.look(self.cx.now);
        self.cx.judge.apps.begin();
        for host in &self.places.agents {
            if let Actor::Agent(agent) = &self.actors[host.0 as usize] {
                let (used, total) = agent.load(self.cx.now);
                let name = &self.cx.standing[host.0 as usize].name;
                self.cx.judge.books.truth(name, &used, total);
                for (task, command, serves) in agent.running(self.cx.now, self.cx.judge.healed) {
                    self.cx.judge.apps.runs(task, command, serves);
                }
            }
        }
    }

    /// What is seen of the agents when all has come to rest.
    fn rest(&mut self) {
        for host in &self.places.agents {
            if let Actor::Agent(agent) = &self.actors[host.0 as usize]
                && let Some((id, total)) = agent.known_as()
            {
                self.cx.judge.reservations.rests(id, &total);
            }
        }
    }

    /// Everything that was broken is whole again, and stays so.
    fn heal(&mut self) {
        self.stormy = false;
        self.cx.weather.clear();
        self.cx.judge.healed = true;
        self.cx.judge.service.healed(self.cx.now);
        self.cx.net.walls.clear();
        for at in 0..self.actors.len() {
            let host = Host(u32::try_from(at).expect("counted as such before"));
            self.cx.of_mut(host).paused_until = 0;
            if self.blanks.contains(&host) {
                continue;
            }
            self.resume(host);
            self.make_room(host);
            if !self.cx.of(host).up || self.cut_short(host) {
                self.restart(host, false);
            }
        }
        self.end_widowed_copies();
        self.cx.release();
    }

    /// Waits until all is well; when it was.
    fn recover(&mut self) -> Option<Micros> {
        let end = self.cx.now + PATIENCE;
        let mut well_since = None;
        while self.cx.now < end && self.cx.events <= MOST_EVENTS {
            self.run_until(self.cx.now + SECOND);
            self.look();
            match (self.unfinished().is_empty(), well_since) {
                (false, _) => well_since = None,
                (true, None) => well_since = Some(self.cx.now),
                (true, Some(since)) if self.cx.now >= since + REST => {
                    self.rest();
                    self.cx.judge.conclude();
                    return Some(since);
                }
                (true, Some(_)) => {}
            }
        }
        for missing in self.unfinished() {
            self.cx.judge.progress.wrong(missing);
        }
        self.cx.judge.apps.conclude();
        None
    }

    fn unfinished(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (actor, standing) in self.actors.iter().zip(&self.cx.standing) {
            let own = actor.view().unfinished(&self.cx);
            missing.extend(own.into_iter().map(|text| format!("{} {text}", standing.name)));
        }
        if self.swap.is_some() || self.reserved.is_some() {
            missing.push("a change of membership is under way".to_owned());
        }
        let masters = self.actors.iter().filter_map(|actor| match actor {
            Actor::Master(master) if master.is_member() => Some(master),
            _ => None,
        });
        missing.extend(self.cx.judge.apps.missing());
        missing.extend(self.cx.judge.punctual.missing());
        missing.extend(self.forgotten());
        let leaders = masters.clone().filter(|master| master.leads()).count();
        if leaders != 1 {
            missing.push(format!("{leaders} masters lead"));
        }
        let mut positions = masters.map(|master| master.position());
        let first = positions.next().flatten();
        if positions.any(|other| other != first) {
            missing.push("the masters are not in one state".to_owned());
        }
        missing
    }

    /// What runs for a scheduler that takes it for over, and would run on for ever. Of apps the judge knows all that runs.
    fn forgotten(&self) -> Vec<String> {
        let knows = |actor: &Actor, key: &TaskKey| match actor {
            Actor::Framework(framework) => framework.knows(key),
            Actor::Batch(batch) => batch.knows(key),
            _ => None,
        };
        let mut forgotten = Vec::new();
        for actor in &self.actors {
            let Actor::Agent(agent) = actor else { continue };
            for key in agent.live(self.cx.now) {
                if self.actors.iter().any(|actor| knows(actor, key) == Some(false)) {
                    forgotten.push(format!("{key} runs, and its scheduler knows nothing of it"));
                }
            }
        }
        forgotten
    }

    fn report(mut self, seed: u64, recovery: Option<Micros>) -> Report {
        self.cx.judge.progress.looks += 1;
        let names = self.cx.standing.iter().map(|standing| standing.name.clone());
        let machines = names.zip(self.actors.iter().map(|actor| actor.view().report())).collect();
        let checks = self.cx.judge.verdict(self.cx.now);
        Report {
            seed,
            hash: self.cx.trace.value(),
            time: self.cx.now,
            events: self.cx.events,
            recovery,
            spent: self.spent,
            machines,
            checks,
        }
    }
}
