//! A term of leadership: reads the records, then lets the engine, the store and the subscription talk to each other.

use std::future::Future;
use std::pin::Pin;

use client::Masters;
use client::scheduler::CallError;
use client::state::State;
use model::id::FrameworkId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::engine::{self, Effect, Engine, FRAMEWORK};
use crate::leadership::{Fence, Standing};
use crate::scheduler::{Desk, Records, RunError, Scheduler, Settings};
use crate::store::{CommitError, Store, Write};
use crate::subscription::{Heard, Subscription};
use crate::terms::Leader;
use crate::{call, limits};

type Committing = Pin<Box<dyn Future<Output = Result<u64, CommitError>> + Send>>;

/// What outlasts the terms.
pub(crate) struct Office<S> {
    settings: Settings,
    masters: Masters,
    state: State,
    scheduler: S,
    desk: Desk<S>,
}

impl<S: Scheduler> Office<S> {
    pub(crate) fn new(
        settings: Settings,
        masters: Masters,
        state: State,
        scheduler: S,
        desk: Desk<S>,
    ) -> Self {
        Self { settings, masters, state, scheduler, desk }
    }

    pub(crate) fn into_scheduler(self) -> S {
        self.scheduler
    }
}

impl<S: Scheduler> Leader for Office<S> {
    type Done = Result<(), RunError>;

    async fn lead(
        &mut self,
        fence: Fence,
        mut standing: watch::Receiver<Standing>,
    ) -> Option<Result<(), RunError>> {
        let ours = Standing::Leading(fence.clone());
        let store = Store::new(self.state.clone(), fence);
        let term = async {
            match self.term(store).await {
                Ok(()) => Some(Ok(())),
                Err(End::Deposed) => None,
                Err(End::Failed(error)) => Some(Err(error)),
            }
        };
        tokio::select! {
            done = term => done,
            _ = standing.wait_for(|standing| *standing != ours) => None,
        }
    }

    fn step_down(&mut self) {
        self.scheduler.deposed();
        // Whoever still waits was asking a leader that is gone.
        self.desk.clear();
    }
}

/// Why a term is over before its work is done.
enum End {
    Deposed,
    Failed(RunError),
}

impl From<RunError> for End {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}

impl From<CommitError> for End {
    fn from(_: CommitError) -> Self {
        // The journal makes batches that fit, so the only refusal there is, is the fence's.
        Self::Deposed
    }
}

impl<S: Scheduler> Office<S> {
    /// `Ok` when the scheduler has finished.
    async fn term(&mut self, store: Store) -> Result<(), End> {
        let stored = store.load_at_last("").await;
        let (framework, prefix) = (engine::framework(&stored), self.settings.records);
        let mut engine =
            Engine::new(&mut self.scheduler, framework, self.settings.refuse).with_prefix(prefix);
        let clock = Clock::start();
        let mut look = tokio::time::interval(limits::CLOCK_LOOK);
        engine.elected(clock.now(), &Records::under_prefix(prefix, stored))?;
        let mut link =
            Link { settings: &self.settings, masters: &self.masters, open: None, again: Instant::now() };
        link.open(engine.framework());
        let mut committing: Option<Committing> = None;
        loop {
            let mut effects = engine.release();
            if committing.is_none()
                && let Some(batch) = engine.next_batch()
            {
                let store = store.clone();
                committing = Some(Box::pin(async move { store.commit_at_last(batch).await }));
            }
            if effects.is_empty() {
                tokio::select! {
                    stored = committed(&mut committing) => {
                        stored?;
                        effects = engine.stored();
                    }
                    heard = link.next(), if engine.has_room() => match heard {
                        Some(heard) => engine.heard(clock.now(), heard)?,
                        None => link.open(engine.framework()),
                    },
                    ask = self.desk.next(), if engine.has_room() => engine.ask(clock.now(), ask)?,
                    () = clock.until(engine.next_deadline()), if engine.has_room() => engine.wake(clock.now())?,
                    _ = look.tick() => if clock.has_strayed() {
                        tracing::warn!("the clock of this machine was set: this term ends, and the next begins with it");
                        return Err(End::Deposed);
                    },
                }
            }
            for effect in effects {
                match effect {
                    Effect::Call(call) => link.send(*call),
                    Effect::Reply(reply) => reply(),
                    Effect::Finish => {
                        link.leave().await;
                        store.commit_at_last(vec![Write::Delete { key: FRAMEWORK.to_owned() }]).await?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// The outcome of the write that is on its way.
async fn committed(committing: &mut Option<Committing>) -> Result<u64, CommitError> {
    match committing {
        Some(write) => {
            let outcome = write.await;
            *committing = None;
            outcome
        }
        None => std::future::pending().await,
    }
}

/// The way to the master: a subscription, or the time of the next.
struct Link<'a> {
    settings: &'a Settings,
    masters: &'a Masters,
    open: Option<Subscription>,
    /// When to subscribe anew, while there is no subscription.
    again: Instant,
}

impl Link<'_> {
    fn open(&mut self, framework: Option<&FrameworkId>) {
        let mut info = self.settings.info.clone();
        info.id = framework.map(Into::into);
        self.open = Some(Subscription::start(self.masters.clone(), info));
    }

    /// What is heard next; `None` when it is time to subscribe anew.
    async fn next(&mut self) -> Option<Heard> {
        let Some(subscription) = &mut self.open else {
            tokio::time::sleep_until(self.again).await;
            return None;
        };
        let heard = subscription.next().await;
        self.note(&heard);
        Some(heard)
    }

    fn note(&mut self, heard: &Heard) {
        match heard {
            Heard::Lost { reason } => tracing::warn!(reason, "the subscription is broken"),
            Heard::Ended { message, .. } => {
                tracing::error!(message, "the master ended the subscription");
                self.open = None;
                self.again = Instant::now() + limits::SUBSCRIBE_AGAIN;
            }
            Heard::Subscribed { framework, master } => tracing::info!(%framework, master, "subscribed"),
            _ => {}
        }
    }

    fn send(&self, call: wire::scheduler::Call) {
        if let Some(subscription) = &self.open {
            subscription.send(call);
        }
    }

    /// Takes the framework out of the cluster: tried until a master has taken it, or says that it is gone.
    async fn leave(&mut self) {
        while let Some(subscription) = &self.open {
            match subscription.call(call::teardown()).await {
                Ok(()) => return,
                Err(CallError::NotSubscribed) => {}
                Err(error) => tracing::warn!(%error, "the framework has not left yet"),
            }
            // Whatever is heard, it is worth another try; so it is after some silence.
            let _ = tokio::time::timeout(limits::SUBSCRIBE_AGAIN, self.next()).await;
        }
    }
}
