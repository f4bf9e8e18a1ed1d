//! A scheduler at work, without IO: what is heard goes in, what is to be stored and done comes out, in order.
//!
//! [`crate::scheduler::run`] drives it over the network. Whoever drives it otherwise, a simulator for example, does as that
//! one does: after each input it stores what [`Engine::next_batch`] says, one batch at a time and only while it leads, tells
//! by [`Engine::stored`] when that is done, and does all effects in the order they come in.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::DerefMut;

use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::task::TaskState;
use model::time::{Span, Time};
use wire::scheduler::{Call, call::Type};

use crate::journal::Journal;
use crate::offer::Offer;
use crate::reconcile::Reconciler;
use crate::scheduler::{RECORDS, Records, RunError, Scheduler};
use crate::step::Step;
use crate::store::{Record, Write};
use crate::subscription::Heard;
use crate::update::Update;
use crate::{call, limits};

/// The key of the framework's id.
pub const FRAMEWORK: &str = "framework";

/// The framework's id among the records, if a master has ever given it one.
pub fn framework(records: &[Record]) -> Option<FrameworkId> {
    let record = records.iter().find(|record| record.key == FRAMEWORK)?;
    Some(framework_of(&record.value))
}

/// The framework's id as it is stored: by itself, or in a document, as the app supervisor had it once.
pub fn framework_of(record: &[u8]) -> FrameworkId {
    #[derive(serde::Deserialize)]
    struct Document {
        id: String,
    }
    let named = serde_json::from_slice::<Document>(record).map(|document| document.id);
    FrameworkId::from(named.unwrap_or_else(|_| String::from_utf8_lossy(record).into_owned()))
}

/// Told to whoever asked.
pub type Reply = Box<dyn FnOnce() + Send>;

/// What is done when its turn comes.
pub enum Effect {
    /// Send this to the master.
    Call(Box<Call>),
    /// Whoever asked may be told.
    Reply(Reply),
    /// The framework leaves and the run ends.
    Finish,
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => f.debug_tuple("Call").field(call).finish(),
            Self::Reply(_) => f.write_str("Reply"),
            Self::Finish => f.write_str("Finish"),
        }
    }
}

/// One term of leadership. `S` leads to the scheduler: a reference, or a box.
pub struct Engine<S> {
    scheduler: S,
    prefix: &'static str,
    journal: Journal<Effect>,
    /// Calls that wait for nothing.
    at_once: Vec<Effect>,
    /// ACCEPTs in the journal.
    accepts: usize,
    reconciler: Reconciler,
    seen: Seen,
    framework: Option<FrameworkId>,
    subscribed: bool,
    /// Whether offers are asked for, as the master sees it.
    reviving: bool,
    refuse: Span,
}

impl<S: DerefMut<Target: Scheduler>> Engine<S> {
    /// A term that begins with the framework's id as it is stored under [`FRAMEWORK`]. What is declined is not wanted for
    /// `refuse`, unless a step says otherwise.
    pub fn new(scheduler: S, framework: Option<FrameworkId>, refuse: Span) -> Self {
        Self {
            scheduler,
            prefix: RECORDS,
            journal: Journal::new(),
            at_once: Vec::new(),
            accepts: 0,
            reconciler: Reconciler::default(),
            seen: Seen::default(),
            framework,
            subscribed: false,
            reviving: true,
            refuse,
        }
    }

    /// The keys of its records begin with this in place of [`RECORDS`].
    #[must_use]
    pub fn with_prefix(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// This instance leads, and these are the records.
    ///
    /// # Errors
    /// They make no sense to the scheduler, or what it wants to store cannot be stored.
    pub fn elected(&mut self, now: Time, records: &Records) -> Result<(), RunError> {
        let mut step = self.step(now);
        self.scheduler.elected(records, &mut step).map_err(RunError::Scheduler)?;
        self.close(step, Vec::new())
    }

    /// The scheduler, to look at.
    pub fn scheduler(&self) -> &S::Target {
        &self.scheduler
    }

    /// The framework's id, once a master has given it one.
    pub fn framework(&self) -> Option<&FrameworkId> {
        self.framework.as_ref()
    }

    /// Whether more may be heard: past a limit of steps that wait for the store nothing is, until some are stored.
    pub fn has_room(&self) -> bool {
        self.journal.len() < limits::STEPS
    }

    /// When [`Self::wake`] is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.scheduler.next_deadline().into_iter().chain(self.reconciler.next_deadline()).min()
    }

    /// What may be done now.
    pub fn release(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.at_once);
        let released = self.journal.release();
        self.accepts -= accepts(&released);
        effects.extend(released);
        effects
    }

    /// What is to be stored next, all or nothing; `None` while something is on its way to the store.
    pub fn next_batch(&mut self) -> Option<Vec<Write>> {
        self.journal.next_batch()
    }

    /// It is stored. What may be done now.
    pub fn stored(&mut self) -> Vec<Effect> {
        let effects = self.journal.stored();
        self.accepts -= accepts(&effects);
        effects
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// What the scheduler wants to store cannot be stored.
    pub fn wake(&mut self, now: Time) -> Result<(), RunError> {
        let due = self.reconciler.due(now);
        let mut step = self.step(now);
        if self.scheduler.next_deadline().is_some_and(|at| now >= at) {
            self.scheduler.wake(&mut step);
        }
        due.into_iter().for_each(|call| step.call(call));
        self.close(step, Vec::new())
    }

    /// Runs `ask` as a step; its answer is told when the step is stored.
    ///
    /// # Errors
    /// What the scheduler wants to store cannot be stored.
    pub fn ask(
        &mut self,
        now: Time,
        ask: impl FnOnce(&mut S::Target, &mut Step) -> Reply,
    ) -> Result<(), RunError> {
        let mut step = self.step(now);
        let reply = ask(&mut self.scheduler, &mut step);
        #[cfg(feature = "mutants")]
        let reply: Reply = if mutant::planted("answers-do-not-wait-for-the-store") {
            reply();
            Box::new(|| ())
        } else {
            reply
        };
        self.close(step, vec![Effect::Reply(reply)])
    }

    /// The master said something, or the way to it broke.
    ///
    /// # Errors
    /// The master refuses the framework, or what the scheduler wants to store cannot be stored.
    pub fn heard(&mut self, now: Time, heard: Heard) -> Result<(), RunError> {
        let mut step = self.step(now);
        match heard {
            Heard::Subscribed { framework, master } => self.on_subscribed(now, framework, &master, &mut step),
            Heard::Offers(offers) => self.on_offers(offers, &mut step),
            Heard::Update(update) => return self.on_update(&update, step),
            Heard::Rescinded(offer) => self.scheduler.rescinded(&offer, &mut step),
            Heard::Other(event) => self.scheduler.event(&event, &mut step),
            Heard::Uncertain(tasks) => {
                let known = self.scheduler.tasks();
                let agent = |task: &TaskId| {
                    known.iter().find(|(known, _)| known == task).and_then(|(_, agent)| agent.clone())
                };
                let tasks: Vec<(TaskId, Option<AgentId>)> =
                    tasks.into_iter().map(|task| (task.clone(), agent(&task))).collect();
                self.reconciler.uncertain(now, tasks);
            }
            Heard::Lost { .. } => self.on_lost(&mut step),
            Heard::Ended { removed, message } => {
                if self.framework.is_none() {
                    return Err(RunError::Refused(message));
                }
                if removed {
                    self.subscribed = false;
                    self.reconciler.disconnected();
                    self.framework = None;
                    self.journal.push(vec![vec![Write::Delete { key: FRAMEWORK.to_owned() }]], Vec::new());
                    self.scheduler.removed(&mut step);
                } else {
                    self.on_lost(&mut step);
                }
            }
        }
        self.close(step, Vec::new())
    }

    fn on_subscribed(&mut self, now: Time, framework: FrameworkId, master: &str, step: &mut Step) {
        if self.framework.as_ref() != Some(&framework) {
            // Before anything is launched: the next instance must come as the same framework.
            let value = self.stored_framework(&framework).into();
            self.journal.push(vec![vec![Write::Put { key: FRAMEWORK.to_owned(), value }]], Vec::new());
            self.framework = Some(framework.clone());
        }
        self.subscribed = true;
        self.reviving = true;
        self.reconciler.subscribed(now, self.scheduler.tasks());
        self.reconciler.due(now).into_iter().for_each(|call| step.call(call));
        self.scheduler.subscribed(&framework, master, step);
    }

    /// In a document where records are older than the kit's: an earlier program that takes over must find who it is, or it
    /// would be another framework, and everything that runs nobody's.
    fn stored_framework(&self, framework: &FrameworkId) -> String {
        if self.prefix.is_empty() {
            serde_json::json!({ "id": framework.to_string() }).to_string()
        } else {
            framework.to_string()
        }
    }

    fn on_lost(&mut self, step: &mut Step) {
        if std::mem::take(&mut self.subscribed) {
            self.reconciler.disconnected();
            self.scheduler.disconnected(step);
        }
    }

    fn on_offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        let mut open: Vec<OfferId> = offers.iter().map(|offer| offer.id.clone()).collect();
        self.scheduler.offers(offers, step);
        open.retain(|offer| !step.answered.contains(offer));
        if !open.is_empty() {
            step.call(call::decline(open, self.refuse));
        }
    }

    fn on_update(&mut self, update: &Update, mut step: Step) -> Result<(), RunError> {
        match update.state {
            TaskState::Unreachable => {
                self.reconciler.unreachable(step.now(), update.task.clone(), update.agent.clone());
            }
            _ => self.reconciler.answered(&update.task),
        }
        // A repetition waits behind the step of the first, which may still be on its way to the store.
        if self.seen.is_new(update.uuid.as_deref()) {
            self.scheduler.update(update, &mut step);
        }
        self.close(
            step,
            update.acknowledgement().map(|call| Effect::Call(Box::new(call))).into_iter().collect(),
        )
    }

    fn step(&self, now: Time) -> Step {
        Step::new(now, self.refuse, self.prefix)
    }

    fn close(&mut self, mut step: Step, more: Vec<Effect>) -> Result<(), RunError> {
        if let Some(error) = step.failed.take() {
            return Err(error);
        }
        if self.subscribed {
            let wanted = self.scheduler.wants_offers();
            if step.revived || (wanted && !self.reviving) {
                step.call(call::revive());
                self.reviving = true;
            }
            if !wanted && self.reviving {
                step.call(call::suppress());
                self.reviving = false;
            }
        }
        step.part();
        let mut effects = step.effects;
        effects.extend(more);
        if step.finished {
            effects.push(Effect::Finish);
        }
        self.accepts += accepts(&effects);
        if self.accepts == 0 {
            self.at_once.extend(effects.extract_if(.., |effect| waits_for_nothing(effect)));
        }
        self.journal.push(step.parts, effects);
        Ok(())
    }
}

/// How many tasks or operations on resources wait in these.
fn accepts(effects: &[Effect]) -> usize {
    let accept = |effect: &&Effect| matches!(effect, Effect::Call(call) if call.r#type() == Type::Accept);
    effects.iter().filter(accept).count()
}

/// Whether it is done before what leads to it is stored: no record has to speak of it, and nobody learns anything by it.
fn waits_for_nothing(effect: &Effect) -> bool {
    let kinds = [Type::Revive, Type::Suppress, Type::Decline, Type::Reconcile];
    matches!(effect, Effect::Call(call) if kinds.contains(&call.r#type()))
}

/// The updates told of late.
#[derive(Debug, Default)]
struct Seen {
    order: VecDeque<Vec<u8>>,
    known: BTreeSet<Vec<u8>>,
}

impl Seen {
    /// An update without an id is not repeated: it is always news.
    fn is_new(&mut self, uuid: Option<&[u8]>) -> bool {
        let Some(uuid) = uuid else { return true };
        if !self.known.insert(uuid.to_vec()) {
            return false;
        }
        self.order.push_back(uuid.to_vec());
        if self.order.len() > limits::UPDATES_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
