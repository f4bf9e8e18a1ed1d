//! Taking over and giving up, and what the connection to the master brings.

use std::sync::Arc;

use model::id::FrameworkId;
use model::time::{Span, Time};
use wire::marathon::Event;

use super::message::{Effect, Published, Record};
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
    /// the kit asks the master about every task, and health stays as it was last reported.
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
    pub(super) fn deposed(&mut self) {
        *self = Self::new(self.settings.clone());
    }

    pub(super) fn subscribed(&mut self, now: Time, framework: FrameworkId, master: String) {
        self.subscribed = true;
        self.interest.suppressed = false;
        self.interest.revived_at = None;
        let known = self.state.framework.as_ref() == Some(&framework);
        let event = if known {
            Event::SchedulerReregisteredEvent { master }
        } else {
            self.state.framework = Some(framework.clone());
            self.view_changed = true;
            Event::SchedulerRegisteredEvent { framework_id: framework.to_string(), master }
        };
        self.emit(now, &event);
    }

    pub(super) fn disconnected(&mut self, now: Time) {
        if std::mem::take(&mut self.subscribed) {
            self.emit(now, &Event::SchedulerDisconnectedEvent {});
        }
    }

    /// The master ended the framework, and with it every task.
    pub(super) fn framework_removed(&mut self, now: Time) {
        self.subscribed = false;
        self.state.framework = None;
        self.view_changed = true;
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
