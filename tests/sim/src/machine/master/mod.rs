//! A master: the real core and the real replica, driven as the server's loop drives them.
//!
//! The replica has a thread of its own in the server; here it takes turns ([`replication`]) with the core ([`core`]) and the
//! connections ([`edge`]).

mod core;
mod edge;
mod replication;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use master::level::Levels;
use master_core::input::{Input, LinkId, RequestId, StreamId};
use master_core::master::Master as Core;
use master_core::registry::{Command, LEVEL, LevelCommand, Registry};
use master_core::report::AgentReport;
use master_core::settings::Settings;
use model::time::Span;
use rand::RngExt;
use replica::disk::{MemoryDisk, MemoryFiles};
use replica::form::Founding;
use replica::{Barrier, Change, Disk, Fatal, NodeId, Options, PeerMessage, Replica, Role, Standing, Ticket};

use super::alarm::Alarm;
use super::{Crash, Due, Machine, Trouble};
use crate::context::{Context, Event};
use crate::faults::Fault;
use crate::frame::Frame;
use crate::net::{ConnId, Host, MS, Micros, SECOND};
use crate::version::{self, NEXT, Registrar};

/// A tick of the replica, as the server has it.
const TICK: Micros = 50 * MS;
/// Frames waiting for one agent, as the server has it.
const LINK_FRAMES: usize = 4_096;
/// As the server's driver.
const OWN_BARRIER: Barrier = Barrier(u64::MAX);
/// The tickets of changes of membership: nobody waits for them.
const CHANGE: Ticket = Ticket(u64::MAX);
/// The ticket of the limits that this world's operators set: nobody waits for them.
const LIMITS: Ticket = Ticket(u64::MAX - 1);
/// What a disk without room says.
const FULL: &str = "no space left on device";

/// Where every master and its files are, for the others.
#[derive(Debug, Clone)]
pub struct Group {
    /// Who founded the group.
    pub founding: Founding,
    /// Each master's host, address and files.
    pub members: BTreeMap<NodeId, (Host, String, MemoryFiles)>,
    /// What the program of each said when it greeted.
    pub levels: Arc<Levels>,
}

/// A machine with a master on it.
pub struct Master {
    host: Host,
    node: NodeId,
    address: String,
    group: Arc<Group>,
    disk: Option<MemoryDisk>,
    run: Option<Running>,
    /// It belongs to the group, as far as whoever changes the group knows.
    member: bool,
    /// What is wrong with the disk.
    trouble: Option<Trouble>,
    /// Bits of what is on the disk have flipped.
    rotten: bool,
    /// It does not start, because it has seen them.
    refused: bool,
    /// What its program knows, and whether it does not start because the group writes more than that.
    level: u32,
    outdated: bool,
    outdatings: u64,
    ended: Option<Fatal>,
    starts: u64,
    elections: u64,
    audits: u64,
}

/// What waits for the replica's next turn.
enum Request {
    Tick,
    Step(Box<PeerMessage>),
    Propose(Ticket, Box<Command>),
    Barrier(Barrier),
    Unreachable(NodeId),
    Gone(NodeId),
    Change(Change),
}

/// Who asked, and the stream the answer may be.
struct Waiting {
    conn: ConnId,
    stream: Option<StreamId>,
}

struct Running {
    core: Core,
    replica: Replica<Registrar, MemoryDisk>,
    requests: Vec<Request>,
    /// The replica's turn is under way.
    busy: bool,
    /// A turn is asked for already.
    called: bool,
    view: Registry,
    waiting: BTreeMap<RequestId, Waiting>,
    links: BTreeMap<LinkId, ConnId>,
    streams: BTreeMap<StreamId, ConnId>,
    /// The other direction, and what the server's tasks know of a connection.
    conns: BTreeMap<ConnId, Kind>,
    own: VecDeque<Input>,
    leading: Option<Role>,
    in_doubt: bool,
    standing: Edge,
    alarm: Alarm,
    audit_at: Micros,
    audit: Option<RequestId>,
    requests_made: u64,
}

/// What a connection is to this master.
enum Kind {
    Link {
        ip: Arc<str>,
        /// The term its agent said it obeys.
        obeyed: u64,
    },
    Request,
    Stream(StreamId),
}

/// What the edge knows of leadership.
#[derive(Debug, PartialEq, Eq)]
enum Edge {
    Leading,
    Following(Arc<str>),
    Electing,
}

impl Group {
    /// Whether the log may hold what programs of this level alone know.
    fn raised(&self, level: u32) -> bool {
        self.levels.refusal("", level - 1).is_some()
    }
}

impl Master {
    /// A member of the group, or a machine that may become one.
    pub(crate) fn new(host: Host, node: NodeId, disk: MemoryDisk, group: Arc<Group>) -> Self {
        let address = group.members[&node].1.clone();
        let disk = Some(disk);
        let member = group.founding.members.iter().any(|(founder, _)| *founder == node);
        Self {
            host,
            node,
            address,
            group,
            disk,
            run: None,
            member,
            trouble: None,
            rotten: false,
            refused: false,
            level: LEVEL,
            outdated: false,
            outdatings: 0,
            ended: None,
            starts: 0,
            elections: 0,
            audits: 0,
        }
    }

    /// The registry and the index it is at, while the process runs.
    pub fn view(&self) -> Option<&Registry> {
        self.run.as_ref().map(|run| &run.view)
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.core.leads().is_some())
    }

    /// The index it has applied and its digest, while the process runs.
    pub fn position(&self) -> Option<(u64, u64)> {
        self.run.as_ref().map(|run| (run.replica.status().applied, run.view.digest()))
    }

    /// How a node belongs to the group, as this master knows it.
    pub(crate) fn standing_of(&self, node: NodeId) -> Option<Standing> {
        let run = self.run.as_ref()?;
        let known = run.replica.members().iter().find(|member| member.id == node);
        known.map(|member| member.standing)
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether it belongs to the group.
    pub(crate) fn is_member(&self) -> bool {
        self.member
    }

    /// It comes into the group, or leaves it for ever.
    pub(crate) fn belongs(&mut self, member: bool) {
        self.member = member;
    }

    /// Asks for a change of membership, if it leads.
    pub(crate) fn change(&mut self, change: Change, cx: &mut Context) {
        self.speak();
        self.ask(Request::Change(change), cx);
    }

    /// Something is wrong with the disk from now on.
    pub(crate) fn ail(&mut self, trouble: Trouble, cx: &mut Context) {
        self.trouble = Some(trouble);
        let reached = cx.chance(3_000);
        let Some(disk) = self.disk_mut() else { return };
        match trouble {
            Trouble::Full => disk.fail(FULL),
            Trouble::Write => disk.fail_write(),
            Trouble::Sync => disk.fail_sync(reached),
        }
    }

    /// Nothing is wrong with the disk any more: somebody has made room, or what was to fail once has.
    pub(crate) fn mend(&mut self) {
        self.trouble = None;
        if let Some(disk) = self.disk_mut() {
            disk.mend();
        }
    }

    fn disk_mut(&mut self) -> Option<&mut MemoryDisk> {
        match &mut self.run {
            Some(run) => Some(run.replica.disk_mut()),
            None => self.disk.as_mut(),
        }
    }

    /// A bit flips: of the meta record, of an entry of the log, or of the snapshot. Only of machines that are down.
    pub(crate) fn flip(&mut self, cx: &mut Context) {
        let Some(disk) = &mut self.disk else { return };
        self.rotten = true;
        if cx.chance(5_000) {
            let nth = cx.random.random_range(0..=disk.len());
            return disk.flip(nth);
        }
        let files = disk.files();
        for id in files.ids() {
            if let Some(bytes) = files.bytes(id) {
                let mut bytes = bytes.to_vec();
                let at = cx.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << cx.random.random_range(0..8);
                files.overwrite(id, bytes);
            }
        }
    }

    /// Whether it does not start, and somebody has to put another in its place.
    pub(crate) fn refuses(&self) -> bool {
        self.refused
    }

    /// Whether it does not start, because its program is too old for the group.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// Its program has its turn.
    fn speak(&self) {
        version::turn(self.level, self.run.as_ref().map_or(LEVEL, |run| run.view.level()));
    }

    /// Its program is too old for what the group writes by now; somebody reads the sentence and puts another there.
    fn too_old(&mut self, cx: &mut Context) {
        self.outdated = true;
        self.outdatings += 1;
        let read = cx.between((SECOND, 8 * SECOND));
        cx.schedule(read, Event::Fault(Fault::Tend(self.host)));
    }

    fn stay_down(&mut self, cx: &mut Context) {
        self.too_old(cx);
        cx.of_mut(self.host).up = false;
        cx.process_ended(self.host);
    }

    /// What a leader looks at once a tick: whether all members know more than the group may write.
    fn consider_level(&mut self, cx: &mut Context) {
        let Some(run) = self.run.as_ref().filter(|run| self.level == NEXT && run.core.leads().is_some())
        else {
            return;
        };
        let members: Vec<NodeId> = run.replica.members().iter().map(|member| member.id).collect();
        let reachable = self.group.levels.reachable(self.node, members.into_iter());
        if let Some(level) = reachable.filter(|level| *level > run.view.level()) {
            let raise = Command::Level(LevelCommand { level });
            self.ask(Request::Propose(LIMITS, Box::new(raise)), cx);
        }
    }

    /// The power goes in the middle of the next write.
    pub(crate) fn cut_power(&mut self) {
        if let Some(run) = &mut self.run {
            run.replica.disk_mut().cut_power();
        }
    }

    /// Whether the power goes with the next write.
    pub(crate) fn is_doomed(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.replica.disk().is_doomed())
    }

    /// The group's other way to say that a process has ended.
    fn end(&mut self, fatal: Fatal, cx: &mut Context) {
        cx.trace.text("ended");
        let power = matches!(fatal, Fatal::Disk(_)) && self.is_doomed();
        match fatal {
            Fatal::Disk(_) if power || self.trouble.is_some() => {}
            Fatal::Corrupt(_) if self.level < NEXT && self.group.raised(NEXT) => self.too_old(cx),
            // It was removed, and somebody has still to tell it so.
            Fatal::Removed(_) => self.ended = Some(fatal),
            fatal => {
                cx.judge.broken("masters go on", format!("{}: {fatal}", self.address));
                self.ended = Some(fatal);
            }
        }
        cx.of_mut(self.host).power = !power;
        cx.of_mut(self.host).up = false;
        self.crash(if power { Crash::Power } else { Crash::Killed }, cx);
        cx.process_ended(self.host);
    }
}

impl Machine for Master {
    fn start(&mut self, cx: &mut Context) {
        if self.trouble == Some(Trouble::Full) {
            // It would end with its first write; it is started when there is room.
            cx.of_mut(self.host).up = false;
            return cx.process_ended(self.host);
        }
        if self.refused {
            // Whoever starts it again hears the same.
            cx.of_mut(self.host).up = false;
            return cx.process_ended(self.host);
        }
        self.level = if cx.of(self.host).next { NEXT } else { LEVEL };
        self.outdated = false;
        self.group.levels.heard(self.node, self.level);
        // Half of the time the others say so before it has read anything that it does not know.
        if cx.chance(5_000) && self.group.levels.refusal(&self.address, self.level).is_some() {
            return self.stay_down(cx);
        }
        let Some(disk) = self.disk.take() else { return };
        let copy = self.group.raised(NEXT).then(|| disk.clone());
        self.starts += 1;
        self.speak();
        let options = Options {
            seed: cx.random.random(),
            snapshot_log_bytes: cx.weather.snapshot_bytes,
            keep_entries: 100,
            ..Options::default()
        };
        let replica = match Replica::open(disk, self.node, options) {
            Ok(replica) => replica,
            Err(Fatal::Disk(_) | Fatal::Corrupt(_)) if self.rotten => {
                self.refused = true;
                cx.of_mut(self.host).up = false;
                return cx.process_ended(self.host);
            }
            Err(Fatal::Corrupt(_)) if self.level < NEXT && self.group.raised(NEXT) => {
                self.disk = copy;
                return self.stay_down(cx);
            }
            Err(fatal) => return cx.judge.broken("what was written can be read", fatal.to_string()),
        };
        if self.rotten {
            return cx
                .judge
                .broken("what is damaged is refused", format!("{} started from it", self.address));
        }
        let view = replica.view();
        cx.judge.installed(&self.address, replica.status().applied, replica.digest());
        self.run = Some(Running {
            core: Core::new(settings(cx)),
            replica,
            requests: Vec::new(),
            busy: false,
            called: false,
            view,
            waiting: BTreeMap::new(),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            conns: BTreeMap::new(),
            own: VecDeque::new(),
            leading: None,
            in_doubt: false,
            standing: Edge::Electing,
            alarm: Alarm::default(),
            audit_at: 0,
            audit: None,
            requests_made: 0,
        });
        let phase = cx.between((0, TICK));
        cx.later(self.host, phase, Due::Tick);
    }

    fn due(&mut self, what: Due, cx: &mut Context) {
        self.speak();
        match what {
            Due::Wake => self.wake(cx),
            Due::Tick => {
                cx.later(self.host, TICK, Due::Tick);
                self.consider_level(cx);
                self.ask_now(Request::Tick, cx);
            }
            Due::Outputs(outputs) => self.turned(outputs, cx),
            Due::Turn => self.turn(cx),
            Due::Build(job) => {
                let Some(run) = &mut self.run else { return };
                let result = job.run(&run.replica.files());
                match run.replica.built(result) {
                    Ok(()) => self.call(cx),
                    Err(fatal) => self.end(fatal, cx),
                }
            }
            Due::Fetch { from, descriptor } => self.fetch(from, &descriptor, cx),
            Due::PeerGone(node) => self.ask(Request::Gone(node), cx),
            _ => {}
        }
    }

    fn heard(&mut self, conn: ConnId, frame: Frame, cx: &mut Context) {
        self.speak();
        match frame {
            Frame::Ask(ask) => self.asked(conn, ask, cx),
            Frame::ToMaster(frame) => {
                let Some(run) = &mut self.run else { return };
                let Some(Kind::Link { ip, obeyed }) = run.conns.get_mut(&conn) else { return };
                if let Some(wire::link::to_master::Frame::Hello(hello)) = &frame.frame {
                    *obeyed = hello.highest_term;
                }
                match AgentReport::decode(*frame, ip) {
                    Ok(report) => self.handle(Input::Agent { link: LinkId(conn.0), report }, cx),
                    Err(bad) => cx.judge.broken("frames are understood", bad.to_string()),
                }
            }
            Frame::End => self.closed(conn, cx),
            _ => {}
        }
    }

    fn peer(&mut self, message: Box<PeerMessage>, cx: &mut Context) {
        self.speak();
        self.ask_now(Request::Step(message), cx);
    }

    fn crash(&mut self, how: Crash, cx: &mut Context) {
        let Some(run) = self.run.take() else { return };
        let mut disk = run.replica.into_disk();
        let unsynced = disk.unsynced();
        let survivors = match how {
            Crash::Killed => unsynced,
            Crash::Power => cx.random.random_range(0..=unsynced),
        };
        disk.crash(survivors);
        self.disk = Some(disk);
    }

    fn unfinished(&self, _: &Context) -> Vec<String> {
        match &self.run {
            None if self.member => vec!["does not run".to_owned()],
            None => Vec::new(),
            Some(run) if run.standing == Edge::Electing => vec!["knows no leader".to_owned()],
            Some(_) => Vec::new(),
        }
    }

    fn report(&self) -> String {
        let index = self.position().map_or(0, |(index, _)| index);
        format!(
            "started {} times, elected {}, applied {index}, {} audits, level {}, {} times too old{}",
            self.starts,
            self.elections,
            self.audits,
            self.level,
            self.outdatings,
            if self.refused { ", refused to start from a damaged disk" } else { "" }
        )
    }

    fn ended(&self) -> bool {
        self.ended.is_some() || !self.member
    }
}

/// Where frameworks misbehave, operators have offers time out.
fn settings(cx: &Context) -> Settings {
    let offer_timeout = (cx.weather.citizens > 0).then_some(Span::from_secs(2));
    Settings { offer_timeout, ..Settings::default() }
}
