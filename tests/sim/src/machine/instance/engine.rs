//! The engine of a term: what it hears, what it stores, and what it has done.

use model::id::TaskId;
use sdk::engine::{Effect, Engine, Reply};
use sdk::scheduler::RunError;
use sdk::step::Step;
use sdk::store::Record;
use sdk::subscription::Heard as Said;
use wire::scheduler::{Call, Event};

use super::{Instance, Kind};
use crate::context::Context;
use crate::frame::Frame;
use crate::machine::Due;
use crate::machine::lanes::Lanes;
use crate::machine::subscription::Heard;
use crate::net::{ConnId, Micros, SECOND};

/// Before a master is asked again that ended the subscription, as the kit has it.
const SUBSCRIBE_AGAIN: Micros = SECOND;

impl<K: Kind> Instance<K> {
    fn engine(&mut self) -> Option<&mut Engine<Box<K::Scheduler>>> {
        self.term()?.engine.as_mut()
    }

    pub(super) fn elected(&mut self, records: Vec<Record>, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(term) = self.term() else { return };
        let (mut engine, records) = K::engine(&term.api, records, cx);
        let elected = engine.elected(now, &records);
        term.engine = Some(engine);
        self.must(elected, cx);
        self.subscribe(cx);
        self.go_on(cx);
    }

    /// What the kit ends a run for must not happen here.
    fn must(&self, outcome: Result<(), RunError>, cx: &mut Context) {
        if let Err(error) = outcome {
            cx.judge.broken(K::GOES_ON, error.to_string());
        }
    }

    fn subscribe(&mut self, cx: &mut Context) {
        let mut info = K::info(&self.address);
        let (host, masters) = (self.host, self.masters.clone());
        let Some(term) = self.term() else { return };
        info.id = term.engine.as_ref().and_then(|engine| engine.framework().map(Into::into));
        term.lanes = Some(Lanes::start(host, &masters, info, cx));
    }

    /// Runs a step of the scheduler. What comes of it is done by the next [`Self::go_on`].
    pub(in crate::machine) fn ask(
        &mut self,
        cx: &mut Context,
        ask: impl FnOnce(&mut K::Scheduler, &mut Step) -> Reply,
    ) {
        let now = cx.clock(self.host);
        let Some(engine) = self.engine() else { return };
        let asked = engine.ask(now, ask);
        self.must(asked, cx);
    }

    /// Runs a step for a caller, who has the answer when the step is stored.
    pub(in crate::machine) fn answer(
        &mut self,
        conn: ConnId,
        cx: &mut Context,
        decide: impl FnOnce(&mut K::Scheduler, &mut Step) -> Frame,
    ) {
        let Some(term) = self.term() else { return };
        term.waiting.insert(conn);
        let sender = term.answers.0.clone();
        self.ask(cx, |scheduler, step| {
            let frame = decide(scheduler, step);
            // Whoever asks an instance that leads no more is told otherwise.
            Box::new(move || drop(sender.send((conn, frame))))
        });
    }

    /// Stores what is to be stored and does what may be done, until the one waits for the other.
    pub(in crate::machine) fn go_on(&mut self, cx: &mut Context) {
        loop {
            self.tell(cx);
            let Some(term) = self.term() else { return };
            let Some(engine) = &mut term.engine else { return };
            let effects = engine.release();
            if !term.storing
                && let Some(batch) = engine.next_batch()
            {
                term.storing = true;
                term.store.commit(batch, cx);
                self.commits += 1;
            }
            if effects.is_empty() {
                return self.arm(cx);
            }
            self.execute(effects, cx);
        }
    }

    /// What was on its way to the store is there.
    pub(super) fn committed(&mut self, cx: &mut Context) {
        let Some(term) = self.term() else { return };
        term.storing = false;
        let effects = term.engine.as_mut().map(Engine::stored).unwrap_or_default();
        self.execute(effects, cx);
        self.go_on(cx);
    }

    fn execute(&mut self, effects: Vec<Effect>, cx: &mut Context) {
        for effect in effects {
            match effect {
                Effect::Call(call) => self.call(*call, cx),
                Effect::Reply(reply) => {
                    reply();
                    self.tell(cx);
                }
                Effect::Finish => cx.judge.broken(K::GOES_ON, "it has finished".to_owned()),
            }
        }
    }

    fn call(&mut self, call: Call, cx: &mut Context) {
        self.launched += sdk::call::launched(&call).len() as u64;
        self.killed += u64::from(call.kill.is_some());
        if let Some(acknowledged) = &call.acknowledge {
            cx.judge.strategy.acknowledged(&acknowledged.task_id.value, &acknowledged.uuid);
        }
        let Some(term) = self.term() else { return };
        // Without a subscription it is lost, and repeated after the next.
        let Some(lanes) = &mut term.lanes else { return };
        if let (Some(kill), Some(id)) = (&call.kill, lanes.subscription.id()) {
            cx.judge.survival.asked(&id.value, &kill.task_id.value.as_str().into());
        }
        let uncertain = lanes.send(call, cx);
        self.uncertain(uncertain, cx);
    }

    pub(super) fn uncertain(&mut self, tasks: Vec<TaskId>, cx: &mut Context) {
        if !tasks.is_empty() {
            self.said(Said::Uncertain(tasks), cx);
        }
    }

    fn said(&mut self, said: Said, cx: &mut Context) {
        let now = cx.clock(self.host);
        let Some(engine) = self.engine() else { return };
        let heard = engine.heard(now, said);
        self.must(heard, cx);
    }

    fn arm(&mut self, cx: &mut Context) {
        let Some(run) = &mut self.run else { return };
        let Some(engine) = run.term.as_ref().and_then(|term| term.engine.as_ref()) else { return };
        run.alarm.set(self.host, engine.next_deadline(), cx);
    }

    pub(super) fn wake(&mut self, cx: &mut Context) {
        let heard = self.term().and_then(|term| term.lanes.as_mut()?.subscription.wake(cx));
        self.told(heard, cx);
        let now = cx.clock(self.host);
        let Some(run) = &mut self.run else { return };
        run.alarm.rings(cx);
        let Some(term) = &mut run.term else { return };
        let Some(engine) = &mut term.engine else { return };
        let due = engine.next_deadline().is_some_and(|deadline| deadline <= now);
        let woken = if due { engine.wake(now) } else { Ok(()) };
        let again = term.lanes.is_none() && cx.now >= term.again;
        self.must(woken, cx);
        if again {
            self.subscribe(cx);
        }
        self.go_on(cx);
    }

    pub(super) fn told(&mut self, heard: Option<Heard>, cx: &mut Context) {
        let Some(lanes) = self.term().and_then(|term| term.lanes.as_mut()) else { return };
        let said = match heard {
            Some(Heard::Event(event)) => {
                let id = lanes.subscription.id().map(|id| id.value.clone());
                Self::witnessed(&event, id.as_deref(), cx);
                Said::read(event)
            }
            Some(Heard::Lost) => Some(Said::Lost { reason: "the stream is broken".to_owned() }),
            Some(Heard::Answered { conn, call, taken }) => {
                let uncertain = lanes.answered(conn, &call, taken, cx);
                self.uncertain(uncertain, cx);
                None
            }
            None => None,
        };
        let Some(term) = self.term() else { return };
        if matches!(said, Some(Said::Ended { .. })) {
            term.lanes = None;
            term.again = cx.now + SUBSCRIBE_AGAIN;
            cx.later(self.host, SUBSCRIBE_AGAIN, Due::Wake);
        }
        if let Some(said) = said {
            self.said(said, cx);
        }
        self.go_on(cx);
    }

    /// Tells the judge what the framework of this id was told.
    fn witnessed(event: &Event, framework: Option<&str>, cx: &mut Context) {
        if let Some(subscribed) = &event.subscribed {
            cx.judge.facts.subscribed(subscribed.framework_id.value.as_str().into());
        }
        if let (Some(update), Some(framework)) = (&event.update, framework) {
            cx.judge.updates.received(framework, &update.status);
            K::updated(&update.status, cx);
        }
    }
}
