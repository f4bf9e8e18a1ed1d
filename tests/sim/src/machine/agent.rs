//! An agent: the real core on a disk that may lose what was not synced, with containers that outlive it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_core::health::Finding;
use agent_core::journal::Journal;
use agent_core::{
    Agent as Core, Effect, Ending, ExitStatus, Input, LinkDown, LinkId, Record, Settings, TaskKey, convert,
};
use master_core::effect::AgentOrder;
use master_core::input::Term;
use master_core::render;
use model::id::{AgentId, ContainerId};
use model::resources::{Bag, Form};
use rand::RngExt;
use wire::v1;

use super::alarm::Alarm;
use super::checkpoint::Disk;
use super::containers::{Container, Containers};
use super::{Crash, Due, Machine, Trouble};
use crate::context::{Context, Event};
use crate::faults::Fault;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host, MS, Micros, Side};
use crate::version;

/// Records in the log after which it is written anew.
const COMPACT: usize = 50;

/// A machine with an agent on it.
pub struct Agent {
    host: Host,
    masters: Vec<(String, Host)>,
    total: Bag,
    disk: Disk,
    /// The process is of the next version.
    next: bool,
    /// Counts the boots of the machine.
    boots: u64,
    /// When the last of them was.
    booted: Micros,
    containers: Containers,
    /// Launches that an earlier process gave up before they happened.
    never: BTreeSet<ContainerId>,
    run: Option<Running>,
    compactions: u64,
    starts: u64,
    /// The kernel makes no processes until then.
    exhausted_until: Micros,
    /// What is on the disk is damaged, and the process does not start from it.
    refused: bool,
    refusals: u64,
    /// The highest term of which an order was obeyed and stored.
    term: u64,
    /// As the machine calls itself: an image of it has the same name.
    hostname: String,
    /// Its disk holds another machine's agent, which goes on there.
    copy: bool,
    /// How often that was found out.
    found_out: u64,
}

/// What a copy of a machine has.
pub(crate) struct Image {
    disk: Disk,
    term: u64,
    total: Bag,
    hostname: Option<String>,
}

/// A copy is started again so often before its operator reads why it ends, and has it begin anew.
const PATIENCE: u64 = 3;

struct Running {
    core: Core,
    conns: BTreeMap<ConnId, LinkId>,
    current: Option<(LinkId, ConnId)>,
    alarm: Alarm,
    journal: Journal,
}

impl Agent {
    pub(crate) fn new(host: Host, masters: &[(String, Host)], total: Bag) -> Self {
        Self {
            host,
            masters: masters.to_vec(),
            total,
            disk: Disk::default(),
            next: false,
            boots: 0,
            booted: 0,
            containers: Containers::default(),
            never: BTreeSet::new(),
            run: None,
            compactions: 0,
            starts: 0,
            exhausted_until: 0,
            refused: false,
            refusals: 0,
            term: 0,
            hostname: String::new(),
            copy: false,
            found_out: 0,
        }
    }

    /// What an image of the machine has, if its agent has an id by now: sometimes its name as well.
    pub(crate) fn image(&self, cx: &mut Context) -> Option<Image> {
        if self.copy || self.disk.rotten {
            return None;
        }
        self.registered_as()?;
        let disk = self.disk.image(cx);
        let hostname = cx.chance(5_000).then(|| cx.of(self.host).name.clone());
        Some(Image { disk, term: self.term, total: self.total.clone(), hostname })
    }

    /// The disk of this machine, which has never run, holds another's agent.
    pub(crate) fn become_copy(&mut self, image: Image) {
        let Image { disk, term, total, hostname } = image;
        self.disk = disk;
        self.term = term;
        self.total = total;
        self.hostname = hostname.unwrap_or_default();
        self.copy = true;
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.copy
    }

    /// The id on its disk.
    pub(crate) fn registered_as(&self) -> Option<AgentId> {
        self.disk.id().cloned()
    }

    /// What its containers use now, and what there is.
    pub(crate) fn load(&self, now: Micros) -> (Bag, &Bag) {
        (self.containers.live(now).map(|container| &container.resources).sum(), &self.total)
    }

    /// What it is called, and what it has in the form it is reserved in, while its process runs.
    pub(crate) fn known_as(&self) -> Option<(&AgentId, Bag)> {
        let core = &self.run.as_ref().filter(|_| !self.copy)?.core;
        Some((core.id()?, core.summary().total))
    }

    /// Something is wrong with the disk from now on, or nothing is any more.
    pub(crate) fn ail(&mut self, trouble: Option<Trouble>) {
        self.disk.trouble = trouble;
    }

    /// A bit of what was written flips. Only of machines that are down.
    pub(crate) fn flip(&mut self, cx: &mut Context) {
        self.disk.flip(cx);
    }

    /// Whether it does not start, and somebody has to do something about its disk.
    pub(crate) fn refuses(&self) -> bool {
        self.refused
    }

    /// No process can be made for so long: there are as many as there may be.
    pub(crate) fn exhaust(&mut self, until: Micros) {
        self.exhausted_until = until;
    }

    /// A leader of an earlier term has something killed here. None of ours does: an agent says on each link which term it has
    /// obeyed, no leader of a lower one takes it in, and it obeys nobody else for as long as it has that link. What it
    /// does if a leader does not look is seen by this alone.
    pub(crate) fn hear_the_past(&self, cx: &mut Context) {
        let run = self.run.as_ref().filter(|run| run.core.master().is_some());
        let Some((_, conn)) = run.and_then(|run| run.current) else { return };
        let Some(master) = cx.net.conns.get(&conn).map(|conn| conn.host(Side::Server)) else { return };
        let Some(key) = self.live(cx.now).next().filter(|_| self.term > 1) else { return };
        let order =
            AgentOrder::Kill { framework: key.framework.clone(), task: key.task.clone(), policy: None };
        let order = render::order(Term(self.term - 1), &order);
        cx.send(conn, master, Frame::ToAgent(Box::new(order)));
    }

    /// The tasks that run now, what each executes, and whether it does its work.
    pub(crate) fn running(&self, now: Micros, healed: bool) -> impl Iterator<Item = (&str, &str, bool)> {
        self.containers
            .live(now)
            .map(move |known| (known.key.task.as_str(), known.command.as_str(), known.is_well(now, healed)))
    }

    /// All that runs now.
    pub(crate) fn live(&self, now: Micros) -> impl Iterator<Item = &TaskKey> {
        self.containers.live(now).map(|container| &container.key)
    }

    /// Whether it is registered with a master.
    pub fn registered(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.core.master().is_some())
    }

    fn settings(&self, cx: &mut Context) -> Settings {
        let name = cx.of(self.host).name.clone();
        let hostname = if self.hostname.is_empty() { &name } else { &self.hostname };
        let info = v1::AgentInfo {
            hostname: hostname.clone(),
            port: Some(5051),
            resources: self.total.to_wire(Form::Stack),
            ..Default::default()
        };
        Settings {
            masters: self.masters.iter().map(|(address, _)| address.clone()).collect(),
            info: Arc::new(info),
            total: self.total.clone(),
            version: if self.next { "0.2.0" } else { "0.1.0" }.into(),
            boot: format!("{name}-{}", self.boots),
            booted: Some(cx.of(self.host).wall.read(self.booted)),
            ip: name,
            seed: cx.random.random(),
        }
    }

    fn input(&mut self, input: Input, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let mut effects = Vec::new();
        run.core.handle(cx.clock(self.host), input, &mut effects);
        for effect in effects {
            self.execute(effect, cx);
        }
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        run.alarm.set(self.host, run.core.next_deadline(), cx);
    }

    fn execute(&mut self, effect: Effect, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        match effect {
            Effect::Checkpoint { seq, record } => {
                if let Some(last) = self.disk.push(seq, record) {
                    let took = cx.sync_time();
                    cx.later(self.host, took, Due::Synced(last));
                }
            }
            Effect::Dial { link, address } => {
                let known = self.masters.iter().find(|(known, _)| *known == address).map(|(_, host)| *host);
                match known {
                    Some(host) => {
                        let conn = cx.dial(self.host, host, Ask::Link);
                        run.conns.insert(conn, link);
                        run.current = Some((link, conn));
                    }
                    None => cx.judge.broken("masters name masters", address),
                }
            }
            Effect::Hangup { link } => {
                if let Some((_, conn)) = run.current.take_if(|(current, _)| *current == link) {
                    run.conns.remove(&conn);
                    cx.close(conn, self.host);
                }
            }
            Effect::Send { link, report } => {
                if let Some((_, conn)) = run.current.filter(|(current, _)| *current == link) {
                    let mut frame = convert::to_master(&report);
                    if self.next {
                        frame = match version::read_by_this(&frame) {
                            Ok(frame) => frame,
                            Err(why) => return cx.judge.broken("versions understand each other", why),
                        };
                    }
                    cx.send(conn, self.host, Frame::ToMaster(Box::new(frame)));
                }
            }
            Effect::Fetch(job) => {
                let took = cx.between((MS, 2_000 * MS));
                cx.later(self.host, took, Due::Fetched(job.container));
            }
            Effect::Launch(job) => {
                let key = job.task.key.clone();
                cx.judge.tasks.launched(&key, self.host, cx.now);
                let task = key.task.clone();
                let resources = job.task.resources.clone();
                let id = job.container;
                if cx.now < self.exhausted_until && !cx.judge.healed {
                    cx.judge.once.never(&task);
                    cx.judge.reasons.not_launched(&key);
                    self.never.insert(id.clone());
                    let took = cx.between((MS, 20 * MS));
                    return cx.later(self.host, took, Due::NotStarted(id));
                }
                let (starts, ends) =
                    self.containers.launch(id.clone(), key, resources, &job.task.command.value, cx);
                let well =
                    self.containers.0.get(&id).is_some_and(|container| container.exit == ExitStatus::Code(0));
                cx.judge.once.launched(&task, self.host, cx.now, ends, well);
                cx.judge.punctual.launched(&task, cx.now);
                cx.later(self.host, starts - cx.now, Due::Started(id.clone()));
                if let Some(ends) = ends {
                    cx.later(self.host, ends - cx.now, Due::Exited(id));
                }
            }
            Effect::Kill { container, grace } => {
                self.judge_kill(&container, cx);
                if let Some(ends) = self.containers.kill(&container, grace, cx) {
                    self.judge_end(&container, ends, cx);
                    cx.later(self.host, ends.saturating_sub(cx.now), Due::Exited(container));
                }
            }
            Effect::Destroy { container } => {
                self.judge_kill(&container, cx);
                if let Some(ends) = self.containers.destroy(&container, cx) {
                    self.judge_end(&container, ends, cx);
                    cx.later(self.host, ends.saturating_sub(cx.now), Due::Exited(container));
                }
            }
            Effect::Forget { container } => {
                if self.containers.0.get(&container).is_some_and(|known| known.is_over(cx.now)) {
                    self.containers.0.remove(&container);
                }
                self.never.remove(&container);
            }
            Effect::Recover { containers } => self.recover(&containers, cx),
            Effect::MeasureDisk => cx.later(self.host, MS, Due::Measured),
            // Nobody cancels in this world's fetches: a late answer is ignored by the core.
            Effect::CancelFetch { .. } | Effect::Remove(_) => {}
            Effect::Probe { probe, job, .. } => {
                let took = cx.between((MS, 30 * MS));
                cx.later(self.host, took, Due::Probed(probe, job.container));
            }
            Effect::RemoveVolume(volume) => cx.later(self.host, MS, Due::VolumeRemoved(volume)),
            // Nothing looks into sandboxes here.
            Effect::Show(_) | Effect::MakeVolume(_) => {}
            // Its frameworks bring no executors of their own.
            Effect::Resize { .. } | Effect::Event { .. } | Effect::CloseStream { .. } => {}
            Effect::Stop(ending) => self.stop(&ending, cx),
        }
    }

    /// The process ends by itself, as only that of a copy does. Whoever starts it again learns that it is of no use.
    fn stop(&mut self, ending: &Ending, cx: &mut Context) {
        if !self.copy {
            let why = format!("{}: {ending:?}", cx.of(self.host).name);
            return cx.judge.broken("agents go on", why);
        }
        let why = match ending {
            Ending::Gone { message } | Ending::Invalid { message } => message.as_str(),
            Ending::Done { .. } => "",
        };
        cx.judge.copies.ended(&cx.standing[self.host.0 as usize].name, why);
        self.found_out += 1;
        cx.of_mut(self.host).up = false;
        self.crash(Crash::Killed, cx);
        cx.process_ended(self.host);
        let back = cx.between((100 * MS, 3_000 * MS));
        let wiped = self.found_out >= PATIENCE;
        cx.schedule(back, Event::Fault(Fault::Restart { host: self.host, wiped }));
    }

    /// A container ends at this time, whatever it was to do.
    fn judge_end(&self, container: &ContainerId, ends: Micros, cx: &mut Context) {
        if let Some(known) = self.containers.0.get(container) {
            cx.judge.once.ends(&known.key.task, ends, known.exit == ExitStatus::Code(0));
        }
    }

    fn judge_kill(&self, container: &ContainerId, cx: &mut Context) {
        if let Some(known) = self.containers.0.get(container).filter(|known| !known.is_over(cx.now)) {
            cx.judge.survival.killed(&known.key, cx.now);
        }
    }

    /// What the launcher tells of the containers of an earlier process.
    fn recover(&mut self, known: &[ContainerId], cx: &mut Context) {
        let strangers: Vec<ContainerId> =
            self.containers.0.keys().filter(|id| !known.contains(id)).cloned().collect();
        for id in strangers {
            if let Some(container) = self.containers.0.remove(&id).filter(|c| !c.is_over(cx.now)) {
                cx.judge.survival.orphaned(&container.key, cx.now);
            }
        }
        let took = cx.between((MS, 20 * MS));
        for id in known {
            let due = match self.containers.0.get(id) {
                Some(container) if container.is_over(cx.now) => Due::Exited(id.clone()),
                Some(container) => {
                    if let Some(ends) = container.ends {
                        cx.later(self.host, (ends - cx.now).max(took), Due::Exited(id.clone()));
                    }
                    Due::Started(id.clone())
                }
                None => Due::Lost { container: id.clone(), never_started: self.never.contains(id) },
            };
            cx.later(self.host, took, due);
        }
        cx.later(self.host, took, Due::Recovered);
    }

    fn synced(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Ok((seq, stored)) = self.disk.finish(&mut run.journal) else {
            // Nothing of what was to be written is on the disk, and the process ends as it does in earnest.
            cx.of_mut(self.host).up = false;
            self.crash(Crash::Killed, cx);
            return cx.process_ended(self.host);
        };
        if self.disk.is_long(COMPACT) {
            self.disk.compact(&run.core.snapshot(), &mut run.journal);
            self.compactions += 1;
        }
        self.store(&stored, cx);
        if let Some(last) = self.disk.begin() {
            let took = cx.sync_time();
            cx.later(self.host, took, Due::Synced(last));
        }
        self.input(Input::Synced(seq), cx);
    }

    /// These records are on the disk now, whatever comes.
    fn store(&mut self, records: &[Record], cx: &mut Context) {
        // What a copy writes to its disk nobody is told.
        for record in records.iter().filter(|_| !self.copy) {
            match record {
                Record::Update { key, update } => {
                    cx.judge.updates.stored(key, update, self.host);
                    cx.judge.reasons.said(key, update);
                }
                Record::Acknowledged { key, uuid } => cx.judge.updates.acknowledged(key, *uuid),
                Record::Term(term) => self.term = self.term.max(*term),
                Record::FrameworkRemoved(framework) => cx.judge.updates.removed(framework, self.host),
                Record::Dropped(key) => cx.judge.updates.dropped(key, self.host),
                _ => {}
            }
        }
    }

    fn link_down(&mut self, conn: ConnId, why: LinkDown, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(link) = run.conns.remove(&conn) else { return };
        run.current.take_if(|(_, current)| *current == conn);
        cx.close(conn, self.host);
        self.input(Input::LinkDown { link, why }, cx);
    }

    /// An order of a leader of the past must do nothing but be refused.
    fn order(&mut self, link: LinkId, frame: wire::link::ToAgent, cx: &mut Context) {
        let direction = matches!(frame.frame, Some(wire::link::to_agent::Frame::Refused(_)));
        if self.copy && matches!(frame.frame, Some(wire::link::to_agent::Frame::Welcome(_))) {
            cx.judge.copies.welcomed(&cx.standing[self.host.0 as usize].name, cx.now);
        }
        let envelope = match convert::envelope(frame) {
            Ok(envelope) => envelope,
            Err(error) => return cx.judge.broken("frames are understood", error.to_string()),
        };
        let term = envelope.term;
        if !direction && term < self.term {
            // What is due by now is done whatever it hears, and is not to be taken for obedience.
            self.input(Input::Wake, cx);
        }
        let Some(run) = &mut self.run else { return };
        let mut effects = Vec::new();
        run.core.handle(cx.clock(self.host), Input::FromMaster { link, envelope }, &mut effects);
        if !direction {
            let name = &cx.standing[self.host.0 as usize].name;
            cx.judge.fencing.order(name, term, self.term, &effects);
        }
        for effect in effects {
            self.execute(effect, cx);
        }
        self.arm(cx);
    }
}

impl Machine for Agent {
    fn start(&mut self, cx: &mut Context) {
        self.starts += 1;
        self.next = cx.of(self.host).next;
        self.disk.next = self.next;
        if self.boots == 0 {
            self.boots = 1;
        }
        let settings = self.settings(cx);
        let (journal, records) = match self.disk.read() {
            Ok(found) => found,
            Err(_) if self.disk.rotten => {
                (self.refused, self.refusals) = (true, self.refusals + 1);
                cx.of_mut(self.host).up = false;
                return cx.process_ended(self.host);
            }
            Err(error) => {
                let name = &cx.standing[self.host.0 as usize].name;
                return cx.judge.broken("what was written can be read", format!("{name}: {error}"));
            }
        };
        if self.disk.rotten {
            let why = format!("{} started from it", cx.of(self.host).name);
            return cx.judge.broken("what is damaged is refused", why);
        }
        let core = match Core::recover(settings, records) {
            Ok(core) => core,
            Err(error) => return cx.judge.broken("agents recover", error.to_string()),
        };
        self.run =
            Some(Running { core, conns: BTreeMap::new(), current: None, alarm: Alarm::default(), journal });
        let mut effects = Vec::new();
        let now = cx.clock(self.host);
        if let Some(run) = &mut self.run {
            run.core.start(now, &mut effects);
        }
        for effect in effects {
            self.execute(effect, cx);
        }
        self.arm(cx);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        match what {
            Due::Wake => {
                let now = cx.clock(self.host);
                let Some(run) = &mut self.run else { return };
                run.alarm.rings(cx);
                if run.core.next_deadline().is_some_and(|deadline| deadline <= now) {
                    self.input(Input::Wake, cx);
                } else {
                    self.arm(cx);
                }
            }
            Due::Synced(_) => self.synced(cx),
            Due::Fetched(container) => self.input(Input::Fetched { container, result: Ok(()) }, cx),
            Due::Started(container) => {
                let over = self.containers.0.get(&container).is_none_or(|known| known.is_over(cx.now));
                if over {
                    return;
                }
                self.input(Input::Started { container, pid: 4711 }, cx);
            }
            Due::NotStarted(container) => {
                let message = "cannot fork: Resource temporarily unavailable".to_owned();
                self.input(Input::LaunchFailed { container, missing_program: false, message }, cx);
            }
            Due::Exited(container) => {
                let over = self.containers.0.get(&container).filter(|known| known.is_over(cx.now));
                if let Some(exit) = over.map(Container::exit) {
                    self.input(Input::Exited { container, exit }, cx);
                }
            }
            Due::Lost { container, never_started } => {
                let message = "nothing is known of it".to_owned();
                self.input(Input::ContainerLost { container, never_started, message }, cx);
            }
            Due::Recovered => self.input(Input::Recovered, cx),
            Due::Probed(probe, container) => {
                let well = self
                    .containers
                    .0
                    .get(&container)
                    .is_some_and(|known| known.is_well(cx.now, cx.judge.healed));
                let finding = if well { Finding::Connected } else { Finding::Failed("refused".to_owned()) };
                self.input(Input::Probed { probe, container, finding }, cx);
            }
            Due::Measured => self.input(Input::Disk { used: 100 }, cx),
            Due::VolumeRemoved(volume) => self.input(Input::VolumeRemoved(volume), cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(link) = run.conns.get(&conn).copied() else { return cx.close(conn, self.host) };
        match frame {
            Frame::Linked => self.input(Input::LinkUp(link), cx),
            Frame::ToAgent(frame) => self.order(link, *frame, cx),
            Frame::Redirect(leader) => self.link_down(conn, LinkDown::Redirect(leader), cx),
            Frame::Unavailable => self.link_down(conn, LinkDown::Unavailable, cx),
            _ => self.link_down(conn, LinkDown::Broken("the connection ended".into()), cx),
        }
    }

    fn crash(&mut self, how: Crash, cx: &mut Context) {
        if self.run.take().is_none() {
            return;
        }
        let kept = match how {
            Crash::Killed => self.disk.killed(cx),
            Crash::Power => self.disk.cut(cx),
        };
        self.store(&kept, cx);
        match how {
            Crash::Killed => {
                // Of launches under way some happen and some do not.
                let starting: Vec<ContainerId> = self
                    .containers
                    .0
                    .iter()
                    .filter(|(_, container)| container.starts > cx.now)
                    .map(|(id, _)| id.clone())
                    .collect();
                for id in starting {
                    if cx.chance(5_000) {
                        if let Some(never) = self.containers.0.remove(&id) {
                            cx.judge.once.never(&never.key.task);
                        }
                        self.never.insert(id);
                    }
                }
            }
            Crash::Power => {
                self.boots += 1;
                self.booted = cx.now;
                for container in std::mem::take(&mut self.containers.0).into_values() {
                    cx.judge.reasons.stopped(&container.key);
                }
                cx.judge.once.stopped(self.host, cx.now);
                self.never.clear();
            }
        }
    }

    fn wipe(&mut self, cx: &mut Context) {
        for id in self.disk.wipe().iter().filter(|_| !self.copy) {
            cx.judge.reservations.wiped(id);
        }
        self.refused = false;
        self.containers.0.clear();
        self.never.clear();
        self.term = 0;
        self.copy = false;
        // Whoever empties it gives it a name of its own, too: balancers know instances by their machines' names.
        self.hostname.clear();
        cx.judge.updates.wiped(self.host);
        cx.judge.once.stopped(self.host, cx.now);
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        if self.starts == 0 {
            // Nothing was ever copied there.
            return Vec::new();
        }
        if self.copy {
            return vec!["has not been found to be a copy".to_owned()];
        }
        let Some(run) = &self.run else { return vec!["does not run".to_owned()] };
        let mut missing = Vec::new();
        if run.core.master().is_none() {
            missing.push("is not registered".to_owned());
        }
        let summary = run.core.summary();
        if summary.pending_updates > 0 {
            missing.push(format!("{} updates are not acknowledged", summary.pending_updates));
        }
        if summary.pending_operations > 0 {
            missing.push(format!("{} operations are not acknowledged", summary.pending_operations));
        }
        missing
    }

    fn report(&self) -> String {
        let ran = self.starts;
        let found = self.found_out;
        format!(
            "started {ran} times on {} boots, {} refused, {} compactions, {} containers held, found to be a copy {found} times",
            self.boots,
            self.refusals,
            self.compactions,
            self.containers.0.len()
        )
    }
}
