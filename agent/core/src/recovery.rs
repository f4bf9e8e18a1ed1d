//! The first moments of a process: what an earlier one left running.

use std::collections::BTreeSet;

use model::task::TaskState;
use model::time::Time;

use crate::agent::{Agent, Mode};
use crate::effect::Effect;
use crate::executor::ExecutorKey;
use crate::spec::TaskKey;
use crate::task::Phase;

impl Agent {
    /// Asks for the containers of tasks that had been launched, and for those whose end the launcher may still
    /// keep. Tasks that were only being fetched are told to their schedulers as dropped: what the earlier process
    /// had of their files is unknown.
    pub(crate) fn find_containers(&mut self, now: Time, out: &mut Vec<Effect>) {
        let own = self.state.tasks.values().filter(|task| task.is_own());
        #[cfg(feature = "mutants")]
        let own = own.skip(usize::from(mutant::planted("one-container-is-not-looked-for")));
        let begun = own.filter(|task| task.phase != Phase::Fetching).map(|task| task.container.clone());
        let executors = self.state.executors.values().filter(|executor| !executor.is_played());
        let executors = executors.map(|executor| executor.container.clone());
        let containers = begun.chain(executors).collect();
        self.outbox.after(Effect::Recover { containers }, out);
        let fetching: Vec<TaskKey> = self
            .state
            .tasks
            .values()
            .filter(|task| task.phase == Phase::Fetching && task.is_own())
            .map(|task| task.key.clone())
            .collect();
        // All of them before anybody asks what that means for their groups.
        let groups: BTreeSet<_> = fetching.iter().filter_map(|key| self.membership(key)).collect();
        for key in fetching {
            self.end_alone(now, &key, self.lost_in_launch(&key), out);
        }
        for (host, group) in groups {
            self.member_ended(now, &host, group, TaskState::Dropped, out);
        }
    }

    /// Every container has been heard of: now the master may hear of the tasks.
    pub(crate) fn recovered(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.mode == Mode::Recovering {
            let executors: Vec<ExecutorKey> = self.state.executors.keys().cloned().collect();
            for key in executors {
                self.retire(now, &key, out);
            }
            self.mode = Mode::Working;
            self.recovery = Some(now.since(self.begun));
            self.link.start(now, out);
        }
    }
}
