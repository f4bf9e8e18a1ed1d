//! Getting status updates to the master: stored first, one at a time per task, again until acknowledged.

use std::sync::Arc;

use model::task::TaskState;
use model::time::Time;
use wire::v1::task_status::{Reason, Source};

use crate::agent::{Agent, Timer};
use crate::checkpoint::Record;
use crate::effect::{Effect, Report};
use crate::ids::Uuid;
use crate::limits;
use crate::spec::TaskKey;
use crate::status::{self, Draft, Place};
#[cfg(feature = "mutants")]
use crate::task::Phase;
use crate::task::{KillCause, Task};
use crate::updates::Update;

impl Agent {
    /// Makes an update of what `draft` says, stores it and sends it when its turn comes.
    pub(crate) fn say(&mut self, now: Time, key: &TaskKey, mut draft: Draft, out: &mut Vec<Effect>) {
        let task = self.state.tasks.get(key);
        if draft.source == Source::Executor {
            draft.check = task.and_then(|task| task.check.as_ref()).map(|check| check.result);
        }
        let container = task.map(|task| task.container.to_string());
        let host = task.filter(|task| task.group.is_some()).and_then(Task::executor_key);
        let parent = host.and_then(|host| self.state.executors.get(&host)).map(|host| &*host.container.value);
        let place = container.as_ref().map(|container| Place {
            container,
            parent,
            pid: task.and_then(|task| task.pid),
            ip: &self.settings.ip,
        });
        let uuid = self.ids.uuid();
        let executor = task.map_or(key.task.as_str(), Task::executor_name);
        let update =
            status::update(draft, key, executor, self.state.agent.as_ref(), place.as_ref(), uuid, now);
        self.announce(now, key, update, out);
    }

    /// Stores an update and sends it when its turn comes.
    pub(crate) fn announce(&mut self, now: Time, key: &TaskKey, update: Arc<Update>, out: &mut Vec<Effect>) {
        self.counters.updates += 1;
        let update = self.explained(key, update);
        self.record(Record::Update { key: key.clone(), update: Arc::clone(&update) }, out);
        let Some(stream) = self.state.streams.get(key) else { return };
        if stream.head().is_some_and(|head| head.uuid == update.uuid) {
            self.transmit(now, key, out);
        } else if update.state.is_terminal() && self.registered().is_some() {
            self.timers.set_earlier(Timer::Retry(key.clone()), now + limits::ANNOUNCE_END);
        }
    }

    /// What is killed while the agent drains is said to be killed for that, unless another reason is given (Mesos v1
    /// operator API, `DRAIN_AGENT`). Stored with the update, it says the same when it is sent again after the drain.
    fn explained(&self, key: &TaskKey, mut update: Arc<Update>) -> Arc<Update> {
        let killed = matches!(update.state, TaskState::Killing | TaskState::Killed);
        let kill = self.state.tasks.get(key).and_then(|task| task.kill.as_ref());
        let drained = self.drain.is_some() || kill.is_some_and(|kill| kill.cause == KillCause::Draining);
        if killed && drained && update.status.reason.is_none() {
            let status = &mut Arc::make_mut(&mut update).status;
            Arc::make_mut(status).reason = Some(Reason::AgentDraining as i32);
        }
        update
    }

    /// Sends the update in flight, if there is a master to send it to, and waits for its acknowledgement.
    pub(crate) fn transmit(&mut self, now: Time, key: &TaskKey, out: &mut Vec<Effect>) {
        let Some(link) = self.registered() else { return };
        let Some(stream) = self.state.streams.get_mut(key) else { return };
        let Some(update) = stream.head().cloned() else { return };
        #[cfg(feature = "mutants")]
        let update = match stream.pending().last() {
            Some(last) if mutant::planted("newest-update-goes-first") => Arc::clone(last),
            _ => update,
        };
        let last = stream.pending().last().map_or(update.state, |last| last.state);
        self.timers.set(Timer::Retry(key.clone()), now + stream.next_delay());
        let latest = match self.state.tasks.get_mut(key) {
            Some(task) => {
                task.forwarded = Some(Arc::clone(&update));
                task.state
            }
            None => last,
        };
        let report = Report::Status { framework: key.framework.clone(), update, latest };
        self.outbox.after(Effect::Send { link, report }, out);
    }

    pub(crate) fn acknowledged(&mut self, now: Time, key: &TaskKey, uuid: Uuid, out: &mut Vec<Effect>) {
        let Some(stream) = self.state.streams.get(key) else { return };
        #[cfg(feature = "mutants")]
        let uuid = match stream.head() {
            Some(head) if mutant::planted("any-acknowledgement-will-do") => head.uuid,
            _ => uuid,
        };
        if stream.head().is_none_or(|head| head.uuid != uuid) {
            return;
        }
        self.timers.clear(&Timer::Retry(key.clone()));
        if let Some(task) = self.record(Record::Acknowledged { key: key.clone(), uuid }, out) {
            return self.left(now, task, out);
        }
        self.transmit(now, key, out);
    }

    /// Sends the waiting updates of one framework now, whose scheduler has come back.
    pub(crate) fn resend(&mut self, now: Time, wanted: impl Fn(&TaskKey) -> bool, out: &mut Vec<Effect>) {
        let keys: Vec<TaskKey> = self.state.streams.keys().filter(|key| wanted(key)).cloned().collect();
        for key in keys {
            #[cfg(feature = "mutants")]
            if mutant::planted("waiting-updates-are-given-up")
                && self.state.tasks.get(&key).is_some_and(|task| task.phase == Phase::Ended)
            {
                self.forget(now, &key, out);
                continue;
            }
            if let Some(stream) = self.state.streams.get_mut(&key) {
                stream.reset_delay();
            }
            self.transmit(now, &key, out);
        }
    }

    /// The others are sent when their scheduler comes back, or after the usual wait.
    pub(crate) fn wait_for(&mut self, now: Time, waiting: impl Fn(&TaskKey) -> bool) {
        let keys: Vec<TaskKey> = self.state.streams.keys().filter(|key| waiting(key)).cloned().collect();
        for key in keys {
            let Some(stream) = self.state.streams.get_mut(&key) else { continue };
            if stream.head().is_some() {
                stream.reset_delay();
                let delay = stream.next_delay();
                self.timers.set(Timer::Retry(key), now + delay);
            }
        }
    }

    /// Without a master nothing is due; everything pending goes out with the next welcome.
    pub(crate) fn unlinked(&mut self) {
        for key in self.state.streams.keys() {
            self.timers.clear(&Timer::Retry(key.clone()));
        }
        self.hold_operations();
    }

    /// How many tasks are in a state, for metrics.
    pub(crate) fn count(&self, wanted: TaskState) -> u64 {
        self.state.tasks.values().filter(|task| task.state == wanted).count() as u64
    }
}
