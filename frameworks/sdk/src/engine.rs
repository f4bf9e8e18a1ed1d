//! A scheduler at work, without IO: what is heard goes in, what is to be stored and done comes out, in order.

use std::collections::{BTreeSet, VecDeque};

use model::id::{AgentId, FrameworkId, OfferId, TaskId};
use model::time::{Span, Time};
use wire::scheduler::Call;

use crate::journal::Journal;
use crate::offer::Offer;
use crate::reconcile::Reconciler;
use crate::scheduler::{Records, RunError, Scheduler};
use crate::step::Step;
use crate::store::Write;
use crate::subscription::Heard;
use crate::update::Update;
use crate::{call, limits};

/// The key of the framework's id.
pub(crate) const FRAMEWORK: &str = "framework";

/// Told to whoever asked.
pub(crate) type Reply = Box<dyn FnOnce() + Send>;

/// What is done when its turn comes.
pub(crate) enum Effect {
    Call(Box<Call>),
    Reply(Reply),
    /// The framework leaves and the run ends.
    Finish,
}

/// One term of leadership.
pub(crate) struct Engine<'a, S> {
    scheduler: &'a mut S,
    journal: Journal<Effect>,
    reconciler: Reconciler,
    seen: Seen,
    framework: Option<FrameworkId>,
    subscribed: bool,
    /// Whether offers are asked for, as the master sees it.
    reviving: bool,
    refuse: Span,
}

impl<'a, S: Scheduler> Engine<'a, S> {
    pub(crate) fn new(scheduler: &'a mut S, framework: Option<FrameworkId>, refuse: Span) -> Self {
        Self {
            scheduler,
            journal: Journal::new(),
            reconciler: Reconciler::default(),
            seen: Seen::default(),
            framework,
            subscribed: false,
            reviving: true,
            refuse,
        }
    }

    pub(crate) fn elected(&mut self, now: Time, records: &Records) -> Result<(), RunError> {
        let mut step = self.step(now);
        self.scheduler.elected(records, &mut step).map_err(RunError::Scheduler)?;
        self.close(step, Vec::new())
    }

    pub(crate) fn framework(&self) -> Option<&FrameworkId> {
        self.framework.as_ref()
    }

    /// Whether more may be heard.
    pub(crate) fn has_room(&self) -> bool {
        self.journal.len() < limits::STEPS
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.scheduler.next_deadline().into_iter().chain(self.reconciler.next_deadline()).min()
    }

    /// What may be done now.
    pub(crate) fn release(&mut self) -> Vec<Effect> {
        self.journal.release()
    }

    /// What is to be stored next.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<Write>> {
        self.journal.next_batch()
    }

    /// It is stored.
    pub(crate) fn stored(&mut self) -> Vec<Effect> {
        self.journal.stored()
    }

    pub(crate) fn wake(&mut self, now: Time) -> Result<(), RunError> {
        let due = self.reconciler.due(now);
        let mut step = self.step(now);
        if self.scheduler.next_deadline().is_some_and(|at| now >= at) {
            self.scheduler.wake(&mut step);
        }
        step.calls.extend(due);
        self.close(step, Vec::new())
    }

    pub(crate) fn ask(
        &mut self,
        now: Time,
        ask: impl FnOnce(&mut S, &mut Step) -> Reply,
    ) -> Result<(), RunError> {
        let mut step = self.step(now);
        let reply = ask(self.scheduler, &mut step);
        self.close(step, vec![Effect::Reply(reply)])
    }

    pub(crate) fn heard(&mut self, now: Time, heard: Heard) -> Result<(), RunError> {
        let mut step = self.step(now);
        match heard {
            Heard::Subscribed { framework, .. } => self.on_subscribed(now, framework, &mut step),
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
                self.on_lost(&mut step);
                if removed {
                    self.framework = None;
                    self.journal.push(vec![Write::Delete { key: FRAMEWORK.to_owned() }], Vec::new());
                }
            }
        }
        self.close(step, Vec::new())
    }

    fn on_subscribed(&mut self, now: Time, framework: FrameworkId, step: &mut Step) {
        if self.framework.as_ref() != Some(&framework) {
            // Before anything is launched: the next instance must come as the same framework.
            let value = framework.to_string().into();
            self.journal.push(vec![Write::Put { key: FRAMEWORK.to_owned(), value }], Vec::new());
            self.framework = Some(framework.clone());
        }
        self.subscribed = true;
        self.reviving = true;
        self.reconciler.subscribed(now, self.scheduler.tasks());
        step.calls.extend(self.reconciler.due(now));
        self.scheduler.subscribed(&framework, step);
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
            step.calls.push(call::decline(open, self.refuse));
        }
    }

    fn on_update(&mut self, update: &Update, mut step: Step) -> Result<(), RunError> {
        self.reconciler.answered(&update.task);
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
        Step::new(now, self.refuse)
    }

    fn close(&mut self, mut step: Step, more: Vec<Effect>) -> Result<(), RunError> {
        if let Some(error) = step.failed.take() {
            return Err(error);
        }
        if self.subscribed {
            let wanted = self.scheduler.wants_offers();
            if step.revived || (wanted && !self.reviving) {
                step.calls.push(call::revive());
                self.reviving = true;
            }
            if !wanted && self.reviving {
                step.calls.push(call::suppress());
                self.reviving = false;
            }
        }
        let mut effects: Vec<Effect> =
            step.calls.into_iter().map(|call| Effect::Call(Box::new(call))).collect();
        effects.extend(more);
        if step.finished {
            effects.push(Effect::Finish);
        }
        self.journal.push(step.writes, effects);
        Ok(())
    }
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
