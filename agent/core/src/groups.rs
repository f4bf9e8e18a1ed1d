//! Groups of tasks: admitted, started and ended together (spec mesos-v1, 8.5 and 10.1).
//!
//! The agent plays the default executor itself. Its tasks are containers like those of command tasks, so that they
//! are recovered, checked and killed like these; a process in between would only cost memory and one more thing that
//! can die. What is left of the executor is an entry that holds its resources and is reported to the master.

use std::sync::Arc;

use model::id::FrameworkId;
use model::resources::Bag;
use model::task::TaskState;
use model::time::{Span, Time};
use wire::v1;
use wire::v1::task_status::Reason;

use crate::agent::{Agent, Mode, Timer};
use crate::effect::Effect;
use crate::executor::{ExecutorKey, ExecutorPhase, Waiting, is_played};
use crate::ids::Uuid;
use crate::limits;
use crate::spec::{Invalid, TaskKey, TaskSpec};
use crate::status::Draft;
use crate::task::{KillCause, Phase};
use crate::tasks::during_launch;

impl Agent {
    /// Tasks ordered by the master that stand and fall together.
    pub(crate) fn run_group(
        &mut self,
        now: Time,
        framework: &Arc<v1::FrameworkInfo>,
        executor: &Arc<v1::ExecutorInfo>,
        tasks: &[Arc<v1::TaskInfo>],
        out: &mut Vec<Effect>,
    ) {
        if tasks.is_empty() {
            // Nothing would ever end its executor.
            return;
        }
        self.meet(framework, out);
        let id = FrameworkId::from(framework.id.as_ref().map_or("", |id| id.value.as_str()));
        let key = |info: &Arc<v1::TaskInfo>| TaskKey {
            framework: id.clone(),
            task: info.task_id.value.as_str().into(),
        };
        let keys: Vec<TaskKey> = tasks.iter().map(key).collect();
        if keys.iter().any(|key| self.state.tasks.contains_key(key)) {
            // The same order again; all of its tasks came with the first one.
            self.counters.repeated_orders += 1;
            return;
        }
        for key in keys.iter().filter(|key| self.state.streams.contains_key(key)).cloned().collect::<Vec<_>>()
        {
            self.forget(now, &key, out);
        }
        let host =
            ExecutorKey { framework: id.clone(), executor: executor.executor_id.value.as_str().into() };
        let admitted = self.admit_group(&host, executor, tasks);
        if admitted.is_ok() {
            self.engage(&host, executor, out);
        }
        let group = is_played(executor).then(|| self.ids.uuid());
        for (key, info) in keys.iter().zip(tasks) {
            self.accept(key, info, group, out);
        }
        match admitted {
            Err(refusal) => {
                for key in &keys {
                    self.end_alone(now, key, refusal.clone(), out);
                }
                self.never_engaged(&host, out);
            }
            Ok(()) if group.is_some() => self.gather(now, &keys, out),
            Ok(()) => {
                let tasks = keys.into_iter().map(|key| key.task).collect();
                self.enlist(now, Waiting::Group(tasks), &host, out);
            }
        }
    }

    /// Whether all tasks of a group can run here; otherwise what their scheduler is told of each.
    fn admit_group(
        &self,
        host: &ExecutorKey,
        executor: &v1::ExecutorInfo,
        tasks: &[Arc<v1::TaskInfo>],
    ) -> Result<(), Draft> {
        let invalid = |message| Draft::agent(TaskState::Error, Reason::TaskGroupInvalid, message);
        let mut needed = Bag::default();
        for info in tasks {
            let spec = TaskSpec::read(&host.framework, info).map_err(|Invalid(message)| {
                invalid(format!("Task '{}' is invalid: {message}", info.task_id.value))
            })?;
            needed += &spec.resources;
        }
        self.has_room(&host.framework, tasks.len())?;
        needed += &self.admit_executor(&host.framework, executor).map_err(|draft| match draft.reason {
            Some(Reason::TaskInvalid) => Draft { reason: Some(Reason::TaskGroupInvalid), ..draft },
            _ => draft,
        })?;
        self.fits(&host.framework, "Task group", &needed)
    }

    /// Fetches the files of all tasks of a group: none starts before all are there.
    fn gather(&mut self, now: Time, keys: &[TaskKey], out: &mut Vec<Effect>) {
        for key in keys {
            let Some(job) = self.job(key) else { continue };
            let ready = !job.task.fetches();
            if let Some(task) = self.state.tasks.get_mut(key) {
                task.fetched = ready;
            }
            if !ready {
                self.outbox.after(Effect::Fetch(job), out);
            }
        }
        if let Some(first) = keys.first() {
            self.launch_gathered(now, first, out);
        }
    }

    /// Starts the group of a task if nothing is missing any more.
    pub(crate) fn launch_gathered(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        let Some((host, group)) = self.membership(key) else { return };
        let members: Vec<TaskKey> = self.members(&host, group).map(|task| task.key.clone()).collect();
        if self.members(&host, group).all(|task| task.fetched) {
            let own = self.state.executors.get(&host).and_then(|executor| executor.spec.as_ref());
            let own = own.map(|spec| spec.mounts.clone()).unwrap_or_default();
            self.show(&host, own, out);
            for key in members {
                self.launch(now, &key, out);
            }
        }
    }

    /// The executor and the group of a task that is one of a group.
    pub(crate) fn membership(&self, key: &TaskKey) -> Option<(ExecutorKey, Uuid)> {
        let task = self.state.tasks.get(key)?;
        task.executor_key().zip(task.group)
    }

    fn members<'a>(
        &'a self,
        host: &'a ExecutorKey,
        group: Uuid,
    ) -> impl Iterator<Item = &'a crate::task::Task> {
        self.hosted(host).filter(move |task| task.group == Some(group) && task.phase != Phase::Ended)
    }

    /// What the end of one task means for the others of its group, and for the executor that the agent plays.
    pub(crate) fn member_ended(
        &mut self,
        now: Time,
        host: &ExecutorKey,
        group: Uuid,
        state: TaskState,
        out: &mut Vec<Effect>,
    ) {
        if state != TaskState::Finished {
            let rest = self.members(host, group).filter(|task| task.kill.is_none());
            let rest: Vec<TaskKey> = rest.map(|task| task.key.clone()).collect();
            self.end_members(now, &rest, None, out);
        }
        self.retire(now, host, out);
    }

    /// Kills tasks of groups without asking each time what that means for their groups.
    fn end_members(&mut self, now: Time, keys: &[TaskKey], grace: Option<Span>, out: &mut Vec<Effect>) {
        for key in keys {
            let Some(task) = self.state.tasks.get(key) else { continue };
            if task.phase == Phase::Fetching {
                out.push(Effect::CancelFetch { container: task.container.clone() });
                self.end_alone(now, key, during_launch(), out);
            } else {
                self.kill(now, key, KillCause::Asked, grace, out);
            }
        }
    }

    /// Lets a played executor end that has no task any more. It waits a moment for the acknowledgements of its last
    /// ones: schedulers take the failure of an executor for that of every task they have not heard the end of.
    pub(crate) fn retire(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let Some(executor) = self.state.executors.get(key).filter(|executor| executor.is_played()) else {
            return;
        };
        if !self.is_idle(key) {
            return;
        }
        let removed = self.state.frameworks.get(&key.framework).is_none_or(|framework| framework.removed);
        let known = self.hosted(key).next().is_none() || self.mode == Mode::Recovering;
        if known || removed || matches!(self.mode, Mode::Ending { .. } | Mode::Ended) {
            return self.executor_ended(now, key, |_| during_launch(), Some(0), out);
        }
        let key = executor.key.clone();
        self.timers.set_earlier(Timer::Grace(key), now + limits::LAST_WORDS);
    }

    /// Tells a played executor to end: its tasks are killed, and it goes with the last of them.
    pub(crate) fn dismiss(&mut self, now: Time, key: &ExecutorKey, out: &mut Vec<Effect>) {
        let ending = matches!(self.mode, Mode::Ending { .. });
        if let Some(executor) = self.state.executors.get_mut(key) {
            executor.phase = ExecutorPhase::Ending;
        }
        let living = self.hosted(key).filter(|task| task.phase != Phase::Ended);
        let living: Vec<TaskKey> = living.map(|task| task.key.clone()).collect();
        self.end_members(now, &living, ending.then_some(limits::STOP_GRACE), out);
        self.retire(now, key, out);
    }
}
