//! The supervisor: told what happens, it says what is to be done.
//!
//! It is passive. `driver` passes inputs and the time to [`Supervisor::handle`], hands the effects on to the kit in order,
//! and calls again at [`Supervisor::next_deadline`]. It keeps all state of the leader in memory as the only writer;
//! the store sees every change before anybody else does (see `journal`). Subscribing, asking how tasks are, acknowledging
//! and the order of things is the kit's.

mod apps;
mod deployments;
mod drive;
mod instances;
mod journal;
mod leadership;
pub mod message;
mod offers;
pub mod record;
pub mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use model::id::{AgentId, TaskId};
use model::time::{Span, Time};
use sdk::timers::Timers;
use wire::marathon::Event;

use self::journal::Journal;
use self::message::{Call, Command, Effect, Input, Origin, Refusal, Reply};
use self::record::Key;
use self::state::State;
use crate::core::backoff::Backoffs;
use crate::core::events;
use crate::core::health::Breaker;
use crate::core::id::{AppId, InstanceId};
use crate::core::instance::Instance;
use crate::core::kill::Kills;
use crate::core::random::Random;
use crate::core::version::stamp;
use crate::limits;

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The role of all apps.
    pub role: String,
    /// Service ports given to apps that ask for none.
    pub service_ports: RangeInclusive<u16>,
    /// How long load balancers may take to let go of an instance.
    pub drain_timeout: Span,
}

/// The whole of it.
#[derive(Debug)]
pub struct Supervisor {
    settings: Settings,
    leading: bool,
    subscribed: bool,
    state: State,
    journal: Journal,
    random: Random,
    timers: Timers<Timer>,
    backoffs: Backoffs,
    breaker: Breaker,
    kills: Kills,
    interest: Interest,
    /// Instances that wait for an offer, by app.
    scheduled: BTreeMap<AppId, BTreeSet<InstanceId>>,
    /// Apps to look at before this input is done.
    touched: BTreeSet<AppId>,
    /// Where the search for an app to serve goes on.
    next_app: Option<AppId>,
    /// Something changed that readers see and the store does not hold.
    view_changed: bool,
    strangers: u64,
}

/// Whether offers are wanted, and what the master was told about it.
#[derive(Debug, Default)]
struct Interest {
    suppressed: bool,
    /// There is something new to launch, or a new chance to launch it.
    revive: bool,
    revived_at: Option<Time>,
}

/// What there is to do later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Backoff(AppId),
    /// A launch takes too long.
    Overdue(AppId, InstanceId),
    /// An agent has been unreachable for so long that something follows.
    Unreachable(AppId, InstanceId),
    HealthKill(AppId, InstanceId),
    /// The load balancers had their time.
    KillBy(AppId, InstanceId),
    ForgetDrainers,
    KillRetry,
    Revive,
}

impl Supervisor {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            leading: false,
            subscribed: false,
            state: State::default(),
            journal: Journal::default(),
            random: Random::new([0, 0]),
            timers: Timers::default(),
            backoffs: Backoffs::default(),
            breaker: Breaker::default(),
            kills: Kills::default(),
            interest: Interest::default(),
            scheduled: BTreeMap::new(),
            touched: BTreeSet::new(),
            next_app: None,
            view_changed: false,
            strangers: 0,
        }
    }

    /// Takes in one input. Never fails, never blocks.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        if !self.leading {
            match input {
                Input::Elected { seed, records } => self.elected(now, seed, &records, out),
                _ => return,
            }
        } else {
            self.journal.begin();
            match input {
                // Elected twice is the driver's mistake; what is in memory is the newer.
                Input::Elected { .. } | Input::Wake => {}
                Input::Deposed => return self.deposed(),
                Input::Subscribed { framework, master } => self.subscribed(now, framework, master),
                Input::Disconnected => self.disconnected(now),
                Input::FrameworkRemoved => self.framework_removed(now),
                Input::Offers(offers) => self.offers(now, offers, out),
                Input::Update(update) => self.update(now, &update),
                Input::DrainerConnected { name } => self.drainer_connected(&name),
                Input::DrainerDisconnected { name } => self.drainer_disconnected(now, &name),
            }
        }
        if self.leading {
            self.settle(now, out);
        }
    }

    /// Does what the API asks for, or says why not; to be told when the effects before it are stored.
    ///
    /// # Errors
    /// Nothing of it was done.
    pub fn command(
        &mut self,
        now: Time,
        origin: &Origin,
        command: Command,
        out: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        if !self.leading {
            return Err(Refusal::NotLeader);
        }
        self.journal.begin();
        let answer = self.obey(now, origin, command);
        self.settle(now, out);
        answer
    }

    /// The tasks that are not over as far as it knows, and where they are.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, AgentId)> {
        let tasks = self.state.instances.values().filter_map(|instance| instance.task.as_ref());
        tasks.map(|task| (task.id.clone(), task.agent.clone()))
    }

    /// Whether offers are of any use.
    pub fn wants_offers(&self) -> bool {
        !self.interest.suppressed
    }

    /// When [`Input::Wake`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Alive tasks heard of that no record speaks of. They are left alone.
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Brings everything in order that an input has stirred up.
    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop(now) {
            self.journal.begin();
            self.due(now, timer);
        }
        while let Some(app) = self.touched.pop_first() {
            self.drive(now, &app);
        }
        self.send_kills(now);
        self.show_interest(now, out);
        let shown = self.journal.flush(&self.state, out);
        if std::mem::take(&mut self.view_changed) && !shown {
            out.push(Effect::View(Arc::new(self.state.clone())));
        }
    }

    fn due(&mut self, now: Time, timer: Timer) {
        match timer {
            Timer::Backoff(app) => self.delay_over(&app),
            Timer::Overdue(app, id) => self.overdue(now, &app, &id),
            Timer::Unreachable(app, id) => self.still_unreachable(now, &app, &id),
            Timer::HealthKill(app, id) => self.check_health(now, &app, &id),
            Timer::KillBy(app, id) => self.kill_now(&app, &id),
            // The kills and the revival themselves follow in `settle`.
            Timer::ForgetDrainers => self.forget_drainers(now),
            Timer::KillRetry => {}
            Timer::Revive => self.interest.revive = true,
        }
    }

    fn obey(&mut self, now: Time, origin: &Origin, command: Command) -> Result<Reply, Refusal> {
        let group = command.group();
        let answer = match command {
            Command::Create { document, force } => self.create(now, origin, &document, force),
            Command::Update { app, document, options } => {
                self.update_app(now, origin, &app, &document, options)
            }
            Command::UpdateMany { documents, options } => self.update_many(now, &documents, options),
            Command::Delete { app, force } => self.delete(now, &app, force),
            Command::Restart { app, force } => self.restart(now, &app, force),
            Command::Kill { selection, scale, wipe, force } => self.kill(now, &selection, scale, wipe, force),
            Command::CancelDeployment { deployment, force } => self.cancel(now, &deployment, force),
            Command::ResetDelay { app } => self.reset_delay(&app),
            Command::Drained { drainer, tasks } => self.drained(&drainer, &tasks),
        };
        if let Err(refusal @ (Refusal::Locked(_) | Refusal::TooManyDeployments(_))) = &answer {
            let (version, reason) = (self.next_version(now).to_string(), refusal.to_string());
            self.emit(now, &Event::GroupChangeFailed { group_id: group.to_string(), version, reason });
        }
        answer
    }

    /// Records an event; it is published when what it tells of is stored.
    fn emit(&mut self, now: Time, event: &Event) {
        let value = event.to_json(&stamp(now));
        let kind = value.get("eventType").and_then(|kind| events::kind(kind.as_str()?));
        // The table of types is complete, as its test sees to.
        let Some(kind) = kind else { return };
        self.journal.event(kind, value.to_string());
    }

    /// Changes an instance, if there is one, and marks its record and its app.
    fn change<R>(
        &mut self,
        app: &AppId,
        id: &InstanceId,
        change: impl FnOnce(&mut Instance) -> R,
    ) -> Option<R> {
        self.touched.insert(app.clone());
        self.change_quietly(app, id, change)
    }

    /// As [`Supervisor::change`], for what changes nothing about how many instances there are and should be.
    fn change_quietly<R>(
        &mut self,
        app: &AppId,
        id: &InstanceId,
        change: impl FnOnce(&mut Instance) -> R,
    ) -> Option<R> {
        let key = (app.clone(), id.clone());
        let result = change(Arc::make_mut(self.state.instances.get_mut(&key)?));
        self.journal.touch(Key::Instance(key.0, key.1));
        Some(result)
    }

    fn instance(&self, app: &AppId, id: &InstanceId) -> Option<Arc<Instance>> {
        self.state.instances.get(&(app.clone(), id.clone())).cloned()
    }

    /// A call that must not be made before what led to it is stored.
    fn hold_call(&mut self, call: Call) {
        self.journal.hold(Effect::Call(call));
    }

    fn send_kills(&mut self, now: Time) {
        if !self.subscribed {
            return;
        }
        for kill in self.kills.due(now) {
            self.hold_call(Call::Kill(kill));
        }
        if let Some(at) = self.kills.next() {
            self.timers.set(Timer::KillRetry, at);
        }
    }

    /// Whether another deployment may start.
    fn room_for_deployment(&self, cancelled: usize) -> Result<(), Refusal> {
        if self.state.deployments.len() - cancelled >= limits::DEPLOYMENTS {
            return Err(Refusal::TooManyDeployments(limits::DEPLOYMENTS));
        }
        Ok(())
    }

    fn done() -> Result<Reply, Refusal> {
        Ok(Reply::Done)
    }
}
