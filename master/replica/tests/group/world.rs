//! A group of replicas under one virtual clock, with a network and disks that misbehave by seed.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{Hash, Hasher};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use replica::disk::{MemoryDisk, MemoryFiles};
use replica::form::Founding;
use replica::snapshot::{Intake, Job, load};
use replica::{
    Barrier, Change, ClusterId, Descriptor, Disk, Fatal, NodeId, Options, Output, PeerMessage, Replica, Role,
    Stranger, Ticket,
};

use crate::tally::{Note, Tally, digest};

pub(crate) type Node = Replica<Tally, MemoryDisk>;

const TICK_MS: u64 = 50;

/// How unkind the world is. Probabilities in parts per thousand.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    pub(crate) drop: u32,
    pub(crate) duplicate: u32,
    pub(crate) delay_ms: u64,
    /// Mean time between faults (partition or crash); zero for none.
    pub(crate) fault_every_ms: u64,
}

pub(crate) const CALM: Weather = Weather { drop: 0, duplicate: 0, delay_ms: 2, fault_every_ms: 0 };

enum Happening {
    Tick(NodeId),
    Deliver(PeerMessage),
    Build(NodeId, u64, Job<Tally>),
    Fetch { by: NodeId, life: u64, from: NodeId, descriptor: Descriptor },
    Write,
    Fault,
    Heal,
    Restart(NodeId),
}

struct Machine {
    node: Option<Node>,
    disk: Option<MemoryDisk>,
    files: MemoryFiles,
    life: u64,
    /// Counted anew in each life, as callers do.
    tickets: u64,
    ended: Option<Fatal>,
    role: Option<Role>,
}

pub(crate) struct World {
    pub(crate) now: u64,
    random: ChaCha8Rng,
    weather: Weather,
    options: Options,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    machines: BTreeMap<NodeId, Machine>,
    blocked: BTreeSet<(NodeId, NodeId)>,
    write_every_ms: u64,
    writing: bool,
    // --- what the checkers remember
    next_number: u64,
    open: BTreeMap<(NodeId, Ticket), u64>,
    barriers: BTreeMap<(NodeId, Barrier), BTreeSet<u64>>,
    pub(crate) acknowledged: BTreeSet<u64>,
    digests: BTreeMap<u64, u64>,
    leaders: BTreeMap<u64, NodeId>,
    pub(crate) lost: usize,
    pub(crate) passed: usize,
    pub(crate) installed: usize,
    trace: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, members: u64, weather: Weather, options: Options) -> Self {
        let mut world = Self {
            now: 0,
            random: ChaCha8Rng::seed_from_u64(seed),
            weather,
            options,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            machines: BTreeMap::new(),
            blocked: BTreeSet::new(),
            write_every_ms: 5,
            writing: true,
            next_number: 1,
            open: BTreeMap::new(),
            barriers: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            digests: BTreeMap::new(),
            leaders: BTreeMap::new(),
            lost: 0,
            passed: 0,
            installed: 0,
            trace: DefaultHasher::new(),
        };
        let founding = Founding {
            cluster: ClusterId(1),
            members: (1..=members).map(|id| (NodeId(id), format!("host{id}:5050"))).collect(),
        };
        for id in 1..=members {
            world.add(NodeId(id), &founding);
        }
        world.schedule(1, Happening::Write);
        if world.weather.fault_every_ms > 0 {
            world.schedule(world.weather.fault_every_ms, Happening::Fault);
        }
        world
    }

    /// A machine with a fresh disk, which knows the founding record.
    pub(crate) fn add(&mut self, id: NodeId, founding: &Founding) {
        let mut disk = MemoryDisk::new();
        replica::found::<Tally, _>(&mut disk, founding).expect("an empty disk");
        let files = disk.files();
        self.machines.insert(
            id,
            Machine { node: None, disk: Some(disk), files, life: 0, tickets: 0, ended: None, role: None },
        );
        self.start(id);
        let phase = self.random.random_range(0..TICK_MS);
        self.schedule(phase, Happening::Tick(id));
    }

    pub(crate) fn stop_writing(&mut self) {
        self.writing = false;
    }

    /// No more faults; the network heals and everybody who crashed comes back.
    pub(crate) fn heal(&mut self) {
        self.weather = CALM;
        self.blocked.clear();
        let down: Vec<NodeId> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.node.is_none() && machine.ended.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in down {
            self.start(id);
        }
    }

    pub(crate) fn cut_off(&mut self, id: NodeId) {
        for other in self.machines.keys() {
            self.blocked.insert((id, *other));
            self.blocked.insert((*other, id));
        }
    }

    pub(crate) fn reconnect(&mut self) {
        self.blocked.clear();
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.machines[&id].node.as_ref().expect("running")
    }

    pub(crate) fn files(&self, id: NodeId) -> MemoryFiles {
        self.machines[&id].files.clone()
    }

    pub(crate) fn ended(&self, id: NodeId) -> Option<&Fatal> {
        self.machines[&id].ended.as_ref()
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.machines
            .iter()
            .filter_map(|(id, machine)| match (machine.node.as_ref(), machine.role) {
                (Some(_), Some(Role::Leading { term })) => Some((term, *id)),
                _ => None,
            })
            .max()
            .map(|(_, id)| id)
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.machines.iter().filter(|(_, machine)| machine.node.is_some()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn change(&mut self, change: &Change) -> Result<(), replica::NotNow> {
        let Some(leader) = self.leader() else { return Err(replica::NotNow::Busy) };
        let ticket = Ticket(u64::MAX - self.next);
        let node = self.machines.get_mut(&leader).and_then(|machine| machine.node.as_mut()).expect("running");
        node.change(ticket, change)?;
        self.turn(leader);
        Ok(())
    }

    pub(crate) fn with_node(&mut self, id: NodeId, act: impl FnOnce(&mut Node)) {
        act(self.machines.get_mut(&id).and_then(|machine| machine.node.as_mut()).expect("running"));
        self.turn(id);
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(Reverse((at, number))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            let happening = self.happenings.remove(&number).expect("scheduled once");
            self.happen(happening);
        }
        self.now = end;
    }

    /// Runs until the condition holds; panics with `what` after `ms`.
    pub(crate) fn run_until(&mut self, ms: u64, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = self.now + ms;
        while !holds(self) {
            assert!(self.now < end, "not within {ms} ms: {what}");
            self.run_for(10);
        }
    }

    /// All running nodes hold every acknowledged number and are in one state at one index.
    pub(crate) fn converge(&mut self, ms: u64) {
        self.stop_writing();
        self.run_until(ms, "one leader and equal states", |world| {
            let nodes = world.running();
            let status: Vec<_> = nodes.iter().map(|id| world.node(*id).status()).collect();
            world.leader().is_some()
                && status.windows(2).all(|two| two[0].applied == two[1].applied && two[0].term == two[1].term)
        });
        for id in self.running() {
            let seen = self.node(id).view();
            let missing: Vec<_> = self.acknowledged.difference(&seen).collect();
            assert!(missing.is_empty(), "node {id} lost acknowledged {missing:?}");
        }
    }

    fn schedule(&mut self, after: u64, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((self.now + after, self.next)));
        self.happenings.insert(self.next, happening);
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.random_range(0..1000) < per_mille
    }

    fn delay(&mut self) -> u64 {
        self.random.random_range(1..=self.weather.delay_ms.max(1))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(id) => {
                if let Some(node) = self.machines.get_mut(&id).and_then(|machine| machine.node.as_mut()) {
                    node.tick();
                    self.turn(id);
                }
                self.schedule(TICK_MS, Happening::Tick(id));
            }
            Happening::Deliver(message) => self.deliver(message),
            Happening::Build(id, life, job) => {
                let machine = self.machines.get_mut(&id).expect("known");
                if machine.life == life {
                    let result = job.run(&machine.files);
                    if let Some(node) = machine.node.as_mut() {
                        node.built(result).expect("memory does not fill up");
                        self.turn(id);
                    }
                }
            }
            Happening::Fetch { by, life, from, descriptor } => self.fetch(by, life, from, descriptor),
            Happening::Write => {
                if self.writing {
                    self.write();
                    self.schedule(self.write_every_ms, Happening::Write);
                }
            }
            Happening::Fault => self.fault(),
            Happening::Heal => self.blocked.clear(),
            Happening::Restart(id) => {
                if self.machines[&id].node.is_none() {
                    self.start(id);
                }
            }
        }
    }

    fn write(&mut self) {
        // A client does not know who leads: it asks everybody, and only a leader takes it.
        for id in self.running() {
            let number = self.next_number;
            let machine = self.machines.get_mut(&id).expect("known");
            let node = machine.node.as_mut().expect("running");
            let ticket = Ticket(machine.tickets);
            machine.tickets += 1;
            if node.propose(ticket, &Note { number, weight: 24 }).is_ok() {
                self.next_number += 1;
                self.open.insert((id, ticket), number);
            }
            let barrier = Barrier(self.next);
            self.next += 1;
            if node.barrier(barrier).is_ok() {
                self.barriers.insert((id, barrier), self.acknowledged.clone());
            }
            self.turn(id);
        }
    }

    fn deliver(&mut self, message: PeerMessage) {
        let (from, to) = (message.from(), message.to());
        if self.blocked.contains(&(from, to)) {
            return;
        }
        let Some(node) = self.machines.get_mut(&to).and_then(|machine| machine.node.as_mut()) else { return };
        match node.step(message) {
            Ok(()) => self.turn(to),
            // The handshake of a real link tells a removed node, which stops.
            Err(Stranger::Removed(gone)) => self.end(gone, Fatal::Removed(gone)),
            Err(other) => panic!("peers of one group understand each other: {other}"),
        }
    }

    fn fetch(&mut self, by: NodeId, life: u64, from: NodeId, descriptor: Descriptor) {
        let machine = &self.machines[&by];
        if machine.life != life || machine.node.is_none() {
            return;
        }
        let id = descriptor.id;
        let reachable = !self.blocked.contains(&(from, by)) && self.machines[&from].node.is_some();
        let result = match self.machines[&from].files.bytes(id).filter(|_| reachable) {
            None => Err("the leader is gone, or the file".to_owned()),
            Some(bytes) => {
                let files = machine.files.clone();
                let mut intake = Intake::begin(files.clone(), descriptor.clone()).expect("memory");
                let pushed = bytes.chunks(7).try_for_each(|some| intake.push(some));
                pushed
                    .and_then(|()| intake.finish())
                    .map_err(|error| error.to_string())
                    .and_then(|()| load::<Tally, _>(&files, &descriptor).map_err(|error| error.to_string()))
            }
        };
        self.machines
            .get_mut(&by)
            .and_then(|machine| machine.node.as_mut())
            .expect("running")
            .fetched(id, result);
        self.turn(by);
    }

    fn fault(&mut self) {
        if self.weather.fault_every_ms == 0 {
            return;
        }
        let ids: Vec<NodeId> = self.machines.keys().copied().collect();
        let victim = ids[self.random.random_range(0..ids.len())];
        match self.random.random_range(0..4) {
            0 => {
                self.cut_off(victim);
                let heal = self.random.random_range(100..4000);
                self.schedule(heal, Happening::Heal);
            }
            1 => {
                // One way only: it is heard but hears nobody.
                for other in &ids {
                    self.blocked.insert((*other, victim));
                }
                let heal = self.random.random_range(100..4000);
                self.schedule(heal, Happening::Heal);
            }
            _ => self.crash(victim),
        }
        let next = self.random.random_range(1..2 * self.weather.fault_every_ms);
        self.schedule(next, Happening::Fault);
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        let Some(node) = self.machines.get_mut(&id).and_then(|machine| machine.node.take()) else { return };
        let mut disk = node.into_disk();
        let survivors = self.random.random_range(0..=disk.unsynced());
        disk.crash(survivors);
        let machine = self.machines.get_mut(&id).expect("known");
        machine.disk = Some(disk);
        machine.role = None;
        machine.life += 1;
        machine.tickets = 0;
        self.forget_callers(id);
        let back = self.random.random_range(50..3000);
        self.schedule(back, Happening::Restart(id));
    }

    fn forget_callers(&mut self, id: NodeId) {
        self.open.retain(|(node, _), _| *node != id);
        self.barriers.retain(|(node, _), _| *node != id);
    }

    fn start(&mut self, id: NodeId) {
        let options = Options { seed: self.random.random(), ..self.options.clone() };
        let machine = self.machines.get_mut(&id).expect("known");
        let disk = machine.disk.take().expect("a stopped machine has its disk");
        machine.node = Some(Replica::open(disk, id, options).expect("what was written can be read"));
        self.turn(id);
    }

    fn end(&mut self, id: NodeId, fatal: Fatal) {
        let machine = self.machines.get_mut(&id).expect("known");
        machine.node = None;
        machine.role = None;
        machine.ended = Some(fatal);
        machine.life += 1;
        self.forget_callers(id);
    }

    fn turn(&mut self, id: NodeId) {
        let Some(node) = self.machines.get_mut(&id).and_then(|machine| machine.node.as_mut()) else { return };
        let mut out = Vec::new();
        let result = node.turn(&mut out);
        for output in out {
            (self.now, id, format!("{output:?}")).hash(&mut self.trace);
            self.execute(id, output);
        }
        if let Err(fatal) = result {
            self.end(id, fatal);
        }
    }

    fn execute(&mut self, id: NodeId, output: Output<Tally>) {
        let life = self.machines[&id].life;
        match output {
            Output::Send(message) => self.send(message),
            Output::Applied { index, ticket, view, .. } => {
                self.check_digest(id, index, digest(&view));
                if let Some(ticket) = ticket {
                    let number = self.open.remove(&(id, ticket)).expect("an open ticket of this node");
                    assert!(view.contains(&number), "a ticket is answered by its own command");
                    self.acknowledged.insert(number);
                }
            }
            Output::Installed { index, view } => {
                self.installed += 1;
                self.check_digest(id, index, digest(&view));
            }
            Output::Lost(ticket) => {
                self.lost += 1;
                self.open.remove(&(id, ticket));
            }
            Output::Passed(barrier) => {
                self.passed += 1;
                let before = self.barriers.remove(&(id, barrier)).expect("an open barrier of this node");
                let seen = self.node(id).view();
                assert!(
                    before.is_subset(&seen),
                    "a read after the barrier misses what was acknowledged before it"
                );
            }
            Output::Failed(barrier) => {
                self.barriers.remove(&(id, barrier)).expect("an open barrier of this node");
            }
            Output::Role(role) => {
                if let Role::Leading { term } = role {
                    let first = *self.leaders.entry(term).or_insert(id);
                    assert_eq!(first, id, "two leaders in term {term}");
                    let seen = self.node(id).view();
                    assert!(self.acknowledged.is_subset(&seen), "a leader serves before it has caught up");
                }
                self.machines.get_mut(&id).expect("known").role = Some(role);
            }
            Output::Build(job) => {
                let delay = self.delay() * 5;
                self.schedule(delay, Happening::Build(id, life, job));
            }
            Output::Fetch { from, descriptor } => {
                let delay = self.delay() * 5;
                self.schedule(delay, Happening::Fetch { by: id, life, from, descriptor });
            }
            Output::Members { .. } => {}
        }
    }

    fn send(&mut self, message: PeerMessage) {
        if self.chance(self.weather.drop) {
            let (from, to) = (message.from(), message.to());
            if let Some(node) = self.machines.get_mut(&from).and_then(|machine| machine.node.as_mut()) {
                node.unreachable(to);
            }
            return;
        }
        if self.chance(self.weather.duplicate) {
            let delay = self.delay();
            self.schedule(delay, Happening::Deliver(message.clone()));
        }
        let delay = self.delay();
        self.schedule(delay, Happening::Deliver(message));
    }

    fn check_digest(&mut self, id: NodeId, index: u64, digest: u64) {
        let known = *self.digests.entry(index).or_insert(digest);
        assert_eq!(known, digest, "node {id} differs at index {index}");
    }
}
