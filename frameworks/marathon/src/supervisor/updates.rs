//! What the master says about tasks.

use std::sync::Arc;

use model::task::TaskState;
use model::time::Time;
use wire::marathon::Event;

use super::record::Key;
use super::state::TaskFailure;
use super::{Supervisor, Timer};
use crate::core::app::AppDefinition;
use crate::core::events;
use crate::core::health::Change;
use crate::core::id::{self, AppId, InstanceId};
use crate::core::instance::{Condition, Instance, Task};
use crate::core::kill::Kill;
use crate::core::update::{Reason, TaskUpdate};
use crate::limits;

impl Supervisor {
    /// Takes in a status update; the kit acknowledges it once what it changed is stored.
    pub(super) fn update(&mut self, now: Time, update: &TaskUpdate) {
        match self.state.instance_of_task(update.task.as_str()).cloned() {
            Some(instance) => self.update_instance(now, &instance, update),
            None => self.update_stranger(now, update),
        }
    }

    fn update_instance(&mut self, now: Time, instance: &Arc<Instance>, update: &TaskUpdate) {
        let Some(task) = &instance.task else { return };
        let repeated = update.uuid.as_ref().is_some_and(|uuid| *uuid == task.last_update);
        let Some(condition) = update.condition() else { return };
        // The masters have forgotten its agent, which may come back all the same: for that these are kept.
        let kept = instance.is_tombstone() || instance.condition == Condition::UnreachableInactive;
        if kept && condition == Condition::Unknown {
            return;
        }
        // What an agent says of a task's end, and what the master answers when it is asked, is the last word, whatever was
        // said before: not believed, the instance would be waited for without end. A refusal by the master may be that of a
        // second copy of a launch, while the first one runs.
        let last_word = update.uuid.is_some() || update.reason == Reason::Reconciliation;
        let ends = condition.is_terminal() && last_word;
        // An answer about the past, or a second copy.
        if repeated || !(ends || task.state.is_none_or(|state| state.may_become(update.state))) {
            return;
        }
        if condition.is_terminal() {
            self.ended(now, instance, task, update, condition);
        } else if condition == Condition::Unreachable {
            self.unreachable(now, instance, task, update);
        } else {
            self.alive(now, instance, task, update, condition);
        }
    }

    fn alive(
        &mut self,
        now: Time,
        instance: &Arc<Instance>,
        task: &Task,
        update: &TaskUpdate,
        condition: Condition,
    ) {
        let (app, id) = (&instance.app, &instance.id);
        let moved = instance.condition != condition;
        let new_state = task.state != Some(update.state);
        // Coming to life matters to a deployment that waits for it; otherwise only a return from where nobody saw it.
        if self.state.locks.contains_key(app) || instance.condition.is_unreachable() {
            self.touched.insert(app.clone());
        }
        self.change_quietly(app, id, |instance| {
            if moved {
                instance.condition = condition;
                instance.since = now;
            }
            if let Some(task) = &mut instance.task {
                task.state = Some(update.state);
                task.unreachable_since = None;
                if update.state == TaskState::Running {
                    task.started_at.get_or_insert(now);
                }
                if !update.addresses.is_empty() {
                    task.addresses.clone_from(&update.addresses);
                }
                if let Some(uuid) = &update.uuid {
                    task.last_update.clone_from(uuid);
                }
            }
        });
        if new_state && let Some(changed) = self.instance(app, id) {
            self.emit(now, &events::status_update(&changed, changed.task.as_ref().unwrap_or(task), update));
        }
        if moved {
            self.moved_on(now, instance, condition);
        }
        if let Some(alive) = update.healthy {
            self.health(now, app, id, alive, update);
        }
        // It was given up, or its kill was asked for while it could not be reached.
        if instance.condition.is_unreachable() && (!instance.is_wanted() || task.kill_by.is_some()) {
            self.kill_now(app, id);
        }
    }

    fn moved_on(&mut self, now: Time, instance: &Arc<Instance>, condition: Condition) {
        let (app, id) = (&instance.app, &instance.id);
        self.emit(now, &events::instance_changed(instance, condition));
        self.backoffs.moved_on(now, app);
        self.timers.cancel(&Timer::Unreachable(app.clone(), id.clone()));
        let overdue = Timer::Overdue(app.clone(), id.clone());
        match condition {
            Condition::Staging | Condition::Starting => {
                self.timers.set(overdue, now + limits::LAUNCH_TIMEOUT)
            }
            _ => self.timers.cancel(&overdue),
        }
    }

    /// A verdict of the health check. Statuses repeat the last verdict; only a new one, or one more failure, counts.
    fn health(&mut self, now: Time, app: &AppId, id: &InstanceId, alive: bool, update: &TaskUpdate) {
        let known = self.instance(app, id).and_then(|instance| instance.task.as_ref()?.health.alive);
        if update.reason != Reason::Health && known == Some(alive) {
            return;
        }
        let change = self.change_quietly(app, id, |instance| {
            instance.task.as_mut().map(|task| task.health.record(now, alive, &update.message))
        });
        let (Some(Some(Change { flipped, failed })), Some(instance)) = (change, self.instance(app, id))
        else {
            return;
        };
        let Some(task) = &instance.task else { return };
        let definition = self.state.definition_of(&instance).cloned();
        if failed
            && let Some(event) = definition.and_then(|app| events::failed_health_check(&instance, task, &app))
        {
            self.emit(now, &event);
        }
        if flipped {
            for event in events::health_changed(&instance, task, alive) {
                self.emit(now, &event);
            }
        }
        self.check_health(now, app, id);
    }

    /// Kills an instance whose checks have failed too often, if that many may be killed now.
    pub(super) fn check_health(&mut self, now: Time, app: &AppId, id: &InstanceId) {
        let Some(instance) = self.instance(app, id) else { return };
        let (Some(task), Some(definition)) = (&instance.task, self.state.definition_of(&instance).cloned())
        else {
            return;
        };
        let ill = definition.health_checks.first().is_some_and(|check| task.health.is_fatal(check));
        if !ill || instance.condition != Condition::Running || task.kill_by.is_some() {
            return;
        }
        match self.breaker.take(now, app, definition.instances) {
            Err(later) => self.timers.set(Timer::HealthKill(app.clone(), id.clone()), later),
            Ok(()) => {
                self.emit(now, &events::unhealthy_kill(&instance, task));
                let cause = task.health.last_failure_cause.clone().unwrap_or_default();
                let message = format!("Task was killed since health check failed. Reason: {cause}");
                self.record_failure(now, &instance, task, TaskState::Killed, &message);
                self.end_task(now, app, id);
            }
        }
    }

    fn unreachable(&mut self, now: Time, instance: &Arc<Instance>, task: &Task, update: &TaskUpdate) {
        let (app, id) = (&instance.app, &instance.id);
        if instance.condition.is_unreachable() {
            return;
        }
        self.change(app, id, |instance| {
            instance.condition = Condition::Unreachable;
            instance.since = now;
            if let Some(task) = &mut instance.task {
                task.state = Some(update.state);
                // By our clock: by that of a master, which says so as well, it would be given up as much too soon as it is
                // behind.
                task.unreachable_since = Some(now);
            }
        });
        self.emit(now, &events::status_update(instance, task, update));
        self.emit(now, &events::instance_changed(instance, Condition::Unreachable));
        // Nobody can kill it there; if it returns it is killed then.
        self.kills.done(&task.id);
        Arc::make_mut(&mut self.state.drains).end(&task.id);
        for timer in [Timer::Overdue, Timer::HealthKill, Timer::KillBy] {
            self.timers.cancel(&timer(app.clone(), id.clone()));
        }
        self.still_unreachable(now, app, id);
    }

    fn ended(
        &mut self,
        now: Time,
        instance: &Arc<Instance>,
        task: &Task,
        update: &TaskUpdate,
        condition: Condition,
    ) {
        let app = &instance.app;
        self.emit(now, &events::status_update(instance, task, update));
        if update.is_failure() && instance.is_wanted() {
            self.record_failure(now, instance, task, update.state, &update.message);
        }
        if let Some(definition) = self.state.definition(app).cloned() {
            self.slow_down(now, &definition, update, condition);
        }
        self.task_ended(now, app, &instance.id, condition);
    }

    fn slow_down(
        &mut self,
        now: Time,
        definition: &AppDefinition,
        update: &TaskUpdate,
        condition: Condition,
    ) {
        if update.reason == Reason::AgentDraining {
            self.backoffs.reset(&definition.id);
        } else if condition.is_failure() && update.reason != Reason::InvalidOffers {
            self.backoffs.failed(now, &definition.id, &definition.backoff);
            if let Some(until) = self.backoffs.until(now, &definition.id) {
                self.timers.set(Timer::Backoff(definition.id.clone()), until);
            }
        }
        self.view_changed = true;
    }

    fn record_failure(
        &mut self,
        now: Time,
        instance: &Instance,
        task: &Task,
        state: TaskState,
        message: &str,
    ) {
        let failure = TaskFailure {
            task: task.id.clone(),
            host: task.host.clone(),
            agent: task.agent.to_string(),
            message: message.to_owned(),
            state: state.name().to_owned(),
            version: instance.version,
            at: now,
        };
        if let Some(app) = self.state.apps.get_mut(&instance.app) {
            Arc::make_mut(app).last_failure = Some(failure);
            self.journal.touch(Key::App(instance.app.clone()));
        }
    }

    /// A task that is not the present one of any instance.
    ///
    /// An earlier launch of a known instance was replaced, and dies. One of an unknown instance is left alone: every
    /// launch is recorded before it is made, and what was given up is kept until its end is known, so nothing of ours
    /// is unknown unless records were lost, which is no reason to kill.
    fn update_stranger(&mut self, now: Time, update: &TaskUpdate) {
        let Some((instance, _)) = id::of_task(update.task.as_str()) else { return };
        let condition = update.condition();
        let over = condition.is_none_or(|condition| condition.is_terminal() || condition.is_unreachable());
        if over {
            if let (Some(app), Some(condition)) = (instance.app(), condition) {
                self.emit(
                    now,
                    &Event::UnknownInstanceTerminatedEvent {
                        instance_id: instance.to_string(),
                        run_spec_id: app.to_string(),
                        condition: condition.name().to_owned(),
                    },
                );
            }
            self.kills.done(&update.task);
        } else if self.state.instance(&instance).is_some() {
            if let Some(agent) = &update.agent {
                self.kills.add(Kill { task: update.task.clone(), agent: agent.clone(), grace: None });
            }
        } else {
            self.strangers += 1;
            tracing::warn!(task = %update.task, state = %update.state, "a task without a record is left alone");
        }
    }
}
