//! Commands about tasks: kill, drained, try again now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::id::TaskId;
use model::time::Time;

use super::message::{Refusal, Reply, Selection};
use super::{Supervisor, Timer};
use crate::core::id::{AppId, InstanceId};
use crate::core::instance::Instance;
use crate::limits;

impl Supervisor {
    pub(super) fn kill(
        &mut self,
        now: Time,
        selection: &Selection,
        scale: bool,
        wipe: bool,
        force: bool,
    ) -> Result<Reply, Refusal> {
        if scale && wipe {
            let text = "You cannot use scale and wipe at the same time.";
            return Err(Refusal::BadRequest(text.to_owned()));
        }
        let instances = self.select(selection)?;
        if scale {
            return self.scale_down(now, &instances, selection, force);
        }
        for instance in &instances {
            self.journal.begin();
            if wipe {
                self.decommission(now, &instance.app, &instance.id);
            } else {
                self.end_task(now, &instance.app, &instance.id);
            }
        }
        Ok(Reply::Killing(instances))
    }

    fn select(&self, selection: &Selection) -> Result<Vec<Arc<Instance>>, Refusal> {
        let listed = |instance: &Arc<Instance>| instance.task.is_some() && !instance.is_tombstone();
        match selection {
            Selection::App { app, host } => {
                if self.state.definition(app).is_none() {
                    return Err(Refusal::UnknownApp(app.clone()));
                }
                let here = |instance: &Arc<Instance>| {
                    let host = host.as_deref().filter(|host| *host != "*");
                    host.is_none_or(|host| instance.task.as_ref().is_some_and(|task| task.host == host))
                };
                let instances = self.state.instances_of(app);
                Ok(instances.filter(|instance| listed(instance) && here(instance)).cloned().collect())
            }
            Selection::Task { app, task } => {
                if self.state.definition(app).is_none() {
                    return Err(Refusal::UnknownApp(app.clone()));
                }
                let instance = self.state.instance_of_task(task.as_str());
                match instance.filter(|instance| instance.app == *app && listed(instance)) {
                    Some(instance) => Ok(vec![Arc::clone(instance)]),
                    None => Err(Refusal::UnknownTask(task.clone())),
                }
            }
            Selection::Tasks(tasks) => {
                if tasks.len() > limits::TASKS_PER_KILL {
                    let text = format!("ids must not name more than {} tasks", limits::TASKS_PER_KILL);
                    return Err(Refusal::BadRequest(text));
                }
                // A task named twice is killed once.
                let unique: BTreeSet<&TaskId> = tasks.iter().collect();
                let known = unique.into_iter().filter_map(|task| self.state.instance_of_task(task.as_str()));
                Ok(known.filter(|instance| listed(instance)).cloned().collect())
            }
        }
    }

    /// Kills exactly these and wants that many fewer.
    fn scale_down(
        &mut self,
        now: Time,
        instances: &[Arc<Instance>],
        selection: &Selection,
        force: bool,
    ) -> Result<Reply, Refusal> {
        let mut fewer: BTreeMap<AppId, u32> = BTreeMap::new();
        let mut victims: BTreeSet<InstanceId> = BTreeSet::new();
        let living = |instance: &&Arc<Instance>| {
            instance.is_wanted() && instance.task.as_ref().is_some_and(|task| task.kill_by.is_none())
        };
        for instance in instances.iter().filter(living) {
            *fewer.entry(instance.app.clone()).or_insert(0) += 1;
            victims.insert(instance.id.clone());
        }
        if fewer.len() > limits::APPS_PER_CHANGE {
            let text = format!("ids must not belong to more than {} apps", limits::APPS_PER_CHANGE);
            return Err(Refusal::BadRequest(text));
        }
        let apps = fewer
            .iter()
            .filter_map(|(app, count)| {
                let mut app = (**self.state.definition(app)?).clone();
                app.instances = app.instances.saturating_sub(*count);
                Some(app)
            })
            .collect();
        let (version, deployment) = self.put(now, apps, victims, force)?;
        let group = match selection {
            Selection::App { app, .. } | Selection::Task { app, .. } => app.parent(),
            Selection::Tasks(_) => AppId::root(),
        };
        self.group_changed(now, group.as_str(), version);
        Ok(Reply::Deployed { version, deployment, created: false })
    }

    /// Forgets the delay of an app that waits, so that it is launched as soon as it fits.
    pub(super) fn reset_delay(&mut self, app: &AppId) -> Result<Reply, Refusal> {
        if !self.scheduled.contains_key(app) {
            return Err(Refusal::NotQueued(app.clone()));
        }
        self.backoffs.reset(app);
        self.timers.cancel(&Timer::Backoff(app.clone()));
        self.interest.revive = true;
        self.view_changed = true;
        Self::done()
    }

    /// The delay of an app has passed.
    pub(super) fn delay_over(&mut self, app: &AppId) {
        self.interest.revive |= self.scheduled.contains_key(app);
        self.view_changed = true;
    }

    /// A load balancer sends nothing more to these tasks.
    pub(super) fn drained(&mut self, drainer: &str, tasks: &[TaskId]) -> Result<Reply, Refusal> {
        for task in tasks {
            let drains = Arc::make_mut(&mut self.state.drains);
            if !drains.acknowledge(drainer, task) {
                continue;
            }
            drains.end(task);
            if let Some(instance) = self.state.instance_of_task(task.as_str()).cloned() {
                self.kill_now(&instance.app, &instance.id);
            }
        }
        self.view_changed = true;
        Self::done()
    }
}
