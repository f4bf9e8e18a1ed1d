//! A term of leadership, from reading the records to the end of the lease.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use model::time::Time;
use sdk::leadership::{Fence, Standing};
use sdk::store::Store;
use sdk::subscription::{Heard, Subscription};
use sdk::terms::Leader;
use sdk::{Masters, State as KeyValues};
use tokio::sync::{mpsc, watch};

use super::engine::{Engine, Outside, Request};
use super::{Config, scheduler, store};
use crate::supervisor::message::{Call, Commit, Input};

/// What outlasts the terms: the supervisor, and those who ask it.
pub(super) struct Office<'a> {
    pub(super) config: &'a Config,
    pub(super) masters: &'a Masters,
    pub(super) state: &'a KeyValues,
    pub(super) engine: Engine,
    pub(super) requests: mpsc::Receiver<Request>,
}

impl Leader for Office<'_> {
    type Done = Infallible;

    async fn lead(&mut self, fence: Fence, mut standing: watch::Receiver<Standing>) -> Option<Infallible> {
        let ours = Standing::Leading(fence.clone());
        let store = Store::new(self.state.clone(), fence);
        let records = tokio::select! {
            records = store::load(&store) => records,
            _ = standing.wait_for(|standing| *standing != ours) => return None,
        };
        let (inputs, mut results) = mpsc::channel(16);
        let mut world =
            World { config: self.config, masters: self.masters, store, inputs, subscription: None };
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        self.engine.input(now(), Input::Elected { seed: [high, low], records }, &mut world);
        loop {
            let input = tokio::select! {
                _ = standing.wait_for(|standing| *standing != ours) => return None,
                Some(request) = self.requests.recv() => {
                    self.engine.request(now(), request, &mut world);
                    continue;
                }
                Some(result) = results.recv() => result,
                heard = world.heard() => scheduler::input(heard),
                () = until(self.engine.next_deadline()) => Input::Wake,
            };
            if matches!(input, Input::Deposed) {
                return None;
            }
            self.engine.input(now(), input, &mut world);
        }
    }

    fn step_down(&mut self) {
        self.engine.abandon();
        // Whoever still waits was asking a leader that is gone.
        while self.requests.try_recv().is_ok() {}
    }
}

/// Milliseconds since the Unix epoch: versions and timestamps are made of it.
pub(crate) fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

async fn until(deadline: Option<Time>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(now()).as_duration()).await,
        None => std::future::pending().await,
    }
}

/// The store and the master, as the supervisor's effects reach them.
struct World<'a> {
    config: &'a Config,
    masters: &'a Masters,
    store: Store,
    inputs: mpsc::Sender<Input>,
    subscription: Option<Subscription>,
}

impl World<'_> {
    async fn heard(&mut self) -> Heard {
        let heard = match &mut self.subscription {
            Some(subscription) => subscription.next().await,
            None => std::future::pending().await,
        };
        if matches!(heard, Heard::Ended { .. }) {
            self.subscription = None;
        }
        heard
    }
}

impl Outside for World<'_> {
    fn commit(&mut self, commit: Commit) {
        tokio::spawn(store::commit(self.store.clone(), commit, self.inputs.clone()));
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Subscribe { framework } => {
                let info = scheduler::framework_info(&self.config.role, &self.config.advertise, framework);
                self.subscription = Some(Subscription::start(self.masters.clone(), info));
            }
            Call::Disconnect => self.subscription = None,
            call => {
                if let Some((subscription, call)) = self.subscription.as_ref().zip(scheduler::message(call)) {
                    subscription.send(call);
                }
            }
        }
    }
}
