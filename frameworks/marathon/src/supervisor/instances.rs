//! What becomes of single instances: scheduled, killed, given up, forgotten.

use std::sync::Arc;

use model::time::Time;

use super::record::Key;
use super::{Supervisor, Timer};
use crate::core::app::{AppDefinition, Unreachable};
use crate::core::events;
use crate::core::id::{AppId, InstanceId};
use crate::core::instance::{Condition, Goal, Instance};
use crate::core::kill::Kill;
use crate::core::plan::ActionKind;
use crate::limits;

impl Supervisor {
    /// Makes a new instance that waits for an offer.
    pub(super) fn schedule(&mut self, now: Time, definition: &AppDefinition) {
        let id = InstanceId::new(&definition.id, &self.random.uuid());
        let instance = Instance::scheduled(id.clone(), definition, now);
        self.emit(now, &events::instance_changed(&instance, Condition::Scheduled));
        self.state.instances.insert((definition.id.clone(), id.clone()), Arc::new(instance));
        self.now_scheduled(&definition.id, &id);
    }

    /// The instance waits for an offer from now on.
    pub(super) fn now_scheduled(&mut self, app: &AppId, id: &InstanceId) {
        self.scheduled.entry(app.clone()).or_default().insert(id.clone());
        self.interest.revive = true;
        self.view_changed = true;
    }

    pub(super) fn not_scheduled(&mut self, app: &AppId, id: &InstanceId) {
        if let Some(waiting) = self.scheduled.get_mut(app) {
            waiting.remove(id);
            if waiting.is_empty() {
                self.scheduled.remove(app);
            }
        }
        self.view_changed = true;
    }

    /// Ends an instance for good.
    pub(super) fn decommission(&mut self, now: Time, app: &AppId, id: &InstanceId) {
        let Some(instance) = self.instance(app, id) else { return };
        if instance.task.is_none() {
            self.forget(app, id);
            return;
        }
        #[cfg(feature = "mutants")]
        if let (Some(task), true) = (&instance.task, mutant::planted("killed-instances-are-forgotten")) {
            self.forget(app, id);
            return self.kills.add(Kill { task: task.id.clone(), agent: task.agent.clone(), grace: None });
        }
        self.change(app, id, |instance| instance.goal = Goal::Decommissioned);
        if !instance.condition.is_unreachable() {
            self.end_task(now, app, id);
        }
    }

    /// Kills the present task of an instance: a healthy one after load balancers have let go of it, if any asked to
    /// be waited for.
    pub(super) fn end_task(&mut self, now: Time, app: &AppId, id: &InstanceId) {
        let Some(instance) = self.instance(app, id) else { return };
        let Some(task) = &instance.task else { return };
        if task.kill_by.is_some() {
            return;
        }
        let serving =
            self.state.definition_of(&instance).is_some_and(|definition| instance.is_healthy(definition));
        let waits = serving && Arc::make_mut(&mut self.state.drains).begin(&task.id);
        let deadline = if waits { self.drain_deadline(now) } else { now };
        self.change(app, id, |instance| {
            if let Some(task) = &mut instance.task {
                task.kill_by = Some(deadline);
            }
        });
        if waits {
            self.emit(now, &events::draining(&instance, task, deadline));
            self.timers.set(Timer::KillBy(app.clone(), id.clone()), deadline);
        } else {
            self.kill_now(app, id);
        }
    }

    /// The wait for load balancers is over.
    pub(super) fn kill_now(&mut self, app: &AppId, id: &InstanceId) {
        let Some(instance) = self.instance(app, id) else { return };
        let Some(task) = &instance.task else { return };
        if instance.condition.is_unreachable() {
            return;
        }
        self.timers.cancel(&Timer::KillBy(app.clone(), id.clone()));
        let grace = self.state.definition_of(&instance).and_then(|definition| definition.kill_grace);
        self.kills.add(Kill { task: task.id.clone(), agent: task.agent.clone(), grace });
    }

    /// Removes every trace of an instance.
    pub(super) fn forget(&mut self, app: &AppId, id: &InstanceId) {
        let key = (app.clone(), id.clone());
        let Some(instance) = self.state.instances.remove(&key) else { return };
        self.not_scheduled(app, id);
        self.leave_task(&instance);
        if instance.is_stored() {
            self.journal.touch(Key::Instance(key.0, key.1));
        }
        self.touched.insert(app.clone());
    }

    /// Nothing is to be done about the present task any more.
    fn leave_task(&mut self, instance: &Instance) {
        let (app, id) = (&instance.app, &instance.id);
        if let Some(task) = &instance.task {
            self.kills.done(&task.id);
            Arc::make_mut(&mut self.state.drains).end(&task.id);
        }
        for timer in [Timer::Overdue, Timer::Unreachable, Timer::HealthKill, Timer::KillBy] {
            self.timers.cancel(&timer(app.clone(), id.clone()));
        }
    }

    /// The task is over. A wanted instance is scheduled again, with the app's present definition; in an upgrade an
    /// old one that ends by itself has saved us the kill.
    pub(super) fn task_ended(&mut self, now: Time, app: &AppId, id: &InstanceId, condition: Condition) {
        let Some(instance) = self.instance(app, id) else { return };
        self.emit(now, &events::instance_changed(&instance, condition));
        let next = self.state.definition(app).cloned().filter(|definition| {
            let replaced = self.action_on(app).is_some_and(|kind| kind == ActionKind::Restart)
                && instance.config != definition.last_config_change;
            instance.is_wanted() && !replaced && instance.condition != Condition::UnreachableInactive
        });
        // Where instances may go depends on where others are.
        self.interest.revive |= self.scheduled.contains_key(app);
        match next {
            None => self.forget(app, id),
            Some(definition) => {
                self.leave_task(&instance);
                self.change(app, id, |instance| {
                    instance.condition = Condition::Scheduled;
                    instance.since = now;
                    instance.task = None;
                    instance.version = definition.version;
                    instance.config = definition.last_config_change;
                });
                self.now_scheduled(app, id);
            }
        }
    }

    /// The agent of an instance cannot be reached; does the time for the next consequence have come?
    pub(super) fn still_unreachable(&mut self, now: Time, app: &AppId, id: &InstanceId) {
        let Some(instance) = self.instance(app, id) else { return };
        if !instance.condition.is_unreachable() || !instance.is_wanted() {
            return;
        }
        let since = instance.task.as_ref().and_then(|task| task.unreachable_since).unwrap_or(instance.since);
        let strategy = self.state.definition_of(&instance).map(|definition| definition.unreachable);
        let Some(Unreachable::After { inactive, expunge }) = strategy else { return };
        if now >= since + expunge {
            // Kept until the master knows what became of it, so that it is killed should it return.
            self.change(app, id, |instance| instance.goal = Goal::Decommissioned);
            self.limit_tombstones(now);
            return;
        }
        if now >= since + inactive && instance.condition != Condition::UnreachableInactive {
            self.change(app, id, |instance| {
                instance.condition = Condition::UnreachableInactive;
                instance.since = now;
            });
            self.emit(now, &events::instance_changed(&instance, Condition::UnreachableInactive));
        }
        let at = if now >= since + inactive { since + expunge } else { since + inactive };
        self.timers.set(Timer::Unreachable(app.clone(), id.clone()), at);
    }

    /// Forgets the tombstones lost longest when there are too many.
    fn limit_tombstones(&mut self, now: Time) {
        let mut tombstones: Vec<(Time, AppId, InstanceId)> = self
            .state
            .instances
            .values()
            .filter(|instance| instance.is_tombstone())
            .map(|instance| (instance.since, instance.app.clone(), instance.id.clone()))
            .collect();
        if tombstones.len() <= limits::TOMBSTONES {
            return;
        }
        tombstones.sort();
        let surplus = tombstones.len() - limits::TOMBSTONES;
        for (_, app, id) in tombstones.into_iter().take(surplus) {
            self.journal.begin();
            self.task_ended(now, &app, &id, Condition::Gone);
        }
    }

    /// A launch has not come to run in time.
    pub(super) fn overdue(&mut self, now: Time, app: &AppId, id: &InstanceId) {
        let starting = [Condition::Provisioned, Condition::Staging, Condition::Starting];
        if self.instance(app, id).is_some_and(|instance| starting.contains(&instance.condition)) {
            self.end_task(now, app, id);
        }
    }
}
