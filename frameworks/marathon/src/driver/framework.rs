//! The supervisor as the kit runs it: what is heard goes in as inputs, effects go into steps.

use std::fmt;
use std::sync::Arc;

use model::time::Time;
use sdk::offer::Offer;
use sdk::scheduler::{Records, Scheduler};
use sdk::step::Step;
use sdk::update::Update;
use sdk::{AgentId, Failure, FrameworkId, TaskId, call};

use super::scheduler;
use crate::supervisor::message::{
    Call, Command, Effect, Input, Operation, Origin, Published, Record, Refusal, Reply,
};
use crate::supervisor::state::State;
use crate::supervisor::{Settings, Supervisor};

/// What readers are shown of a leader.
pub trait Windows: Send + Sync + 'static {
    /// Events that are stored, in order. The first of a term are those that earlier leaders kept.
    fn publish(&self, events: Vec<Arc<Published>>);
    /// What is stored, from now on.
    fn show(&self, view: Arc<State>);
    /// This instance leads no more.
    fn close(&self);
}

/// The supervisor, and its readers. Passive: whoever runs the kit runs it.
pub struct Framework {
    supervisor: Supervisor,
    windows: Arc<dyn Windows>,
    /// Seeds for the ids of a term, each random and never given twice.
    seeds: Box<dyn FnMut() -> [u64; 2] + Send>,
    effects: Vec<Effect>,
}

impl fmt::Debug for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framework").field("supervisor", &self.supervisor).finish_non_exhaustive()
    }
}

impl Framework {
    /// One that knows nothing yet. `seeds` gives what the ids of a term are made of: random, and never the same twice.
    pub fn new(
        settings: Settings,
        windows: Arc<dyn Windows>,
        seeds: impl FnMut() -> [u64; 2] + Send + 'static,
    ) -> Self {
        Self { supervisor: Supervisor::new(settings), windows, seeds: Box::new(seeds), effects: Vec::new() }
    }

    /// Does what the API asks for, or says why not; to be told when the step is stored.
    ///
    /// # Errors
    /// Nothing of it was done.
    pub fn command(&mut self, origin: &Origin, command: Command, step: &mut Step) -> Result<Reply, Refusal> {
        let mut effects = std::mem::take(&mut self.effects);
        let answer = self.supervisor.command(step.now(), origin, command, &mut effects);
        self.carry_out(effects, step);
        answer
    }

    /// A load balancer listens that is to be waited for before an instance is killed.
    pub fn drainer_connected(&mut self, name: String, step: &mut Step) {
        self.input(Input::DrainerConnected { name }, step);
    }

    /// It is gone.
    pub fn drainer_disconnected(&mut self, name: String, step: &mut Step) {
        self.input(Input::DrainerDisconnected { name }, step);
    }

    /// The supervisor, to look at.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    fn input(&mut self, input: Input, step: &mut Step) {
        let mut effects = std::mem::take(&mut self.effects);
        self.supervisor.handle(step.now(), input, &mut effects);
        self.carry_out(effects, step);
    }

    fn carry_out(&mut self, mut effects: Vec<Effect>, step: &mut Step) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Store(operations) => store(operations, step),
                Effect::Call(Call::Revive) => step.revive(),
                Effect::Call(Call::Accept { offer, launches, refuse }) => {
                    let tasks = launches.into_iter().map(scheduler::task_info).collect();
                    step.call(call::accept(vec![offer], vec![call::launch(tasks)], refuse));
                }
                Effect::Call(Call::Decline { offers, refuse }) => step.call(call::decline(offers, refuse)),
                Effect::Call(Call::Kill(kill)) => {
                    step.call(call::kill(kill.task, Some(kill.agent), kill.grace));
                }
                Effect::Publish(events) => {
                    let windows = Arc::clone(&self.windows);
                    step.then(move || windows.publish(events));
                }
                Effect::View(view) => {
                    let windows = Arc::clone(&self.windows);
                    step.then(move || windows.show(view));
                }
            }
        }
        self.effects = effects;
    }
}

/// Writes that are stored at once, or not at all.
fn store(operations: Vec<Operation>, step: &mut Step) {
    for operation in operations {
        match operation {
            Operation::Put { key, value } => step.put_bytes(key, value),
            Operation::Delete { key } => step.delete(&key),
        }
    }
    step.part();
}

impl Scheduler for Framework {
    fn elected(&mut self, records: &Records, step: &mut Step) -> Result<(), Failure> {
        let record = |(key, value): (&str, &[u8])| Record { key: key.to_owned(), value: value.to_vec() };
        let input = Input::Elected { seed: (self.seeds)(), records: records.raw().map(record).collect() };
        let mut effects = std::mem::take(&mut self.effects);
        self.supervisor.handle(step.now(), input, &mut effects);
        // What was stored before is shown before what the new leader changes is stored.
        let stored =
            effects.iter().position(|effect| !matches!(effect, Effect::View(_) | Effect::Publish(_)));
        let changed = effects.split_off(stored.unwrap_or(effects.len()));
        for effect in effects {
            match effect {
                Effect::Publish(events) => self.windows.publish(events),
                Effect::View(view) => self.windows.show(view),
                Effect::Store(_) | Effect::Call(_) => {}
            }
        }
        self.carry_out(changed, step);
        Ok(())
    }

    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
        self.supervisor.tasks().map(|(task, agent)| (task, Some(agent))).collect()
    }

    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        // The supervisor says of each what becomes of it.
        offers.iter().for_each(|offer| step.keep(offer));
        self.input(Input::Offers(offers.into_iter().map(scheduler::offer).collect()), step);
    }

    fn update(&mut self, update: &Update, step: &mut Step) {
        self.input(Input::Update(scheduler::update(update)), step);
    }

    fn wants_offers(&self) -> bool {
        self.supervisor.wants_offers()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.supervisor.next_deadline()
    }

    fn wake(&mut self, step: &mut Step) {
        self.input(Input::Wake, step);
    }

    fn subscribed(&mut self, framework: &FrameworkId, master: &str, step: &mut Step) {
        let input = Input::Subscribed { framework: framework.clone(), master: master.to_owned() };
        self.input(input, step);
    }

    fn disconnected(&mut self, step: &mut Step) {
        self.input(Input::Disconnected, step);
    }

    fn removed(&mut self, step: &mut Step) {
        self.input(Input::FrameworkRemoved, step);
    }

    fn deposed(&mut self) {
        self.windows.close();
        // A deposed supervisor forgets, and asks for nothing.
        self.supervisor.handle(Time::ZERO, Input::Deposed, &mut Vec::new());
    }
}
