//! Every update arrives in order, at least once, whatever the link, the disk and the process do.

mod bench;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use agent_core::health::Finding;
use agent_core::{
    Agent, Effect, Envelope, Exit, ExitStatus, Input, Job, LinkDown, LinkId, Order, Record, Report, TaskKey,
    Update, Uuid,
};
use model::id::ContainerId;
use model::time::{Span, Time};
use proptest::prelude::*;

/// Something the world does to the agent. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Run(u8),
    Start(u8),
    Exit(u8),
    Kill(u8),
    Probe(bool),
    /// The scheduler acknowledges something it received.
    Ack(u8),
    Connect,
    Break,
    Sync,
    Wait(u16),
    /// The process dies; what was not synced is gone.
    Crash,
    /// The driver compacts the log.
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<u8>().prop_map(Step::Run),
        4 => any::<u8>().prop_map(Step::Start),
        3 => any::<u8>().prop_map(Step::Exit),
        1 => any::<u8>().prop_map(Step::Kill),
        3 => any::<bool>().prop_map(Step::Probe),
        6 => any::<u8>().prop_map(Step::Ack),
        3 => Just(Step::Connect),
        2 => Just(Step::Break),
        6 => Just(Step::Sync),
        2 => any::<u16>().prop_map(Step::Wait),
        1 => Just(Step::Crash),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..200)
}

#[derive(Debug, Clone, PartialEq)]
enum Container {
    Launched,
    Running,
    Ended(ExitStatus),
}

/// A master, a scheduler, a launcher and a disk around the agent.
struct World {
    agent: Agent,
    now: Time,
    starts: u64,
    disk: Vec<Record>,
    /// Every update that was ever on disk.
    stored: BTreeSet<Uuid>,
    /// Those of the last task of each id, in order.
    durable: BTreeMap<TaskKey, Vec<Arc<Update>>>,
    unsynced: VecDeque<(u64, Record)>,
    containers: BTreeMap<ContainerId, Container>,
    link: Option<LinkId>,
    up: bool,
    probes: VecDeque<(agent_core::ProbeId, ContainerId)>,
    /// First arrivals at the scheduler, by task, in order.
    received: BTreeMap<TaskKey, Vec<Arc<Update>>>,
    seen: BTreeSet<Uuid>,
    launched: BTreeSet<TaskKey>,
}

impl World {
    fn new() -> Self {
        let agent = Agent::recover(bench::settings("boot", 1), []).expect("an empty start");
        let mut world = Self {
            agent,
            now: Time::from_secs(1000),
            starts: 1,
            disk: Vec::new(),
            stored: BTreeSet::new(),
            durable: BTreeMap::new(),
            unsynced: VecDeque::new(),
            containers: BTreeMap::new(),
            link: None,
            up: false,
            probes: VecDeque::new(),
            received: BTreeMap::new(),
            seen: BTreeSet::new(),
            launched: BTreeSet::new(),
        };
        world.boot();
        world
    }

    fn boot(&mut self) {
        let mut out = Vec::new();
        self.agent.start(self.now, &mut out);
        self.run(out);
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.agent.handle(self.now, input, &mut out);
        self.run(out);
    }

    fn order(&mut self, order: Order) {
        if let Some(link) = self.link.filter(|_| self.up) {
            self.input(Input::FromMaster { link, envelope: Envelope { term: 1, order } });
        }
    }

    fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Checkpoint { seq, record } => self.unsynced.push_back((seq, record)),
                Effect::Dial { link, .. } => (self.link, self.up) = (Some(link), false),
                Effect::Hangup { link } if self.link == Some(link) => (self.link, self.up) = (None, false),
                Effect::Send { link, report: Report::Status { framework, update, .. } } => {
                    let task = update.status.task_id.value.as_str().into();
                    self.receive(link, TaskKey { framework, task }, update);
                }
                Effect::Launch(Job { container, task, .. }) => {
                    let known =
                        self.disk.iter().any(|r| matches!(r, Record::Task(t) if t.container == container));
                    assert!(known, "{} launched before its record was on disk", task.key);
                    assert!(self.launched.insert(task.key.clone()), "{} launched twice", task.key);
                    self.containers.insert(container, Container::Launched);
                }
                Effect::Kill { container, .. } | Effect::Destroy { container }
                    if self.containers.get(&container).is_some_and(|c| !matches!(c, Container::Ended(_))) =>
                {
                    self.end(&container, ExitStatus::Signal(15, "Terminated"));
                }
                Effect::Forget { container } => {
                    assert!(!matches!(self.containers.get(&container), Some(Container::Running)));
                    self.containers.remove(&container);
                }
                Effect::Recover { containers } => self.recover(&containers),
                Effect::Probe { probe, job, .. } => self.probes.push_back((probe, job.container)),
                _ => {}
            }
        }
    }

    fn receive(&mut self, link: LinkId, key: TaskKey, update: Arc<Update>) {
        assert!(self.stored.contains(&update.uuid), "{key} {} was sent before it was on disk", update.state);
        let current = self.durable.get(&key).is_some_and(|all| all.iter().any(|u| u.uuid == update.uuid));
        if current && self.link == Some(link) && self.up && self.seen.insert(update.uuid) {
            self.received.entry(key).or_default().push(update);
        }
    }

    fn end(&mut self, container: &ContainerId, status: ExitStatus) {
        self.containers.insert(container.clone(), Container::Ended(status));
        let exit = Exit { status, out_of_memory: None };
        self.input(Input::Exited { container: container.clone(), exit });
    }

    fn recover(&mut self, known: &[ContainerId]) {
        self.containers.retain(|container, _| known.contains(container));
        for container in known {
            let input = match self.containers.get(container) {
                None => Input::ContainerLost {
                    container: container.clone(),
                    never_started: true,
                    message: "never started".into(),
                },
                Some(Container::Ended(status)) => Input::Exited {
                    container: container.clone(),
                    exit: Exit { status: *status, out_of_memory: None },
                },
                Some(_) => {
                    self.containers.insert(container.clone(), Container::Running);
                    Input::Started { container: container.clone(), pid: 7 }
                }
            };
            self.input(input);
        }
        self.input(Input::Recovered);
    }

    fn sync(&mut self) {
        let Some((seq, _)) = self.unsynced.back() else { return };
        let seq = *seq;
        for (_, record) in self.unsynced.drain(..) {
            match &record {
                Record::Update { key, update } => {
                    self.stored.insert(update.uuid);
                    self.durable.entry(key.clone()).or_default().push(Arc::clone(update));
                }
                // What was said before about this id was about no task of this agent.
                Record::Task(task) => {
                    let task = task.info.task_id.value.as_str().into();
                    let key = TaskKey { framework: bench::FRAMEWORK.into(), task };
                    self.durable.remove(&key);
                    self.received.remove(&key);
                }
                _ => {}
            }
            self.disk.push(record);
        }
        self.input(Input::Synced(seq));
    }

    fn crash(&mut self) {
        self.unsynced.clear();
        (self.link, self.up) = (None, false);
        self.probes.clear();
        self.starts += 1;
        let bytes = agent_core::checkpoint::encode(&self.disk);
        let records = agent_core::checkpoint::decode(&bytes).expect("own records");
        self.agent = Agent::recover(bench::settings("boot", self.starts * 10), records).expect("recovery");
        self.boot();
    }

    fn connect(&mut self) {
        let Some(link) = self.link.filter(|_| !self.up) else { return };
        self.up = true;
        self.input(Input::LinkUp(link));
        let timeout = Span::from_secs(75);
        let connected = vec![bench::FRAMEWORK.into()];
        self.order(Order::Welcome { agent: "agent-1".into(), timeout, removed: Vec::new(), connected });
    }

    /// The `n`th of the containers in a state.
    fn pick(&self, n: u8, wanted: impl Fn(&Container) -> bool) -> Option<ContainerId> {
        let all: Vec<_> =
            self.containers.iter().filter(|(_, state)| wanted(state)).map(|(id, _)| id.clone()).collect();
        (!all.is_empty()).then(|| all[usize::from(n) % all.len()].clone())
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Run(n) => {
                let mut task = bench::with_health(bench::task(&format!("t{}", n % 8)));
                task.resources = vec![bench::scalar("cpus", 0.1)];
                let key =
                    TaskKey { framework: bench::FRAMEWORK.into(), task: task.task_id.value.as_str().into() };
                // A master does not launch a task whose end it has heard of, and neither does it launch one twice
                // knowingly; but it may repeat an order that is under way.
                if !self.launched.contains(&key) || self.agent.view().tasks.iter().any(|t| t.key == key) {
                    self.order(Order::Run { framework: bench::modern(), task: Arc::new(task) });
                }
            }
            Step::Start(n) => {
                if let Some(container) = self.pick(n, |c| *c == Container::Launched) {
                    self.containers.insert(container.clone(), Container::Running);
                    self.input(Input::Started { container, pid: 7 });
                }
            }
            Step::Exit(n) => {
                if let Some(container) = self.pick(n, |c| *c == Container::Running) {
                    self.end(&container, ExitStatus::Code(i32::from(n % 2)));
                }
            }
            Step::Kill(n) => {
                // A master answers kills of tasks it does not know itself.
                let tasks = self.agent.view().tasks;
                if let Some(task) =
                    (!tasks.is_empty()).then(|| tasks[usize::from(n) % tasks.len()].key.task.clone())
                {
                    self.order(Order::Kill { framework: bench::FRAMEWORK.into(), task, grace: None });
                }
            }
            Step::Probe(good) => {
                if let Some((probe, container)) = self.probes.pop_front() {
                    let finding = if good { Finding::Status(200) } else { Finding::TimedOut };
                    self.input(Input::Probed { probe, container, finding });
                }
            }
            Step::Ack(n) => {
                let all: Vec<_> = self
                    .received
                    .iter()
                    .flat_map(|(key, all)| all.iter().map(move |u| (key, u.uuid)))
                    .collect();
                if let Some((key, uuid)) = (!all.is_empty()).then(|| all[usize::from(n) % all.len()]) {
                    let (framework, task) = (key.framework.clone(), key.task.clone());
                    self.order(Order::Acknowledge { framework, task, uuid });
                }
            }
            Step::Connect => self.connect(),
            Step::Break => {
                if let Some(link) = self.link {
                    self.up = false;
                    self.input(Input::LinkDown { link, why: LinkDown::Broken("reset".into()) });
                }
            }
            Step::Sync => self.sync(),
            Step::Wait(millis) => {
                self.now += Span::from_millis(u64::from(millis));
                self.input(Input::Wake);
            }
            Step::Crash => self.crash(),
            Step::Compact => {
                // The driver writes the snapshot in place of all it was given before.
                while !self.unsynced.is_empty() {
                    self.sync();
                }
                self.disk = self.agent.snapshot();
            }
        }
    }

    /// Everything works from now on: containers end, the link holds, whatever arrives is acknowledged.
    fn heal(&mut self) {
        self.crash();
        for _ in 0..200 {
            self.sync();
            if self.link.is_none() {
                self.now = self.agent.next_deadline().map_or(self.now, |at| at.max(self.now));
                self.input(Input::Wake);
            }
            self.connect();
            for n in 0..8 {
                self.step(Step::Start(n));
                self.step(Step::Exit(n));
            }
            let all: Vec<_> = self
                .received
                .iter()
                .flat_map(|(key, all)| all.iter().map(move |u| (key.clone(), u.uuid)))
                .collect();
            for (key, uuid) in all {
                self.order(Order::Acknowledge { framework: key.framework, task: key.task, uuid });
            }
        }
    }

    fn check(&self) {
        let held: Vec<_> = self.agent.view().tasks.iter().map(|task| task.key.clone()).collect();
        assert!(held.is_empty(), "still held: {held:?}");
        assert_eq!(self.agent.summary().pending_updates, 0);
        assert!(self.containers.is_empty(), "containers left: {:?}", self.containers);
        for (key, durable) in &self.durable {
            let received = &self.received[key];
            let made: Vec<Uuid> = durable.iter().map(|u| u.uuid).collect();
            let arrived: Vec<Uuid> = received.iter().map(|u| u.uuid).collect();
            let mut rest = made.iter();
            assert!(arrived.iter().all(|uuid| rest.any(|made| made == uuid)), "{key} out of order");
            for update in durable.iter().filter(|update| !update.report) {
                assert!(arrived.contains(&update.uuid), "{key} {} never arrived", update.state);
            }
            for pair in received.windows(2) {
                let (from, to) = (pair[0].state, pair[1].state);
                assert!(from.may_become(to), "{key}: {from} -> {to}");
            }
            let ends = received.iter().filter(|update| update.state.is_terminal()).count();
            assert_eq!(ends, 1, "{key} ended {ends} times");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn updates_arrive_in_order_at_least_once(steps in steps()) {
        let mut world = World::new();
        world.step(Step::Sync);
        world.step(Step::Connect);
        for step in steps {
            world.step(step);
        }
        world.heal();
        world.check();
    }
}
