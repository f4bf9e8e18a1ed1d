//! Taking over and giving up, and what the connection to the master brings.

use std::sync::Arc;

use model::id::{AgentId, FrameworkId, TaskId};
use model::time::{Span, Time};
use wire::marathon::Event;

use super::message::{Call, Effect, Published, Record};
use super::record::{self, Key};
use super::{Supervisor, Timer};
use crate::core::drain::Drains;
use crate::core::events;
use crate::core::id::{AppId, InstanceId};
use crate::core::instance::{Condition, Instance};
use crate::core::random::Random;
use crate::limits;

impl Supervisor {
    /// Reads what is stored and goes on from there. Nothing is killed or launched because something is not known:
    /// the master is asked about every task, and health stays as it was last reported.
    pub(super) fn elected(&mut self, now: Time, seed: [u64; 2], records: &[Record], out: &mut Vec<Effect>) {
        let loaded = record::decode(records);
        for key in &loaded.unreadable {
            tracing::error!(%key, "a stored record cannot be read and is left alone");
        }
        *self = Self::new(self.settings.clone());
        self.leading = true;
        self.random = Random::new(seed);
        self.journal = super::journal::Journal::with_window(&loaded.events);
        self.state = loaded.state;
        let expected_until = self.drain_deadline(now);
        self.state.drains = Arc::new(Drains::expecting(loaded.drainers, expected_until));
        self.timers.set(Timer::ForgetDrainers, expected_until);
        let events = loaded.events.into_iter().flat_map(|record| {
            (record.first..).zip(record.events).filter_map(|(number, (kind, payload))| {
                Some(Arc::new(Published { number, kind: events::kind(&kind)?, payload }))
            })
        });
        out.push(Effect::Publish(events.collect()));
        out.push(Effect::View(Arc::new(self.state.clone())));
        let instances: Vec<Arc<Instance>> = self.state.instances.values().cloned().collect();
        for instance in &instances {
            self.take_over(now, instance);
        }
        self.touched.extend(self.state.apps.keys().cloned());
        self.touched.extend(instances.iter().map(|instance| instance.app.clone()));
        self.continue_deployments(now);
        out.push(Effect::Call(Call::Subscribe { framework: self.state.framework.clone() }));
    }

    /// Sets the timers that the instance's state asks for.
    fn take_over(&mut self, now: Time, instance: &Instance) {
        let (app, id) = (&instance.app, &instance.id);
        match instance.condition {
            Condition::Scheduled => self.now_scheduled(app, id),
            Condition::Provisioned | Condition::Staging | Condition::Starting => {
                let at = instance.since.min(now) + limits::LAUNCH_TIMEOUT;
                self.timers.set(Timer::Overdue(app.clone(), id.clone()), at);
            }
            Condition::Unreachable | Condition::UnreachableInactive => {
                self.timers.set(Timer::Unreachable(app.clone(), id.clone()), now);
            }
            _ => {}
        }
        #[cfg(feature = "mutants")]
        if mutant::planted("new-leader-ends-what-runs") && instance.condition == Condition::Running {
            self.end_task(now, app, id);
        }
        if let Some(task) = &instance.task {
            // The old leader may have waited for load balancers; they get the rest of their time.
            // By the old leader's clock: were it ahead of ours, the instance would be left to run until ours got there.
            let latest = self.drain_deadline(now);
            let kill_by = task.kill_by.map(|at| at.min(latest)).or((!instance.is_wanted()).then_some(now));
            if let Some(at) = kill_by.filter(|_| !instance.condition.is_unreachable()) {
                self.timers.set(Timer::KillBy(app.clone(), id.clone()), at);
            }
            self.timers.set_earlier(Timer::HealthKill(app.clone(), id.clone()), now);
        }
    }

    /// Forgets everything: the next leader may already have changed it.
    pub(super) fn deposed(&mut self, out: &mut Vec<Effect>) {
        *self = Self::new(self.settings.clone());
        out.push(Effect::Call(Call::Disconnect));
    }

    pub(super) fn subscribed(
        &mut self,
        now: Time,
        framework: FrameworkId,
        master: String,
        out: &mut Vec<Effect>,
    ) {
        self.subscribed = true;
        self.interest.suppressed = false;
        self.interest.revived_at = None;
        let known = self.state.framework.as_ref() == Some(&framework);
        let event = if known {
            Event::SchedulerReregisteredEvent { master }
        } else {
            self.state.framework = Some(framework.clone());
            self.journal.touch(Key::Framework);
            Event::SchedulerRegisteredEvent { framework_id: framework.to_string(), master }
        };
        self.emit(now, &event);
        self.reconcile_all(now, out);
    }

    pub(super) fn disconnected(&mut self, now: Time) {
        if std::mem::take(&mut self.subscribed) {
            self.emit(now, &Event::SchedulerDisconnectedEvent {});
        }
    }

    /// The master ended the subscription, and no connection is left that could come back by itself. While this instance
    /// leads the subscription is its own: a request of an earlier leader that was long on its way must not silence it.
    pub(super) fn unsubscribed(&mut self, now: Time) {
        self.disconnected(now);
        self.timers.set(Timer::Subscribe, now + limits::SUBSCRIBE_AGAIN);
    }

    /// The master ended the framework, and with it every task.
    pub(super) fn framework_removed(&mut self, now: Time) {
        self.subscribed = false;
        self.state.framework = None;
        self.journal.touch(Key::Framework);
        let lost: Vec<(AppId, InstanceId)> = self
            .state
            .instances
            .values()
            .filter(|instance| instance.task.is_some())
            .map(|instance| (instance.app.clone(), instance.id.clone()))
            .collect();
        for (app, id) in lost {
            self.journal.begin();
            self.task_ended(now, &app, &id, Condition::Gone);
        }
        self.hold_call(Call::Subscribe { framework: None });
    }

    /// Asks about every task: by name, so that the master answers for those it does not know, and in general, so
    /// that it tells of those we do not know.
    pub(super) fn reconcile_all(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.timers.set(Timer::Reconcile, now + limits::RECONCILE_INTERVAL);
        if !self.subscribed {
            return;
        }
        let with_task = self.state.instances.values().filter(|instance| instance.task.is_some());
        #[cfg(feature = "mutants")]
        if mutant::planted("nobody-asks-about-tasks") {
            return;
        }
        self.unconfirmed = with_task.map(|instance| (instance.app.clone(), instance.id.clone())).collect();
        out.push(Effect::Call(Call::Reconcile { tasks: Vec::new() }));
        self.confirm(now, out);
    }

    /// Nobody knows whether these were launched: the master is asked, a little later, as they may be on their way.
    pub(super) fn uncertain(&mut self, now: Time, tasks: &[TaskId]) {
        let instances = tasks.iter().filter_map(|task| self.state.instance_of_task(task.as_str()));
        self.unconfirmed.extend(instances.map(|instance| (instance.app.clone(), instance.id.clone())));
        self.timers.set_earlier(Timer::Confirm, now + limits::CONFIRM_INTERVAL);
    }

    /// Asks once more about tasks that the master has not spoken of. A new master says nothing about tasks on agents
    /// that are still on their way back to it.
    pub(super) fn confirm(&mut self, now: Time, out: &mut Vec<Effect>) {
        if !self.subscribed || self.unconfirmed.is_empty() {
            return;
        }
        // Asked about a launch that is not sent yet the master says that there is no such task. Then the launch follows, and
        // what it starts is nobody's.
        let unsent = self.journal.unsent_launches();
        let task = |key: &(AppId, InstanceId)| {
            let instance = self.state.instances.get(key)?;
            // A launch that was only just decided may be unknown to the master for a good reason.
            let fresh = instance.condition == Condition::Provisioned
                && (instance.since..instance.since + limits::CONFIRM_INTERVAL).contains(&now);
            let task = instance.task.as_ref().filter(|task| !fresh && !unsent.contains(&task.id))?;
            Some((task.id.clone(), task.agent.clone()))
        };
        let tasks: Vec<(TaskId, AgentId)> = self.unconfirmed.iter().filter_map(task).collect();
        for tasks in tasks.chunks(limits::RECONCILE_TASKS) {
            out.push(Effect::Call(Call::Reconcile { tasks: tasks.to_vec() }));
        }
        self.timers.set(Timer::Confirm, now + limits::CONFIRM_INTERVAL);
    }

    pub(super) fn drainer_connected(&mut self, name: &str) {
        if Arc::make_mut(&mut self.state.drains).connect(name) {
            // Stored, so that the next leader waits for it even before it has come back.
            self.journal.touch(Key::Drainers);
        }
        self.view_changed = true;
    }

    pub(super) fn drainer_disconnected(&mut self, now: Time, name: &str) {
        let until = self.drain_deadline(now);
        Arc::make_mut(&mut self.state.drains).disconnect(name, until);
        self.timers.set_earlier(Timer::ForgetDrainers, until);
        self.view_changed = true;
    }

    /// Those that were expected back did not come.
    pub(super) fn forget_drainers(&mut self, now: Time) {
        let drains = Arc::make_mut(&mut self.state.drains);
        if drains.forget(now) {
            self.journal.touch(Key::Drainers);
        }
        if let Some(next) = drains.next_forgotten() {
            self.timers.set(Timer::ForgetDrainers, next);
        }
        self.view_changed = true;
    }

    /// How long load balancers may take, from now.
    pub(super) fn drain_deadline(&self, now: Time) -> Time {
        now + self.settings.drain_timeout.max(Span::from_millis(1))
    }
}
