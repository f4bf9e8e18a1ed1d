//! The scheduler as the kit runs it: events in, effects into steps.

use sdk::offer::Offer;
use sdk::scheduler::{Records, Scheduler as Framework};
use sdk::step::Step;
use sdk::update::Update;
use sdk::{AgentId, Failure, FrameworkId, TaskId, Time};
use tokio::sync::watch;

use super::task;
use crate::core::book::Book;
use crate::core::definition::Definition;
use crate::core::job::Job;
use crate::core::message::{Command, Effect, Input, Notice, Reply, TaskUpdate};
use crate::core::refusal::Refusal;
use crate::core::scheduler::{Scheduler, Settings};
use crate::core::stored::Stored;
use crate::notify::{Channel, Channels, Next, Outbox, Outcome, Posted};

/// Letters that wait, by number. The rest of the records are the core's.
const LETTER: &str = "letter/";

/// The scheduler, and the letters it wants sent. Passive: whoever runs the kit runs it.
pub struct Batch {
    core: Scheduler,
    user: String,
    effects: Vec<Effect>,
    channels: Channels,
    outbox: Outbox,
    /// Rings when there may be a letter to send.
    bell: watch::Sender<()>,
    /// Its id with the masters, once they have taken it.
    framework: Option<FrameworkId>,
}

impl Batch {
    /// One that knows nothing yet. `user` is whom tasks run as whose jobs name none; letters go over `channels`.
    pub fn new(settings: Settings, user: &str, channels: Channels) -> Self {
        Self {
            core: Scheduler::new(settings),
            user: user.to_owned(),
            effects: Vec::new(),
            channels,
            outbox: Outbox::default(),
            bell: watch::Sender::new(()),
            framework: None,
        }
    }

    pub(crate) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Does what the API asks, or says why not; to be told when the step is stored.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn command(&mut self, command: Command, step: &mut Step) -> Result<Reply, Refusal> {
        let mut effects = std::mem::take(&mut self.effects);
        let reply = self.core.command(step.now(), command, &mut effects);
        self.carry_out(effects, step);
        reply
    }

    /// The job that a definition would become; nothing changes.
    pub(crate) fn check(&self, definition: Definition) -> Result<Job, Refusal> {
        self.core.check(super::now(), definition)
    }

    /// All jobs and runs as they are now.
    pub fn book(&self) -> Book {
        self.core.book().clone()
    }

    pub(crate) fn framework(&self) -> Option<FrameworkId> {
        self.framework.clone()
    }

    pub(crate) fn queued(&self) -> (usize, usize) {
        self.core.queued()
    }

    pub(crate) fn considered(&self) -> u64 {
        self.core.considered()
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    pub(crate) fn next_letter(&mut self, channel: Channel, step: &Step) -> Next {
        self.outbox.next(step.now(), channel)
    }

    /// How sending a letter ended: what is done with is forgotten.
    pub(crate) fn letter_ended(&mut self, number: u64, outcome: Outcome, step: &mut Step) {
        if self.outbox.ended(step.now(), number, outcome) {
            step.delete(&letter_key(number));
        }
    }

    fn notify(&mut self, notice: &Notice, step: &mut Step) {
        let name = &notice.definition.name;
        let (owner, event, message) = (&notice.definition.owner, notice.event, &notice.message);
        tracing::info!(job = name, owner, ?event, message, "a job's owner may want to know");
        let status = self.core.book().job(name).map(|job| job.status.clone()).unwrap_or_default();
        for letter in self.channels.letters(notice, &status) {
            let channel = letter.channel.name();
            match self.outbox.post(step.now(), letter) {
                Some((number, posted)) => step.put(letter_key(number), posted),
                None => {
                    tracing::error!(channel, job = name, "too many notifications wait: this one is dropped")
                }
            }
        }
        self.bell.send_replace(());
    }

    /// Takes out of the records what an earlier leader did not send. What no channel here sends is removed.
    fn restore_letters(&mut self, records: &Records, step: &mut Step) -> Result<(), Failure> {
        self.outbox = Outbox::default();
        for (number, value) in records.under::<serde_json::Value>(LETTER)? {
            let posted = serde_json::from_value::<Posted>(value);
            match (number.parse(), posted) {
                (Ok(number), Ok(posted))
                    if self.channels.open().any(|open| open == posted.letter.channel) =>
                {
                    self.outbox.restore(number, posted);
                }
                _ => {
                    let key = format!("{LETTER}{number}");
                    tracing::warn!(key, "a notification that no channel sends is removed");
                    step.delete(&key);
                }
            }
        }
        self.bell.send_replace(());
        Ok(())
    }

    fn input(&mut self, input: Input, step: &mut Step) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(step.now(), input, &mut effects);
        self.carry_out(effects, step);
    }

    fn carry_out(&mut self, mut effects: Vec<Effect>, step: &mut Step) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Put { key, value } => step.put(key, &value),
                Effect::Remove { key } => step.delete(&key),
                Effect::Launch { offer, launches } => {
                    let tasks = launches.into_iter().map(|launch| task::describe(launch, &self.user));
                    step.launch(offer, tasks.collect());
                }
                Effect::Kill { task, agent } => step.kill(&task, Some(&agent)),
                Effect::Revive => step.revive(),
                Effect::Notify(notice) => self.notify(&notice, step),
            }
        }
        self.effects = effects;
    }
}

impl Framework for Batch {
    fn elected(&mut self, records: &Records, step: &mut Step) -> Result<(), Failure> {
        tracing::info!(records = records.len(), "taking over");
        self.restore_letters(records, step)?;
        let stored = read(records);
        self.input(Input::Restored(stored), step);
        tracing::info!(jobs = self.core.book().jobs.len(), "took over");
        for record in self.core.unreadable() {
            tracing::error!(record, "a stored record cannot be read and is left alone");
        }
        Ok(())
    }

    fn tasks(&self) -> Vec<(TaskId, Option<AgentId>)> {
        self.core.tasks().into_iter().map(|(task, agent)| (task, Some(agent))).collect()
    }

    fn offers(&mut self, offers: Vec<Offer>, step: &mut Step) {
        self.input(Input::Offers(offers), step);
    }

    fn update(&mut self, update: &Update, step: &mut Step) {
        let update = TaskUpdate {
            task: update.task.clone(),
            agent: update.agent.clone(),
            state: update.state,
            message: update.message.clone(),
        };
        self.input(Input::Update(update), step);
    }

    fn subscribed(&mut self, framework: &FrameworkId, _master: &str, _step: &mut Step) {
        self.framework = Some(framework.clone());
    }

    fn wants_offers(&self) -> bool {
        self.core.wants_offers()
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline()
    }

    fn wake(&mut self, step: &mut Step) {
        self.input(Input::Wake, step);
    }

    fn deposed(&mut self) {
        self.core.handle(Time::ZERO, Input::Deposed, &mut Vec::new());
    }
}

/// Reads all records, on all processors: a hundred thousand jobs take a second on one, and nobody is scheduled meanwhile.
fn read(records: &Records) -> Vec<Stored> {
    let all: Vec<(&str, &[u8])> = records.raw().filter(|(key, _)| !key.starts_with(LETTER)).collect();
    if all.len() <= RECORDS_OF_A_THREAD {
        return all.iter().map(|(key, value)| Stored::read(key, value)).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = all.len().div_ceil(threads).max(RECORDS_OF_A_THREAD);
    std::thread::scope(|scope| {
        let readers: Vec<_> = all
            .chunks(share)
            .map(|share| {
                let read = move || share.iter().map(|(key, value)| Stored::read(key, value)).collect();
                scope.spawn(read)
            })
            .collect();
        let read = readers.into_iter().map(|reader| match reader.join() {
            Ok(stored) => stored,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        read.collect::<Vec<Vec<Stored>>>().into_iter().flatten().collect()
    })
}

/// Fewer are read sooner than a thread is made.
const RECORDS_OF_A_THREAD: usize = 1000;

/// Numbers in order are keys in order.
fn letter_key(number: u64) -> String {
    format!("{LETTER}{number:020}")
}
